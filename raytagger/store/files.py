"""Files under local paths and `s3://`: one way to open, list, write atomically and publish."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import pyarrow.fs as arrow_fs
from botocore.exceptions import BotoCoreError, ClientError

from raytagger.errors import StoreError
from raytagger.settings import StorageSettings
from raytagger.store import options
from raytagger.store.listing import (
    Found,
    fixed_start,
    is_hidden,
    is_pattern,
    local_files,
    matching,
    s3_files,
    split_pattern,
)

Item = TypeVar("Item")
Result = TypeVar("Result")

REQUESTS_AT_ONCE = 16
REFUSED = re.compile(r"ACCESS_DENIED|AccessDenied|Signature|Forbidden|\b403\b|InvalidAccessKey|credentials")
UNREACHED = re.compile(r"resolve|connect|NETWORK|timed? ?out", re.IGNORECASE)


@dataclass(frozen=True)
class FileEntry:
    """One file: its URI, bytes, and a stamp that changes when it is written again.

    The stamp is the time of the last change on disk and the ETag in object storage, which changes with the content.
    """

    uri: str
    size: int
    stamp: str


@dataclass(frozen=True)
class Store:
    """Object storage and the local disk behind one interface. Cheap to make, safe to pickle.

    A URI is `s3://bucket/key` or a local path. Writes are atomic: a reader sees the old file, the new one,
    or none, never a part.

    Raises:
        StoreError: by every method, where the place is missing, refused or damaged.
    """

    settings: StorageSettings = field(default_factory=StorageSettings)

    def arrow(self, uri: str) -> tuple[arrow_fs.FileSystem, str]:
        """The file system of pyarrow and the path in it."""
        if is_s3(uri):
            path = "/".join(split_s3(uri)).rstrip("/")
            return options.s3_filesystem(options.resolve(self.settings)), path
        return arrow_fs.LocalFileSystem(), str(local_path(uri).absolute())

    def client(self) -> Any:
        """The client of boto3, for conditional writes."""
        return options.s3_client(options.resolve(self.settings))

    def delta_options(self, uri: str) -> dict[str, str] | None:
        """The storage options of deltalake for a table at `uri`."""
        with explained(uri):
            return options.delta_options(options.resolve(self.settings)) if is_s3(uri) else None

    def list(self, uri: str) -> list[FileEntry]:
        """All files below a folder by name, or the file itself; hidden ones (`.x`, `_x`) are left out.

        A URI that names nothing may be a pattern: `docs/*.parquet`, `s3://bucket/x/**/*.jsonl`; see `matching`.
        Links are followed, and a file that several names lead to is listed once.
        """
        if is_pattern(uri) and not self.exists(uri):
            return self._list_pattern(uri)
        return self._list_all(uri, hidden=False)

    def _list_all(self, uri: str, hidden: bool) -> list[FileEntry]:
        filesystem, path = self.arrow(uri)
        with explained(uri):
            kind = filesystem.get_file_info(path).type
            if kind == arrow_fs.FileType.File:
                return [self.entry(uri)]
            if kind == arrow_fs.FileType.NotFound and not Path(path).is_symlink():
                raise StoreError("nothing is stored there", got=uri, remedy=_missing_remedy(uri))
            if is_s3(uri):
                found = self._below(uri)
                found = [file for file in found if hidden or not is_hidden(file.name)]
            else:
                found = local_files(Path(path), hidden, once=not hidden)
        return [FileEntry(join(uri, file.name), file.size, file.stamp) for file in found]

    def _list_pattern(self, uri: str) -> list[FileEntry]:
        root, pattern = split_pattern(uri)
        with explained(uri):
            if is_s3(uri):
                found = self._below(root, fixed_start(pattern))
            else:
                folder, hidden = local_path(root), is_hidden(pattern)
                found = local_files(folder, hidden, not hidden, pattern) if folder.is_dir() else []
        entries = [FileEntry(join(root, file.name), file.size, file.stamp) for file in matching(pattern, found)]
        if not entries:
            raise StoreError("no file matches the pattern", got=uri, remedy=_missing_remedy(uri))
        return entries

    def _below(self, uri: str, prefix: str = "") -> list[Found]:
        bucket, key = split_s3(uri)
        return s3_files(self.client(), bucket, f"{key.rstrip('/')}/" if key.strip("/") else "", prefix)

    def entry(self, uri: str) -> FileEntry:
        """One file as it is now.

        Raises:
            StoreError: it is not there.
        """
        with explained(uri):
            if is_s3(uri):
                bucket, key = split_s3(uri.rstrip("/"), with_key=True)
                facts = self.client().head_object(Bucket=bucket, Key=key)
                return FileEntry(uri.rstrip("/"), facts["ContentLength"], facts["ETag"].strip('"'))
            facts = local_path(uri).stat()
            return FileEntry(uri.rstrip("/"), facts.st_size, str(facts.st_mtime_ns))

    def check_unchanged(self, entry: FileEntry) -> None:
        """Checks that a file is still as it was when it was listed.

        Raises:
            StoreError: it was written again or is gone.
        """
        if self.entry(entry.uri) != entry:
            raise StoreError(f"{entry.uri} was changed while the run read it", remedy="Start the run again.")

    def names(self, uri: str) -> set[str]:
        """What lies directly in a folder, hidden names included; nothing where no folder is."""
        filesystem, path = self.arrow(uri)
        with explained(uri):
            selector = arrow_fs.FileSelector(path, allow_not_found=True)
            return {info.base_name for info in cast("list[Any]", filesystem.get_file_info(selector))}

    def exists(self, uri: str) -> bool:
        """Whether a file or folder is there."""
        filesystem, path = self.arrow(uri)
        with explained(uri):
            return filesystem.get_file_info(path).type != arrow_fs.FileType.NotFound

    def open(self, uri: str) -> BinaryIO:
        """A seekable binary file to read from."""
        filesystem, path = self.arrow(uri)
        with explained(uri):
            return cast(BinaryIO, filesystem.open_input_file(path))

    def read_bytes(self, uri: str) -> bytes:
        """A whole file."""
        with self.open(uri) as file, explained(uri):
            return file.read()

    def write_bytes(self, uri: str, data: bytes) -> None:
        """Writes a whole file atomically, over an old one if there is one."""
        with self.writing(uri) as file:
            file.write(data)

    @contextmanager
    def writing(self, uri: str) -> Iterator[Any]:
        """A file to write to, which takes its place when the block ends well."""
        with explained(uri):
            if is_s3(uri):
                # The stream of pyarrow publishes what it has when dropped: so all is written, then uploaded.
                bucket, key = split_s3(uri, with_key=True)
                with tempfile.TemporaryFile() as file:
                    yield file
                    file.seek(0)
                    self.client().upload_fileobj(file, bucket, key)
                return
            path = local_path(uri)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
            try:
                with temporary.open("wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)

    def create_bytes(self, uri: str, data: bytes) -> bool:
        """Writes a file only where none is; False where one was already there."""
        with explained(uri):
            if is_s3(uri):
                return self.put(uri, data, IfNoneMatch="*") is not None
            path = local_path(uri)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
            try:
                temporary.write_bytes(data)
                os.link(temporary, path)
            except FileExistsError:
                return False
            finally:
                temporary.unlink(missing_ok=True)
            return True

    def put(self, uri: str, data: bytes, **condition: str) -> str | None:
        """S3 only: a conditional write; the new ETag, or None where the condition did not hold."""
        bucket, key = split_s3(uri, with_key=True)
        with explained(uri):
            try:
                return self.client().put_object(Bucket=bucket, Key=key, Body=data, **condition)["ETag"]
            except ClientError as error:
                if refuses_condition(error):
                    return None
                raise

    def delete(self, uri: str) -> None:
        """Removes a file or a folder with all in it; what is not there is no error."""
        filesystem, path = self.arrow(uri)
        with explained(uri):
            kind = filesystem.get_file_info(path).type
            if kind == arrow_fs.FileType.File:
                filesystem.delete_file(path)
            elif kind == arrow_fs.FileType.Directory:
                filesystem.delete_dir(path)

    def upload(self, folder: Path, uri: str) -> None:
        """Copies a local folder's files to a URI."""
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            with file.open("rb") as source, self.writing(join(uri, str(file.relative_to(folder)))) as target:
                shutil.copyfileobj(source, target, length=1 << 22)

    def download(self, uri: str, folder: Path) -> None:
        """Copies all files below a URI into a local folder."""
        for entry in self._list_all(uri, hidden=True):
            name = _below(entry.uri, uri) or entry.uri.rsplit("/", 1)[-1]
            if ".." in name.split("/"):
                raise StoreError(f"{entry.uri} would be written outside of {folder}")
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with self.open(entry.uri) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, length=1 << 22)


def at_once(call: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Calls for each item, many at a time, results in order: what storage takes is waiting, not work."""
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        return list(pool.map(call, items))


def is_s3(uri: str) -> bool:
    """Whether a URI lies in object storage."""
    return uri.startswith("s3://")


def local_path(uri: str) -> Path:
    """The path of a local URI.

    Raises:
        StoreError: it is the address of something else.
    """
    if "://" in uri:
        raise StoreError("unknown kind of storage", got=uri, expected="a local path or s3://bucket/key")
    return Path(uri).expanduser()


def absolute(uri: str) -> str:
    """A URI that means the same in every working directory."""
    return uri if "://" in uri else str(local_path(uri).absolute())


def split_s3(uri: str, with_key: bool = False) -> tuple[str, str]:
    """Bucket and key of an `s3://` URI; the key may be empty unless `with_key`.

    Raises:
        StoreError: the bucket or a part of the key is empty.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket or "//" in f"/{key}" or (with_key and (not key or key.endswith("/"))):
        raise StoreError("not a place in object storage", got=uri, expected="s3://bucket/key")
    return bucket, key


def refuses_condition(error: ClientError) -> bool:
    """Whether S3 answered that the condition of a write or delete does not hold."""
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    # AWS answers If-Match on a key that is gone with 404 NoSuchKey.
    return status in (409, 412) or error.response["Error"]["Code"] == "NoSuchKey"


def join(uri: str, *parts: str) -> str:
    """A URI below another."""
    return "/".join([uri.rstrip("/"), *(part.strip("/") for part in parts if part)])


def parent(uri: str) -> str:
    """The folder that a URI lies in."""
    head, slash, _ = uri.rstrip("/").rpartition("/")
    return head if slash else "."


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turns what the libraries raise into one error that names the place and the remedy."""
    try:
        yield
    except (OSError, ClientError, BotoCoreError) as error:
        raise StoreError(f"storage failed at {uri}: {_first_line(error)}", remedy=_remedy(uri, error)) from error


def _remedy(uri: str, error: Exception) -> str:
    text = str(error)
    if isinstance(error, FileNotFoundError) or "NoSuch" in text or "NO_SUCH" in text:
        return _missing_remedy(uri)
    if not is_s3(uri):
        return "Check the path's permissions." if isinstance(error, PermissionError) else ""
    if REFUSED.search(text):
        return "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that they may use this bucket."
    if UNREACHED.search(text):
        return "Check storage.endpoint (or AWS_ENDPOINT_URL) and that the server is up."
    return ""


def _missing_remedy(uri: str) -> str:
    return "Check the bucket, the spelling and the credentials." if is_s3(uri) else "Check the path's spelling."


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300].rstrip(".")


def _below(path: str, root: str) -> str:
    return path[len(root.rstrip("/")) + 1 :]
