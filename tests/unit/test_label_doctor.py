"""The label doctor: its findings on texts made ill, its arrays and its effect against plain loops."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from typer.testing import CliRunner

from raytagger.bundle import load
from raytagger.cli import app
from raytagger.corpus import LabelSet
from raytagger.corpus.limit import RejectLimit
from raytagger.corpus.output import SMALL, write_table
from raytagger.doctor import effect as effect_module
from raytagger.doctor.effect import FIGURES, measure_effect, zero_shot_documents
from raytagger.doctor.labels import ILL, REMEDIES, LabelFinding, check_labels, words_of
from raytagger.doctor.neighbours import find_hubs, nearest_labels
from raytagger.doctor.told import WORST, worst
from raytagger.encoders import load_encoder
from raytagger.errors import CorpusError, RejectsError, SettingsError
from raytagger.evaluate import Asked, evaluate
from raytagger.schema import PAD
from raytagger.settings import SourceSettings
from raytagger.store import Store
from tests.corpora import STATIC, small_bundle

HEALTHY = {
    "bread": ("Bread", "Kneading, proving and baking loaves of wheat and rye."),
    "stars": ("Stars", "Watching the night sky through a telescope."),
    "tax": ("Income tax", "What a household owes the state, and by when."),
    "knots": ("Knots", "Tying ropes on a boat so that they hold and come undone."),
}
SOURCE = SourceSettings(documents=str(SMALL / "docs.jsonl"), labels=str(SMALL / "labels.jsonl"))
SPLITS = ("test", "zeroshot")


def label_set(texts, **more):
    """A label set from id -> (title, text)."""
    titles, bodies = zip(*texts.values(), strict=True)
    return LabelSet(tuple(texts), titles, bodies, **more)


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(STATIC, Store())


@pytest.fixture(scope="module")
def check(encoder):
    def run(texts, similar=0.95, **more):
        return check_labels(label_set(texts, **more), encoder, similar)

    return run


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return small_bundle(str(tmp_path_factory.mktemp("bundle") / "frozen"))


def found(report, kind):
    """Findings of a kind as (label, other)."""
    return [(one.label_id, one.other) for one in report.findings if one.kind == kind]


# arrays

vectors = hnp.arrays(
    np.float32,
    st.tuples(st.integers(0, 20), st.integers(1, 3)),
    elements=st.integers(-2, 2).map(np.float32),  # whole numbers: products are exact, and ties are many
)


@given(vectors, st.integers(1, 12))
def test_the_nearest_labels_are_those_of_plain_loops(vector_LD, k):
    nearest = nearest_labels(vector_LD, k)
    assert nearest.label_BK.shape == (len(vector_LD), k)
    for label, vector in enumerate(vector_LD):
        ranked = sorted((-float(vector @ other), index) for index, other in enumerate(vector_LD) if index != label)
        expected = [index for _, index in ranked[:k]]
        assert nearest.label_BK[label].tolist() == expected + [PAD] * (k - len(expected))
        assert nearest.score_BK[label, : len(expected)].tolist() == [-value for value, _ in ranked[:k]]


def test_more_labels_than_a_slab_holds():
    vector_LD = np.random.default_rng(0).normal(size=(2100, 8)).astype(np.float32)
    nearest = nearest_labels(vector_LD, 3)
    product_LL = vector_LD @ vector_LD.T
    np.fill_diagonal(product_LL, -np.inf)
    np.testing.assert_allclose(nearest.score_BK, -np.sort(-product_LL, axis=1)[:, :3], rtol=1e-5)
    assert not (nearest.label_BK == np.arange(2100)[:, None]).any()


def unit(vector_LD):
    return (vector_LD / np.linalg.norm(vector_LD, axis=1, keepdims=True)).astype(np.float32)


def test_what_is_like_everything_is_a_hub():
    vector_LD = np.random.default_rng(0).normal(size=(300, 200)) + 0.3
    vector_LD[7] = 0.3  # the mean of all, and nothing of its own
    vector_LD = unit(vector_LD)
    hubs = find_hubs(nearest_labels(vector_LD), vector_LD)
    assert hubs.count_L[7] > 250
    assert hubs.count_L.sum() == 300 * 10
    assert np.flatnonzero(hubs.hub_L).tolist() == [7]


def test_the_centre_of_a_crowded_corner_is_no_hub():
    rng = np.random.default_rng(0)
    crowd_D, rest_D = np.eye(100)[0], np.eye(100)[1]
    corner = crowd_D + 0.06 * rng.normal(size=(60, 100))
    corner[0] = crowd_D
    vector_LD = unit(np.concatenate([corner, rest_D + 0.2 * rng.normal(size=(500, 100))]))
    hubs = find_hubs(nearest_labels(vector_LD), vector_LD)
    assert hubs.count_L[0] > hubs.count_L.mean() + 3 * hubs.count_L.std()
    assert not hubs.hub_L[0]


@pytest.mark.parametrize(("labels", "is_hub"), [(49, False), (50, True)])
def test_of_few_labels_none_is_a_hub(labels, is_hub):
    vector_LD = np.random.default_rng(0).normal(size=(labels, 200)) + 0.3
    vector_LD[7] = 0.3
    vector_LD = unit(vector_LD)
    hubs = find_hubs(nearest_labels(vector_LD), vector_LD)
    assert hubs.count_L[7] == labels - 1
    assert hubs.hub_L[7] == is_hub


# findings


def test_a_healthy_set_has_no_findings(check):
    report = check(HEALTHY)
    assert report.findings == ()
    assert report.labels == len(HEALTHY)
    assert report.counts == dict.fromkeys(REMEDIES, 0)


def test_texts_without_a_word_are_empty(check):
    report = check(
        HEALTHY | {"nothing": ("", ""), "dashes": ("--", "…"), "bare": ("", "A text, and no title at all.")}
    )
    assert found(report, "empty") == [("nothing", ""), ("dashes", "")]
    assert report.flagged() == {"nothing", "dashes"}


def test_the_same_text_but_for_case_and_spaces_is_a_duplicate(check):
    again = {
        "first": ("Red  Wine", "From grapes."),
        "Second": ("red wine", "FROM grapes."),
        "3": ("Red Wine", "From\tgrapes."),
    }
    report = check(again | HEALTHY)
    assert found(report, "duplicate") == [("Second", "first"), ("3", "first")]
    assert report.counts["duplicate"] == 3
    assert found(report, "similar") == []


def test_similar_texts_are_a_pair_each_the_nearest_first(check, encoder):
    texts = HEALTHY | {
        "loaves": ("Bread", "Kneading, proving and baking loaves of wheat and of rye."),
        "sky": ("Stars", "Watching the night sky through telescopes."),
    }
    report = check(texts, similar=0.8)
    assert set(found(report, "similar")) == {("loaves", "bread"), ("sky", "stars")}
    pairs = [one for one in report.findings if one.kind == "similar"]
    full = dict(zip(texts, label_set(texts).full_texts, strict=True))
    for one in pairs:
        left_D, right_D = encoder.encode([full[one.label_id], full[one.other]]).vector_BD
        assert one.cosine == pytest.approx(float(left_D @ right_D), abs=1e-3)
    assert pairs[0].cosine > pairs[1].cosine
    between = (pairs[0].cosine + pairs[1].cosine) / 2
    assert found(check(texts, similar=between), "similar") == [(pairs[0].label_id, pairs[0].other)]


@pytest.mark.parametrize("similar", [0.0, -1.0, 1.5, float("nan")])
def test_a_threshold_that_no_cosine_has_is_refused(check, similar):
    with pytest.raises(SettingsError, match="cosine"):
        check(HEALTHY, similar=similar)


def test_a_text_of_common_words_alone_is_uninformative(check):
    template = {word: (f"Things about {word}", "") for word in ("wool", "iron", "salt", "wine", "coal", "silk")}
    report = check(template | {"vague": ("About things", "")})
    assert found(report, "uninformative") == [("vague", "")]
    assert "a fifth" in next(one.detail for one in report.findings if one.kind == "uninformative")


def test_long_short_and_bare_labels_are_advice(check):
    long_text = "The first word of many that follow. " * 40
    texts = {
        "long": ("Long", long_text),
        "word": ("Iron", "iron"),
        "c": ("C", ""),
        "title": ("Salt and pepper", ""),
    }
    report = check(HEALTHY | texts)
    assert found(report, "cut") == [("long", "")]
    assert found(report, "short") == [("word", ""), ("c", "")]
    assert found(report, "title_only") == [("word", ""), ("c", ""), ("title", "")]
    assert report.flagged() == set()
    assert report.flagged(["cut", "short"]) == {"long", "word", "c"}


def test_retired_labels_are_not_looked_at(check):
    texts = HEALTHY | {"nothing": ("", ""), "loaf": HEALTHY["bread"]}
    report = check(texts, status=("active",) * len(HEALTHY) + ("retired",) * 2)
    assert report.findings == ()
    assert report.labels == len(HEALTHY)


@pytest.mark.parametrize("texts", [{"only": ("Bread", "Loaves of wheat.")}, {"only": ("", "")}], ids=str)
def test_a_set_of_one_label(check, texts):
    assert len(check(texts).findings) == (texts["only"] == ("", ""))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Wi-Fi, 5G!", ["wi", "fi", "5g"]),
        ("snake_case", ["snake", "case"]),
        ("IT技術", ["it", "技", "術"]),
        ("हिन्दी किताबें", ["हिन्दी", "किताबें"]),
        ("ที่นี่ ๒๕", ["ที่", "นี่", "๒๕"]),
        ("Donau\u00addampf cafe\u0301", ["donaudampf", "caf\u00e9"]),
        ("—", []),
    ],
)
def test_words(text, words):
    assert words_of(text) == words


def test_the_worst_shown_are_of_each_harmful_kind():
    kinds = ["empty"] * 30 + ["similar"] * 3 + ["short"] * 30
    findings = [LabelFinding(str(row), kind, "") for row, kind in enumerate(kinds)]
    shown = worst(findings)
    assert [one.label_id for one in shown] == [*map(str, range(17)), "30", "31", "32"]
    assert len(shown) == WORST
    advice = worst(findings[30:])
    assert [one.kind for one in advice] == ["similar"] * 3 + ["short"] * 17


# the effect


def plain_recall(tagger, table, out, only_unseen, k, keep_flagged_gold=False, keep_flagged_candidates=False):
    """Recall of unseen gold per document by loops over whole rankings; nan without gold that is left."""
    unseen = {name for name, seen in zip(tagger.labels.ids, tagger.labels.seen, strict=True) if not seen}
    ranking = tagger.tag(table["text"].to_pylist(), len(tagger.labels)).label_BK
    values = []
    for row, labels in zip(ranking, table["labels"].to_pylist(), strict=True):
        gold = (set(labels) & unseen) - (set() if keep_flagged_gold else out)
        names = [tagger.labels.ids[label] for label in row if label != PAD]
        names = [name for name in names if keep_flagged_candidates or name not in out]
        names = [name for name in names if not only_unseen or name in unseen][:k]
        values.append(len(gold.intersection(names)) / len(gold) if gold else np.nan)
    return np.array(values)


def test_the_effect_is_that_of_plain_loops(bundle):
    tagger = load(bundle)
    tables = list(zero_shot_documents(Store(), SOURCE, SPLITS))
    table = pa.concat_tables(tables)
    out = {"garden/ponds", "weather/drought", "sailing/racing"}
    some_L = tagger.labels.mask([*out, "garden/pruning"])  # a seen label stays
    (effect,) = measure_effect(tagger, tables, {"ill": some_L}).effects
    assert (effect.left_out, effect.labels) == ("ill", 3)
    for figure, k in FIGURES.items():
        of_unseen = figure.startswith("UR")
        after = plain_recall(tagger, table, out, of_unseen, k)
        kept = np.isfinite(after)
        before = plain_recall(tagger, table, out, of_unseen, k, True, True)[kept]
        same = plain_recall(tagger, table, out, of_unseen, k, False, True)[kept]
        change = effect.changes[figure]
        assert effect.documents == kept.sum() > 0
        assert change.before == pytest.approx(before.mean())
        assert change.after == pytest.approx(after[kept].mean())
        assert change.difference.value == pytest.approx(after[kept].mean() - before.mean())
        assert change.others.value == pytest.approx(after[kept].mean() - same.mean())
        assert change.difference.low <= change.difference.value <= change.difference.high
    assert effect.changes["UR@1"].others.value > 0  # so that a difference of nothing would not pass


def test_a_document_that_cannot_be_tagged_is_left_out_and_counted(faulty):
    tagger = load(faulty)
    (table,) = zero_shot_documents(Store(), SOURCE, SPLITS)
    texts = [f"RAISE {text}" if row == 5 else text for row, text in enumerate(table["text"].to_pylist())]
    spoilt = table.set_column(table.column_names.index("text"), "text", pa.array(texts))
    flagged = {"ill": tagger.labels.mask(["garden/ponds"])}
    limit = RejectLimit(SourceSettings(max_reject_share=0.1))
    measured = measure_effect(tagger, [spoilt], flagged, limit=limit)
    others = pa.concat_tables([table.slice(0, 5), table.slice(6)])
    assert measured.effects == measure_effect(tagger, [others], flagged).effects
    assert (measured.looked.documents, measured.looked.rejected) == (len(table) - 1, 1)
    with pytest.raises(RejectsError, match="ValueError: the tokenizer does not like"):
        measure_effect(tagger, [spoilt], flagged)


def test_labels_drawn_by_lot_gain_what_labels_gain(bundle):
    """All unseen labels but one are left out: a draw is the trial itself or another label that is left."""
    tagger = load(bundle)
    unseen = [name for name, seen in zip(tagger.labels.ids, tagger.labels.seen, strict=True) if not seen]
    tables = list(zero_shot_documents(Store(), SOURCE, SPLITS))
    flagged = {name: tagger.labels.mask(set(unseen) - {name}) for name in unseen}
    effects = measure_effect(tagger, tables, flagged).effects
    for figure in FIGURES:
        gains = [effect.changes[figure].others.value for effect in effects]
        drawn = effects[0].changes[figure].by_lot
        assert all(any(end == pytest.approx(gain) for gain in gains) for end in (drawn.low, drawn.high))
        assert drawn.low <= drawn.value <= drawn.high
    assert effects[0].changes["UR@1"].by_lot.high > 0
    assert effects == measure_effect(tagger, tables, flagged).effects


def test_a_ranking_of_which_too_little_is_left_is_made_anew(bundle, monkeypatch):
    tagger = load(bundle)
    tables = list(zero_shot_documents(Store(), SOURCE, SPLITS))
    flagged = {"ill": tagger.labels.mask(["garden/ponds", "weather/drought"])}
    deep = measure_effect(tagger, tables, flagged)
    monkeypatch.setattr(effect_module, "DEPTH", 10)
    assert measure_effect(tagger, tables, flagged) == deep


def test_the_figures_before_are_those_of_evaluate(bundle):
    """Where no document holds the label that is left out, all of the evaluation's documents are compared."""
    tagger = load(bundle)
    old = tagger.labels
    twin = old.index["garden/ponds"]
    columns = {name: getattr(old, name) for name in ("titles", "texts", "parents", "status", "seen")}
    more = {name: (*values, values[twin]) for name, values in columns.items()}
    tagger = tagger.with_labels(LabelSet((*old.ids, "garden/pools"), **more))
    figures = evaluate(tagger, Store(), SOURCE, Asked())
    flagged = {"duplicate": tagger.labels.mask(["garden/pools"])}
    (effect,) = measure_effect(tagger, zero_shot_documents(Store(), SOURCE, SPLITS), flagged).effects
    assert effect.labels == 1
    for figure, change in effect.changes.items():
        assert change.before == pytest.approx(figures[figure])
        assert change.difference.value == change.others.value >= 0


def test_seen_labels_have_no_effect(bundle):
    tagger = load(bundle)
    flagged = {"ill": tagger.labels.mask(["garden/pruning"])}
    assert measure_effect(tagger, zero_shot_documents(Store(), SOURCE, SPLITS), flagged).effects == []


def test_without_other_unseen_gold_there_is_no_figure(bundle):
    tagger = load(bundle)
    flagged = {"ill": np.ones(len(tagger.labels), bool)}
    (effect,) = measure_effect(tagger, zero_shot_documents(Store(), SOURCE, SPLITS), flagged).effects
    assert (effect.labels, effect.documents, effect.changes) == (10, 0, {})


def test_documents_without_unseen_gold_are_refused(bundle):
    tagger = load(bundle)
    flagged = {"ill": tagger.labels.mask(["garden/ponds"])}
    with pytest.raises(CorpusError, match="no document has an unseen gold label"):
        measure_effect(tagger, zero_shot_documents(Store(), SOURCE, ("train",)), flagged)


def test_which_documents_are_measured():
    def count(*arguments):
        return sum(map(len, zero_shot_documents(Store(), SOURCE, *arguments)))

    assert count(("test", "zeroshot")) == 63 + 32
    assert count(("Test",)) == 63
    assert count(None) == 63 + 32
    assert count(("test", "zeroshot"), 40) == 40 + 32
    with pytest.raises(CorpusError, match=r"'tets'; expected train \(\d+\), .*test \(63\).*--zero-shot-split"):
        count(("test", "tets"))


def test_documents_without_splits_are_all_measured(tmp_path):
    place = str(tmp_path / "docs.parquet")
    write_table(Store(), place, pa.table({"doc_id": ["a", "b"], "text": ["one", "two"], "labels": [["x"], ["y"]]}))
    tables = zero_shot_documents(Store(), SourceSettings(documents=place), None)
    assert sum(map(len, tables)) == 2


# the command


def run(*arguments):
    return CliRunner().invoke(app, ["labels", "check", *map(str, arguments)])


ENCODER = ("--encoder", "wordllama", "--encoder-kind", "static")


@pytest.fixture
def ill_file(tmp_path):
    """The small corpus's labels, with an unseen label that doubles another unseen one."""
    rows = [json.loads(line) for line in (SMALL / "labels.jsonl").read_text().splitlines()]
    ponds = next(row for row in rows if row["label_id"] == "garden/ponds")
    path = tmp_path / "labels.jsonl"
    path.write_text("\n".join(map(json.dumps, [*rows, ponds | {"label_id": "garden/pools"}])))
    return path


def test_the_command_tells_what_it_found_and_what_it_costs(ill_file, bundle):
    asked = (ill_file, *ENCODER, "--bundle", bundle, "--documents", SMALL / "docs.jsonl")
    told = run(*asked)
    assert told.exit_code == 0, told.output
    assert "61 labels" in told.stdout
    assert "garden/pools: the same text as garden/ponds" in told.stdout
    assert REMEDIES["duplicate"] in told.stdout
    assert "UR@1" in told.stdout
    result = json.loads(run(*asked, "--json").stdout)
    assert result["n_labels"] == 61
    assert result["counts"]["duplicate"] == 2
    assert set(result["counts"]) == set(REMEDIES) > set(ILL)
    (duplicate,) = (one for one in result["findings"] if one["kind"] == "duplicate")
    assert (duplicate["label_id"], duplicate["other"]) == ("garden/pools", "garden/ponds")
    assert duplicate["remedy"]
    effect = next(one for one in result["effects"] if one["left_out"] == "duplicate")
    assert effect["labels"] == 2
    assert effect["changes"]["ZSR@10"]["after"] > 0


def test_the_command_without_a_bundle_measures_nothing(ill_file):
    result = json.loads(run(ill_file, *ENCODER, "--json").stdout)
    assert result["effects"] is None
    assert result["findings"]
    assert "UR@1" not in run(ill_file, *ENCODER).stdout


def test_the_command_says_that_no_ill_label_is_unseen(tmp_path, bundle):
    rows = [json.loads(line) | {"seen": True} for line in (SMALL / "labels.jsonl").read_text().splitlines()]
    path = tmp_path / "labels.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    told = run(path, *ENCODER, "--bundle", bundle, "--documents", SMALL / "docs.jsonl")
    assert told.exit_code == 0, told.output
    assert "No label with a finding is unseen" in told.stdout


def test_the_command_tells_of_the_documents_whatever_it_finds(tmp_path):
    """Of a healthy label set, too: that the documents are blank, or name other labels, is worth more."""
    rows = [json.loads(line) for line in (SMALL / "docs.jsonl").read_text().splitlines()]
    rows = [{**row, "split": "test"} for row in rows][:40]
    for row in rows[:10]:
        row["text"] = "ⵣⵣⵣ ꙮꙮ"
    for row in rows[5:20]:
        row["labels"] = ["another/label"]
    documents, labels = tmp_path / "docs.jsonl", tmp_path / "labels.jsonl"
    documents.write_text("\n".join(map(json.dumps, rows)))
    seen = [json.loads(line) | {"seen": True} for line in (SMALL / "labels.jsonl").read_text().splitlines()]
    labels.write_text("\n".join(map(json.dumps, seen)))
    bundle = small_bundle(str(tmp_path / "bundle"), "tfidf")
    for file in (labels, SMALL / "labels.jsonl"):
        asked = (file, *ENCODER, "--bundle", bundle, "--documents", documents)
        told = run(*asked).stdout
        assert "documents: 40, 15 without a known gold label, 25.0 % blank" in told
        assert "warning: 25.0 % of the documents are blank" in told
        looked = json.loads(run(*asked, "--json").stdout)["documents"]
        assert looked == {"documents": 40, "blank": 10, "without_gold": 15, "rejected": 0, "share_blank": 0.25}


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (("--bundle", "x"), 2, "both or neither"),
        (("--documents", "x"), 2, "both or neither"),
        (("--similar", "2"), 2, "cosine"),
        (("--bundle", "no-bundle", "--documents", "x"), 1, "no bundle there"),
        (("--encoder-kind", "psychic"), 2, "encoder.kind is unknown"),
    ],
    ids=str,
)
def test_what_the_command_refuses(ill_file, more, code, message):
    result = run(ill_file, *ENCODER, *more)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert result.stdout == ""
