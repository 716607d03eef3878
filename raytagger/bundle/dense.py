"""The kind `dense`: a trained document encoder against labels that a projection brought into its space.

encoder/          the trained document encoder
label_encoder/    the frozen label encoder, for labels to come; of a causal one the settings alone (it is large)
projection_*.npy  from the label encoder's space to the document encoder's: weight (D, E) and bias (D,)
label_LD.npy      projected labels, float16; label_start_LD.npy the same before training
index.faiss       where the labels are many; its recall is in the manifest
training.json     the log of the training
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from raytagger.bundle.format import Opened
from raytagger.bundle.loaded import Loaded
from raytagger.bundle.moments import moments_by_score, some_of
from raytagger.corpus import LabelSet
from raytagger.encoders import Encoder, load_encoder, open_encoder, save_encoder, unread
from raytagger.schema import BoolArray, FloatArray, Scores
from raytagger.search import DenseScorer, DenseSearch, open_index
from raytagger.settings import FitRun
from raytagger.store import Store


class DenseFeatures(NamedTuple):
    """B documents: float32 (B, D) unit rows, and which were longer than the encoder reads."""

    doc_BD: FloatArray
    cut_B: BoolArray

    @property
    def blank_B(self) -> BoolArray:
        """Bool (B,), the encoder reads nothing of the document."""
        return unread(self.doc_BD)


@dataclass(frozen=True)
class DenseTagger(Loaded):
    """A trained encoder over projected labels; see `Tagger` for the attributes it shares with all kinds."""

    encoder: Encoder
    dense: DenseSearch
    weight_DE: FloatArray
    bias_D: FloatArray
    label_encoder: Callable[[], Encoder]

    def encode(self, texts: Sequence[str]) -> DenseFeatures:
        """See `Tagger.encode`."""
        return DenseFeatures(*self.encoder.encode(texts, self.run.encoder.prompt))

    def _rank(self, features: DenseFeatures, k: int, allowed_L: BoolArray | None) -> Scores:
        """Retired labels and labels without any text are never answered."""
        allowed = self.labels.predictable_L
        if allowed_L is not None:
            allowed = allowed & allowed_L
        return self.dense.search(features.doc_BD, allowed, k)

    def moments(self, features: DenseFeatures, label_J: np.ndarray) -> FloatArray:
        """See `Tagger.moments`."""
        some, named_J = some_of(features, len(label_J)), self.labels.predictable_L[label_J]
        scorer = DenseScorer(some.doc_BD, self.dense.label_LD[label_J[named_J]])
        return moments_by_score([scorer], ~some.blank_B, named_J)

    def forgetting(self, hidden_L: BoolArray) -> DenseTagger | None:
        """See `Tagger.forgetting`: what the encoder learnt of a label stays in it."""
        return None if (hidden_L & (self.train_count_L > 0)).any() else self

    def with_labels(self, newer: LabelSet) -> DenseTagger:
        """See `Tagger.with_labels`: new texts go through the frozen label encoder and the trained projection."""
        new = self.compared(newer)
        label_LD = new.padded(self.dense.label_LD)
        if new.changed:
            label_LE = self.label_encoder().encode(new.texts, self.run.labels.prompt).vector_BD
            label_LD[new.changed] = apply_projection(label_LE, self.weight_DE, self.bias_D)
        dense = self.dense.with_labels(label_LD, new.changed)
        return replace(self, labels=new.labels, train_count_L=new.train_count_L, dense=dense)


def apply_projection(label_LE: FloatArray, weight_DE: FloatArray, bias_D: FloatArray) -> FloatArray:
    """Label embeddings in the documents' space: float32 (L, D), unit rows in float16 precision."""
    label_LD = label_LE @ weight_DE.T + bias_D
    label_LD /= np.maximum(np.linalg.norm(label_LD, axis=1, keepdims=True), 1e-12)
    return label_LD.astype(np.float16).astype(np.float32)


def save_label_encoder(encoder: Encoder, run: FitRun, folder: Path) -> None:
    """Puts the label encoder into a bundle; of a causal one only how to load it."""
    settings = run.label_encoder
    if settings.kind == "causal":
        folder.mkdir(parents=True, exist_ok=True)
    else:
        save_encoder(encoder, settings, folder)


def open_dense(opened: Opened, store: Store, device: str) -> DenseTagger:
    """Loads the kind's files; the label encoder is loaded when a label needs it."""
    folder = opened.folder
    run = opened.run

    @cache
    def label_encoder() -> Encoder:
        if run.label_encoder.kind == "causal":
            return load_encoder(replace(run.label_encoder, device=device), store)
        return open_encoder(folder / "label_encoder", device)

    return DenseTagger(
        bundle_id=opened.bundle_id,
        manifest=opened.manifest,
        labels=opened.labels,
        train_count_L=opened.train_count_L,
        trained_hashes=opened.trained_hashes,
        thresholds=opened.thresholds,
        run=run,
        encoder=open_encoder(folder / "encoder", device),
        dense=DenseSearch.over(_read(folder / "label_LD.npy"), open_index(folder, opened.manifest.get("index"))),
        weight_DE=_read(folder / "projection_DE.npy"),
        bias_D=_read(folder / "projection_D.npy"),
        label_encoder=label_encoder,
    )


def _read(path: Path) -> FloatArray:
    return np.load(path, allow_pickle=False).astype(np.float32)
