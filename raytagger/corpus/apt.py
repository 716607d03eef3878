"""The archive's indexes through apt, in a folder of our own: no root, the machine's state untouched.

apt does what it is good at (mirrors, proxies, signatures, compression). It reads the machine's keyrings,
proxies and credentials; lists, caches, sources and preferences are private to the folder, and no hook runs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from raytagger.corpus.apt_sources import keep_archive, read_sources
from raytagger.corpus.stanzas import read_stanzas
from raytagger.errors import CorpusError

APT_DIR = Path("/etc/apt")
MACHINE_ROOT = Path("/")
VOCABULARY = Path("usr/share/debtags/vocabulary")  # below the machine's root or an unpacked package
PROGRAMS = ("apt-get", "dpkg", "dpkg-deb")
FRESH_S = 24 * 3600.0
TIMEOUT_S = 900.0
ORIGINS = ("Debian", "Ubuntu")

# `#clear` empties lists that the machine's own files may have filled: hooks must not run for our folder (some
# delete the machine's package cache), and images for containers switch translations off.
CONFIGURATION = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
#clear Acquire::Languages;
APT::Architectures {{ "{architecture}"; }};
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
Acquire::Languages {{ "en"; }};
Acquire::GzipIndexes "false";
Acquire::PDiffs "false";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Debug::NoLocking "true";
Dir::State "{root}/state";
Dir::State::lists "{root}/state/lists";
Dir::State::status "{root}/state/status";
Dir::Cache "{root}/cache";
Dir::Cache::archives "{root}/cache/archives";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{root}/sources";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "{root}/preferences";
"""


@dataclass(frozen=True)
class Archive:
    """An archive's indexes as files.

    Attributes:
        name: such as `Debian 12.15 (bookworm), amd64`.
        packages: `Packages` files, uncompressed, the release itself before its updates.
        translations: `Translation-en` files, uncompressed.
        vocabulary: Debtags' vocabulary.
        suites: suite → the day its index was made, as YYYY-MM-DD, empty where unknown.
    """

    name: str
    packages: tuple[Path, ...]
    translations: tuple[Path, ...]
    vocabulary: Path
    suites: dict[str, str]


def apt_available() -> bool:
    """Whether apt and dpkg are on the path."""
    return all(shutil.which(program) for program in PROGRAMS)


def open_archive(root: Path, progress: Callable[[str], None]) -> Archive:
    """The archive's indexes, downloaded unless the folder has some from the last 24 hours.

    Args:
        root: the private folder; made where absent. About 90 MB for a Debian release.
        progress: told what is being done.

    Raises:
        CorpusError: apt is absent, no source of the machine is the archive, or a download fails.
    """
    _require_apt()
    root = root.resolve()
    architecture = _run(["dpkg", "--print-architecture"], root).strip()
    sources = _render_sources(APT_DIR, architecture)
    stamp = root / "updated"
    if _is_fresh(stamp, sources):
        progress(f"using the indexes of the last 24 hours in {root}")
    else:
        stamp.unlink(missing_ok=True)
        _lay_out(root, architecture, sources)
        progress("downloading the package indexes and descriptions")
        _run(_apt(root, "update"), root)
    targets = _find_targets(root)
    vocabulary = find_vocabulary(root, progress)
    stamp.write_text(sources, encoding="utf-8")
    return _describe(targets, vocabulary, architecture, root)


def find_vocabulary(root: Path, progress: Callable[[str], None]) -> Path:
    """Debtags' vocabulary: the machine's, or the one of the package `debtags`, unpacked below `root`.

    Raises:
        CorpusError: the package cannot be had or does not hold it.
    """
    if (MACHINE_ROOT / VOCABULARY).is_file():
        return MACHINE_ROOT / VOCABULARY
    unpacked = root / "debtags"
    vocabulary = unpacked / VOCABULARY
    if vocabulary.is_file():
        return vocabulary
    progress("downloading the tag vocabulary")
    downloads = root / "downloads"
    shutil.rmtree(downloads, ignore_errors=True)
    downloads.mkdir(parents=True)
    _run(_apt(root, "download", "debtags"), downloads)
    for package in downloads.glob("debtags_*.deb"):
        _run(["dpkg-deb", "--extract", str(package), str(unpacked)], downloads)
    if not vocabulary.is_file():
        raise CorpusError(
            "the package debtags holds no vocabulary",
            got=sorted(path.name for path in downloads.iterdir()),
            expected=f"{VOCABULARY} inside",
            remedy="Install debtags (`apt-get install debtags`) and try again.",
        )
    return vocabulary


def _require_apt() -> None:
    if not apt_available():
        missing = [program for program in PROGRAMS if not shutil.which(program)]
        raise CorpusError(
            "the Debian corpus is made from apt's indexes",
            got=f"no {', '.join(missing)} on the PATH",
            expected="a Debian or Ubuntu machine",
            remedy="Build it on such a machine and copy docs.parquet and labels.parquet, "
            "or bring documents of your own.",
        )


def _render_sources(apt_dir: Path, architecture: str) -> str:
    found = read_sources(apt_dir)
    kept = keep_archive(found, architecture)
    if not kept:
        raise CorpusError(
            f"no source under {apt_dir} is the Debian or Ubuntu archive",
            got=[f"{uri} {suite}" for source in found for uri in source.uris for suite in source.suites],
            expected="an entry such as `deb http://deb.debian.org/debian bookworm main`",
            remedy=f"Add one to {apt_dir}/sources.list.d, for example from the image's own disabled files.",
        )
    return "\n".join(source.render() for source in kept)


def _is_fresh(stamp: Path, sources: str) -> bool:
    if not stamp.is_file() or time.time() - stamp.stat().st_mtime > FRESH_S:
        return False
    return stamp.read_text(encoding="utf-8") == sources


def _lay_out(root: Path, architecture: str, sources: str) -> None:
    for name in ("state/lists/partial", "cache/archives/partial", "sources", "preferences"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "state/status").write_text("", encoding="utf-8")  # nothing is installed: the archive alone counts
    (root / "sources/archive.sources").write_text(sources, encoding="utf-8")
    configuration = CONFIGURATION.format(root=root, architecture=architecture)
    (root / "apt.conf").write_text(configuration, encoding="utf-8")


def _apt(root: Path, *words: str) -> list[str]:
    # --config-file is read after the machine's own files, so ours wins.
    return ["apt-get", "--quiet=2", f"--config-file={root / 'apt.conf'}", *words]


def _run(command: list[str], folder: Path) -> str:
    """Runs a program to its end and returns what it wrote to standard output."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    remedy = "Check that this machine reaches its Debian mirror (`apt-get update` shows more) and try again."
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        what = f"`{' '.join(command)}` did not end"
        raise CorpusError(what, got=f"{TIMEOUT_S:.0f} s", expected="less", remedy=remedy) from None
    if done.returncode != 0:
        problems = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:", "Err"))]
        raise CorpusError(
            f"`{' '.join(command)}` failed with exit code {done.returncode}",
            got=" ".join(problems or done.stderr.splitlines()[-3:]),
            expected="exit code 0",
            remedy=remedy,
        )
    return done.stdout


def _find_targets(root: Path) -> list[list[str]]:
    """The indexes that apt holds, each as [kind, origin, version, codename, suite, file name]."""
    names = ("CREATED_BY", "ORIGIN", "VERSION", "CODENAME", "RELEASE", "FILENAME")
    layout = "|".join(f"$({name})" for name in names)
    lines = _run(_apt(root, "indextargets", "--format", layout), root).splitlines()
    targets = [line.split("|", len(names) - 1) for line in lines]
    return [target for target in targets if target[1] in ORIGINS and Path(target[-1]).is_file()]


def _describe(targets: list[list[str]], vocabulary: Path, architecture: str, root: Path) -> Archive:
    packages = [target for target in targets if target[0] == "Packages"]
    if not packages:
        raise CorpusError(
            "apt brought no package index of the archive",
            got=f"{len(targets)} indexes",
            expected="Packages files whose origin is Debian or Ubuntu",
            remedy=f"Remove {root} and try again; see that the mirror is complete.",
        )
    _, origin, version, codename, _, _ = packages[0]
    return Archive(
        name=f"{origin} {version} ({codename}), {architecture}",
        packages=tuple(Path(target[-1]) for target in packages),
        translations=tuple(Path(target[-1]) for target in targets if target[0] == "Translations"),
        vocabulary=vocabulary,
        suites={target[4]: _read_date(root / "state/lists", target[4]) for target in packages},
    )


def _read_date(lists: Path, suite: str) -> str:
    for path in sorted(lists.glob(f"*_dists_{suite.replace('/', '_')}_*Release")):
        for fields in read_stanzas(path, frozenset({"date"})):
            moment: datetime = parsedate_to_datetime(fields["date"])
            return moment.astimezone(UTC).date().isoformat()
    return ""
