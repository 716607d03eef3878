"""A training in this process: the loop of one worker, with its checkpoints where Ray Train would put them.

URI/<step>/        weights, the best weights, the optimizer's state, the state: as `fit/checkpoint.py` writes them
URI/latest.json    names the folder that counts; written last
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytagger.cache import cache_folder
from raytagger.encoders.transformer import pick_device
from raytagger.errors import CapacityError
from raytagger.fit.checkpoint import read_state, read_weights
from raytagger.fit.job import FitJob, Place
from raytagger.fit.loop import Clocks, Loop
from raytagger.fit.training import MakeTask, Trained, fetch_inputs
from raytagger.progress import Progress
from raytagger.store import Store, join

LATEST = "latest.json"


def train_here(
    job: FitJob, make_task: MakeTask, uri: str, progress: Progress, say: Callable[[str], None]
) -> Trained:
    """Trains in this process; what it gives is what one worker of Ray Train gives.

    A run of the same `uri` goes on from its last checkpoint; one that has ended is not trained again.

    Args:
        job: what to train.
        make_task: called once.
        uri: a folder of this run alone; its name must change with whatever changes the result.
        progress: told of steps.
        say: gets the estimate and a line an evaluation.

    Raises:
        SettingsError: about the settings, by the task.
        CapacityError: the loss is not finite, or a document does not fit the memory.
    """
    started, kept = Clocks.now(), Checkpoints(Store(job.storage), uri)
    wanted = job.encoder.device
    place = Place(device="cpu" if wanted == "auto" else pick_device(wanted))  # as a worker without a GPU
    cache = cache_folder() / "training" / uri.rstrip("/").rsplit("/", 1)[-1]
    with tempfile.TemporaryDirectory() as temporary:
        folder = kept.fetch(Path(temporary))
        if folder is None or not read_state(folder).outcome:
            loop = Loop(
                make_task(job, place, fetch_inputs(job, place, cache), cache, progress),
                job.train,
                place,
                kept.report,
                progress,
                say,
                started,
            )
            if folder is not None:
                loop.restore(folder)
            try:
                loop.run()
            except RuntimeError as error:  # what PyTorch raises about memory and devices
                reason = (str(error).splitlines() or [""])[0][:300]
                remedy = "The same command goes on from the last checkpoint."
                raise CapacityError("training failed", got=reason, remedy=remedy) from error
            shutil.rmtree(cache, ignore_errors=True)
            folder = kept.fetch(Path(temporary))
        assert folder is not None, "a loop that ends has left a checkpoint"
        return Trained(read_weights(folder), read_state(folder), place.workers)


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run: the last one is kept."""

    store: Store
    uri: str

    def report(self, figures: dict[str, Any], write: Callable[[Path], None]) -> None:
        """Keeps a checkpoint and forgets the one before; see `Report` of the loop."""
        before, name = self._latest(), f"{figures['step']:08d}-{time.time_ns()}"
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder))
            self.store.upload(Path(folder), join(self.uri, name))
        self.store.write_bytes(join(self.uri, LATEST), json.dumps({"checkpoint": name}).encode())
        if before:
            self.store.delete(join(self.uri, before))

    def fetch(self, folder: Path) -> Path | None:
        """The last checkpoint as a local folder, below the given one."""
        name = self._latest()
        if not name:
            return None
        self.store.download(join(self.uri, name), folder / name)
        return folder / name

    def _latest(self) -> str:
        latest = join(self.uri, LATEST)
        return json.loads(self.store.read_bytes(latest))["checkpoint"] if self.store.exists(latest) else ""
