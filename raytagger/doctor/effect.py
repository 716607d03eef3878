"""What ill labels cost: zero-shot figures with them, and with them left out of candidates and gold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from raytagger import metrics
from raytagger.bisect import tag_bisecting
from raytagger.bundle import Tagger, unseen_labels
from raytagger.bundle.features import take_rows
from raytagger.corpus import read_documents
from raytagger.corpus.limit import RejectLimit
from raytagger.corpus.splits import ZERO_SHOT_SPLITS, list_splits
from raytagger.errors import CorpusError
from raytagger.evaluate import Selection, gold_matrix, limited, zero_shot_splits
from raytagger.progress import Progress, silent
from raytagger.schema import PAD, BoolArray, Scores
from raytagger.settings import SourceSettings
from raytagger.store import Store

FIGURES = {"ZSR@10": 10, "UR@1": 1}
"""The figures compared, and how many labels of a document's ranking each looks at."""
DEPTH = 100  # as `evaluate` ranks
DRAWS = 10


@dataclass(frozen=True)
class Change:
    """One figure with and without the labels, over the documents that have other unseen gold labels.

    Attributes:
        before: all labels are candidates and gold.
        after: the labels are neither.
        difference: after - before, with its paired 95 % bootstrap interval over documents.
        others: the same with the gold of `after` on both sides: what the labels cost the others by standing above
            them. The rest of `difference` is their own gold, easier or harder to find than the others'.
        by_lot: `others` where as many unseen labels are drawn at random, mean, least and most of ten draws: what
            fewer candidates give anyway. Ill labels cost what `others` exceeds it by.
    """

    before: float
    after: float
    difference: metrics.Interval
    others: metrics.Interval
    by_lot: metrics.Interval


@dataclass(frozen=True)
class Effect:
    """What leaving labels out does.

    Attributes:
        left_out: the name of the labels: `ill`, or a kind of finding.
        labels: how many unseen ones were left out; seen ones stay.
        documents: documents with other unseen gold labels, over which is compared.
        changes: by figure; empty without such documents.
    """

    left_out: str
    labels: int
    documents: int
    changes: dict[str, Change]

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        return asdict(self)


@dataclass
class Looked:
    """The documents that were looked at, whatever was found.

    Attributes:
        documents: how many.
        blank: of which the tagger knows nothing.
        without_gold: without a gold label of the label set.
        rejected: others, which cannot be tagged.
    """

    documents: int = 0
    blank: int = 0
    without_gold: int = 0
    rejected: int = 0

    @property
    def share_blank(self) -> float:
        """0 without documents."""
        return self.blank / max(self.documents, 1)

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        return {**asdict(self), "share_blank": self.share_blank}


class Measured(NamedTuple):
    """The documents, and an effect for each name that has an unseen label, in their order; none without one."""

    looked: Looked
    effects: list[Effect]


def zero_shot_documents(
    store: Store, source: SourceSettings, splits: tuple[str, ...] | None, limit: int = 0, held_out: float = 0.0
) -> Iterator[pa.Table]:
    """The documents of the splits, chunk by chunk; all documents where none has a split and none is named.

    Args:
        store: storage options.
        source: the documents.
        splits: those of ZSR and UR; None: those of `test` and `zeroshot` that exist.
        limit: at most so many documents of a split; 0 for all.
        held_out: the share that is looked at where no document has a split; 0 for all.

    Raises:
        CorpusError: a split that is named does not exist; or documents have splits, but none of these.
    """
    names: Counter[str] = Counter()
    for chunk in read_documents(store, source):
        names.update(filter(None, chunk.documents["split"].to_pylist()))
    wanted = zero_shot_splits(names, splits)
    if names and not wanted:
        got = list(ZERO_SHOT_SPLITS if splits is None else splits)
        raise CorpusError("none of the splits exists", got=got, expected=list_splits(names))
    taken: Counter[str | None] = Counter()
    first, *others = wanted or ("",)
    selection = Selection(first, tuple(others), 0.0 if names else held_out)
    for chunk in read_documents(store, source):
        documents = limited(selection.of(chunk.documents), taken, limit)
        if len(documents):
            yield documents


def measure_effect(
    tagger: Tagger,
    documents: Iterable[pa.Table],
    flagged: Mapping[str, BoolArray],
    seed: int = 0,
    progress: Progress = silent,
    limit: RejectLimit | None = None,
) -> Measured:
    """Ranks each document's labels once, and looks at the ranking without each group of labels.

    Args:
        tagger: over the label set that was looked at.
        documents: tables with `doc_id`, `text` and `labels`.
        flagged: name to bool (L,), the labels to leave out; of them the unseen ones are.
        seed: of the bootstrap and of the draws.
        progress: told of documents.
        limit: counts documents that cannot be tagged; by default as many are allowed as by `source`'s.

    Raises:
        CorpusError: labels are left out, and no document has an unseen gold label.
        RejectsError: more documents cannot be tagged than the limit allows.
    """
    unseen_L, looked, limit = unseen_labels(tagger), Looked(), limit or RejectLimit(SourceSettings())
    trials = [
        _Trial(name, unseen_L, unseen_L & flag_L, seed)
        for name, flag_L in flagged.items()
        if (unseen_L & flag_L).any()
    ]
    measured = 0
    for part, features in _encoded(tagger, documents, limit):
        gold, _ = gold_matrix(part["labels"].to_pylist(), tagger.labels.index)
        looked.documents += len(part)
        looked.blank += int(tagger.search(features, 1).empty_B.sum())
        looked.without_gold += int((metrics.count_gold(gold) == 0).sum())
        rows = np.flatnonzero(metrics.count_gold(metrics.unseen_gold(gold, unseen_L)))  # no other counts
        measured += len(rows)
        if trials and len(rows):
            _measure(trials, tagger, take_rows(features, rows), gold[rows])
        progress("measuring the effect", looked.documents)
    limit.check()
    looked.rejected = limit.rejected.total()
    if trials and not measured:
        raise CorpusError(
            "no document has an unseen gold label",
            got=f"{looked.documents} documents, {looked.without_gold} of them without a known gold label",
        )
    return Measured(looked, [trial.effect(seed) for trial in trials])


def _encoded(tagger: Tagger, documents: Iterable[pa.Table], limit: RejectLimit) -> Iterator[tuple[pa.Table, Any]]:
    """Documents with their features; those that cannot be encoded are rejects."""
    for part in documents:
        encoded = tag_bisecting(lambda texts: (tagger.encode(texts), 0), part["text"].to_pylist())
        limit.read += len(part)
        for bad in encoded.rejected:
            limit.reject(part["doc_id"][bad.row].as_py(), bad.reason, bad.error)
        for rows, features in zip(encoded.ranges, encoded.parts, strict=True):
            yield part.slice(rows.start, len(rows)), features


def _measure(trials: Sequence[_Trial], tagger: Tagger, features: Any, gold: sp.csr_matrix) -> None:
    unseen_L = unseen_labels(tagger)
    for figure, k in FIGURES.items():
        candidate_L = unseen_L if figure.startswith("UR") else np.ones(len(unseen_L), bool)
        ranking = _Ranking(tagger, features, candidate_L)
        for trial in trials:
            trial.add(figure, k, ranking, gold)


class _Ranking:
    """The labels of B documents ranked once, to be looked at without some of them."""

    def __init__(self, tagger: Tagger, features: Any, candidate_L: BoolArray) -> None:
        self._tagger, self._features, self._candidate_L = tagger, features, candidate_L
        self.all = tagger.search(features, DEPTH, candidate_L)

    def without(self, out_L: BoolArray, k: int) -> Scores:
        """The k best labels but these; ranked anew only where too few are left of the depth."""
        label_BJ, score_BJ = self.all.label_BK, self.all.score_BK
        left_BJ = (label_BJ != PAD) & ~out_L[label_BJ]
        deeper = label_BJ.shape[1] < len(out_L)  # else all labels are ranked
        if deeper and ((left_BJ.sum(axis=1) < k) & (label_BJ[:, -1] != PAD)).any():
            return self._tagger.search(self._features, k, self._candidate_L & ~out_L)
        place_BK = np.argsort(~left_BJ, axis=1, kind="stable")[:, :k]
        left_BK = np.take_along_axis(left_BJ, place_BK, axis=1)
        label_BK = np.where(left_BK, np.take_along_axis(label_BJ, place_BK, axis=1), np.int32(PAD))
        score_BK = np.where(left_BK, np.take_along_axis(score_BJ, place_BK, axis=1), np.float32(-np.inf))
        return Scores(label_BK, score_BK)


class _Trial:
    """One group of unseen labels that is left out, and groups of the same size drawn by lot."""

    def __init__(self, name: str, unseen_L: BoolArray, out_L: BoolArray, seed: int) -> None:
        self.name, self.unseen_L, self.out_L = name, unseen_L, out_L
        generator, unseen = np.random.default_rng(seed), np.flatnonzero(unseen_L)
        self.lot_RL = np.zeros((DRAWS, len(unseen_L)), bool)
        for lot_L in self.lot_RL:
            lot_L[generator.choice(unseen, int(out_L.sum()), replace=False)] = True
        self.values: dict[str, list[np.ndarray]] = {}
        self.lot_gains: dict[str, list[np.ndarray]] = {}

    def add(self, figure: str, k: int, ranking: _Ranking, gold: sp.csr_matrix) -> None:
        """Measures a figure on some documents."""
        before_B = metrics.recall_at(ranking.all, metrics.unseen_gold(gold, self.unseen_L), k)
        same_B, after_B = self._without(self.out_L, k, ranking, gold)
        self.values.setdefault(figure, []).append(np.stack([before_B, same_B, after_B]))
        lots = [self._without(lot_L, k, ranking, gold) for lot_L in self.lot_RL]
        self.lot_gains.setdefault(figure, []).append(np.stack([after_B - same_B for same_B, after_B in lots]))

    def effect(self, seed: int) -> Effect:
        """The figures over all documents."""
        changes: dict[str, Change] = {}
        documents = 0
        for figure, parts in self.values.items():
            value_3N = np.concatenate(parts, axis=1)
            before_N, same_N, after_N = value_3N[:, np.isfinite(value_3N).all(axis=0)]
            documents = len(after_N)
            if documents:
                gain_R = [_mean(gain_N) for gain_N in np.concatenate(self.lot_gains[figure], axis=1)]
                changes[figure] = Change(
                    float(before_N.mean()),
                    float(after_N.mean()),
                    metrics.paired_difference(after_N, before_N, seed=seed),
                    metrics.paired_difference(after_N, same_N, seed=seed),
                    metrics.Interval(float(np.mean(gain_R)), min(gain_R), max(gain_R)),
                )
        return Effect(self.name, int(self.out_L.sum()), documents, changes)

    def _without(
        self, out_L: BoolArray, k: int, ranking: _Ranking, gold: sp.csr_matrix
    ) -> tuple[np.ndarray, np.ndarray]:
        """Recall of the unseen gold that is left, with the labels as candidates and without, float64 (B,) each."""
        left = metrics.unseen_gold(gold, self.unseen_L & ~out_L)
        return metrics.recall_at(ranking.all, left, k), metrics.recall_at(ranking.without(out_L, k), left, k)


def _mean(gain_N: np.ndarray) -> float:
    """Over the documents that have gold left; 0 without any."""
    known_N = gain_N[np.isfinite(gain_N)]
    return float(known_N.mean()) if len(known_N) else 0.0
