"""What only rivals need, in folders of its own, so that what raytagger installs stays as it is.

A full run installs a rival on first use, a quick run installs nothing. Rivals that cannot be had are left out of
the figures; `left_out` names them, each with the reason.
"""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from raytagger.cache import cache_folder

QUICK = "not installed, and a quick run installs nothing"


class LeftOut(Exception):
    """A rival cannot be had; says why."""


def bring(*packages: str, install: bool = True) -> None:
    """Makes packages importable, without what they need beside them; installs them where they are not there.

    Raises:
        LeftOut: they are not there, and are not to be or cannot be installed.
    """
    name = hashlib.sha256(" ".join([sys.version, *packages]).encode()).hexdigest()[:12]
    folder = cache_folder() / "peers" / name
    if not folder.is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        _run([*command, *packages], install)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # at the end: our own versions come first


def environment(
    name: str, installs: Sequence[Sequence[str]], install: bool, optional: Sequence[Sequence[str]] = ()
) -> Path:
    """The interpreter of an environment of its own, made on first use; several processes may ask at once.

    Args:
        name: of its folder in the cache.
        installs: arguments of `pip install`, one call after the other.
        install: whether it may be made now.
        optional: as `installs`; the others are of use without them.

    Raises:
        LeftOut: it is not there, and is not to be or cannot be made.
    """
    folder = cache_folder() / "peers" / f"{name}-{sys.version_info.major}.{sys.version_info.minor}"
    folder.mkdir(parents=True, exist_ok=True)
    python, ready = folder / "bin" / "python", folder / "ready"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            _run([sys.executable, "-m", "venv", str(folder)], install)
            for arguments in installs:
                _run([str(python), "-m", "pip", "install", "--quiet", *arguments], install)
            for arguments in optional:
                with suppress(LeftOut):
                    _run([str(python), "-m", "pip", "install", "--quiet", *arguments], install)
            ready.touch()
    return python


def _run(command: list[str], install: bool) -> None:
    if not install:
        raise LeftOut(QUICK)
    try:
        subprocess.run(command, check=True)
    except subprocess.CalledProcessError as error:
        raise LeftOut(f"cannot be installed: {error}") from error


class Peer:
    """A process that answers each line of JSON with a line of JSON, and ends with the block."""

    def __init__(self, *command: object, **variables: str) -> None:
        self._process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **variables},
        )

    def ask(self, question: object) -> Any:
        """Its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a rival's process ended when it was asked {str(question)[:200]}")
        return json.loads(line)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
