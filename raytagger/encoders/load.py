"""From settings to an encoder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from raytagger.encoders.encoder import Encoder
from raytagger.encoders.lazy import LazyEncoder
from raytagger.encoders.locate import SETTINGS_FILE, is_known, locate
from raytagger.errors import SettingsError
from raytagger.settings import EncoderSettings, make_run
from raytagger.store import Store

GROUP = "raytagger.encoders"
# Named, not imported: each kind brings heavy libraries, and only the one in use is paid for.
KINDS = {
    name: EntryPoint(name, f"raytagger.encoders.{value}", GROUP)
    for name, value in {
        "transformer": "transformer:TransformerEncoder",
        "causal": "transformer:TransformerEncoder",
        "sentence-transformers": "sentence:SentenceEncoder",
        "static": "static:StaticEncoder",
        "http": "http:HttpEncoder",
    }.items()
}


def load_encoder(settings: EncoderSettings, store: Store) -> Encoder:
    """Loads the encoder that settings name.

    A kind outside our own is looked up among the installed entry points of the group `raytagger.encoders`; such an
    entry point is a callable (settings, folder) -> Encoder.

    Raises:
        SettingsError: the kind is unknown or the model cannot be loaded.
    """
    return _kind(settings)(settings, _folder(settings, store))


def lazy_encoder(settings: EncoderSettings, store: Store, load: Callable[[], Encoder] | None = None) -> Encoder:
    """The encoder that settings name, loaded only when it first encodes if its kind can be described without.

    Such a kind has a static method `describe(settings, folder)` -> `About`. One that it merely inherits does not
    count, since it would tell of the parent.

    Args:
        settings: of the encoder.
        store: where its files are.
        load: by default `load_encoder`.

    Raises:
        SettingsError: the kind is unknown, or the model cannot be found.
    """
    load = load or partial(load_encoder, settings, store)
    describe = getattr(_kind(settings), "__dict__", {}).get("describe")
    if describe is None:
        return load()
    folder = _folder(settings, store)
    if settings.kind in KINDS and settings.kind != "http" and not is_known(folder):
        return load()
    return LazyEncoder(describe(settings, folder), load)


def save_encoder(encoder: Encoder, settings: EncoderSettings, folder: Path) -> None:
    """Writes the encoder and its settings to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder.save(folder)
    (folder / SETTINGS_FILE).write_text(json.dumps(dataclasses.asdict(settings), indent=1) + "\n")


def open_encoder(folder: Path, device: str = "auto") -> Encoder:
    """Loads an encoder that `save_encoder` wrote."""
    file = folder / SETTINGS_FILE
    settings = make_run(json.loads(file.read_text(encoding="utf-8")), EncoderSettings, place=str(file))
    settings = dataclasses.replace(settings, device=device)
    return _kind(settings)(settings, settings.path if settings.kind == "http" else str(folder))


def _folder(settings: EncoderSettings, store: Store) -> str:
    return settings.path if settings.kind == "http" else locate(settings.path, store)


def _kind(settings: EncoderSettings) -> Any:
    kinds = KINDS | {point.name: point for point in entry_points(group=GROUP)}
    if settings.kind not in kinds:
        raise SettingsError(
            "encoder.kind is unknown",
            got=settings.kind,
            expected=", ".join(kinds),
            remedy=f"An encoder of your own is an entry point of the group {GROUP}.",
        )
    return kinds[settings.kind].load()
