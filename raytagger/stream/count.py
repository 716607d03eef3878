"""Terms of a corpus that does not fit memory, counted unit by unit, on Ray or in this process.

    files ── read ──▶ units ── count some ──▶ counts ── merge ──▶ counts

Counts are sums over documents, so that neither the order of the units nor who merges what changes the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from raytagger.corpus import find_splits, list_documents
from raytagger.corpus.splits import list_splits, select_training
from raytagger.errors import CorpusError
from raytagger.progress import Progress, silent
from raytagger.settings import FitRun
from raytagger.store import Store, placed
from raytagger.stream.executor import at_work, ray_is_up
from raytagger.stream.reading import Files, group_files, read_group
from raytagger.vectors import TermCounts


def count_terms(run: FitRun, progress: Progress = silent) -> TermCounts:
    """Document frequencies over the training documents, as `corpus.splits.select_training` takes them.

    Equal to one `TermCounts` over the same texts.

    Args:
        run: `source`, `terms.ngrams`, `cluster`, `storage`.
        progress: told of counted documents.

    Raises:
        CorpusError: there is no document, or a file is damaged.
    """
    run = placed(run)
    files = group_files(list_documents(Store(run.storage), run.source))
    total = Part.empty(run)
    read = 0
    with at_work(run.cluster, files.size):
        for part in _counted(run, files):
            read += part.counts.texts
            total = total.joined(part)
            progress("counting", read)
    if not total.counts.texts:
        there = find_splits(Store(run.storage), run.source, (run.source.train_split,))
        raise CorpusError(
            "no document to count",
            got=run.source.documents,
            expected=f"documents of the split {run.source.train_split}; there are {list_splits(there)}",
            remedy="Check source.train_split, and the files.",
        )
    return total.counts


def _counted(run: FitRun, files: Files) -> Iterator[Part]:
    if not ray_is_up():
        return count_parts(run, files)
    from raytagger.stream import count_on_ray

    return count_on_ray.count_parts(run, files)


@dataclass(frozen=True)
class Part:
    """Counts of some units: of their training documents where any document has a split, else of all of them."""

    counts: TermCounts
    has_splits: bool

    @staticmethod
    def empty(run: FitRun, has_splits: bool = False) -> Part:
        """Nothing counted so far."""
        return Part(TermCounts(run.terms.ngrams), has_splits)

    def joined(self, other: Part) -> Part:
        """Both; but what was counted for want of splits does not count once there are any."""
        if self.has_splits != other.has_splits:
            return self if self.has_splits else other
        self.counts.merge(other.counts)
        return self

    def with_texts(self, run: FitRun, texts: Texts) -> Part:
        """This and the texts of a unit, under the same rule."""
        part = self if self.has_splits or not texts.has_splits else Part.empty(run, has_splits=True)
        if texts.has_splits == part.has_splits:
            part.counts.add(texts.texts)
        return part


class Texts(NamedTuple):
    """The texts of a unit: of its training documents where any of its documents has a split, else of all."""

    texts: list[str]
    has_splits: bool


def read_texts(run: FitRun, files: Files, group: range) -> Iterator[Texts]:
    """The texts of a group of files, unit by unit; those of later documents of an id, few, count for terms too."""
    for unit in read_group(Store(run.storage), files, group, run.source, run.cluster.chunk_documents):
        documents, has_splits = select_training(unit.documents, run.source, (run.source.train_split,))
        yield Texts(documents["text"].to_pylist(), has_splits)


def count_parts(run: FitRun, files: Files) -> Iterator[Part]:
    """Counts in this process, a part a group of files."""
    for group in files.groups:
        part = Part.empty(run)
        for texts in read_texts(run, files, group):
            part = part.with_texts(run, texts)
        yield part
