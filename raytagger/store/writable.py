"""Whether a place can be written to, asked before the work instead of after it; nothing stays behind."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterable
from pathlib import Path

from raytagger.errors import StoreError
from raytagger.store.files import Store, explained, is_s3, join, local_path, split_s3
from raytagger.store.listing import is_pattern, split_pattern


def check_writable(store: Store, uri: str, folder: bool = False, apart_from: Iterable[str] = ()) -> None:
    """Checks that a file, or files in a folder, can be written at a URI.

    Args:
        store: of the place.
        uri: where a result is to go.
        folder: several files go there, below that name.
        apart_from: files, folders and patterns that are read, whose files it must not take the place of.

    Raises:
        StoreError: something else is there, or it cannot be written.
    """
    _check_apart(store, uri, apart_from, folder)
    if is_s3(uri):
        probe = f"{'.' if folder else ''}probe-{uuid.uuid4().hex[:12]}"
        place = join(uri, probe) if folder else f"{uri.rstrip('/')}.{probe}"
        store.put(place, b"")
        bucket, key = split_s3(place)
        with explained(uri):  # pyarrow would leave an empty folder in its place
            store.client().delete_object(Bucket=bucket, Key=key)
        return
    path = local_path(uri)
    with explained(uri):
        if path.is_dir() and not folder:
            raise StoreError("a folder is where a file is to be written", got=uri, remedy="Name a file in it.")
        if path.is_dir():
            _try(path)
        elif path.exists() and folder:
            raise StoreError("a file is where a folder is to be made", got=uri, remedy="Name another place.")
        elif path.exists() and not path.is_file():
            return  # a device, such as /dev/stdout
        else:
            _try(_nearest(path.absolute().parent))


def _check_apart(store: Store, output: str, inputs: Iterable[str], folder: bool) -> None:
    """A folder of results within one that is read would be read itself the next time."""
    target = _real(output)
    for uri in filter(None, inputs):
        pattern = is_pattern(uri) and not store.exists(uri)
        place = _real(split_pattern(uri)[0] if pattern else uri)
        below = target.startswith(f"{place}/")
        if target == place or (below and ((folder and not pattern) or store.exists(output))):
            raise StoreError("the output is a place that is read", got=output, remedy="Name another one.")


def _real(uri: str) -> str:
    """A place by a single name, whatever links lead there."""
    return uri.rstrip("/") if is_s3(uri) else os.path.realpath(local_path(uri))


def _nearest(folder: Path) -> Path:
    """The folder itself, or the first above it that is there."""
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise StoreError("a file is where a folder is to be made", got=str(folder), remedy="Name another place.")
    return folder


def _try(folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:  # its own message would name a temporary file
        raise StoreError(
            f"nothing can be written in {folder}: {error.strerror}",
            remedy="Check the path's permissions, or name another place.",
        ) from error
