"""Columns that look like labels and were not asked for."""

from __future__ import annotations

import re
from itertools import takewhile

from raytagger.corpus.roles import Roles
from raytagger.corpus.rows import RawChunk

LIKELY = re.compile(
    r"(label|(hash)?tag|categor(y|ie)|topic|keyword|class(e)?|subject|genre|target)s?", re.IGNORECASE
)
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # of `my_topics`, `topicNames` and `TOPIC`
NAMED = 8  # columns in a hint at most
PREFIX = 2  # characters that multi-hot columns have in common at least


def label_hint(chunk: RawChunk, roles: Roles) -> str:
    """What to tell where a file has no column for the labels, but some that look like it; else ""."""
    if "labels" in roles.source.map or roles.labels in chunk.names:
        return ""
    others = [name for name in chunk.names if name not in (*roles.ids, *roles.texts, roles.split)]
    likely = [name for name in others if name not in chunk.marks and any(map(LIKELY.fullmatch, WORD.findall(name)))]
    marks = [name for name in chunk.marks if name in others]
    if len(marks) > 1:
        prefix = "".join(letters[0] for letters in takewhile(_all_same, zip(*marks, strict=False)))
        likely.append(f"{prefix}*" if len(prefix) >= PREFIX else f"{', '.join(marks[:NAMED])} (of 0 and 1)")
    if not likely:
        return ""
    named = ", ".join(likely[:NAMED])
    return f"no column labels; columns that look like labels: {named} (name one by source.map.labels)"


def _all_same(letters: tuple[str, ...]) -> bool:
    return len(set(letters)) == 1
