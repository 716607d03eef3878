"""The report: one HTML file that a reader who did not build the tagger understands."""

from raytagger.report.page import write_page
from raytagger.report.subject import Subject

__all__ = ["Subject", "write_page"]
