"""Measuring a bundle: ranking metrics on one split, zero-shot metrics on splits that hold unseen labels.

documents      which documents count for what, and their gold labels
yardstick      which labels are unseen, for all bundles that are compared
probabilities  whether the probabilities of the tags shown come true
evaluation     tags the documents part by part and sums up
"""

from raytagger.evaluate.documents import Asked, Selection, gold_matrix, limited, select, survey, zero_shot_splits
from raytagger.evaluate.evaluation import Evaluation, evaluate, gather
from raytagger.evaluate.yardstick import Yardstick

__all__ = [
    "Asked",
    "Evaluation",
    "Selection",
    "Yardstick",
    "evaluate",
    "gather",
    "gold_matrix",
    "limited",
    "select",
    "survey",
    "zero_shot_splits",
]
