"""The weight of label fusion, and both scales, measured on seen labels that are treated as unseen.

Rare seen labels are hidden fold by fold: a hidden label is not among those that may be fused, and is scored as an
unseen one. It is ranked among the labels that are really unseen, since the best weight falls as these become more.
The base was trained on it all the same, and on the training documents that have it, so that those documents' seen
labels are surer than a new document's: fusion may look a little better here than it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from raytagger import metrics
from raytagger.bundle.panel import spread
from raytagger.bundle.xml0 import Mixture, Xml0Features, Xml0Tagger
from raytagger.calibration import Curve, fit_curve, fit_platt
from raytagger.fit.hidden_labels import FEWEST_DOCUMENTS, MOST_LABELS, draw_order
from raytagger.progress import Progress
from raytagger.schema import PAD, BoolArray, FloatArray, Scores
from raytagger.vectors import top_k

WEIGHTS = tuple(round(0.05 * step, 2) for step in range(21))
FIXED = {"fusion": 1.0, "conse": 1.0, "semantic": 0.0}  # the other combination is `xml0`
SHARE, FOLDS = 0.4, 4
MOST_RIVALS = 5000  # really unseen labels that hidden ones are ranked among
FEWEST_POSITIVES = 20  # fewer pairs of a document and a hidden label measure nothing
FALLBACK_SLOPE, FALLBACK_OFFSET = 10.0, -8.0  # of the semantic cosine, where nothing can be measured
DEPTH = 100  # seen labels named for each document


class Known(NamedTuple):
    """Documents whose labels are known.

    Attributes:
        features: of B documents.
        gold: bool CSR (B, L).
        validation_B: bool (B,), documents that the base was not trained on.
        weight_B: float64 (B,), how many documents of the corpus each stands for.
    """

    features: Xml0Features
    gold: sp.csr_matrix
    validation_B: BoolArray
    weight_B: np.ndarray


class Fold(NamedTuple):
    """Labels that were hidden together, and their scores.

    Attributes:
        label_J: int64 (J,).
        fusion_BJ: float32 (B, J), `-inf` where a document has no label to fuse.
        semantic_BJ: float32 (B, J).
        right_BJ: bool (B, J).
        fusion_DU: float32 (D, U), of really unseen labels, none of them right, for the D documents that have a
            label of the fold.
        semantic_DU: float32 (D, U), of the same.
    """

    label_J: np.ndarray
    fusion_BJ: FloatArray
    semantic_BJ: FloatArray
    right_BJ: BoolArray
    fusion_DU: FloatArray
    semantic_DU: FloatArray

    @property
    def rows(self) -> np.ndarray:
        """int64 (D,), the documents that have a label of the fold."""
        return np.flatnonzero(self.right_BJ.any(axis=1))


class Chosen(NamedTuple):
    """What the hidden labels say.

    Attributes:
        mixture: weight, scales and probability.
        measured: False where there were too few pairs, so that the mixture is the documented fallback.
        curve: UR@1 on hidden labels by weight; empty where nothing was measured.
        gain: UR@1 over the semantic score, of weights chosen on the other folds; None where the weight was given.
    """

    mixture: Mixture
    measured: bool
    curve: dict[float, float]
    gain: metrics.Interval | None


def draw_hidden(gold: sp.csr_matrix, count_L: np.ndarray, usable_L: BoolArray, seed: int) -> np.ndarray:
    """Rare seen labels to be hidden: int64, ascending; perhaps none.

    The rarer half of those labels that the base was trained on and that have three documents or more.

    Args:
        gold: bool CSR (N, L), the training documents.
        count_L: int64 (L,), training documents of each label as the base knows them.
        usable_L: bool (L,), active labels with a text.
        seed: of the draw.
    """
    trained_L = (count_L > 0) & usable_L
    here_L = trained_L & (np.asarray(gold.sum(axis=0)).ravel() >= FEWEST_DOCUMENTS)
    most = min(MOST_LABELS, round(SHARE * int(trained_L.sum())))
    return np.sort(draw_order(count_L, here_L, seed)[:most])


def fit_probabilities(base_scores: Scores, known: Known) -> Curve:
    """From the base's scores to probabilities, on validation documents.

    With fewer than 20 right labels among those it names, or where all scores are equal, all labels have about the
    base rate, and keep their order.
    """
    found_BK = (base_scores.label_BK != PAD) & known.validation_B[:, None]
    row_P = np.nonzero(found_BK)[0]
    if not len(row_P):
        return fit_curve(np.zeros(0), np.zeros(0, bool))
    right_P = np.asarray(known.gold[row_P, base_scores.label_BK[found_BK]]).ravel().astype(bool)
    return fit_curve(base_scores.score_BK[found_BK], right_P)


def score_folds(
    tagger: Xml0Tagger, known: Known, pseudo_J: np.ndarray, seed: int, progress: Progress
) -> list[Fold]:
    """Fusion and semantic scores of each hidden label, while it and its fold are not among the seen ones."""
    rng = np.random.default_rng([seed, 9])
    order_J, rival_U = rng.permutation(pseudo_J), _rivals(tagger, known, rng)
    asked = replace(tagger, mixture=tagger.mixture._replace(weight=1.0))  # so that fusion is searched at all
    folds: list[Fold] = []
    for label_J in np.array_split(order_J, max(1, min(FOLDS, len(pseudo_J)))):
        if not len(label_J):
            continue
        others_L = ~spread(label_J, len(tagger.labels))
        fusable = tagger.search_seen(known.features.base, tagger.options.labels_at_most, others_L)
        right_BJ = known.gold[:, label_J].toarray().astype(bool)
        found, semantic_BJ = asked.score_unseen(known.features.doc_BE, fusable, label_J)
        rows = np.flatnonzero(right_BJ.any(axis=1))
        some = Scores(fusable.label_BK[rows], fusable.score_BK[rows])
        rivals, semantic_DU = asked.score_unseen(known.features.doc_BE[rows], some, rival_U)
        assert found is not None
        assert rivals is not None
        folds.append(Fold(label_J, found.score_BU, semantic_BJ, right_BJ, rivals.score_BU, semantic_DU))
        progress("hidden labels", sum(len(fold.label_J) for fold in folds), len(pseudo_J))
    return folds


def _rivals(tagger: Xml0Tagger, known: Known, rng: np.random.Generator) -> np.ndarray:
    """Labels that are really unseen, and that none of the documents has: int64, 5,000 at most."""
    none_L = np.asarray(known.gold.sum(axis=0)).ravel() == 0
    unseen = np.flatnonzero(tagger.labels.predictable_L & ~tagger.seen_L & none_L)
    return np.sort(rng.permutation(unseen)[:MOST_RIVALS])


def choose(combination: str, folds: Sequence[Fold], weight_B: np.ndarray, seed: int) -> Chosen:
    """The weight by UR@1 on hidden labels, and the probability of what it gives.

    Of all weights the best one, of equal ones the smallest; but 0, the semantic score alone, unless weights that
    were chosen in the same way on the other folds find more than it does beyond a bootstrap's 95 % interval, in
    which documents are drawn by their hidden label.
    """
    if sum(int(fold.right_BJ.sum()) for fold in folds) < FEWEST_POSITIVES:
        weight = FIXED.get(combination, 0.0)
        return Chosen(Mixture(weight, (0.0, 1.0), (0.0, 1.0), FALLBACK_SLOPE, FALLBACK_OFFSET), False, {}, None)
    fusion, semantic = _scale([fold.fusion_BJ for fold in folds]), _scale([fold.semantic_BJ for fold in folds])
    scales = Mixture(0.0, fusion, semantic, 1.0, 0.0)
    hit_FWD = [_hits(scales, fold) for fold in folds]
    curve_W = np.nanmean(np.concatenate(hit_FWD, axis=1), axis=1)
    weight, gain = FIXED.get(combination), None
    if weight is None:
        gain = _gain(hit_FWD, folds, seed)
        weight = WEIGHTS[int(np.argmax(curve_W))] if gain.low > 0 else 0.0
    mixture, fitted = _with_probability(scales._replace(weight=weight), folds, weight_B)
    return Chosen(mixture, fitted, dict(zip(WEIGHTS, curve_W.tolist(), strict=True)), gain)


def _scale(parts: Sequence[FloatArray]) -> tuple[float, float]:
    """Mean and deviation of finite scores; a deviation of none counts as 1."""
    score_P = np.concatenate([part[np.isfinite(part)] for part in parts]).astype(np.float64)
    if not len(score_P):
        return 0.0, 1.0
    return float(score_P.mean()), float(score_P.std()) or 1.0


def _hits(scales: Mixture, fold: Fold) -> np.ndarray:
    """UR@1 by each weight of each document with a hidden label, float64 (W, D)."""
    rows, (documents, rivals) = fold.rows, fold.fusion_DU.shape
    fusion_DU = np.concatenate([fold.fusion_BJ[rows], fold.fusion_DU], axis=1)
    semantic_DU = np.concatenate([fold.semantic_BJ[rows], fold.semantic_DU], axis=1)
    right_DU = np.concatenate([fold.right_BJ[rows], np.zeros((documents, rivals), bool)], axis=1)
    gold, every_U = sp.csr_matrix(right_DU), np.ones(right_DU.shape[1], bool)
    weighed = (scales._replace(weight=weight).combine(fusion_DU, semantic_DU) for weight in WEIGHTS)
    return np.stack([metrics.ur_at(top_k(score_DU, 1), gold, every_U, 1) for score_DU in weighed])


def _gain(hit_FWD: Sequence[np.ndarray], folds: Sequence[Fold], seed: int) -> metrics.Interval:
    """How much UR@1 gains over weight 0 by a weight that was chosen on the other folds."""
    ours, theirs, groups = [], [], []
    for number, (hit_WD, fold) in enumerate(zip(hit_FWD, folds, strict=True)):
        others = [hit for other, hit in enumerate(hit_FWD) if other != number and hit.shape[1]]
        weight = int(np.argmax(np.concatenate(others, axis=1).mean(axis=1))) if others else 0
        ours.append(hit_WD[weight])
        theirs.append(hit_WD[0])
        right_DJ = fold.right_BJ[fold.rows]
        groups.append(fold.label_J[right_DJ.argmax(axis=1)])
    joined = (np.concatenate(part) for part in (ours, theirs, groups))
    return metrics.paired_difference(*joined, seed=seed)


def _with_probability(mixture: Mixture, folds: Sequence[Fold], weight_B: np.ndarray) -> tuple[Mixture, bool]:
    """Slope and offset of the combined score; those of the fallback where it does not rise."""
    combined_P = np.concatenate([mixture.combine(fold.fusion_BJ, fold.semantic_BJ).ravel() for fold in folds])
    right_P = np.concatenate([fold.right_BJ.ravel() for fold in folds])
    weight_P = np.concatenate([np.repeat(weight_B, len(fold.label_J)) for fold in folds])
    line = fit_platt(combined_P, right_P, weight_P)
    if line is None:
        mean, deviation = mixture.fusion if mixture.weight == 1 else mixture.semantic
        offset = FALLBACK_SLOPE * mean + FALLBACK_OFFSET
        return mixture._replace(slope=FALLBACK_SLOPE * deviation, offset=offset), False
    return mixture._replace(slope=line.slope, offset=line.offset), True
