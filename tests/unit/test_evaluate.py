"""`evaluate` against plain loops over a hand-made corpus."""

import dataclasses
import json
import math
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raytagger.bundle import load
from raytagger.compare import evaluate_beside
from raytagger.corpus import LabelSet
from raytagger.corpus.output import SMALL
from raytagger.errors import BundleError, CorpusError, RejectsError
from raytagger.evaluate import Asked, Yardstick, evaluate, gather, gold_matrix
from raytagger.progress import silent
from raytagger.recipes.fit import fit
from raytagger.settings import FitRun, OutputSettings, SearchSettings, SourceSettings
from raytagger.tables import figure_lines
from tests.calibrated import RARE, UNSEEN, drawn_documents, knowing_tagger, overstated

WORDS = ["apple", "bread", "cider", "dough", "eggs", "flour", "grape", "honey", "icing", "juice", "kale", "lemon"]
# The keys of DESIGN's list; none may be absent.
KEYS = [
    *("P@1", "P@3", "P@5", "R@5", "R@10", "nDCG@5", "PSP@1", "PSP@3", "PSP@5", "micro_F1", "macro_F1"),
    *("ECE_seen", "ECE_unseen", "ZSR@10", "ZSR@50", "ZSR@100", "UR@1", "UR@5", "chance_ZSR@10"),
    *("n_documents", "n_without_gold", "n_unknown_gold", "n_labels", "n_unseen_labels", "n_unseen_pairs"),
    "documents_per_s",
]
GROUPS = ("seen", "rare", "unseen", "unseen_zero_shot")
CALIBRATION = [*(f"{figure}_{group}" for figure in ("ECE", "Brier", "n_pairs") for group in GROUPS), "reliability"]


def make_documents(seed=0, count=90, splits=("train", "test", "zeroshot", "other")):
    """Documents of random words; a gold label is mostly one of its words; the last three never in training."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        words = rng.choice(WORDS, rng.integers(2, 7)).tolist()
        split = splits[number % len(splits)] if splits else None
        known = WORDS[:9] if split == "train" else WORDS
        gold = [f"l-{word}" for word in words if word in known and rng.random() < 0.7]
        if number % 7 == 3:
            gold = []
        if number % 11 == 5:
            gold += ["l-nowhere", "l-nowhere"]
        if number % 13 == 2:
            gold.append(f"l-{rng.choice(known)}")
        labels = None if number % 17 == 7 else gold
        rows.append({"doc_id": f"d{number}", "text": " ".join(words), "labels": labels, "split": split})
    for number, row in enumerate(rows):
        row["source"] = None if number % 10 == 9 else f"s{number % 6}"
    return rows


def write(path, rows):
    schema = [("doc_id", pa.string()), ("text", pa.string()), ("labels", pa.list_(pa.string()))]
    schema += [("split", pa.string()), ("source", pa.string())]
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(schema)), path)
    return str(path)


def make_labels(seen=None):
    table = {"label_id": [f"l-{word}" for word in WORDS], "title": WORDS}
    return table if seen is None else {**table, "seen": seen}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Documents, labels with and without `seen`, and a TF-IDF bundle over each."""
    folder = tmp_path_factory.mktemp("evaluate")
    write(folder / "docs.parquet", make_documents())
    flagged = [word not in ("apple", "lemon") for word in WORDS]
    for name, labels in (("plain", make_labels()), ("flagged", make_labels(flagged))):
        pq.write_table(pa.table(labels), folder / f"{name}-labels.parquet")
        source = SourceSettings(
            documents=str(folder / "docs.parquet"),
            labels=str(folder / f"{name}-labels.parquet"),
            columns=("source",),
        )
        search = SearchSettings(kind="tfidf", k=3, threshold=0.2)
        fit(FitRun(source=source, search=search, output=OutputSettings(str(folder / name))))
    return folder


def measure(folder, store, name="plain", documents="docs.parquet", columns=("source",), **asked):
    source = SourceSettings(documents=str(folder / documents), columns=columns)
    return evaluate(load(str(folder / name)), store, source, Asked(**asked))


def ranking(tagger, text, allowed=None):
    found = tagger.search(tagger.encode([text]), 100, allowed)
    return [
        (tagger.labels.ids[label], score)
        for label, score in zip(found.label_BK[0], found.score_BK[0], strict=True)
        if label != -1
    ]


def mean(values):
    return sum(values) / len(values) if values else None


def discounted(hits):
    return sum(hit / math.log2(place + 2) for place, hit in enumerate(hits))


def naive(tagger, rows, split, zero_shot, unseen):
    """Every figure by loops."""
    ids = tagger.labels.ids
    per = {name: [] for name in (*(f"P@{k}" for k in (1, 3, 5)), "R@5", "R@10", "nDCG@5")}
    zero = {name: [] for name in ("ZSR@10", "ZSR@50", "ZSR@100", "UR@1", "UR@5")}
    gain, best = dict.fromkeys((1, 3, 5), 0.0), dict.fromkeys((1, 3, 5), 0.0)
    counts = dict(zip(ids, tagger.train_count_L.tolist(), strict=True))
    c = (math.log(tagger.manifest["train_documents"]) - 1) * 2.5**0.55
    weight = {label: 1 + c * math.exp(-0.55 * math.log(counts[label] + 1.5)) for label in ids}
    n_documents = without = unknown = pairs = 0
    true, given, wanted = dict.fromkeys(ids, 0), dict.fromkeys(ids, 0), dict.fromkeys(ids, 0)
    for row in rows:
        asked = set(row["labels"] or ())
        gold = asked & set(ids)
        ranked = ranking(tagger, row["text"])
        order = [label for label, _ in ranked]
        if not split or row["split"] == split:
            unknown += len(asked - set(ids))
            without += not gold
            if gold:
                n_documents += 1
                for k in (1, 3, 5):
                    per[f"P@{k}"].append(len(gold & set(order[:k])) / k)
                    gain[k] += sum(weight[label] for label in order[:k] if label in gold) / k
                    best[k] += sum(sorted((weight[label] for label in gold), reverse=True)[:k]) / k
                for k in (5, 10):
                    per[f"R@{k}"].append(len(gold & set(order[:k])) / len(gold))
                hits = [label in gold for label in order[:5]]
                per["nDCG@5"].append(discounted(hits) / discounted([1] * min(5, len(gold))))
                tags = {label for label, score in ranked[:3] if score >= 0.2}
                for label in ids:
                    true[label] += label in tags & gold
                    given[label] += label in tags
                    wanted[label] += label in gold
        if (not split or row["split"] in zero_shot) and gold & unseen:
            pairs += len(gold & unseen)
            allowed = np.array([label in unseen for label in ids])
            only = [label for label, _ in ranking(tagger, row["text"], allowed)]
            for k in (10, 50, 100):
                zero[f"ZSR@{k}"].append(len(gold & unseen & set(order[:k])) / len(gold & unseen))
            for k in (1, 5):
                zero[f"UR@{k}"].append(len(gold & unseen & set(only[:k])) / len(gold & unseen))
    f1 = [2 * true[label] / (given[label] + wanted[label]) for label in ids if given[label] + wanted[label]]
    return {
        **{name: mean(values) for name, values in (per | zero).items()},
        **{f"PSP@{k}": gain[k] / best[k] for k in (1, 3, 5)},
        "micro_F1": 2 * sum(true.values()) / (sum(given.values()) + sum(wanted.values())),
        "macro_F1": mean(f1),
        "chance_ZSR@10": min(1, 10 / len(ids)) if unseen else None,
        "n_documents": n_documents,
        "n_without_gold": without,
        "n_unknown_gold": unknown,
        "n_labels": len(ids),
        "n_unseen_labels": len(unseen),
        "n_unseen_pairs": pairs,
    }


def untrained(rows):
    trained = {label for row in rows if row["split"] == "train" for label in row["labels"] or ()}
    return {f"l-{word}" for word in WORDS} - trained


def assert_equal(figures, expected):
    for name, value in expected.items():
        assert figures[name] == (value if value is None else pytest.approx(value, abs=1e-9)), name
    assert figures["documents_per_s"] > 0
    assert all(figures[name] is None for name in CALIBRATION)  # a frozen bundle is not calibrated
    assert set(KEYS) <= set(figures)
    json.dumps(figures, allow_nan=False)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("plain", {}),
        ("plain", {"split": "other"}),
        ("plain", {"split": "train"}),
        ("plain", {"zero_shot_splits": ("zeroshot",)}),
        ("plain", {"zero_shot_splits": ("other",)}),
        ("plain", {"zero_shot_splits": ()}),
        ("flagged", {}),
    ],
)
def test_every_figure_equals_a_loop(folder, store, name, asked):
    rows = make_documents()
    unseen = untrained(rows) | ({"l-apple", "l-lemon"} if name == "flagged" else set())
    assert unseen
    figures = measure(folder, store, name, **asked)
    expected = naive(
        load(str(folder / name)),
        rows,
        asked.get("split", "test"),
        asked.get("zero_shot_splits", ("test", "zeroshot")),
        unseen,
    )
    assert_equal(figures, expected)
    assert figures["split"] == asked.get("split", "test")
    assert expected["n_without_gold"] > 0
    assert (expected["ZSR@10"] is None) == (asked.get("zero_shot_splits") == ())


def test_what_is_counted_is_there_to_count(folder, store):
    figures = measure(folder, store)
    assert figures["n_unknown_gold"] > 0
    assert figures["n_unseen_pairs"] > 0
    assert 0 < figures["P@1"] < 1
    assert 0 < figures["UR@1"] < 1


def test_gold_labels_that_filter_labels_leaves_out_are_told(tmp_path, store):
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("trn.json", "tst.json"):
        rows = [
            {"uid": f"{name}{row}", "title": "apple bread", "content": "", "target_ind": [0, 1]} for row in range(4)
        ]
        (docs / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (docs / "lbl.json").write_text('{"title": "apple"}\n{"title": "bread"}\n')
    (docs / "filter_labels_train.txt").write_text("0 0\n")
    source = SourceSettings(documents=str(docs), labels=str(docs / "lbl.json"), label_format="xmc-json")
    search = SearchSettings(kind="tfidf", k=2)
    fit(FitRun(source=source, search=search, output=OutputSettings(str(tmp_path / "bundle"))))
    tagger = load(str(tmp_path / "bundle"))
    assert "filter_labels" not in "\n".join(figure_lines(evaluate(tagger, store, source, Asked())))
    (docs / "filter_labels_test.txt").write_text("0 1\n2 0\n2 1\n")
    figures = evaluate(tagger, store, source, Asked())
    assert (figures["split"], figures["n_filtered_gold"]) == ("test", 3)
    assert "3 gold labels by filter_labels" in "\n".join(figure_lines(figures))


def test_without_splits_all_documents_count(folder, store):
    rows = make_documents(splits=())
    write(folder / "flat.parquet", rows)
    tagger = load(str(folder / "plain"))
    figures = measure(folder, store, documents="flat.parquet")
    assert_equal(figures, naive(tagger, rows, "", (), untrained(make_documents())))
    assert figures["split"] is None
    with pytest.raises(CorpusError, match="the split does not exist"):
        measure(folder, store, documents="flat.parquet", split="test")


@pytest.mark.parametrize("asked", [{"zero_shot_splits": ("test", "zeroshto")}, {"split": "tets"}])
def test_splits_that_are_named_must_exist(folder, store, asked):
    with pytest.raises(CorpusError, match=r"(zeroshto|tets)'; expected .*test \(\d+\)"):
        measure(folder, store, **asked)


def test_zero_shot_splits_are_taken_in_any_case(folder, store):
    asked, shouted = (measure(folder, store, zero_shot_splits=(name,)) for name in ("zeroshot", " ZeroShot"))
    assert asked["n_unseen_pairs"] > 0
    assert (shouted["n_unseen_pairs"], shouted["ZSR@10"]) == (asked["n_unseen_pairs"], asked["ZSR@10"])


def test_a_split_that_is_absent_is_an_error(folder, store):
    there = r"test \(23\), train \(23\), other \(22\), zeroshot \(22\)"
    with pytest.raises(CorpusError, match=f"got 'tset'; expected {there}"):
        measure(folder, store, split="tset")
    write(folder / "no-test.parquet", make_documents(splits=("train", "dev")))
    with pytest.raises(CorpusError, match=r"no split test.*--split"):
        measure(folder, store, documents="no-test.parquet")


def test_nothing_to_measure_is_an_error(folder, store):
    rows = [{**row, "labels": ["l-nowhere"]} for row in make_documents()]
    write(folder / "strange.parquet", rows)
    with pytest.raises(CorpusError, match=r"no document to evaluate on.*without a known gold label"):
        measure(folder, store, documents="strange.parquet")


@pytest.mark.parametrize("limit", [1, 5, 1000])
def test_a_limit_takes_the_first_of_each_split(folder, store, limit):
    rows = make_documents()
    kept = [row for name in ("test", "zeroshot") for row in [row for row in rows if row["split"] == name][:limit]]
    expected = naive(load(str(folder / "plain")), kept, "test", ("test", "zeroshot"), untrained(rows))
    assert_equal(measure(folder, store, limit=limit), expected)


def test_the_cuts_of_the_corpus_do_not_matter(folder, store):
    parts = folder / "parts"
    parts.mkdir()
    rows = make_documents()
    for start in range(0, len(rows), 7):
        write(parts / f"{start:03}.parquet", rows[start : start + 7])
    whole, cut = measure(folder, store, group="source"), measure(folder, store, documents="parts", group="source")
    for name in [*KEYS, "intervals"]:
        if name != "documents_per_s":
            assert whole[name] == (
                pytest.approx(cut[name], abs=1e-9) if isinstance(cut[name], float) else cut[name]
            )


def test_intervals_draw_groups(folder, store):
    """A single group has no spread; documents without a group stand alone; the figure lies in its interval."""
    single = measure(folder, store)
    grouped = measure(folder, store, group="source")
    for name in ("nDCG@5", "ZSR@10", "UR@1"):
        for figures in (single, grouped):
            low, high = figures["intervals"][name]
            assert low <= figures[name] <= high
    assert grouped["nDCG@5"] == single["nDCG@5"]
    assert grouped["intervals"] != single["intervals"]
    rows = [{**row, "source": "one"} for row in make_documents()]
    write(folder / "one.parquet", rows)
    low, high = measure(folder, store, documents="one.parquet", group="source")["intervals"]["nDCG@5"]
    assert low == pytest.approx(high)
    alone = measure(folder, store, documents="one.parquet", group="doc_id")
    assert alone["intervals"]["nDCG@5"][0] < alone["nDCG@5"] < alone["intervals"]["nDCG@5"][1]
    write(folder / "none.parquet", [{**row, "source": None} for row in rows])
    none = measure(folder, store, documents="none.parquet", group="source")
    assert none["intervals"]["nDCG@5"][0] < none["nDCG@5"] < none["intervals"]["nDCG@5"][1]
    assert measure(folder, store, zero_shot_splits=())["intervals"]["UR@1"] is None
    assert measure(folder, store, group="source", columns=())["intervals"] == grouped["intervals"]
    with pytest.raises(CorpusError, match="has no column sauce"):
        measure(folder, store, group="sauce")


def test_one_long_group_takes_the_memory_of_one(folder, store):
    rows = [row for row in make_documents() if row["split"] == "test"]
    rows = [{**row, "source": "x" * 2_000_000 if place == 0 else "y"} for place, row in enumerate(rows)]
    write(folder / "long.parquet", rows)
    measure(folder, store, limit=1)  # what is made at the first use is not measured
    tracemalloc.start()
    figures = measure(folder, store, documents="long.parquet", group="source")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000_000
    assert figures["intervals"]["nDCG@5"] is not None


def test_newer_labels_are_measured_too(folder, store):
    rows = make_documents()
    newer = LabelSet((*(f"l-{word}" for word in WORDS[1:]), "l-nowhere"), (*WORDS[1:], "flour"), ("",) * 12)
    tagger = load(str(folder / "plain")).with_labels(newer)
    source = SourceSettings(documents=str(folder / "docs.parquet"))
    figures = evaluate(tagger, store, source, Asked())
    assert_equal(figures, naive(tagger, rows, "test", ("test", "zeroshot"), untrained(rows) | {"l-nowhere"}))
    assert figures["n_labels"] == 13
    assert figures["n_unknown_gold"] == 0


def small_documents(path, spoil=()):
    """The small corpus as split `test`; of some documents, by number, the faulty encoder cannot read the text."""
    rows = [json.loads(line) | {"split": "test"} for line in (SMALL / "docs.jsonl").read_text().splitlines()]
    for number in spoil:
        rows[number]["text"] += " RAISE"
    path.write_text("\n".join(map(json.dumps, rows)))
    return rows


def test_a_document_that_cannot_be_tagged_is_a_reject_and_all_others_are_measured(faulty, store, tmp_path):
    """As if it were not there, whatever part of a batch it stands in."""
    tagger, path = load(faulty), tmp_path / "docs.jsonl"
    rows = small_documents(path, spoil=(0, 7, 8))
    source = SourceSettings(documents=str(path), max_reject_share=0.1)
    figures = evaluate(tagger, store, source, Asked())
    ((count, example),) = [figures["rejected"]["tagging_failed"]]
    assert (figures["n_rejected"], count) == (3, 3)
    assert example == f"{rows[0]['doc_id']}: ValueError: the tokenizer does not like this text"
    assert f"rejected, tagging_failed: 3, such as {rows[0]['doc_id']}: " in "\n".join(figure_lines(figures))
    path.write_text("\n".join(json.dumps(row) for row in rows if "RAISE" not in row["text"]))
    without = evaluate(tagger, store, source, Asked())
    assert without["rejected"] == {}
    for name in ("n_documents", "n_without_gold", "nDCG@5", "micro_F1", "ZSR@10", "UR@1", "share_blank"):
        assert figures[name] == pytest.approx(without[name]), name


def test_too_many_documents_that_cannot_be_tagged_end_the_evaluation(faulty, store, tmp_path):
    """Of those to measure, however many others there are."""
    path = tmp_path / "docs.jsonl"
    rows = small_documents(path, spoil=(3,))
    others = [
        {**row, "doc_id": f"{row['doc_id']}-{n}", "split": "train", "text": "a"} for row in rows for n in range(9)
    ]
    path.write_text("\n".join(map(json.dumps, rows + others)))
    source = SourceSettings(documents=str(path), max_reject_share=0.5 / len(rows))
    with pytest.raises(RejectsError, match=rf"1 of {len(rows)} documents .*tagging_failed 1, .*ValueError"):
        evaluate(load(faulty), store, source, Asked())


@pytest.mark.parametrize(("first", "second"), [("flagged", "plain"), ("plain", "flagged")])
def test_bundles_that_are_compared_are_measured_over_the_same_labels(folder, store, first, second):
    """`plain` was trained on two labels that `flagged` was not; unseen is what neither was trained on."""
    rows, source = make_documents(), SourceSettings(documents=str(folder / "docs.parquet"), columns=("source",))
    places = [str(folder / first), str(folder / second)]
    figures, page = evaluate_beside(places, "", source, Asked(details=True), silent, store)
    assert_equal(figures, naive(load(places[0]), rows, "test", ("test", "zeroshot"), untrained(rows)))
    assert figures["compared"] == [load(place).bundle_id for place in places]
    assert "2 bundles are compared" in "\n".join(figure_lines(figures))
    assert "none of these taggers was trained on" in page
    other = load(places[1])
    yardstick = Yardstick.over([load(places[0]), other])
    measured = gather(other, store, source, Asked(), yardstick=yardstick).summary(Asked())
    weighed = dataclasses.replace(other, train_count_L=load(places[0]).train_count_L)
    assert_equal(measured, naive(weighed, rows, "test", ("test", "zeroshot"), untrained(rows)))


def test_no_training_documents_leave_psp_undefined(folder, store):
    source = SourceSettings(labels=str(folder / "plain-labels.parquet"))
    search = SearchSettings(kind="tfidf")
    fit(FitRun(source=source, search=search, output=OutputSettings(str(folder / "bare"))))
    figures = measure(folder, store, "bare")
    assert figures["PSP@1"] is figures["PSP@5"] is None
    assert figures["n_unseen_labels"] == 12
    assert figures["ZSR@10"] > 0


def test_all_seen_leaves_zero_shot_undefined(folder, store):
    tagger = dataclasses.replace(load(str(folder / "plain")), train_count_L=np.ones(12, np.int64))
    figures = evaluate(tagger, store, SourceSettings(documents=str(folder / "docs.parquet")), Asked())
    for name in ("ZSR@10", "ZSR@50", "ZSR@100", "UR@1", "UR@5", "chance_ZSR@10"):
        assert figures[name] is None
    assert figures["n_unseen_pairs"] == figures["n_unseen_labels"] == 0


def test_a_gold_matrix_holds_each_known_label_once():
    gold, unknown_B = gold_matrix([["b", "a", "b"], None, [], ["x", "x", "y", "c"]], {"a": 0, "b": 1, "c": 2})
    assert gold.toarray().tolist() == [[True, True, False], [False] * 3, [False] * 3, [False, False, True]]
    assert unknown_B.tolist() == [0, 0, 0, 2]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A tagger that knows the probabilities its documents' labels were drawn from, the documents, the labels."""
    tagger = knowing_tagger(6000)
    path = tmp_path_factory.mktemp("drawn") / "docs.jsonl"
    return tagger, SourceSettings(documents=str(path)), drawn_documents(tagger, path)


def shown_pairs(tagger, gold_NL, rows, labels):
    """(probability, right) of the labels of a range among the first ten of each row, by loops."""
    pairs = []
    for row in rows:
        if gold_NL[row].any():
            order = sorted(range(len(tagger.labels)), key=lambda label: (-tagger.score_NL[row, label], label))
            members = [label for label in order[:10] if label in range(*labels.indices(len(order)))]
            pairs += [(float(tagger.score_NL[row, label]), bool(gold_NL[row, label])) for label in members]
    return pairs


def naive_ece(pairs):
    bins = {}
    for probability, right in pairs:
        bins.setdefault(min(int(probability * 15), 14), []).append((probability, right))
    gaps = (abs(sum(p for p, _ in some) - sum(y for _, y in some)) for some in bins.values())
    return sum(gaps) / len(pairs)


def test_calibration_is_that_of_the_tags_shown(drawn, store):
    tagger, source, gold_NL = drawn
    tagger = tagger.saying(overstated(tagger.score_NL))
    figures = evaluate(tagger, store, source, Asked())
    tests = range(4000)
    chosen = [row for row in range(4000, 6000) if gold_NL[row, UNSEEN].any()]
    for group, rows, labels in (
        ("seen", tests, slice(0, 30)),
        ("rare", tests, RARE),
        ("unseen", tests, UNSEEN),
        ("unseen_zero_shot", [*tests, *chosen], UNSEEN),
    ):
        pairs = shown_pairs(tagger, gold_NL, rows, labels)
        assert figures[f"n_pairs_{group}"] == len(pairs) > 100
        assert figures[f"ECE_{group}"] == pytest.approx(naive_ece(pairs), abs=1e-6)
        assert figures[f"Brier_{group}"] == pytest.approx(mean([(p - y) ** 2 for p, y in pairs]), abs=1e-6)
        bins = figures["reliability"][group]
        assert sum(count for _, _, count in bins) == len(pairs)
        gaps = sum(count * abs(promised - share) for promised, share, count in bins) / len(pairs)
        assert gaps == pytest.approx(figures[f"ECE_{group}"])
    assert figures["n_pairs_seen"] + figures["n_pairs_unseen"] == 10 * figures["n_documents"]
    json.dumps(figures, allow_nan=False)


@pytest.mark.slow
def test_true_probabilities_are_found_calibrated_and_overstated_ones_not(drawn, store):
    tagger, source, _ = drawn
    true = evaluate(tagger, store, source, Asked())
    wrong = evaluate(tagger.saying(overstated(tagger.score_NL)), store, source, Asked())
    for group in ("seen", "rare", "unseen"):
        assert true[f"ECE_{group}"] < 0.03
        assert wrong[f"ECE_{group}"] > 2 * true[f"ECE_{group}"]
        assert wrong[f"Brier_{group}"] > true[f"Brier_{group}"]
    # Documents that were chosen because they have an unseen label: the truth about the corpus is too little there.
    chosen = evaluate(tagger, store, source, Asked(zero_shot_splits=("zeroshot",)))
    assert chosen["ECE_unseen_zero_shot"] > 0.1
    assert all(
        promised < share for promised, share, count in chosen["reliability"]["unseen_zero_shot"] if count > 99
    )
    only_test = evaluate(tagger, store, source, Asked(zero_shot_splits=("test",)))
    assert only_test["ECE_unseen_zero_shot"] == only_test["ECE_unseen"]


def test_calibration_is_undefined_where_there_is_nothing_to_measure(drawn, store):
    tagger, source, _ = drawn
    claims_nothing = evaluate(tagger.saying(tagger.score_NL, calibrated=False), store, source, Asked(limit=50))
    assert all(claims_nothing[name] is None for name in CALIBRATION)
    count_L = tagger.train_count_L
    seen = dataclasses.replace(tagger, train_count_L=np.where(count_L == 0, 200, count_L))
    figures = evaluate(seen, store, source, Asked(limit=50))
    assert figures["ECE_unseen"] is figures["Brier_unseen"] is figures["ECE_unseen_zero_shot"] is None
    assert figures["n_pairs_unseen"] == 0
    assert figures["reliability"]["unseen"] == []
    assert figures["n_pairs_seen"] == 500
    assert 0 < figures["n_pairs_rare"] < 500


@pytest.mark.parametrize("bad", [1.5, -0.25, math.nan])
def test_a_score_that_is_no_probability_is_refused(drawn, store, bad):
    tagger, source, _ = drawn
    score_NL = tagger.score_NL.copy()
    score_NL[3, 4] = bad
    if math.isnan(bad):
        score_NL[3] = bad
    with pytest.raises(BundleError, match=f"is no probability; got {bad}; expected a number from 0 to 1"):
        evaluate(tagger.saying(score_NL), store, source, Asked(limit=20))
    evaluate(tagger.saying(score_NL, calibrated=False), store, source, Asked(limit=20))
