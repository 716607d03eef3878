"""raytagger: tags large corpora from large, growing label sets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raytagger.bundle import Tagger, load, named

__version__ = "0.1.0"
__all__ = ["Tagger", "load", "named"]

# Compiled kernels are kept outside the package, which may be read-only or part of what Ray sends to its workers.
_CACHE = Path(os.environ.get("RAYTAGGER_CACHE", "~/.cache/raytagger")).expanduser()
os.environ.setdefault("NUMBA_CACHE_DIR", str(_CACHE / "numba"))


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `--help` and the HTTP client stay light.
    if name in __all__:
        import raytagger.bundle

        return getattr(raytagger.bundle, name)
    raise AttributeError(f"module 'raytagger' has no attribute {name!r}")
