"""Bundles: fit, publish, load, tag, newer labels, damage."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import raytagger
from raytagger.bundle import frozen, load, named
from raytagger.corpus import LabelSet, read_labels
from raytagger.corpus.edits import Add, Retire, Reword, apply
from raytagger.corpus.output import SMALL, small_corpus, write_table
from raytagger.encoders import load_encoder
from raytagger.errors import BundleError, SettingsError
from raytagger.recipes.fit import fit
from raytagger.schema import PAD, Scores
from raytagger.settings import EncoderSettings, LabelSettings, OutputSettings, SearchSettings, SourceSettings
from raytagger.store import check_files, read_manifest, write_manifest
from raytagger.vectors import TermCounts, Vocabulary, bm25, idf, tfidf
from tests.equal import assert_same_scores
from tests.unit.test_topk import assert_same, sorted_top_k

TEXTS = [
    "Pruning the old apple tree in winter",
    "A soup of leeks and cream",
    "",
    "zzzz",
    "sourdough bread bread bread, baked and baked slowly",
]
KINDS = ("dense", "tfidf", "mean", "bm25", "popularity")
STATIC = EncoderSettings(kind="static", path="wordllama")


@pytest.fixture(scope="module")
def small(store):
    documents, labels, _ = small_corpus(store)
    return documents.to_pylist(), labels.to_pylist()


def in_memory(small, store, kind):
    """Every score of `TEXTS` against every label, from the plain parts; -inf where nothing is shared."""
    documents, labels = small
    label_texts = [". ".join(part for part in (row["title"], row["text"]) if part) for row in labels]
    training = [row for row in documents if row["split"] == "train"]
    encoder, counts = load_encoder(STATIC, store), TermCounts()
    counts.add([*(row["text"] for row in training), *label_texts])
    vocabulary = Vocabulary.from_counts(counts)
    doc_BV, label_LV = vocabulary.count(TEXTS), vocabulary.count(label_texts)
    dense_BL = encoder.encode(TEXTS).vector_BD @ encoder.encode(label_texts).vector_BD.T
    idf_V = idf(vocabulary)
    sparse_BL = (tfidf(doc_BV, idf_V) @ tfidf(label_LV, idf_V).T).toarray()
    given = [label for row in training for label in set(row["labels"])]
    share_L = np.array([given.count(row["label_id"]) for row in labels]) / len(given)
    score_BL = {
        "dense": dense_BL,
        "tfidf": sparse_BL,
        "mean": (dense_BL + sparse_BL) / np.float32(2),
        "bm25": ((doc_BV > 0).astype(np.float32) @ bm25(label_LV).T).toarray(),
        "popularity": np.tile(share_L, (len(TEXTS), 1)),
    }[kind].astype(np.float32)
    return np.where(score_BL == 0, np.float32(-np.inf), score_BL)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_bundle_computes_what_memory_computes(small, store, small_run, kind):
    run = small_run(kind)
    fitted = fit(run)
    tagger = load(run.output.bundle)
    expected = in_memory(small, store, kind)
    found = tagger.tag(TEXTS, k=8)
    labels_BK, score_BK = sorted_top_k(expected, 8)
    assert_same_scores(found, Scores(np.where(np.isneginf(score_BK), PAD, labels_BK), score_BK))
    assert fitted.encoded_labels == (60 if kind in ("dense", "mean") else 0)
    features = tagger.encode(TEXTS)
    assert_same_scores(tagger.search(features, 8), found)
    allowed_L = np.arange(60) % 2 == 1
    odd = tagger.search(features, 8, allowed_L).label_BK
    assert (odd[odd != -1] % 2 == 1).all()
    assert tagger.tag([], k=3).label_BK.shape == (0, 3)


def test_a_bundle_is_found_by_name_and_by_version(mean_bundle):
    version = json.loads((Path(mean_bundle) / "latest.json").read_text())["version"]
    taggers = [load(mean_bundle), load(f"{mean_bundle}/{version}"), raytagger.load(mean_bundle + "/")]
    assert {tagger.bundle_id for tagger in taggers} == {version}
    first = taggers[0].tag(TEXTS)
    for tagger in taggers[1:]:
        assert_same_scores(tagger.tag(TEXTS), first)
    pairs = named(first, taggers[0].labels)
    assert pairs[0][0][0] == "garden/pruning"
    assert pairs[0][0][1] == pytest.approx(first.score_BK[0, 0])


@pytest.mark.slow
def test_the_same_training_gives_the_same_version(small_run):
    first, again = fit(small_run()), fit(small_run())
    elsewhere = fit(small_run(out="elsewhere"))
    assert first.version == again.version == elsewhere.version
    assert (first.encoded_labels, again.encoded_labels) == (60, 0)
    others = [
        fit(small_run(search=SearchSettings(k=3))),
        fit(small_run(encoder=dataclasses.replace(STATIC, max_tokens=99))),
        fit(small_run("tfidf")),
    ]
    assert len({first.version, *(other.version for other in others)}) == 4


def test_the_newest_version_is_the_one_loaded_and_the_older_stays(small_run):
    run = small_run()
    first, second = fit(run), fit(small_run("tfidf"))
    assert load(run.output.bundle).bundle_id == second.version
    assert load(f"{run.output.bundle}/{first.version}").bundle_id == first.version


def test_the_manifest_tells_everything(small, mean_bundle, store):
    documents = small[0]
    tagger = load(mean_bundle)
    manifest = tagger.manifest
    given = [label for row in documents if row["split"] == "train" for label in set(row["labels"])]
    assert manifest["trained_labels"] == {label: given.count(label) for label in set(given)}
    assert manifest["train_documents"] == sum(row["split"] == "train" for row in documents)
    assert manifest["label_set"] == read_labels(store, str(SMALL / "labels.jsonl")).fingerprint
    assert (manifest["format"], manifest["kind"], manifest["labels"]) == (1, "frozen", 60)
    assert {"raytagger", "torch", "numpy"} <= set(manifest["packages"])
    assert manifest["licences"] == {"wordllama": "mit"}
    assert manifest["settings"]["encoder"]["path"] == "wordllama"
    assert {"commit", "metrics"} <= set(manifest)
    folder = Path(mean_bundle) / tagger.bundle_id
    names = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} - {"manifest.json"}
    assert set(manifest["files"]) == names
    check_files(folder, manifest["files"])
    assert "mit" in (folder / "README.md").read_text()
    counts = {label_id: int(n) for label_id, n in zip(tagger.labels.ids, tagger.train_count_L, strict=True) if n}
    assert counts == manifest["trained_labels"]


def test_no_file_of_a_bundle_is_a_pickle(mean_bundle):
    files = [file for file in Path(mean_bundle).rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".json", ".md", ".npy", ".parquet", ".safetensors"}
    for file in files:
        if file.suffix == ".npy":
            array = np.load(file, allow_pickle=False)
            assert array.dtype == np.float16 or file.parent.name == "terms" or file.name == "trained_docs.npy"


# damage and age


def test_a_bundle_whose_terms_are_a_table_is_still_read(copied):
    """As bundles were before their terms became arrays."""
    texts, new = ["prune plums in summer", "salt and patience"], load(str(copied))
    vocabulary = new.vocabulary
    table = pa.table({"term": vocabulary.terms, "frequency": vocabulary.frequency_V})
    pq.write_table(table.replace_schema_metadata({"texts": str(vocabulary.texts)}), copied / "terms.parquet")
    shutil.rmtree(copied / "terms")
    facts = {name: value for name, value in read_manifest(copied).items() if name != "files"}
    write_manifest(copied, facts)
    old = load(str(copied))
    assert_same_scores(old.tag(texts), new.tag(texts))


@pytest.fixture
def copied(mean_bundle, tmp_path):
    """A bundle to damage: its version's folder."""
    shutil.copytree(mean_bundle, tmp_path / "bundle")
    return next(path for path in (tmp_path / "bundle").iterdir() if path.is_dir())


FILES = [
    "labels.parquet",
    "label_LD.npy",
    "terms/word_byte.npy",
    "encoder/model.safetensors",
    "encoder/encoder.json",
    "README.md",
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
def test_a_damaged_file_is_named(copied, name, damage):
    data = bytearray((copied / name).read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "missing":
        (copied / name).unlink()
    else:
        (copied / name).write_bytes(data if damage == "flipped" else data[:-1])
    for place in (copied, copied.parent):
        with pytest.raises(BundleError, match=name):
            load(str(place))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"format": 2}, "newer format; got 2"),
        ({"format": None}, "format"),
        ({"kind": "magic"}, "unknown kind; got 'magic'; expected frozen"),
    ],
)
def test_another_format_or_kind_is_refused(copied, facts, message):
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps(manifest | facts))
    with pytest.raises(BundleError, match=message):
        load(str(copied))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("manifest.json", "{"),
        ("manifest.json", "[]"),
        ("../latest.json", "{"),
        ("../latest.json", "[1]"),
        ("../latest.json", "{}"),
    ],
)
def test_a_damaged_manifest_is_refused(copied, name, text):
    (copied / name).write_text(text)
    with pytest.raises(BundleError, match=Path(name).name):
        load(str(copied.parent))


@pytest.mark.parametrize("place", ["nothing", ""])
def test_where_no_bundle_is_that_is_said(tmp_path, place):
    with pytest.raises(BundleError, match="no bundle there"):
        load(str(tmp_path / place))
    (tmp_path / "latest.json").write_text('{"version": "gone"}')
    with pytest.raises(BundleError, match="cannot be opened"):
        load(str(tmp_path))


# labels


def fit_labels(store, small_run, labels, kind="mean", out="bundle"):
    """A bundle over another label set."""
    file = Path(small_run().output.bundle).parent / f"{out}.parquet"
    write_table(store, str(file), labels.to_table())
    run = small_run(kind, out)
    source = dataclasses.replace(run.source, labels=str(file))
    fit(dataclasses.replace(run, source=source))
    return load(run.output.bundle)


@pytest.mark.parametrize("kind", KINDS)
def test_retired_labels_and_labels_without_text_are_never_answered(store, small_run, kind):
    labels = read_labels(store, str(SMALL / "labels.jsonl"))
    labels = apply(labels, [Retire("garden/pruning"), Reword("garden/pests")])
    tagger = fit_labels(store, small_run, labels, kind)
    everything = ". ".join(text for text in labels.full_texts if text)  # shares a word with every label
    found = tagger.tag([everything], k=60).label_BK[0]
    hidden = {labels.index["garden/pruning"], labels.index["garden/pests"]}
    untrained = set(np.flatnonzero(tagger.train_count_L == 0).tolist()) if kind == "popularity" else set()
    assert set(range(60)) - set(found.tolist()) == hidden | untrained
    assert (found[-2:] == -1).all()
    assert not hidden & set(tagger.search(tagger.encode(TEXTS), 60, np.ones(60, bool)).label_BK.ravel().tolist())


def test_a_label_that_was_retired_when_its_bundle_was_fitted_may_become_active(store, small_run):
    """Nothing is encoded for it: that is why `fit` and `labels embed` encode retired labels, too."""
    labels = read_labels(store, str(SMALL / "labels.jsonl"))
    tagger = fit_labels(store, small_run, apply(labels, [Retire("garden/pruning")]), "dense")
    counting = Counting(tagger.encoder)
    again = dataclasses.replace(tagger, encoder=counting).with_labels(labels)
    assert not counting.asked
    text = labels.full_texts[labels.index["garden/pruning"]]
    assert labels.ids[again.tag([text], k=1).label_BK[0, 0]] == "garden/pruning"


EDITS = [
    Add("new/kites", "Kites", "Building and flying kites on windy days."),
    Reword("garden/pests", "Slugs", "Snails and slugs that eat lettuce."),
    Retire("garden/compost"),
]


class Counting:
    """An encoder that remembers what it encoded."""

    def __init__(self, encoder) -> None:
        self.encoder, self.asked = encoder, []

    def encode(self, texts, prompt=""):
        self.asked += [prompt + text for text in texts]
        return self.encoder.encode(texts, prompt)


@pytest.mark.parametrize("kind", KINDS)
def test_newer_labels_cost_only_what_is_new(mean_bundle, store, small_run, kind):
    run = small_run(kind, labels=LabelSettings(prompt="label: "))
    fit(run)
    old = load(run.output.bundle)
    newer = apply(old.labels, EDITS)
    assert isinstance(old, frozen.FrozenTagger)
    if old.encoder is not None:
        old = dataclasses.replace(old, encoder=Counting(old.encoder))
    tagger = old.with_labels(newer)
    assert tagger.labels.ids[:60] == old.labels.ids
    assert tagger.labels.ids[60:] == ("new/kites",)
    if kind in ("dense", "mean"):
        texts = {newer.full_texts[newer.index[name]] for name in ("new/kites", "garden/pests")}
        assert sorted(old.encoder.asked) == sorted("label: " + text for text in texts)
    query = ["Building and flying kites on windy days. Slugs eat lettuce. Compost and soil from kitchen waste"]
    found = tagger.tag(query, k=61).label_BK[0].tolist()
    assert newer.index["garden/compost"] not in found
    if kind != "popularity":
        assert newer.index["new/kites"] in found[:3]
    assert newer.index["garden/compost"] in old.tag(query, k=60).label_BK[0].tolist()  # the old one stays as it was
    assert len(old.labels) == 60


@pytest.mark.parametrize("kind", ["dense", "popularity"])
def test_newer_labels_equal_a_fresh_fit(store, small_run, kind):
    """TF-IDF and BM25 keep the term weights of the fit, so that no other document's score moves."""
    run = small_run(kind)
    fit(run)
    old = load(run.output.bundle)
    newer = apply(old.labels, EDITS)
    late, fresh = old.with_labels(newer), fit_labels(store, small_run, newer, kind, "fresh")
    assert late.labels.ids == fresh.labels.ids
    assert late.labels.fingerprint == fresh.labels.fingerprint
    ours, theirs = late.tag(TEXTS, 61), fresh.tag(TEXTS, 61)
    assert_same(ours, (theirs.label_BK, theirs.score_BK))
    assert late.train_count_L.tolist() == fresh.train_count_L.tolist()


def test_labels_in_another_order_keep_their_index(mean_bundle):
    tagger = load(mean_bundle)
    table = tagger.labels.to_table().take(pa.array([5, 3, 0]))
    shuffled = LabelSet(*(tuple(table[name].to_pylist()) for name in ("label_id", "title", "text")))
    narrowed = tagger.with_labels(shuffled)
    assert narrowed.labels.ids == tagger.labels.ids
    assert set(narrowed.tag(TEXTS, 5).label_BK.ravel().tolist()) == {0, 3, 5, -1}
    back = narrowed.with_labels(tagger.labels).tag(TEXTS)
    assert_same(back, (tagger.tag(TEXTS).label_BK, tagger.tag(TEXTS).score_BK))


# fit


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"source": SourceSettings()}, r"source\.labels is empty"),
        ({"output": OutputSettings()}, r"output\.bundle is empty"),
        ({"search": SearchSettings(kind="magic")}, r"search\.kind.*popularity"),
        ({"search": SearchSettings(k=-1)}, r"search\.k.*1 to 100"),
        ({"search": SearchSettings(k=101)}, r"search\.k.*1 to 100"),
        ({"labels": LabelSettings(encoder="other")}, r"labels\.encoder"),
        ({"method": "magic"}, "method; got 'magic'; expected blend, frozen"),
    ],
)
def test_wrong_settings_are_refused_before_any_work(small_run, tmp_path, parts, message):
    with pytest.raises(SettingsError, match=message):
        fit(small_run(**parts))
    assert list(tmp_path.iterdir()) == []


def test_without_documents_no_label_is_trained(small_run):
    run = small_run()
    fitted = fit(dataclasses.replace(run, source=SourceSettings(labels=run.source.labels)))
    tagger = load(run.output.bundle)
    assert fitted.trained_labels == tagger.train_count_L.sum() == tagger.manifest["train_documents"] == 0
    assert tagger.tag(["pruning"]).label_BK[0, 0] == tagger.labels.index["garden/pruning"]


@pytest.mark.parametrize(
    ("splits", "trained"), [([None, None, "train", "test"], 1), ([None] * 4, 4), (["train", None, "test", None], 1)]
)
def test_what_is_training_does_not_hang_on_the_files(small_run, tmp_path, splits, trained):
    """Documents without a split are for training only where no document of the corpus has one."""
    folder = tmp_path / "documents"
    folder.mkdir()
    for number, split in enumerate(splits):
        rows = {"doc_id": [f"d{number}"], "text": [f"words{number}"], "labels": [["garden/pruning"]]}
        table = pa.table({**rows, "split": pa.array([split], pa.string())})
        pq.write_table(table, folder / f"{number}.parquet")
    run = small_run()
    fit(dataclasses.replace(run, source=dataclasses.replace(run.source, documents=str(folder))))
    tagger = load(run.output.bundle)
    assert tagger.manifest["train_documents"] == trained
    assert tagger.manifest["trained_labels"] == {"garden/pruning": trained}
    known = {f"words{number}" for number in range(4)} & set(tagger.vocabulary.terms)
    assert len(known) == trained


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tfidf", "popularity", "mean"])
def test_a_bundle_without_a_transformer_needs_no_torch(small_run, kind):
    run = small_run(kind)
    fit(run)
    code = f"""
import sys, raytagger
tagger = raytagger.load({run.output.bundle!r})
assert tagger.tag(["pruning apple trees"]).label_BK[0, 0] >= 0
print(sorted({{"torch", "transformers", "sentence_transformers", "ray"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_written_manifest_lists_what_is_there(tmp_path):
    (tmp_path / "a").write_text("x")
    write_manifest(tmp_path, {"kind": "frozen"})
    (tmp_path / "a").write_text("y")
    with pytest.raises(Exception, match="altered"):
        check_files(tmp_path, json.loads((tmp_path / "manifest.json").read_text())["files"])
