"""PECOS's models with their vectorisers as bundles: against the formulas of its text pipeline, by hand."""

import json
import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

import raytagger
from raytagger.bundle import named
from raytagger.cli import main
from raytagger.corpus import LabelSet
from raytagger.errors import BundleError
from raytagger.recipes.import_pecos import import_pecos
from raytagger.recipes.pecos_terms import read_terms
from raytagger.schema import PAD
from raytagger.vectors import TfIdf
from tests.equal import assert_same_ranking, ranking
from tests.unit.test_import_pecos import FEATURES, LABELS, PARENT, WEIGHTS, write_pecos

TOKENS = [
    "Hello",
    "hello",
    "world,",
    "world",
    "a",
    "b\tc",
    "öl",
    "Öl",
    "東京",
    "don't",
    "e\u0301",
    "é",
    "zz",
    "q",
    "x.",
]
PAIRS = [(0, 3), (1, 1), (4, 4), (6, 7), (8, 8), (13, 12), (2, 4), (4, 2), (5, 5), (9, 9), (11, 10), (3, 1),
         (12, 12), (14, 4), (4, 14)]  # fmt: skip
GRAMS = [(number,) for number in range(len(TOKENS))] + PAIRS
RNG = np.random.default_rng(1)
ORDER = RNG.permutation(FEATURES)  # the feature of each gram
IDF = np.where(RNG.random(FEATURES) < 0.1, 0, RNG.random(FEATURES) * 3).round(6)
TEXTS = st.lists(st.sampled_from([*TOKENS, "unknown", "", "\n", "Zz"]), max_size=14).map(" ".join)


def write_vectorizer(folder, *, token_type=10, bases=1, kind="tfidf", tokens=TOKENS, grams=GRAMS, **options):
    """What `Vectorizer.save` of libpecos 1.2.8 writes for its own TF-IDF."""
    options = {"ngram_range": [1, 2], "norm_p": "l2", "max_length": -1, "use_idf": True, **options}
    base = folder / "0.base"
    for name in ("tokenizer", "vectorizer"):
        (base / name).mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"type": kind, "kwargs": options}))
    norm = int(options["norm_p"][1:])
    (folder / "meta.json").write_text(
        json.dumps({"type": "tfidf", "kwargs": {"num_base_vect": bases, "norm_p": norm}})
    )
    (base / "tokenizer" / "config.json").write_text(json.dumps({"token_type": token_type}))
    (base / "vectorizer" / "config.json").write_text(json.dumps({"type": "tfidf", "kwargs": options}))
    lines = [f"{number}\t{token}\n" for number, token in reversed(list(enumerate(tokens)))]
    (base / "tokenizer" / "vocab.txt").write_bytes(f"{len(tokens)}\n{''.join(lines)}".encode())
    lines = [
        f"{feature}\t{IDF[feature]:f}\t{len(gram)}\t{' '.join(map(str, gram))}\n"
        for feature, gram in zip(ORDER, grams, strict=True)
    ]
    (base / "vectorizer" / "tfidf-model.txt").write_text(f"{len(grams)}\n{''.join(lines)}")
    return folder


def by_hand(text, *, norm_p="l2", max_length=-1, use_idf=True, binary=False, sublinear_tf=False):
    """A text's features, float64 (FEATURES,)."""
    tokens = [token for token in text.split(" ") if token][: max_length if max_length > 0 else None]
    numbers = [TOKENS.index(token) if token in TOKENS else -1 for token in tokens]
    counts = Counter([(number,) for number in numbers] + list(pairwise(numbers)))
    weights = np.zeros(FEATURES)
    for feature, gram in zip(ORDER, GRAMS, strict=True):
        if count := counts[gram]:
            frequency = 1 if binary else 1 + math.log(count) if sublinear_tf else count
            weights[feature] = frequency * (IDF[feature] if use_idf else 1)
    length = np.abs(weights).sum() if norm_p == "l1" else np.sqrt((weights**2).sum())
    return weights / length if length > 1e-3 else weights


def labels_by_hand(text, **options):
    """Scores of the labels below the three best nodes: both levels' hinges to the third power, multiplied."""
    features = np.append(by_hand(text, **options), 2.0)
    nodes, labels = (np.exp(-(np.maximum(0, 1 - features @ weight) ** 3)) for weight in WEIGHTS)
    return np.where(nodes[PARENT] >= np.sort(nodes)[-3], nodes[PARENT] * labels, -np.inf)


def write_model(folder, **options):
    write_pecos(folder)
    write_vectorizer(folder / "preprocessor", **options)
    return folder


OPTIONS = [
    {},
    {"sublinear_tf": True},
    {"binary": True, "sublinear_tf": True, "norm_p": "l1"},
    {"use_idf": False, "max_length": 3},
    {"norm_p": "l1"},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_features_are_those_of_the_vectoriser(tmp_path, options):
    weigh = TfIdf(read_terms(write_model(tmp_path, **options), None))

    @settings(max_examples=40, deadline=None)
    @given(st.lists(TEXTS, min_size=1, max_size=4))
    def check(texts):
        expected = [by_hand(text, **options) for text in texts]
        np.testing.assert_allclose(weigh.transform(texts).toarray(), expected, atol=1e-6)

    check()


@pytest.mark.parametrize("options", OPTIONS[:2])
def test_the_bundle_tags_as_pecos_does(tmp_path, options):
    import_pecos(write_model(tmp_path / "pecos", **options), str(tmp_path / "bundle"))
    tagger = raytagger.load(str(tmp_path / "bundle"))
    texts = ["Hello world, a a", "", "öl Öl 東京 東京 東京", "nothing known", " b\tc  b\tc zz"]
    found = tagger.tag(texts, LABELS)
    assert found.empty_B.tolist() == [False, True, False, True, False]  # PECOS gives these what is frequent
    for row, text in enumerate(texts):
        expected = labels_by_hand(text, **options) if not found.empty_B[row] else np.full(LABELS, -np.inf)
        reached = found.label_BK[row][found.label_BK[row] != PAD]
        assert sorted(reached.tolist()) == np.flatnonzero(expected > -np.inf).tolist()
        np.testing.assert_allclose(found.score_BK[row, : len(reached)], expected[reached], rtol=1e-3, atol=1e-5)
        assert_same_ranking(ranking(tagger.tag([text], LABELS)), ranking(found, row))


def test_a_bundle_says_what_it_is_and_takes_new_labels(tmp_path):
    warnings = []
    made = import_pecos(write_model(tmp_path / "pecos"), str(tmp_path / "bundle"), say=warnings.append)
    assert (made.labels, made.terms, made.levels) == (LABELS, FEATURES, 2)
    assert "label 0" in warnings[0]
    tagger = raytagger.load(str(tmp_path / "bundle"))
    assert tagger.labels.ids == tuple(f"label {number}" for number in range(LABELS))
    assert tagger.manifest["search"] == "tree"
    assert tagger.keep_k == 7
    assert tagger.train_count_L.tolist() == [1] * LABELS
    best = named(tagger.tag(["Hello world a"], 1), tagger.labels)[0][0]
    told = tagger.explain("Hello world a", best[0])
    assert told.score == pytest.approx(best[1], rel=1e-5)
    assert {term for term, _ in told.features} <= {"Hello", "world", "a", "Hello world"}
    ids = (*tagger.labels.ids, "capital")
    newer = tagger.with_labels(LabelSet(ids, ("",) * LABELS + ("東京",), ("",) * len(ids)))
    for texts in (["東京 東京"], ["東京 東京", "Hello"]):  # alone and in a batch
        assert dict(named(newer.tag(texts, len(ids)), newer.labels)[0])["capital"] == pytest.approx(1)
    assert "capital" not in dict(named(newer.tag(["Hello"], 1), newer.labels)[0])


def test_labels_have_the_names_of_a_file_or_of_text2text(tmp_path, capsys):
    folder = write_model(tmp_path / "pecos")
    file = tmp_path / "labels.jsonl"
    file.write_text("".join(json.dumps({"id": f"L{row}", "title": "t"}) + "\n" for row in range(LABELS)))
    main_in_process(
        ["import", "pecos", str(folder), "--output", str(tmp_path / "one"), "--labels", str(file), "--json"]
    )
    assert json.loads(capsys.readouterr().out)["labels"] == LABELS
    assert raytagger.load(str(tmp_path / "one")).labels.ids[3] == "L3"
    file.write_text(json.dumps({"id": "L0", "title": "t"}))
    with pytest.raises(BundleError, match=r"not that of the model; got '1 labels'"):
        import_pecos(folder, str(tmp_path / "two"), str(file))
    whole = tmp_path / "text2text"
    write_pecos(whole / "xlinear_ensemble" / "0")
    write_vectorizer(whole / "preprocessor")
    (whole / "xlinear_ensemble" / "config.json").write_text('{"nr_ensembles": 1, "kwargs": [{}]}')
    (whole / "output_items.json").write_text(json.dumps([f"item {row}" for row in range(LABELS)]))
    import_pecos(whole, str(tmp_path / "three"))
    assert raytagger.load(str(tmp_path / "three")).labels.full_texts[5] == "item 5"
    (whole / "output_items.json").write_text(json.dumps(["same"] * LABELS))
    import_pecos(whole, str(tmp_path / "four"))
    assert raytagger.load(str(tmp_path / "four")).labels.ids[5] == "label 5"
    (whole / "xlinear_ensemble" / "config.json").write_text('{"nr_ensembles": 3}')
    with pytest.raises(BundleError, match="ensembles of text2text"):
        import_pecos(whole, str(tmp_path / "five"))


def main_in_process(arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0


def test_without_a_vectoriser_a_list_of_terms_does(tmp_path):
    write_pecos(tmp_path / "pecos")
    with pytest.raises(BundleError, match=r"has no vectoriser.*--vocabulary"):
        import_pecos(tmp_path / "pecos", str(tmp_path / "none"))
    file = tmp_path / "terms.tsv"
    terms = [f"term{number}" for number in range(FEATURES - 1)] + ["two words"]
    file.write_text("".join(f"{term}\t{1 + row / 10}\n" for row, term in enumerate(terms)))
    found = TfIdf(read_terms(tmp_path / "pecos", file)).transform(["Term1, term1 two words term2!"]).toarray()[0]
    expected = np.zeros(FEATURES)
    expected[[1, 2, 29]] = 1.1 * (1 + math.log(2)), 1.2, 3.9
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-6)
    import_pecos(tmp_path / "pecos", str(tmp_path / "bundle"), vocabulary=file)
    assert len(raytagger.load(str(tmp_path / "bundle")).tag(["term1"], 3).label_BK[0]) == 3
    file.write_text("\n".join(terms[:-1]))
    with pytest.raises(BundleError, match=r"not the one that the model was trained with; got '29 terms'"):
        import_pecos(tmp_path / "pecos", str(tmp_path / "none"), vocabulary=file)
    assert read_terms(tmp_path / "pecos", file).arrays.idf_V.tolist() == [1] * 29
    named_folder = write_vectorizer(tmp_path / "elsewhere")
    assert len(read_terms(tmp_path / "pecos", named_folder).terms) == FEATURES


@pytest.mark.parametrize(
    ("broken", "message"),
    [("one\t1\ntwo", "list index"), ("one\tx", "could not convert"), ("one\t-1", "numbers of 0 or more")],
)
def test_a_broken_list_of_terms_is_refused(tmp_path, broken, message):
    (tmp_path / "terms.tsv").write_text(broken)
    with pytest.raises(BundleError, match=message):
        read_terms(write_pecos(tmp_path / "pecos"), tmp_path / "terms.tsv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"token_type": 20}, "option analyzer.*got 'char'"),
        ({"token_type": 30}, "option analyzer.*got 'char_wb'"),
        ({"ngram_range": [1, 3]}, r"option ngram_range.*got \[1, 3\]"),
        ({"bases": 2}, "option base_vect_configs.*got '2 of them'"),
        ({"kind": "sklearntfidf"}, "pickle of scikit-learn, which raytagger never reads.*--vocabulary"),
        ({"kind": "sklearnhashing"}, "cannot be imported; got 'sklearnhashing'"),
        ({"tokens": [*TOKENS[:-1], "line\nbreak"]}, "no token holds a line break"),
        ({"tokens": TOKENS[:-1]}, "cannot be read"),
    ],
)
def test_what_cannot_be_followed_is_named(tmp_path, options, message):
    with pytest.raises(BundleError, match=message):
        read_terms(write_model(tmp_path, **options), None)


@pytest.mark.parametrize(
    "options", [{}, {"strip_accents": None, "sublinear_tf": True}, {"norm": "l1", "binary": True}]
)
def test_terms_of_scikit_learn_are_weighed_as_it_does(tmp_path, options):
    """The pickle is not read: the options come from the JSON beside it, the terms from the list."""
    texts = ["Crème brûlée, crème", "the creme of the crop", "Straße STRASSE œuvre ﬁn", "東京 tower crop crop"]
    options = {"strip_accents": "unicode", "ngram_range": (1, 2), **options}
    rival = TfidfVectorizer(**options).fit(texts)
    write_pecos(tmp_path)
    (tmp_path / "vectorizer").mkdir()
    (tmp_path / "vectorizer" / "config.json").write_text(json.dumps({"type": "sklearntfidf", "kwargs": options}))
    (tmp_path / "vectorizer" / "vectorizer.pkl").write_bytes(b"never read")
    columns = sorted(rival.vocabulary_, key=rival.vocabulary_.get)
    lines = [f"{term}\t{rival.idf_[column]}\n" for column, term in enumerate(columns)]
    (tmp_path / "terms.tsv").write_text("".join(lines))
    found = TfIdf(read_terms(tmp_path, tmp_path / "terms.tsv")).transform(texts)
    np.testing.assert_allclose(found.toarray(), rival.transform(texts).toarray(), atol=1e-6)


@pytest.mark.parametrize(
    "option", [{"lowercase": False}, {"stop_words": "english"}, {"analyzer": "char"}, {"norm": None}]
)
def test_what_scikit_learn_does_otherwise_is_named(tmp_path, option):
    write_pecos(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"type": "sklearntfidf", "kwargs": option}))
    (tmp_path / "terms.tsv").write_text("word\n")
    with pytest.raises(BundleError, match=f"option {next(iter(option))} is one"):
        read_terms(tmp_path, tmp_path / "terms.tsv")


def test_many_labels_without_a_hierarchy_are_all_searched(tmp_path):
    labels = 600
    below = write_pecos(tmp_path / "pecos") / "ranker"
    weight = np.random.default_rng(2).standard_normal((FEATURES + 1, labels)).astype(np.float32)
    sp.save_npz(below / "0.model" / "W.npz", sp.csc_matrix(weight))
    sp.save_npz(below / "0.model" / "C.npz", sp.csc_matrix(np.ones((labels, 1), np.float32)))
    facts = json.loads((below / "param.json").read_text())
    (below / "param.json").write_text(json.dumps({**facts, "depth": 1}))
    write_vectorizer(tmp_path / "pecos")
    import_pecos(tmp_path / "pecos", str(tmp_path / "bundle"))
    tagger = raytagger.load(str(tmp_path / "bundle"))
    assert tagger.manifest["search"] == "flat"
    margin = np.append(by_hand("Hello world a"), 2.0) @ weight
    expected = np.exp(-(np.maximum(0, 1 - margin) ** 3))
    found = tagger.tag(["Hello world a"], labels)
    np.testing.assert_allclose(found.score_BK[0], np.sort(expected)[::-1], rtol=1e-3, atol=1e-5)
    assert sorted(found.label_BK[0].tolist()) == list(range(labels))
