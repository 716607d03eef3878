"""Why a gold label is unknown: written otherwise than in the label set, or several labels in one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from raytagger.corpus.unicode import fold

SEPARATORS = (",", ";", "|", "/", " ")
WHOLE_NUMBER = re.compile(r"0*([0-9]+)(\.0*)?")


def fold_ids(ids: Iterable[str]) -> dict[str, str]:
    """Label ids by what is left of them without case, blanks, the ways to encode a letter and to write a number."""
    return {_fold(label_id): label_id for label_id in ids}


def explain_unknown(label_id: str, folded: Mapping[str, str]) -> str:
    """An unknown label id, quoted where it holds blanks or separators, and what the label set has instead.

    Args:
        label_id: that the label set does not have.
        folded: of the label set, by `fold_ids`.
    """
    if (known := folded.get(_fold(label_id))) is not None:
        return f"{label_id!a}, where the label set has {known!a}"
    for separator in SEPARATORS:
        parts = [part.strip().strip("\"'") for part in label_id.strip("[](){}").split(separator) if part.strip()]
        if len(parts) > 1 and all(_fold(part) in folded for part in parts):
            how = "separate labels by ; or | in CSV, and give them as a list elsewhere"
            return f"{label_id!r} as one label, where the label set has each part: {how}"
    return repr(label_id) if re.search(r"[\s,;|]", label_id) else label_id


def _fold(label_id: str) -> str:
    number = WHOLE_NUMBER.fullmatch(label_id.strip())
    return number[1] if number else fold(label_id)
