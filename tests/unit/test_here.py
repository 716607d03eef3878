"""Small input in this process: the stream without Ray, and small files joined to units."""

import dataclasses
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from raytagger.cli import main
from raytagger.compare import evaluate_beside
from raytagger.corpus.output import SMALL
from raytagger.errors import CorpusError, RejectsError, SettingsError
from raytagger.evaluate import Asked
from raytagger.progress import silent
from raytagger.retag.run import retag
from raytagger.settings import ClusterSettings, RetagRun, RetagSettings, SourceSettings
from raytagger.store import FileEntry, Store
from raytagger.store.tags import TagTable
from raytagger.stream.executor import needs_ray
from raytagger.stream.output import tag_documents
from raytagger.stream.reading import GROUP_BYTES, GROUP_FILES, group_files
from tests.corpora import write_texts
from tests.processes import run


def tag_run(documents, chunk=16, share=0.5, splits=(), **source) -> RetagRun:
    return RetagRun(
        RetagSettings(documents=str(documents), splits=splits),
        SourceSettings(max_reject_share=share, **source),
        ClusterSettings(chunk_documents=chunk),
    )


def write_files(folder, rows):
    """A JSON Lines file a row."""
    folder.mkdir()
    for number, row in enumerate(rows):
        (folder / f"{number:05d}.jsonl").write_text(json.dumps(row) + "\n")
    return folder


def units_of(output):
    """The names of the units that a directory of results holds."""
    return sorted(path.name.rsplit("-", 1)[0] for path in output.glob("*.parquet"))


def documents(count):
    return [{"id": f"d{row:06d}", "text": f"a text about sailing, number {row}"} for row in range(count)]


@pytest.mark.parametrize(
    ("cluster", "size", "ray"),
    [
        ({}, 1_000, False),
        ({}, ClusterSettings().small_bytes + 1, True),
        ({"small_bytes": 500}, 1_000, True),
        ({"small_bytes": 0}, 0, True),
        ({"workers": 1}, 1_000, False),
        ({"workers": 2}, 1_000, True),
        ({"use_gpu": True}, 1_000, True),
        ({"address": "auto"}, 1_000, True),
    ],
)
def test_ray_is_started_for_what_is_large_or_asks_for_it(cluster, size, ray, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert needs_ray(ClusterSettings(**cluster), size) is ray


def test_a_cluster_in_the_environment_is_used(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    assert needs_ray(ClusterSettings(), 0)


@pytest.mark.parametrize("command", ["fit", "tag", "retag"])
def test_ray_can_be_asked_for(command, monkeypatch, tmp_path):
    asked = []

    def stop(run, *_):
        asked.append(run)
        raise SettingsError("enough is known")

    monkeypatch.setattr("raytagger.recipes.fit.fit", stop)
    monkeypatch.setattr("raytagger.retag.run.retag", stop)
    monkeypatch.setattr("raytagger.stream.output.tag_documents", lambda bundle, run, *_: stop(run))
    (tmp_path / "run.toml").write_text("")
    options = {"tag": ["models/x", "--documents", "docs", "--output", "tags"]}.get(
        command, [str(tmp_path / "run.toml")]
    )
    for flag in ([], ["--ray"]):
        with pytest.raises(SystemExit):
            main([command, *options, *flag])
    assert [run.cluster.small_bytes for run in asked] == [ClusterSettings().small_bytes, 0]


def test_small_neighbours_are_grouped_by_their_sizes_alone():
    sizes = [10, 20, GROUP_BYTES, 5, GROUP_BYTES - 5, 1, 3 * GROUP_BYTES, 7]
    files = group_files([FileEntry(str(number), size, "") for number, size in enumerate(sizes)])
    assert [list(group) for group in files.groups] == [[0, 1], [2], [3, 4], [5], [6], [7]]
    many = group_files([FileEntry(str(number), 1, "") for number in range(GROUP_FILES + 1)])
    assert [len(group) for group in many.groups] == [GROUP_FILES, 1]


def test_many_small_files_are_few_units_and_give_what_one_file_gives(bundle, tmp_path):
    rows = documents(70)
    many = write_files(tmp_path / "docs", rows)
    one = write_texts(tmp_path / "docs.parquet", [row["text"] for row in rows])
    for documents_of, name in ((many, "many"), (one, "one")):
        tag_documents(bundle, tag_run(documents_of, chunk=32), str(tmp_path / name), k=3)
    assert units_of(tmp_path / "many") == ["000000-000000000000", "000032-000000000000", "000064-000000000000"]
    assert pq.ParquetDataset(tmp_path / "many").read().equals(pq.ParquetDataset(tmp_path / "one").read())


def test_rejects_of_joined_files_name_their_own_file_and_row(bundle, tmp_path):
    rows = [*documents(5), {"id": "", "text": "no id"}, {"id": "bare", "text": " "}]
    folder = write_files(tmp_path / "docs", rows)
    (folder / "00002.jsonl").write_text("{broken\n" + json.dumps({"id": "second", "text": "bread"}) + "\n")
    summary = tag_documents(bundle, tag_run(folder), str(tmp_path / "tags.parquet"), k=3)
    assert (summary.read, summary.tagged) == (8, 5)
    rejects = pq.read_table(tmp_path / "tags.parquet.rejects.parquet").to_pylist()
    assert [row["doc_id"] for row in rejects] == ["00002.jsonl:1", "00005.jsonl:1", "bare"]
    assert pq.read_table(tmp_path / "tags.parquet")["doc_id"].to_pylist()[2] == "second"


def test_a_newer_label_file_in_the_documents_folder_is_not_tagged(bundle, tmp_path):
    folder = write_files(tmp_path / "docs", documents(3))
    newer = str(folder / "newer.jsonl")
    labels = [
        {"id": "boats", "title": "Boats", "text": "sailing"},
        {"id": "tax", "title": "Tax", "text": "what is owed"},
    ]
    Path(newer).write_text("".join(json.dumps(label) + "\n" for label in labels))
    asked = RetagSettings(str(folder), labels=newer, bundle=bundle, table=str(tmp_path / "table"))
    asked_run = dataclasses.replace(tag_run(folder), retag=asked)
    assert tag_documents(bundle, asked_run, str(tmp_path / "tags.parquet"), k=3).read == 3
    assert retag(asked_run).summary.read == 3
    source = SourceSettings(str(folder), max_reject_share=1.0)
    with pytest.raises(CorpusError, match="split all: 3 documents without a known gold label"):
        evaluate_beside([bundle], newer, source, Asked(), silent)


def test_files_whose_columns_differ_in_type_stay_apart(bundle, tmp_path):
    rows = [{**row, "year": 1990 + number if number % 2 else None} for number, row in enumerate(documents(4))]
    tag_documents(
        bundle, tag_run(write_files(tmp_path / "docs", rows), columns=("year",)), str(tmp_path / "tags"), 3
    )
    assert len(units_of(tmp_path / "tags")) == 4


@pytest.mark.parametrize("rows", [documents(20), [*documents(20), {"id": "x"}]])
def test_splits_of_a_corpus_without_any_are_an_error_before_the_work(faulty, tmp_path, rows):
    """A reject among them, which every split has, makes no difference."""
    path, told = tmp_path / "docs.jsonl", r"no document of \S+docs\.jsonl has a split.* got 'test'.*Leave --split"
    path.write_text("\n".join(map(json.dumps, rows)))
    seen = []
    with pytest.raises(CorpusError, match=told):
        tag_documents(
            faulty, tag_run(path, splits=("test",)), str(tmp_path / "tags"), 3, lambda *at: seen.append(at)
        )
    settings = RetagSettings(str(path), "", faulty, str(tmp_path / "table"), splits=("test",))
    with pytest.raises(CorpusError, match=told):
        retag(dataclasses.replace(tag_run(path), retag=settings))
    assert not seen
    assert [place.name for place in tmp_path.iterdir()] == ["docs.jsonl"]
    for row in rows[5:8]:
        row["split"] = "test"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert tag_documents(faulty, tag_run(path, splits=("test",)), str(tmp_path / "tags"), 3).tagged == 3


def test_a_split_that_is_not_there_is_an_error_beside_one_that_is(faulty, tmp_path):
    rows = [{**row, "split": f"part {at % 12}" if at % 2 else "test"} for at, row in enumerate(documents(48))]
    path, told = (
        tmp_path / "docs.jsonl",
        r"does not exist; got 'tets'; expected test \(24\), part 1 \(4\), .*--split",
    )
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(CorpusError, match=told):
        tag_documents(faulty, tag_run(path, splits=("test", "tets")), str(tmp_path / "tags"), 3)
    settings = RetagSettings(str(path), "", faulty, str(tmp_path / "table"), splits=("Test", "tets"))
    with pytest.raises(CorpusError, match=told):
        retag(dataclasses.replace(tag_run(path), retag=settings))
    assert [place.name for place in tmp_path.iterdir()] == ["docs.jsonl"]


def test_an_interrupted_run_is_taken_up_by_the_same_command(faulty, tmp_path, monkeypatch):
    path = write_texts(tmp_path / "docs.parquet", [f"text {row}" for row in range(64)])
    output = str(tmp_path / "tags.parquet")

    def interrupt(stage, done, total=None):
        if done >= 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tag_documents(faulty, tag_run(path), output, 3, interrupt)
    assert not list(tmp_path.rglob("*.begun"))
    log = tmp_path / "log"
    monkeypatch.setenv("RAYTAGGER_FAULT_LOG", str(log))
    summary = tag_documents(faulty, tag_run(path), output, 3)
    assert (summary.resumed_units, summary.tagged, summary.tagged_now) == (2, 64, 32)
    assert log.read_text().split("\n")[:-1] == [f"text {row}" for row in range(32, 64)]


@pytest.mark.slow
def test_a_document_that_kills_the_process_kills_it_once(faulty, tmp_path):
    texts = [f"a text about weather, number {row}" for row in range(12)]
    texts[6] = "KILL"
    path, output, log = write_texts(tmp_path / "docs.parquet", texts), tmp_path / "tags.parquet", tmp_path / "log"
    options = ["--documents", path, "--output", output, "--k", 3, "--set", "cluster.chunk_documents=4"]
    options += ["--set", "source.max_reject_share=0.5"]
    command = ["-m", "raytagger.cli", "tag", faulty, *map(str, options)]
    code, _, _ = run(command)
    assert code == -9
    code, _, error = run(command, RAYTAGGER_FAULT_LOG=str(log))
    assert code == 0, error
    rejects = pq.read_table(f"{output}.rejects.parquet").to_pylist()
    assert [(row["doc_id"], row["reason"]) for row in rejects] == [("d000006", "process_died")]
    assert "signal 9" in rejects[0]["error"]
    assert pq.read_table(output)["doc_id"].to_pylist() == [f"d{row:06d}" for row in range(12) if row != 6]
    assert texts[0] not in log.read_text().splitlines(), "a finished document was encoded again"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "docs.parquet",
        "log",
        "tags.parquet",
        "tags.parquet.rejects.parquet",
    ]


@pytest.mark.slow
def test_small_work_imports_neither_ray_nor_torch(bundle, tmp_path):
    path = write_texts(tmp_path / "docs.parquet", ["about bread", "about tides"])
    program = (
        "import sys\nfrom raytagger.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code\n"
        "print([name for name in ('ray', 'torch', 'transformers', 'sklearn') if name in sys.modules])\n"
    )
    retag_options = [f"retag.documents={path}", f"retag.bundle={bundle}", f"retag.table={tmp_path / 'table'}"]
    (tmp_path / "retag.toml").write_text("")
    (tmp_path / "bank.toml").write_text(
        f'[source]\nlabels = "{SMALL / "labels.jsonl"}"\n[labels]\nbank = "{tmp_path / "bank"}"\n'
        '[encoder]\nkind = "static"\npath = "wordllama"\n'
    )
    for said, *arguments in (
        [
            "2 of 2 documents tagged",
            "tag",
            bundle,
            "--documents",
            str(path),
            "--output",
            str(tmp_path / "tags.parquet"),
        ],
        [
            "2 of 2 documents tagged",
            *("retag", str(tmp_path / "retag.toml")),
            *(word for one in retag_options for word in ("--set", one)),
        ],
        ["encoded now", "labels", "embed", str(tmp_path / "bank.toml")],
    ):
        code, out, error = run(["-c", program, *arguments])
        assert code == 0, error
        assert said in out
        assert out.splitlines()[-1] == "[]"


def test_too_many_rejects_commit_nothing(faulty, tmp_path):
    path = write_texts(tmp_path / "docs.parquet", ["RAISE" if row % 4 == 0 else f"text {row}" for row in range(40)])
    asked = dataclasses.replace(
        tag_run(path, share=0.01), retag=RetagSettings(str(path), "", faulty, str(tmp_path / "t"))
    )
    with pytest.raises(
        RejectsError, match=r"10 of 40 documents of .*tagging_failed.* is kept and not tagged again"
    ):
        retag(asked)
    assert TagTable(Store(), str(tmp_path / "t")).last_run() == {}
