"""Figures of merit: plain functions over gold labels and Scores, without a loop over documents.

Ranking metrics give one value a document (nan where undefined), so that a mean, a bootstrap by group and a
paired comparison all start from the same arrays; metrics over a whole corpus give a `Ratio` of per-document
parts for the same reason. `evaluate` decides which documents and labels count; nothing here reads a file.

    ranking         hits, P@k, R@k, nDCG@k
    propensity      propensities, PSP@k, PSnDCG@k
    zeroshot        ZSR@k, UR@k and what chance would reach
    classification  micro-F1 and macro-F1 of the tags kept
    calibration     reliability, expected calibration error, Brier score
    front           what a number added to all unseen labels' scores would give
    bootstrap       intervals and paired differences by groups of documents
    ratio           per-document numerators and denominators
"""

from raytagger.metrics.bootstrap import Interval, interval, paired_difference
from raytagger.metrics.calibration import RARE_AT_MOST, Bin, brier_score, expected_calibration_error, reliability
from raytagger.metrics.classification import macro_f1, micro_f1, micro_f1_parts, tag_matrix
from raytagger.metrics.front import FRONT_DEPTH, Point, Ranked, front, merge_ranked
from raytagger.metrics.propensity import propensities, psndcg_at, psndcg_gains, psp_at, psp_gains
from raytagger.metrics.ranking import count_gold, hits, ndcg_at, precision_at, recall_at
from raytagger.metrics.ratio import Ratio, mean_defined
from raytagger.metrics.zeroshot import chance_zsr, unseen_gold, ur_at, zsr_at

__all__ = [
    "Bin",
    "FRONT_DEPTH",
    "Interval",
    "Point",
    "RARE_AT_MOST",
    "Ranked",
    "Ratio",
    "brier_score",
    "chance_zsr",
    "count_gold",
    "expected_calibration_error",
    "front",
    "hits",
    "interval",
    "tag_matrix",
    "macro_f1",
    "mean_defined",
    "merge_ranked",
    "micro_f1",
    "micro_f1_parts",
    "ndcg_at",
    "paired_difference",
    "precision_at",
    "propensities",
    "psndcg_at",
    "psndcg_gains",
    "psp_at",
    "psp_gains",
    "recall_at",
    "reliability",
    "unseen_gold",
    "ur_at",
    "zsr_at",
]
