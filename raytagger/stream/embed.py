"""Label texts into the bank, over a pool of workers: for encoders that one process would take days with.

    label set ── missing texts ──▶ slabs ── embed ──▶ bank

A slab is stored by the worker that encoded it, before it is reported: whatever dies, what is stored is never
encoded again. `fit` then finds every label in the bank.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import ray
import ray.data

from raytagger.bisect import ProcessDiedError, Tagged, tag_bisecting
from raytagger.corpus import LabelSet, read_source_labels
from raytagger.encoders import Encoder, load_encoder
from raytagger.errors import CapacityError, CorpusError, SettingsError
from raytagger.labels import LabelBank
from raytagger.labels.bank import SLAB_TEXTS
from raytagger.progress import Progress, silent, unsaid
from raytagger.schema import FloatArray
from raytagger.settings import EncoderSettings, FitRun, StorageSettings
from raytagger.store import Store, check_writable, join, parent, placed
from raytagger.stream.cluster import connected, one_row_blocks, own_errors, share_out
from raytagger.stream.on_ray import DEATHS_BEFORE_ISOLATION, Ledger

SLABS_A_WORKER = 4  # so that no worker waits long for the last one
SLAB_TEXTS_AT_LEAST = 64  # a worker that loads 14 GB for fewer costs more than it saves
MOST_BAD = 100  # beyond so many it is the encoder that is broken, not its texts
PATIENCE_S = 30.0


@dataclass(frozen=True)
class BankSummary:
    """What a run did.

    Attributes:
        labels: in the label set.
        texts: distinct ones among them.
        encoded: texts that the bank did not know.
        seconds: the whole run.
        folder: where the embeddings are.
        encoder: its path.
        licence: its licence, as its card states it.
    """

    labels: int
    texts: int
    encoded: int
    seconds: float
    folder: str
    encoder: str
    licence: str

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)

    def line(self) -> str:
        """For a person."""
        return (
            f"{self.labels:,} labels, {self.texts:,} distinct texts, {self.encoded:,} encoded now in "
            f"{self.seconds:.1f} s by {self.encoder} (licence: {self.licence}): {self.folder}"
        )


class Known(NamedTuple):
    """What an encoder says of itself."""

    identity: str
    licence: str


@dataclass(frozen=True)
class EmbedJob:
    """What every worker needs: the encoder and its prompt, the bank's folder, and what the encoder must be."""

    encoder: EncoderSettings
    prompt: str
    bank: str
    storage: StorageSettings
    identity: str = ""


class Failure(NamedTuple):
    """A text that cannot be encoded, without its prompt, and the error."""

    text: str
    error: str


def fill_bank(run: FitRun, progress: Progress = silent, say: Callable[[str], None] = unsaid) -> BankSummary:
    """Embeds the label texts that the bank does not know, by Ray Data over `cluster.workers` workers.

    What it stores is what `fit` looks for: the same encoder, prompt and folder.

    Args:
        run: `source.labels`, `labels`, `encoder`, `cluster`, `storage`, and `output.bundle` or `labels.bank`.
        progress: told of encoded texts.
        say: told of what takes long before the first text.

    Raises:
        SettingsError: no labels or no place are named, or the encoder cannot be loaded.
        CapacityError: a worker's GPU is too small or cannot be used.
        CorpusError: some texts cannot be encoded; all others are in the bank by then.
    """
    started, store = time.perf_counter(), Store(run.storage)
    run = placed(run)
    job = plan_job(run)
    check_writable(store, job.bank, folder=True)
    labels = read_source_labels(store, run.source)
    bank = LabelBank(store, job.bank)
    with connected(run.cluster):
        known = _ask_worker(job, run, say)
        prompted = [job.prompt + text for text in labels.full_texts]
        missing = bank.missing(prompted, known.identity)
        _embed(replace(job, identity=known.identity), run, missing, labels, progress)
    return BankSummary(
        labels=len(labels),
        texts=len(set(prompted)),
        encoded=len(missing),
        seconds=time.perf_counter() - started,
        folder=join(job.bank, known.identity),
        encoder=job.encoder.path,
        licence=known.licence,
    )


def plan_job(run: FitRun) -> EmbedJob:
    """What a run asks of its workers: the encoder that `fit` would take, where it would look."""
    if not run.source.labels:
        raise SettingsError("source.labels is empty", expected="a label file")
    if not run.labels.bank and not run.output.bundle:
        raise SettingsError("labels.bank is empty", expected="a folder or s3:// prefix, or output.bundle beside it")
    encoder = run.label_encoder
    if run.method == "frozen" and run.labels.encoder in ("", run.encoder.path):
        encoder = run.encoder  # a frozen tagger reads documents and labels alike
    if encoder.device == "auto":
        # A worker sees the GPU that Ray gave it; without one it must not crowd a GPU that it can merely see.
        encoder = replace(encoder, device="cuda" if run.cluster.use_gpu else "cpu")
    bank = run.labels.bank or join(parent(run.output.bundle), "bank")
    return EmbedJob(encoder, run.labels.prompt, bank, run.storage)


def _ask_worker(job: EmbedJob, run: FitRun, say: Callable[[str], None]) -> Known:
    """Loads the encoder on a worker, since the machine that drives the run may be too small for it."""
    _, resources = share_out(run.cluster)
    answer = _describe.options(**resources).remote(job)
    with own_errors("no worker can load the label encoder"):
        while not ray.wait([answer], timeout=PATIENCE_S)[0]:
            kind = "GPU" if run.cluster.use_gpu else "CPU"
            there = ray.cluster_resources().get(kind, 0)
            say(f"waiting for a worker to load {job.encoder.path}; the cluster has {there:g} {kind}s")
        return ray.get(answer)


@ray.remote
def _describe(job: EmbedJob) -> Known:
    encoder = place_encoder(job)
    return Known(encoder.identity, encoder.licence)


def place_encoder(job: EmbedJob) -> Encoder:
    """Loads the encoder of a job on the device that it names.

    Raises:
        CapacityError: there is no such GPU, or the encoder does not fit its memory.
    """
    try:
        return load_encoder(job.encoder, Store(job.storage))
    except (AssertionError, RuntimeError) as error:  # what PyTorch raises about devices
        raise CapacityError(
            f"{job.encoder.path} cannot be put on the device",
            got=f"{job.encoder.device}: {(str(error).splitlines() or [''])[0][:150]}",
            remedy="Compare `nvidia-smi` with torch.version.cuda; 7B parameters need a GPU of 24 GB.",
        ) from error


def _embed(job: EmbedJob, run: FitRun, missing: list[str], labels: LabelSet, progress: Progress) -> None:
    progress("label bank", 0, len(missing))
    if not missing:
        return
    encoded, failures = 0, list[Failure]()
    for count, failed in _stream(job, run, missing):
        encoded += count
        failures += failed
        progress("label bank", encoded, len(missing))
        if len(failures) >= MOST_BAD:
            break
    if failures:
        raise _refusal(failures, labels)


def _stream(job: EmbedJob, run: FitRun, missing: list[str]) -> Iterator[tuple[int, list[Failure]]]:
    """Texts encoded, and those that failed, a slab at a time."""
    workers, resources = share_out(run.cluster)
    slabs = cut_slabs([text.removeprefix(job.prompt) for text in missing], workers)
    with one_row_blocks(), own_errors("no worker can load the label encoder"):
        reports = ray.data.from_items(slabs, override_num_blocks=len(slabs)).map_batches(
            EmbedStage,
            fn_constructor_args=(job, Ledger.remote()),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(slabs)), max_tasks_in_flight_per_actor=2),
            **resources,
        )
        for row in reports.iter_rows():
            report = json.loads(row["report"])
            yield report["encoded"], [Failure(*failure) for failure in report["failed"]]


def cut_slabs(texts: Sequence[str], workers: int) -> list[dict[str, Any]]:
    """Rows `slab`, `texts`: texts of like length together, which saves padding, and the longest first."""
    size = -(-len(texts) // (workers * SLABS_A_WORKER))
    size = min(max(size, SLAB_TEXTS_AT_LEAST), SLAB_TEXTS)
    ordered = sorted(texts, key=len, reverse=True)
    starts = range(0, len(ordered), size)
    return [{"slab": f"{start}", "texts": ordered[start : start + size]} for start in starts]


class EmbedStage:
    """A worker of the pool: one call encodes one slab and stores it.

    Input rows: `slab`, `texts`. Output rows: `report`, the JSON of `encoded` (how many) and `failed` (text, error).
    """

    def __init__(self, job: EmbedJob, ledger: Any) -> None:
        self._job, self._ledger = job, ledger
        store = Store(job.storage)
        self._encoder = place_encoder(job)
        self._bank = LabelBank(store, job.bank)
        if self._encoder.identity != job.identity:
            raise SettingsError(
                "the workers do not load the same encoder",
                got=f"{self._encoder.identity} here, {job.identity} elsewhere, from {job.encoder.path}",
                remedy="Put the model into object storage and name that.",
            )

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Encodes and stores the slabs of a batch."""
        return pa.table({"report": [self._embed_slab(row["slab"], row["texts"]) for row in batch.to_pylist()]})

    def _embed_slab(self, slab: str, texts: list[str]) -> str:
        if self._begin(slab) < DEATHS_BEFORE_ISOLATION:
            done = tag_bisecting(self._encode, texts)
        else:
            done = self._embed_singly(slab, texts)
        good = [self._job.prompt + texts[row] for row in done.rows]
        if good:
            self._bank.add(good, self._job.identity, np.concatenate(done.parts))
        self._end(slab)
        return json.dumps({"encoded": len(good), "failed": [[texts[bad.row], bad.error] for bad in done.rejected]})

    def _encode(self, texts: Sequence[str]) -> tuple[FloatArray, int]:
        try:
            return self._encoder.encode(texts, self._job.prompt).vector_BD, 0
        except CapacityError as error:
            raise CorpusError(str(error)) from error  # too long for the device: the text's fault

    def _embed_singly(self, slab: str, texts: list[str]) -> Tagged[FloatArray]:
        """One text at a time: the one that was begun before and not ended has killed the process."""

        def encode_noted(alone: Sequence[str]) -> tuple[FloatArray, int]:
            name = f"{slab}:{alone[0]}"
            if self._begin(name):
                raise ProcessDiedError("the encoding process died of it")
            try:
                return self._encode(alone)
            finally:
                self._end(name)

        return tag_bisecting(encode_noted, texts, at_once=1)

    def _begin(self, name: str) -> int:
        return ray.get(self._ledger.begin.remote(name))  # pyright: ignore[reportReturnType] - of an untyped handle

    def _end(self, name: str) -> None:
        ray.get(self._ledger.end.remote(name))


def _refusal(failures: list[Failure], labels: LabelSet) -> CorpusError:
    """Names the labels, by the first that has each text."""
    first: dict[str, str] = {}
    for label_id, text in zip(labels.ids, labels.full_texts, strict=True):
        first.setdefault(text, label_id)
    named = ", ".join(first[failure.text] for failure in failures[:3])
    broken = len(failures) >= MOST_BAD
    return CorpusError(
        f"{len(failures)} label texts cannot be encoded{', and the run was given up' if broken else ''}",
        got=f"{named}{', …' if len(failures) > 3 else ''}; the first: {failures[0].error}",
        remedy="Mend or remove these labels and run again; all other labels stay in the bank.",
    )
