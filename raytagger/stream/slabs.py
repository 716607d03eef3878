"""Label texts as slabs: each is encoded and stored at once, and texts that cannot be encoded are put aside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from raytagger.bisect import SUSPECTS, ProcessDiedError, Tagged, tag_bisecting
from raytagger.encoders import Encoder, load_encoder
from raytagger.errors import CapacityError, CorpusError
from raytagger.labels import LabelBank
from raytagger.labels.bank import SLAB_TEXTS, text_key
from raytagger.progress import unsaid
from raytagger.schema import FloatArray
from raytagger.settings import EncoderSettings, StorageSettings
from raytagger.store import Store
from raytagger.stream.stage import Ledger

SLABS_A_WORKER = 4  # so that no worker waits long for the last one
SLAB_TEXTS_AT_LEAST = 64  # a worker that loads 14 GB for fewer costs more than it saves


@dataclass(frozen=True)
class EmbedJob:
    """What every worker needs: the encoder and its prompt, the bank's folder, and what the encoder must be."""

    encoder: EncoderSettings
    prompt: str
    bank: str
    storage: StorageSettings
    identity: str = ""


class Slab(NamedTuple):
    """Texts, without their prompt; the name is that of the first, which another attempt would begin with too."""

    name: str
    texts: list[str]


class Failure(NamedTuple):
    """A text that cannot be encoded, without its prompt, and the error."""

    text: str
    error: str


class Report(NamedTuple):
    """What came of a slab: how many texts are stored, and those that cannot be encoded."""

    encoded: int
    failed: list[Failure]


def cut_slabs(texts: Sequence[str], workers: int) -> list[Slab]:
    """Texts of like length together, which saves padding, and the longest first."""
    size = -(-len(texts) // (workers * SLABS_A_WORKER))
    size = min(max(size, SLAB_TEXTS_AT_LEAST), SLAB_TEXTS)
    ordered = sorted(texts, key=len, reverse=True)
    slabs = (ordered[start : start + size] for start in range(0, len(ordered), size))
    return [Slab(f"slab-{text_key(slab[0]).hex()}", slab) for slab in slabs]


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


@dataclass(frozen=True)
class SlabEmbedder:
    """Encodes and stores slabs, one a call, wherever it stands: in an actor of Ray or in this process."""

    job: EmbedJob
    encoder: Encoder
    ledger: Ledger
    say: Callable[[str], None] = unsaid

    def embed(self, slab: Slab) -> Report:
        """Encodes a slab, stores what can be encoded, and reports the rest."""
        fatal = self.ledger.begin(slab.name) >= self.ledger.patience
        if fatal:
            self.say(
                f"a process died while encoding {len(slab.texts):,} label texts: they are encoded few at a time, "
                "and some of them one at a time, to find the text that it died of"
            )
        done = self._embed_suspects(slab.texts) if fatal else tag_bisecting(self._encode, slab.texts)
        good = [self.job.prompt + slab.texts[row] for row in done.rows]
        if good:
            bank = LabelBank(Store(self.job.storage), self.job.bank)
            bank.add(good, self.job.identity, np.concatenate(done.parts))
        self.ledger.end(slab.name)
        return Report(len(good), [Failure(slab.texts[bad.row], bad.error) for bad in done.rejected])

    def _encode(self, texts: Sequence[str]) -> tuple[FloatArray, int]:
        try:
            return self.encoder.encode(texts, self.job.prompt).vector_BD, 0
        except CapacityError as error:
            raise CorpusError(str(error)) from error  # too long for the device: the text's fault

    def _embed_suspects(self, texts: list[str]) -> Tagged[FloatArray]:
        """Some at a time, and one at a time those few that a process has died of: two more deaths find the text."""
        done: Tagged[FloatArray] = Tagged([], [], 0, [])
        for start in range(0, len(texts), SUSPECTS):
            some = texts[start : start + SUSPECTS]
            name = f"suspects-{text_key(some[0]).hex()}"
            died = self.ledger.begin(name) or len(texts) <= SUSPECTS
            try:
                found = tag_bisecting(self._encode_alone, some, 1) if died else tag_bisecting(self._encode, some)
            finally:
                self.ledger.end(name)
            done = done.joined(found, start)
        return done

    def _encode_alone(self, alone: Sequence[str]) -> tuple[FloatArray, int]:
        """One text; the one that was begun before and not ended has killed the process."""
        name = text_key(alone[0]).hex()
        if self.ledger.begin(name):
            raise ProcessDiedError("the encoding process died of it")
        try:
            return self._encode(alone)
        finally:
            self.ledger.end(name)
