"""The tag table: one commit a night, books that balance, read back by others."""

import dataclasses

import duckdb
import duckdb_extension_delta
import duckdb_extension_httpfs
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from raytagger.cli.tags import tags_show
from raytagger.errors import LockHeldError, RejectsError, StoreError
from raytagger.retag.run import retag
from raytagger.schema import TAG_SCHEMA
from raytagger.store import Store, join, locked
from raytagger.store.tags import DataFile, TagTable
from tests.corpora import retag_run, small_bundle, write_texts

TEXTS = [f"a text about bread and gardens, number {row}" for row in range(40)]


def rows_of(table):
    tags = TagTable(Store(), str(table))
    delta = tags.open()
    assert delta is not None
    return {row["doc_id"]: row for part in tags.read(delta) for row in part.to_pylist()}


def duck_rows(uri, s3=None):
    with duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False}) as duck:
        for module in (duckdb_extension_httpfs, duckdb_extension_delta):
            folder = f"{module.__path__[0]}/extensions/v{duckdb.__version__}"
            duck.execute(f"LOAD '{folder}/{module.__name__.removeprefix('duckdb_extension_')}.duckdb_extension'")
        if s3 is not None:
            duck.execute(
                f"CREATE SECRET (TYPE s3, KEY_ID '{s3.key}', SECRET '{s3.secret}', REGION 'us-east-1', "
                f"ENDPOINT '{s3.endpoint.removeprefix('http://')}', URL_STYLE 'path', USE_SSL false)"
            )
        return duck.execute(f"SELECT doc_id, label_ids, outcome FROM delta_scan('{uri}')").fetchall()


def test_a_night_and_the_next(bundle, tmp_path):
    path, table = write_texts(tmp_path / "docs.parquet", TEXTS), str(tmp_path / "tags")
    first = retag(retag_run(str(path), bundle, table))
    assert (first.books.read, first.books.new, first.books.previous) == (40, 40, 0)
    again = retag(retag_run(str(path), bundle, table))
    assert again.nothing_to_do
    assert again.version == first.version
    write_texts(path, [*TEXTS[10:], "a new text about sewing"], start=10)
    second = retag(retag_run(str(path), bundle, table))
    assert dataclasses.asdict(second.books) == {
        "read": 31,
        "new": 1,
        "retagged": 30,
        "quarantined": 0,
        "previous": 40,
        "stale": 0,
        "removed": 10,
    }
    assert second.version == first.version + 1
    rows = rows_of(table)
    assert sorted(rows) == [f"d{row:06d}" for row in range(10, 41)]
    assert {row["run_id"] for row in rows.values()} == {second.run_id}
    yesterday = TagTable(Store(), table).open(first.version)
    assert sum(len(part) for part in TagTable(Store(), table).read(yesterday)) == 40
    write_texts(path, TEXTS)
    third = retag(retag_run(str(path), bundle, table))
    assert not third.nothing_to_do
    assert len(rows_of(table)) == 40


def test_others_read_the_table(bundle, tmp_path):
    table = str(tmp_path / "tags")
    retag(retag_run(str(write_texts(tmp_path / "docs.parquet", TEXTS)), bundle, table))
    delta = DeltaTable(table)
    assert sum(file["num_records"] for file in pa.table(delta.get_add_actions(flatten=True)).to_pylist()) == 40
    assert {field.name for field in delta.schema().fields} == set(TAG_SCHEMA.names)
    ours = {doc_id: (row["label_ids"], "tagged") for doc_id, row in rows_of(table).items()}
    assert {doc_id: (labels, outcome) for doc_id, labels, outcome in duck_rows(table)} == ours


@pytest.mark.s3
def test_a_table_in_object_storage(bundle, bucket, s3, tmp_path):
    store = Store()
    store.write_bytes(join(bucket, "docs.parquet"), write_texts(tmp_path / "d.parquet", TEXTS).read_bytes())
    table = join(bucket, "tags")
    night = retag(retag_run(join(bucket, "docs.parquet"), bundle, table))
    assert night.books.new == 40
    assert {row[0]: row[1] for row in duck_rows(table, s3)} == {
        doc_id: row["label_ids"] for doc_id, row in rows_of(table).items()
    }
    assert retag(retag_run(join(bucket, "docs.parquet"), bundle, table)).nothing_to_do


def test_the_table_says_which_documents_are_blank(tmp_path, capsys):
    bundle, table = small_bundle(str(tmp_path / "bundle"), "tfidf"), str(tmp_path / "tags")
    path = write_texts(tmp_path / "docs.parquet", ["Prune plums in summer.", "ꙮꙮ ⵣⵣⵣ"])
    night = retag(retag_run(str(path), bundle, table))
    assert "50.0 % blank" in night.line()
    assert night.as_dict()["blank"] == 1
    rows = rows_of(table)
    assert {name: (row["blank"], bool(row["label_ids"])) for name, row in rows.items()} == {
        "d000000": (False, True),
        "d000001": (True, False),
    }
    tags_show(table, "d000001")
    assert "blank: nothing of the document is known" in capsys.readouterr().out


def test_a_newly_quarantined_document_keeps_its_row_as_stale(faulty, tmp_path):
    path, table = write_texts(tmp_path / "docs.parquet", TEXTS), str(tmp_path / "tags")
    first = retag(retag_run(str(path), faulty, table))
    before = rows_of(table)
    write_texts(path, ["RAISE", *TEXTS[1:], "RAISE too"])
    second = retag(retag_run(str(path), faulty, table))
    assert (second.books.quarantined, second.books.stale, second.books.removed) == (2, 1, 0)
    after = rows_of(table)
    assert after["d000000"] == before["d000000"] | {"outcome": "stale"}
    assert after["d000000"]["run_id"] == first.run_id
    assert "d000040" not in after
    quarantine = TagTable(Store(), table).quarantine().to_pylist()
    assert {(row["doc_id"], row["reason"], row["run_id"]) for row in quarantine} == {
        ("d000000", "tagging_failed", second.run_id),
        ("d000040", "tagging_failed", second.run_id),
    }


def test_of_duplicate_ids_the_first_is_kept_and_the_others_quarantined(bundle, tmp_path):
    (tmp_path / "docs").mkdir()
    write_texts(tmp_path / "docs" / "a.parquet", ["about bread", "about tides"])
    write_texts(tmp_path / "docs" / "b.parquet", ["about tides again", "about quilts"], start=1)
    night = retag(retag_run(str(tmp_path / "docs"), bundle, str(tmp_path / "tags")))
    assert (night.books.read, night.books.new, night.books.quarantined) == (4, 3, 1)
    quarantine = TagTable(Store(), str(tmp_path / "tags")).quarantine().to_pylist()
    assert [(row["doc_id"], row["reason"]) for row in quarantine] == [("d000001", "duplicate_id")]
    assert night.line().startswith("3 of 4 documents tagged")
    assert "rejected: 1 duplicate_id" in night.line()


def test_too_many_duplicates_stop_the_night_before_its_commit(bundle, tmp_path):
    path, table = write_texts(tmp_path / "docs.parquet", TEXTS[:10]), str(tmp_path / "tags")
    first = retag(retag_run(str(path), bundle, table))
    (tmp_path / "docs").mkdir()
    for name in ("a", "b"):
        write_texts(tmp_path / "docs" / f"{name}.parquet", TEXTS)
    with pytest.raises(RejectsError, match=r"40 of 80 documents of .* were rejected.*duplicate_id"):
        retag(retag_run(str(tmp_path / "docs"), bundle, table, share=0.4))
    assert TagTable(Store(), table).open().version() == first.version
    assert len(rows_of(table)) == 10
    second = retag(retag_run(str(tmp_path / "docs"), bundle, table, share=0.5))
    assert (second.books.read, second.books.quarantined, second.summary.tagged) == (80, 40, 40)
    assert len(rows_of(table)) == 40


def test_a_second_run_at_the_same_time_is_refused(bundle, tmp_path):
    path, table = write_texts(tmp_path / "docs.parquet", TEXTS), str(tmp_path / "tags")
    with locked(Store(), join(table, "_lock")), pytest.raises(LockHeldError) as raised:
        retag(retag_run(str(path), bundle, table))
    assert raised.value.exit_code == 4


class StaleTable(TagTable):
    """Hands out a snapshot from before another writer's commit, once: the race that a commit can lose."""

    def open(self, version=None):
        return SNAPSHOTS.pop() if SNAPSHOTS else super().open(version)


SNAPSHOTS = []


def test_a_commit_from_a_stale_snapshot_is_decided_anew(bundle, tmp_path):
    path, uri = write_texts(tmp_path / "docs.parquet", TEXTS), str(tmp_path / "tags")
    retag(retag_run(str(path), bundle, uri))
    table = TagTable(Store(), uri)
    stale = table.open()
    assert len(table.files(stale)) > 1
    DeltaTable(uri).optimize.compact()
    source = table.files(stale)[0]
    copy = dataclasses.replace(source, path="data/other/outcome=tagged/copy.parquet")
    Store().write_bytes(join(uri, copy.path), Store().read_bytes(join(uri, source.path)))
    SNAPSHOTS.extend([stale, stale])  # one for `create`, one for the first try
    StaleTable(Store(), uri).commit([copy], "inputs", {"run_id": "other"})
    assert not SNAPSHOTS
    assert len(rows_of(uri)) == source.rows


def test_a_missing_data_file_is_never_committed(tmp_path):
    table = TagTable(Store(), str(tmp_path / "tags"))
    with pytest.raises(StoreError, match="is missing"):
        table.commit([DataFile("data/x.parquet", 10, 1, "tagged")], "inputs", {"run_id": "x"})
