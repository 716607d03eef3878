"""Linear weights on a tree as the recipe trains them, in this process."""

import numpy as np
import scipy.sparse as sp

from raytagger.labels.tree import LabelTree
from raytagger.recipes.rank import SURE, open_level
from raytagger.search.ranker import (
    Instances,
    RankerSettings,
    all_documents,
    columns,
    teacher_forced,
    train_level,
)


def train_weights(
    tree: LabelTree, doc_NV: sp.csr_matrix, gold: sp.csr_matrix, flat: bool = False
) -> list[sp.csc_matrix]:
    """Trained as the recipe does it; flat: every document trains every label."""
    documents = len(doc_NV.indptr) - 1
    active, weights = all_documents(documents), []
    for level, offset in zip(tree.gold_by_level(gold), tree.offsets, strict=True):
        if flat and not weights:
            weights.append(open_level(columns(doc_NV), tree.width[0], SURE))
            active = sp.csc_matrix(np.ones((documents, tree.width[0]), bool))
            continue
        weights.append(train_level(Instances(doc_NV, level, active, offset), RankerSettings()).matrix())
        active = teacher_forced(level)
    return weights
