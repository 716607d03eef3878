"""Confidence intervals by resampling groups of documents.

Documents of one group (one Debian source package, one author) resemble each other; resampling them one by
one would pretend to more evidence than there is. So whole groups are drawn with replacement, as many as there
are.

Source: Efron and Tibshirani 1993, chapter 13 (percentile interval); Field and Welsh 2007 (cluster bootstrap).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raytagger.metrics.ratio import DoubleArray, Ratio, as_ratio

_CHUNK_DRAWS = 2**20  # groups drawn at once: about 40 MB


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % bootstrap interval; all three are nan where the figure is undefined."""

    value: float
    low: float
    high: float


def interval(
    values: DoubleArray | Ratio, groups: npt.ArrayLike | None = None, *, seed: int, n_resamples: int = 1000
) -> Interval:
    """The mean of per-document values, or the total of a ratio, with its interval.

    Args:
        values: float64 (B,), nan left out; or a `Ratio`, documents with 0 / 0 left out. A group that has no
            document left is not drawn.
        groups: (B,), strings or integers; by default every document is a group of its own.
        seed: the same seed gives the same interval.
        n_resamples: resamples; the work is `n_resamples` x groups.

    Raises:
        ValueError: the lengths differ.
    """
    ratio = values if isinstance(values, Ratio) else as_ratio(values)
    return _bootstrap(np.stack(ratio, axis=1), groups, lambda sums: sums[..., 0] / sums[..., 1], seed, n_resamples)


def paired_difference(
    a: DoubleArray | Ratio,
    b: DoubleArray | Ratio,
    groups: npt.ArrayLike | None = None,
    *,
    seed: int,
    n_resamples: int = 1000,
) -> Interval:
    """How much `a` exceeds `b` on the same documents: both are resampled together.

    Args:
        a: as `interval`; documents with nan in either are left out.
        b: of the same form and length as `a`.
        groups: as `interval`.
        seed: as `interval`.
        n_resamples: as `interval`.

    Raises:
        ValueError: the lengths differ.
        TypeError: one is a `Ratio` and the other is not.
    """
    if isinstance(a, Ratio) and isinstance(b, Ratio):
        return _bootstrap(
            np.stack([*a, *b], axis=1),
            groups,
            lambda sums: sums[..., 0] / sums[..., 1] - sums[..., 2] / sums[..., 3],
            seed,
            n_resamples,
        )
    if isinstance(a, Ratio) or isinstance(b, Ratio):
        raise TypeError("a paired difference needs two arrays of values or two ratios")
    if a.shape != b.shape:
        raise ValueError(f"a paired difference of {a.shape} and {b.shape}; both must be of the same documents")
    return interval(a - b, groups, seed=seed, n_resamples=n_resamples)


def _bootstrap(
    part_BM: DoubleArray,
    groups: npt.ArrayLike | None,
    statistic: Callable[[DoubleArray], DoubleArray],
    seed: int,
    n_resamples: int,
) -> Interval:
    """A statistic of column sums with its interval; M columns, R resamples, G groups."""
    part_GM = _sum_groups(part_BM, groups)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 is nan: undefined, and left out below
        value = float(statistic(part_GM.sum(axis=0)))
        drawn_R = statistic(_resample(part_GM, seed, n_resamples))
    if np.isnan(value):
        return Interval(value, value, value)
    low, high = np.nanquantile(drawn_R, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def _sum_groups(part_BM: DoubleArray, groups: npt.ArrayLike | None) -> DoubleArray:
    kept_B = (part_BM != 0).any(axis=1)
    if groups is None:
        return part_BM[kept_B]
    group_B = np.asarray(groups)
    if group_B.shape != kept_B.shape:
        raise ValueError(f"groups {group_B.shape}; expected one a document, {kept_B.shape}")
    index_B = np.unique(group_B[kept_B], return_inverse=True)[1]
    part_GM = np.zeros((index_B.max(initial=-1) + 1, part_BM.shape[1]))
    np.add.at(part_GM, index_B, part_BM[kept_B])
    return part_GM


def _resample(part_GM: DoubleArray, seed: int, n_resamples: int) -> DoubleArray:
    """Column sums of resampled groups, float64 (R, M), in chunks of resamples that bound the memory."""
    n_groups = len(part_GM)
    if not n_groups:
        return np.zeros((n_resamples, part_GM.shape[1]))
    rng = np.random.default_rng(seed)
    n_at_once = max(_CHUNK_DRAWS // n_groups, 1)
    sizes = [min(n_at_once, n_resamples - start) for start in range(0, n_resamples, n_at_once)]
    return np.concatenate([part_GM[rng.integers(n_groups, size=(n, n_groups))].sum(axis=1) for n in sizes])
