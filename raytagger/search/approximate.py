"""Approximate label search with faiss: graphs (HNSW) and cells (IVF), for label sets that exact search is slow on.

Candidates come from the index and are scored again exactly, so that scores are those of exact search; what can be
missed is a label, and how often is measured when the index is built.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from raytagger.errors import CapacityError
from raytagger.schema import PAD, BoolArray, FloatArray, Scores
from raytagger.search.exact import DenseScorer, search_exact
from raytagger.vectors import merge_top_k, top_k

EFFORTS = {"hnsw": (32, 64, 128, 256, 512), "ivf": (4, 8, 16, 32, 64, 128)}  # efSearch, nprobe
RECALL_WANTED = 0.98  # of the ten best labels; an index that reaches less is kept, and told of
NEIGHBOURS, BUILD_EFFORT = 32, 200  # of HNSW
QUERIES_AT_MOST = 256
FEW_ALLOWED = 4096  # so few labels are searched exactly whatever the index
INDEX_FILE = "index.faiss"


@dataclass(frozen=True)
class LabelIndex:
    """A faiss index over the first labels of a matrix.

    Attributes:
        index: of faiss.
        kind: `hnsw` or `ivf`.
        effort: efSearch or nprobe.
        labels: how many labels it holds.
    """

    index: Any
    kind: str
    effort: int
    labels: int

    def candidates(self, doc_BD: FloatArray, k: int, allowed_L: BoolArray) -> np.ndarray:
        """int64 (B, k) labels that may be the best, -1 where there are fewer."""
        faiss, known_L = import_faiss(), allowed_L[: self.labels]
        # As a set of numbers it would take 20 ms for a million labels, as bits a tenth of one.
        chosen = None if known_L.all() else faiss.IDSelectorBitmap(np.packbits(known_L, bitorder="little"))
        if self.kind == "hnsw":
            asked = faiss.SearchParametersHNSW(sel=chosen, efSearch=max(self.effort, k))
        else:
            asked = faiss.SearchParametersIVF(sel=chosen, nprobe=self.effort)
        return self.index.search(np.ascontiguousarray(doc_BD, np.float32), k, params=asked)[1]


@dataclass(frozen=True)
class DenseSearch:
    """Dense retrieval over a label matrix, by an index where there is one.

    Attributes:
        label_LD: float32 (L, D), unit rows.
        index: over the first of them, or None.
        fresh_L: bool (L,), labels whose vector the index does not know: they are searched exactly beside it.
    """

    label_LD: FloatArray
    index: LabelIndex | None
    fresh_L: BoolArray

    @staticmethod
    def over(label_LD: FloatArray, index: LabelIndex | None = None) -> DenseSearch:
        """A search whose index, if any, knows all labels."""
        return DenseSearch(label_LD, index, np.zeros(len(label_LD), bool))

    def search(self, doc_BD: FloatArray, allowed_L: BoolArray, k: int) -> Scores:
        """The k best of the allowed labels, as `search_exact` has them."""
        if self.index is None or k > min(self.index.labels, FEW_ALLOWED):
            return search_exact([DenseScorer(doc_BD, self.label_LD)], len(doc_BD), allowed_L, k)
        if np.count_nonzero(allowed_L) <= FEW_ALLOWED:
            return _search_few(doc_BD, self.label_LD, np.flatnonzero(allowed_L), k)
        known = self._search_index(doc_BD, allowed_L & ~self.fresh_L, self.index, k)
        fresh = np.flatnonzero(allowed_L & self.fresh_L)
        return merge_top_k(known, _search_few(doc_BD, self.label_LD, fresh, k), k) if len(fresh) else known

    def with_labels(self, label_LD: FloatArray, changed: list[int]) -> DenseSearch:
        """The same search over a longer matrix, in which the rows `changed` are new or other than before."""
        fresh_L = np.concatenate([self.fresh_L, np.ones(len(label_LD) - len(self.fresh_L), bool)])
        fresh_L[changed] = True
        return DenseSearch(label_LD, self.index, fresh_L)

    def _search_index(self, doc_BD: FloatArray, allowed_L: BoolArray, index: LabelIndex, k: int) -> Scores:
        label_BC = np.sort(index.candidates(doc_BD, k, allowed_L), axis=1)  # ties then go to the smaller index
        score_BC = np.einsum("bd,bcd->bc", doc_BD, self.label_LD[label_BC], optimize=True).astype(np.float32)
        score_BC[label_BC == PAD] = -np.inf
        best = top_k(score_BC, k)
        label_BK = np.take_along_axis(label_BC, np.maximum(best.label_BK, 0), 1).astype(np.int32)
        label_BK[~np.isfinite(best.score_BK)] = PAD
        return Scores(label_BK, best.score_BK)


def _search_few(doc_BD: FloatArray, label_LD: FloatArray, rows: np.ndarray, k: int) -> Scores:
    """Exact search over some rows of a matrix."""
    found = search_exact([DenseScorer(doc_BD, label_LD[rows])], len(doc_BD), np.ones(len(rows), bool), k)
    if not len(rows):
        return found
    label_BK = np.where(found.label_BK == PAD, PAD, rows[np.maximum(found.label_BK, 0)]).astype(np.int32)
    return Scores(label_BK, found.score_BK)


def build_index(
    label_LD: FloatArray, kind: str, seed: int, query_QD: FloatArray | None = None
) -> tuple[LabelIndex, dict[str, Any]]:
    """An index over all labels, with the least effort that finds 98 % of the ten best.

    Args:
        label_LD: float32 (L, D), unit rows.
        kind: `hnsw` or `ivf`.
        seed: of the cells' centres and of the queries.
        query_QD: unit vectors like those that will be asked; by default labels that were moved a little.

    Returns:
        The index, and what the manifest keeps: recall against exact search, parameters, seconds.
    """
    started = time.perf_counter()
    index = _build(label_LD, kind, seed)
    build_s = time.perf_counter() - started
    queries = _moved(label_LD, seed) if query_QD is None else query_QD[:QUERIES_AT_MOST]
    allowed_L = np.ones(len(label_LD), bool)
    exact = search_exact([DenseScorer(queries, label_LD)], len(queries), allowed_L, min(100, len(label_LD)))
    built, recalls = LabelIndex(index, kind, 0, len(label_LD)), {10: 0.0, 100: 0.0}
    for effort in EFFORTS[kind]:
        built = LabelIndex(index, kind, effort, len(label_LD))
        found = built.candidates(queries, exact.label_BK.shape[1], allowed_L)
        recalls = {k: _recall(found, exact.label_BK[:, :k]) for k in (10, 100)}
        if recalls[10] >= RECALL_WANTED:
            break
    facts = {
        "kind": kind,
        "labels": len(label_LD),
        "recall@10": recalls[10],
        "recall@100": recalls[100],
        "effort": built.effort,
        "queries": len(queries),
        "queried": "labels moved a little" if query_QD is None else "documents",
        "build_s": build_s,
    }
    return built, facts


def recall_warning(facts: dict[str, Any] | None) -> list[str]:
    """What a person must know of an index by what the manifest keeps, if anything."""
    if not facts or facts["recall@10"] >= RECALL_WANTED:
        return []
    return [
        f"the label index ({facts['kind']}) finds {100 * facts['recall@10']:.1f} % of the ten best labels, less "
        f"than {100 * RECALL_WANTED:g} %, at its greatest effort ({facts['effort']}; {facts['queries']} queries: "
        f'{facts.get("queried", "labels")}): search.index = "exact" misses none'
    ]


def save_index(built: LabelIndex, folder: Path) -> None:
    """Writes the index to `index.faiss`."""
    import_faiss().write_index(built.index, str(folder / INDEX_FILE))


def open_index(folder: Path, facts: dict[str, Any] | None) -> LabelIndex | None:
    """Reads the index that a manifest tells of, or None where it tells of none."""
    if not facts:
        return None
    index = import_faiss().read_index(str(folder / INDEX_FILE))
    return LabelIndex(index, facts["kind"], facts["effort"], facts["labels"])


def import_faiss() -> Any:
    """The library, which only an index needs.

    Raises:
        CapacityError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise CapacityError(
            "faiss is not installed, and the label index needs it",
            remedy="pip install 'raytagger[cpu]' (or [gpu]), or set search.index = \"exact\".",
        ) from error
    return faiss


def _build(label_LD: FloatArray, kind: str, seed: int) -> Any:
    faiss = import_faiss()
    width = label_LD.shape[1]
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # several would add labels in an order of their own
    try:
        if kind == "hnsw":
            index = faiss.IndexHNSWFlat(width, NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = BUILD_EFFORT
        else:
            cells = max(1, min(round(4 * len(label_LD) ** 0.5), len(label_LD) // 39))
            centres = faiss.IndexFlatIP(width)
            index = faiss.IndexIVFFlat(centres, width, cells, faiss.METRIC_INNER_PRODUCT)
            index.cp.seed = seed
            index.cp.spherical = True
            index.train(label_LD)
            index.own_fields = True
            centres.this.disown()
        index.add(label_LD)
    finally:
        faiss.omp_set_num_threads(threads)
    return index


def _moved(label_LD: FloatArray, seed: int) -> FloatArray:
    """Some labels with a tenth of noise: queries where there are no documents."""
    rng = np.random.default_rng([seed, 5])
    chosen = label_LD[rng.choice(len(label_LD), min(QUERIES_AT_MOST, len(label_LD)), replace=False)]
    moved = chosen + rng.normal(size=chosen.shape) * (0.5 / chosen.shape[1] ** 0.5)
    return (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)


def _recall(found_BC: np.ndarray, exact_BK: np.ndarray) -> float:
    """The share of the best labels that are among the candidates."""
    return float(np.mean([np.isin(best, found).mean() for best, found in zip(exact_BK, found_BC, strict=True)]))
