"""Label fusion against the definition: every subset, summed and compared one by one."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from raytagger.errors import CorpusError, SettingsError
from raytagger.schema import PAD, Scores
from raytagger.search.fusion import FEW_LABELS, MANY_UNSEEN, FusionOptions, fuse, fused_labels

ANY = FusionOptions(threshold=0.0, labels_at_most=30)
EXHAUSTIVE = FusionOptions(threshold=0.0, labels_at_most=14, search="exhaustive")


def unit(rows):
    """Rows of length 1, zero rows as they are."""
    rows = np.asarray(rows, np.float64)
    return (rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-30)).astype(np.float32)


def document(probability, label=None):
    """A shortlist of one document."""
    label = np.arange(len(probability)) if label is None else label
    return Scores(np.array([label], np.int32), np.array([probability], np.float32))


def falling(rng, places, low=0.1):
    return np.sort(rng.uniform(low, 1, places))[::-1]


def cosine(places, probability, seen, unseen):
    """The cosine of one subset by its definition."""
    total = sum(np.float64(probability[place]) * seen[place].astype(np.float64) for place in places)
    return total @ unseen.astype(np.float64) / np.linalg.norm(total)


def best_of_all(probability, seen, unseen):
    """The best cosine of all subsets whose labels do not cancel each other, for each unseen label."""
    parts = probability.astype(np.float64)[:, None] * seen
    scores = []
    for subset in product([False, True], repeat=len(parts)):
        total = parts[list(subset)].sum(axis=0)
        if total @ total > 1e-8 * (parts[list(subset)] ** 2).sum():
            scores.append(unseen.astype(np.float64) @ total / np.linalg.norm(total))
    return np.max(scores, axis=0, initial=-np.inf)


def check(found, shortlist, seen, unseen):
    """Whatever is answered, the subset that it names has the score that it names."""
    for row in range(len(shortlist)):
        label_K, probability_K = shortlist.label_BK[row], shortlist.score_BK[row]
        for column, chosen in enumerate(found.chosen_BU[row]):
            places = [place for place in range(len(label_K)) if int(chosen) >> place & 1]
            assert list(fused_labels(chosen, label_K)) == [label_K[place] for place in places]
            score = -np.inf
            if places:
                score = cosine(range(len(places)), probability_K[places], seen[label_K[places]], unseen[column])
            assert found.score_BU[row, column] == pytest.approx(score, abs=1e-5)


def random(rng, places, width):
    return rng.normal(size=(places, width))


def near_parallel(rng, places, width):
    return rng.normal(size=width) + 0.05 * rng.normal(size=(places, width))


def opposed(rng, places, width):
    half = rng.normal(size=((places + 1) // 2, width))
    return np.concatenate([half, -half])[:places]


def repeated(rng, places, width):
    return rng.normal(size=(2, width))[np.arange(places) % 2]


def positive(rng, places, width):
    return np.abs(rng.normal(size=(places, width))) * (rng.random((places, width)) < 0.3) + 1e-3


def simplex(rng, places, width):
    return np.eye(places, max(places, width)) - 1 / places


FAMILIES = [random, near_parallel, opposed, repeated, positive, simplex]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 10), st.integers(1, 6), st.sampled_from(FAMILIES), st.booleans())
def test_the_best_subset_is_found(seed, places, width, family, equal):
    rng = np.random.default_rng(seed)
    seen = unit(family(rng, places, width))
    unseen = unit(rng.normal(size=(3, seen.shape[1])))
    shortlist = document(np.full(places, 0.5) if equal else falling(rng, places))
    found = fuse(shortlist, seen, unseen, ANY)
    expected = best_of_all(shortlist.score_BK[0], seen, unseen)
    np.testing.assert_allclose(found.score_BU[0], expected, atol=1e-5)
    np.testing.assert_allclose(fuse(shortlist, seen, unseen, EXHAUSTIVE).score_BU[0], expected, atol=1e-5)
    assert found.proven_BU.all()
    check(found, shortlist, seen, unseen)


@pytest.mark.parametrize("places", [9, 12, 14])
def test_a_bound_that_prunes_little_still_ends_with_proof(places):
    """Orthogonal labels, equally probable; the sum of the n first has the same cosine for every n."""
    seen = np.eye(places, places + 1, dtype=np.float32)
    dot_K = np.sqrt(np.arange(1, places + 1)) - np.sqrt(np.arange(places))
    unseen = unit(np.concatenate([dot_K, [2 * np.sqrt(places)]])[None])
    shortlist = document(np.full(places, 0.5))
    ours, all_tried = fuse(shortlist, seen, unseen, ANY), fuse(shortlist, seen, unseen, EXHAUSTIVE)
    np.testing.assert_allclose(ours.score_BU, all_tried.score_BU, atol=1e-6)
    assert ours.proven_BU.all()
    check(ours, shortlist, seen, unseen)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("places", [9, 12, 14])
@pytest.mark.parametrize("low", [0.1, 1e-9])
def test_branch_and_bound_equals_exhaustive_search(family, places, low):
    rng = np.random.default_rng(places)
    seen = unit(family(rng, places, 20))
    unseen = unit(np.concatenate([rng.normal(size=(12, seen.shape[1])), rng.random((12, places)) @ seen]))
    probability = falling(rng, places)
    probability[places // 2 :] *= low / probability[places // 2]
    for shortlist in (document(probability), document(np.full(places, 0.7))):
        ours, all_tried = fuse(shortlist, seen, unseen, ANY), fuse(shortlist, seen, unseen, EXHAUSTIVE)
        np.testing.assert_allclose(ours.score_BU, all_tried.score_BU, atol=1e-6)
        assert ours.proven_BU.all()
        assert ours.nodes < all_tried.nodes == (2**places - 1) * len(unseen)
        check(ours, shortlist, seen, unseen)
        check(all_tried, shortlist, seen, unseen)


def test_subsets_are_the_same_where_there_are_no_ties():
    rng = np.random.default_rng(1)
    shortlist = Scores(
        np.stack([rng.permutation(60)[:13] for _ in range(70)]).astype(np.int32),
        np.stack([falling(rng, 13, 0.2) for _ in range(70)]).astype(np.float32),
    )
    seen, unseen = unit(rng.normal(0.2, 1, (60, 40))), unit(rng.normal(0.2, 1, (5, 40)))
    ours, all_tried = fuse(shortlist, seen, unseen, ANY), fuse(shortlist, seen, unseen, EXHAUSTIVE)
    np.testing.assert_array_equal(ours.chosen_BU, all_tried.chosen_BU)
    np.testing.assert_array_equal(ours.score_BU, all_tried.score_BU)
    check(ours, shortlist, seen, unseen)


def test_many_unseen_labels_score_as_each_does_alone():
    rng = np.random.default_rng(2)
    seen, unseen = unit(rng.normal(size=(FEW_LABELS, 9))), unit(rng.normal(size=(2200, 9)))
    shortlist = document(falling(rng, FEW_LABELS))
    together = fuse(shortlist, seen, unseen, ANY)
    some = np.r_[:MANY_UNSEEN:9, 60:70, 2040:2060]
    alone = [fuse(shortlist, seen, unseen[[column]], ANY) for column in some]
    np.testing.assert_allclose(together.score_BU[0, some], [found.score_BU[0, 0] for found in alone], atol=1e-6)
    np.testing.assert_array_equal(together.chosen_BU[0, some], [found.chosen_BU[0, 0] for found in alone])


def test_only_the_most_probable_labels_take_part():
    rng = np.random.default_rng(8)
    seen, unseen = unit(rng.normal(size=(9, 12))), unit(rng.normal(size=(5, 12)))
    probability, label = falling(rng, 9), rng.permutation(9)
    capped = fuse(document(probability, label), seen, unseen, FusionOptions(0.0, 4))
    few = fuse(document(probability[:4], label[:4]), seen, unseen, ANY)
    np.testing.assert_array_equal(capped.score_BU, few.score_BU)
    over = FusionOptions(threshold=float(np.float32(probability[4])))
    np.testing.assert_array_equal(fuse(document(probability, label), seen, unseen, over).score_BU, few.score_BU)


def test_the_paper_s_example():
    convolution, network, cooking = np.eye(3)
    seen, unseen = unit([cooking, network, convolution]), unit([convolution + network])
    found = fuse(document([0.96, 0.81, 0.4], [2, 1, 0]), seen, unseen)
    assert list(fused_labels(found.chosen_BU[0, 0], np.array([2, 1, 0], np.int32))) == [2, 1]
    assert found.score_BU[0, 0] == pytest.approx((0.96 + 0.81) / np.sqrt(2 * (0.96**2 + 0.81**2)))


def test_thirty_labels_are_proven():
    rng = np.random.default_rng(3)
    seen, unseen = unit(rng.normal(0.2, 1, (30, 64))), unit(rng.normal(0.2, 1, (4, 64)))
    shortlist = document(falling(rng, 30))
    found = fuse(shortlist, seen, unseen, ANY)
    assert found.proven_BU.all()
    check(found, shortlist, seen, unseen)
    fewer = fuse(shortlist, seen, unseen, FusionOptions(0.0, 14, "exhaustive"))
    cone = [np.linalg.norm(seen.T @ nnls(seen.T.astype(float), vector.astype(float))[0]) for vector in unseen]
    assert (found.score_BU[0] >= fewer.score_BU[0] - 1e-6).all()
    assert (found.score_BU[0] <= cone).all()


def test_a_spent_budget_is_told_and_the_answer_is_still_a_subset():
    rng = np.random.default_rng(4)
    seen, unseen = unit(rng.normal(size=(14, 32))), unit(rng.random((20, 32)))
    shortlist = document(falling(rng, 14))
    hasty = fuse(shortlist, seen, unseen, FusionOptions(0.0, 14, node_budget=1))
    best = fuse(shortlist, seen, unseen, EXHAUSTIVE).score_BU
    assert not hasty.proven_BU.all()
    assert hasty.nodes == 20
    check(hasty, shortlist, seen, unseen)
    np.testing.assert_allclose(hasty.score_BU[hasty.proven_BU], best[hasty.proven_BU], atol=1e-6)
    assert (hasty.score_BU >= 0.9 * best).all()


def test_all_labels_at_once_are_conse():
    rng = np.random.default_rng(5)
    seen, unseen = unit(rng.normal(size=(8, 6))), unit(rng.normal(size=(4, 6)))
    shortlist = document(falling(rng, 5), [7, 0, 3, 3, PAD])
    found = fuse(shortlist, seen, unseen, FusionOptions(0.0, search="conse"))
    expected = [cosine(range(4), shortlist.score_BK[0], seen[[7, 0, 3, 3]], vector) for vector in unseen]
    np.testing.assert_allclose(found.score_BU[0], expected, atol=1e-6)
    assert (found.chosen_BU == 0b1111).all()
    assert found.proven_BU.all()


@pytest.mark.parametrize("search", ["branch", "exhaustive", "conse"])
def test_a_document_without_labels_to_fuse_scores_nothing(search):
    seen, unseen = unit([[1, 0], [0, 0], [0, 1]]), unit([[1, 1], [0, 1]])
    label = np.array([[0, 2], [2, 0], [1, PAD], [PAD, PAD], [0, 2]], np.int32)
    score = np.array([[0.9, 0.8], [0.3, 0.1], [0.9, -np.inf], [-np.inf, -np.inf], [0.31, 0.3]], np.float32)
    found = fuse(Scores(label, score), seen, unseen, FusionOptions(0.3, search=search))
    nothing = np.array([False, True, True, True, False])  # probabilities must lie above the threshold
    assert (found.score_BU[nothing] == -np.inf).all()
    assert (found.chosen_BU[nothing] == 0).all()
    assert found.proven_BU.all()
    assert (found.chosen_BU[~nothing] != 0).all()
    assert np.isfinite(found.score_BU[~nothing]).all()
    assert (found.chosen_BU[4] == 1).all()


@pytest.mark.parametrize("search", ["branch", "exhaustive", "conse"])
@pytest.mark.parametrize("copies", [1, MANY_UNSEEN])
def test_labels_without_text_are_left_out(search, copies):
    seen, unseen = unit([[0, 0], [1, 0], [0, 1]]), unit([[1, 1], [0, 0]] * copies)
    shortlist = document([0.9, 0.5, 0.5])
    found = fuse(shortlist, seen, unseen, FusionOptions(search=search))
    assert found.score_BU[0, 0] == pytest.approx(1)
    assert found.chosen_BU[0, 0] == 0b110  # bits are the shortlist's places, whatever is left out
    assert found.score_BU[0, 1] == 0
    check(found, shortlist, seen, unseen)


@pytest.mark.parametrize("search", ["branch", "exhaustive"])
def test_where_nothing_agrees_one_label_is_the_least_evil(search):
    seen, unseen = unit([[-1, 0, 0], [-1, 1, 0], [-1, 0, 3]]), unit([[1, 0, 0]])
    found = fuse(document([0.9, 0.8, 0.7]), seen, unseen, FusionOptions(search=search))
    assert found.chosen_BU[0, 0] == 0b100
    assert found.score_BU[0, 0] == pytest.approx(-1 / np.sqrt(10))
    assert found.nodes == (1 if search == "branch" else 7)  # a sum lies between its parts: no search


@pytest.mark.parametrize("search", ["branch", "exhaustive", "conse"])
def test_labels_that_cancel_have_no_direction(search):
    seen, unseen = unit([[1, 0], [-1, 0]]), unit([[1, 1e-3]])
    found = fuse(document([0.5, 0.5]), seen, unseen, FusionOptions(search=search))
    if search == "conse":
        assert (found.score_BU[0, 0], found.chosen_BU[0, 0]) == (-np.inf, 0)
    else:
        assert found.chosen_BU[0, 0] == 1
        assert found.score_BU[0, 0] == pytest.approx(1, abs=1e-6)


def test_tiny_probabilities_decide_nothing_but_count():
    rng = np.random.default_rng(6)
    seen = unit(rng.normal(size=(10, 16)))
    probability = np.array([1, 0.9, 0.8, *np.full(7, 1e-9)])
    unseen = unit((probability[3:6] * 1e9) @ seen[3:6] - 0.2 * seen[:3].sum(axis=0))[None]
    found = fuse(document(probability), seen, unseen, ANY)
    expected = best_of_all(probability.astype(np.float32), seen, unseen)
    np.testing.assert_allclose(found.score_BU[0], expected, atol=1e-6)
    assert int(found.chosen_BU[0, 0]) & 0b111 == 0


@pytest.mark.parametrize("search", ["branch", "exhaustive", "conse"])
@pytest.mark.parametrize(("documents", "unseen"), [(0, 3), (3, 0)])
def test_nothing_in_nothing_out(search, documents, unseen):
    shortlist = Scores(np.zeros((documents, 1), np.int32), np.ones((documents, 1), np.float32))
    found = fuse(shortlist, unit(np.eye(2)), unit(np.ones((unseen, 2))), FusionOptions(search=search))
    assert found.score_BU.shape == found.chosen_BU.shape == found.proven_BU.shape == (documents, unseen)
    assert (found.score_BU.dtype, found.chosen_BU.dtype) == (np.float32, np.int64)
    assert found.nodes == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels_at_most": 0}, "labels to fuse"),
        ({"labels_at_most": 31}, "1 to 30"),
        ({"threshold": 1.0}, "threshold"),
        ({"threshold": -0.1}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"search": "best"}, "branch, exhaustive, conse"),
        ({"search": "exhaustive", "labels_at_most": 21}, "20 at most"),
        ({"node_budget": 0}, "node budget"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(SettingsError, match=message):
        FusionOptions(**options)


@pytest.mark.parametrize("score", [1.5, -0.5, float("nan")])
def test_scores_that_are_no_probabilities_are_refused(score):
    with pytest.raises(SettingsError, match="probabilities"):
        fuse(document([score]), unit(np.eye(2)), unit(np.eye(2)))


def test_embeddings_that_do_not_fit_are_refused():
    with pytest.raises(SettingsError, match="widths"):
        fuse(document([0.5]), unit(np.eye(2)), unit(np.eye(3)))
    with pytest.raises(CorpusError, match="2 embeddings"):
        fuse(document([0.5], [2]), unit(np.eye(2)), unit(np.eye(2)))
