"""raytagger: tags large corpora from large, growing label sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raytagger.cache import settle_cache

if TYPE_CHECKING:
    from raytagger.bundle import Tagger, load, named

__version__ = "0.1.0"
__all__ = ["Tagger", "load", "named"]

settle_cache()  # before numba is imported


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `--help` and the HTTP client stay light.
    if name in __all__:
        import raytagger.bundle

        return getattr(raytagger.bundle, name)
    raise AttributeError(f"module 'raytagger' has no attribute {name!r}")
