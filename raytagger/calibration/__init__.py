"""Scores → probabilities."""
