"""PIFA and what label embeddings share, against slow obvious references."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from raytagger.errors import CorpusError
from raytagger.labels import embeddings
from raytagger.labels.embeddings import concatenate, fill_from_text, has_vector, unit_rows
from raytagger.labels.pifa import pifa


@st.composite
def documents_and_gold(draw):
    documents, labels, terms = draw(st.tuples(st.integers(1, 8), st.integers(1, 6), st.integers(1, 7)))
    weights = st.sampled_from([0.0, 0.0, 0.5, 1.0, 3.0])
    doc_NV = draw(arrays(np.float32, (documents, terms), elements=weights))
    return doc_NV, draw(arrays(bool, (documents, labels)))


def slow_pifa(doc_NV, gold_NL):
    rows = []
    for label in range(gold_NL.shape[1]):
        row = np.zeros(doc_NV.shape[1])
        for document in np.flatnonzero(gold_NL[:, label]):
            row += doc_NV[document] / np.sqrt(gold_NL[document].sum())
        rows.append(row / (np.linalg.norm(row) or 1))
    return np.array(rows)


@settings(max_examples=75, deadline=None)
@given(documents_and_gold())
def test_a_label_is_the_sum_of_its_documents(given_):
    doc_NV, gold_NL = given_
    found = pifa(sp.csr_matrix(doc_NV), sp.csr_matrix(gold_NL))
    expected = slow_pifa(doc_NV, gold_NL)
    assert found.dtype == np.float32
    assert found.has_sorted_indices
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-6)
    np.testing.assert_array_equal(has_vector(found), expected.any(axis=1))


def test_what_is_given_to_pifa_stays_as_it_was():
    doc_NV, gold = sp.csr_matrix(np.eye(2, dtype=np.float32) * 3), sp.csr_matrix(np.ones((2, 2), bool))
    pifa(doc_NV, gold)
    assert doc_NV.toarray().tolist() == [[3, 0], [0, 3]]
    assert gold.dtype == bool
    assert gold.data.all()


def test_a_document_that_is_not_finite_is_refused_by_its_label():
    doc_NV = sp.csr_matrix(np.array([[1, 0], [0, np.nan]], np.float32))
    with pytest.raises(CorpusError, match="label 1"):
        pifa(doc_NV, sp.csr_matrix(np.eye(2, dtype=bool)))


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
def test_rows_get_unit_length_and_zero_rows_stay(form):
    given_ = form(np.array([[3, 4], [0, 0], [1e-20, 0], [1e30, 0]], np.float32))
    found = unit_rows(given_)
    dense = found if isinstance(found, np.ndarray) else found.toarray()
    np.testing.assert_allclose(dense, [[0.6, 0.8], [0, 0], [1, 0], [1, 0]], rtol=1e-6)
    assert has_vector(given_).tolist() == [True, False, True, True]
    assert has_vector(form(np.zeros((0, 2), np.float32))).tolist() == []


def test_lengths_of_many_sparse_rows_are_those_of_each(monkeypatch):
    monkeypatch.setattr(embeddings, "COLUMNS", 3)  # several blocks
    dense = np.arange(20, dtype=np.float32).reshape(10, 2)
    dense[4] = 0
    np.testing.assert_allclose(
        embeddings.row_lengths(sp.csr_matrix(dense)), np.linalg.norm(dense, axis=1), rtol=1e-6
    )


def test_joined_embeddings_have_the_weighted_mean_of_cosines():
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(5, 3)).astype(np.float32), 9 * rng.normal(size=(5, 4)).astype(np.float32)
    dense = concatenate([one, two], [1, 2])
    mixed = concatenate([sp.csr_matrix(one), two], [1, 2])
    assert dense.dtype == np.float32
    assert mixed.dtype == np.float32
    np.testing.assert_allclose(mixed.toarray(), dense, rtol=1e-6)

    def cosine(rows):
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return rows @ rows.T

    np.testing.assert_allclose(cosine(dense), (cosine(one) + 4 * cosine(two)) / 5, atol=1e-6)


def test_every_part_needs_a_weight():
    with pytest.raises(ValueError):
        concatenate([np.eye(2, dtype=np.float32)], [1, 2])


def slow_fill(embedding_LD, has_L, text_LE, neighbours):
    unit_LD = unit_rows(embedding_LD)
    cosine_LL = unit_rows(text_LE) @ unit_rows(text_LE).T
    filled = embedding_LD.copy()
    for label in np.flatnonzero(~has_L):
        known = sorted(np.flatnonzero(has_L), key=lambda other: -cosine_LL[label, other])[:neighbours]
        row = sum(max(cosine_LL[label, other], 0) * unit_LD[other] for other in known)
        row = row if np.any(row) else unit_LD[has_L].mean(axis=0)
        filled[label] = row / np.linalg.norm(row)
    return filled


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize("neighbours", [1, 3, 100])
def test_labels_without_an_embedding_hang_by_their_text(form, neighbours, monkeypatch):
    monkeypatch.setattr(embeddings, "ROWS", 3)
    monkeypatch.setattr(embeddings, "COLUMNS", 4)  # several blocks each way
    rng = np.random.default_rng(1)
    embedding_LD = rng.normal(size=(20, 5)).astype(np.float32)
    text_LE = rng.normal(size=(20, 6)).astype(np.float32)
    text_LE[7] = 0
    has_L = rng.random(20) < 0.6
    has_L[[7, 8]] = False
    embedding_LD[~has_L] = 0
    found = fill_from_text(embedding_LD, has_L, form(text_LE), neighbours)
    np.testing.assert_allclose(found, slow_fill(embedding_LD, has_L, text_LE, neighbours), atol=1e-5)
    assert found.dtype == np.float32
    assert not embedding_LD[~has_L].any()


def test_nothing_is_filled_where_every_label_has_an_embedding():
    embedding_LD = np.array([[3, 4], [0, 2]], np.float32)
    found = fill_from_text(embedding_LD, np.ones(2, bool), np.zeros((2, 3), np.float32))
    np.testing.assert_array_equal(found, embedding_LD)


def test_without_any_embedding_there_is_nothing_to_fill_from():
    with pytest.raises(CorpusError, match="no label has an embedding"):
        fill_from_text(np.zeros((2, 3), np.float32), np.zeros(2, bool), np.ones((2, 3), np.float32))
