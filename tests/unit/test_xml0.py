"""XML0 without Ray: both scores against their definitions, the choice of the weight, and what a bundle does."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from starlette.testclient import TestClient

from raytagger.bundle import load
from raytagger.bundle.xml0 import Fused, Mixture, Xml0Features, Xml0Tagger
from raytagger.corpus.output import SMALL
from raytagger.encoders import load_encoder
from raytagger.errors import BundleError, CorpusError, RaytaggerError, SettingsError
from raytagger.fit.pairs import TextPairs, Tuning, draw_pairs, tune_on_pairs
from raytagger.progress import silent
from raytagger.recipes.fit import fit
from raytagger.recipes.xml0_weight import (
    FALLBACK_OFFSET,
    FALLBACK_SLOPE,
    Fold,
    Known,
    choose,
    draw_hidden,
    fit_probabilities,
)
from raytagger.schema import PAD, Scores
from raytagger.serve.api import make_api
from raytagger.settings import EncoderSettings, FitRun, OutputSettings, SearchSettings, SourceSettings, Xml0Settings
from tests.corpora import STATIC, small_bundle
from tests.equal import CLOSE, assert_same_ranking, assert_same_scores, ranking
from tests.tiny import tiny_encoder

SOURCE = SourceSettings(documents=str(SMALL / "docs.jsonl"), labels=str(SMALL / "labels.jsonl"))
TEXTS = ["Prune plums in high summer.", "Sauerkraut needs salt, cabbage and patience.", "A loaf of sourdough bread"]
SCALES = Mixture(0.25, (0.4, 0.1), (0.2, 0.05), 2.0, -1.0)


def run_over(base: str, out: str, **xml0) -> FitRun:
    return FitRun(
        method="xml0",
        source=SOURCE,
        encoder=STATIC,
        xml0=Xml0Settings(base=base, **xml0),
        search=SearchSettings(k=3, threshold=0.1),
        output=OutputSettings(out),
    )


def opened(uri: str) -> Xml0Tagger:
    tagger = load(uri)
    assert isinstance(tagger, Xml0Tagger)
    return tagger


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return small_bundle(str(tmp_path_factory.mktemp("base") / "out"), "tfidf")


@pytest.fixture(scope="module")
def made(base, tmp_path_factory):
    out = str(tmp_path_factory.mktemp("xml0") / "out")
    said: list[str] = []
    fit(run_over(base, out, threshold=0.02), say=said.append)
    assert any("hidden labels" in line for line in said)
    return out


@pytest.fixture(scope="module")
def mixed(made):
    """The same with a weight at which both scores count."""
    tagger = opened(made)
    return dataclasses.replace(tagger, mixture=tagger.mixture._replace(weight=0.4))


# The combination of scores


@given(st.floats(0, 1), st.lists(st.floats(-1, 1), min_size=1, max_size=6), st.data())
def test_scores_are_weighed_as_deviations_from_their_means(weight, semantic, data):
    cosine = st.one_of(st.just(-np.inf), st.floats(-1, 1))
    fusion = data.draw(st.lists(cosine, min_size=len(semantic), max_size=len(semantic)))
    mixture = SCALES._replace(weight=weight)
    found = mixture.combine(np.array([fusion], np.float32), np.array([semantic], np.float32))
    for value, by_fusion, by_text in zip(found[0], fusion, semantic, strict=True):
        expected = (by_text - 0.2) / 0.05
        if by_fusion > -np.inf:
            expected = weight * (by_fusion - 0.4) / 0.1 + (1 - weight) * expected
        assert value == pytest.approx(expected, abs=1e-4)
    np.testing.assert_allclose(mixture.probability(found), expit(2.0 * found - 1.0), rtol=1e-5)


# The choice of the weight


def folds_of(rng, fusion_gain, semantic_gain, documents=200, labels=6, rivals=10):
    """Folds whose scores of right pairs are higher by some deviations."""
    folds = []
    for number in range(4):
        right = np.zeros((documents, labels), bool)
        rows = rng.permutation(documents)[: documents // 2]
        right[rows, rng.integers(labels, size=len(rows))] = True

        def scores(gain, right=right):
            return (rng.normal(size=right.shape) + gain * right).astype(np.float32)

        def others(rows=rows):
            return rng.normal(size=(len(rows), rivals)).astype(np.float32)

        label_J = np.arange(number * labels, (number + 1) * labels)
        folds.append(Fold(label_J, scores(fusion_gain), scores(semantic_gain), right, others(), others()))
    return folds


def test_a_fusion_that_helps_gets_a_weight():
    folds = folds_of(np.random.default_rng(0), 3.0, 1.0)
    chosen = choose("xml0", folds, np.ones(200), 0)
    assert chosen.measured
    assert chosen.gain is not None
    assert chosen.gain.low > 0
    assert 0.5 < chosen.mixture.weight < 1
    assert chosen.curve[chosen.mixture.weight] == max(chosen.curve.values()) > chosen.curve[0.0]
    assert chosen.curve[0.0] == pytest.approx(ur_at_1(folds, 2), abs=CLOSE)
    assert chosen.curve[1.0] == pytest.approx(ur_at_1(folds, 1), abs=CLOSE)


def ur_at_1(folds, part):
    """UR@1 by one score, fold by fold and document by document."""
    hits = []
    for fold in folds:
        rivals = {1: fold.fusion_DU, 2: fold.semantic_DU}[part]
        for rival, row in enumerate(np.flatnonzero(fold.right_BJ.any(1))):
            best = int(np.argmax([*fold[part][row], *rivals[rival]]))
            hits.append(best < len(fold.label_J) and fold.right_BJ[row, best])
    return np.mean(hits)


@pytest.mark.parametrize("seed", range(5))
def test_a_fusion_that_says_nothing_gets_none(seed):
    chosen = choose("xml0", folds_of(np.random.default_rng(seed), 0.0, 2.0), np.ones(200), 0)
    assert chosen.mixture.weight == 0
    assert chosen.measured


def test_a_gain_within_noise_is_refused():
    """Few documents, and a fusion that says nothing: some weight looks better all the same."""
    chosen = [
        choose("xml0", folds_of(np.random.default_rng(seed), 0.0, 1.0, documents=16), np.ones(16), 0)
        for seed in range(8)
    ]
    assert sum(max(one.curve.values()) > one.curve[0.0] for one in chosen) >= 2
    assert [one.mixture.weight for one in chosen] == [0.0] * 8


@pytest.mark.parametrize(("combination", "weight"), [("fusion", 1.0), ("conse", 1.0), ("semantic", 0.0)])
def test_the_other_combinations_have_a_fixed_weight(combination, weight):
    folds = folds_of(np.random.default_rng(0), 1.0, 1.0)
    chosen = choose(combination, folds, np.ones(200), 0)
    assert chosen.mixture.weight == weight
    assert chosen.gain is None
    assert chosen.measured
    assert choose(combination, [], np.ones(200), 0).mixture.weight == weight


def test_probabilities_of_hidden_labels_come_true():
    folds = folds_of(np.random.default_rng(0), 2.0, 1.0, documents=2000)
    mixture = choose("fusion", folds, np.ones(2000), 0).mixture
    chance = np.concatenate(
        [mixture.probability(mixture.combine(f.fusion_BJ, f.semantic_BJ)).ravel() for f in folds]
    )
    right = np.concatenate([fold.right_BJ.ravel() for fold in folds])
    for low, high in ((0, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 1)):
        some = (chance >= low) & (chance < high)
        assert right[some].mean() == pytest.approx(chance[some].mean(), abs=0.03)


@pytest.mark.parametrize("positives", [0, 19])
def test_too_few_positives_are_not_measured(positives):
    rng = np.random.default_rng(0)
    right = np.zeros((50, 2), bool)
    right[:positives, 0] = True
    scores = rng.normal(size=(2, 50, 2)).astype(np.float32)
    none = np.zeros((positives, 0), np.float32)
    chosen = choose("xml0", [Fold(np.arange(2), *scores, right, none, none)], np.ones(50), 0)
    assert chosen.mixture == Mixture(0.0, (0.0, 1.0), (0.0, 1.0), FALLBACK_SLOPE, FALLBACK_OFFSET)
    assert not chosen.measured


@pytest.mark.parametrize("fusion", [-np.inf, 0.5])
def test_scores_that_are_all_equal_fall_back_to_the_rule_of_the_cosine(fusion):
    right = np.zeros((100, 2), bool)
    right[:50, 0] = True
    equal = np.full((100, 2), 0.3, np.float32)
    none = np.zeros((50, 0), np.float32)
    fold = Fold(np.arange(2), np.full((100, 2), fusion, np.float32), equal, right, none, none)
    chosen = choose("xml0", [fold], np.ones(100), 0)
    assert not chosen.measured
    assert chosen.mixture.weight == 0
    found = chosen.mixture.probability(chosen.mixture.combine(equal, np.full((100, 2), 0.8, np.float32)))
    np.testing.assert_allclose(found, expit(FALLBACK_SLOPE * 0.8 + FALLBACK_OFFSET), atol=1e-4)


def test_hidden_labels_are_rare_ones_that_can_be_measured():
    count_L = np.array([0, 1, 2, 3, 4, 5, 6, 50, 60, 70, 3])
    usable_L = np.ones(len(count_L), bool)
    usable_L[10] = False
    gold = sp.csr_matrix(np.arange(70)[:, None] < count_L)
    drawn = draw_hidden(gold, count_L, usable_L, 0)
    assert set(drawn.tolist()) <= {3, 4, 5, 6}
    assert len(drawn) == 4  # 40 % of the nine trained ones
    assert (draw_hidden(gold, count_L, usable_L, 0) == drawn).all()
    assert not len(draw_hidden(gold, np.minimum(count_L, 0), usable_L, 0))
    assert not len(draw_hidden(sp.csr_matrix(gold[:2]), count_L, usable_L, 0))


@pytest.mark.parametrize("labels", [0, 1])
def test_a_base_that_says_the_same_of_everything_gets_the_base_rate(labels):
    scores = Scores(np.full((40, 1), PAD if not labels else 0, np.int32), np.full((40, 1), 0.7, np.float32))
    gold = sp.csr_matrix(np.arange(40)[:, None] < 30)
    features = Xml0Features(None, np.zeros((40, 2), np.float32), np.zeros(40, bool))
    curve = fit_probabilities(scores, Known(features, gold, np.ones(40, bool), np.ones(40)))
    assert curve.how == "prior"
    assert curve.probability(0.7) == pytest.approx(0.75 if labels else 0.5, abs=0.02)


# Fine-tuning


def test_half_of_the_pairs_are_relevant_and_none_is_called_wrongly():
    rng = np.random.default_rng(0)
    gold = sp.csr_matrix(rng.random((60, 9)) < 0.3)
    allowed = np.array([1, 2, 5, 8])
    pairs = draw_pairs(gold, allowed, 400, 0)
    assert set(pairs.label_P.tolist()) == set(allowed.tolist())
    assert (np.asarray(gold[pairs.document_P, pairs.label_P]).ravel() == pairs.right_P).all()
    assert pairs.right_P.sum() == 200
    assert 190 <= (~pairs.right_P).sum() <= 200
    again = draw_pairs(gold, allowed, 400, 0)
    assert all((one == other).all() for one, other in zip(pairs, again, strict=True))


def test_frequency_tells_nothing_of_a_pair():
    gold = sp.csr_matrix(np.random.default_rng(0).random((500, 3)) < np.array([0.6, 0.1, 0.1]))
    pairs = draw_pairs(gold, np.arange(3), 4000, 0)
    frequent = [(pairs.label_P[pairs.right_P == kind] == 0).mean() for kind in (True, False)]
    assert frequent[0] > 0.7
    assert frequent[1] == pytest.approx(frequent[0], abs=0.05)


def test_documents_without_a_drawn_label_are_left_out():
    gold = sp.csr_matrix(np.array([[True, True], [False, False]]))
    pairs = draw_pairs(gold, np.arange(2), 40, 0)
    assert set(pairs.document_P.tolist()) == {0}
    assert pairs.right_P.all()  # that document has every label, so that no pair is irrelevant
    assert len(pairs.right_P) == 20
    with pytest.raises(CorpusError, match="no document to fine-tune on"):
        draw_pairs(sp.csr_matrix((5, 2), dtype=bool), np.arange(2), 10, 0)


@pytest.mark.slow
def test_fine_tuning_pulls_relevant_pairs_together(tmp_path, store):
    settings = tiny_encoder(tmp_path)
    documents, labels = ["bread and salt", "a kite in the wind"] * 8, ["loaf", "sky", "sky", "loaf"] * 4
    pairs = TextPairs(documents, labels, np.array([True, True, False, False] * 4))

    def cosines(encoder):
        left, right = encoder.encode(documents[:4]).vector_BD, encoder.encode(labels[:4]).vector_BD
        return (left * right).sum(axis=1)

    found = []
    for _ in range(2):
        encoder = load_encoder(settings, store)
        many = TextPairs(pairs.documents * 10, pairs.labels * 10, np.tile(pairs.right_P, 10))
        before = cosines(encoder)
        losses = tune_on_pairs(encoder, many, Tuning(3e-3, 8, 0), silent)
        after = cosines(encoder)
        assert len(losses) == 20
        assert losses[-1] < losses[0] / 2
        assert after[:2].min() - after[2:].max() > before[:2].min() - before[2:].max() + 0.3
        found.append(after)
    np.testing.assert_allclose(*found, atol=CLOSE)


# The bundle


def test_seen_labels_have_the_order_and_the_probability_of_the_base(made, base):
    tagger, theirs = opened(made), load(base)
    assert tagger.manifest["calibrated"]
    found = tagger.search(tagger.encode(TEXTS), 10, tagger.seen_L)
    alone = theirs.search(theirs.encode(TEXTS), 10, tagger.seen_L)
    assert tagger.curve is not None
    named_BK = alone.label_BK != PAD
    assert named_BK[:, 0].all()
    assert_same_scores(found, dataclasses.replace(alone, score_BK=tagger.curve.probability(alone.score_BK)))
    assert ((found.score_BK[named_BK] > 0) & (found.score_BK[named_BK] < 1)).all()


def test_unseen_labels_are_scored_as_algorithm_1_says(mixed):
    features = mixed.encode(TEXTS)
    seen = mixed.search_seen(features.base, mixed.options.labels_at_most)
    found = mixed.search(features, len(mixed.labels), ~mixed.seen_L)
    fused = mixed.fused(features, found)
    for row in range(len(TEXTS)):
        chance = {
            label: score
            for label, score in zip(seen.label_BK[row].tolist(), seen.score_BK[row].tolist(), strict=True)
            if score > mixed.options.threshold and mixed.label_LE[label].any()
        }
        for place, label in enumerate(found.label_BK[row][found.label_BK[row] != PAD].tolist()):
            cosine = {
                subset: unit_dot(sum(chance[one] * mixed.label_LE[one] for one in subset), mixed.label_LE[label])
                for subset in subsets(list(chance))
            }
            semantic = features.doc_BE[row] @ mixed.label_LE[label]
            best = max(cosine.values(), default=-np.inf)
            combined = mixed.mixture.combine(np.array([[best]], np.float32), np.array([[semantic]], np.float32))
            assert found.score_BK[row, place] == pytest.approx(
                float(mixed.mixture.probability(combined)[0, 0]), abs=CLOSE
            )
            named = tuple(mixed.labels.index[one] for one in fused[row][place].labels)
            assert cosine[tuple(sorted(named, key=list(chance).index))] == pytest.approx(best, abs=CLOSE)
    assert any(len(one.labels) > 1 for row in fused for one in row)


def subsets(labels):
    return [
        tuple(label for place, label in enumerate(labels) if number >> place & 1)
        for number in range(1, 1 << len(labels))
    ]


def unit_dot(total, other):
    return float(total @ other / max(np.linalg.norm(total), 1e-12))


def test_a_document_without_a_sure_label_has_the_semantic_score_alone(mixed):
    strict = dataclasses.replace(mixed, options=dataclasses.replace(mixed.options, threshold=0.999))
    plain = dataclasses.replace(mixed, mixture=mixed.mixture._replace(weight=0.0))
    one, other = (tagger.search(tagger.encode(TEXTS), 9, ~mixed.seen_L) for tagger in (strict, plain))
    assert_same_scores(one, other)
    unseen = mixed.labels.ids[one.label_BK[0, 0]]
    assert strict.fused(strict.encode(TEXTS), one) == [[Fused((), True)] * 9] * 3
    assert "no seen label is above the threshold" in "\n".join(strict.explain(TEXTS[0], unseen).lines())
    assert "fusion: has no weight" in "\n".join(plain.explain(TEXTS[0], unseen).lines())


def test_what_is_allowed_changes_no_score(mixed):
    features = mixed.encode(TEXTS)
    everything = mixed.search(features, len(mixed.labels) + 5)
    assert everything.label_BK.shape == (len(TEXTS), len(mixed.labels))
    assert (np.diff(np.maximum(everything.score_BK, -1), axis=1) <= 0).all()
    some_L = np.arange(len(mixed.labels)) % 3 == 0
    found = mixed.search(features, 20, some_L)
    for row in range(len(TEXTS)):
        expected = [pair for pair in ranking(everything, row) if some_L[pair[0]]]
        assert_same_ranking(ranking(found, row), expected[:20])
    assert (mixed.search(features, 2, np.zeros(len(mixed.labels), bool)).label_BK == PAD).all()


def test_many_documents_are_scored_as_each_alone(mixed):
    texts = [f"{text} {number}" for number in range(50) for text in TEXTS]  # more than one block
    together = mixed.tag(texts, 5)
    for row in (0, 63, 64, 149):
        assert_same_ranking(ranking(mixed.tag([texts[row]], 5)), ranking(together, row))
    assert mixed.tag([], 5).label_BK.shape == (0, 5)


def test_tags_are_kept_by_the_settings(mixed):
    found = mixed.tag(TEXTS, 10)
    for k in (None, 1):
        kept, first = mixed.keep(found, k), found.top(k or 3)
        expected = first.keep(first.score_BK >= 0.1)
        assert kept.label_BK[:, : k or 3].tolist() == expected.label_BK.tolist()
        assert (kept.label_BK[:, k or 3 :] == PAD).all()


def test_an_explanation_says_what_was_fused(mixed):
    unseen = mixed.search(mixed.encode(TEXTS), 1, ~mixed.seen_L)
    label_id = mixed.labels.ids[unseen.label_BK[1, 0]]
    found = mixed.explain(TEXTS[1], label_id)
    assert not found.seen
    assert found.proven
    assert found.score == pytest.approx(float(unseen.score_BK[1, 0]), abs=CLOSE)
    assert found.fusion is not None
    assert found.semantic is not None
    assert tuple(one for one, _ in found.fused) == mixed.fused(mixed.encode(TEXTS), unseen)[1][0].labels
    label_E = mixed.label_LE[mixed.labels.index[label_id]]
    total = sum(chance * mixed.label_LE[mixed.labels.index[one]] for one, chance in found.fused)
    assert found.fusion == pytest.approx(unit_dot(total, label_E), abs=CLOSE)
    lines = found.lines()
    assert lines[0].startswith(label_id)
    assert f"fusion {found.fusion:.3f}, weight 0.40" in lines[1]
    assert len(lines) == 3 + len(found.fused)
    best = mixed.labels.ids[mixed.search(mixed.encode(TEXTS), 1, mixed.seen_L).label_BK[0, 0]]
    assert "seen: by the base" in mixed.explain(TEXTS[0], best).lines()[0]
    with pytest.raises(SettingsError, match="no such label; got 'nonsense'"):
        mixed.explain(TEXTS[0], "nonsense")


def test_conse_fuses_all_that_are_sure(base, tmp_path):
    fit(run_over(base, str(tmp_path / "out"), combination="conse", threshold=0.02))
    tagger = opened(str(tmp_path / "out"))
    features = tagger.encode(TEXTS)
    seen = tagger.search_seen(features.base, 12)
    sure = [
        {tagger.labels.ids[label] for label, score in zip(row, scores, strict=True) if score > 0.02}
        for row, scores in zip(seen.label_BK.tolist(), seen.score_BK.tolist(), strict=True)
    ]
    fused = tagger.fused(features, tagger.search(features, 2, ~tagger.seen_L))
    assert any(sure)
    assert [[set(one.labels) for one in row] for row in fused] == [[one, one] for one in sure]


def test_a_new_label_is_found_at_once_and_changes_no_other_score(mixed):
    labels = mixed.labels
    more = dataclasses.replace(
        labels,
        ids=(*labels.ids, "kites"),
        titles=(*labels.titles, "Kites"),
        texts=(*labels.texts, "Flying kites on a beach in the wind"),
        parents=(*labels.parents, ()),
        status=(*labels.status, "active"),
        seen=None,
    )
    newer = mixed.with_labels(more)
    best = newer.search(newer.encode(["Flying kites on a beach in the wind"]), 1, ~newer.seen_L)
    assert more.ids[best.label_BK[0, 0]] == "kites"
    old, new = mixed.tag(TEXTS, len(labels)), newer.tag(TEXTS, len(more))
    for row in range(len(TEXTS)):
        scores = dict(zip(new.label_BK[row].tolist(), new.score_BK[row].tolist(), strict=True))
        for label, score in zip(old.label_BK[row].tolist(), old.score_BK[row].tolist(), strict=True):
            if label != PAD:
                assert scores[label] == pytest.approx(score, abs=CLOSE)


def test_a_fusion_that_falls_falls_back_to_the_rule_of_its_own_cosine():
    rng = np.random.default_rng(0)
    right = np.zeros((100, 2), bool)
    right[:50, 0] = True
    fusion, semantic = rng.random((100, 2)) - 0.5 * right, rng.random((100, 2))
    none = np.zeros((50, 0), np.float32)
    fold = Fold(np.arange(2), fusion.astype(np.float32), semantic.astype(np.float32), right, none, none)
    chosen = choose("fusion", [fold], np.ones(100), 0)
    assert not chosen.measured
    assert chosen.mixture.weight == 1
    eight = np.full((1, 1), 0.8, np.float32)
    found = chosen.mixture.probability(chosen.mixture.combine(eight, np.zeros((1, 1), np.float32)))
    np.testing.assert_allclose(found, expit(FALLBACK_SLOPE * 0.8 + FALLBACK_OFFSET), atol=1e-4)


def test_an_explanation_over_an_ensemble_has_the_score_of_the_answer(mixed):
    """As a softmax over what is found: of one allowed label alone it would be 1."""

    class Ensemble:
        def search(self, features, k, allowed_L=None):
            found = mixed.base.search(features, k, allowed_L)
            share_BK = np.where(found.label_BK == PAD, 0, np.exp(found.score_BK))
            share_BK /= np.maximum(share_BK.sum(axis=1, keepdims=True), 1e-9)
            return Scores(found.label_BK, np.where(found.label_BK == PAD, -np.inf, share_BK).astype(np.float32))

        def encode(self, texts):
            return mixed.base.encode(texts)

    tagger = dataclasses.replace(mixed, base=Ensemble())
    every = tagger.search_seen(tagger.encode(TEXTS).base, int(tagger.seen_L.sum()))
    best = tagger.labels.ids[every.label_BK[0, 0]]
    assert tagger.explain(TEXTS[0], best).score == pytest.approx(float(every.score_BK[0, 0]), abs=CLOSE)
    assert tagger.explain(TEXTS[0], best).score < 0.99


@pytest.mark.slow
def test_label_fusion_can_be_a_base_of_label_fusion(tmp_path):
    inner = small_bundle(str(tmp_path / "mean"), "mean")
    fit(run_over(inner, str(tmp_path / "inner"), threshold=0.02))
    fit(run_over(str(tmp_path / "inner"), str(tmp_path / "outer"), threshold=0.02))
    outer = opened(str(tmp_path / "outer"))
    assert outer.base.manifest["kind"] == "xml0"
    assert (outer.tag(TEXTS, 3).label_BK != PAD).all()


def test_labels_without_a_text_are_not_fused_whatever_the_encoder_makes_of_nothing(tmp_path):
    lines = [json.loads(line) for line in (SMALL / "labels.jsonl").read_text().splitlines()]
    empty = [one["label_id"] for one in lines[:4]]
    lines = [one | ({"title": "", "text": ""} if one["label_id"] in empty else {}) for one in lines]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    source = dataclasses.replace(SOURCE, labels=str(tmp_path / "labels.jsonl"))
    encoder = tiny_encoder(tmp_path / "tiny")
    base = FitRun(source=source, search=SearchSettings("tfidf"), output=OutputSettings(str(tmp_path / "base")))
    fit(base)
    run = run_over(str(tmp_path / "base"), str(tmp_path / "out"))
    fit(dataclasses.replace(run, source=source, encoder=encoder))
    tagger = opened(str(tmp_path / "out"))
    rows = [tagger.labels.index[label_id] for label_id in empty]
    assert not tagger.label_LE[rows].any()
    assert tagger.label_LE.any(axis=1).sum() == len(lines) - 4
    titles, texts = tagger.labels.titles, tagger.labels.texts
    newer = dataclasses.replace(tagger.labels, titles=(*titles[:-1], ""), texts=(*texts[:-1], ""))
    assert not tagger.with_labels(newer).label_LE[-1].any()


def test_the_endpoint_says_what_was_fused(mixed):
    client = TestClient(make_api(mixed, 10))
    answer = client.post("/v1/tag", json={"texts": TEXTS[:2], "k": 60}).json()
    expected = mixed.fused(mixed.encode(TEXTS[:2]), mixed.tag(TEXTS[:2], 60))
    told = [[tuple(tag.get("fused", ())) for tag in result["tags"]] for result in answer["results"]]
    assert told == [[one.labels for one in row[: len(tags)]] for row, tags in zip(expected, told, strict=True)]
    assert any(one for row in told for one in row)
    assert all(tag["proven"] for result in answer["results"] for tag in result["tags"] if "fused" in tag)


def test_a_forgotten_label_is_no_longer_fused(mixed):
    features = mixed.encode(TEXTS)
    hidden_L = np.zeros(len(mixed.labels), bool)
    hidden_L[mixed.search_seen(features.base, 1).label_BK[:, 0]] = True
    other = mixed.forgetting(hidden_L)
    assert other is not None
    assert not (other.seen_L & hidden_L).any()
    again = other.encode(TEXTS)
    fused = {one for row in other.fused(again, other.tag(TEXTS, 60)) for told in row for one in told.labels}
    assert fused
    assert not fused & {mixed.labels.ids[label] for label in np.flatnonzero(hidden_L)}


@pytest.mark.slow
def test_the_same_training_gives_the_same_version(made, base, tmp_path):
    assert fit(run_over(base, str(tmp_path / "again"), threshold=0.02)).version == load(made).bundle_id


def test_without_hidden_labels_the_fallback_is_published_and_said(base, tmp_path):
    documents = [json.loads(line) for line in (SMALL / "docs.jsonl").read_text().splitlines()]
    documents = [row for row in documents if row["split"] == "val"] + documents[:2]
    (tmp_path / "docs.jsonl").write_text("\n".join(json.dumps(row) for row in documents))
    run = run_over(base, str(tmp_path / "out"))
    said: list[str] = []
    source = dataclasses.replace(SOURCE, documents=str(tmp_path / "docs.jsonl"))
    fit(dataclasses.replace(run, source=source), say=said.append)
    assert "too little to measure: weight 0.0, probabilities of unseen labels are a guess" in said
    tagger = opened(run.output.bundle)
    assert not tagger.manifest["calibrated"]
    found = tagger.tag(TEXTS, 60)
    taken = found.label_BK != PAD
    assert ((found.score_BK[taken] > 0) & (found.score_BK[taken] < 1)).all()


@pytest.mark.parametrize("change", ["missing", "other labels"])
def test_a_base_that_does_not_fit_is_named(made, tmp_path, change):
    version = load(made).bundle_id
    folder = tmp_path / version
    shutil.copytree(Path(made) / version, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    if change == "missing":
        shutil.rmtree(folder / "base")
        manifest["files"] = {
            name: facts for name, facts in manifest["files"].items() if not name.startswith("base/")
        }
    else:
        del manifest["files"]["base/labels.parquet"]
        other = small_bundle(str(tmp_path / "other"), "tfidf")
        labels = json.loads((SMALL / "labels.jsonl").read_text().splitlines()[0]) | {"title": "Another"}
        rest = (SMALL / "labels.jsonl").read_text().splitlines()[1:]
        (tmp_path / "labels.jsonl").write_text("\n".join([json.dumps(labels), *rest]))
        run = FitRun(source=dataclasses.replace(SOURCE, labels=str(tmp_path / "labels.jsonl")), encoder=STATIC)
        fit(dataclasses.replace(run, search=SearchSettings("tfidf"), output=OutputSettings(other)))
        shutil.copy(Path(other) / load(other).bundle_id / "labels.parquet", folder / "base" / "labels.parquet")
        with pytest.raises(SettingsError, match=r"the base \S+ has another label set than source.labels"):
            fit(run_over(other, str(tmp_path / "refused")))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"base of label fusion (is missing|has another label set)"):
        load(str(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"xml0": Xml0Settings(combination="sum")}, "xml0.combination; got 'sum'; expected xml0, fusion, conse"),
        ({"xml0": Xml0Settings(base_method="xml0")}, "xml0.base_method; got 'xml0'"),
        ({"xml0": Xml0Settings(threshold=1.0)}, "threshold of label fusion; got 1.0"),
        ({"xml0": Xml0Settings(labels_at_most=31)}, "labels to fuse; got 31"),
        ({"xml0": Xml0Settings(pairs=-1)}, "xml0.pairs and xml0.learning_rate"),
        ({"xml0": Xml0Settings(pairs=1)}, "cannot be fine-tuned on pairs; got 'static'"),
        ({"xml0": Xml0Settings(learning_rate=float("nan"))}, "xml0.pairs and xml0.learning_rate"),
        (
            {"xml0": Xml0Settings(pairs=1), "encoder": EncoderSettings(long="mean")},
            "encoder.long; got 'mean'; expected cut",
        ),
        ({"source": SourceSettings(labels=SOURCE.labels)}, "source.documents is empty"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_read(tmp_path, change, message):
    with pytest.raises(RaytaggerError, match=message):
        fit(dataclasses.replace(run_over("", str(tmp_path)), **change))
    assert not list(tmp_path.iterdir())
