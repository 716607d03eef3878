"""Label texts into the bank: in this process where they are few, else over a pool of workers.

    label set ── missing texts ──▶ slabs ── embed ──▶ bank

A slab is stored by whoever encoded it, before it is reported: whatever dies, what is stored is never encoded
again. `fit` then finds every label in the bank.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from raytagger.corpus import LabelSet, read_source_labels
from raytagger.encoders import Encoder, lazy_encoder
from raytagger.encoders.lazy import loaded
from raytagger.errors import CorpusError, SettingsError
from raytagger.labels import LabelBank
from raytagger.progress import Progress, silent, unsaid
from raytagger.settings import FitRun
from raytagger.store import Store, check_writable, join, parent, placed
from raytagger.stream.executor import at_work, ray_is_up
from raytagger.stream.here import Notes
from raytagger.stream.slabs import EmbedJob, Failure, Report, SlabEmbedder, cut_slabs, place_encoder

if TYPE_CHECKING:
    from raytagger.stream.embed_on_ray import OnRay

MOST_BAD = 100  # beyond so many it is the encoder that is broken, not its texts


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


def fill_bank(run: FitRun, progress: Progress = silent, say: Callable[[str], None] = unsaid) -> BankSummary:
    """Embeds the label texts that the bank does not know, in this process or on Ray, as `needs_ray` says.

    What it stores is what `fit` looks for: the same encoder, prompt and folder.

    Args:
        run: `source.labels`, `labels`, `encoder`, `cluster`, `storage`, and `output.bundle` or `labels.bank`.
        progress: told of encoded texts.
        say: told of what takes long, and why.

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
    prompted = [job.prompt + text for text in labels.full_texts]
    with at_work(run.cluster, sum(map(len, prompted))):
        workers = _workers(job, run, say)
        missing = LabelBank(store, job.bank).missing(prompted, workers.job.identity)
        reports = workers.embed([text.removeprefix(job.prompt) for text in missing])
        _follow(reports if missing else (), len(missing), labels, progress)
    return BankSummary(
        labels=len(labels),
        texts=len(set(prompted)),
        encoded=len(missing),
        seconds=time.perf_counter() - started,
        folder=join(job.bank, workers.job.identity),
        encoder=job.encoder.path,
        licence=workers.licence,
    )


def plan_job(run: FitRun) -> EmbedJob:
    """What a run asks for: the encoder that `fit` would take, where it would look."""
    if not run.source.labels:
        raise SettingsError("source.labels is empty", expected="a label file")
    if not run.labels.bank and not run.output.bundle:
        raise SettingsError("labels.bank is empty", expected="a folder or s3:// prefix, or output.bundle beside it")
    encoder = run.label_encoder
    if run.method == "frozen" and run.labels.encoder in ("", run.encoder.path):
        encoder = run.encoder  # a frozen tagger reads documents and labels alike
    bank = run.labels.bank or join(parent(run.output.bundle), "bank")
    return EmbedJob(encoder, run.labels.prompt, bank, run.storage)


@dataclass(frozen=True)
class Here:
    """This process as the worker; `job` has the identity of its encoder."""

    job: EmbedJob
    encoder: Encoder
    say: Callable[[str], None]

    @property
    def licence(self) -> str:
        """The encoder's."""
        return self.encoder.licence

    def embed(self, texts: list[str]) -> Iterator[Report]:
        """Encodes and stores texts; a report a slab. The same command, run again, finds a text that was fatal."""
        notes = Notes(Store(self.job.storage), join(self.job.bank, f"{self.job.identity}.begun"))
        embedder = SlabEmbedder(self.job, loaded(self.encoder), notes, self.say)
        try:
            for slab in cut_slabs(texts, 1):
                with notes.of_deaths_only(slab.name):
                    yield embedder.embed(slab)
        finally:
            notes.clear()


def _workers(job: EmbedJob, run: FitRun, say: Callable[[str], None]) -> Here | OnRay:
    if not ray_is_up():
        encoder = lazy_encoder(job.encoder, Store(job.storage), partial(place_encoder, job))
        return Here(replace(job, identity=encoder.identity), encoder, say)
    from raytagger.stream.embed_on_ray import OnRay

    return OnRay.ask(job, run.cluster, say)


def _follow(reports: Iterable[Report], texts: int, labels: LabelSet, progress: Progress) -> None:
    progress("label bank", 0, texts)
    encoded, failures = 0, list[Failure]()
    for report in reports:
        encoded += report.encoded
        failures += report.failed
        progress("label bank", encoded, texts)
        if len(failures) >= MOST_BAD:
            break
    if failures:
        raise _refusal(failures, labels)


def _refusal(failures: list[Failure], labels: LabelSet) -> CorpusError:
    """Names the labels, by the first that has each text."""
    first: dict[str, str] = {}
    for label_id, text in zip(labels.ids, labels.full_texts, strict=True):
        first.setdefault(text, label_id)
    named = ", ".join(first[failure.text] for failure in failures[:3])
    broken = len(failures) >= MOST_BAD
    return CorpusError(
        f"{len(failures)} label text{'s' * (len(failures) > 1)} cannot be encoded"
        f"{', and the run was given up' if broken else ''}",
        got=f"{named}{', …' if len(failures) > 3 else ''}; the first: {failures[0].error}",
        remedy="Mend or remove these labels and run again; all other labels stay in the bank.",
    )
