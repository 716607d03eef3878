"""Which documents and which gold labels a fit may see, and that evaluation knows what it saw."""

import dataclasses
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from raytagger.bundle import load, unseen_labels
from raytagger.bundle.format import TRAINED
from raytagger.cli import app
from raytagger.corpus import read_labels
from raytagger.corpus.report import CorpusReport
from raytagger.corpus.splits import held_out, select_training
from raytagger.errors import CorpusError, RejectsError, SettingsError
from raytagger.evaluate import Asked, evaluate
from raytagger.progress import silent
from raytagger.recipes.fit import fit
from raytagger.recipes.reading import Collected, corpus_files, read_training
from raytagger.settings import (
    BlendSettings,
    FitRun,
    OutputSettings,
    SearchSettings,
    SourceSettings,
    TrainSettings,
    Xml0Settings,
)
from raytagger.store import read_manifest
from tests.corpora import STATIC

NAMES = [f"label{number}" for number in range(10)]
SCHEMA = pa.schema(
    [("doc_id", pa.string()), ("text", pa.string()), ("labels", pa.list_(pa.string())), ("split", pa.string())]
)


def rows_of(count=200, splits=(None,), start=0):
    return [
        {
            "doc_id": f"d{number}",
            "text": f"about {NAMES[number % 10]}",
            "labels": [NAMES[number % 10]],
            "split": splits[number // 10 % len(splits)],
        }
        for number in range(start, start + count)
    ]


def write(path, rows):
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    return str(path)


@pytest.fixture
def make_run(tmp_path):
    """A run of the frozen recipe over some documents; give it keys of `source` to change."""

    def make(rows, seen=None, kind="popularity", **source):
        table = {"label_id": NAMES, "title": NAMES} | ({} if seen is None else {"seen": seen})
        pq.write_table(pa.table(table), tmp_path / "labels.parquet")
        documents = write(tmp_path / "docs.parquet", rows)
        return FitRun(
            source=SourceSettings(documents, str(tmp_path / "labels.parquet"), **source),
            search=SearchSettings(kind=kind),
            output=OutputSettings(str(tmp_path / "bundle")),
        )

    return make


def measure(run, store, documents="", **asked):
    source = SourceSettings(documents=documents or run.source.documents)
    return evaluate(load(run.output.bundle), store, source, Asked(**asked))


# labels that are marked unseen


def test_labels_marked_unseen_are_not_trained_on(make_run, store):
    seen = [name != "label3" for name in NAMES]
    run = make_run(rows_of(splits=("train", "test")), seen)
    fitted = fit(run)
    tagger = load(run.output.bundle)
    assert tagger.train_count_L.tolist() == [10 * flag for flag in seen]
    assert "label3" not in tagger.manifest["trained_labels"]
    assert unseen_labels(tagger).tolist() == [not flag for flag in seen]
    left_out = fitted.report.as_dict()["marked_unseen"]
    assert left_out == {"count": 10, "examples": ["label3"]}
    assert any("seen = false" in line for line in fitted.report.lines())
    figures = measure(run, store)
    assert (figures["n_unseen_labels"], figures["n_marked_but_trained"], figures["warnings"]) == (1, 0, [])


def test_every_recipe_reads_its_gold_without_them(make_run, store):
    run = make_run(rows_of(splits=("train", "val", "test")), [name != "label3" for name in NAMES])
    labels = read_labels(store, run.source.labels)
    report, collected = CorpusReport(labels), Collected()
    for part in read_training(run, store, labels, report, silent):
        collected.add(part)
    read = collected.read(run, len(labels))
    assert np.asarray(read.gold.sum(axis=0)).ravel().tolist() == [14 * (name != "label3") for name in NAMES]
    assert report.findings["marked_unseen"].count == 14


def test_a_bundle_that_was_trained_on_them_says_so(make_run, store):
    run = make_run(rows_of(splits=("train", "test")))
    fit(run)
    tagger = load(run.output.bundle)
    marked = dataclasses.replace(tagger.labels, seen=tuple(name not in ("label3", "label4") for name in NAMES))
    figures = evaluate(tagger.with_labels(marked), store, SourceSettings(documents=run.source.documents), Asked())
    assert figures["n_marked_but_trained"] == 2
    assert figures["UR@1"] is None  # what was trained on is no zero-shot
    assert any("2 labels are marked seen = false" in line for line in figures["warnings"])


# documents without splits


def test_what_is_held_out_hangs_on_the_id_alone():
    ids = [f"d{number}" for number in range(5000)]
    mask = held_out(ids, 0.1)
    assert 0.08 < mask.mean() < 0.12
    assert held_out(ids[::-1], 0.1).tolist() == mask[::-1].tolist()
    assert (held_out(ids, 0.3) | mask).tolist() == held_out(ids, 0.3).tolist()
    assert not held_out(ids, 0.0).any()


def test_a_share_is_held_out_and_evaluated_on(make_run, store):
    rows = rows_of(300)
    run = make_run(rows)
    said = []
    fitted = fit(run, say=said.append)
    test = held_out([row["doc_id"] for row in rows], 0.1)
    tagger = load(run.output.bundle)
    assert tagger.manifest["train_documents"] == tagger.train_count_L.sum() == 300 - test.sum()
    assert tagger.manifest["held_out"] == 0.1
    assert [line for line in said if line.startswith("warning: no document has a split")]
    assert fitted.as_dict()["warnings"] == fitted.warnings
    figures = measure(run, store)
    assert figures["n_documents"] == test.sum() > 0
    assert (figures["split"], figures["held_out"], figures["n_trained_documents"]) == ("test", 0.1, 0)
    assert "no document has a split" in figures["warnings"][0]
    assert measure(run, store, split="test")["n_documents"] == test.sum()
    with pytest.raises(CorpusError, match=r"the split does not exist.*fit held out 0\.1 as test.*--split test"):
        measure(run, store, split="dev")


@pytest.mark.slow
def test_what_a_person_must_know_is_told_once_however_many_bundles_are_inside(make_run, store):
    run = dataclasses.replace(
        make_run(rows_of(300)), method="blend", encoder=STATIC, blend=BlendSettings(methods=("frozen",))
    )
    said = []
    fitted = fit(run, say=said.append)
    assert len([line for line in said if line.startswith("warning:")]) == len(fitted.warnings) == 1
    assert load(run.output.bundle).manifest["held_out"] == 0.1
    assert fitted.encoded_labels == len(read_labels(store, run.source.labels))


def test_a_blend_knows_its_own_training_documents_beside_those_of_its_members(make_run, store, tmp_path):
    run = dataclasses.replace(make_run(rows_of(100, start=1000)), encoder=STATIC)
    fit(run)
    shutil.move(tmp_path / "bundle", tmp_path / "member")
    blend = BlendSettings(members=(str(tmp_path / "member"),))
    fit(dataclasses.replace(make_run(rows_of(300)), method="blend", encoder=STATIC, blend=blend))
    hashes = load(str(tmp_path / "bundle")).trained_hashes
    assert set(load(str(tmp_path / "member")).trained_hashes) < set(hashes)
    figures = measure(run, store)
    assert (figures["held_out"], figures["n_trained_documents"]) == (0.1, 0)


@pytest.mark.parametrize("way", ["blend", "xml0"])
def test_a_bundle_that_was_trained_on_this_runs_validation_documents_is_no_member(make_run, tmp_path, way):
    """Each run draws a twentieth of its documents by its own seed where there is no validation split."""
    run = dataclasses.replace(make_run(rows_of(300), kind="mean"), method="xrlinear", encoder=STATIC)
    fit(run)
    member = str(tmp_path / "member")
    shutil.move(tmp_path / "bundle", member)
    named = {"blend": {"blend": BlendSettings(members=(member,))}, "xml0": {"xml0": Xml0Settings(base=member)}}
    over = dataclasses.replace(run, method=way, **named[way])
    other = dataclasses.replace(over, train=TrainSettings(seed=1))
    said = r"member was trained on validation documents.*of 14 documents.*train\.seed 0, a share of 0\.1 held out"
    with pytest.raises(SettingsError, match=said + r".*expected.*train\.seed 1, a share of 0\.1 held out"):
        fit(other)
    fit(over)


def test_a_split_where_no_document_has_one_is_refused_with_the_reason(make_run, store, tmp_path):
    run = make_run(rows_of(100), holdout=0.0)
    fit(run)
    message = r"no document has a split, and fit held none of these out \(source\.holdout = 0\).*Leave --split out"
    with pytest.raises(CorpusError, match=message):
        measure(run, store, split="test")
    other = write(tmp_path / "other.parquet", rows_of(100, start=500))
    with pytest.raises(CorpusError, match="no document has a split, and fit held none of these out; got"):
        measure(run, store, other, split="test")


def test_other_documents_without_splits_are_measured_in_full(make_run, store, tmp_path):
    run = make_run(rows_of(300))
    fit(run)
    other = write(tmp_path / "other.parquet", rows_of(50, start=1000))
    figures = measure(run, store, other)
    assert (figures["n_documents"], figures["split"], figures["warnings"]) == (50, None, [])


def test_nothing_is_held_out_where_documents_have_splits_or_the_share_is_none(make_run):
    for rows, source in ((rows_of(splits=("train", "test")), {}), (rows_of(100), {"holdout": 0.0})):
        run = make_run(rows, **source)
        fit(run)
        manifest = load(run.output.bundle).manifest
        assert (manifest["train_documents"], manifest["held_out"]) == (100, 0)


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0])
def test_an_impossible_share_is_refused(make_run, share):
    with pytest.raises(SettingsError, match=r"source\.holdout"):
        fit(make_run(rows_of(), holdout=share))


def test_a_split_that_comes_late_takes_back_what_was_selected():
    source = SourceSettings()
    first, later = (pa.Table.from_pylist(rows_of(20, splits), SCHEMA) for splits in ((None,), ("train", "test")))
    selected, has_splits = select_training(first, source, ("train",))
    assert (0 < len(selected) <= 20, has_splits) == (True, False)
    selected, has_splits = select_training(later, source, ("train",))
    assert (len(selected), has_splits) == (10, True)
    assert len(select_training(first, source, ("train",), has_splits)[0]) == 0


def test_documents_without_a_split_do_not_count_where_others_are_all_for_testing(make_run, store, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    write(folder / "a.parquet", rows_of(20))
    write(folder / "b.parquet", rows_of(20, ("test",), start=20))
    run = make_run([])
    run = dataclasses.replace(run, source=dataclasses.replace(run.source, documents=str(folder)))
    labels, collected = read_labels(store, run.source.labels), Collected()
    for part in read_training(run, store, labels, CorpusReport(labels), silent):
        collected.add(part)
    read = collected.read(run, len(labels))
    assert len(read.train_N) == len(read.validation_N) == 0
    with pytest.raises(CorpusError, match="no document to train on"):
        fit(run)


# documents that were trained on


def test_a_bundle_keeps_which_documents_it_was_trained_on(make_run, store, tmp_path):
    run = make_run(rows_of(splits=("train", "test")))
    version = fit(run).version
    kept = np.load(tmp_path / "bundle" / version / TRAINED)
    assert (len(kept), kept.dtype) == (100, np.uint64)
    assert (np.diff(kept.astype(object)) > 0).all()
    assert measure(run, store)["n_trained_documents"] == 0
    figures = measure(run, store, split="train")
    assert figures["n_trained_documents"] == figures["n_documents"] == 100
    assert "trained on 100 of the documents" in figures["warnings"][0]


def test_documents_that_are_all_trained_on_are_refused(make_run, store, tmp_path):
    run = make_run(rows_of(100), holdout=0.0)
    fit(run)
    with pytest.raises(CorpusError, match=r"trained on all of these documents.*--allow-trained"):
        measure(run, store)
    assert measure(run, store, allow_trained=True)["n_trained_documents"] == 100
    both = write(tmp_path / "both.parquet", rows_of(150))
    figures = measure(run, store, both)
    assert (figures["n_documents"], figures["n_trained_documents"]) == (150, 100)
    options = ("evaluate", run.output.bundle, "--documents")
    refused = CliRunner().invoke(app, [*options, run.source.documents])
    assert (refused.exit_code, refused.stdout) == (1, "")
    warned = CliRunner().invoke(app, [*options, both])
    assert "warning: the bundle was trained on 100 of the documents" in warned.stderr


def test_a_bundle_from_before_it_says_nothing(make_run, store, tmp_path):
    run = make_run(rows_of(100), holdout=0.0)
    folder = tmp_path / "bundle" / fit(run).version
    (folder / TRAINED).unlink()
    facts = read_manifest(folder)
    del facts["files"][TRAINED], facts["held_out"]
    (folder / "manifest.json").write_text(json.dumps(facts))
    figures = measure(run, store)
    assert (figures["n_documents"], figures["n_trained_documents"], figures["warnings"]) == (100, 0, [])


def test_a_fit_started_again_knows_that_pairs_which_must_not_count_were_changed(store, tmp_path):
    (tmp_path / "trn.json").write_text('{"uid": "1", "title": "a", "content": "b", "target_ind": [0, 1]}\n')
    run, found = FitRun(source=SourceSettings(str(tmp_path))), []
    for pairs in ("", "0 0\n", "0 0\n0 1\n"):
        if pairs:
            (tmp_path / "filter_labels_train.txt").write_text(pairs)
        found.append(corpus_files(run, store))
    assert [len(files) for files in found] == [1, 2, 2]
    assert found[1] != found[2]


# nothing to train on


def test_documents_that_are_none_for_training_are_an_error(make_run, tmp_path):
    run = make_run(rows_of(splits=("other", "test")))
    with pytest.raises(
        CorpusError, match=r"no document to train on.*other \(\d+\), test \(\d+\).*split train.*source\.train_split"
    ):
        fit(run)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("role", ["train_split", "validation_split"])
def test_a_split_that_a_fit_names_must_be_there(make_run, tmp_path, role):
    run = make_run(rows_of(splits=("train", "test")), **{role: "Trian"})
    told = rf"does not exist; got 'Trian'; expected .*train \(\d+\).*source\.{role}"
    with pytest.raises(CorpusError, match=told):
        fit(run)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(("train", "validation"), [("train", "train"), ("Val", "val"), ("val", "dev")])
def test_validation_documents_are_not_those_for_training(make_run, tmp_path, train, validation):
    run = make_run(rows_of(splits=("train", "val")), train_split=train, validation_split=validation)
    with pytest.raises(
        SettingsError, match=rf"train_split and source.validation_split.*; got '{train} and {validation}'"
    ):
        fit(run)
    assert not (tmp_path / "bundle").exists()


def test_gold_labels_of_which_none_is_known_are_an_error(make_run, tmp_path):
    rows = [{**row, "labels": [f"{row['labels'][0]} "[::-1]]} for row in rows_of(splits=("train", "test"))]
    with pytest.raises(CorpusError, match="no gold label is in the label set"):
        fit(make_run(rows))
    assert not (tmp_path / "bundle").exists()


def without_labels(run, **columns):
    """The run over the same documents without a column for labels, and with other columns."""
    table = pq.read_table(run.source.documents).drop_columns(["labels"])
    for name, values in columns.items():
        table = table.append_column(name, [values])
    pq.write_table(table, run.source.documents)
    return run


def test_documents_that_never_had_labels_still_give_terms(make_run):
    run, told = without_labels(make_run(rows_of(), kind="tfidf"), year=[1999] * 200, stage=["x"] * 200), []
    assert fit(run, say=told.append).trained_labels == 0
    assert load(run.output.bundle).manifest["train_documents"] > 150
    assert "warning: no gold label was trained on: all labels are unseen" in told
    with pytest.raises(CorpusError, match="no training document has a gold label"):
        fit(dataclasses.replace(run, search=SearchSettings(kind="popularity")))


def test_labels_that_are_lost_are_an_error(make_run, tmp_path):
    names = [[name] for name in NAMES * 20]
    empty = make_run([{**row, "labels": []} for row in rows_of()], kind="tfidf")
    with pytest.raises(CorpusError, match=r'no training document has a gold label.*source\.map\.labels = ""'):
        fit(empty)
    lost = without_labels(make_run(rows_of(), kind="tfidf"), my_topics_list=names)
    with pytest.raises(CorpusError, match=r"columns that look like labels: my_topics_list"):
        fit(lost)
    assert not (tmp_path / "bundle").exists()
    for labels, trained in (("my_topics_list", 10), ("", 0)):
        source = dataclasses.replace(lost.source, map={"labels": labels})
        assert fit(dataclasses.replace(lost, source=source)).trained_labels == trained
    with pytest.raises(CorpusError, match=r"no document to train on.*my_topics_list"):
        fit(dataclasses.replace(lost, method="xrlinear"))


def test_too_many_rejects_end_a_fit_without_a_bundle(make_run, tmp_path):
    rows = [{**row, "text": "" if number % 2 else row["text"]} for number, row in enumerate(rows_of())]
    run = make_run(rows)
    with pytest.raises(RejectsError):
        fit(run)
    assert not (tmp_path / "bundle").exists()
    allowed = dataclasses.replace(run, source=dataclasses.replace(run.source, max_reject_share=0.5))
    fit(allowed)
    result = CliRunner().invoke(app, ["evaluate", run.output.bundle, "--documents", run.source.documents])
    assert result.exit_code == 3


def test_ids_that_occur_twice_count_against_the_limit_wherever_documents_are_read(make_run, store):
    rows = rows_of(splits=("train", "test"))
    fit(make_run(rows))
    run = make_run([{**row, "doc_id": "same"} for row in rows])
    message = r"199 of 200 documents .*duplicate_id.*such as same: an earlier document has this id"
    for read in (fit, lambda run: measure(run, store)):
        with pytest.raises(RejectsError, match=message):
            read(run)
    check = ["labels", "check", run.source.labels, "--encoder-kind", "static", "--encoder", STATIC.path]
    result = CliRunner().invoke(app, [*check, "--bundle", run.output.bundle, "--documents", run.source.documents])
    assert (result.exit_code, "duplicate_id" in result.stderr) == (3, True)


def test_of_few_documents_with_one_id_the_first_is_trained_on_and_measured(make_run, store):
    rows = rows_of(splits=("train", "test"))
    first = fit(make_run(rows, kind="tfidf")).version
    again = [{**rows[-1], "text": "about nothing", "labels": ["label0"]}, {**rows[0], "text": "about all"}]
    run = make_run([*rows, *again], kind="tfidf")
    fitted = fit(run)
    assert fitted.report.rejects == {"duplicate_id": 2}
    assert fitted.report.findings["duplicate_ids"].examples == [rows[-1]["doc_id"], rows[0]["doc_id"]]
    assert fitted.report.n_documents == 200
    bundle = load(run.output.bundle)
    assert bundle.manifest["train_documents"] == load(f"{run.output.bundle}/{first}").manifest["train_documents"]
    assert measure(run, store)["n_rejected"] == 2
    assert measure(run, store)["n_documents"] == 100
