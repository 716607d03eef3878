"""Figures label by label, and of labels in groups."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from raytagger import metrics
from raytagger.metrics import RARE_AT_MOST
from raytagger.report.subject import Subject
from raytagger.schema import PAD, FloatArray, Scores
from raytagger.tables import percent

FEWEST_GOLD = 5  # measured documents of a label that is called best or worst
SHOWN = 12


class LabelCounts(NamedTuple):
    """Counts over the measured documents, int64 (L,) each: gold pairs, those found among ten, and tags kept."""

    gold_L: np.ndarray
    found_L: np.ndarray
    kept_L: np.ndarray
    right_L: np.ndarray


def count_labels(subject: Subject) -> LabelCounts:
    """How often each label was to be found, was among the best ten, was kept as a tag, and rightly so."""
    count = len(subject.labels)
    gold = subject.ranked.gold
    label_BK = subject.best.label_BK
    hit_BK = _hits(subject)
    kept_k = int(subject.manifest["settings"]["search"]["k"])
    kept_BK, hit_kept_BK = label_BK[:, :kept_k], hit_BK[:, :kept_k]

    def tally(labels: np.ndarray) -> np.ndarray:
        return np.bincount(labels[labels != PAD], minlength=count)

    return LabelCounts(
        np.asarray(gold.sum(0)).ravel().astype(np.int64),
        tally(label_BK[hit_BK]),
        tally(kept_BK),
        tally(kept_BK[hit_kept_BK]),
    )


def buckets(subject: Subject) -> list[dict[str, Any]]:
    """Seen and frequent, seen and rare, unseen labels: how many, and how well they are found among ten."""
    counts, trained_L = count_labels(subject), subject.train_count_L
    seen_L = ~subject.unseen_L
    groups = {
        f"seen, more than {RARE_AT_MOST} training documents": seen_L & (trained_L > RARE_AT_MOST),
        f"seen, {RARE_AT_MOST} or fewer": seen_L & (trained_L <= RARE_AT_MOST),
        "unseen": subject.unseen_L,
    }
    rows = []
    for name, member_L in groups.items():
        gold, found = int(counts.gold_L[member_L].sum()), int(counts.found_L[member_L].sum())
        measured_L = member_L & (counts.gold_L > 0)
        each = counts.found_L[measured_L] / counts.gold_L[measured_L]
        rows.append(
            {
                "group": name,
                "labels": int(member_L.sum()),
                "pairs": gold,
                "recall": found / gold if gold else None,
                "mean_recall": float(each.mean()) if len(each) else None,
            }
        )
    return rows


def best_and_worst(subject: Subject) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The labels that are found best and worst, of those with enough documents."""
    counts = count_labels(subject)
    enough = np.flatnonzero(counts.gold_L >= FEWEST_GOLD)
    recall_L = counts.found_L / np.maximum(counts.gold_L, 1)
    order = enough[np.lexsort((-counts.gold_L[enough], -recall_L[enough]))]
    half = min(SHOWN, len(order) // 2)
    worst = order[::-1][:half]
    return [_label(subject, counts, int(row)) for row in order[:half]], [
        _label(subject, counts, int(row)) for row in worst
    ]


def popularity(subject: Subject) -> list[str]:
    """The figures of the labels' training counts as scores; empty where nothing was trained on."""
    count_L = subject.train_count_L
    if not count_L.any():
        return []
    order = np.lexsort((np.arange(len(count_L)), -count_L))
    gold, ranking_B = subject.ranked.gold, subject.ranked.in_ranking_B
    label_BK = np.repeat(order[None, :10], len(ranking_B), axis=0).astype(np.int32)
    scores = Scores(
        label_BK, np.repeat(-np.arange(10, dtype=np.float32)[None, : label_BK.shape[1]], len(label_BK), 0)
    )
    zero_B = subject.ranked.in_zero_shot_B
    values = (
        metrics.precision_at(scores, gold, 1)[ranking_B],
        metrics.ndcg_at(scores, gold, 5)[ranking_B],
        np.array([np.nan]),
        metrics.zsr_at(scores, gold, subject.unseen_L, 10)[zero_B],
        np.array([np.nan]),
    )
    return [percent(None if np.isnan(value).all() else float(np.nanmean(value))) for value in values]


def _label(subject: Subject, counts: LabelCounts, row: int) -> dict[str, Any]:
    kept = int(counts.kept_L[row])
    return {
        "id": subject.labels.ids[row],
        "title": subject.labels.titles[row] or subject.labels.texts[row],
        "unseen": bool(subject.unseen_L[row]),
        "trained": int(subject.train_count_L[row]),
        "gold": int(counts.gold_L[row]),
        "recall": float(counts.found_L[row] / counts.gold_L[row]),
        "precision": float(counts.right_L[row] / kept) if kept else None,
    }


def _hits(subject: Subject) -> np.ndarray:
    label_BK = subject.best.label_BK
    gold = subject.ranked.gold
    rows = np.repeat(np.arange(len(label_BK)), label_BK.shape[1])
    found = np.asarray(gold[rows, np.maximum(label_BK, 0).ravel()]).reshape(label_BK.shape)
    return found.astype(bool) & (label_BK != PAD)


def principal_plane(label_LD: FloatArray) -> np.ndarray:
    """Labels on their first two principal components, float64 (L, 2); signs are those of the largest weights."""
    centred = label_LD.astype(np.float64) - label_LD.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])
    return centred @ (axes * signs[:, None]).T
