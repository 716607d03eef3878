"""Splits that do not leak: groups that are never cut, and labels that training never sees.

Choices are drawn by hashing a key with the seed, so that every machine draws the same, and a group added later
moves no other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from raytagger.corpus.cells import same_split
from raytagger.corpus.rows import STRINGS
from raytagger.errors import CorpusError
from raytagger.schema import BoolArray
from raytagger.settings import SourceSettings

pc: Any = pyarrow.compute  # makes its functions at import, where no type checker sees them

ZEROSHOT = "zeroshot"
ZERO_SHOT_SPLITS = ("test", ZEROSHOT)  # the splits that unseen labels are measured on
HELD_OUT = "test"  # the split of what is held out where documents have none
LISTED = 8  # splits that a message names


@dataclass(frozen=True)
class HoldOutRule:
    """Which labels may be held out, and how many.

    Attributes:
        share: how many of the labels that occur, as a share.
        least, most: the documents a label must have at least and may have at most: enough to measure by, few
            enough that training does not lose much.
        seed: decides the draw.
    """

    share: float = 0.1
    least: int = 1
    most: int | None = None
    seed: int = 0


def draw(key: str, seed: int) -> float:
    """A number in [0, 1) that depends on key and seed alone."""
    return int.from_bytes(blake2b(f"{seed}:{key}".encode(), digest_size=6).digest(), "big") / 2**48


def held_out(ids: Iterable[str], share: float) -> BoolArray:
    """Bool (B,), the documents that are held out where none has a split: the same in every run.

    Args:
        ids: of the documents.
        share: of them; `source.holdout`.
    """
    return np.array([draw(f"holdout:{doc_id}", 0) < share for doc_id in ids], bool)


def select_training(
    documents: pa.Table, source: SourceSettings, splits: Collection[str], has_splits: bool = False
) -> tuple[pa.Table, bool]:
    """The documents of a chunk that are for training, and whether documents have splits, as far as is known.

    Where no document has a split, all are for training but the share that is held out. Whether that is so shows
    only at the end: what was selected before a split was seen does not count once one is.

    Args:
        documents: a chunk.
        source: `holdout`.
        splits: those that are for training.
        has_splits: an earlier chunk has a split.
    """
    if has_splits or pc.any(pc.is_valid(documents["split"])).as_py():
        return documents.filter(pc.is_in(documents["split"], pa.array(sorted(splits), pa.string()))), True
    if not source.holdout:
        return documents, False
    return documents.filter(pa.array(~held_out(documents["doc_id"].to_pylist(), source.holdout))), False


def refuse_missing(asked: Iterable[str], there: Mapping[str, int], named_by: str) -> None:
    """Every split that is named must be there: a misspelt one beside a right one would be passed over.

    Args:
        asked: the splits that are named, as `same_split` compares.
        there: the documents of each split.
        named_by: the option or setting that names them.

    Raises:
        CorpusError: one is not there; lists those that are.
    """
    missing = [name for name in asked if not any(same_split(name, known) for known in there)]
    if missing:
        raise CorpusError(
            "the split does not exist" if len(missing) == 1 else "the splits do not exist",
            got=", ".join(missing),
            expected=list_splits(there),
            remedy=f"Correct {named_by}.",
        )


def list_splits(there: Mapping[str, int]) -> str:
    """The splits that are there, the largest first, with their documents; of many the first few."""
    told = [f"{name} ({there[name]:,})" for name in sorted(there, key=lambda name: (-there[name], name))]
    more = f" and {len(told) - LISTED:,} more" if len(told) > LISTED else ""
    return (", ".join(told[:LISTED]) or "none, since no document has a split") + more


def split_by_group(groups: Sequence[str | None], shares: Mapping[str, float], seed: int) -> list[str]:
    """The split of each document, the same for all of one group.

    Args:
        groups: each document's group, such as a source package; its own id where it stands alone.
        shares: split to share of the groups, in the order in which [0, 1) is dealt out; their sum is 1.
        seed: decides the draw.

    Raises:
        CorpusError: a document has no group, or the shares are not positive with sum 1.
    """
    if not shares or min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise CorpusError("the shares of the splits are wrong", got=dict(shares), expected="shares with sum 1")
    ends = list(zip(accumulate(shares.values()), shares, strict=True))
    last = next(name for name in reversed(list(shares)) if shares[name])
    chosen: dict[str, str] = {}
    for row, group in enumerate(groups):
        if group is None:
            raise CorpusError(f"document {row} has no group", expected="its own id, if it stands alone")
        if group not in chosen:
            place = draw(f"split:{group}", seed)
            chosen[group] = next((name for end, name in ends if place < end), last)
    return [chosen[str(group)] for group in groups]


def choose_held_out(counts: Mapping[str, int], rule: HoldOutRule) -> list[str]:
    """Labels to hold out, sorted; fewer than the share where too few have the right frequency.

    Args:
        counts: label to its number of documents.
        rule: how many, and how frequent.

    Raises:
        CorpusError: the share is not within 0 … 1.
    """
    if not 0 <= rule.share <= 1:
        raise CorpusError("the share of held-out labels is wrong", got=rule.share, expected="0 … 1")
    most = max(counts.values(), default=0) if rule.most is None else rule.most
    candidates = [label for label, count in counts.items() if rule.least <= count <= most]
    candidates.sort(key=lambda label: (draw(f"label:{label}", rule.seed), label))
    return sorted(candidates[: round(rule.share * len(counts))])


def move_held_out(
    documents: pa.Table, held_out: Collection[str], splits: Collection[str] = ("train", "val")
) -> pa.Table:
    """Documents of `splits` that carry a held-out label move to the split `zeroshot`, with all their labels.

    Args:
        documents: with `labels` (list<string>) and `split`; the order stays.
        held_out: the labels that training must not see.
        splits: the splits that are cleared of them.
    """
    held = set(held_out)
    labels = documents["labels"].cast(STRINGS).to_pylist()
    moved = [
        ZEROSHOT if split in splits and not held.isdisjoint(names or ()) else split
        for split, names in zip(documents["split"].to_pylist(), labels, strict=True)
    ]
    place = documents.column_names.index("split")
    return documents.set_column(place, "split", pa.array(moved, pa.string()))
