"""Fine-tuning of a sentence encoder on random pairs of a document and a label.

Source: XML0, section III-B: two million random pairs of the training set. Differs: the paper says that the cosine
of a relevant pair is minimised, which must be the other way round; it names neither the loss nor the share of
relevant pairs. Here half of the pairs are relevant, and the squared distance of the cosine to 1 or 0 is minimised.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from raytagger.encoders.transformer import TransformerEncoder, pool
from raytagger.errors import CorpusError
from raytagger.progress import Progress
from raytagger.schema import BoolArray

WARM_UP, CLIP, WEIGHT_DECAY = 0.1, 1.0, 0.01
TRIES = 20  # draws of a document that does not have a label, before a pair is given up


class Pairs(NamedTuple):
    """P pairs: int64 document and label of each, and whether the document has the label."""

    document_P: np.ndarray
    label_P: np.ndarray
    right_P: BoolArray


def draw_pairs(gold: sp.csr_matrix, label_J: np.ndarray, count: int, seed: int) -> Pairs:
    """Random pairs, every second one relevant, in random order.

    A relevant pair is a random document with a random label of its own. For the other kind, the document of such a
    pair is replaced by a random one without that label: labels are as frequent in both kinds, so that frequency
    alone tells nothing. A pair whose label every document has is left out.

    Args:
        gold: bool CSR (N, L).
        label_J: int64 (J,), the labels that may be drawn.
        count: pairs.
        seed: of the draw.

    Raises:
        CorpusError: no document has any of the labels.
    """
    rng = np.random.default_rng([seed, 10])
    allowed = sp.csr_matrix(gold[:, label_J])
    count_N = np.diff(allowed.indptr)
    with_label = np.flatnonzero(count_N)
    if not len(with_label):
        raise CorpusError("no document to fine-tune on", got=f"{len(count_N)} documents without a trained label")
    document_P = rng.choice(with_label, count)
    right_P = np.arange(count) % 2 == 0
    place_P = allowed.indptr[document_P] + (rng.random(count) * count_N[document_P]).astype(np.int64)
    column_P = allowed.indices[place_P].astype(np.int64)
    open_P = ~right_P
    for _ in range(TRIES):
        rows = np.flatnonzero(open_P)
        if not len(rows):
            break
        document_P[rows] = rng.choice(with_label, len(rows))
        open_P[rows] = np.asarray(allowed[document_P[rows], column_P[rows]]).ravel()
    order = rng.permutation(np.flatnonzero(~open_P))
    return Pairs(document_P[order], label_J[column_P[order]], right_P[order])


class TextPairs(NamedTuple):
    """P pairs as texts, with whatever prompt belongs to them, and which of them are relevant."""

    documents: Sequence[str]
    labels: Sequence[str]
    right_P: BoolArray


class Tuning(NamedTuple):
    """How an encoder is fine-tuned.

    Attributes:
        rate: AdamW's; it rises over the first tenth of the steps, and falls linearly after them.
        batch: pairs of a step.
        seed: of the dropout.
    """

    rate: float
    batch: int
    seed: int


def tune_on_pairs(encoder: TransformerEncoder, pairs: TextPairs, tuning: Tuning, progress: Progress) -> list[float]:
    """Pulls the cosine of relevant pairs to 1 and that of others to 0, in one pass; the encoder changes in place.

    Args:
        encoder: is trained.
        pairs: in the order in which they are read.
        tuning: rate, batch and seed.
        progress: told of the pairs.

    Returns:
        The loss of each step.
    """
    torch.manual_seed(tuning.seed)
    model, count = encoder.model, len(pairs.right_P)
    optimizer = torch.optim.AdamW(model.parameters(), lr=tuning.rate, weight_decay=WEIGHT_DECAY, fused=True)
    steps = range(0, count, tuning.batch)
    warm = max(1, round(WARM_UP * len(steps)))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, (len(steps) - step) / max(len(steps) - warm, 1))
    )
    losses: list[float] = []
    model.train()
    for start in steps:
        rows = slice(start, start + tuning.batch)
        doc_BD, label_BD = _embed(encoder, pairs.documents[rows]), _embed(encoder, pairs.labels[rows])
        cosine_B = torch.nn.functional.cosine_similarity(doc_BD, label_BD)
        target_B = torch.tensor(pairs.right_P[rows], dtype=cosine_B.dtype, device=cosine_B.device)
        loss = torch.mean((cosine_B - target_B) ** 2)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        progress("pairs", min(start + tuning.batch, count), count)
    model.eval()
    return losses


def _embed(encoder: TransformerEncoder, texts: Sequence[str]) -> torch.Tensor:
    """Float (B, D), with gradients."""
    ids = encoder.tokenize(list(texts)).ids
    device = next(encoder.model.parameters()).device
    width = max(map(len, ids))
    token_BT = torch.tensor([row + [0] * (width - len(row)) for row in ids], device=device)
    length_B = torch.tensor([len(row) for row in ids], device=device)
    mask_BT = torch.arange(width, device=device)[None, :] < length_B[:, None]
    hidden_BTD = encoder.model(input_ids=token_BT, attention_mask=mask_BT.long()).last_hidden_state
    return pool(hidden_BTD, mask_BT, encoder.pooling)
