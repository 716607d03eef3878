"""Packages that only rivals need, in a folder of their own, so that what raytagger installs stays as it is."""

import hashlib
import subprocess
import sys

from raytagger.encoders.locate import cache_folder


def bring(*packages: str) -> None:
    """Installs packages on first use, without what they need beside them, and makes them importable."""
    name = hashlib.sha256(" ".join([sys.version, *packages]).encode()).hexdigest()[:12]
    folder = cache_folder() / "peers" / name
    if not folder.is_dir():
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            str(folder),
            *packages,
        ]
        subprocess.run(command, check=True)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # at the end: our own versions come first
