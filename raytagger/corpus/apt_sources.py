"""Which of the machine's apt sources are the Debian (or Ubuntu) archive itself.

Everything else (nodesource, a cloud vendor, a PPA) is kept out, so that a broken third-party source cannot
break the demo corpus and no foreign package comes in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from raytagger.corpus.stanzas import read_stanzas

# Options that decide whether a download is accepted; the others (languages, targets, …) are ours to set.
TRUST_OPTIONS = ("signed-by", "trusted", "allow-insecure", "allow-weak", "check-valid-until")
ONE_LINE_NAMES = {"arch": "architectures"}
ENTRY_FIELDS = frozenset(
    {"types", "uris", "suites", "components", "enabled", "architectures", *TRUST_OPTIONS},
)

ARCHIVE_PATH = re.compile(
    r"/(debian|ubuntu)(-security|-archive|-ports)?(/\d{8}T\d{6}Z)?/?$|/(debian|ubuntu)[a-z-]*\.list$"
)
ARCHIVE_HOST = re.compile(r"(^|\.)(debian\.org|ubuntu\.com)$")
FOREIGN_HOST = re.compile(r"launchpad")
SUITE = re.compile(r"[a-z]+([-/](updates|security))?$")
KEYRING = re.compile(r"(debian|ubuntu)-archive")
COMPONENTS = {"debian": ("main",), "ubuntu": ("main", "universe")}  # Ubuntu keeps most of Debian in universe


@dataclass(frozen=True)
class AptSource:
    """One entry of apt's sources: where packages come from.

    Attributes:
        uris: roots of the archive or of its mirrors.
        suites: releases, such as `bookworm` and `bookworm-updates`.
        components: such as `main`; empty in a flat repository.
        options: the entry's own options, names in lower case as in `.sources` files.
    """

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)

    def render(self) -> str:
        """The entry as one stanza of a `.sources` file, for package and translation indexes only."""
        lines = [
            "Types: deb",
            f"URIs: {' '.join(self.uris)}",
            f"Suites: {' '.join(self.suites)}",
            f"Components: {' '.join(self.components)}",
            "Targets: Packages Translations",
        ]
        lines += [f"{name.title()}: {value}" for name, value in self.options.items() if name in TRUST_OPTIONS]
        return "\n".join(lines) + "\n"


def read_sources(apt_dir: Path) -> list[AptSource]:
    """Every enabled binary source of the machine, in apt's order; both formats are read.

    Args:
        apt_dir: the folder of `sources.list` and `sources.list.d`, normally `/etc/apt`.
    """
    files = [apt_dir / "sources.list", *sorted((apt_dir / "sources.list.d").glob("*"))]
    found: list[AptSource] = []
    for path in files:
        if not path.is_file():
            continue
        if path.suffix == ".list":
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            found += [source for line in lines if (source := parse_line(line))]
        elif path.suffix == ".sources":
            found += [source for fields in read_stanzas(path, ENTRY_FIELDS) if (source := parse_entry(fields))]
    return found


def parse_line(line: str) -> AptSource | None:
    """One line of a `.list` file; None where it is empty, a comment, or not a binary source."""
    match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(.+)", line.split("#", 1)[0])
    if match is None:
        return None
    options: dict[str, str] = {}
    for option in (match[1] or "").split():
        name, _, value = option.partition("=")
        options[ONE_LINE_NAMES.get(name.lower(), name.lower())] = value.replace(",", " ")
    uri, *rest = match[2].split()
    return AptSource((uri,), tuple(rest[:1]), tuple(rest[1:]), options)


def parse_entry(fields: dict[str, str]) -> AptSource | None:
    """One stanza of a `.sources` file; None where it is disabled or not a binary source."""
    if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in (
        "no",
        "false",
    ):
        return None
    options = {name: fields[name] for name in (*TRUST_OPTIONS, "architectures") if name in fields}
    uris, suites, components = (tuple(fields.get(name, "").split()) for name in ("uris", "suites", "components"))
    return AptSource(uris, suites, components, options)


def keep_archive(sources: list[AptSource], architecture: str) -> list[AptSource]:
    """What of the sources is the archive itself, one suite an entry, releases before their updates.

    An entry counts when its address looks like the archive or a mirror of it, its suite is a release or that
    release's updates or security fixes (no backports, no vendor's suite), it has `main`, it serves this
    architecture, and the key it asks for, if any, is the archive's. Suites that stand twice are kept once.

    Args:
        sources: as `read_sources` gives them.
        architecture: the machine's, such as `amd64`.
    """
    kept: dict[str, AptSource] = {}
    for source in sources:
        uris = tuple(uri for uri in source.uris if _is_archive_uri(uri))
        if not uris or not _is_trusted(source, architecture):
            continue
        family = "ubuntu" if "ubuntu" in uris[0] else "debian"
        components = tuple(name for name in COMPONENTS[family] if name in source.components)
        for suite in source.suites:
            if components and SUITE.match(suite):
                kept.setdefault(suite, replace(source, uris=uris[:1], suites=(suite,), components=components))
    return sorted(kept.values(), key=lambda source: not source.suites[0].isalpha())


def _is_archive_uri(uri: str) -> bool:
    parts = urlsplit(uri)
    host = parts.hostname or ""
    if FOREIGN_HOST.search(host) or parts.scheme == "cdrom":
        return False
    return bool(ARCHIVE_HOST.search(host) or ARCHIVE_PATH.search(parts.path))


def _is_trusted(source: AptSource, architecture: str) -> bool:
    architectures = source.options.get("architectures", architecture).split()
    keys = source.options.get("signed-by", "").split()
    is_own_key = not keys or any(KEYRING.match(PurePosixPath(key).name) for key in keys)
    return is_own_key and architecture in architectures
