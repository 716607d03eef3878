"""Where a result goes is looked at before the work, and nothing is left in a foreign place."""

import os
import re
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from raytagger.bundle import pin_bundle
from raytagger.cli import main
from raytagger.errors import StoreError
from raytagger.retag.run import retag
from raytagger.settings import FitRun, LabelSettings, OutputSettings, RetagRun, RetagSettings, SourceSettings
from raytagger.store import Store, check_writable, placed
from raytagger.store.tags import DataFile, TagTable
from raytagger.stream.output import tag_documents
from tests.corpora import retag_run, write_texts


@pytest.fixture
def store():
    return Store()


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))


def test_nothing_stays_of_the_look(store, tmp_path):
    (tmp_path / "there").mkdir()
    for uri, folder in (("there", True), ("a/b/c", True), ("a/b.parquet", False), ("there/x", False)):
        check_writable(store, str(tmp_path / uri), folder)
    assert tree(tmp_path) == ["there"]
    check_writable(store, "/dev/stdout")


def test_what_stands_in_the_way_is_named(store, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"1")
    for uri, folder in (("folder", False), ("file", True), ("file/below", False), ("file/below", True)):
        with pytest.raises(StoreError, match=r"a (file|folder) is where a (file|folder) is to be"):
            check_writable(store, str(tmp_path / uri), folder)
    assert tree(tmp_path) == ["file", "folder"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(store, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="Check the path's permissions"):
        check_writable(store, str(tmp_path / "x"))


def test_tag_looks_at_its_output_before_it_reads_a_document(bundle, tmp_path):
    (tmp_path / "tags.parquet").mkdir()
    run = RetagRun(RetagSettings(documents=str(tmp_path / "absent")))
    with pytest.raises(StoreError, match=r"a folder is where a file is to be written; got .*tags\.parquet"):
        tag_documents(bundle, run, str(tmp_path / "tags.parquet"), 5)


def test_no_result_takes_the_place_of_what_is_read(bundle, tmp_path):
    (tmp_path / "docs.jsonl").write_text('{"doc_id": "d0", "text": "bread"}')
    (tmp_path / "docs.parquet").symlink_to(tmp_path / "docs.jsonl")
    before = (tmp_path / "docs.jsonl").read_bytes()
    for documents, output in (("docs.jsonl", "docs.parquet"), ("*.jsonl", "docs.parquet"), ("", "docs.parquet")):
        run = RetagRun(RetagSettings(documents=str(tmp_path / documents)))
        with pytest.raises(StoreError, match="the output is a place that is read"):
            tag_documents(bundle, run, str(tmp_path / output), 5)
    docs = str(tmp_path / "docs.jsonl")
    for options in (["--html", docs], ["--json", docs], ["--json", f"{bundle}/latest.json"]):
        with pytest.raises(SystemExit):
            main(["evaluate", bundle, "--documents", docs, *options])
    assert (tmp_path / "docs.jsonl").read_bytes() == before


@pytest.mark.parametrize("make", [lambda path: path.write_text("a"), lambda path: write_texts(path, ["a"])])
def test_a_file_of_somebody_else_is_not_replaced(bundle, tmp_path, make):
    documents = write_texts(tmp_path / "docs.parquet", ["bread", "salt"])
    make(tmp_path / "mine.parquet")
    before = (tmp_path / "mine.parquet").read_bytes()
    run = RetagRun(RetagSettings(documents=str(documents)))
    with pytest.raises(StoreError, match="a file of something else is there"):
        tag_documents(bundle, run, str(tmp_path / "mine.parquet"), 5)
    assert (tmp_path / "mine.parquet").read_bytes() == before
    for _ in range(2):
        tag_documents(bundle, run, str(tmp_path / "tags.parquet"), 5)


def foreign_delta(folder):
    write_deltalake(str(folder), pa.table({"x": [1]}))


def foreign_files(folder):
    folder.mkdir()
    (folder / "report.csv").write_text("a")


def foreign_data(folder):
    (folder / "data").mkdir(parents=True)


def one_file(folder):
    folder.write_text("a")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (foreign_delta, "is a table of something else; got .*x"),
        (foreign_files, r"the tag table's folder holds other files; got .*report\.csv"),
        (foreign_data, "the tag table's folder holds other files"),
        (one_file, "a file is where a folder is to be made"),
    ],
)
def test_a_foreign_place_is_no_tag_table(bundle, tmp_path, make, words):
    path = write_texts(tmp_path / "docs.parquet", ["bread"])
    make(tmp_path / "table")
    before = tree(tmp_path)
    with pytest.raises(StoreError, match=words):
        retag(retag_run(str(path), bundle, str(tmp_path / "table")))
    assert tree(tmp_path) == before


def test_a_run_that_was_killed_before_its_first_marker_leaves_no_foreign_place(store, tmp_path):
    for name in ("_lock", "data/r/outcome=tagged/x.parquet"):
        store.write_bytes(str(tmp_path / "table" / name), b"")
    TagTable(store, str(tmp_path / "table")).check()


def commit_one(store, uri):
    table = TagTable(store, uri)
    table.check()
    store.write_bytes(f"{uri}/data/r/outcome=tagged/x.parquet", b"")
    version = table.commit([DataFile("data/r/outcome=tagged/x.parquet", 0, 3, "tagged")], "i", {"run_id": "r"})
    table.check()
    return version, table.files(table.open())[0].rows


@pytest.mark.parametrize("name", ["with space", "a#b", "a+b", "ü 日本", "100%", "a?b*c", "a&b=c", "it's"])
def test_a_table_may_have_any_name_that_deltalake_can_read(store, tmp_path, name):
    assert commit_one(store, str(tmp_path / name / "tags")) == (1, 3)
    assert {path.name for path in tmp_path.iterdir()} == {name}
    assert DeltaTable(str(tmp_path / name / "tags")).version() == 1


@pytest.mark.parametrize("name", ["a%20b", "a[x]", "a|b", "a\\b", "a^b"])
def test_names_that_deltalake_cannot_read_are_refused_before_anything_is_written(store, tmp_path, name):
    with pytest.raises(StoreError, match="deltalake cannot keep a table whose path has"):
        TagTable(store, str(tmp_path / name / "tags")).check()
    assert tree(tmp_path) == []


@pytest.mark.parametrize("name", ["a%20b", "a[x]", "with space", "a#b", "ü"])
def test_results_may_have_any_name(store, tmp_path, name):
    uri = str(tmp_path / name / f"{name}.parquet")
    check_writable(store, uri)
    store.write_bytes(uri, b"1")
    assert [entry.uri for entry in store.list(str(tmp_path / name))] == [uri]
    assert tree(tmp_path) == [name, f"{name}/{name}.parquet"]


def test_places_mean_the_same_in_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "encoder").mkdir()
    run = FitRun(
        source=SourceSettings(documents="docs/*.jsonl", labels="s3://b/labels.jsonl"),
        labels=LabelSettings(encoder="encoder", bank="../bank"),
        output=OutputSettings("out"),
    )
    there = placed(run)
    assert (there.source.documents, there.source.labels) == (f"{tmp_path}/docs/*.jsonl", "s3://b/labels.jsonl")
    assert (there.labels.encoder, there.labels.bank) == (f"{tmp_path}/encoder", f"{tmp_path}/../bank")
    assert (there.output.bundle, there.encoder.path) == (f"{tmp_path}/out", run.encoder.path)
    assert placed(there) == there


FILE, FOLDER = "{place}/file", "{place}/folder"


@pytest.mark.parametrize(
    "words",
    [
        ["corpus", "small", "--output", FILE],
        ["corpus", "debian", "--output", FILE],
        ["labels", "apply", "absent.jsonl", "absent.parquet", "--output", FOLDER],
        ["labels", "embed", "jobs/frozen.toml", "--set", "labels.bank=" + FILE, "--set", "source.labels=absent"],
        ["evaluate", "absent", "--documents", "absent", "--json", FOLDER],
        ["evaluate", "absent", "--documents", "absent", "--html", FOLDER],
        ["import", "pecos", "absent", "--output", FILE],
        ["fit", "jobs/frozen.toml", "--set", "source.labels=absent", "--set", "output.bundle=" + FILE],
        ["demo", "--output", FILE],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_every_command_looks_at_its_target_first(words, tmp_path, capsys):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"1")
    with pytest.raises(SystemExit) as end:
        main([word.format(place=tmp_path) for word in words])
    assert end.value.code == 1
    assert re.match(r"error: a (file|folder) is where a (file|folder) is to be", capsys.readouterr().err)
    assert tree(tmp_path) == ["file", "folder"]


@pytest.mark.parametrize("bundle", ["documents", "documents/models", "labels.jsonl"])
def test_a_fit_writes_into_no_place_that_it_reads(tmp_path, capsys, bundle):
    """The next one would read the bundle's files as documents."""
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "docs.jsonl").write_text('{"id": "1", "text": "bread", "labels": ["a"]}\n')
    (tmp_path / "labels.jsonl").write_text('{"id": "a", "text": "baking"}\n')
    before = tree(tmp_path)
    places = {"source.documents": "documents", "source.labels": "labels.jsonl", "output.bundle": bundle}
    sets = [word for name, place in places.items() for word in ("--set", f"{name}={tmp_path / place}")]
    with pytest.raises(SystemExit) as end:
        main(["fit", "jobs/frozen.toml", "--set", "search.kind=tfidf", *sets])
    assert end.value.code == 1
    assert "the output is a place that is read" in capsys.readouterr().err
    assert tree(tmp_path) == before


def test_no_tags_are_put_into_a_published_bundle(bundle, tmp_path):
    documents = write_texts(tmp_path / "docs.parquet", ["bread"])
    place, before = pin_bundle(bundle, Store()), tree(bundle)
    with pytest.raises(StoreError, match="the output is a place that is read"):
        tag_documents(bundle, RetagRun(RetagSettings(documents=str(documents))), f"{place}/tags.parquet", 3)
    assert tree(bundle) == before
