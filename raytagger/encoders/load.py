"""From settings to an encoder."""

from __future__ import annotations

import dataclasses
import json
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from raytagger.encoders.encoder import Encoder
from raytagger.encoders.locate import SETTINGS_FILE, locate
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
    folder = settings.path if settings.kind == "http" else locate(settings.path, store)
    return _make(settings, folder)


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
    return _make(settings, settings.path if settings.kind == "http" else str(folder))


def _make(settings: EncoderSettings, folder: str) -> Encoder:
    kinds = KINDS | {point.name: point for point in entry_points(group=GROUP)}
    if settings.kind not in kinds:
        raise SettingsError(
            "encoder.kind is unknown",
            got=settings.kind,
            expected=", ".join(kinds),
            remedy=f"An encoder of your own is an entry point of the group {GROUP}.",
        )
    return kinds[settings.kind].load()(settings, folder)
