"""Tagging the documents part by part, and the figures over all of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from raytagger import metrics
from raytagger.bisect import tag_bisecting
from raytagger.bundle import Tagger, named, text_settings, unseen_labels
from raytagger.bundle.kept import why_no_threshold
from raytagger.bundle.trained import are_among, marked_but_trained, trained_hashes
from raytagger.corpus.limit import RejectLimit
from raytagger.errors import CorpusError
from raytagger.evaluate.documents import Asked, Part, Selection, gold_matrix, read_parts, select, survey
from raytagger.evaluate.probabilities import Shown
from raytagger.evaluate.yardstick import Yardstick
from raytagger.progress import Progress, silent
from raytagger.schema import BoolArray, Scores
from raytagger.settings import SourceSettings
from raytagger.store import Store

DEPTH = 100
EXAMPLES, EXAMPLE_CHARACTERS = 400, 400
PSP_A, PSP_B = 0.55, 1.5
RANKING = ("P@1", "P@3", "P@5", "R@5", "R@10", "nDCG@5")
ZERO_SHOT = ("ZSR@10", "ZSR@50", "ZSR@100", "UR@1", "UR@5")


@dataclass
class Gathered:
    """Per-document values of one family of metrics, chunk by chunk."""

    values: dict[str, list[np.ndarray]] = field(default_factory=dict)
    groups: list[np.ndarray] = field(default_factory=list)

    def add(self, name: str, values: np.ndarray) -> None:
        """Adds a chunk's values."""
        self.values.setdefault(name, []).append(values)

    def joined(self, name: str) -> np.ndarray:
        """The values of all documents, float64 (N,)."""
        return np.concatenate(self.values.get(name, [np.zeros(0)]))

    def mean(self, name: str) -> float | None:
        """Their mean, None where no document has one."""
        values = self.joined(name)
        return float(np.nanmean(values)) if np.isfinite(values).any() else None

    def interval(self, name: str, seed: int) -> list[float] | None:
        """Its 95 % bootstrap interval by groups."""
        values = self.joined(name)
        if not np.isfinite(values).any():
            return None
        found = metrics.interval(values, np.concatenate(self.groups), seed=seed)
        return [found.low, found.high]


def evaluate(
    tagger: Tagger, store: Store, source: SourceSettings, asked: Asked, progress: Progress = silent
) -> dict[str, Any]:
    """Measures a tagger on labelled documents.

    Every key of DESIGN's list is present, as a fraction, or None where it is undefined. F1 is that of the tags that
    the tagger keeps by a threshold; without one it is None, and `no_F1` says why. `intervals` has 95 % bootstrap
    intervals of nDCG@5, ZSR@10 and UR@1. Of a calibrated bundle the tags shown (the first ten labels) have `ECE_…`,
    `Brier_…`, `n_pairs_…` for `seen`, `rare`, `unseen` and `unseen_zero_shot` labels and the bins of `reliability`;
    see `probabilities.Shown` for what each is over.

    A document that cannot be tagged is a reject as in `tag`, and is not measured.

    Raises:
        CorpusError: the split or the column of groups does not exist, or no document has a known gold label.
        RejectsError: more documents were rejected than `source.max_reject_share` allows.
        BundleError: a score of a bundle that claims to be calibrated is outside [0, 1].
    """
    return gather(tagger, store, source, asked, progress).summary(asked)


def gather(
    tagger: Tagger,
    store: Store,
    source: SourceSettings,
    asked: Asked,
    progress: Progress = silent,
    yardstick: Yardstick | None = None,
) -> Evaluation:
    """What `evaluate` sums up, with the values of every document: for paired comparisons of taggers.

    Args:
        tagger: what is measured.
        store: of the documents.
        source: the documents.
        asked: what to measure.
        progress: told of documents.
        yardstick: of all taggers that are compared; by default the tagger's own.

    Raises:
        CorpusError: as `evaluate`.
        BundleError: as `evaluate`.
        SettingsError: another text is asked for than the tagger was fitted on.
    """
    source = text_settings(tagger.manifest, source)
    if asked.group not in ("", "doc_id", "text", "split", *source.columns):
        source = replace(source, columns=(*source.columns, asked.group))
    found = survey(store, source, tagger)
    selection = select(found, asked, tagger)
    filtered = found.filtered[selection.split] if selection.split else found.filtered.total()
    yardstick = yardstick or Yardstick.over([tagger])
    evaluation = Evaluation(tagger, yardstick, selection, filtered, asked.details, found.limit)
    for part in read_parts(store, source, asked, selection):
        evaluation.add(part)
        progress("evaluating", evaluation.n_tagged)
    evaluation.check_rejects()
    if not evaluation.kept:
        where, without = selection.name or "all", evaluation.n_without_gold
        raise CorpusError(
            "no document to evaluate on",
            got=f"split {where}: {without} documents without a known gold label",
            expected="at least one document with labels of the label set",
        )
    return evaluation


@dataclass
class Evaluation:
    """What is gathered over the parts of a corpus, and its summary."""

    tagger: Tagger
    yardstick: Yardstick
    selection: Selection
    n_filtered_gold: int
    details: bool
    limit: RejectLimit  # of all that was read, and of what cannot be tagged
    refused: RejectLimit = field(init=False)  # of the documents of the selection alone
    ranked: list[metrics.Ranked] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)
    ranking: Gathered = field(default_factory=Gathered)
    zero_shot: Gathered = field(default_factory=Gathered)
    kept: list[sp.csr_matrix] = field(default_factory=list)
    gold: list[sp.csr_matrix] = field(default_factory=list)
    unseen_L: BoolArray = field(init=False)
    propensity_L: np.ndarray | None = field(init=False)  # None without training documents
    shown: Shown = field(init=False)
    trained: np.ndarray = field(init=False)
    n_unseen_pairs: int = 0
    n_without_gold: int = 0
    n_trained: int = 0
    n_unknown_gold: int = 0
    n_tagged: int = 0
    n_cut: int = 0
    n_blank: int = 0
    tag_s: float = 0.0

    def __post_init__(self) -> None:
        labels, documents = self.tagger.labels, self.yardstick.documents
        self.unseen_L = self.yardstick.unseen_L(labels)
        counts = self.yardstick.count_L(labels)
        self.propensity_L = metrics.propensities(counts, documents, PSP_A, PSP_B) if documents else None
        # A promise is a bundle's own, whatever stands beside it: so are the labels that it calls unseen.
        self.shown = Shown.by(self.tagger, unseen_labels(self.tagger))
        self.trained = trained_hashes(self.tagger)
        self.refused = RejectLimit(self.limit.source)

    def add(self, part: Part) -> None:
        """Tags a part once and measures it for both families; what cannot be tagged is a reject."""
        started = time.perf_counter()
        tagged = tag_bisecting(self._tag, part.documents["text"].to_pylist())
        self.tag_s += time.perf_counter() - started
        self.n_tagged += len(tagged.rows)
        self.n_cut += tagged.cut
        self.refused.read += len(part.documents)
        for bad in tagged.rejected:
            for limit in (self.limit, self.refused):
                limit.reject(part.documents["doc_id"][bad.row].as_py(), bad.reason, bad.error)
        for rows, (features, scores) in zip(tagged.ranges, tagged.parts, strict=True):
            self._measure(part.take(rows), features, scores)

    def check_rejects(self) -> None:
        """Ends the evaluation where too many were rejected; those that cannot be tagged count by themselves, too.

        Raises:
            RejectsError: more than `source.max_reject_share` allows.
        """
        self.refused.check()
        self.limit.check()

    def _tag(self, texts: Sequence[str]) -> tuple[tuple[Any, Scores], int]:
        features = self.tagger.encode(texts)
        return (features, self.tagger.search(features, DEPTH)), int(features.cut_B.sum())

    def _measure(self, part: Part, features: Any, scores: Scores) -> None:
        gold, unknown_B = gold_matrix(part.documents["labels"].to_pylist(), self.tagger.labels.index)
        self.n_unknown_gold += int(unknown_B[part.in_split].sum())
        self.n_blank += int(scores.empty_B.sum())
        if self.details:
            self._keep_details(part, features, scores, gold)
        has_gold = metrics.count_gold(gold) > 0
        measured = has_gold & (part.in_split | part.in_zero_shot)
        trained_B = are_among(self.trained, part.documents["doc_id"].to_pylist())
        self.n_trained += int((measured & trained_B).sum())
        self.n_without_gold += int((part.in_split & ~has_gold).sum())
        self.shown.add(scores, gold, part.in_split & has_gold, part.in_zero_shot & has_gold)
        rows = np.flatnonzero(part.in_split & has_gold)
        if len(rows):
            self.ranking.groups.append(part.group[rows])
            self._add_ranking(_rows(scores, rows), gold[rows])
        rows = np.flatnonzero(part.in_zero_shot & (metrics.count_gold(gold[:, self.unseen_L]) > 0))
        if len(rows):
            self.zero_shot.groups.append(part.group[rows])
            only_unseen = self.tagger.search(features, DEPTH, self.unseen_L)
            self._add_zero_shot(_rows(scores, rows), _rows(only_unseen, rows), gold[rows])

    def summary(self, asked: Asked) -> dict[str, Any]:
        """Every key of the evaluation."""
        kept, gold = sp.csr_matrix(sp.vstack(self.kept)), sp.csr_matrix(sp.vstack(self.gold))
        result: dict[str, Any] = {name: self.ranking.mean(name) for name in RANKING}
        result |= {f"PSP@{k}": self._psp(k) for k in (1, 3, 5)}
        by_threshold = self.tagger.threshold is not None  # a number of tags is no choice of tags
        result["micro_F1"] = metrics.micro_f1(kept, gold) if by_threshold else None
        result["macro_F1"] = metrics.macro_f1(kept, gold) if by_threshold else None
        result["no_F1"] = None if by_threshold else why_no_threshold(self.tagger.manifest)
        result |= self.shown.figures()
        result |= {name: self.zero_shot.mean(name) for name in ZERO_SHOT}
        chance = metrics.chance_zsr(len(self.tagger.labels), 10) if self.unseen_L.any() else None
        families = (("nDCG@5", self.ranking), ("ZSR@10", self.zero_shot), ("UR@1", self.zero_shot))
        return result | {
            "split": self.selection.name or None,
            "held_out": self.selection.held_out,
            "n_rejected": self.limit.rejected.total(),
            "rejected": {why: [n, self.limit.examples[why]] for why, n in self.limit.rejected.most_common()},
            "chance_ZSR@10": chance,
            "n_documents": len(gold.indptr) - 1,
            "n_without_gold": self.n_without_gold,
            "n_unknown_gold": self.n_unknown_gold,
            "n_filtered_gold": self.n_filtered_gold,
            "n_trained_documents": self.n_trained,
            "n_labels": len(self.tagger.labels),
            "n_marked_but_trained": int(marked_but_trained(self.tagger).sum()),
            "n_unseen_labels": int(self.unseen_L.sum()),
            "n_unseen_pairs": self.n_unseen_pairs,
            "documents_per_s": self.n_tagged / self.tag_s,
            "share_cut": self.n_cut / self.n_tagged,
            "share_blank": self.n_blank / self.n_tagged,
            "zero_shot_splits": list(asked.zero_shot),
            "intervals": {name: family.interval(name, asked.seed) for name, family in families},
            "bundle": self.tagger.bundle_id,
            "compared": list(self.yardstick.bundles),
            "licences": self.tagger.manifest.get("licences", {}),
            "warnings": self._warnings(),
        }

    def _warnings(self) -> list[str]:
        """What a reader of the figures must know."""
        share, marked = self.selection.held_out, int(marked_but_trained(self.tagger).sum())
        told = (
            (share, f"no document has a split: measured on the share of {share:g} that `fit` held out"),
            (self.n_trained, f"the bundle was trained on {self.n_trained:,} of the documents that are measured"),
            (
                marked,
                f"{marked:,} labels are marked seen = false, but were trained on: they count as seen",
            ),
        )
        return [line for is_so, line in told if is_so]

    def _add_ranking(self, scores: Scores, gold: sp.csr_matrix) -> None:
        for k in (1, 3, 5):
            self.ranking.add(f"P@{k}", metrics.precision_at(scores, gold, k))
        for k in (5, 10):
            self.ranking.add(f"R@{k}", metrics.recall_at(scores, gold, k))
        self.ranking.add("nDCG@5", metrics.ndcg_at(scores, gold, 5))
        if self.propensity_L is not None:
            for k in (1, 3, 5):
                gains = metrics.psp_gains(scores, gold, self.propensity_L, k)
                self.ranking.add(f"PSP@{k} gain", gains.numerator_B)
                self.ranking.add(f"PSP@{k} best", gains.denominator_B)
        tags = self.tagger.keep(scores)
        self.kept.append(metrics.tag_matrix(tags, len(self.tagger.labels)))
        self.gold.append(gold)

    def _add_zero_shot(self, scores: Scores, only_unseen: Scores, gold: sp.csr_matrix) -> None:
        for k in (10, 50, 100):
            self.zero_shot.add(f"ZSR@{k}", metrics.zsr_at(scores, gold, self.unseen_L, k))
        for k in (1, 5):
            self.zero_shot.add(f"UR@{k}", metrics.ur_at(only_unseen, gold, self.unseen_L, k))
        self.n_unseen_pairs += int(gold[:, self.unseen_L].sum())

    def _keep_details(self, part: Part, features: Any, scores: Scores, gold: sp.csr_matrix) -> None:
        """The best seen and the best unseen labels of every document, and the text of some documents."""
        seen = self.tagger.search(features, metrics.FRONT_DEPTH, ~self.unseen_L)
        unseen = self.tagger.search(features, metrics.FRONT_DEPTH, self.unseen_L)
        self.ranked.append(metrics.Ranked(seen, unseen, gold, part.in_split, part.in_zero_shot, part.group))
        tags = named(self.tagger.keep(scores), self.tagger.labels)
        room = range(min(len(tags), EXAMPLES - len(self.examples)))
        for row in room:
            document = part.documents.slice(row, 1).to_pylist()[0]
            text = document["text"][:EXAMPLE_CHARACTERS]
            self.examples.append(
                {"doc_id": document["doc_id"], "text": text, "gold": document["labels"] or [], "tags": tags[row]}
            )

    def _psp(self, k: int) -> float | None:
        best = self.ranking.joined(f"PSP@{k} best").sum()
        return float(self.ranking.joined(f"PSP@{k} gain").sum() / best) if best else None


def _rows(scores: Scores, rows: np.ndarray) -> Scores:
    return Scores(scores.label_BK[rows], scores.score_BK[rows])
