"""An encoder that is loaded when it first encodes: what it is, and how it is saved, its files tell."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from raytagger.encoders.encoder import Embedded, Encoder
from raytagger.errors import SettingsError


class About(NamedTuple):
    """What is known of an encoder that is not loaded.

    Attributes:
        identity: as `Encoder.identity`.
        licence: as `Encoder.licence`.
        files: what makes a copy of it when put into a folder, by name; none where it must be loaded to be saved.
    """

    identity: str
    licence: str
    files: Mapping[str, Path]


class LazyEncoder:
    """Stands for an encoder that may be too large to be loaded for nothing."""

    def __init__(self, about: About, load: Callable[[], Encoder]) -> None:
        self.identity, self.licence = about.identity, about.licence
        self._files, self._load = about.files, load

    @cached_property
    def loaded(self) -> Encoder:
        """The encoder itself.

        Raises:
            SettingsError: it cannot be loaded, or its files have changed since they were looked at.
        """
        encoder = self._load()
        if encoder.identity != self.identity:
            raise SettingsError(
                "the encoder is not the one that its files told of",
                got=encoder.identity,
                expected=self.identity,
                remedy="Start again once nobody writes into its folder.",
            )
        return encoder

    @property
    def width(self) -> int:
        """D, the width of an embedding."""
        return self.loaded.width

    def encode(self, texts: Sequence[str], prompt: str = "") -> Embedded:
        """See `Encoder.encode`."""
        return self.loaded.encode(texts, prompt)

    def save(self, folder: Path) -> None:
        """Copies the files where that is enough, whether the encoder is loaded or not: a bundle is its content."""
        if not self._files:
            self.loaded.save(folder)
            return
        for name, file in self._files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, folder / name)
        (folder / "README.md").write_text(f"---\nlicense: {self.licence}\n---\n")


def loaded(encoder: Encoder) -> Encoder:
    """The encoder itself, so that whatever keeps it from being loaded is told now."""
    return encoder.loaded if isinstance(encoder, LazyEncoder) else encoder
