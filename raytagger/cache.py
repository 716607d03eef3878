"""Where downloads and compiled kernels are kept between runs."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

DEFAULT = "~/.cache/raytagger"


def cache_folder() -> Path:
    """`RAYTAGGER_CACHE`, else `~/.cache/raytagger`; `settle_cache` has seen to it that it can be written."""
    return Path(os.path.expanduser(os.environ.get("RAYTAGGER_CACHE") or DEFAULT))


def settle_cache() -> None:
    """Sets `RAYTAGGER_CACHE` and `NUMBA_CACHE_DIR` where theirs cannot be written, for all processes from here on.

    A read-only home or none gives a private folder among the temporary ones, and one line on standard error.

    Raises:
        FileNotFoundError: the machine has no temporary folder either.
    """
    wanted = cache_folder()
    if not _can_be_written(wanted):
        private = _private_folder()
        _say(f"{wanted} cannot be written; the cache is {private}. Set RAYTAGGER_CACHE to a folder of yours.")
        os.environ["RAYTAGGER_CACHE"] = str(private)
    kernels, ours = os.environ.get("NUMBA_CACHE_DIR"), str(cache_folder() / "numba")
    if kernels and kernels != ours and not _can_be_written(Path(kernels)):
        _say(f"NUMBA_CACHE_DIR {kernels} cannot be written; compiled kernels are kept in {ours}.")
        kernels = None
    # Outside the package, which may be read-only or part of what Ray sends to its workers.
    os.environ["NUMBA_CACHE_DIR"] = kernels or ours


def _can_be_written(folder: Path) -> bool:
    if folder.parts[:1] == ("~",):  # a user without a home
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The mode does not tell of a file system that is mounted read-only.
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _private_folder() -> Path:
    """One folder for all processes of a user, so that kernels are compiled once, and closed to everybody else."""
    folder = Path(tempfile.gettempdir()) / f"raytagger-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="raytagger-"))
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077
    return folder if ours else Path(tempfile.mkdtemp(prefix="raytagger-"))


def _say(line: str) -> None:
    sys.stderr.write(f"raytagger: {line}\n")
