"""Trained taggers on disk or S3: format, kinds, load, tag."""

from raytagger.bundle.format import open_bundle, peek_manifest, pin_bundle, publish, write_card, write_labels
from raytagger.bundle.kinds import load
from raytagger.bundle.tagger import Tagger, named
from raytagger.bundle.texts import read_texts, text_settings

__all__ = [
    "Tagger",
    "load",
    "named",
    "open_bundle",
    "peek_manifest",
    "pin_bundle",
    "publish",
    "read_texts",
    "text_settings",
    "write_card",
    "write_labels",
]
