"""The thresholds that are best on some documents; offsets of labels where they surely help."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from raytagger.calibration.thresholds import F1_MODES, Thresholds
from raytagger.metrics import Interval, Ratio, hits, macro_f1, micro_f1, paired_difference, propensities, tag_matrix
from raytagger.metrics.ranking import dimensions, positives
from raytagger.metrics.ratio import DoubleArray
from raytagger.schema import PAD, BoolArray, FloatArray, IntArray, Scores
from raytagger.settings import ThresholdSettings

FEWEST_POSITIVES = 20  # fewer say nothing about a threshold
FOLDS = 5
SHRINKAGES = (3.0, 10.0, 30.0, 100.0, 300.0)  # positives at which half of a label's own offset remains
_NOT_TRIED = {"kept": False, "gain": None, "low": None, "high": None}


class Evidence(NamedTuple):
    """What else is known of the documents and labels by which thresholds are chosen.

    Attributes:
        group_B: int or str (B,), documents of one group resemble each other; for the folds and the bootstrap.
        count_L: int (L,), training documents of each label.
        documents: training documents.
        seed: of the folds and the bootstrap.
    """

    group_B: np.ndarray
    count_L: np.ndarray
    documents: int
    seed: int


class FittedThresholds(NamedTuple):
    """Thresholds, and how they came about: values for JSON."""

    thresholds: Thresholds
    report: dict[str, Any]


def fit_thresholds(
    scores: Scores, gold: csr_matrix, settings: ThresholdSettings, k: int, evidence: Evidence
) -> FittedThresholds:
    """The thresholds that are best on some documents.

    The global threshold is the best of all there are, midway between two neighbouring scores; of equally good ones
    the highest, for a target precision the lowest that reaches it. With fewer than 20 right labels among the
    candidates it is `settings.value`. Offsets of labels: see `_offsets`; they are tried for the F1 modes.
    With `settings.propensity`, counts of a label weigh 1 / propensity in the choice, which cancels out in macro-F1;
    the report's figures are plain ones.

    Args:
        scores: (B, K), probabilities, finite where not `PAD`.
        gold: bool (B, L); every document counts.
        settings: checked by `check_thresholds`.
        k: tags of a document at most.
        evidence: what else is known.

    Returns:
        The report has `mode, value, precision, recall, micro_F1, per_label` (`kept, gain, low, high, why`),
        `documents, positives, why`; None where undefined.

    Raises:
        ValueError: scores, gold and evidence do not fit together, or a score is not finite.
        IndexError: a label is outside of the gold matrix.
    """
    shape = len(evidence.group_B), len(evidence.count_L)
    if (len(scores), len(evidence.count_L)) != dimensions(gold) or shape != dimensions(gold):
        raise ValueError(f"gold {dimensions(gold)}, {len(scores)} rows of scores and evidence {shape} must agree")
    weight_L = 1 / propensities(evidence.count_L, evidence.documents) if settings.propensity else np.ones(shape[1])
    limits = Thresholds(None, None, settings.least, settings.most, settings.abstain)
    problem = _Problem(scores.top(k), positives(gold), settings, limits, weight_L)
    value, why, right = problem.best_cut()
    found = replace(limits, value=value)
    own = _NOT_TRIED | {"why": why or f"not for the mode {settings.mode}"}
    if settings.mode in F1_MODES and why is None:
        found, own = _offsets(problem, found, evidence)
    tags, gold = tag_matrix(found.keep(scores, k), shape[1]), problem.gold
    of_both = micro_f1(tags, gold) if tags.nnz + gold.nnz else None
    share = {"precision": tags.nnz, "recall": gold.nnz}
    figures = {name: tags.multiply(gold).nnz / of if of else None for name, of in share.items()}
    report = {"mode": settings.mode, "value": value, **figures, "micro_F1": of_both}
    report |= {"per_label": own, "documents": len(scores), "positives": right, "why": why}
    return FittedThresholds(found, report)


class _Candidates(NamedTuple):
    """Pairs that a threshold decides about, by falling score (P), and counts by label (L) of the others."""

    label_P: IntArray
    score_P: FloatArray
    right_P: BoolArray
    forced_right_L: np.ndarray  # among the `least` tags that a document has anyway
    forced_L: np.ndarray
    gold_L: np.ndarray


class _Problem(NamedTuple):
    """Documents, and what is to be best on them."""

    scores: Scores  # no wider than tags may be kept
    gold: csr_matrix
    settings: ThresholdSettings
    limits: Thresholds
    weight_L: DoubleArray

    def take(self, chosen_B: BoolArray) -> _Problem:
        scores = Scores(self.scores.label_BK[chosen_B], self.scores.score_BK[chosen_B])
        return self._replace(scores=scores, gold=self.gold[np.flatnonzero(chosen_B)])

    def tags(self, label_BK: IntArray) -> csr_matrix:
        return tag_matrix(Scores(label_BK, self.scores.score_BK), len(self.weight_L))

    def candidates(self) -> _Candidates:
        label_BK, score_BK = self.scores.label_BK, self.scores.score_BK
        free_BK = self.limits.candidates(self.scores, label_BK.shape[1])
        if not np.isfinite(score_BK[label_BK > PAD]).all():
            raise ValueError("a score of a label is not finite; thresholds need probabilities")
        right_BK = hits(self.scores, self.gold)
        forced_BK = free_BK & (np.arange(label_BK.shape[1]) < self.settings.least)
        free_BK &= ~forced_BK
        order_P = np.argsort(-score_BK[free_BK], kind="stable")
        label_P, score_P, right_P = label_BK[free_BK], score_BK[free_BK], right_BK[free_BK]
        counted = (label_BK[forced_BK & right_BK], label_BK[forced_BK], self.gold.indices)
        right_L, forced_L, gold_L = (np.bincount(label_P, minlength=len(self.weight_L)) for label_P in counted)
        return _Candidates(label_P[order_P], score_P[order_P], right_P[order_P], right_L, forced_L, gold_L)

    def best_cut(self) -> tuple[float | None, str | None, int]:
        """The global threshold, why it was not chosen as asked, and the right candidates; O(P log P)."""
        free, settings = self.candidates(), self.settings
        right = int(free.forced_right_L.sum() + free.right_P.sum())
        if settings.mode in ("count", "fixed"):
            return (settings.value if settings.mode == "fixed" else None), None, right
        if right < FEWEST_POSITIVES:
            why = f"{right} right labels among the candidates; {FEWEST_POSITIVES} are needed to choose a threshold"
            return settings.value, why, right
        if not len(free.score_P):
            return settings.value, f"every candidate is one of the {settings.least} tags at least", right
        value_C, why = self.values(free), None
        cut_P, threshold_C, _ = _cuts(free.score_P, np.arange(len(free.score_P)) == 0, settings.value)
        value_C = value_C[np.append(True, cut_P)]
        if settings.mode in F1_MODES:
            return float(threshold_C[np.argmax(value_C)]), None, right
        enough = min(settings.precision, value_C.max())
        if enough < settings.precision:
            why = f"precision {settings.precision} is out of reach; the greatest is {enough:.3f}"
        return float(threshold_C[np.flatnonzero(value_C >= enough)[-1]]), why, right

    def values(self, free: _Candidates) -> DoubleArray:
        """What is to be great when the first 0, 1, … of the candidates are kept."""
        if self.settings.mode == "macro_F1":  # each candidate changes the F1 of its own label alone
            right_P, kept_P = _within_labels(free)
            total_P, total_L = kept_P + free.gold_L[free.label_P], free.forced_L + free.gold_L
            change_P = 2 * right_P / total_P - _divided(2 * (right_P - free.right_P), total_P - 1)
            sum_C = np.cumsum(np.append(_divided(2 * free.forced_right_L, total_L).sum(), change_P))
            return _divided(sum_C, np.cumsum(np.append((total_L > 0).sum(), total_P == 1)))
        weight_P = self.weight_L[free.label_P]
        right_C = np.cumsum(np.append(self.weight_L @ free.forced_right_L, weight_P * free.right_P))
        kept_C = np.cumsum(np.append(self.weight_L @ free.forced_L, weight_P))
        if self.settings.mode == "precision":
            return _divided(right_C, kept_C)
        return _divided(2 * right_C, kept_C + self.weight_L @ free.gold_L)


def _within_labels(free: _Candidates) -> tuple[DoubleArray, DoubleArray]:
    """For each candidate, the right and all tags of its label if it and all before are kept; float64 (P,)."""
    order_P = np.argsort(free.label_P, kind="stable")
    first_P = np.searchsorted(free.label_P[order_P], free.label_P[order_P])
    total_P = np.append(0, np.cumsum(free.right_P[order_P]))
    right_P, kept_P = np.empty((2, len(order_P)))
    right_P[order_P] = total_P[1:] - total_P[first_P]
    kept_P[order_P] = np.arange(1, len(order_P) + 1) - first_P
    return right_P + free.forced_right_L[free.label_P], kept_P + free.forced_L[free.label_P]


def _cuts(score_P: FloatArray, first_P: BoolArray, value: float) -> tuple[BoolArray, FloatArray, BoolArray]:
    """Thresholds that cut lists of falling scores: before each list, then after each `cut_P`, never within equals.

    They are midway between two scores, as if 1 and 0 stood beyond the ends; the last says if `value` is there too.
    """
    minus, plus = np.float32(-np.inf), np.float32(np.inf)
    below_P = np.where(np.append(first_P[1:], True), minus, np.append(score_P[1:], minus))
    cut_P = score_P > below_P
    low_C = np.append(score_P[first_P], below_P[cut_P])
    high_C = np.append(np.full(int(first_P.sum()), plus), score_P[cut_P])
    inside_C = (low_C < np.float32(value)) & (np.float32(value) <= high_C)
    high_C = np.where(high_C < plus, high_C, np.maximum(np.nextafter(low_C, plus), np.float32(1)))
    low_C = np.where(low_C > minus, low_C, np.minimum(high_C, np.float32(0)))
    middle_C = ((low_C.astype(np.float64) + high_C) / 2).astype(np.float32)
    return cut_P, np.where(middle_C > low_C, middle_C, high_C), inside_C


def _offsets(problem: _Problem, found: Thresholds, evidence: Evidence) -> tuple[Thresholds, dict[str, Any]]:
    """Thresholds with offsets of labels if they surely help, and the report about it.

    A label's own best threshold is drawn towards the global one by n / (n + m), n its right candidates. For m and
    the gain, thresholds are chosen on four fifths of the groups and measured on the fifth; a fifth's m is the one
    that is best on the others, so that the gain does not count its own choice.
    """
    group_B = np.unique(evidence.group_B, return_inverse=True)[1].reshape(-1)
    groups = int(group_B.max(initial=-1)) + 1
    if problem.settings.per_label == "never":
        return found, _NOT_TRIED | {"why": "threshold.per_label is never"}
    if groups < 2:
        return found, _NOT_TRIED | {"why": "all documents are of one group, so that none can be held out"}
    fold_B = (np.random.default_rng(evidence.seed).permutation(groups) % FOLDS)[group_B]
    label_MBK = _held_out(problem, fold_B)
    plain, *shrunken = (problem.tags(label_BK) for label_BK in label_MBK)
    choice_F = np.array([_best_shrinkage(problem, shrunken, fold_B != fold) for fold in range(FOLDS)])
    new = problem.tags(label_MBK[1 + choice_F[fold_B], np.arange(len(fold_B))])
    gain = _gain(problem, (new, plain), group_B, evidence.seed)
    report = {"kept": gain.low > 0, "gain": gain.value, "low": gain.low, "high": gain.high}
    if not gain.low > 0:
        return found, report | {"why": "the gain's 95 % interval is not above 0"}
    m = SHRINKAGES[_best_shrinkage(problem, shrunken, fold_B >= 0)]
    why = f"the gain's 95 % interval is above 0; half an offset remains at {m:g} right candidates"
    return replace(found, offset_L=_own(problem, found, m)), report | {"why": why}


def _held_out(problem: _Problem, fold_B: np.ndarray) -> np.ndarray:
    """Tags by thresholds of the other folds: without offsets, and for each shrinkage; int32 (1 + M, B, K)."""
    label_MBK = np.stack([problem.scores.label_BK] * (1 + len(SHRINKAGES)))
    for fold in range(FOLDS):
        rest, chosen_B = problem.take(fold_B != fold), fold_B == fold
        found = replace(problem.limits, value=rest.best_cut()[0])
        for row, m in enumerate((np.inf, *SHRINKAGES)):
            rule = replace(found, offset_L=_own(rest, found, m))
            label_MBK[row, chosen_B] = rule.keep(problem.take(chosen_B).scores, label_MBK.shape[-1]).label_BK
    return label_MBK


def _own(problem: _Problem, found: Thresholds, m: float) -> FloatArray:
    """How far each label's best threshold is from the global one, times n / (n + m); float32 (L,).

    The best is that of the label's greatest F1 for macro-F1; for a micro-F1 of F that of greatest 2 right - F kept,
    which raises the ratio (Dinkelbach 1967). Of equally good ones it is the nearest to the global one.
    """
    free = problem.candidates()
    offset_L, value = np.zeros(len(free.gold_L), np.float32), np.float32(found.value or 0)
    if not len(free.score_P):
        return offset_L
    order_P = np.argsort(free.label_P, kind="stable")
    right_P, kept_P = (count_P[order_P] for count_P in _within_labels(free))
    label_P, score_P = free.label_P[order_P], free.score_P[order_P]
    first_P = np.append(True, label_P[1:] != label_P[:-1])
    cut_P, threshold_C, inside_C = _cuts(score_P, first_P, float(value))
    label_C = np.append(label_P[first_P], label_P[cut_P])
    right_C = np.append(free.forced_right_L[label_P[first_P]], right_P[cut_P])
    kept_C = np.append(free.forced_L[label_P[first_P]], kept_P[cut_P])
    if problem.settings.mode == "macro_F1":
        gain_C = _divided(2 * right_C, kept_C + free.gold_L[label_C])
    else:
        kept = int((free.score_P >= value).sum())
        gain_C = 2 * right_C - problem.values(free)[kept] * kept_C
    shift_C = np.where(inside_C, np.float32(0), threshold_C - value)
    order_C = np.lexsort((np.abs(shift_C), -gain_C, label_C))
    label_U, best_U = np.unique(label_C[order_C], return_index=True)
    right_L = free.forced_right_L + np.bincount(free.label_P, free.right_P, len(offset_L))
    offset_L[label_U] = shift_C[order_C[best_U]] * (right_L / (right_L + m))[label_U]
    return offset_L


def _best_shrinkage(problem: _Problem, tags: list[csr_matrix], chosen_B: BoolArray) -> int:
    part, rows = problem.take(chosen_B), [kept[np.flatnonzero(chosen_B)] for kept in tags]
    macro = problem.settings.mode == "macro_F1"
    values = [macro_f1(kept, part.gold) if macro else _micro_parts(kept, part).total() for kept in rows]
    return int(np.argmax(np.nan_to_num(values, nan=-1.0)))


def _micro_parts(kept: csr_matrix, problem: _Problem) -> Ratio:
    """`metrics.micro_f1_parts` with a weight for each label."""
    parts = (kept.multiply(problem.gold), kept, problem.gold)
    correct_B, kept_B, gold_B = (np.asarray(part @ problem.weight_L) for part in parts)
    return Ratio(2 * correct_B, kept_B + gold_B)


def _gain(problem: _Problem, tags: tuple[csr_matrix, csr_matrix], group_B: np.ndarray, seed: int) -> Interval:
    """By how much the first tags have a greater F1 than the second."""
    if problem.settings.mode == "micro_F1":
        new, old = (_micro_parts(kept, problem) for kept in tags)
        return paired_difference(new, old, group_B, seed=seed)
    # Macro-F1 is no ratio of sums over documents: the counts of every label are resampled.
    groups, gold = int(group_B.max()) + 1, problem.gold.astype(np.float64)
    member_GB = csr_matrix((np.ones(len(group_B)), (group_B, np.arange(len(group_B)))))
    parts = [((member_GB @ (2.0 * kept.multiply(gold))).T, (member_GB @ (kept + gold)).T) for kept in tags]

    def difference(draw_GR: np.ndarray) -> DoubleArray:
        counts = [(right_LG @ draw_GR, total_LG @ draw_GR) for right_LG, total_LG in parts]
        sums = [_divided(right_LR, total_LR).sum(axis=0) for right_LR, total_LR in counts]
        labels = [np.maximum((total_LR > 0).sum(axis=0), 1) for _, total_LR in counts]
        return sums[0] / labels[0] - sums[1] / labels[1]

    rng, share_G = np.random.default_rng(seed), np.full(groups, 1 / groups)
    draws = (rng.multinomial(groups, share_G, 10).T for _ in range(100))  # ten at once bound the memory
    low, high = np.quantile(np.concatenate([difference(draw_GR) for draw_GR in draws]), [0.025, 0.975])
    return Interval(float(difference(np.ones((groups, 1)))[0]), float(low), float(high))


def _divided(above: np.ndarray, below: np.ndarray) -> DoubleArray:
    """The quotient, 0 for 0 / 0."""
    return np.divide(above, below, out=np.zeros(np.shape(above)), where=below > 0)
