"""Where the label projection starts: by least squares on label texts that both encoders have read, or at random.

Documents are read by MiniLM, labels by static vectors of another width. Only the projection is trained, on document
vectors that stay as they are, so that nothing but its start differs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp
import torch

from benchmarks.frozen import STATIC
from benchmarks.ofde import ENCODER, source_of
from raytagger.corpus import read_labels
from raytagger.encoders import load_encoder
from raytagger.evaluate import gold_matrix
from raytagger.fit.batches import make_batches
from raytagger.fit.guard import measure as measure_figures
from raytagger.fit.schedule import rate_share
from raytagger.objectives.losses import Labels, Scored, decoupled_softmax
from raytagger.objectives.ofde import to_positives
from raytagger.objectives.projection import LabelProjection, least_squares
from raytagger.store import Store
from raytagger.tables import percent, table

DATA = "debtags"
MARKS = (0, 20, 100, 400)  # steps at which it is measured
BATCH, RATE, TEMPERATURE, CHUNK = 64, 1e-3, 0.05, 8192


class Corpus:
    """Documents and labels as vectors, and the gold labels."""

    def __init__(self, data: Path, documents: int) -> None:
        source = source_of(data, DATA)
        labels = read_labels(Store(), source.labels)
        assert labels.seen is not None
        self.unseen_L = ~np.array(labels.seen, bool)
        read = pq.read_table(source.documents)
        gold: sp.csr_matrix = gold_matrix(read["labels"].to_pylist(), labels.index)[0]
        split, rng = np.array(read["split"].to_pylist()), np.random.default_rng(0)
        seen = np.asarray(gold[:, ~self.unseen_L].sum(1)).ravel() > 0
        unseen = np.asarray(gold[:, self.unseen_L].sum(1)).ravel() > 0
        zero = np.isin(split, ["test", "zeroshot"]) & unseen
        parts = ((split == "train") & seen, documents), (split == "test", documents // 4), (zero, documents // 4)
        rows = [rng.permutation(np.flatnonzero(part))[:most] for part, most in parts]
        encoder = load_encoder(ENCODER, Store())
        texts = read["text"].take(np.concatenate(rows)).to_pylist()
        cuts = np.cumsum([len(part) for part in rows])[:-1]
        self.train_ND, self.test_ND, self.zero_ND = np.split(encoder.encode(texts).vector_BD, cuts)
        self.gold_N, self.gold_T, self.gold_Z = (gold[part] for part in rows)
        self.label_LD = encoder.encode(labels.full_texts).vector_BD
        self.label_LE = load_encoder(STATIC, Store()).encode(labels.full_texts).vector_BD


def measure(data: Path, quick: bool) -> dict[str, Any]:
    torch.set_num_threads(1)
    corpus, marks = Corpus(data, 32 if quick else 6000), MARKS[:2] if quick else MARKS
    shape = corpus.label_LD.shape[1], corpus.label_LE.shape[1]
    drawn = np.random.default_rng(0).normal(size=shape) / np.sqrt(shape[1])
    starts = {
        "least squares": least_squares(corpus.label_LE, corpus.label_LD),
        "random": (drawn.astype(np.float32), np.zeros(shape[0], np.float32)),
    }
    curves = {name: train(corpus, LabelProjection(*start), marks) for name, start in starts.items()}
    cells = [
        [name, point["step"], *(percent(point[key]) for key in ("nDCG@5", "ZSR@10", "UR@1"))]
        for name, curve in curves.items()
        for point in curve
    ]
    print(table(cells, ["start", "step", "nDCG@5", "ZSR@10", "UR@1"]))
    return {"curves": curves}


def train(corpus: Corpus, projection: LabelProjection, marks: Sequence[int]) -> list[dict[str, Any]]:
    """The figures of one start, at each mark."""
    optimizer = torch.optim.AdamW(projection.parameters(), lr=RATE, weight_decay=0.01)
    seen = np.flatnonzero(~corpus.unseen_L)
    label_LE, text_LD = torch.from_numpy(corpus.label_LE), torch.from_numpy(corpus.label_LD)
    doc_ND, gold = torch.from_numpy(corpus.train_ND), corpus.gold_N[:, seen]
    own = sp.csr_matrix(np.eye(len(label_LE), dtype=bool))
    documents = make_batches(len(doc_ND), BATCH, 1, 0)
    texts = make_batches(len(label_LE), BATCH, 1, 1)
    curve = []
    for step in range(marks[-1] + 1):
        if step in marks:
            curve.append({"step": step, **figures(corpus, projection)})
        for group in optimizer.param_groups:
            group["lr"] = RATE * rate_share(step, marks[-1] + 1, 0.1)
        rows, places = documents.step(step), texts.step(step)
        seen_LD, every_LD = projection(label_LE[seen]), projection(label_LE)
        loss = summed(doc_ND[rows], seen_LD, gold[rows]) + summed(text_LD[places], every_LD, own[places])
        optimizer.zero_grad()
        (loss / BATCH).backward()
        optimizer.step()
    return curve


def summed(doc_BD: torch.Tensor, label_LD: torch.Tensor, gold: sp.csr_matrix) -> torch.Tensor:
    """The loss summed over documents."""
    positives = to_positives(gold, doc_BD.device)
    return decoupled_softmax(Scored(doc_BD, Labels.of(label_LD), positives, TEMPERATURE, CHUNK))


@torch.no_grad()
def figures(corpus: Corpus, projection: LabelProjection) -> dict[str, Any]:
    """nDCG@5 on test, ZSR@10 and UR@1 on test and zeroshot."""
    label_LD = projection(torch.from_numpy(corpus.label_LE)).numpy()
    allowed = np.ones(len(label_LD), bool)
    found = measure_figures(
        corpus.test_ND, corpus.gold_T, corpus.zero_ND, corpus.gold_Z, label_LD, corpus.unseen_L, allowed
    )
    return found.as_dict()
