"""One run at a time on a table: a lease in object storage, a file lock on the local disk.

The lock spares two runs from doing the same work. It does not fence writes; the tag table's commit does that.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TextIO

from botocore.exceptions import ClientError

from raytagger.errors import LockHeldError, StoreError
from raytagger.store.files import Store, explained, is_s3, local_path, refuses_condition, split_s3

LEASE_S = 120.0


@contextmanager
def locked(store: Store, uri: str, lease_s: float = LEASE_S) -> Iterator[None]:
    """Holds the lock at `uri` while the block runs.

    A lease in object storage is renewed every third of `lease_s` and can be taken over once it is that old,
    so a killed run blocks the next one for that long at most; a local lock ends with its process.

    Raises:
        LockHeldError: another run holds it; the message says who and since when.
        StoreError: the lock cannot be written.
    """
    holder = _leased(store, uri, lease_s) if is_s3(uri) else _file_locked(uri)
    with holder:
        yield


@contextmanager
def _file_locked(uri: str) -> Iterator[None]:
    with explained(uri):
        path = local_path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    with file:
        with explained(uri):
            _lock_file(file, uri)
        yield


def _lock_file(file: TextIO, uri: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise _held(uri, file.read(), "Wait until it ends.") from None
    file.truncate(0)
    file.write(_owner(_now()))
    file.flush()


@contextmanager
def _leased(store: Store, uri: str, lease_s: float) -> Iterator[None]:
    since = _now()
    lease = {"etag": _acquire(store, uri, lease_s, since)}
    done = threading.Event()

    def renew() -> None:
        while not done.wait(lease_s / 3):
            try:
                renewed = store.put(uri, _owner(since).encode(), IfMatch=lease["etag"])
            except StoreError:
                continue  # storage fails just now; two more tries before the lease passes
            if renewed is None:
                return  # taken over; the commit will find out
            lease["etag"] = renewed

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        _release(store, uri, lease["etag"])


def _acquire(store: Store, uri: str, lease_s: float, since: str) -> str:
    """The ETag of the lock, which was free or whose lease has passed."""
    content = _owner(since).encode()
    owner = ""
    for _ in range(2):  # it may be released between the write and the look
        etag = store.put(uri, content, IfNoneMatch="*")
        if etag is not None:
            return etag
        old = _look(store, uri)
        if old is None:
            continue
        owner, old_etag, age_s = old
        free = age_s > lease_s or _is_dead(owner)
        taken = store.put(uri, content, IfMatch=old_etag) if free else None
        if taken is not None:
            return taken
        break
    remedy = f"Wait until it ends; the lease of a killed run passes after {lease_s:.0f} s."
    raise _held(uri, owner, remedy)


def _look(store: Store, uri: str) -> tuple[str, str, float] | None:
    """The lock's content, ETag and age in seconds; None where it is free."""
    bucket, key = split_s3(uri, with_key=True)
    with explained(uri):
        try:
            found = store.client().get_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
        content = found["Body"].read().decode(errors="replace")
    # The server's clock on both sides, so that this machine's does not count.
    date = found["ResponseMetadata"]["HTTPHeaders"].get("date")
    now = parsedate_to_datetime(date) if date else datetime.now(UTC)
    return content, found["ETag"], (now - found["LastModified"]).total_seconds()


def _is_dead(owner: str) -> bool:
    """Whether the owner was a process of this very host that is gone; its lease need not be waited for."""
    try:
        facts = json.loads(owner)
        host, pid = facts["host"], int(facts["pid"])
    except (ValueError, TypeError, KeyError):
        return False
    if host != socket.gethostname():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _release(store: Store, uri: str, etag: str) -> None:
    bucket, key = split_s3(uri, with_key=True)
    with explained(uri):
        try:
            store.client().delete_object(Bucket=bucket, Key=key, IfMatch=etag)
        except ClientError as error:
            if not refuses_condition(error):
                raise


def _owner(since: str) -> str:
    # The time makes every renewal a new content, hence a new ETag.
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": since, "at": _now()})


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _held(uri: str, owner: str, remedy: str) -> LockHeldError:
    return LockHeldError(f"another run holds the lock {uri}", got=owner or "an unknown owner", remedy=remedy)
