"""Checks that find what is wrong before a run does: of the installation, and of label sets."""

from raytagger.doctor.installation import RAY_TIMEOUT_S, Finding, examine

__all__ = ["RAY_TIMEOUT_S", "Finding", "examine"]
