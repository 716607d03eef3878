"""Object storage and the local disk: files, manifests, locks, the tag table."""

from raytagger.store.files import FileEntry, Store, absolute, at_once, is_s3, join, parent
from raytagger.store.lock import locked
from raytagger.store.manifest import check_files, read_manifest, write_manifest
from raytagger.store.places import placed, without_places
from raytagger.store.writable import check_writable

__all__ = [
    "FileEntry",
    "Store",
    "absolute",
    "at_once",
    "check_files",
    "check_writable",
    "is_s3",
    "join",
    "locked",
    "parent",
    "placed",
    "without_places",
    "read_manifest",
    "write_manifest",
]
