"""Trained taggers on disk or S3: format, kinds, load, tag."""

from raytagger.bundle.format import (
    Opened,
    content_id,
    open_bundle,
    peek_manifest,
    pin_bundle,
    publish,
    write_card,
    write_labels,
    write_trained,
)
from raytagger.bundle.kinds import load
from raytagger.bundle.tagger import Tagger, named
from raytagger.bundle.texts import read_texts, text_settings
from raytagger.bundle.trained import unseen_labels

__all__ = [
    "Opened",
    "Tagger",
    "content_id",
    "load",
    "named",
    "open_bundle",
    "peek_manifest",
    "pin_bundle",
    "publish",
    "read_texts",
    "text_settings",
    "unseen_labels",
    "write_card",
    "write_labels",
    "write_trained",
]
