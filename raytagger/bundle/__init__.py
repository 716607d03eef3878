"""Trained taggers on disk or S3: format, kinds, load, tag."""

from raytagger.bundle.format import (
    content_id,
    open_bundle,
    pin_bundle,
    publish,
    read_facts,
    write_card,
    write_labels,
)
from raytagger.bundle.kinds import load
from raytagger.bundle.tagger import Tagger, named

__all__ = [
    "Tagger",
    "content_id",
    "load",
    "named",
    "open_bundle",
    "pin_bundle",
    "publish",
    "read_facts",
    "write_card",
    "write_labels",
]
