import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from raytagger.errors import BundleError, SettingsError
from raytagger.schema import PAD
from raytagger.search.beam import BeamSearch, warm
from raytagger.search.layout import open_layout, write_layout
from tests.equal import assert_same_ranking, assert_same_scores, ranking
from tests.reference_beam import COMBINERS, TRANSFORMS, make_documents, make_model, scores_by_level, search_slowly

FEATURES = 100
CLOSE = 1e-4


def opened(folder, model, *, dense=False, renumber=False):
    write_layout(folder, model.tree, model.weights, model.dense if dense else None, renumber=renumber)
    return open_layout(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("layout")


@pytest.fixture(scope="module")
def model():
    return make_model(3, (3, 12, 90), FEATURES)


@pytest.fixture(scope="module")
def layout(model, tmp_path_factory):
    return opened(tmp_path_factory.mktemp("layout"), model)


@pytest.fixture(scope="module")
def documents():
    return make_documents(5, 40, FEATURES)


def assert_found(found, row, expected, all_scores, close=CLOSE):
    """One row has the expected scores, each belonging to its label, best first, ties by label."""
    labels, scores = found.label_BK[row], found.score_BK[row]
    count = len(expected)
    np.testing.assert_allclose(scores[:count], [score for _, score in expected], atol=close)
    np.testing.assert_allclose(scores[:count], all_scores[labels[:count]], atol=close)
    assert (labels[count:] == PAD).all()
    assert (scores[count:] == -np.inf).all()
    assert len(set(labels[:count].tolist())) == count
    order = sorted(range(count), key=lambda place: (-scores[place], labels[place]))
    assert order == list(range(count))


def closeness(model, document, transform, dense=None):
    """1e-4 of a score in [0, 1]; raw margins are as exact relatively to their size, and so are their products."""
    margins = scores_by_level(model, document, dense, "noop", "none")
    return CLOSE * (np.prod([max(1, np.abs(level).max()) for level in margins]) if transform == "noop" else 1)


def by_label(model, document, transform, combiner, dense=None):
    scores = np.empty(len(model.tree.label_P))
    scores[model.tree.label_P] = scores_by_level(model, document, dense, transform, combiner)[-1]
    return scores


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    widths=st.sampled_from([(5,), (1, 1, 1), (2, 7, 40), (3, 60), (2, 80, 130), (256,)]),
    density=st.sampled_from([0.05, 0.3, 1.0]),
    transform=st.sampled_from(list(TRANSFORMS)),
    combiner=st.sampled_from(list(COMBINERS)),
    beam=st.sampled_from([0, 1, 2, 5, 70]),
    k=st.sampled_from([1, 4, 300]),
    dense=st.booleans(),
    renumber=st.booleans(),
)
def test_the_search_equals_the_slow_one(
    folder, seed, widths, density, transform, combiner, beam, k, dense, renumber
):
    model = make_model(seed, widths, FEATURES, density=density, dense=6)
    search = BeamSearch(opened(folder, model, dense=dense, renumber=renumber), transform, combiner, beam)
    doc_BV = make_documents(seed, 3, FEATURES)
    doc_BE = np.random.default_rng(seed).standard_normal((3, 6)).astype(np.float32) if dense else None
    found = search.search(doc_BV, k, doc_BE)
    for row in range(3):
        dense_E = None if doc_BE is None else doc_BE[row]
        document = doc_BV[[row]].toarray()[0]
        expected, gap = search_slowly(model, document, k, transform, combiner, beam, dense_E)
        assume(gap > CLOSE)  # else another label may be as right
        close = closeness(model, document, transform, dense_E)
        assert_found(found, row, expected, by_label(model, document, transform, combiner, dense_E), close)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("combiner", COMBINERS)
def test_full_width_is_brute_force(model, layout, documents, transform, combiner):
    found = BeamSearch(layout, transform, combiner, beam=0).search(documents, 5)
    for row in range(len(found)):
        document = documents[[row]].toarray()[0]
        scores = by_label(model, document, transform, combiner)
        best = np.argsort(-scores, kind="stable")[:5]
        close = closeness(model, document, transform)
        assert_found(found, row, [(label, scores[label]) for label in best], scores, close)


def test_the_beam_of_a_request_replaces_the_usual_one(layout, documents):
    narrow, exact = BeamSearch(layout, beam=1), BeamSearch(layout, beam=0)
    assert (narrow.search(documents, 3).label_BK != exact.search(documents, 3).label_BK).any()
    assert_same_scores(narrow.search(documents, 3, beam=0), exact.search(documents, 3))


@pytest.mark.parametrize("dense", [False, True])
def test_batch_and_single_documents_and_threads_agree(tmp_path, dense):
    model = make_model(4, (4, 30, 400), FEATURES, dense=8)
    search = BeamSearch(opened(tmp_path, model, dense=dense), beam=4)
    doc_BV = make_documents(1, 300, FEATURES)  # enough for the order by best parent
    doc_BE = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32) if dense else None
    batch = search.search(doc_BV, 6, doc_BE, threads=1)
    threads = search.search(doc_BV, 6, doc_BE, threads=3)
    assert_same_scores(threads, batch)
    for row in range(300):
        one = doc_BV[[row]]
        single = search.search_one(one.indices, one.data, 6, None if doc_BE is None else doc_BE[row])
        assert_same_ranking(ranking(single), ranking(batch, row))


def levels_of(tree, allowed_leaf):
    masks = [allowed_leaf]
    for level in range(tree.depth - 1, 0, -1):
        above = np.zeros(tree.width[level - 1], bool)
        np.logical_or.at(above, tree.parents(level), masks[0])
        masks.insert(0, above)
    return masks


@pytest.mark.parametrize("beam", [0, 1, 3])
@pytest.mark.parametrize("allowed", [1, 5, 60])
def test_only_allowed_labels_are_searched(model, layout, documents, beam, allowed):
    allowed_L = np.zeros(90, bool)
    allowed_L[np.random.default_rng(allowed).choice(90, allowed, replace=False)] = True
    search = BeamSearch(layout, beam=beam)
    found = search.search(documents, 4, allowed_L=allowed_L)
    masks = levels_of(model.tree, allowed_L[model.tree.label_P])
    for row in range(len(found)):
        document = documents[[row]].toarray()[0]
        expected, gap = search_slowly(model, document, 4, "l3-hinge", "product", beam, allowed_P=masks)
        if gap > CLOSE:
            assert_found(found, row, expected, by_label(model, document, "l3-hinge", "product"))
        one = documents[[row]]
        single = search.search_one(one.indices, one.data, 4, allowed_L=allowed_L)
        assert single.label_BK[0].tolist() == found.label_BK[row].tolist()


def test_a_single_allowed_label_is_found_by_the_narrowest_beam(layout, documents):
    search = BeamSearch(layout, beam=1)
    for label in range(0, 90, 7):
        allowed_L = np.arange(90) == label
        assert (search.search(documents, 2, allowed_L=allowed_L).label_BK == [label, PAD]).all()


def test_a_limit_that_is_changed_in_place_counts(layout, documents):
    search, allowed_L = BeamSearch(layout), np.zeros(90, bool)
    for label in (3, 4):
        allowed_L[:] = np.arange(90) == label
        assert (search.search(documents, 1, allowed_L=allowed_L).label_BK == label).all()
    assert search.limit(allowed_L) is search.limit(allowed_L.copy())


def test_nothing_allowed_gives_nothing(layout, documents):
    found = BeamSearch(layout).search(documents, 3, allowed_L=np.zeros(90, bool))
    assert (found.label_BK == PAD).all()
    assert (found.score_BK == -np.inf).all()


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_subtree_limits_the_search(model, layout, documents, level):
    tree = model.tree
    above = np.arange(90)  # of each leaf, its node of the level
    for deeper in range(tree.depth - 1, level, -1):
        above = tree.parents(deeper)[above]
    for nodes in (1, [0, 2], np.array([2])):
        within = set(tree.label_P[np.isin(above, nodes)].tolist())
        found = BeamSearch(layout, beam=0).search(documents, 90, below=(level, nodes))
        assert {label for label in found.label_BK.ravel().tolist() if label != PAD} == within
        allowed_L = np.arange(90) % 2 == 0
        both = BeamSearch(layout, beam=0).search(documents, 90, below=(level, nodes), allowed_L=allowed_L)
        kept = {label for label in both.label_BK.ravel().tolist() if label != PAD}
        assert kept == {label for label in within if label % 2 == 0}


def test_a_pruned_branch_is_not_scored(model, layout, documents):
    tree = model.tree
    place = int(np.flatnonzero(tree.parents(1) == 0)[-1])  # a node of level 1 below node 0
    dead = np.flatnonzero(tree.parents(2) == place)
    row = layout.row.copy()  # rows of that node now point far outside: reading them would crash or scramble
    first, stop = layout.node_row[1 + 3 + place], layout.node_row[2 + 3 + place]
    row[int(first) : int(stop)] |= np.uint32(0x7F000000)
    row.flags.writeable = False
    allowed_L = np.ones(90, bool)
    allowed_L[tree.label_P[dead]] = False
    broken, whole = BeamSearch(layout._replace(row=row), beam=0), BeamSearch(layout, beam=0)
    found, expected = (search.search(documents, 90, allowed_L=allowed_L) for search in (broken, whole))
    assert (found.label_BK == expected.label_BK).all()
    assert (found.score_BK == expected.score_BK).all()


def test_more_labels_than_there_are_is_padded(layout, documents):
    found = BeamSearch(layout, beam=0).search(documents, 100)
    assert found.label_BK.shape == (40, 100)
    assert (np.sort(found.label_BK[:, :90], axis=1) == np.arange(90)).all()
    assert (found.label_BK[:, 90:] == PAD).all()


def test_a_document_without_features_gets_what_the_biases_say(model, layout):
    search = BeamSearch(layout, beam=0)
    found = search.search(sp.csr_matrix((2, FEATURES), dtype=np.float32), 3)
    scores = by_label(model, np.zeros(FEATURES), "l3-hinge", "product")
    best = np.argsort(-scores, kind="stable")[:3]
    for row in range(2):
        assert_found(found, row, [(label, scores[label]) for label in best], scores)


def test_blank_documents_are_told(tmp_path):
    model = make_model(0, (2, 8), 10, density=1.0)
    for level, matrix in enumerate(model.weights):
        kept = matrix.tolil()
        kept[5] = 0
        model.weights[level] = sp.csc_matrix(kept, dtype=np.float32)
        model.weights[level].eliminate_zeros()
    search = BeamSearch(opened(tmp_path, model))
    doc_BV = sp.csr_matrix(np.eye(10, dtype=np.float32)[[5, 3, 5, 0]])
    doc_BV = sp.csr_matrix(sp.vstack([sp.csr_matrix((1, 10)), doc_BV, sp.csr_matrix((1, 10))]), dtype=np.float32)
    assert search.blank(doc_BV).tolist() == [True, True, False, True, False, True]
    assert search.blank(doc_BV[:0]).tolist() == []


def test_no_documents_give_no_rows(layout):
    assert BeamSearch(layout).search(sp.csr_matrix((0, FEATURES), dtype=np.float32), 3).label_BK.shape == (0, 3)


def test_ties_go_to_the_smaller_label(tmp_path):
    model = make_model(0, (2, 20), 10, density=0.0)
    for matrix in model.weights:
        matrix.data[:] = 2.0  # every margin is above the hinge's: all labels score 1
    found = BeamSearch(opened(tmp_path, model), beam=0).search(make_documents(0, 4, 10), 20)
    assert (found.label_BK == np.arange(20)).all()
    assert (found.score_BK == 1).all()


@pytest.mark.parametrize("feature", [FEATURES, 1 << 30, -1])
def test_a_feature_beyond_the_vocabulary_is_refused(layout, feature):
    with pytest.raises(BundleError, match="beyond the tree's vocabulary"):
        BeamSearch(layout).search_one(np.array([feature], np.int32), np.ones(1, np.float32), 3)
    if feature == FEATURES:
        with pytest.raises(BundleError, match="document 1 of its block'; expected features below 100"):
            BeamSearch(layout).search(sp.csr_matrix(np.eye(101, dtype=np.float32)[[3, 100]]), 3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_refused(layout, value):
    with pytest.raises(BundleError, match="not finite"):
        BeamSearch(layout).search_one(np.array([3], np.int32), np.array([value], np.float32), 3)


def test_dense_features_must_be_the_trees_own(tmp_path, layout, documents):
    model = make_model(0, (2, 20), FEATURES, dense=4)
    search = BeamSearch(opened(tmp_path, model, dense=True))
    for doc_BE in (None, np.zeros((40, 3), np.float32), np.full((40, 4), np.nan, np.float32)):
        with pytest.raises(BundleError, match="dense features"):
            search.search(documents, 3, doc_BE)
    with pytest.raises(BundleError, match="dense features"):
        BeamSearch(layout).search(documents, 3, np.zeros((40, 4), np.float32))


def test_impossible_requests_are_refused(layout, documents):
    for wrong in (
        lambda: BeamSearch(layout, "l5-hinge"),
        lambda: BeamSearch(layout, "noop", "mean"),
        lambda: BeamSearch(layout, beam=-1),
        lambda: BeamSearch(layout).search(documents, 0),
        lambda: BeamSearch(layout).search(documents, 1, beam=-2),
        lambda: BeamSearch(layout).search(documents, 1, allowed_L=np.ones(89, bool)),
        lambda: BeamSearch(layout).search(documents, 1, below=(3, 0)),
        lambda: BeamSearch(layout).search(documents, 1, below=(0, [0, 3])),
        lambda: BeamSearch(layout).search(documents, 1, below=(0, -1)),
    ):
        with pytest.raises(SettingsError):
            wrong()


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("combiner", COMBINERS)
def test_a_path_adds_up_to_the_score(tmp_path, transform, combiner):
    model = make_model(9, (3, 12, 90), FEATURES, density=0.5, dense=4)
    search = BeamSearch(opened(tmp_path, model, dense=True, renumber=True), transform, combiner, 0)
    doc_1V, doc_E = make_documents(2, 1, FEATURES), np.array([0.3, -1, 2, 0.5], np.float32)
    found = search.search_one(doc_1V.indices, doc_1V.data, 90, doc_E)
    levels = scores_by_level(model, doc_1V.toarray()[0], doc_E, transform, combiner)
    for label, score in zip(found.label_BK[0, ::11].tolist(), found.score_BK[0, ::11].tolist(), strict=True):
        path = search.path(doc_1V, label, doc_E)
        place = int(np.flatnonzero(model.tree.label_P == label)[0])
        for step in reversed(path):
            column = model.weights[step.level].toarray()[:, place]
            known = step.feature_T
            assert step.node == place
            assert set(known.tolist()) == set(np.flatnonzero(column[:-1]).tolist()) & set(doc_1V.indices.tolist())
            expected = column[known] * doc_1V.toarray()[0, known]
            np.testing.assert_allclose(step.contribution_T, expected, rtol=1e-4)
            assert step.margin == pytest.approx(step.bias + step.contribution_T.sum() + step.dense, abs=1e-5)
            assert step.score == pytest.approx(float(TRANSFORMS[transform](step.margin)), rel=1e-4)
            assert step.combined == pytest.approx(levels[step.level][place], rel=1e-3, abs=CLOSE)
            place = int(model.tree.parents(step.level)[place])
        assert path[-1].combined == pytest.approx(score, rel=1e-3, abs=CLOSE)


def test_the_path_to_an_unknown_label_is_refused(layout, documents):
    with pytest.raises(BundleError, match="does not have the label; got 90"):
        BeamSearch(layout).path(documents[[0]], 90)


def test_warming_needs_no_documents(layout, tmp_path):
    warm(layout)
    warm(opened(tmp_path, make_model(0, (2, 20), 10, dense=4), dense=True))
