"""Which labels are nearest to which, and which are near to improbably many: over arrays alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from raytagger.progress import Progress, silent
from raytagger.schema import PAD, BoolArray, FloatArray, Scores
from raytagger.search import DenseScorer, nothing, search_exact

NEIGHBOURS = 10
ROWS = 1024  # of a slab; a block of similarities within it is 256 x 16,384
FEWEST_LABELS = 50  # of fewer, ten neighbours say nothing
HUB_DEVIATIONS = 3.0
CENTRAL_SHARE = 0.9


class Hubs(NamedTuple):
    """Labels that are like everything.

    Attributes:
        hub_L: bool (L,), which labels are hubs.
        count_L: int64 (L,), among how many other labels' ten nearest each label is.
    """

    hub_L: BoolArray
    count_L: npt.NDArray[np.int64]


def nearest_labels(vector_LD: FloatArray, k: int = NEIGHBOURS, progress: Progress = silent) -> Scores:
    """The k nearest other labels of each, exactly; ties by smaller index, `PAD` where there are fewer others.

    Memory is bounded by a block of similarities, time is L² x D.

    Args:
        vector_LD: float32 (L, D), unit rows.
        k: how many.
        progress: told of labels.

    Returns:
        Label indices and cosines, (L, k).
    """
    labels = len(vector_LD)
    everything_L = np.ones(labels, bool)
    parts = []
    for start in range(0, labels, ROWS):
        slab_SD = vector_LD[start : start + ROWS]
        found = search_exact([DenseScorer(slab_SD, vector_LD)], len(slab_SD), everything_L, k + 1)
        parts.append(_without_self(found, start))
        progress("comparing labels", start + len(slab_SD), labels)
    return Scores.concatenate(parts) if parts else nothing(0, k)


def _without_self(found: Scores, first: int) -> Scores:
    """A place less a row: the label itself, or the last where more than k others are as near as it is."""
    rows, places = found.label_BK.shape
    own_BK = found.label_BK == first + np.arange(rows, dtype=np.int32)[:, None]
    own_BK[~own_BK.any(axis=1), -1] = True
    return Scores(
        found.label_BK[~own_BK].reshape(rows, places - 1), found.score_BK[~own_BK].reshape(rows, places - 1)
    )


def find_hubs(nearest: Scores, vector_LD: FloatArray) -> Hubs:
    """Labels that are near to improbably many others and near to the centre of all: their texts tell nothing apart.

    A hub's count lies more than three standard deviations above the mean count, and its cosine with the mean of all
    embeddings above that of nine labels in ten; the second leaves the centres of crowded corners alone. Of fewer
    than 50 labels none is called a hub.

    Args:
        nearest: of `nearest_labels`.
        vector_LD: float32 (L, D), unit rows.

    Source: Radovanović, Nanopoulos and Ivanović 2010, Hubs in space, section 4 (k-occurrences; hubs arise near the
    mean). Differs: three deviations instead of two, and the condition on the mean, for fewer false alarms.
    """
    labels = len(vector_LD)
    flat_P = nearest.label_BK[nearest.label_BK != PAD]
    count_L = np.bincount(flat_P, minlength=labels).astype(np.int64)
    if labels < FEWEST_LABELS:
        return Hubs(np.zeros(labels, bool), count_L)
    centre_L = vector_LD @ vector_LD.mean(axis=0)
    frequent_L = count_L > count_L.mean() + HUB_DEVIATIONS * count_L.std()
    return Hubs(frequent_L & (centre_L > np.quantile(centre_L, CENTRAL_SHARE)), count_L)
