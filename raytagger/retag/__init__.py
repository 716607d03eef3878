"""Nightly work: identify, tag, settle, commit."""
