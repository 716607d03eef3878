"""A tagger whose probabilities are known to be true, and documents whose labels were drawn from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, logit

from raytagger.calibration import Thresholds
from raytagger.corpus import LabelSet
from raytagger.schema import BoolArray, FloatArray, Scores

N_LABELS = 40
RARE, UNSEEN = slice(20, 30), slice(30, 40)  # the other twenty labels are seen and frequent


class Rows(NamedTuple):
    row_B: np.ndarray
    cut_B: BoolArray
    blank_B: BoolArray


@dataclass(frozen=True)
class KnowingTagger:
    """Reads a document's number from its text, and has a score for every (document, label)."""

    score_NL: FloatArray
    labels: LabelSet
    train_count_L: np.ndarray
    manifest: dict[str, Any]
    bundle_id: str = "knowing"
    keep_k: int = 3
    threshold: float | None = 0.3

    def encode(self, texts: Sequence[str]) -> Rows:
        return Rows(np.array([int(text.split()[-1]) for text in texts]), *np.zeros((2, len(texts)), bool))

    def search(self, features: Rows, k: int, allowed_L: BoolArray | None = None) -> Scores:
        score_BL = self.score_NL[features.row_B]
        label_L = np.arange(len(self.labels)) if allowed_L is None else np.flatnonzero(allowed_L)
        order_BK = label_L[np.argsort(-score_BL[:, label_L], axis=1, kind="stable")[:, :k]]
        label_BK = np.full((len(score_BL), k), -1, np.int32)
        score_BK = np.full((len(score_BL), k), -np.inf, np.float32)
        label_BK[:, : order_BK.shape[1]] = order_BK
        score_BK[:, : order_BK.shape[1]] = np.take_along_axis(score_BL, order_BK, 1)
        return Scores(label_BK, score_BK)

    def keep(self, scores: Scores, k: int | None = None) -> Scores:
        return Thresholds(self.threshold).keep(scores, self.keep_k if k is None else k)

    def tag(self, texts: Sequence[str], k: int | None = None) -> Scores:
        return self.search(self.encode(texts), k or self.keep_k)

    def forgetting(self, hidden_L: BoolArray) -> None:
        return None

    def with_labels(self, newer: LabelSet) -> KnowingTagger:
        return replace(self, labels=newer)

    def saying(self, score_NL: FloatArray, **manifest: Any) -> KnowingTagger:
        """The same tagger with other scores, and other words in its manifest."""
        return replace(self, score_NL=score_NL.astype(np.float32), manifest=self.manifest | manifest)


def knowing_tagger(documents: int, seed: int = 0) -> KnowingTagger:
    """Probabilities of all sizes; rare and unseen labels get smaller ones."""
    rng = np.random.default_rng(seed)
    offset_L = np.full(N_LABELS, -1.5)
    offset_L[RARE], offset_L[UNSEEN] = -3.0, -3.5
    probability_NL = expit(offset_L + 2.0 * rng.normal(size=(documents, N_LABELS))).astype(np.float32)
    count_L = np.full(N_LABELS, 200)
    count_L[RARE], count_L[UNSEEN] = np.arange(1, 11), 0
    ids = tuple(f"l{label:02}" for label in range(N_LABELS))
    manifest = {
        "kind": "blend",
        "calibrated": True,
        "train_documents": 1000,
        "settings": {"search": {"k": 3, "threshold": 0.3}},
        "licences": {},
    }
    labels = LabelSet(ids, tuple(f"label {label}" for label in range(N_LABELS)), ("",) * N_LABELS)
    return KnowingTagger(probability_NL, labels, count_L, manifest)


def drawn_documents(tagger: KnowingTagger, path: Path, seed: int = 1) -> np.ndarray:
    """Draws labels and writes documents as JSON lines; bool (N, L), the labels drawn.

    Documents are of the split `test`; those of the last third that have an unseen label, of `zeroshot`; the others
    of that third, of `unused`.
    """
    gold_NL = np.random.default_rng(seed).random(tagger.score_NL.shape) < tagger.score_NL
    first = 2 * len(gold_NL) // 3
    with path.open("w") as file:
        for row, gold_L in enumerate(gold_NL):
            split = "test" if row < first else ("zeroshot" if gold_L[UNSEEN].any() else "unused")
            labels = [tagger.labels.ids[label] for label in np.flatnonzero(gold_L)]
            file.write(
                json.dumps({"id": str(row), "text": f"number {row}", "labels": labels, "split": split}) + "\n"
            )
    return gold_NL


def overstated(probability_NL: FloatArray) -> FloatArray:
    """The same order with odds too sure of themselves."""
    return expit(2.5 * logit(probability_NL.astype(np.float64))).astype(np.float32)
