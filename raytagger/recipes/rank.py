"""The stages `tree` and `rank`: labels cut into a tree, and a linear ranker for each of its nodes.

Source: MatchXML, sections III-B, III-C and III-E; PECOS (Yu et al. 2022), sections 3.2 and 3.3.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from raytagger.bundle.tree import combination
from raytagger.fit.ranker import fit_level
from raytagger.labels.embeddings import Embedding, concatenate, fill_from_text, has_vector
from raytagger.labels.grow import grow_tree
from raytagger.labels.label2vec import PRESETS, label2vec
from raytagger.labels.pifa import pifa
from raytagger.labels.tree import LabelTree
from raytagger.recipes.fitted import embed_labels
from raytagger.recipes.workshop import Workshop
from raytagger.schema import FloatArray
from raytagger.search.beam import BeamSearch
from raytagger.search.layout import open_layout, write_layout
from raytagger.search.ranker import (
    RankerSettings,
    all_documents,
    columns,
    matched,
    shared_costs,
    teacher_forced,
    unite,
)
from raytagger.settings import FitRun, TreeSettings
from raytagger.store import absolute, join
from raytagger.stream.executor import ray_is_up

NEGATIVES = ("tfn", "man", "tfn+man")
EMBEDDINGS = ("pifa", "label2vec", "text")
SURE = 30.0  # a margin at which a sigmoid or hinge gives 1, and at its negative 0


@dataclass
class Ranked:
    """A tree whose levels are trained one after another, from the top.

    Attributes:
        tree: over the trained labels.
        doc_NV: float32 CSR (N, V), training documents.
        doc_NE: float32 (N, E), or None.
        weights: of the levels trained so far, float32 CSC (V + 1, places).
        dense: float32 (places, E) beside each.
    """

    tree: LabelTree
    doc_NV: sp.csr_matrix
    doc_NE: FloatArray | None
    weights: list[sp.csc_matrix] = field(default_factory=list)
    dense: list[FloatArray] = field(default_factory=list)

    def add(self, weight: sp.csc_matrix, dense: FloatArray | None) -> None:
        """Adds the next level."""
        width = 0 if self.doc_NE is None else self.doc_NE.shape[1]
        places = self.tree.width[len(self.weights)]
        self.weights.append(weight)
        self.dense.append(np.zeros((places, width), np.float32) if dense is None else dense)

    def write(self, folder: Path) -> None:
        """Writes the layout of the levels there are."""
        tree = self.tree.upper(len(self.weights)) if len(self.weights) < self.tree.depth else self.tree
        write_layout(folder, tree, self.weights, None if self.doc_NE is None else self.dense)


def rank_tree(shop: Workshop, seed: int, vectors: bool, folder: Path) -> None:
    """Grows a tree and trains it, with the encoder's vectors or without; its search layout lands in the folder."""
    run, rows = shop.run, shop.features.train_N
    tree = grow(shop, seed)
    levels = tree.gold_by_level(shop.gold)
    costs = shared_costs(tree, shop.gold) if run.tree.cost_sensitive else None
    ranked = Ranked(tree, shop.doc_NV(rows), shop.doc_NE(rows) if vectors else None)
    for level in range(tree.depth):
        if shop.kind == "flat" and level == 0:
            ranked.add(open_level(columns(ranked.doc_NV), tree.width[0], open_margin(run.tree)), None)
            continue
        fitted = fit_level(
            ranked.doc_NV,
            ranked.doc_NE,
            levels[level],
            _active(shop, ranked, level, levels),
            tree.offsets[level],
            ranker_settings(run),
            shop.store,
            absolute(join(run.output.bundle, "training", "ranker")),
            cost=None if costs is None else costs[level],
            on_ray=ray_is_up(),
            progress=shop.progress,
            say=shop.say,
        )
        ranked.add(fitted.weight, fitted.dense)
    tree.save(folder)
    ranked.write(folder)


def grow(shop: Workshop, seed: int) -> LabelTree:
    """The tree over the trained labels; with few of them, blocks of labels that are all searched."""
    trained = np.flatnonzero(shop.count_L > 0).astype(np.int32)
    if shop.kind == "flat":
        return LabelTree.flat(trained)
    settings = shop.run.tree
    parts = [embed(shop, name, seed) for name in settings.embedding.split("+")]
    embedding = parts[0] if len(parts) == 1 else concatenate(parts, [1.0] * len(parts))
    return grow_tree(embedding, settings.splits, settings.leaf, seed, trained)


def embed(shop: Workshop, name: str, seed: int) -> Embedding:
    """Label embeddings of one sort, (L, …): `pifa`, `label2vec` or `text`."""
    if name == "pifa":
        return pifa(shop.doc_NV(shop.features.train_N), shop.gold)
    if name == "label2vec":
        lists = [part.tolist() for part in np.split(shop.gold.indices, shop.gold.indptr[1:-1])]
        found = label2vec(lists, len(shop.labels), PRESETS[shop.run.tree.preset], seed)
        return fill_from_text(found, has_vector(found), shop.weigh.transform(shop.labels.full_texts))
    return embed_labels(shop.run, shop.store, shop.any_encoder, shop.labels, shop.progress).vector_LD


def open_margin(settings: TreeSettings) -> float:
    """The margin at which a level changes nothing in the scores below it."""
    if settings.combiner == "sum" and not settings.transform.startswith("log-"):
        return 0.0 if settings.transform == "noop" else -SURE
    return SURE


def open_level(terms: int, blocks: int, margin: float) -> sp.csc_matrix:
    """A level without features, so that every document goes through it in the same way."""
    bias = (np.full(blocks, margin, np.float32), (np.full(blocks, terms), np.arange(blocks)))
    return sp.csc_matrix(bias, shape=(terms + 1, blocks))


def _active(shop: Workshop, ranked: Ranked, level: int, levels: list[sp.csr_matrix]) -> sp.csc_matrix:
    """Which documents train each node's children: bool CSC (N, nodes above)."""
    documents = len(ranked.doc_NV.indptr) - 1
    if level == 0:
        return all_documents(documents)
    above = ranked.tree.width[level - 1]
    if shop.kind == "flat":
        return sp.csc_matrix(np.ones((documents, above), bool))
    forced = teacher_forced(levels[level - 1])
    if shop.run.tree.negatives == "tfn":
        return forced
    tree, beam = shop.run.tree, shop.run.search.beam
    with tempfile.TemporaryDirectory() as temporary:
        ranked.write(Path(temporary))
        search = BeamSearch(open_layout(Path(temporary)), tree.transform, combination(tree), beam)
        by_matcher = matched(search.search(ranked.doc_NV, beam or above, ranked.doc_NE), above)
    return by_matcher if tree.negatives == "man" else unite(forced, by_matcher)


def ranker_settings(run: FitRun) -> RankerSettings:
    """What the solver is told.

    Raises:
        SettingsError: a value out of range.
    """
    tree = run.tree
    return RankerSettings(
        cost_positive=tree.cost_positive,
        cost_negative=tree.cost_negative,
        eps=tree.eps,
        threshold=tree.threshold,
        seed=run.train.seed,
    )
