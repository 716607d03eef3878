"""Losses over unit document and label vectors. With many labels their memory is a chunk's, not that of all labels.

Every loss is a sum over the documents given; the caller divides by the documents of the whole batch, so that parts,
workers and shards of labels add up to the same number.

Source: OF-DE names no loss (section 4.4, Eq. 4: "the original loss"). The decoupled softmax is that of DEXML, the
code base that OF-DE's set-up follows. Differs: all positives of a document take part, each weighted by one over
their number, where DEXML draws one a step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from raytagger.errors import SettingsError
from raytagger.objectives.workers import gather

MASKED = -1e9  # finite: a row whose every label is masked must not give nan
KEPT_AT_MOST = 1 << 26  # numbers that a loss keeps for its backward pass; with more it computes chunks anew


class Positives(NamedTuple):
    """The positive pairs of a batch, sorted by document.

    Attributes:
        row_P: int64 (P,), the document of a pair.
        column_P: int64 (P,), its label's place among the label vectors that are scored.
        weight_P: float32 (P,), one over the positives of the pair's document, over all shards.
    """

    row_P: torch.Tensor
    column_P: torch.Tensor
    weight_P: torch.Tensor

    def shard(self, start: int, stop: int) -> Positives:
        """The pairs whose label is in [start, stop), with columns counted from `start`."""
        inside_P = (self.column_P >= start) & (self.column_P < stop)
        return Positives(self.row_P[inside_P], self.column_P[inside_P] - start, self.weight_P[inside_P])


class Labels(NamedTuple):
    """The vectors of L labels, made a chunk at a time and only where they are read.

    Attributes:
        total: L.
        vectors: places, as a slice or int64 (C,) -> float (C, D), unit rows.
    """

    total: int
    vectors: Callable[[slice | torch.Tensor], torch.Tensor]

    @staticmethod
    def of(label_LD: torch.Tensor) -> Labels:
        """Vectors that are there already."""
        return Labels(len(label_LD), label_LD.__getitem__)


class Scored(NamedTuple):
    """What a loss reads: documents and labels as unit vectors, the positives, and how they are scored.

    Attributes:
        doc_BD: float (B, D).
        labels: L labels; this worker's only where `group` is set.
        positives: with columns of `labels`.
        temperature: cosines are divided by it.
        chunk: labels scored at once.
        group: the workers that hold the other labels, or None where all labels are here.
    """

    doc_BD: torch.Tensor
    labels: Labels
    positives: Positives
    temperature: float
    chunk: int
    group: Any = None


def decoupled_softmax(scored: Scored) -> torch.Tensor:
    """Each positive against the document's negatives alone: -log(e^s / (e^s + sum over negatives))."""
    negative_B = _across(_log_sum_exp(scored, without_positives=True), scored.group)
    row_P, _, weight_P = scored.positives
    return (F.softplus(negative_B[row_P] - _positive_scores(scored)) * weight_P).sum()


def softmax(scored: Scored) -> torch.Tensor:
    """Each positive against all labels, the other positives among them."""
    every_B = _across(_log_sum_exp(scored, without_positives=False), scored.group)
    row_P, _, weight_P = scored.positives
    return ((every_B[row_P] - _positive_scores(scored)) * weight_P).sum()


def bce(scored: Scored) -> torch.Tensor:
    """Binary cross-entropy of every label, summed over labels."""
    total = scored.doc_BD.new_zeros(())
    for part in _of_chunks(scored, lambda score_BC, _: F.softplus(score_BC).sum()):
        total = total + part
    return total - _positive_scores(scored).sum()


def divergence(score_BJ: torch.Tensor, before_BJ: torch.Tensor, temperature: float) -> torch.Tensor:
    """Kullback-Leibler divergence of rankings now from those before, summed over documents.

    Source: Li and Hoiem 2016, section 3.
    """
    now, before = (
        F.log_softmax(_full(score_BJ) / temperature, 1),
        F.log_softmax(_full(before_BJ) / temperature, 1),
    )
    return F.kl_div(now, before, reduction="sum", log_target=True)


LOSSES: dict[str, Callable[[Scored], torch.Tensor]] = {
    "decoupled": decoupled_softmax,
    "softmax": softmax,
    "bce": bce,
}


def find_loss(name: str) -> Callable[[Scored], torch.Tensor]:
    """The loss of `train.loss`.

    Raises:
        SettingsError: there is none of that name.
    """
    if name not in LOSSES:
        raise SettingsError("train.loss", got=name, expected=", ".join(LOSSES))
    return LOSSES[name]


def _positive_scores(scored: Scored) -> torch.Tensor:
    """Float (P,)."""
    row_P, column_P, _ = scored.positives
    return (scored.doc_BD[row_P] * scored.labels.vectors(column_P)).sum(1) / scored.temperature


def _log_sum_exp(scored: Scored, without_positives: bool) -> torch.Tensor:
    """Float (B,)."""

    def over_chunk(score_BC: torch.Tensor, positives: Positives) -> torch.Tensor:
        if without_positives:
            mask_BC = torch.zeros_like(score_BC, dtype=torch.bool)
            mask_BC[positives.row_P, positives.column_P] = True
            score_BC = score_BC.masked_fill(mask_BC, MASKED)
        return torch.logsumexp(score_BC, 1)

    parts = _of_chunks(scored, over_chunk)
    if not parts:
        return scored.doc_BD.new_full((len(scored.doc_BD),), MASKED)
    return torch.logsumexp(torch.stack(parts), 0)


def _of_chunks(scored: Scored, function: Callable[[torch.Tensor, Positives], torch.Tensor]) -> list[torch.Tensor]:
    """A function of the scores of each chunk of labels, (B, C), and of the positives among them."""

    def of_chunk(doc_BD: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        score_BC = _full(doc_BD @ scored.labels.vectors(slice(start, stop)).T) / scored.temperature
        return function(score_BC, scored.positives.shard(start, stop))

    (documents, width), labels = scored.doc_BD.shape, scored.labels.total
    recomputed = (documents + width) * labels > KEPT_AT_MOST
    parts: list[Any] = []
    for start in range(0, labels, scored.chunk):
        bounds = start, min(start + scored.chunk, labels)
        if recomputed:
            parts.append(
                checkpoint(of_chunk, scored.doc_BD, *bounds, use_reentrant=False, preserve_rng_state=False)
            )
        else:
            parts.append(of_chunk(scored.doc_BD, *bounds))
    return parts


def _full(score_BC: torch.Tensor) -> torch.Tensor:
    """Half precision is brought to float32: the exponentials of cosines over a small temperature need it."""
    return score_BC.to(torch.promote_types(score_BC.dtype, torch.float32))


def _across(lse_B: torch.Tensor, group: Any) -> torch.Tensor:
    """Log-sum-exp over the shards of all workers."""
    return lse_B if group is None else torch.logsumexp(gather(lse_B, group), 0)
