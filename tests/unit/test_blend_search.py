"""What a gate reads: members' labels united, facts of pairs, the overlap of texts; each against a slow way."""

import math
import re
from collections import Counter

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from raytagger.schema import PAD, Scores
from raytagger.search import overlap as overlap_module
from raytagger.search.blend import Candidates, Gate, Setting, ranked, seen_facts, unite, unseen_facts, unusual
from raytagger.search.overlap import Overlap


@st.composite
def rankings(draw):
    """Results of one to three members over the same documents."""
    members, rows = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    results = []
    for _ in range(members):
        width = draw(st.integers(0, 5))
        label_BK, score_BK = np.full((rows, width), PAD, np.int32), np.full((rows, width), -np.inf, np.float32)
        for row in range(rows):
            labels = draw(st.lists(st.integers(0, 9), unique=True, max_size=width))
            scores = draw(st.lists(st.floats(-5, 5, width=32), min_size=len(labels), max_size=len(labels)))
            label_BK[row, : len(labels)] = labels
            score_BK[row, : len(labels)] = sorted(scores, reverse=True)
        results.append(Scores(label_BK, score_BK))
    return results


@given(rankings())
def test_members_are_united_as_dictionaries_are(results):
    candidates = unite(results)
    width = 0
    for row in range(len(results[0])):
        said = [
            {
                int(label): (float(s.score_BK[row, place]), place)
                for place, label in enumerate(s.label_BK[row])
                if label != PAD
            }
            for s in results
        ]
        labels = sorted({label for one in said for label in one})
        width = max(width, len(labels))
        here_C = candidates.label_BC[row]
        assert here_C[: len(labels)].tolist() == labels
        assert (here_C[len(labels) :] == PAD).all()
        for member, one in enumerate(said):
            scores = [score for score, _ in one.values()]
            assert candidates.best_MB[member, row] == max(scores, default=0)
            for column, label in enumerate(labels):
                score, rank = one.get(label, (min(scores, default=0), None))
                assert candidates.score_MBC[member, row, column] == np.float32(score)
                expected = 0 if rank is None else 1 / (1 + rank)
                assert candidates.rank_MBC[member, row, column] == np.float32(expected)
    assert candidates.label_BC.shape == (len(results[0]), width)
    assert candidates.label_BC.dtype == np.int32
    assert candidates.score_MBC.dtype == candidates.rank_MBC.dtype == candidates.best_MB.dtype == np.float32


def two_members():
    return unite(
        [
            Scores(np.array([[3, 1]], np.int32), np.array([[0.9, 0.4]], np.float32)),
            Scores(np.array([[1, PAD]], np.int32), np.array([[7.0, -np.inf]], np.float32)),
        ]
    )


SETTING = Setting(np.array([[2.0, 0.5]]), np.array([[0.25, 1.0]]), np.array([[3.0]]))


def test_facts_of_seen_pairs():
    odds_MBC = np.array([[[-1.0, 2.0]], [[0.5, -4.0]]])
    fact_BCF = seen_facts(odds_MBC, two_members(), SETTING)
    # labels 1 and 3; member 0 has label 1 second and 3 first, member 1 has label 1 alone
    expected = [
        [-1.0, 0.5, -2.0, 1.0, 0.5, 1.0, 2.0, 0.25, 0.5, 3.0],
        [2.0, -4.0, 1.0, -2.0, 1.0, 0.0, 0.5, 1.0, 0.5, 3.0],
    ]
    np.testing.assert_allclose(fact_BCF, [expected])
    assert fact_BCF.shape == (1, 2, 3 * 2 + 4)
    gate = Gate(np.arange(10.0), 0.5)
    np.testing.assert_allclose(gate.odds(fact_BCF), [[np.arange(10) @ row + 0.5 for row in np.array(expected)]])


def test_facts_of_unseen_pairs():
    unusual_MBC = np.array([[[1.5, -0.5]], [[0.0, 9.0]]])
    fact_BCF = unseen_facts(unusual_MBC, two_members(), SETTING)
    expected = [
        [1.5, 0.0, 0.5, 1.0, 0.4, 7.0, 0.5, 0.0, 0.25, 3.0],
        [-0.5, 9.0, 1.0, 0.0, 0.9, 7.0, 0.0, 0.0, 1.0, 3.0],
    ]
    np.testing.assert_allclose(fact_BCF, [expected], atol=1e-6)
    assert fact_BCF.shape == (1, 2, 4 * 2 + 2)


def test_what_is_unusual_is_counted_in_deviations_and_clipped():
    label_BC = np.array([[0, 1, 2, PAD]], np.int32)
    score_MBC = np.array([[[0.5, 0.9, -0.9, 0.0]]], np.float32)
    candidates = Candidates(label_BC, score_MBC, np.ones_like(score_MBC), np.ones((1, 1), np.float32))
    found = unusual(candidates, np.array([[0.3, 0.1, 0.1]], np.float32), np.array([[0.1, 0.01, 0.0]], np.float32))
    np.testing.assert_allclose(found[0, 0, :3], [2.0, 10.0, -10.0], atol=1e-5)
    assert np.isfinite(found).all()


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=6), st.integers(0, 3), st.integers(1, 8))
def test_ranked_takes_the_best_and_ties_by_the_smaller_label(values, padding, k):
    labels = np.arange(len(values)) * 2 + 1
    label_BC = np.concatenate([labels, np.full(padding, PAD)]).astype(np.int32)[None]
    value_BC = np.concatenate([values, np.full(padding, 9.0)])[None]
    found = ranked(
        Candidates(label_BC, *[np.zeros((1, 1, 1), np.float32)] * 2, np.zeros((1, 1), np.float32)), value_BC, k
    )
    expected = sorted(zip([-value for value in values], labels.tolist(), strict=True))[:k]
    missing = k - len(expected)
    assert found.label_BK.tolist() == [[label for _, label in expected] + [PAD] * missing]
    assert found.score_BK.tolist() == [[-value for value, _ in expected] + [-np.inf] * missing]
    assert (found.label_BK.dtype, found.score_BK.dtype) == (np.int32, np.float32)


def slow_share(label_text, document, texts):
    """The words that a label text shares with a document, by their squared TF-IDF weights."""

    def words(text):
        return re.findall(r"\w\w+", text.lower())

    known = [set(words(text)) for text in texts if text]

    def weight(word, times):
        rarity = math.log((1 + len(known)) / (1 + sum(word in one for one in known))) + 1
        return ((1 + math.log(times)) * rarity) ** 2

    own = {word: weight(word, times) for word, times in Counter(words(label_text)).items()}
    return sum(own[word] for word in own if word in words(document)) / sum(own.values()) if own else 0.0


WORDS = st.lists(st.sampled_from(["bread", "salt", "wind", "kite", "apple", "a"]), max_size=5).map(" ".join)


@settings(max_examples=40, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=4), st.lists(WORDS, min_size=1, max_size=3))
def test_overlap_is_the_share_of_the_label_texts_weight(texts, documents):
    overlap = Overlap(texts)
    label_BC = np.tile(np.append(np.arange(len(texts)), PAD).astype(np.int32), (len(documents), 1))
    share_BC = overlap.shares(overlap.words(documents), label_BC)
    expected = [[*(slow_share(text, document, texts) for text in texts), 0.0] for document in documents]
    np.testing.assert_allclose(share_BC, expected, atol=1e-5)
    assert share_BC.dtype == np.float32


def test_overlap_in_slices_is_overlap_at_once(monkeypatch):
    texts = ["salt bread", "wind", "kite and wind", ""]
    overlap = Overlap(texts)
    words_BV = overlap.words(["wind over salt", "nothing of it", "kite"])
    assert sp.issparse(words_BV)
    assert set(words_BV.data.tolist()) == {1.0}
    label_BC = np.array([[0, 1, 2], [3, PAD, 1], [2, 2, 0]], np.int32)
    at_once = overlap.shares(words_BV, label_BC)
    monkeypatch.setattr(overlap_module, "PAIRS_AT_ONCE", 2)
    np.testing.assert_array_equal(overlap.shares(words_BV, label_BC), at_once)
    assert at_once[0, 1] == pytest.approx(1)
    assert not at_once[1].any()
