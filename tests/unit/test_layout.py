import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from raytagger.errors import BundleError
from raytagger.labels.tree import LabelTree
from raytagger.search.layout import Layout, open_layout, read_weights, write_layout
from tests.reference_beam import make_model


@pytest.fixture
def folder(tmp_path):
    model = make_model(0, (3, 20), 60)
    write_layout(tmp_path, model.tree, model.weights)
    return tmp_path


def weights_of(layout, features):
    """All weights that a layout holds, (V, places of all levels)."""
    everything = np.arange(features, dtype=np.int32)
    found = np.zeros((features, len(layout.bias_P)), np.float32)
    for place in range(found.shape[1]):
        known, weight_T = read_weights(layout, place, everything)
        found[known, place] = weight_T
    return found


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    widths=st.sampled_from([(4,), (1, 2), (2, 7, 40), (3, 60), (256,), (1, 256)]),
    features=st.sampled_from([1, 43, 44, 45, 100]),
    density=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    renumber=st.booleans(),
)
def test_a_layout_holds_the_weights(tmp_path_factory, seed, widths, features, density, renumber):
    model = make_model(seed, widths, features, density=density)
    folder = tmp_path_factory.mktemp("layout")
    write_layout(folder, model.tree, model.weights, renumber=renumber)
    layout = open_layout(folder)
    expected = np.concatenate([matrix.toarray() for matrix in model.weights], axis=1)
    np.testing.assert_allclose(weights_of(layout, features), expected[:-1], rtol=2**-16)
    assert (layout.bias_P == expected[-1]).all()
    assert (layout.label_P == model.tree.label_P).all()
    assert (layout.known_V == expected[:-1].any(axis=1)).all()


def test_rows_of_most_siblings_are_exact(tmp_path):
    model = make_model(1, (2, 24), 30, density=1.0)
    write_layout(tmp_path, model.tree, model.weights)
    assert (weights_of(open_layout(tmp_path), 30)[:, 2:] == model.weights[1].toarray()[:-1]).all()


def test_dense_weights_are_kept(tmp_path):
    model = make_model(2, (3, 9), 10, dense=5)
    write_layout(tmp_path, model.tree, model.weights, model.dense)
    assert (open_layout(tmp_path).dense_PE == np.concatenate(model.dense)).all()


def test_what_is_opened_is_mapped_and_cannot_be_changed(folder):
    layout = open_layout(folder)
    for array in layout:
        base = array
        while base.base is not None and not isinstance(base, np.memmap):
            base = base.base
        assert isinstance(base, np.memmap) or not array.size
        assert not array.flags.writeable


def test_renumbering_puts_the_most_weighed_features_first(tmp_path):
    weight = sp.csc_matrix(np.array([[1, 0, 0], [1, 1, 1], [0, 1, 1], [0, 0, 0]], np.float32))
    write_layout(tmp_path, LabelTree((np.array([0, 3]),), np.arange(3, dtype=np.int32)), [weight], renumber=True)
    assert open_layout(tmp_path).number_V.tolist() == [2, 0, 1]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e31])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    model = make_model(0, (3, 20), 60)
    model.weights[1].data[7] = value
    with pytest.raises(BundleError, match="weights of level 1 are not all finite"):
        write_layout(tmp_path, model.tree, model.weights)
    dense = [np.zeros((3, 2), np.float32), np.full((20, 2), value, np.float32)]
    with pytest.raises(BundleError, match="dense weights of level 1"):
        write_layout(tmp_path, model.tree, make_model(0, (3, 20), 60).weights, dense)


def test_weights_that_do_not_fit_the_tree_are_refused(tmp_path):
    model = make_model(0, (3, 20), 60)
    for weights in (model.weights[:1], model.weights[::-1], [model.weights[0], model.weights[1][1:]]):
        with pytest.raises(BundleError, match="do not fit the label tree"):
            write_layout(tmp_path, model.tree, weights)
    with pytest.raises(BundleError, match="dense weights do not fit"):
        write_layout(tmp_path, model.tree, model.weights, [np.zeros((3, 2), np.float32)] * 2)


def test_a_tree_that_repeats_or_misses_a_label_or_is_too_wide_is_refused():
    offset = np.array([0, 3])
    with pytest.raises(BundleError, match="repeats a label; got 1"):
        LabelTree((offset,), np.array([0, 1, 1], np.int32))
    with pytest.raises(BundleError, match="misses labels"):
        LabelTree((offset,), np.array([0, 1], np.int32))
    with pytest.raises(BundleError, match="too many siblings; got 257; expected 256"):
        LabelTree((np.array([0, 257]),), np.arange(257, dtype=np.int32))


def test_a_missing_or_broken_file_is_refused(folder):
    (folder / "row.npy").write_bytes((folder / "row.npy").read_bytes()[:-40])
    with pytest.raises(BundleError, match=r"row\.npy of the tree's weights cannot be opened"):
        open_layout(folder)
    (folder / "row.npy").unlink()
    with pytest.raises(BundleError, match=r"row\.npy"):
        open_layout(folder)


def test_arrays_of_another_type_are_refused(folder):
    np.save(folder / "record.npy", np.load(folder / "record.npy").astype(np.int64))
    with pytest.raises(BundleError, match=r"record\.npy of the tree's weights is of another type"):
        open_layout(folder)


@pytest.mark.parametrize("name", [name for name in Layout._fields if name not in ("number_V", "dense_PE")])
@pytest.mark.parametrize("change", ["shorter", "longer"])
def test_arrays_that_do_not_fit_together_are_refused(folder, name, change):
    array = np.load(folder / f"{name}.npy")
    np.save(folder / f"{name}.npy", array[:-1] if change == "shorter" else np.append(array, array[-1:]))
    if name == "known_V":  # 60 features and 61 need as many records; 88 and 89 do not
        np.save(folder / "known_V.npy", array[:40] if change == "shorter" else np.zeros(89, bool))
    with pytest.raises(BundleError, match="do not fit together"):
        open_layout(folder)


@pytest.mark.parametrize("name", ["number_V", "dense_PE"])
def test_optional_arrays_are_for_all_or_none(folder, name):
    np.save(folder / f"{name}.npy", np.zeros((5, 2), np.float32) if name == "dense_PE" else np.zeros(5, np.int32))
    with pytest.raises(BundleError, match="do not fit together"):
        open_layout(folder)


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("node_place", 2, 1 << 40),
        ("node_row", 1, 0),
        ("node_entry", 1, 1 << 40),
        ("row", -2, 1 << 30),
        ("record", -1, 1 << 60),
        ("label_P", 0, -3),
        ("level_place", 1, 4),
    ],
)
def test_numbers_that_point_outside_are_refused(folder, name, place, value):
    array = np.load(folder / f"{name}.npy")
    array[place] = value
    np.save(folder / f"{name}.npy", array)
    with pytest.raises(BundleError, match="do not fit together"):
        open_layout(folder)
