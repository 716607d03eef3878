"""OF-DE as the loop sees it: a module, the parts of each step, and its figures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
import torch.distributed
import torch.nn.functional as F

from raytagger.encoders import load_encoder
from raytagger.encoders.batches import cheapest_batches, even_parts, length_batches
from raytagger.encoders.module import DocumentEncoder, Texts, pad_rows
from raytagger.encoders.transformer import TransformerEncoder, batch_budget
from raytagger.errors import SettingsError
from raytagger.fit.activations import keep_activations, share_file
from raytagger.fit.batches import Batches, make_batches
from raytagger.fit.guard import Measured, measure, spread
from raytagger.fit.inputs import Inputs, Ragged
from raytagger.fit.job import FitJob, Place
from raytagger.objectives.ofde import LabelSide, OneSided, Step, Task, split_labels, twin_matrix
from raytagger.objectives.projection import LabelProjection
from raytagger.progress import Progress, silent
from raytagger.schema import FloatArray
from raytagger.store import Store

ANCHORS_AT_MOST = 4096


class OneSidedTask:
    """Everything of a run that is not the loop.

    Attributes:
        module: gives the loss of a `Step`.
        documents: the batches of training documents.
        texts: the batches of label texts, None where λ is 0.
    """

    def __init__(self, job: FitJob, place: Place, inputs: Inputs, cache: Path, progress: Progress = silent) -> None:
        self.job, self.place, self.inputs = job, place, inputs
        self.encoder, self.module = build_module(job, place, inputs)
        self._encoder, self._projection = self.module.encoder, self.module.projection
        main_M, auxiliary_A = choose_labels(job, inputs)
        self._auxiliary_A = auxiliary_A
        self._gold = trained_gold(inputs)[:, main_M]
        self._twins = twin_matrix(inputs.twin_L[auxiliary_A])
        train = job.train
        self._budget = train.batch_tokens or train_budget(place.device)
        self.documents = make_batches(len(inputs.train_N), train.batch_size, place.workers, train.seed)
        self.texts: Batches | None = None
        if train.auxiliary and len(auxiliary_A):
            if self._sharded and len(auxiliary_A) < place.workers:
                raise SettingsError(
                    "there are fewer labels than workers that are to share them",
                    got=f"{len(auxiliary_A)} labels, {place.workers} workers",
                    remedy="Set train.shard_labels = false, or lower cluster.workers.",
                )
            size, seed = train.batch_size, train.seed + 1
            self.texts = make_batches(len(auxiliary_A), size, place.workers, seed, or_none=True)
        self._rows = inputs.documents, inputs.labels
        self._keep_lower(cache, progress)
        self._anchor_ND = self._keep_anchor(cache, progress) if len(choose_anchor(job, inputs)) else None

    @property
    def steps_an_epoch(self) -> int:
        """Steps of one pass over the training documents."""
        return self.documents.steps_an_epoch

    @property
    def wanted_steps(self) -> int:
        """Steps of the whole training, where no limit of time ends it before."""
        train = self.job.train
        every = train.epochs * self.steps_an_epoch
        return min(every, train.max_steps) if train.max_steps else every

    def parameters(self) -> list[dict[str, Any]]:
        """Groups for the optimizer, each with its own full learning rate; norms and biases do not decay."""
        train = self.job.train
        groups: list[dict[str, Any]] = []
        for part, rate in ((self._encoder, train.learning_rate), (self._projection, train.projection_rate)):
            values = [value for value in part.parameters() if value.requires_grad]
            for decays in (True, False):
                chosen = [value for value in values if (value.ndim > 1) is decays]
                decay = train.weight_decay if decays else 0.0
                groups.append({"params": chosen, "lr": rate, "full_rate": rate, "weight_decay": decay})
        return [group for group in groups if group["params"]]

    def steps(self, step: int, parts: int) -> Iterator[Step]:
        """This worker's share of a step, texts alike in length together, cut to `train.batch_tokens / parts`.

        Labels are projected once for each of these, so that they are as large as the memory allows.
        """
        train_N, budget = self.inputs.train_N, self._budget // parts
        for rows in self._cut(self.documents, step, self.inputs.documents.length[train_N], budget):
            yield Step(self._documents(train_N[rows]), None)
        if self.texts:
            for rows in self._cut(self.texts, step, self.inputs.labels.length[self._auxiliary_A], budget):
                yield Step(None, self._auxiliary(rows))

    def _cut(self, batches: Batches, step: int, length: np.ndarray, budget: int) -> list[np.ndarray]:
        """This worker's rows of a step, in parts of at most `budget` padded tokens."""
        own = batches.of_worker(step, self.place.rank)
        if not self._sharded:
            return [own[batch] for batch in length_batches(length[own], budget)]
        # Every worker scores the texts of all, so that all must hold equally many at a time.
        every = [length[batches.of_worker(step, rank)] for rank in range(self.place.workers)]
        parts = max(even_parts(length_B, budget) for length_B in every)
        return np.array_split(own[np.argsort(length[own], kind="stable")], parts)

    @property
    def _sharded(self) -> bool:
        return self.job.train.shard_labels and self.place.workers > 1

    def _documents(self, documents: np.ndarray) -> Task:
        texts, order = self._batches(self._rows[0], documents)
        documents, share = documents[order], 1 / self.documents.size
        if self._anchor_ND is None:
            return Task(texts, self._gold[documents], share)
        anchor_BD = torch.from_numpy(self._anchor_ND[documents].astype(np.float32)).to(self.place.device)
        return Task(texts, self._gold[documents], share, anchor_BD)

    def _auxiliary(self, places: np.ndarray) -> Task:
        assert self.texts is not None
        texts, order = self._batches(self._rows[1], self._auxiliary_A[places])
        return Task(texts, self._twins[places[order]], 1 / self.texts.size)

    def _batches(self, rows: Ragged, wanted: np.ndarray) -> tuple[tuple[Texts, ...], np.ndarray]:
        """Texts in batches that the device encodes fast, and the order that they are in."""
        budget, pass_tokens = pass_budget(self.place.device)
        batches = cheapest_batches(rows.length[wanted], min(self._budget, budget), pass_tokens)
        return tuple(self._batch(rows, wanted[batch]) for batch in batches), np.concatenate(batches)

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Within it a pass through `module` asks nothing of other workers; see `OneSided.alone`."""
        return self.module.alone()

    def longest_step(self) -> int:
        """The step of the first epoch with the most padded tokens: if it fits the memory, all do."""
        length_N = self.inputs.documents.length[self.inputs.train_N]
        epoch = range(min(self.documents.steps_an_epoch, 1000))
        return max(epoch, key=lambda step: int(length_N[self.documents.step(step)].max()))

    def measure(self) -> Measured:
        """Figures of the module as it stands; every worker encodes a share, and all get the same."""
        inputs = self.inputs
        rows = np.concatenate([inputs.validation_N, inputs.held_N])
        doc_ND = self._encode(rows)
        cut = len(inputs.validation_N)
        gold = inputs.gold[rows]
        return measure(
            doc_ND[:cut],
            gold[:cut],
            doc_ND[cut:],
            gold[cut:],
            project(self.module, self.inputs),
            inputs.hidden_L,
            inputs.usable_L,
        )

    def spread(self) -> dict[str, Any]:
        """How far the embeddings of seen, hidden and unseen labels lie apart."""
        label_LD, inputs = project(self.module, self.inputs), self.inputs
        groups = {"seen": inputs.trained_L, "pseudo_unseen": inputs.hidden_L, "unseen": inputs.unseen_L}
        return {name: spread(label_LD[member_L]) for name, member_L in groups.items()}

    def _encode(self, rows: np.ndarray) -> FloatArray:
        """Float32 (rows, D), unit rows in float16 precision."""
        own = rows[self.place.rank :: self.place.workers]
        doc_BD = self._encode_own(own)
        if self.place.workers == 1:
            return doc_BD
        every: list[Any] = [None] * self.place.workers
        torch.distributed.all_gather_object(every, doc_BD)
        result = np.zeros((len(rows), doc_BD.shape[1]), np.float32)
        for rank, part in enumerate(every):
            result[rank :: self.place.workers] = part
        return result

    def _encode_own(self, rows: np.ndarray, progress: Progress = silent) -> FloatArray:
        was_training = self._encoder.training
        self._encoder.eval()
        width = len(self._projection.bias)
        doc_BD, done = np.zeros((len(rows), width), np.float32), 0
        with torch.inference_mode():
            for batch in length_batches(self._rows[0].length[rows], batch_budget(self.place.device)):
                progress("documents before training", done, len(rows))
                vectors = self._encoder(self._batch(self._rows[0], rows[batch])).float()
                doc_BD[batch] = F.normalize(vectors, dim=1).cpu().numpy()
                done += len(batch)
        progress("documents before training", done, len(rows))
        self._encoder.train(was_training)
        return doc_BD.astype(np.float16).astype(np.float32)

    def _batch(self, rows: Ragged, wanted: Sequence[int] | np.ndarray) -> Texts:
        return pad_rows([rows.row(int(row)) for row in wanted], self.place.device)

    def _used(self) -> np.ndarray:
        """The training documents that some step reads."""
        return self.inputs.train_N[_taken(self.documents, self.wanted_steps)]

    def _keep_lower(self, cache: Path, progress: Progress) -> None:
        """Puts what the frozen layers make of the texts in the place of their token ids."""
        if not self._encoder.frozen_layers:
            return
        inputs, kept = self.inputs, []
        documents = np.unique(np.concatenate([self._used(), inputs.validation_N, inputs.held_N]))
        labels = self._auxiliary_A[_taken(self.texts, self.wanted_steps)] if self.texts else np.zeros(0, np.int64)
        width = int(self._encoder.model.config.hidden_size)
        for name, rows, needed in (("documents", inputs.documents, documents), ("labels", inputs.labels, labels)):

            def fill(wanted: np.ndarray, rows: Ragged = rows) -> np.ndarray:
                return self._encoder.lower(self._batch(rows, wanted)).half().cpu().numpy()

            path = cache / f"{name}.bin"
            kept.append(keep_activations(fill, rows, needed, width, path, self.place, progress))
        self._rows = kept[0], kept[1]

    def _keep_anchor(self, cache: Path, progress: Progress) -> np.memmap:
        """Every training document by the encoder as it is before training, (N, D) float16, unit rows."""
        used, place = self._used(), self.place
        own = used[place.local_rank :: place.local_workers]

        def write(anchor_ND: np.memmap) -> None:
            anchor_ND[own] = self._encode_own(own, progress)

        shape = (len(self.inputs.documents), len(self._projection.bias))
        return share_file(write, shape, cache / "anchor.bin", place)


def build_module(job: FitJob, place: Place, inputs: Inputs) -> tuple[TransformerEncoder, OneSided]:
    """The document encoder before training, and the module that trains its weights in place.

    Raises:
        SettingsError: this encoder cannot be trained.
    """
    settings = replace(job.encoder, device=place.device)
    encoder = load_encoder(settings, Store(job.storage))
    if not isinstance(encoder, TransformerEncoder) or job.encoder.kind != "transformer":
        raise SettingsError(
            "this kind of encoder cannot be trained",
            got=job.encoder.kind,
            expected="transformer",
            remedy="Name a Hugging Face model in encoder.path; any kind can be the label encoder.",
        )
    arrays = (inputs.label_LE, *choose_labels(job, inputs), choose_anchor(job, inputs))
    side = LabelSide(*(torch.from_numpy(array).to(place.device) for array in arrays))
    projection = LabelProjection(inputs.weight_DE, inputs.bias_D)
    trained = DocumentEncoder(encoder, job.train.frozen_layers)
    return encoder, OneSided(trained, projection, side, job.train).to(place.device)


def choose_anchor(job: FitJob, inputs: Inputs) -> np.ndarray:
    """Labels whose ranking the anchor keeps: those that are not trained, int64; of very many a fixed sample."""
    if not (job.train.anchor and job.unseen_in_auxiliary):
        return np.zeros(0, np.int64)
    untrained = np.flatnonzero(inputs.usable_L & ~inputs.trained_L)
    if len(untrained) > ANCHORS_AT_MOST:
        drawn = np.random.default_rng([job.train.seed, 4]).choice(untrained, ANCHORS_AT_MOST, replace=False)
        untrained = np.sort(drawn)
    return untrained


def _taken(batches: Batches, steps: int) -> np.ndarray:
    """The members that so many steps take, int64 in order."""
    if steps > batches.steps_an_epoch:
        return np.arange(batches.rows)
    return np.sort(np.concatenate([batches.step(step) for step in range(steps)]))


def train_budget(device: str) -> int:
    """Padded tokens of one forward and backward pass: what the memory holds."""
    return 8_192 if device == "cpu" else 32_768


def pass_budget(device: str) -> tuple[int, int]:
    """Padded tokens that go through the encoder at once, and those that take as long as a pass of none.

    They are what fits a core's caches, or keeps a GPU busy. A pass costs a core what 64 tokens cost, most of it for
    the gradients that it adds to the weights'; a GPU is to make as few passes as it can.
    """
    return (2_048, 64) if device == "cpu" else (32_768, 32_768)


def choose_labels(job: FitJob, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
    """The labels of the main and of the auxiliary task, by the run's two switches."""
    return split_labels(
        inputs.hidden_L, inputs.count_L > 0, inputs.usable_L, job.unseen_in_negatives, job.unseen_in_auxiliary
    )


def project(module: OneSided, inputs: Inputs) -> FloatArray:
    """All labels as the module sees them now, float32 (L, D), unit rows in float16 precision."""
    with torch.inference_mode():
        label_LE = torch.from_numpy(inputs.label_LE).to(module.projection.weight.device)
        label_LD = module.projection(label_LE).cpu().numpy()
    return label_LD.astype(np.float16).astype(np.float32)


def trained_gold(inputs: Inputs) -> sp.csr_matrix:
    """Bool CSR (N, L): the gold labels that are trained."""
    kept = sp.csr_matrix(inputs.gold.multiply(inputs.trained_L[None, :]), dtype=bool)
    kept.eliminate_zeros()
    kept.sort_indices()
    return kept
