"""Places of a run, such that they mean the same on the machine and in the folder of every worker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from raytagger.settings.parse import PLACES as PARTS
from raytagger.store.files import absolute

Run = TypeVar("Run")

PLACES = {
    "source": ("documents", "labels"),
    "labels": ("bank",),
    "xml0": ("base",),
    "retag": ("documents", "labels", "bundle", "table"),
    "serve": ("bundle", "tokens_file"),
    "output": ("bundle",),
}
MODELS = {"encoder": "path", "labels": "encoder"}  # a folder, or a name on the hub
MEMBERS = {"blend": ("members",)}  # read by the driver alone, and copied into the bundle


def placed(run: Run) -> Run:
    """A run whose local paths are absolute: what is handed to workers, which may have been started anywhere.

    A bundle keeps the paths as they were given, since its version must not tell where it was made.
    """
    parts: dict[str, Any] = {}

    def change(part: str, name: str, only_folders: bool = False) -> None:
        settings: Any = parts.get(part, getattr(run, part, None))
        value = getattr(settings, name, "")
        if value and (not only_folders or Path(value).expanduser().is_dir()):
            parts[part] = replace(settings, **{name: absolute(value)})

    for part, names in PLACES.items():
        for name in names:
            change(part, name)
    for part, name in MODELS.items():
        change(part, name, only_folders=True)
    return replace(run, **parts)  # pyright: ignore[reportCallIssue, reportArgumentType] - a run is a dataclass


def without_places(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a manifest but for where its run worked, and where data and models lay: for fingerprints."""
    kept: dict[str, Any] = {}
    for part, values in settings.items():
        if part not in PARTS:
            left_out = {*PLACES.get(part, ()), MODELS.get(part), *MEMBERS.get(part, ())}
            is_part = isinstance(values, dict)
            kept[part] = {n: v for n, v in values.items() if n not in left_out} if is_part else values
    return kept
