"""Trained taggers on disk or S3: format, kinds, load, tag."""

from raytagger.bundle.format import open_bundle, pin_bundle, publish, write_card, write_labels
from raytagger.bundle.kinds import load
from raytagger.bundle.tagger import Tagger, named

__all__ = ["Tagger", "load", "named", "open_bundle", "pin_bundle", "publish", "write_card", "write_labels"]
