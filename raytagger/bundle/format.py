"""A bundle on disk or S3: `OUT/<version>/manifest.json` with everything beside it, `OUT/latest.json` written last.

manifest.json     format, kind, resolved settings, label set, trained labels, licences, SHA-256 of every file
labels.parquet    the label set with `train_count`, the training documents of each label
thresholds.json   which labels of a ranking are kept as tags (a blend's stand in blend.json)
trained_docs.npy  uint64, ascending: hashes of the ids of the training split's documents, 8 bytes each
README.md         the model card
…                 what the kind needs: encoder/, label_LD.npy, terms/
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raytagger.bundle.kept import read_thresholds
from raytagger.cache import cache_folder
from raytagger.calibration import Thresholds
from raytagger.corpus.labels import LabelSet, from_table
from raytagger.errors import BundleError, StoreError
from raytagger.settings import FitRun, make_run
from raytagger.store import Store, check_files, is_s3, join, read_manifest, without_places, write_manifest

FORMAT = 1
LATEST, TRAINED = "latest.json", "trained_docs.npy"
PACKAGES = ("raytagger", "numba", "numpy", "pyarrow", "ray", "scikit-learn", "torch", "transformers")


@dataclass(frozen=True)
class Opened:
    """A bundle's files on the local disk, checked."""

    folder: Path
    manifest: dict[str, Any]
    bundle_id: str
    labels: LabelSet
    train_count_L: np.ndarray
    trained_hashes: np.ndarray | None

    @property
    def run(self) -> FitRun:
        """The run that made it."""
        return make_run(self.manifest["settings"], FitRun, place=f"{self.folder}/manifest.json")

    @property
    def thresholds(self) -> Thresholds:
        """Which labels of a ranking are kept as tags."""
        return read_thresholds(self.folder, len(self.labels), self.run.search.threshold)


def write_labels(folder: Path, labels: LabelSet, train_count_L: np.ndarray) -> None:
    """Writes `labels.parquet`: the label set, and int64 (L,) training documents of each label."""
    table = labels.to_table().append_column("train_count", pa.array(train_count_L, pa.int64()))
    pq.write_table(table, folder / "labels.parquet")


def write_trained(folder: Path, hashes: np.ndarray) -> None:
    """Writes `trained_docs.npy`: the hashed ids of the documents of the training split, uint64."""
    np.save(folder / TRAINED, np.unique(hashes))


def read_trained(folder: Path) -> np.ndarray | None:
    """What `write_trained` wrote, ascending, left on the disk; None for bundles from before it."""
    file = folder / TRAINED
    return np.load(file, mmap_mode="r", allow_pickle=False) if file.is_file() else None


def publish(folder: Path, facts: dict[str, Any], out: str, store: Store) -> str:
    """Writes the manifest, copies the folder to `OUT/<version>` and then points `OUT/latest.json` at it.

    The version is the fingerprint of the content, so that the same training gives the same one, wherever it ran
    and wherever the bundle lies.

    Returns:
        The version.
    """
    write_manifest(folder, {"format": FORMAT, "packages": _packages(), "commit": _commit(), **facts})
    version = content_id(read_manifest(folder))
    store.upload(folder, join(out, version))
    store.write_bytes(join(out, LATEST), json.dumps({"version": version}).encode())
    return version


def content_id(manifest: dict[str, Any]) -> str:
    """Twelve hex digits over a bundle's files, settings and kind, wherever it lies and what it was made of lay."""
    settings = without_places(manifest.get("settings", {}))
    content = json.dumps([manifest.get("files"), settings, manifest.get("kind")], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def open_bundle(uri: str, store: Store) -> Opened:
    """Finds a bundle by `OUT` or `OUT/<version>`, fetches it if it is remote, and checks every file.

    Raises:
        BundleError: no bundle there, a newer format, or a file that is absent, cut off or altered.
    """
    place = pin_bundle(uri, store)
    try:
        folder = _fetch(place, store) if is_s3(place) else Path(place).expanduser()
        manifest = read_manifest(folder)
        _check_format(manifest, place)
        if not is_s3(place):  # what was fetched has been checked
            check_files(folder, manifest.get("files", {}))
    except StoreError as error:
        raise BundleError(f"the bundle {place} cannot be opened: {str(error).rstrip('.')}") from error
    return open_folder(folder, manifest, place.rstrip("/").rsplit("/", 1)[-1])


def open_folder(folder: Path, manifest: dict[str, Any], bundle_id: str) -> Opened:
    """A bundle's files where they are known to be whole."""
    table = pq.read_table(folder / "labels.parquet")
    counts = table["train_count"].to_numpy()
    return Opened(folder, manifest, bundle_id, from_table(table), counts, read_trained(folder))


def pin_bundle(uri: str, store: Store) -> str:
    """`OUT/<version>` for `OUT`, so that every worker of a run loads the same.

    Raises:
        BundleError: no bundle there, or `latest.json` is damaged.
    """
    if store.exists(join(uri, LATEST)):
        try:
            return join(uri, json.loads(store.read_bytes(join(uri, LATEST)))["version"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleError(
                f"{join(uri, LATEST)} is damaged",
                expected='{"version": …}',
                remedy="Name OUT/<version>, or train again.",
            ) from error
    if not store.exists(join(uri, "manifest.json")):
        raise BundleError(
            "no bundle there",
            got=uri,
            expected=f"a folder with {LATEST} or manifest.json",
            remedy="`raytagger fit` writes one at output.bundle.",
        )
    return uri


def peek_manifest(place: str, store: Store) -> dict[str, Any]:
    """The manifest of `OUT/<version>` alone; a remote bundle is not fetched.

    Raises:
        BundleError: it is missing or damaged.
    """
    try:
        return json.loads(store.read_bytes(join(place, "manifest.json")))
    except (StoreError, ValueError) as error:
        raise BundleError(
            f"the manifest of {place} is damaged: {error}", remedy="Copy or train it again."
        ) from error


def _check_format(manifest: dict[str, Any], place: str) -> None:
    found = manifest.get("format")
    if not isinstance(found, int) or found > FORMAT:
        raise BundleError(
            f"the bundle {place} has a newer format",
            got=found,
            expected=f"{FORMAT} or older",
            remedy="Install a newer raytagger.",
        )


def _fetch(place: str, store: Store) -> Path:
    """Downloads a remote bundle once; the digest of its manifest names the folder in the cache."""
    manifest = store.read_bytes(join(place, "manifest.json"))
    target = cache_folder() / "bundles" / hashlib.sha256(manifest).hexdigest()[:16]
    if target.is_dir() and not _is_whole(target):
        shutil.rmtree(target, ignore_errors=True)
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
            arriving = Path(temporary) / "bundle"
            store.download(place, arriving)
            try:
                check_files(arriving, read_manifest(arriving).get("files", {}))
                arriving.rename(target)
            except OSError:
                if not target.is_dir():  # another process has put it there meanwhile
                    raise
    return target


def _is_whole(folder: Path) -> bool:
    try:
        check_files(folder, read_manifest(folder).get("files", {}))
    except StoreError:
        return False
    return True


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """The commit of the code, where it runs from a checkout."""
    root = Path(__file__).parents[2]
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    command = [git, "-C", str(root), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def write_card(folder: Path, title: str, facts: Sequence[tuple[str, object]]) -> None:
    """Writes the model card."""
    rows = "\n".join(f"- {name}: {value}" for name, value in facts)
    (folder / "README.md").write_text(
        f"# {title}\n\nA bundle of raytagger. Load it with `raytagger.load`.\n\n{rows}\n"
    )
