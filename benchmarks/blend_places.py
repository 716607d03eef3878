"""How many of a ranking's first places unseen labels take, and what that costs the labels that were trained."""

import numpy as np
import scipy.sparse as sp

from raytagger import metrics
from raytagger.schema import PAD, BoolArray, Scores
from raytagger.vectors import merge_disjoint


def places_taken(ranked: metrics.Ranked, unseen_L: BoolArray) -> dict[str, float]:
    """R@10 of seen labels with unseen ones in the ranking and without, and the share of places that these take.

    Over the documents of the ranking metrics that have a seen label.
    """
    gold = sp.csr_matrix(ranked.gold.multiply(~unseen_L[None, :]))
    rows = np.flatnonzero(ranked.in_ranking_B & (metrics.count_gold(gold) > 0))
    seen, unseen = (Scores(side.label_BK[rows], side.score_BK[rows]) for side in (ranked.seen, ranked.unseen))
    both, gold = merge_disjoint(seen, unseen, 10), sp.csr_matrix(gold[rows], dtype=bool)
    found_BK = both.label_BK != PAD
    taken_BK = found_BK & unseen_L[np.maximum(both.label_BK, 0)]
    return {
        "R@10": metrics.mean_defined(metrics.recall_at(both, gold, 10)),
        "R@10 without unseen labels": metrics.mean_defined(metrics.recall_at(seen, gold, 10)),
        **{f"share of {k} places": float(taken_BK[:, :k].sum() / found_BK[:, :k].sum()) for k in (1, 5, 10)},
    }
