"""Label fusion: an unseen label scores by the seen labels of a document whose weighted sum comes closest to it.

A document that is *Convolution* with 0.96 and *Artificial neural network* with 0.81 may well be *Convolutional
neural network*, which no document has been trained on. Which of the document's labels to sum is searched for each
unseen label anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from raytagger.errors import CorpusError, SettingsError
from raytagger.schema import PAD, BoolArray, FloatArray, IntArray, Scores
from raytagger.search.fusion_kernels import (
    CANCELLED,
    DoubleArray,
    Found,
    MaskArray,
    enumerate_subsets,
    search_branches,
)

SEARCHES = ("branch", "exhaustive", "conse")
MOST_LABELS, MOST_ENUMERATED = 30, 20
ROWS, LABELS = 64, 2048  # documents and unseen labels at a time
# Subsets of so few labels are enumerated, for so many unseen labels side by side, sooner than branched on.
FEW_LABELS, MANY_UNSEEN = 11, 32


@dataclass(frozen=True)
class FusionOptions:
    """Which labels may be fused, and how the best of their subsets is searched.

    Attributes:
        threshold: labels with a probability above it take part.
        labels_at_most: of these the most probable ones, 30 at most.
        search: `branch` is exact where the budget suffices and says so; `exhaustive` tries every subset, of 20
            labels at most; `conse` takes all labels as the one subset.
        node_budget: nodes that `branch` visits for one document and one unseen label; as a tree over 14 labels has
            no more than 32,767 nodes, these are always proven by default.

    Raises:
        SettingsError: a value out of range, an unknown search.
    """

    threshold: float = 0.1
    labels_at_most: int = 12
    search: str = "branch"
    node_budget: int = 32_768

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise SettingsError("threshold of label fusion", got=self.threshold, expected="0 to less than 1")
        if self.search not in SEARCHES:
            raise SettingsError("search of label fusion", got=self.search, expected=", ".join(SEARCHES))
        if not 1 <= self.labels_at_most <= MOST_LABELS:
            raise SettingsError("labels to fuse", got=self.labels_at_most, expected=f"1 to {MOST_LABELS}")
        if self.search == "exhaustive" and self.labels_at_most > MOST_ENUMERATED:
            raise SettingsError(
                "labels to fuse by exhaustive search",
                got=self.labels_at_most,
                expected=f"{MOST_ENUMERATED} at most",
                remedy="The search `branch` takes more.",
            )
        if self.node_budget < 1:
            raise SettingsError("node budget of label fusion", got=self.node_budget, expected="1 or more")


class Fusion(NamedTuple):
    """What label fusion says of each document and unseen label.

    Attributes:
        score_BU: float32 (B, U), the best subset's cosine; -inf where a document has no label to fuse.
        chosen_BU: int64 (B, U), that subset: bit k stands for place k of the shortlist; 0 where there is none.
        proven_BU: bool (B, U), no subset scores more than 1e-7 above it; always true but where `branch` ran out
            of its budget. ConSE looks at one subset and has nothing to prove: true.
        nodes: nodes visited by `branch`, subsets tried where they were enumerated, in all.
    """

    score_BU: FloatArray
    chosen_BU: MaskArray
    proven_BU: BoolArray
    nodes: int


_DEFAULTS = FusionOptions()


def fuse(
    shortlist: Scores, seen_LE: FloatArray, unseen_UE: FloatArray, options: FusionOptions = _DEFAULTS
) -> Fusion:
    """Scores every unseen label by the best subset c of a document's labels: max over c of cos(Σ_c p_i e_i, u).

    Labels without a text, whose embedding is zero, are not fused; an unseen label without one scores 0. A subset
    whose embeddings cancel each other has no direction and does not count. Of equal subsets any may be named.

    Args:
        shortlist: the seen labels of each document with their probabilities, best first.
        seen_LE: float32 (L, E), unit or zero rows, which the shortlist's labels index.
        unseen_UE: float32 (U, E), unit or zero rows of the same encoder.
        options: see `FusionOptions`.

    Raises:
        SettingsError: a probability outside [0, 1]; embeddings of two widths.
        CorpusError: a label of the shortlist has no embedding.

    Cost: beside what is returned, memory of a block of 64 documents and 2,048 unseen labels.

    Source: XML0, section III-A, algorithm 1. Differs: the paper neither caps the labels nor gives its threshold;
    `branch` finds the same subsets without trying all.
    """
    shortlist = shortlist.top(options.labels_at_most)
    _check(shortlist, seen_LE, unseen_UE)
    shape = (len(shortlist), len(unseen_UE))
    found = Fusion(np.full(shape, -np.inf, np.float32), np.zeros(shape, np.int64), np.ones(shape, bool), 0)
    nodes = 0
    for start in range(0, shape[1], LABELS):
        unseen_UE64 = unseen_UE[start : start + LABELS].astype(np.float64)
        for row in range(0, shape[0], ROWS):
            block = (slice(row, row + ROWS), slice(start, start + LABELS))
            part = Fusion(found.score_BU[block], found.chosen_BU[block], found.proven_BU[block], 0)
            rows = Scores(shortlist.label_BK[block[0]], shortlist.score_BK[block[0]])
            nodes += _fuse_block(rows, seen_LE, unseen_UE64, options, part)
    return found._replace(nodes=nodes)


def fused_labels(chosen: int, label_K: IntArray) -> IntArray:
    """The labels of a subset.

    Args:
        chosen: one entry of `Fusion.chosen_BU`.
        label_K: that document's row of the shortlist.
    """
    return label_K[[place for place in range(min(len(label_K), MOST_LABELS)) if int(chosen) >> place & 1]]


def _check(shortlist: Scores, seen_LE: FloatArray, unseen_UE: FloatArray) -> None:
    taken_BK = shortlist.label_BK != PAD
    probability_P = shortlist.score_BK[taken_BK]
    wrong_P = probability_P[~((probability_P >= 0) & (probability_P <= 1))]
    if len(wrong_P):
        raise SettingsError(
            "scores to fuse labels by",
            got=float(wrong_P[0]),
            expected="probabilities, 0 to 1",
            remedy="Calibrate the bundle that tags with seen labels.",
        )
    if seen_LE.shape[1] != unseen_UE.shape[1]:
        raise SettingsError(
            "widths of the embeddings of seen and unseen labels",
            got=(seen_LE.shape[1], unseen_UE.shape[1]),
            expected="the same",
            remedy="Encode both with one encoder.",
        )
    highest = int(shortlist.label_BK.max(initial=PAD))
    if highest >= len(seen_LE) or int(shortlist.label_BK.min(initial=PAD)) < PAD:
        raise CorpusError("labels to fuse", got=highest, expected=f"indices of {len(seen_LE)} embeddings")


def _fuse_block(
    shortlist: Scores, seen_LE: FloatArray, unseen_UE: DoubleArray, options: FusionOptions, found: Fusion
) -> int:
    """Fills `found` for a block; the nodes it took."""
    taken_BK = (shortlist.label_BK != PAD) & (shortlist.score_BK > options.threshold)
    label_S, place_P = np.unique(shortlist.label_BK[taken_BK], return_inverse=True)
    seen_SE = seen_LE[label_S].astype(np.float64)
    dot_SU = seen_SE @ unseen_UE.T
    row_BK = np.full(taken_BK.shape, PAD)
    row_BK[taken_BK] = place_P
    taken_BK[taken_BK] = np.any(seen_SE != 0, axis=1)[place_P]
    nodes = 0
    for document in range(len(shortlist)):
        place_K = np.flatnonzero(taken_BK[document])
        if not len(place_K):
            continue
        row_K = row_BK[document, place_K]
        weight_K = shortlist.score_BK[document, place_K].astype(np.float64)
        sum_KE = seen_SE[row_K] * weight_K[:, None]
        dot_UK = np.ascontiguousarray((dot_SU[row_K] * weight_K[:, None]).T)
        answer = Found(found.score_BU[document], found.chosen_BU[document], found.proven_BU[document])
        nodes += _search(sum_KE @ sum_KE.T, dot_UK, options, answer)
        if place_K[-1] >= len(place_K):  # places of the shortlist were left out
            answer.chosen_U[:] = _spread(answer.chosen_U, place_K)
    return nodes


def _search(gram_KK: DoubleArray, dot_UK: DoubleArray, options: FusionOptions, found: Found) -> int:
    if options.search == "conse":
        return _take_all(gram_KK, dot_UK, found)
    unseen, places = dot_UK.shape
    cheap = places <= FEW_LABELS and unseen >= MANY_UNSEEN and (1 << places) <= options.node_budget
    if options.search == "exhaustive" or cheap:
        return enumerate_subsets(gram_KK, dot_UK, found)
    return search_branches(gram_KK, dot_UK, options.node_budget, found)


def _take_all(gram_KK: DoubleArray, dot_UK: DoubleArray, found: Found) -> int:
    """ConSE, the one combination of all labels.

    Source: XML0, section IV-A, after Norouzi et al. 2014.
    """
    square = gram_KK.sum()
    if square > CANCELLED * np.trace(gram_KK):
        found.score_U[:] = dot_UK.sum(axis=1) / np.sqrt(square)
        found.chosen_U[:] = (1 << len(gram_KK)) - 1
    return len(dot_UK)


def _spread(chosen_U: MaskArray, place_K: npt.NDArray[np.intp]) -> MaskArray:
    """Moves bit i to bit place_K[i]."""
    spread_U = np.zeros_like(chosen_U)
    for bit, place in enumerate(place_K):
        spread_U |= (chosen_U >> bit & 1) << int(place)
    return spread_U
