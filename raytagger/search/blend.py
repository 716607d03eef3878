"""One ranking from what several members say of the same documents: their labels united, and a gate over the pairs.

A pair is a document and a label that some member named. The gate is linear in a few facts of a pair, so that what
each member adds to a score can be told; seen and unseen labels have a gate each, since members know different
things of them.

Axes: B documents, C candidates of a document, M members, F facts of a pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from raytagger.schema import PAD, BoolArray, FloatArray, IntArray, Scores

DoubleArray = np.ndarray  # float64
WIDEST = 10.0  # deviations from a label's usual score that make a difference


class Candidates(NamedTuple):
    """The labels that members named, and their scores.

    Attributes:
        label_BC: int32 (B, C), ascending in a row, `PAD` behind them.
        score_MBC: float32 (M, B, C); a member's least score of the document for labels that it did not name.
        rank_MBC: float32 (M, B, C), 1 / place in the member's ranking; 0 for labels that it did not name.
        best_MB: float32 (M, B), each member's best score of a document; 0 where it named none.
        blank_MB: bool (M, B), the member knows nothing of the document, and its scores of 0 say nothing.
    """

    label_BC: IntArray
    score_MBC: FloatArray
    rank_MBC: FloatArray
    best_MB: FloatArray
    blank_MB: BoolArray = np.zeros((1, 1), bool)

    def take(self, rows: np.ndarray) -> Candidates:
        """Those of some documents, int64 rows."""
        return Candidates(
            self.label_BC[rows],
            self.score_MBC[:, rows],
            self.rank_MBC[:, rows],
            self.best_MB[:, rows],
            self.blank_MB[:, rows],
        )

    @staticmethod
    def concatenate(parts: Sequence[Candidates]) -> Candidates:
        """Those of several batches of documents."""
        width = max(part.label_BC.shape[1] for part in parts)

        def joined(values: Sequence[np.ndarray], axis: int, filled: int = 0) -> np.ndarray:
            more = [[(0, 0)] * (one.ndim - 1) + [(0, width - one.shape[-1])] for one in values]
            return np.concatenate(
                [np.pad(one, pad, constant_values=filled) for one, pad in zip(values, more, strict=True)], axis=axis
            )

        return Candidates(
            joined([part.label_BC for part in parts], 0, PAD),
            joined([part.score_MBC for part in parts], 1),
            joined([part.rank_MBC for part in parts], 1),
            np.concatenate([part.best_MB for part in parts], axis=1),
            np.concatenate([part.blank_MB for part in parts], axis=1),
        )


class Gate(NamedTuple):
    """Facts of a pair to log odds.

    Attributes:
        weight_F: float64 (F,).
        offset: added.
    """

    weight_F: DoubleArray
    offset: float

    def odds(self, fact_BCF: DoubleArray) -> DoubleArray:
        """float64 (B, C)."""
        return fact_BCF @ self.weight_F + self.offset


class Setting(NamedTuple):
    """What is known of pairs beside the members' scores.

    Attributes:
        log_count_BC: log(1 + training documents) of each candidate.
        overlap_BC: share of the label text's words that stand in the document, weighed by their rarity.
        log_words_B1: log(1 + known words) of each document.
    """

    log_count_BC: DoubleArray
    overlap_BC: DoubleArray
    log_words_B1: DoubleArray


def unite(results: Sequence[Scores], blank_MB: BoolArray | None = None) -> Candidates:
    """The union of the members' labels, document by document.

    Args:
        results: one a member, of the same B documents.
        blank_MB: bool (M, B), documents of which a member knows nothing; none by default.
    """
    named_BJ = np.concatenate([result.label_BK for result in results], axis=1)
    label_BC = _distinct(named_BJ)
    rows, width = label_BC.shape
    shape = (len(results), rows, width)
    score_MBC, rank_MBC = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    best_MB = np.zeros(shape[:2], np.float32)
    for member, result in enumerate(results):
        filled_BK = result.label_BK != PAD
        least_B = np.where(filled_BK, result.score_BK, np.inf).min(axis=1, initial=np.inf)
        best_B = np.where(filled_BK, result.score_BK, -np.inf).max(axis=1, initial=-np.inf)
        score_MBC[member] = np.where(np.isfinite(least_B), least_B, 0)[:, None]
        best_MB[member] = np.where(np.isfinite(best_B), best_B, 0)
        row_P, place_P = np.nonzero(filled_BK)
        column_P = _columns(label_BC, row_P, result.label_BK[filled_BK])
        score_MBC[member, row_P, column_P] = result.score_BK[filled_BK]
        rank_MBC[member, row_P, column_P] = 1 / (1 + place_P)
    blank_MB = np.zeros(shape[:2], bool) if blank_MB is None else blank_MB
    return Candidates(label_BC, score_MBC, rank_MBC, best_MB, blank_MB)


def seen_facts(odds_MBC: DoubleArray, candidates: Candidates, setting: Setting) -> DoubleArray:
    """Facts of pairs whose label was trained: float64 (B, C, 3 M + 4).

    Members' log odds, the same times the label's log count, their reciprocal ranks; log count, overlap, overlap
    times log count, log words.
    """
    count_BC, overlap_BC = setting.log_count_BC, setting.overlap_BC
    words_BC = np.broadcast_to(setting.log_words_B1, count_BC.shape)
    own = [count_BC, overlap_BC, overlap_BC * count_BC, words_BC]
    return np.stack([*odds_MBC, *(odds_MBC * count_BC), *candidates.rank_MBC, *own], axis=-1)


def unseen_facts(unusual_MBC: DoubleArray, candidates: Candidates, setting: Setting) -> DoubleArray:
    """Facts of pairs whose label was not trained: float64 (B, C, 4 M + 2).

    How unusual each member's score is for the label, the members' reciprocal ranks, their scores, and how far these
    are below the document's best; overlap, log words.
    """
    words_BC = np.broadcast_to(setting.log_words_B1, setting.overlap_BC.shape)
    score_MBC = candidates.score_MBC.astype(np.float64)
    behind_MBC = candidates.best_MB[:, :, None] - score_MBC
    own = [setting.overlap_BC, words_BC]
    return np.stack([*unusual_MBC, *candidates.rank_MBC, *score_MBC, *behind_MBC, *own], axis=-1)


def unusual(candidates: Candidates, mean_ML: FloatArray, deviation_ML: FloatArray) -> DoubleArray:
    """Members' scores as deviations from what they usually give the label: float64 (M, B, C), within ±10.

    0 where a member knows nothing of the document.

    Some label texts are near to every document; only a score above a label's usual one says something.

    Args:
        candidates: of the documents.
        mean_ML: float32 (M, L), a member's mean score of a label over documents of the corpus.
        deviation_ML: float32 (M, L), its standard deviation there.
    """
    safe_BC = np.maximum(candidates.label_BC, 0)
    away_MBC = candidates.score_MBC.astype(np.float64) - mean_ML[:, safe_BC]
    away_MBC = np.clip(away_MBC / np.maximum(deviation_ML[:, safe_BC], 1e-6), -WIDEST, WIDEST)
    return np.where(candidates.blank_MB[:, :, None], 0.0, away_MBC)


def ranked(candidates: Candidates, value_BC: DoubleArray, k: int) -> Scores:
    """The k candidates of greatest value of each document."""
    label_BC = candidates.label_BC
    value_BC = np.where(label_BC == PAD, -np.inf, value_BC).astype(np.float32)
    order_BK = np.argsort(-value_BC, axis=1, kind="stable")[:, :k]  # labels ascend, so that ties keep their order
    found = Scores(np.take_along_axis(label_BC, order_BK, 1), np.take_along_axis(value_BC, order_BK, 1))
    missing = k - found.label_BK.shape[1]
    if missing <= 0:
        return found
    return Scores(
        np.pad(found.label_BK, ((0, 0), (0, missing)), constant_values=PAD),
        np.pad(found.score_BK, ((0, 0), (0, missing)), constant_values=-np.inf),
    )


def _distinct(label_BJ: IntArray) -> IntArray:
    """Each row's different labels, ascending, `PAD` behind them."""
    big = np.iinfo(np.int32).max
    sorted_BJ = np.sort(np.where(label_BJ == PAD, big, label_BJ), axis=1)
    again_BJ = np.zeros(sorted_BJ.shape, bool)
    again_BJ[:, 1:] = sorted_BJ[:, 1:] == sorted_BJ[:, :-1]
    sorted_BJ = np.sort(np.where(again_BJ, big, sorted_BJ), axis=1)
    width = int((sorted_BJ != big).sum(axis=1).max(initial=0))
    return np.where(sorted_BJ[:, :width] == big, PAD, sorted_BJ[:, :width]).astype(np.int32)


def _columns(label_BC: IntArray, row_P: np.ndarray, label_P: IntArray) -> np.ndarray:
    """Where pairs stand among the candidates of their documents."""
    rows, width = label_BC.shape
    span = int(label_BC.max(initial=0)) + 2
    key_BC = np.where(label_BC == PAD, span - 1, label_BC).astype(np.int64) + np.arange(rows)[:, None] * span
    return np.searchsorted(key_BC.ravel(), row_P * span + label_P) - row_P * width
