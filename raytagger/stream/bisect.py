"""Work on texts of which some may be fatal: halves, until the guilty ones stand alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from raytagger.errors import CorpusError, RaytaggerError
from raytagger.schema import Scores

SUSPECTS = 32


class ProcessDiedError(Exception):
    """The process that tagged these documents is gone."""


class Rejected(NamedTuple):
    """A document that cannot be tagged: its place in the batch, the reason and the error."""

    row: int
    reason: str
    error: str


class Tagged(NamedTuple):
    """What came of a batch: scores of the good rows, which rows they are, how many were cut, and the rest."""

    parts: list[Scores]
    rows: list[int]
    cut: int
    rejected: list[Rejected]


Tag = Callable[[Sequence[str]], tuple[Scores, int]]


def tag_bisecting(tag: Tag, texts: Sequence[str], at_once: int | None = None) -> Tagged:
    """Tags texts, and finds those that cannot be tagged.

    Args:
        tag: texts -> their scores and how many were cut; raises where a text cannot be tagged.
        texts: the documents.
        at_once: how many to begin with; all by default.

    Raises:
        RaytaggerError: an error of ours that is no document's fault, such as lost storage.
    """
    result = Tagged([], [], 0, [])
    size = at_once or max(len(texts), 1)
    for start in range(0, len(texts), size):
        result = _tag_range(tag, texts, range(start, min(start + size, len(texts))), result)
    return result


def _tag_range(tag: Tag, texts: Sequence[str], rows: range, result: Tagged) -> Tagged:
    try:
        scores, cut = tag([texts[row] for row in rows])
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        if isinstance(error, RaytaggerError) and not isinstance(error, CorpusError):
            raise
        if len(rows) == 1:
            reason = "process_died" if isinstance(error, ProcessDiedError) else "tagging_failed"
            result.rejected.append(Rejected(rows[0], reason, f"{type(error).__name__}: {error}"[:500]))
            return result
        middle = len(rows) // 2
        return _tag_range(tag, texts, rows[middle:], _tag_range(tag, texts, rows[:middle], result))
    result.parts.append(scores)
    result.rows.extend(rows)
    return result._replace(cut=result.cut + cut)
