import json

import numpy as np
import pytest
import scipy.sparse as sp

from raytagger.errors import BundleError
from raytagger.recipes.import_pecos import read_pecos
from raytagger.search.beam import BeamSearch
from raytagger.search.layout import open_layout, write_layout

FEATURES, NODES, LABELS = 30, 4, 12
PARENT = np.array([2, 0, 3, 1, 2, 0, 0, 3, 1, 2, 2, 0])  # of each label: siblings are not neighbours
RNG = np.random.default_rng(0)
WEIGHTS = [RNG.standard_normal((FEATURES + 1, width)).astype(np.float32) for width in (NODES, LABELS)]


def write_pecos(folder, *, bias=2.0, post_processor="l3-hinge", weights=WEIGHTS, parent=PARENT, **changes):
    """What `XLinearModel.save` writes: a chain of levels, each with weights W, clusters C and facts."""
    clusters = [np.ones((NODES, 1)), np.eye(NODES)[parent]]
    ranker = folder / "ranker"
    for level, (weight, cluster) in enumerate(zip(weights, clusters, strict=True)):
        below = ranker / f"{level}.model"
        below.mkdir(parents=True)
        sp.save_npz(below / "W.npz", sp.csc_matrix(weight if bias > 0 else weight[:-1], dtype=np.float32))
        sp.save_npz(below / "C.npz", sp.csc_matrix(cluster, dtype=np.float32))
        facts = {
            "__meta__": {"class_fullname": "pecos.xmc.base###MLModel"},
            "model": "MLModel",
            "nr_labels": cluster.shape[0],
            "nr_features": FEATURES,
            "nr_codes": cluster.shape[1],
            "bias": bias,
            "pred_kwargs": {"only_topk": 7 if level else 3, "post_processor": post_processor},
        }
        (below / "param.json").write_text(json.dumps(facts))
    facts = {
        "__meta__": {"class_fullname": "pecos.xmc.base###HierarchicalMLModel"},
        "model": "HierarchicalMLModel",
        "depth": 2,
        "nr_features": FEATURES,
        "nr_codes": NODES,
        "nr_labels": LABELS,
    }
    (ranker / "param.json").write_text(json.dumps({**facts, **changes}))
    (folder / "param.json").write_text(json.dumps({"__meta__": {"class_fullname": "…###XLinearModel"}}))
    return folder


def test_a_model_is_read(tmp_path):
    model = read_pecos(write_pecos(tmp_path))
    assert (model.transform, model.combiner, model.beam, model.k, model.bias) == ("l3-hinge", "product", 3, 7, 2.0)
    assert model.features == FEATURES
    assert model.tree.width == (NODES, LABELS)
    assert (PARENT[model.tree.label_P] == model.tree.parents(1)).all()
    for weight, expected, order in zip(model.weights, WEIGHTS, (np.arange(4), model.tree.label_P), strict=True):
        assert (weight.toarray()[:-1] == expected[:-1, order]).all()
        assert (weight.toarray()[-1] == 2 * expected[-1, order]).all()


@pytest.mark.parametrize("bias", [-1.0, 1.0, 0.5])
@pytest.mark.parametrize("post_processor", ["noop", "sigmoid", "log-sigmoid", "l2-hinge", "log-l3-hinge"])
def test_its_scores_are_those_of_the_formula(tmp_path, bias, post_processor):
    model = read_pecos(write_pecos(tmp_path / "pecos", bias=bias, post_processor=post_processor))
    write_layout(tmp_path / "layout", model.tree, model.weights, renumber=True)
    search = BeamSearch(open_layout(tmp_path / "layout"), model.transform, model.combiner, 0)
    document = np.where(RNG.random(FEATURES) < 0.3, RNG.random(FEATURES), 0).astype(np.float32)
    found = search.search(sp.csr_matrix(document[None]), LABELS)
    features = np.append(document, max(bias, 0))
    nodes, labels = features @ WEIGHTS[0], features @ WEIGHTS[1]
    formulas = {
        "noop": lambda: labels,
        "sigmoid": lambda: 1 / (1 + np.exp(-nodes[PARENT])) / (1 + np.exp(-labels)),
        "log-sigmoid": lambda: -np.log1p(np.exp(-nodes[PARENT])) - np.log1p(np.exp(-labels)),
        "l2-hinge": lambda: np.exp(-(np.maximum(0, 1 - nodes[PARENT]) ** 2) - np.maximum(0, 1 - labels) ** 2),
        "log-l3-hinge": lambda: -(np.maximum(0, 1 - nodes[PARENT]) ** 3) - np.maximum(0, 1 - labels) ** 3,
    }
    expected = formulas[post_processor]()
    assert sorted(found.label_BK[0].tolist()) == list(range(LABELS))
    np.testing.assert_allclose(found.score_BK[0], expected[found.label_BK[0]], rtol=1e-3, atol=1e-4)


def test_nodes_above_may_stand_in_any_order(tmp_path):
    """Three levels, where PECOS's numbers of the middle nodes do not follow their parents."""
    weights = [RNG.standard_normal((FEATURES + 1, width)).astype(np.float32) for width in (2, 4, 8)]
    parents = [np.zeros(2, int), np.array([1, 0, 1, 0]), np.array([3, 0, 2, 1, 0, 3, 1, 2])]
    write_pecos(tmp_path, depth=3, weights=weights[1:], parent=np.resize(parents[2], 8))
    for level, above in enumerate((1, 2, 4)):
        below = tmp_path / "ranker" / f"{level}.model"
        if level == 2:
            below.mkdir()
            facts = (tmp_path / "ranker" / "1.model" / "param.json").read_text()
            (below / "param.json").write_text(facts)
        sp.save_npz(below / "W.npz", sp.csc_matrix(weights[level]))
        sp.save_npz(below / "C.npz", sp.csc_matrix(np.eye(above, dtype=np.float32)[parents[level]]))
    model = read_pecos(tmp_path)
    middle = parents[2][model.tree.label_P]  # of each leaf, PECOS's number of the node above
    assert (model.weights[1].toarray()[:-1][:, model.tree.parents(2)] == weights[1][:-1, middle]).all()
    top = model.tree.parents(1)[model.tree.parents(2)]
    assert (top == parents[1][middle]).all()


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"param\.json cannot be read"):
        read_pecos(tmp_path)
    (tmp_path / "param.json").write_text("[]")
    with pytest.raises(BundleError, match="not a table"):
        read_pecos(tmp_path)
    (tmp_path / "param.json").write_text('{"model": "HNSW"}')
    with pytest.raises(BundleError, match="not a tree of PECOS; got 'HNSW'"):
        read_pecos(tmp_path)


def test_a_missing_level_or_a_broken_matrix_is_refused(tmp_path):
    write_pecos(tmp_path, depth=3)
    with pytest.raises(BundleError, match=r"2\.model.*cannot be read"):
        read_pecos(tmp_path)
    weights = tmp_path / "ranker" / "1.model" / "W.npz"
    weights.write_bytes(weights.read_bytes()[:300])
    with pytest.raises(BundleError, match=r"W\.npz cannot be read"):
        read_pecos(tmp_path)


def test_levels_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(BundleError, match="post-processor is unknown"):
        read_pecos(write_pecos(tmp_path / "a", post_processor="l9-hinge"))
    with pytest.raises(BundleError, match="level 1 of the PECOS model does not fit"):
        read_pecos(write_pecos(tmp_path / "b", weights=[WEIGHTS[0], WEIGHTS[1][:, :11]]))
    with pytest.raises(BundleError, match="wrong number of rows"):
        read_pecos(write_pecos(tmp_path / "c", weights=[WEIGHTS[0][:-1], WEIGHTS[1]]))
    clusters = np.eye(NODES)[PARENT]
    for name, change in {"twice": (3, 1, 1.0), "never": (3, 1, 0.0)}.items():
        folder = write_pecos(tmp_path / name)
        changed = clusters.copy()
        changed[change[0]] = [1, 1, 0, 0] if change[2] else 0
        sp.save_npz(folder / "ranker" / "1.model" / "C.npz", sp.csc_matrix(changed, dtype=np.float32))
        with pytest.raises(BundleError, match="does not have each label once"):
            read_pecos(folder)
