"""The fall of zero-shot in supervised training, and OF-DE beside it, as curves.

The regime: encoders that start unaligned with the task, here MiniLM's own word embeddings as bags, trained in full.
In it both sides trained with unseen labels among the negatives (a dual encoder as DPR and DEXML are) lose unseen
labels within a few hundred steps. Where both sides start as a good sentence encoder and move little, the fall
hardly shows; a claim must name its regime.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp
import torch
import torch.nn.functional as F

from benchmarks.ofde import ENCODER, source_of
from raytagger.corpus import read_labels
from raytagger.encoders import load_encoder
from raytagger.encoders.transformer import TransformerEncoder
from raytagger.evaluate import gold_matrix
from raytagger.fit.batches import make_batches
from raytagger.fit.guard import measure as measure_figures
from raytagger.fit.guard import spread
from raytagger.fit.inputs import Ragged
from raytagger.fit.schedule import rate_share
from raytagger.objectives.losses import Labels, Scored, decoupled_softmax
from raytagger.objectives.ofde import to_positives
from raytagger.objectives.projection import LabelProjection, least_squares
from raytagger.store import Store
from raytagger.tables import percent, table

DATA = "debtags"
STEPS, BATCH, RATE, TEMPERATURE, CHUNK = 1200, 64, 2e-3, 0.05, 8192
# name -> (both sides trained, unseen labels among the negatives, weight of the auxiliary task)
ROWS = {
    "both sides, unseen as negatives": (True, True, 0.0),
    "both sides, unseen left out": (True, False, 0.0),
    "OF-DE λ=0, unseen as negatives": (False, True, 0.0),
    "OF-DE λ=1, unseen as negatives": (False, True, 1.0),
    "OF-DE λ=1, unseen left out": (False, False, 1.0),
}


class Bag(torch.nn.Module):
    """The mean of a text's word embeddings, which start as MiniLM's own."""

    def __init__(self, table_VD: torch.Tensor) -> None:
        super().__init__()
        self.bag = torch.nn.EmbeddingBag.from_pretrained(table_VD.clone(), freeze=False, mode="mean")

    def forward(self, texts: Ragged, rows: np.ndarray) -> torch.Tensor:
        tokens = np.concatenate([texts.row(int(row)) for row in rows])
        starts = np.concatenate([[0], np.cumsum(texts.length[rows])[:-1]])
        return F.normalize(self.bag(torch.from_numpy(tokens).long(), torch.from_numpy(starts)), dim=1)


class Corpus:
    """Debtags as token ids."""

    def __init__(self, data: Path) -> None:
        source = source_of(data, DATA)
        labels = read_labels(Store(), source.labels)
        documents = pq.read_table(source.documents)
        encoder = load_encoder(ENCODER, Store())
        assert isinstance(encoder, TransformerEncoder)
        assert labels.seen is not None
        self.unseen_L = ~np.array(labels.seen, bool)
        self.documents = Ragged.of(encoder.tokenize(documents["text"].to_pylist()).ids)
        self.labels = Ragged.of(encoder.tokenize(labels.full_texts).ids)
        self.gold: sp.csr_matrix = gold_matrix(documents["labels"].to_pylist(), labels.index)[0]
        split = np.array(documents["split"].to_pylist())
        seen = np.asarray(self.gold[:, ~self.unseen_L].sum(1)).ravel() > 0
        unseen = np.asarray(self.gold[:, self.unseen_L].sum(1)).ravel() > 0
        self.train_N = np.flatnonzero((split == "train") & seen)
        self.test_N = np.flatnonzero(split == "test")
        self.zero_N = np.flatnonzero(np.isin(split, ["test", "zeroshot"]) & unseen)
        self.table_VD = encoder.model.get_input_embeddings().weight.detach()
        self.frozen_LD = encoder.encode(labels.full_texts).vector_BD


def measure(data: Path, quick: bool) -> dict[str, Any]:
    torch.set_num_threads(1)
    corpus = Corpus(data)
    curves = {name: train(corpus, *kinds, steps=3 if quick else STEPS) for name, kinds in ROWS.items()}
    cells = [
        [name, *(percent(curve[place][key]) for place in (0, -1) for key in ("nDCG@5", "ZSR@10", "UR@1"))]
        for name, curve in curves.items()
    ]
    print(table(cells, ["row", "nDCG@5 first", "ZSR@10", "UR@1", "nDCG@5 last", "ZSR@10", "UR@1"]))
    return {"regime": "bags of word embeddings, trained in full", "curves": curves}


def train(corpus: Corpus, both: bool, with_unseen: bool, auxiliary: float, steps: int) -> list[dict[str, Any]]:
    """One row's figures on test (and zeroshot) while it is trained."""
    torch.manual_seed(0)
    documents = Bag(corpus.table_VD)
    labels = Bag(corpus.table_VD) if both else None
    frozen_LE = torch.from_numpy(corpus.frozen_LD)
    with torch.no_grad():
        own_LD = documents(corpus.labels, np.arange(len(corpus.labels))).numpy()
    projection = LabelProjection(*least_squares(corpus.frozen_LD, own_LD))
    trained = [*documents.parameters(), *(labels or projection).parameters()]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.01)
    main = np.arange(len(corpus.unseen_L)) if with_unseen else np.flatnonzero(~corpus.unseen_L)
    gold = sp.csr_matrix(corpus.gold.multiply(~corpus.unseen_L[None, :]), dtype=bool)[:, main]
    batches = make_batches(len(corpus.train_N), BATCH, 1, 0)
    every = np.arange(len(corpus.labels))
    identity = sp.csr_matrix(np.eye(len(every), dtype=bool))
    texts = make_batches(len(every), BATCH, 1, 1)

    def embed(rows: np.ndarray) -> torch.Tensor:
        return labels(corpus.labels, rows) if labels is not None else projection(frozen_LE[rows])

    curve, started = [], time.process_time()
    for step in range(steps + 1):
        if step % max(steps // 12, 1) == 0:
            curve.append(
                {"step": step, "cpu_s": time.process_time() - started, **figures(corpus, documents, embed)}
            )
        if step == steps:
            break
        for group in optimizer.param_groups:
            group["lr"] = RATE * rate_share(step, steps, 0.1)
        rows = corpus.train_N[batches.step(step)]
        doc_BD = documents(corpus.documents, rows)
        positives = to_positives(gold[rows], doc_BD.device)
        loss = decoupled_softmax(Scored(doc_BD, Labels.of(embed(main)), positives, TEMPERATURE, CHUNK)) / BATCH
        if auxiliary:
            chosen = texts.step(step)
            own = identity[chosen]
            own_BD, positives = documents(corpus.labels, chosen), to_positives(own, doc_BD.device)
            scored = Scored(own_BD, Labels.of(embed(every)), positives, TEMPERATURE, CHUNK)
            loss = loss + auxiliary * decoupled_softmax(scored) / BATCH
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
    return curve


@torch.no_grad()
def figures(corpus: Corpus, documents: Bag, embed: Any) -> dict[str, Any]:
    """nDCG@5 on test, ZSR@10 and UR@1 on test and zeroshot, and how far the unseen labels lie apart."""
    label_LD = embed(np.arange(len(corpus.labels))).numpy()
    test, zero = (documents(corpus.documents, rows).numpy() for rows in (corpus.test_N, corpus.zero_N))
    found = measure_figures(
        test,
        corpus.gold[corpus.test_N],
        zero,
        corpus.gold[corpus.zero_N],
        label_LD,
        corpus.unseen_L,
        np.ones(len(label_LD), bool),
    )
    return found.as_dict() | {"unseen": spread(label_LD[corpus.unseen_L])}
