"""What is dear to make is kept in the cache, under a name that changes with whatever decides it."""

import hashlib
import json
from pathlib import Path

import raytagger
from raytagger.cache import cache_folder
from raytagger.store.manifest import digest

OURS = Path(raytagger.__file__).parent  # the code as it is, committed or not


def kept(name: str, *decide: Path, **settings: object) -> Path:
    """A folder of the cache.

    Args:
        name: what a person reads.
        decide: files whose content decides what is made, and folders whose Python files do.
        settings: what else does.
    """
    files = [file for path in decide for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    key = json.dumps([[digest(file) for file in files], settings], sort_keys=True)
    return cache_folder() / "benchmarks" / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
