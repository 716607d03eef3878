"""A folder whose every file is named with its SHA-256 in `manifest.json`, published as a whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from raytagger.errors import StoreError

NAME = "manifest.json"


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """Writes `manifest.json`: the facts, and every file of the folder with its digest and size."""
    files = {
        str(path.relative_to(folder)): {"sha256": digest(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / NAME
    }
    (folder / NAME).write_text(json.dumps({**facts, "files": files}, indent=1, sort_keys=True) + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a local folder.

    Raises:
        StoreError: it is absent or not JSON.
    """
    try:
        manifest = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(f"{folder} has no {NAME}", remedy="Is it the right folder?") from None
    except ValueError as error:
        raise StoreError(f"{folder / NAME} is damaged: {error}", remedy="Publish it anew.") from error
    if not isinstance(manifest, dict):
        raise StoreError(f"{folder / NAME} is damaged", expected="a JSON object", remedy="Publish it anew.")
    return manifest


def check_files(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    """Checks that each file has the size and digest that the manifest names.

    Raises:
        StoreError: a file is absent, cut off or altered; the message names it.
    """
    for name, facts in files.items():
        path = folder / name
        if not path.is_file():
            raise StoreError(f"{path} is missing", remedy="Copy or train the bundle again.")
        size = path.stat().st_size
        if size != facts.get("bytes"):
            raise StoreError(
                f"{path} is cut off or overwritten",
                got=f"{size} bytes",
                expected=f"{facts.get('bytes')} bytes",
                remedy="Copy or train the bundle again.",
            )
        if digest(path) != facts.get("sha256"):
            raise StoreError(f"{path} was altered: its SHA-256 differs", remedy="Copy or train the bundle again.")


def digest(path: Path) -> str:
    """SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
