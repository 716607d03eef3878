"""Work on texts of which some may be fatal: halves, until the guilty ones stand alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from raytagger.errors import CorpusError, RaytaggerError

SUSPECTS = 32

Part = TypeVar("Part")


class ProcessDiedError(Exception):
    """The process that worked on these texts is gone."""


class Rejected(NamedTuple):
    """A text that cannot be tagged or encoded: its place in the batch, the reason and the error."""

    row: int
    reason: str
    error: str


class Tagged(NamedTuple, Generic[Part]):
    """What came of a batch: results of the good rows, which rows each has, how many were cut, and the rest."""

    parts: list[Part]
    ranges: list[range]
    cut: int
    rejected: list[Rejected]

    @property
    def rows(self) -> list[int]:
        """The good rows."""
        return [row for rows in self.ranges for row in rows]

    def joined(self, other: Tagged[Part], start: int) -> Tagged[Part]:
        """This, and what came of the texts from `start` on."""
        return Tagged(
            self.parts + other.parts,
            self.ranges + [range(start + rows.start, start + rows.stop) for rows in other.ranges],
            self.cut + other.cut,
            self.rejected + [bad._replace(row=start + bad.row) for bad in other.rejected],
        )


Tag = Callable[[Sequence[str]], tuple[Part, int]]


def tag_bisecting(tag: Tag[Part], texts: Sequence[str], at_once: int | None = None) -> Tagged[Part]:
    """Tags texts, and finds those that cannot be tagged.

    Args:
        tag: texts -> their scores (or embeddings) and how many were cut; raises where a text cannot be tagged.
        texts: the documents, or label texts.
        at_once: how many to begin with; all by default.

    Raises:
        RaytaggerError: an error of ours that is no document's fault, such as lost storage.
    """
    result: Tagged[Part] = Tagged([], [], 0, [])
    size = at_once or max(len(texts), 1)
    for start in range(0, len(texts), size):
        result = _tag_range(tag, texts, range(start, min(start + size, len(texts))), result)
    return result


def _tag_range(tag: Tag[Part], texts: Sequence[str], rows: range, result: Tagged[Part]) -> Tagged[Part]:
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
    result.ranges.append(rows)
    return result._replace(cut=result.cut + cut)
