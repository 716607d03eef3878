"""OF-DE: a document encoder and a label projection against label embeddings that never change.

    loss = documents over the labels that are trained
         + λ · label texts, each a document of its own label
         + anchor · what documents' rankings of untrained labels have moved

Source: "Preserving Zero-shot Capability in Supervised Fine-tuning for Multi-label Text Classification", sections
4.2, 4.4 and 4.5. The typo of Eq. 4 (the auxiliary prediction's index) is read as k. Differs: the anchor is not in
the paper; `train.anchor = 0` leaves it out. It is the distillation of Li and Hoiem 2016 ("Learning without
Forgetting"), over the texts of labels that have no documents.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
import torch.distributed
import torch.nn.functional as F

from raytagger.encoders.module import DocumentEncoder, Texts
from raytagger.objectives.losses import Labels, Positives, Scored, divergence, find_loss
from raytagger.objectives.projection import LabelProjection
from raytagger.objectives.workers import Mirror, gather, meet
from raytagger.schema import BoolArray
from raytagger.settings import TrainSettings


@dataclass(frozen=True)
class LabelSide:
    """Frozen label embeddings, and which labels stand in which task.

    Attributes:
        label_LE: float32 (L, E), unit rows.
        main_M: int64 (M,), labels that documents are scored against.
        auxiliary_A: int64 (A,), labels whose texts are documents of the auxiliary task, and its candidates.
        anchor_J: int64 (J,), labels that are not trained, whose ranking is kept as it was.
    """

    label_LE: torch.Tensor
    main_M: torch.Tensor
    auxiliary_A: torch.Tensor
    anchor_J: torch.Tensor


class Task(NamedTuple):
    """Texts of one task, and their part of a training step.

    Attributes:
        texts: of this worker, in batches that are encoded one after another and scored together.
        gold: bool CSR (B, M), their labels among the task's, in the same order.
        share: one over the texts of the whole step.
        anchor_BD: float32 (B, D), the texts by the encoder before training, unit rows; None for no anchor.
    """

    texts: tuple[Texts, ...]
    gold: sp.csr_matrix
    share: float
    anchor_BD: torch.Tensor | None = None


class Step(NamedTuple):
    """What one worker encodes at once of a training step.

    Attributes:
        documents: with their labels among `main_M`, or None.
        auxiliary: label texts with themselves among `auxiliary_A`, and labels of the same text; or None.
    """

    documents: Task | None
    auxiliary: Task | None


class OneSided(torch.nn.Module):
    """What is trained: the document encoder and the projection. `forward` gives the loss of a `Step`.

    With `train.shard_labels` every worker scores the documents of all workers against its share of the labels. The
    losses of all workers sum to the loss of the whole step, sharded or not.
    """

    def __init__(
        self, encoder: DocumentEncoder, projection: LabelProjection, side: LabelSide, settings: TrainSettings
    ) -> None:
        super().__init__()
        self.encoder, self.projection = encoder, projection
        self._side, self._settings = side, settings
        self._loss = find_loss(settings.loss)
        sharded = settings.shard_labels and torch.distributed.is_initialized()
        with torch.no_grad():
            self._anchor_JD = projection.to(side.label_LE.device)(side.label_LE[side.anchor_J])
        self._group: Any = torch.distributed.group.WORLD if sharded else None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Within it a pass asks nothing of other workers, and takes the memory that it takes with them."""
        group = self._group
        if group is not None:
            self._group = Mirror(torch.distributed.get_rank(group), torch.distributed.get_world_size(group))
        try:
            yield
        finally:
            self._group = group

    def forward(self, step: Step) -> torch.Tensor:
        """The loss of a part of a step, to be summed over parts and workers.

        Only the encoder computes in half precision where autocast is on: a cosine's error in bfloat16 would be a
        logit's of 0.04 at a temperature of 0.05.
        """
        loss = self.projection.bias.new_zeros(())
        if step.documents is not None:
            loss = loss + self._task(step.documents, self._side.main_M)
        if step.auxiliary is not None:
            loss = loss + self._settings.auxiliary * self._task(step.auxiliary, self._side.auxiliary_A)
        return loss

    def _task(self, task: Task, label_M: torch.Tensor) -> torch.Tensor:
        doc_BD = torch.cat([self.encoder(texts).float() for texts in task.texts])
        with torch.autocast(doc_BD.device.type, enabled=False):
            return self._loss_of(task, F.normalize(doc_BD, dim=1), label_M)

    def _loss_of(self, task: Task, doc_BD: torch.Tensor, label_M: torch.Tensor) -> torch.Tensor:
        positives = to_positives(task.gold, doc_BD.device)
        anchored = self._anchored(doc_BD, task.anchor_BD) * task.share
        if self._group is not None:
            doc_BD = gather(doc_BD, self._group).flatten(0, 1)
            positives, label_M = self._own_shard(positives, len(doc_BD), label_M)
        labels = Labels(len(label_M), lambda at: self.projection(self._side.label_LE[label_M[at]]))
        settings = self._settings
        scored = Scored(doc_BD, labels, positives, settings.temperature, settings.label_chunk, self._group)
        return self._loss(scored) * task.share + anchored

    def _anchored(self, doc_BD: torch.Tensor, before_BD: torch.Tensor | None) -> torch.Tensor:
        """How far the documents' ranking of untrained labels has moved since before training."""
        if before_BD is None:
            return doc_BD.new_zeros(())
        label_JD = self.projection(self._side.label_LE[self._side.anchor_J])
        before = before_BD @ self._anchor_JD.T
        return self._settings.anchor * divergence(doc_BD @ label_JD.T, before, self._settings.temperature)

    def _own_shard(
        self, positives: Positives, documents: int, label_M: torch.Tensor
    ) -> tuple[Positives, torch.Tensor]:
        """The pairs of all workers that fall on this worker's labels, and those labels."""
        own = [part.cpu().numpy() for part in positives]
        if isinstance(self._group, Mirror):
            rank, workers = self._group
            every: list[Any] = [own] * workers
        else:
            workers, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
            every = [None] * workers
            meet(label_M.device)
            torch.distributed.all_gather_object(every, own)
        offset = documents // workers
        row, column, weight = (np.concatenate(parts) for parts in zip(*every, strict=True))
        row = row + np.repeat(np.arange(workers) * offset, [len(part[0]) for part in every])
        pairs = (torch.from_numpy(part).to(label_M.device) for part in (row, column, weight))
        start, stop = shard_bounds(len(label_M), workers, rank)
        return Positives(*pairs).shard(start, stop), label_M[start:stop]


def shard_bounds(labels: int, workers: int, rank: int) -> tuple[int, int]:
    """The labels [start, stop) of a worker; every label belongs to exactly one."""
    return labels * rank // workers, labels * (rank + 1) // workers


def to_positives(gold: sp.csr_matrix, device: torch.device) -> Positives:
    """The pairs of a bool CSR matrix (B, M), each weighted by one over its row's."""
    count_B = np.diff(gold.indptr)
    row_P = np.repeat(np.arange(len(count_B)), count_B)
    weight_P = (1.0 / np.maximum(count_B, 1))[row_P].astype(np.float32)
    return Positives(
        torch.from_numpy(row_P).to(device),
        torch.from_numpy(gold.indices.astype(np.int64)).to(device),
        torch.from_numpy(weight_P).to(device),
    )


def twin_matrix(group_A: np.ndarray) -> sp.csr_matrix:
    """Bool CSR (A, A): which labels have the same text, each as itself among them.

    Args:
        group_A: int64 (A,), the same number where the text is the same.
    """
    place_A = np.unique(group_A, return_inverse=True)[1]
    member_AG = sp.csr_matrix((np.ones(len(group_A), np.float32), (np.arange(len(group_A)), place_A)))
    same_AA = sp.csr_matrix(member_AG @ member_AG.T, dtype=bool)
    same_AA.sort_indices()
    return same_AA


def split_labels(
    hidden_L: BoolArray, trained_L: BoolArray, usable_L: BoolArray, in_negatives: bool, in_auxiliary: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Which labels stand in the main task and which in the auxiliary one; int64 (M,) and (A,).

    Args:
        hidden_L: bool (L,), seen labels that are treated as unseen to measure zero-shot.
        trained_L: bool (L,), labels with training documents.
        usable_L: bool (L,), active labels with a text.
        in_negatives: `labels.unseen_in_negatives`.
        in_auxiliary: `labels.unseen_in_auxiliary`.
    """
    seen_L = trained_L & ~hidden_L & usable_L
    main = usable_L if in_negatives else seen_L
    auxiliary = usable_L if in_auxiliary else seen_L
    return np.flatnonzero(main), np.flatnonzero(auxiliary)
