"""The demo corpus: Debian's packages as documents, their Debtags as labels, made on any machine that has apt.

A document is a package's short and long description; its labels are the tags that volunteers gave it. Some
30,000 packages have tags, as many have none: the first teach and test a tagger, the second await it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa

from raytagger.corpus.apt import Archive, apt_available, open_archive
from raytagger.corpus.stanzas import read_stanzas
from raytagger.errors import CorpusError

__all__ = ["DebianCorpus", "HoldOut", "apt_available", "build_debian", "make_corpus"]

VAL_SHARE = 0.05
TEST_SHARE = 0.17
PACKAGE_FIELDS = frozenset({"package", "source", "description", "description-md5", "tag"})
TRANSLATION_FIELDS = frozenset({"description-md5", "description-en"})
VOCABULARY_FIELDS = frozenset({"tag", "description"})
TAG = re.compile(r"([^,{}]+)(?:\{([^}]*)\})?")
LICENCE = (
    "Debian main is free software under the DFSG; descriptions carry their packages' licences; "
    "debtags vocabulary GPL-2+"
)

DOCUMENT_SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("text", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("source", pa.string()),
        ("split", pa.string()),
    ]
)
LABEL_SCHEMA = pa.schema(
    [
        ("label_id", pa.string()),
        ("title", pa.string()),
        ("text", pa.string()),
        ("seen", pa.bool_()),
        ("heldout", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class DebianCorpus:
    """The corpus as two tables.

    Attributes:
        documents: `doc_id` (package), `text`, `labels` (sorted), `source` (source package: the group that
            splits do not cut), `split`: train, val, test, `zeroshot` (documents of train and val that truly
            have a held-out label), `untagged` (no usable tag). In the order of the index.
        labels: `label_id`, `title`, `text` (may be empty), `seen` (has a document in train), `heldout`.
            Sorted; only labels that some document has.
        source: where it came from: archive, suites, date, licence, seed, counts.
    """

    documents: pa.Table
    labels: pa.Table
    source: dict[str, object]


@dataclass(frozen=True)
class HoldOut:
    """Which labels a tagger shall not see in training.

    Attributes:
        share: how many, as a share of all labels.
        least, most: how many documents a label may have to be chosen: enough to measure by, and rare enough,
            as labels that turn up next week are, that train does not lose much.
    """

    share: float = 0.1
    least: int = 8
    most: int = 60


@dataclass(frozen=True)
class _Package:
    name: str
    source: str
    text: str
    labels: list[str]


def ignore(message: str) -> None:
    """The progress function of those who do not want to know."""


def build_debian(
    work_dir: Path,
    *,
    seed: int = 20240607,
    minimum_tagged: int = 5000,
    progress: Callable[[str], None] = ignore,
) -> DebianCorpus:
    """Makes the demo corpus from this machine's Debian archive; root is not needed.

    Args:
        work_dir: keeps apt's downloads, about 90 MB, used again when younger than a day.
        seed: decides splits and held-out labels; the same archive and seed give the same tables.
        minimum_tagged: fewer packages with tags than this are an error.
        progress: told what is being done, a line each time.

    Raises:
        CorpusError: apt is absent, a download fails, or the archive has too few packages with tags.
    """
    archive = open_archive(work_dir / "apt", progress)
    return make_corpus(archive, seed=seed, minimum_tagged=minimum_tagged, progress=progress)


def make_corpus(
    archive: Archive,
    *,
    seed: int,
    minimum_tagged: int,
    hold_out: HoldOut | None = None,
    progress: Callable[[str], None] = ignore,
) -> DebianCorpus:
    """Turns an archive's indexes into the corpus. A function of the files and the seed alone.

    Raises:
        CorpusError: fewer than `minimum_tagged` packages have a usable tag.
    """
    vocabulary = read_vocabulary(archive.vocabulary)
    progress(f"reading {archive.name}")
    packages, counts = read_packages(archive, vocabulary)
    tagged = [package for package in packages if package.labels]
    if len(tagged) < minimum_tagged:
        raise CorpusError(
            f"{archive.name} has too few packages with tags",
            got=len(tagged),
            expected=f"at least {minimum_tagged}",
            remedy="Debian's index carries tags, a derivative's may not: build it on a Debian machine.",
        )
    splits = {package.source: choose_split(package.source, seed) for package in tagged}
    heldout = choose_heldout(tagged, splits, seed, hold_out or HoldOut())
    documents = _tabulate_documents(packages, splits, heldout)
    labels = _tabulate_labels(documents, vocabulary, heldout)
    per_split = Counter(documents["split"].to_pylist())
    progress(f"{len(tagged)} tagged and {per_split['untagged']} untagged packages, {len(labels)} labels")
    source: dict[str, object] = {
        "archive": archive.name,
        "suites": archive.suites,
        "date": max(archive.suites.values(), default=""),
        "licence": LICENCE,
        "seed": seed,
        "counts": {**_count(documents, labels), **counts},
    }
    return DebianCorpus(documents, labels, source)


def read_vocabulary(path: Path) -> dict[str, tuple[str, str]]:
    """Tag → its title and its text (empty where there is none), the text as one line."""
    tags: dict[str, tuple[str, str]] = {}
    for fields in read_stanzas(path, VOCABULARY_FIELDS):
        if "tag" in fields:
            title, *lines = fields.get("description", "").split("\n")
            words = [word for line in lines if line.strip() != "." for word in line.split()]
            tags[fields["tag"]] = (title or fields["tag"], " ".join(words))
    return tags


def read_packages(
    archive: Archive, vocabulary: dict[str, tuple[str, str]]
) -> tuple[list[_Package], dict[str, int]]:
    """The archive's packages in the order of its indexes, and counts of what was left out.

    A package that stands in several suites counts once, as it is in the first; one without any description is
    left out. Tags that the vocabulary does not know are left out. Costs about 3 s for a Debian release.
    """
    descriptions = _read_descriptions(archive.translations)
    packages: dict[str, _Package] = {}
    counts = Counter(duplicates=0, without_description=0, with_unusable_tags_only=0, unknown_tags=0)
    for path in archive.packages:
        for fields in read_stanzas(path, PACKAGE_FIELDS):
            name = fields.get("package", "")
            if not name or name in packages:
                counts["duplicates"] += bool(name)
                continue
            full = descriptions.get(fields.get("description-md5", "")) or fields.get("description", "")
            if not full.strip():
                counts["without_description"] += 1
                continue
            tags = expand_tags(fields.get("tag", ""))
            labels = [tag for tag in tags if tag in vocabulary]
            counts["unknown_tags"] += len(tags) - len(labels)
            counts["with_unusable_tags_only"] += "tag" in fields and not labels
            source = fields.get("source", name).split(" ", 1)[0]
            packages[name] = _Package(name, source, join_description(full), labels)
    return list(packages.values()), dict(counts)


def _read_descriptions(paths: Iterable[Path]) -> dict[str, str]:
    """MD5 of a description → the whole description; packages of the same text share one."""
    return {
        fields.get("description-md5", ""): fields.get("description-en", "")
        for path in paths
        for fields in read_stanzas(path, TRANSLATION_FIELDS)
    }


def expand_tags(value: str) -> list[str]:
    """The usable tags of a `Tag` field, sorted, each once; `a::{b,c}` is `a::b` and `a::c`.

    Left out are `special::*` (about the tagging itself) and TODO tags (the right tag does not exist yet).
    """
    tags: set[str] = set()
    for head, tails in TAG.findall(re.sub(r"\s+", "", value)):
        tags.update(head + tail for tail in tails.split(",") if tail) if tails else tags.add(head)
    return sorted(tag for tag in tags if not tag.startswith("special::") and not tag.endswith(":TODO"))


def join_description(full: str) -> str:
    r"""A package's text: the short description, then `. ` and the long one where there is one.

    Args:
        full: the field as it stands in the index. Each line of the long description loses its leading space;
            a lone ` .` becomes an empty line.
    """
    short, *lines = full.split("\n")
    long = "\n".join("" if line.strip() == "." else line[1:].rstrip() for line in lines).strip()
    return f"{short.strip()}. {long}" if long else short.strip()


def choose_split(source: str, seed: int) -> str:
    """The split of all packages of a source package: 5 % val, 17 % test, else train."""
    place = _draw(f"split:{source}", seed)
    if place < TEST_SHARE:
        return "test"
    return "val" if place < TEST_SHARE + VAL_SHARE else "train"


def choose_heldout(tagged: Iterable[_Package], splits: dict[str, str], seed: int, hold_out: HoldOut) -> set[str]:
    """Labels to hold out, drawn evenly from those of the right frequency that have a test document.

    Fewer than asked for where there are too few such labels.
    """
    frequency: Counter[str] = Counter()
    tested: set[str] = set()
    for package in tagged:
        frequency.update(package.labels)
        if splits[package.source] == "test":
            tested.update(package.labels)
    candidates = [label for label in tested if hold_out.least <= frequency[label] <= hold_out.most]
    candidates.sort(key=lambda label: (_draw(f"label:{label}", seed), label))
    return set(candidates[: round(hold_out.share * len(frequency))])


def _draw(key: str, seed: int) -> float:
    """A number in [0, 1) that depends on key and seed alone, so that a package added later moves no other."""
    return int.from_bytes(blake2b(f"{seed}:{key}".encode(), digest_size=6).digest(), "big") / 2**48


def _tabulate_documents(packages: list[_Package], splits: dict[str, str], heldout: set[str]) -> pa.Table:
    chosen: list[str] = []
    for package in packages:
        if not package.labels:
            chosen.append("untagged")
        elif splits[package.source] != "test" and not heldout.isdisjoint(package.labels):
            chosen.append("zeroshot")
        else:
            chosen.append(splits[package.source])
    columns = {
        "doc_id": [package.name for package in packages],
        "text": [package.text for package in packages],
        "labels": [package.labels for package in packages],
        "source": [package.source for package in packages],
        "split": chosen,
    }
    return pa.table(columns, schema=DOCUMENT_SCHEMA)


def _tabulate_labels(documents: pa.Table, vocabulary: dict[str, tuple[str, str]], heldout: set[str]) -> pa.Table:
    every: set[str] = set()
    seen: set[str] = set()
    for labels, split in zip(documents["labels"].to_pylist(), documents["split"].to_pylist(), strict=True):
        every.update(labels)
        if split == "train":
            seen.update(labels)
    names = sorted(every)
    columns = {
        "label_id": names,
        "title": [vocabulary[name][0] for name in names],
        "text": [vocabulary[name][1] for name in names],
        "seen": [name in seen for name in names],
        "heldout": [name in heldout for name in names],
    }
    return pa.table(columns, schema=LABEL_SCHEMA)


def _count(documents: pa.Table, labels: pa.Table) -> dict[str, int]:
    seen, heldout = labels["seen"].to_pylist(), labels["heldout"].to_pylist()
    return {
        "documents": len(documents),
        **Counter(documents["split"].to_pylist()),
        "labels": len(labels),
        "seen_labels": sum(seen),
        "heldout_labels": sum(heldout),
    }
