"""The table of kinds, and `load`."""

from __future__ import annotations

from raytagger.bundle.dense import open_dense
from raytagger.bundle.format import open_bundle
from raytagger.bundle.frozen import open_frozen
from raytagger.bundle.tagger import Tagger
from raytagger.bundle.tree import open_tree
from raytagger.errors import BundleError
from raytagger.store import Store

KINDS = {"frozen": open_frozen, "dense": open_dense, "tree": open_tree}


def load(uri: str, store: Store | None = None, device: str = "auto") -> Tagger:
    """Loads a bundle.

    Args:
        uri: `OUT` (its latest version) or `OUT/<version>`, local or `s3://`.
        store: storage options; by default those of the environment.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        BundleError: there is no bundle, it is damaged, of a newer format or of an unknown kind.
    """
    store = store or Store()
    opened = open_bundle(uri, store)
    kind = opened.manifest.get("kind")
    if kind not in KINDS:
        raise BundleError(f"the bundle {uri} is of an unknown kind", got=kind, expected=", ".join(KINDS))
    return KINDS[kind](opened, store, device)
