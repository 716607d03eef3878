"""Label embeddings from the documents that bear the label."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from raytagger.labels.embeddings import inverse, row_lengths, scale_rows


def pifa(doc_NV: sp.csr_matrix, gold: sp.csr_matrix) -> sp.csr_matrix:
    """Positive instance feature aggregation: a label is the sum of its documents, scaled to unit length.

    A document's weight is one over the root of how many labels it bears, so that documents with many labels do not
    draw their labels together.

    Args:
        doc_NV: CSR (N, V), rows as they are to count; TF-IDF rows have unit length.
        gold: bool CSR (N, L).

    Returns:
        CSR float32 (L, V) with sorted indices; zero rows for labels without documents (`has_vector` finds them).

    Raises:
        CorpusError: a feature is not finite.

    Source: PECOS (Yu et al. 2022), section on label representations; MatchXML, section I. Differs: MatchXML's text
    has a plain sum, the code it builds on weighs documents as here.
    """
    weight_N = inverse(np.sqrt(np.diff(gold.indptr)).astype(np.float32))
    weighted: sp.csr_matrix = scale_rows(sp.csr_matrix(gold, dtype=np.float32), weight_N)
    label_LV = sp.csr_matrix(weighted.T @ doc_NV, dtype=np.float32)
    label_LV.data *= np.repeat(inverse(row_lengths(label_LV)), np.diff(label_LV.indptr))
    label_LV.sort_indices()
    return label_LV
