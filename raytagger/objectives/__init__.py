"""Batch → loss, one file a paper; no loop and no I/O."""
