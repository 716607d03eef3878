"""The table of kinds, and `load`."""

from __future__ import annotations

from raytagger.bundle.blend import open_blend
from raytagger.bundle.dense import open_dense
from raytagger.bundle.format import Opened, open_bundle
from raytagger.bundle.frozen import open_frozen
from raytagger.bundle.tagger import Tagger
from raytagger.bundle.tree import open_tree
from raytagger.bundle.xml0 import open_xml0
from raytagger.errors import BundleError
from raytagger.store import Store


def _open_blend(opened: Opened, store: Store, device: str) -> Tagger:
    return open_blend(opened, store, device, open_kind)


def _open_xml0(opened: Opened, store: Store, device: str) -> Tagger:
    return open_xml0(opened, store, device, open_kind)


KINDS = {
    "frozen": open_frozen,
    "dense": open_dense,
    "tree": open_tree,
    "blend": _open_blend,
    "xml0": _open_xml0,
}


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
    return open_kind(open_bundle(uri, store), store, device)


def open_kind(opened: Opened, store: Store, device: str) -> Tagger:
    """A bundle whose files are there and checked; also the way in which a bundle opens those within it.

    Raises:
        BundleError: the kind is unknown.
    """
    kind = opened.manifest.get("kind")
    if kind not in KINDS:
        raise BundleError(f"the bundle {opened.folder} is of an unknown kind", got=kind, expected=", ".join(KINDS))
    return KINDS[kind](opened, store, device)
