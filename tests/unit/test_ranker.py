"""The ranker's solver against scikit-learn's, its negatives against the definition."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.svm import LinearSVC

from raytagger.errors import CorpusError, SettingsError
from raytagger.labels.tree import LabelTree
from raytagger.schema import PAD, Scores
from raytagger.search.ranker import (
    Instances,
    RankerSettings,
    all_documents,
    cut_spans,
    matched,
    shared_costs,
    teacher_forced,
    train_chunks,
    train_level,
    unite,
)
from raytagger.search.ranker_kernels import train_chunk

V = 30
TIGHT = RankerSettings(eps=1e-4, max_passes=3000, threshold=0.0)


def make_level(seed=0, documents=45, siblings=(3, 9, 1), dense=0, active_share=0.6):
    """A level whose chunks have so many siblings; some documents have no features, some no gold nodes."""
    rng = np.random.default_rng(seed)
    doc_NV = sp.random(documents, V, 0.2, "csr", np.float32, random_state=rng)
    doc_NV.data -= np.float32(0.3)
    doc_NV = sp.csr_matrix(sp.diags((np.arange(documents) % 7 != 0).astype(np.float32)) @ doc_NV, dtype=np.float32)
    doc_NV.eliminate_zeros()
    gold = sp.csr_matrix(rng.random((documents, sum(siblings))) < 0.2)
    active = sp.csc_matrix(rng.random((documents, len(siblings))) < active_share)
    doc_NE = rng.normal(size=(documents, dense)).astype(np.float32) if dense else None
    return Instances(doc_NV, gold, active, np.cumsum([0, *siblings]), doc_NE)


def replaced(level, **change):
    return Instances(**(vars(level) | change))


def weights_of(level, settings=TIGHT):
    """Dense float64 (V + 1 + E, places): sparse, bias, dense."""
    found = train_level(level, settings)
    return np.concatenate([found.matrix().toarray(), found.dense_PE.T]).astype(np.float64)


def problems(level, bias=1.0):
    """What each place is trained on: features with the constant, ±1, and costs of gold entries."""
    dense_NE = np.zeros((level.doc_NV.shape[0], 0)) if level.doc_NE is None else level.doc_NE
    whole = np.concatenate([level.doc_NV.toarray(), np.full((len(dense_NE), 1), bias), dense_NE], axis=1)
    active, gold = level.active.toarray(), level.gold.toarray()
    cost = gold if level.cost is None else level.cost.toarray()
    for node, (start, stop) in enumerate(pairwise(level.offset)):
        for place in range(start, stop):
            rows = active[:, node] | gold[:, place]
            yield place, whole[rows], np.where(gold[rows, place], 1.0, -1.0), cost[rows, place]


def objective(weight, features, sign, cost):
    return 0.5 * weight @ weight + (cost * np.maximum(0, 1 - sign * (features @ weight)) ** 2).sum()


def assert_optimal(level, settings, weights, share=1e-3):
    checked = 0
    for place, features, sign, cost in problems(level, settings.bias):
        each = np.where(sign > 0, settings.cost_positive * np.where(sign > 0, cost, 1), settings.cost_negative)
        if len(set(sign)) < 2:
            continue
        best = LinearSVC(loss="squared_hinge", dual=True, fit_intercept=False, tol=1e-6, max_iter=20_000)
        expected = best.fit(features, sign, sample_weight=each).coef_[0]
        weight = weights[:, place].copy()
        weight[V] /= settings.bias  # what is kept is the bias' weight times the constant
        least = objective(expected, features, sign, each)
        assert objective(weight, features, sign, each) <= least * (1 + share)
        if settings.eps <= 1e-4:
            np.testing.assert_allclose(weight, expected, atol=2e-3)
        checked += 1
    assert checked >= len(level.offset) - 1


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 1000),
    st.integers(1, 30),
    st.lists(st.integers(1, 10), min_size=1, max_size=3),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_no_other_weights_are_better(seed, documents, siblings, dense, active_share):
    level = make_level(seed, documents, siblings, dense, active_share)
    weights = weights_of(level)
    for place, features, sign, cost in problems(level):
        each = np.where(sign > 0, cost, 1)

        def value_and_slope(weight, features=features, sign=sign, each=each):
            short = np.maximum(0, 1 - sign * (features @ weight))
            return objective(weight, features, sign, each), weight - 2 * features.T @ (each * short * sign)

        best = minimize(value_and_slope, np.zeros(features.shape[1]), jac=True, tol=1e-10)
        assert objective(weights[:, place], features, sign, each) <= best.fun * 1.001 + 1e-6


@pytest.mark.parametrize("siblings", [(1,), (8,), (3, 9, 1), (2, 17)])
@pytest.mark.parametrize("dense", [0, 5])
def test_weights_are_those_of_scikit_learn(siblings, dense):
    level = make_level(len(siblings), siblings=siblings, dense=dense)
    assert_optimal(level, TIGHT, weights_of(level))


@pytest.mark.parametrize(
    "change",
    [{"cost_positive": 4.0}, {"cost_negative": 0.25}, {"cost_positive": 0.5, "cost_negative": 2.0}, {"bias": 0.3}],
)
def test_costs_of_the_classes_and_the_constant(change):
    tight = RankerSettings(**(vars(TIGHT) | change))
    level = make_level(5)
    assert_optimal(level, tight, weights_of(level, tight))


def test_costs_of_single_gold_entries():
    level = make_level(6)
    cost = sp.csr_matrix(level.gold, dtype=np.float32)
    cost.data = np.random.default_rng(0).uniform(0.2, 5, cost.nnz).astype(np.float32)
    costly = replaced(level, cost=cost)
    assert_optimal(costly, TIGHT, weights_of(costly))
    assert np.abs(weights_of(costly) - weights_of(level)).max() > 0.1


def test_a_chunk_leaves_nothing_behind_for_the_next():
    """Many features, few of them in each chunk: what a chunk allocates is measured by its own."""
    documents = 64
    doc_NV = sp.csr_matrix((np.ones(documents, np.float32), (np.arange(documents), np.arange(documents) * 999)))
    own = sp.csr_matrix(np.eye(documents, dtype=bool))
    found = train_level(Instances(doc_NV, own, own, np.arange(documents + 1)), RankerSettings())
    assert found.count_P.tolist() == [2] * documents
    assert found.feature[::2].tolist() == (np.arange(documents) * 999).tolist()


def test_the_usual_eps_comes_near():
    level, usual = make_level(7), RankerSettings(threshold=0.0)
    assert_optimal(level, usual, weights_of(level, usual), 0.02)


def test_dense_features_are_as_good_as_sparse_ones():
    level = make_level(8, dense=6)
    both = replaced(level, doc_NV=sp.csr_matrix(sp.hstack([level.doc_NV, level.doc_NE])), doc_NE=None)
    found, expected = train_level(level, TIGHT), train_level(both, TIGHT).matrix().toarray()
    assert found.dense_PE.dtype == np.float32
    np.testing.assert_allclose(found.dense_PE.T, expected[V : V + 6], atol=1e-3)
    np.testing.assert_allclose(found.matrix().toarray(), expected[[*range(V), V + 6]], atol=1e-3)


def test_without_a_constant_there_is_no_bias():
    assert not weights_of(make_level(9), RankerSettings(bias=0.0, threshold=0.0))[V].any()


def test_small_weights_are_dropped():
    level = make_level(10, dense=2)
    whole, kept = weights_of(level), weights_of(level, RankerSettings(**(vars(TIGHT) | {"threshold": 0.2})))
    whole[: V + 1][np.abs(whole[: V + 1]) < 0.2] = 0
    assert (whole == 0).any()
    np.testing.assert_array_equal(kept, whole)  # dense weights all stay


def test_a_node_without_documents_gets_no_weights():
    level = make_level(11, siblings=(4, 3), dense=2)
    active, gold = level.active.toarray(), level.gold.toarray()
    active[:, 0] = gold[:, :4] = False
    weights = weights_of(replaced(level, active=sp.csc_matrix(active), gold=sp.csr_matrix(gold)))
    assert not weights[:, :4].any()
    assert weights[:, 4:].any()


def test_documents_that_are_neither_active_nor_gold_do_not_matter():
    level = make_level(12, siblings=(5,))
    rows = level.active.toarray()[:, 0]
    assert 0 < rows.sum() < len(rows)
    level = replaced(level, gold=sp.csr_matrix(level.gold.toarray() & rows[:, None]))
    alone = Instances(level.doc_NV[rows], level.gold[rows], all_documents(rows.sum()), level.offset)
    np.testing.assert_array_equal(weights_of(level), weights_of(alone))


def test_any_part_of_a_level_gets_the_weights_of_the_whole():
    level = make_level(13, siblings=(3, 9, 1, 20, 4), dense=3)
    arrays = level.arrays()
    whole = train_chunks(arrays, range(5), RankerSettings())
    for threads in (1, 3):
        again = train_level(level, RankerSettings(), threads)
        assert all(np.array_equal(ours, theirs) for ours, theirs in each_field(again, whole))
    for node, (start, stop) in enumerate(pairwise(level.offset)):
        part = train_chunks(arrays, range(node, node + 1), RankerSettings())
        np.testing.assert_array_equal(part.matrix().toarray(), whole.matrix().toarray()[:, start:stop])
        np.testing.assert_array_equal(part.dense_PE, whole.dense_PE[start:stop])
    other = train_level(level, RankerSettings(seed=1))
    assert not np.array_equal(other.value, whole.value)  # the order of the documents counts, at this eps


def each_field(ours, theirs):
    return zip(vars(ours).values(), vars(theirs).values(), strict=True)


def test_all_sorts_of_arrays_are_taken_and_the_kernel_is_compiled_once():
    level = make_level(14)
    expected = weights_of(level)
    compiled = len(train_chunk.signatures)
    frozen = level.doc_NV.copy()
    for array in (frozen.data, frozen.indices, frozen.indptr):
        array.flags.writeable = False
    wide, backwards = level.doc_NV.copy(), level.gold.tocsr(copy=True)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    for row in range(len(backwards.indptr) - 1):
        span = slice(*backwards.indptr[row : row + 2])
        backwards.indices[span] = backwards.indices[span][::-1]
    backwards.has_sorted_indices = backwards.has_canonical_format = False
    for change in ({"doc_NV": frozen}, {"doc_NV": wide}, {"gold": backwards}, {"active": level.active.tocsr()}):
        np.testing.assert_array_equal(weights_of(replaced(level, **change)), expected)
    assert len(train_chunk.signatures) == compiled == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("field", ["doc_NV", "doc_NE"])
def test_features_that_are_not_finite_are_refused(field, bad):
    level = make_level(15, dense=2)
    matrix = getattr(level, field).copy()
    (matrix.data if field == "doc_NV" else matrix.reshape(-1))[3] = bad
    with pytest.raises(CorpusError, match=f"features of the rankers are not finite; got {bad}"):
        replaced(level, **{field: matrix})


def test_what_does_not_fit_is_refused():
    level = make_level(16)
    with pytest.raises(CorpusError, match="gold nodes of a level do not fit"):
        replaced(level, gold=level.gold[:-1])
    with pytest.raises(CorpusError, match="active documents of a level do not fit"):
        replaced(level, active=level.active[:, :1])
    cost = sp.csr_matrix(level.gold, dtype=np.float32)
    with pytest.raises(CorpusError, match="stand where no gold does"):
        replaced(level, cost=sp.csr_matrix(cost.shape, dtype=np.float32)).arrays()
    for wrong in (0.0, -1.0, np.nan):
        cost.data[2] = wrong
        with pytest.raises(CorpusError, match="a cost of the rankers; got"):
            replaced(level, cost=cost).arrays()


@pytest.mark.parametrize(
    ("field", "value"),
    [("cost_positive", 0.0), ("eps", 0.0), ("max_passes", 0), ("threshold", -1.0), ("bias", -1.0)],
)
def test_settings_out_of_range_are_refused(field, value):
    with pytest.raises(SettingsError, match=f"{field} of the rankers"):
        RankerSettings(**{field: value})


def test_negatives():
    gold_above = sp.csr_matrix(np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], bool))
    scores = Scores(np.array([[2, 1], [0, PAD], [1, 2]], np.int32), np.zeros((3, 2), np.float32))
    forced, found = teacher_forced(gold_above), matched(scores, 3)
    np.testing.assert_array_equal(forced.toarray(), gold_above.toarray())
    np.testing.assert_array_equal(found.toarray(), np.array([[0, 1, 1], [1, 0, 0], [0, 1, 1]], bool))
    both = unite(forced, found)
    assert both.dtype == bool
    np.testing.assert_array_equal(both.toarray(), forced.toarray() | found.toarray())
    assert all_documents(3).toarray().tolist() == [[True]] * 3


def test_shared_costs_give_every_document_the_same_weight():
    tree = LabelTree(
        (np.array([0, 2]), np.array([0, 2, 3]), np.array([0, 2, 3, 5])), np.array([4, 0, 1, 3, 5], np.int32)
    )
    gold = sp.csr_matrix(np.array([[1, 1, 0, 0, 1, 0], [0, 0, 1, 0, 0, 0], [0, 0, 1, 1, 0, 1], [0] * 6], bool))
    top, middle, leaf = shared_costs(tree, gold)
    third = 1 / 3
    np.testing.assert_allclose(leaf.toarray()[0], [third, third, third, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(middle.toarray()[[0, 2]], [[2 * third, third, 0], [0, 0, 1]], rtol=1e-6)
    np.testing.assert_allclose(top.toarray(), [[1, 0], [0, 0], [0, 1], [0, 0]], rtol=1e-6)
    for cost, level in zip((top, middle, leaf), tree.gold_by_level(gold), strict=True):
        level.sort_indices()
        np.testing.assert_array_equal(cost.indices, level.indices)
        np.testing.assert_array_equal(cost.indptr, level.indptr)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.integers(1, 120))
def test_spans_cover_all_chunks_and_are_no_larger_than_asked(work, most):
    spans = cut_spans(np.array(work, np.float64), most)
    assert [node for span in spans for node in span] == list(range(len(work)))
    assert all(len(span) == 1 or sum(work[node] for node in span) <= most for span in spans)
    for span, following in pairwise(spans):
        assert sum(work[node] for node in span) + work[following.start] > most
