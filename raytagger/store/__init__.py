"""Object storage and the local disk: files, manifests, locks, the tag table."""

from raytagger.store.files import FileEntry, Store, absolute, at_once, is_s3, join, parent
from raytagger.store.lock import locked
from raytagger.store.manifest import check_files, read_manifest, write_manifest

__all__ = [
    "FileEntry",
    "Store",
    "absolute",
    "at_once",
    "check_files",
    "is_s3",
    "join",
    "locked",
    "parent",
    "read_manifest",
    "write_manifest",
]
