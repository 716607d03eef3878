"""What is dear to make is kept in the cache, under a name that changes with whatever decides it."""

import ast
import hashlib
import json
from pathlib import Path

import raytagger
from raytagger.cache import cache_folder
from raytagger.store.manifest import digest

OURS = Path(raytagger.__file__).parent  # the code as it is, committed or not

TRAINING = ("encoders", "fit", "labels", "objectives", "recipes")  # rooms that decide an encoder's weights


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


def training_code(recipe: str = "recipes/ofde.py") -> list[Path]:
    """The files that a recipe imports from the rooms that train, directly or through each other, and its own."""
    found, waiting = set[Path](), {OURS / recipe}
    while waiting:
        file = waiting.pop()
        found.add(file)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{OURS.name}."):
                parts = (node.module or "").split(".")[1:]
                named = [parts, *([*parts, name.name] for name in node.names)]
                files = [OURS.joinpath(*name).with_suffix(".py") for name in named if name[0] in TRAINING]
                files += [OURS.joinpath(*name, "__init__.py") for name in named if name[0] in TRAINING]
                waiting |= {one for one in files if one.is_file()} - found
    return sorted(found)
