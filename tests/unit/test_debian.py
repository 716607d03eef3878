import os
import stat
import time
from pathlib import Path

import pytest

from raytagger.corpus.apt import Archive, open_archive
from raytagger.corpus.apt_sources import keep_archive, parse_line, read_sources
from raytagger.corpus.debian import (
    DebianCorpus,
    HoldOut,
    apt_available,
    build_debian,
    choose_split,
    expand_tags,
    ignore,
    join_description,
    make_corpus,
    read_vocabulary,
)
from raytagger.corpus.stanzas import split_stanzas
from raytagger.errors import CorpusError

DATA = Path(__file__).parents[1] / "data/apt"


def fixture_archive() -> Archive:
    return Archive(
        name="Debian 0 (test), amd64",
        packages=(DATA / "Packages", DATA / "Packages-security"),
        translations=(DATA / "Translation-en",),
        vocabulary=DATA / "vocabulary",
        suites={"test": "2024-06-07", "test-security": "2024-06-08"},
    )


def make_small() -> DebianCorpus:
    return make_corpus(fixture_archive(), seed=1, minimum_tagged=1)


def generate_archive(folder: Path, n_sources: int = 400) -> Archive:
    """Sources of three packages each; tags common to all, common to a tenth, and of one source in 40."""
    packages, tags = [], set()
    for i in range(n_sources):
        own = ["role::program", f"field::f{i % 10}", f"topic::t{i % 40}"]
        tags.update(own)
        for part in ("", "-data", "-doc"):
            packages.append(
                f"Package: p{i}{part}\nSource: p{i}\nDescription: package {i}{part}\nTag: {', '.join(own)}\n"
            )
    (folder / "Packages").write_text("\n".join(packages))
    (folder / "vocabulary").write_text("\n".join(f"Tag: {tag}\nDescription: {tag}\n" for tag in sorted(tags)))
    return Archive("generated", (folder / "Packages",), (), folder / "vocabulary", {})


def rows(corpus: DebianCorpus) -> dict[str, dict[str, object]]:
    return {row["doc_id"]: row for row in corpus.documents.to_pylist()}


# Stanzas, tags, descriptions


def test_stanzas_fold_continuation_lines_and_keep_wanted_fields_only():
    text = "# comment\nA: one\n two\n  .\nB: x\n y\nno colon\nC:\n\n\nA: three\nD: 4"
    found = list(split_stanzas(text.split("\n"), frozenset({"a", "c"})))
    assert found == [{"a": "one\n two\n  .", "c": ""}, {"a": "three"}]


def test_stanzas_do_not_mind_a_leading_continuation_line():
    assert list(split_stanzas([" stray", "A: 1"], frozenset({"a"}))) == [{"a": "1"}]


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        ("", []),
        ("b::x, a::y", ["a::y", "b::x"]),
        ("a::{b,c}, d::e", ["a::b", "a::c", "d::e"]),
        ("a::{b,\n c},\n d::e", ["a::b", "a::c", "d::e"]),
        ("lang:{x,y:z}, q::{only}", ["lang:x", "lang:y:z", "q::only"]),
        ("a::b, a::{b,c}", ["a::b", "a::c"]),
        ("special::auto-inst-parts, devel::lang:TODO, suite::TODO, a::{TODO,b}", ["a::b"]),
        ("special::{completely-tagged,meta}", []),
    ],
)
def test_tags(value, tags):
    assert expand_tags(value) == tags


@pytest.mark.parametrize(
    ("full", "text"),
    [
        ("short", "short"),
        ("short\n", "short"),
        ("short\n .\n .", "short"),
        ("short\n one\n two", "short. one\ntwo"),
        ("short\n one\n .\n  * two ", "short. one\n\n * two"),
        ("short\n .\n one", "short. one"),
        ("short\n .NET is kept", "short. .NET is kept"),
    ],
)
def test_descriptions(full, text):
    assert join_description(full) == text


def test_vocabulary():
    tags = read_vocabulary(DATA / "vocabulary")
    assert tags["field::astronomy"] == ("Astronomy", "")
    assert tags["interface::graphical"] == (
        "Graphical User Interface",
        "Runs in a window. Link: https://example.org/gui",
    )
    assert "field" not in tags


# The corpus


def test_documents_of_the_fixture():
    found = rows(make_small())
    assert list(found) == [
        "starglass",
        "starglass-data",
        "libstarglass1",
        "loaf",
        "loaf-dev",
        "naïve-greeter",
        "loaf-server",
    ]
    assert found["starglass"]["labels"] == [
        "field::astronomy",
        "interface::graphical",
        "interface::x11",
        "role::program",
    ]
    assert found["starglass"]["text"] == (
        "telescope control on the desktop. Points a telescope at a star.\n\n"
        "It knows:\n * altazimuth mounts\n * equatorial mounts"
    )
    assert found["naïve-greeter"]["text"] == "says “hello”"
    assert str(found["loaf-dev"]["text"]).startswith("bread-baking timer (headers). This long description")


def test_first_suite_wins_and_unusable_tags_are_none():
    found = rows(make_small())
    assert found["loaf"]["labels"] == ["interface::commandline", "role::program"]
    assert found["libstarglass1"]["source"] == "starglass"
    for name in ("libstarglass1", "loaf-dev"):
        assert (found[name]["split"], found[name]["labels"]) == ("untagged", [])


def test_what_is_left_out_is_counted():
    corpus = make_small()
    counts = corpus.source["counts"]
    assert isinstance(counts, dict)
    assert counts["documents"] == len(corpus.documents) == 7
    assert counts["untagged"] == 2
    assert counts["duplicates"] == 1
    assert counts["without_description"] == 1
    assert counts["unknown_tags"] == 1
    assert counts["with_unusable_tags_only"] == 1
    assert corpus.source["date"] == "2024-06-08"
    assert "GPL-2+" in str(corpus.source["licence"])


def test_labels_are_those_that_documents_have():
    labels = make_small().labels.to_pylist()
    names = [label["label_id"] for label in labels]
    assert names == [
        "field::astronomy",
        "interface::commandline",
        "interface::graphical",
        "interface::x11",
        "role::app-data",
        "role::program",
    ]
    assert labels[0] == {
        "label_id": "field::astronomy",
        "title": "Astronomy",
        "text": "",
        "seen": labels[0]["seen"],
        "heldout": False,
    }


def test_schema():
    corpus = make_small()
    assert corpus.documents.column_names == ["doc_id", "text", "labels", "source", "split"]
    assert corpus.labels.column_names == ["label_id", "title", "text", "seen", "heldout"]


# Splits


def test_sources_do_not_cross_splits(tmp_path):
    corpus = make_corpus(generate_archive(tmp_path), seed=3, minimum_tagged=1)
    home: dict[str, set[str]] = {}
    for row in corpus.documents.to_pylist():
        home.setdefault(row["source"], set()).add(row["split"])
    for source, splits in home.items():
        assert splits <= {choose_split(source, 3), "zeroshot"}
        assert "test" not in splits or splits == {"test"}
    shares = [choose_split(f"source{i}", 3) for i in range(20_000)]
    assert shares.count("test") / 20_000 == pytest.approx(0.17, abs=0.01)
    assert shares.count("val") / 20_000 == pytest.approx(0.05, abs=0.01)


def test_heldout_labels_are_never_in_train_or_val(tmp_path):
    corpus = make_corpus(generate_archive(tmp_path), seed=3, minimum_tagged=1)
    labels = corpus.labels.to_pylist()
    heldout = {label["label_id"] for label in labels if label["heldout"]}
    assert len(heldout) == round(0.1 * len(labels)) == 5
    assert all(name.startswith("topic::") for name in heldout)  # 30 documents each; the others are frequent
    documents = corpus.documents.to_pylist()
    for row in documents:
        has_heldout = not heldout.isdisjoint(row["labels"])
        assert has_heldout == (row["split"] == "zeroshot") or row["split"] == "test"
    in_train = {label for row in documents if row["split"] == "train" for label in row["labels"]}
    assert {label["label_id"] for label in labels if label["seen"]} == in_train
    tested = {label for row in documents if row["split"] == "test" for label in row["labels"]}
    assert heldout <= tested


def test_seed_decides(tmp_path):
    archive = generate_archive(tmp_path)
    one, again, other = (make_corpus(archive, seed=seed, minimum_tagged=1) for seed in (3, 3, 4))
    assert one.documents.equals(again.documents)
    assert one.labels.equals(again.labels)
    assert one.source == again.source
    assert not one.documents["split"].equals(other.documents["split"])
    assert not one.labels["heldout"].equals(other.labels["heldout"])


def test_split_is_pinned():
    # Changes of the hash would move every package of everybody's corpus.
    pinned = {"apt": "train", "bash": "test", "coreutils": "train", "git": "test", "tar": "test"}
    assert {source: choose_split(source, 20240607) for source in pinned} == pinned


def test_too_few_candidates_hold_out_fewer():
    corpus = make_corpus(fixture_archive(), seed=1, minimum_tagged=1, hold_out=HoldOut(share=0.5, least=99))
    assert not any(corpus.labels["heldout"].to_pylist())


def test_too_few_tagged_packages():
    with pytest.raises(CorpusError, match=r"too few packages with tags; got 5; expected at least 6"):
        make_corpus(fixture_archive(), seed=1, minimum_tagged=6)


def test_progress_is_told():
    told: list[str] = []
    make_corpus(fixture_archive(), seed=1, minimum_tagged=1, progress=told.append)
    assert told[-1] == "5 tagged and 2 untagged packages, 6 labels"


# apt


def test_apt_absent(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not apt_available()
    with pytest.raises(CorpusError, match=r"apt-get.*on the PATH"):
        build_debian(tmp_path / "work")


SOURCES = """\
# the archive
Types: deb deb-src
URIs: http://deb.debian.org/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://security.debian.org/debian-security
Suites: bookworm-security
Components: main

Types: deb
URIs: https://deb.nodesource.com/node_20.x
Suites: nodistro
Components: main
Signed-By: /usr/share/keyrings/nodesource.gpg

Enabled: no
Types: deb
URIs: http://deb.debian.org/debian
Suites: trixie
Components: main

Types: deb
URIs: https://packages.example.com/product/debian
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
"""


def test_only_the_archive_is_kept(tmp_path):
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (parts / "debian.sources").write_text(SOURCES)
    (parts / "cloud.list").write_text("deb https://packages.cloud.google.com/apt cloud-sdk-bookworm main\n")
    (parts / "old.sources.disabled").write_text(SOURCES.replace("bookworm", "sid"))
    kept = keep_archive(read_sources(tmp_path), "amd64")
    assert [source.suites for source in kept] == [
        ("bookworm",),
        ("bookworm-updates",),
        ("bookworm-security",),
    ]
    assert all(source.components == ("main",) for source in kept)
    assert kept[0].uris == ("http://deb.debian.org/debian",)
    assert kept[0].render() == (
        "Types: deb\n"
        "URIs: http://deb.debian.org/debian\n"
        "Suites: bookworm\n"
        "Components: main\n"
        "Targets: Packages Translations\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        "deb http://deb.debian.org/debian bookworm main contrib non-free",
        "deb [arch=amd64,arm64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
        "http://ftp.de.debian.org/debian/ bookworm main # mirror",
        "deb http://snapshot.debian.org/archive/debian/20250520T000000Z bookworm main",
        "deb http://security.debian.org bookworm/updates main",
        "deb mirror+file:/etc/apt/mirrors/debian.list stable main",
        "deb http://archive.ubuntu.com/ubuntu/ noble-updates main universe",
        "deb file:/srv/mirror/debian bookworm main",
    ],
)
def test_lines_of_the_archive(line):
    source = parse_line(line)
    assert source is not None
    assert keep_archive([source], "amd64")


@pytest.mark.parametrize(
    "line",
    [
        "deb https://download.docker.com/linux/debian bookworm stable",
        "deb http://apt.postgresql.org/pub/repos/apt bookworm-pgdg main",
        "deb [signed-by=/usr/share/keyrings/vendor.gpg] https://vendor.example/debian bookworm main",
        "deb http://ppa.launchpad.net/someone/ppa/ubuntu noble main",
        "deb http://deb.debian.org/debian bookworm-backports main",
        "deb http://deb.debian.org/debian bookworm contrib",
        "deb [arch=i386] http://deb.debian.org/debian bookworm main",
        "deb cdrom:[Debian GNU/Linux 12]/ bookworm main",
        "deb http://vendor.example/debian ./",
    ],
)
def test_lines_of_others(line):
    source = parse_line(line)
    assert source is None or not keep_archive([source], "amd64")


@pytest.mark.parametrize("line", ["", "# deb http://deb.debian.org/debian bookworm main", "deb-src http://x y z"])
def test_lines_without_a_source(line):
    assert parse_line(line) is None


def install_apt(folder: Path, monkeypatch: pytest.MonkeyPatch, update: str) -> Path:
    """A stand-in for apt: serves the fixture, counts its updates, and has a vocabulary to unpack."""
    programs, etc, log = folder / "bin", folder / "etc", folder / "updates"
    (etc / "sources.list.d").mkdir(parents=True)
    (etc / "sources.list").write_text("deb http://deb.debian.org/debian bookworm main\n")
    programs.mkdir()
    head = "#!/bin/sh\n"
    scripts = {
        "apt-get": f"""{head}case "$3" in
update) echo >> {log}; {update} ;;
indextargets)
  echo "Packages|Debian|12|bookworm|bookworm|{DATA}/Packages"
  echo "Packages|Vendor|1|x|x|{DATA}/Packages-security"
  echo "Translations|Debian|12|bookworm|bookworm|{DATA}/Translation-en" ;;
download) : > debtags_1_all.deb ;;
esac
""",
        "dpkg": f"{head}echo amd64\n",
        "dpkg-deb": f"{head}mkdir -p $3/usr/share/debtags && cp {DATA}/vocabulary $3/usr/share/debtags/\n",
    }
    for name, script in scripts.items():
        path = programs / name
        path.write_text(script)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setattr("raytagger.corpus.apt.APT_DIR", etc)
    monkeypatch.setattr("raytagger.corpus.apt.MACHINE_ROOT", folder / "no debtags here")
    return log


def test_build_with_a_stand_in_for_apt(tmp_path, monkeypatch):
    log = install_apt(tmp_path, monkeypatch, "true")
    work = tmp_path / "work"
    corpus = build_debian(work, seed=1, minimum_tagged=1)
    assert corpus.source["archive"] == "Debian 12 (bookworm), amd64"
    assert "loaf-server" not in rows(corpus)  # a vendor's index does not come in
    written = (work / "apt/sources/archive.sources").read_text()
    assert "Suites: bookworm\n" in written
    configuration = (work / "apt/apt.conf").read_text()
    assert f'Dir::State::lists "{work}/apt/state/lists";' in configuration
    assert len(log.read_text().splitlines()) == 1


def test_downloads_are_used_again_for_a_day(tmp_path, monkeypatch):
    log = install_apt(tmp_path, monkeypatch, "true")
    root = tmp_path / "apt"
    for _ in range(2):
        open_archive(root, ignore)
    assert len(log.read_text().splitlines()) == 1
    day_ago = time.time() - 25 * 3600
    os.utime(root / "updated", (day_ago, day_ago))
    open_archive(root, ignore)
    assert len(log.read_text().splitlines()) == 2
    (tmp_path / "etc/sources.list").write_text("deb http://deb.debian.org/debian trixie main\n")
    open_archive(root, ignore)
    assert len(log.read_text().splitlines()) == 3


def test_failed_update(tmp_path, monkeypatch):
    install_apt(tmp_path, monkeypatch, "echo 'E: Could not resolve host' >&2; exit 100")
    with pytest.raises(CorpusError, match="exit code 100; got 'E: Could not resolve host'"):
        build_debian(tmp_path / "work")
    assert not (tmp_path / "work/apt/updated").exists()


def test_no_source_is_the_archive(tmp_path, monkeypatch):
    install_apt(tmp_path, monkeypatch, "true")
    (tmp_path / "etc/sources.list").write_text("deb https://deb.nodesource.com/node_20.x nodistro main\n")
    with pytest.raises(CorpusError, match=r"is the Debian or Ubuntu archive; got .*nodistro"):
        build_debian(tmp_path / "work")
