"""What lies below a folder: links followed, each real file once, and names by pattern."""

from __future__ import annotations

import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from raytagger.errors import StoreError

MAGIC = re.compile(r"[*?[]")


class Found(NamedTuple):
    """A file below a folder: its name there, bytes, and a stamp that changes when it is written again."""

    name: str
    size: int
    stamp: str


def local_files(folder: Path, hidden: bool, once: bool, pattern: str = "") -> list[Found]:
    """The files below a local folder by name.

    A folder that several links lead to, or that a link in it leads back to, is entered once.

    Args:
        folder: where to look.
        hidden: with those that begin with `.` or `_`, and what lies in such folders.
        once: a file that is also reached by a link is named once, by its own name where that lies here.
        pattern: nothing is looked at that cannot match it; all is where it is empty.

    Raises:
        StoreError: a link leads nowhere, or something is neither a file nor a folder.
    """
    found, leads = list[Found](), _leads_to(pattern)
    entered, files = set[tuple[int, int]](), set[tuple[int, int]]()
    folders, links = deque([""]), deque[str]()  # what is really here comes before what links lead to
    while folders or links:
        name = folders.popleft() if folders else links.popleft()
        path = folder / name
        facts = _facts(path)
        if facts is None:
            continue
        place = facts.st_dev, facts.st_ino
        if stat.S_ISREG(facts.st_mode):
            if once and place in files and path.is_symlink():
                continue
            files.add(place)
            found.append(Found(name, facts.st_size, str(facts.st_mtime_ns)))
        elif not stat.S_ISDIR(facts.st_mode):
            raise StoreError(f"{path} is neither a file nor a folder", remedy="Remove it.")
        elif place not in entered:
            entered.add(place)
            for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
                below = f"{name}/{entry.name}" if name else entry.name
                if leads(below) and (hidden or not is_hidden(entry.name)):
                    (links if entry.is_symlink() else folders).append(below)
    return sorted(found)


def s3_files(client: Any, bucket: str, folder: str, prefix: str = "") -> list[Found]:
    """The objects of a bucket whose keys begin with `folder` (empty, or ending in `/`) and `prefix`, by name."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{folder}{prefix}")
    return sorted(
        Found(one["Key"].removeprefix(folder), one["Size"], one["ETag"].strip('"'))
        for page in pages
        for one in page.get("Contents", ())
        if not one["Key"].endswith("/")
    )


def is_hidden(name: str) -> bool:
    """Whether a part of a name begins with `.` or `_`."""
    return any(part.startswith((".", "_")) for part in name.split("/"))


def is_pattern(uri: str) -> bool:
    """Whether a URI has characters of a pattern: `*`, `?` or `[`."""
    return MAGIC.search(uri) is not None


def split_pattern(uri: str) -> tuple[str, str]:
    """The folder above the first part with a character of a pattern, and the pattern below it."""
    at = MAGIC.search(uri)
    head, slash, _ = uri[: at.start() if at else len(uri)].rpartition("/")
    return head or slash or ".", uri[len(head) + len(slash) :]


def fixed_start(pattern: str) -> str:
    """What every name that a pattern matches begins with."""
    at = MAGIC.search(pattern)
    return pattern[: at.start()] if at else pattern


def matching(pattern: str, found: list[Found]) -> Iterator[Found]:
    """The files that a pattern names, or that lie in a folder which it names.

    `*` and `?` stay within a part of the name, `**/` stands for any number of folders, `[ab]` for one of these
    characters, `[!ab]` for any other. Hidden files must be named as such.
    """
    wanted = re.compile("".join(_translated(pattern.rstrip("/"))) + r"(?:/.*)?", re.DOTALL)
    hidden = is_hidden(pattern)
    return (file for file in found if wanted.fullmatch(file.name) and (hidden or not is_hidden(file.name)))


def _leads_to(pattern: str) -> Callable[[str], bool]:
    """Whether a name matches a pattern as far as it goes, so that it, or what lies in it, may match."""
    parts = pattern.rstrip("/").split("/") if pattern else []
    wanted = [None if "**" in part else re.compile("".join(_translated(part)), re.DOTALL) for part in parts]

    def leads(name: str) -> bool:
        for part, one in zip(name.split("/"), wanted, strict=False):
            if one is None or not one.fullmatch(part):
                return one is None
        return True

    return leads


def _translated(pattern: str) -> Iterator[str]:
    for token in re.findall(r"\*\*/|\*+|\?|\[!?\]?[^\]]*\]|.", pattern, re.DOTALL):
        if token == "**/":
            yield "(?:[^/]+/)*"
        elif token.startswith("*"):
            yield "[^/]*"
        elif token == "?":
            yield "[^/]"
        elif len(token) > 1:
            inside = token[1:-1].replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
            inside = f"^/{inside[1:]}" if inside.startswith("!") else inside
            yield f"[{inside.replace(']', chr(92) + ']')}]"
        else:
            yield re.escape(token)


def _facts(path: Path) -> os.stat_result | None:
    """What is there behind links; None where it was removed meanwhile."""
    try:
        return path.stat()
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not path.is_symlink():
            return None
        if not path.is_symlink():
            raise
        raise StoreError(
            f"{path} is a link that leads nowhere", got=os.readlink(path), remedy="Mend or remove it."
        ) from error
