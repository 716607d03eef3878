"""Stages of a recipe: each makes a content-addressed folder once, whoever runs it again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from raytagger.store import Store, is_s3, join

DONE = "done"


@dataclass(frozen=True)
class Stages:
    """The folders of a run's stages, below one place.

    Attributes:
        store: of the place.
        uri: where the folders lie.
        say: told which stages an earlier attempt has made.
    """

    store: Store
    uri: str
    say: Callable[[str], None]
    _fetched: dict[str, Path] = field(default_factory=dict)

    def folder(self, name: str, key: str, make: Callable[[Path], None]) -> Path:
        """The local folder of a stage's files.

        Args:
            name: of the stage.
            key: changes with whatever the result depends on.
            make: writes the files into an empty folder.
        """
        place = join(self.uri, f"{name}-{key}")
        if self.store.exists(join(place, DONE)):
            self.say(f"{name}: made already ({place})")
            return self._local(place)
        with tempfile.TemporaryDirectory() as temporary:
            make(Path(temporary))
            self.store.upload(Path(temporary), place)
        self.store.write_bytes(join(place, DONE), b"")
        return self._local(place)

    def _local(self, place: str) -> Path:
        if not is_s3(place):
            return Path(place).expanduser()
        if place not in self._fetched:
            self._fetched[place] = Path(tempfile.mkdtemp(prefix="raytagger-stage-"))
            self.store.download(place, self._fetched[place])
        return self._fetched[place]
