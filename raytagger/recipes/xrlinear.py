"""XR-Linear, the whole method: linear rankers over a tree of labels, from word features.

terms      1-2-grams of the training documents, counted by many workers            recipes/workshop.py
features   documents as term weights, and as vectors of a frozen encoder where those stand beside them
tree       label embeddings (PIFA, label2vec, text) cut by balanced k-means            recipes/rank.py
rank       a squared-hinge ranker a node, level by level, in content-addressed shards
publish    vocabulary, search layouts, and the text path for labels that were not trained

With few labels there is no tree: one ranker a label, all of them in one matrix. Every stage is kept under
`output.bundle/training`; a killed run started again goes on from the last complete one.

Source: PECOS (Yu et al. 2022), XR-Linear; MatchXML, sections III-B, III-C and III-E.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from raytagger import metrics
from raytagger.bundle import write_card, write_labels, write_trained
from raytagger.bundle.tree import combination, open_search, reads_vectors, words_alone
from raytagger.corpus.labels import read_source_labels
from raytagger.corpus.report import CorpusReport
from raytagger.encoders import save_encoder
from raytagger.errors import SettingsError
from raytagger.labels.label2vec import PRESETS
from raytagger.labels.tree import MOST_SIBLINGS
from raytagger.progress import Progress, silent, unsaid
from raytagger.recipes.fitted import Fitted, check_places, embed_labels, held_out_share, licence_of
from raytagger.recipes.rank import EMBEDDINGS, NEGATIVES, rank_tree, ranker_settings
from raytagger.recipes.reading import corpus_bytes
from raytagger.recipes.stages import Stages
from raytagger.recipes.tags import publish_tagger
from raytagger.recipes.text_path import DOCUMENTS_AT_MOST, TextSide, fit_scale
from raytagger.recipes.workshop import STAGES, Workshop
from raytagger.schema import FloatArray, Scores
from raytagger.search import FLAT_UP_TO, choose_index
from raytagger.search.ensemble import average, check_combination
from raytagger.search.ranker import columns
from raytagger.search.transforms import scoring
from raytagger.settings import FitRun, fingerprint
from raytagger.store import Store, join
from raytagger.stream.executor import at_work

DEPTH = 100  # labels named for each validation document


def fit_xrlinear(run: FitRun, progress: Progress = silent, say: Callable[[str], None] = unsaid) -> Fitted:
    """Makes a bundle of kind `tree`.

    Raises:
        SettingsError: a setting is impossible.
        CorpusError: documents or labels cannot be read, or none can be trained on.
    """
    _check(run)
    store, started = Store(run.storage), time.perf_counter()
    labels = read_source_labels(store, run.source)
    stages = Stages(store, join(run.output.bundle, "training"), say)
    shop = Workshop(run, store, labels, stages, CorpusReport(labels), progress, say)
    with at_work(run.cluster, corpus_bytes(run, store)):
        say(_story(shop))
        trees = [_make_tree(shop, number) for number in range(len(reads_vectors(shop.tree)))]
        version = _publish(shop, trees)
    seconds = time.perf_counter() - started
    return Fitted(run.output.bundle, version, len(labels), shop.trained, 0, shop.report, seconds)


def _check(run: FitRun) -> None:
    check_places(run)
    check_combination(run.tree.combine)
    combination(run.tree)
    ranker_settings(run)
    choose_index(run.search.index, 0, "terms")
    if not run.source.documents:
        raise SettingsError("source.documents is empty", expected="labelled documents to train on")
    if run.tree.negatives not in NEGATIVES:
        raise SettingsError("tree.negatives", got=run.tree.negatives, expected=", ".join(NEGATIVES))
    if unknown := sorted(set(run.tree.embedding.split("+")) - set(EMBEDDINGS)):
        expected = f"{', '.join(EMBEDDINGS)}, or several joined by +"
        raise SettingsError("tree.embedding", got=unknown[0], expected=expected)
    if run.tree.preset not in PRESETS:
        raise SettingsError("tree.preset", got=run.tree.preset, expected=", ".join(PRESETS))
    reads_vectors(run.tree)
    ranges = {"tree.splits": (run.tree.splits, 2, MOST_SIBLINGS), "tree.leaf": (run.tree.leaf, 1, MOST_SIBLINGS)}
    ranges |= {"search.beam": (run.search.beam, 0, np.inf), "tree.dense_weight": (run.tree.dense_weight, 0, np.inf)}
    ranges |= {"tree.trees": (run.tree.trees, 0, np.inf)}
    for name, (got, least, most) in ranges.items():
        if not least <= got <= most:
            raise SettingsError(
                name, got=got, expected=f"{least} to {most}" if most < np.inf else f"{least} or more"
            )


def _story(shop: Workshop) -> str:
    features = shop.features
    beside = "" if features.doc_NE is None else f" and vectors of {features.doc_NE.shape[1]} numbers"
    return (
        f"{len(features.train_N):,} training documents, {shop.trained:,} labels trained over "
        f"{columns(features.doc_NV):,} terms{beside} as {_shape(shop)}; "
        f"{len(features.validation_N):,} validation documents"
    )


def _shape(shop: Workshop) -> str:
    """One matrix or trees, and why where the run leaves it open."""
    if shop.kind == "flat":
        return "one matrix of all labels" + f" (no more than {FLAT_UP_TO:,})" * (shop.run.search.index == "auto")
    trees = "a tree" if shop.tree.trees == 1 else f"{shop.tree.trees} trees"
    if shop.run.tree.trees:
        return trees
    return f"{trees} ({'more' if shop.trained > FLAT_UP_TO else 'no more'} than {FLAT_UP_TO:,} labels)"


def _make_tree(shop: Workshop, number: int) -> Path:
    """The folder of one tree's search layout; each feature set has the same seeds."""
    run, vectors = shop.run, reads_vectors(shop.tree)[number]
    seed = run.train.seed + number % shop.tree.trees
    parts = [STAGES, shop.kind, seed, vectors, run.search.beam]
    if "text" in run.tree.embedding:
        parts += [shop.any_encoder.identity, run.labels.prompt]
    key = fingerprint(replace(run.tree, trees=1, features=()), features=shop.features_key, parts=parts)
    return shop.stages.folder("tree", key, lambda folder: rank_tree(shop, seed, vectors, folder))


def _publish(shop: Workshop, trees: list[Path]) -> str:
    run = replace(shop.run, tree=shop.tree)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_labels(folder, shop.labels, shop.count_L)
        write_trained(folder, shop.features.trained_hashes)
        for name, made in (("terms", shop.terms), *((f"tree{number}", tree) for number, tree in enumerate(trees))):
            shutil.copytree(made, folder / name, ignore=shutil.ignore_patterns("done"))
        licences, label_LE = _write_encoder(shop, folder)
        scores, gold = _validate(shop, trees)
        exponential = scoring(run.tree.transform, combination(run.tree)).finish
        scale = fit_scale(scores, gold, _text_side(shop, label_LE), shop.count_L, exponential, run.train.seed)
        (folder / "text.json").write_text(json.dumps(scale._asdict()) + "\n")
        figures = {
            "P@1": metrics.mean_defined(metrics.precision_at(scores, gold, 1)),
            "nDCG@5": metrics.mean_defined(metrics.ndcg_at(scores, gold, 5)),
        }
        chosen = {name: value for name, value in figures.items() if not np.isnan(value)}
        _card(folder, shop, licences, chosen)
        facts = _facts(shop, licences, chosen)
        return publish_tagger(folder, facts, run, shop.store, shop.labels, shop.report, shop.progress)


def _write_encoder(shop: Workshop, folder: Path) -> tuple[dict[str, str], FloatArray | None]:
    """Puts the encoder and the label texts' vectors into the bundle; its licence, and the vectors (L, E)."""
    if shop.encoder is None:
        return {}, None
    save_encoder(shop.encoder, shop.run.encoder, folder / "encoder")
    label_LE = embed_labels(shop.run, shop.store, shop.encoder, shop.labels, shop.progress).vector_LD
    np.save(folder / "label_LE.npy", label_LE.astype(np.float16))
    return {shop.run.encoder.path: licence_of(shop.run, shop.store, shop.encoder)}, label_LE


def _validate(shop: Workshop, trees: list[Path]) -> tuple[Scores, sp.csr_matrix]:
    """The trees' results for validation documents, and their gold labels."""
    rows = shop.features.validation_N[:DOCUMENTS_AT_MOST]
    beam = 0 if shop.kind == "flat" else shop.run.search.beam
    doc_BV, doc_BE = shop.doc_NV(rows), shop.doc_NE(rows)
    found = [
        open_search(tree, shop.run, beam).search(doc_BV, DEPTH, doc_BE if vectors else None)
        for tree, vectors in zip(trees, reads_vectors(shop.tree), strict=True)
    ]
    scores = found[0] if len(found) == 1 else average(found, shop.run.tree.combine, DEPTH)
    return scores, sp.csr_matrix(shop.features.gold[rows])


def _text_side(shop: Workshop, label_LE: FloatArray | None) -> TextSide:
    """Validation documents and label texts as the text path sees them."""
    rows = shop.features.validation_N[:DOCUMENTS_AT_MOST]
    doc_NE = shop.features.doc_NE
    return TextSide(
        words_alone(shop.weigh, shop.doc_NV(rows)),
        words_alone(shop.weigh, shop.weigh.transform(shop.labels.full_texts)),
        None if doc_NE is None else doc_NE[rows],
        label_LE,
    )


def _facts(shop: Workshop, licences: dict[str, str], chosen: dict[str, float]) -> dict[str, Any]:
    labels, count_L = shop.labels, shop.count_L
    return {
        "kind": "tree",
        "search": shop.kind,
        "label_set": labels.fingerprint,
        "labels": len(labels),
        "trained_labels": {labels.ids[row]: int(count_L[row]) for row in np.flatnonzero(count_L)},
        "train_documents": len(shop.features.train_N),
        "held_out": held_out_share(shop.run, shop.report),
        "calibrated": False,
        "metrics": {"validation": chosen},
        "licences": licences,
    }


def _card(folder: Path, shop: Workshop, licences: dict[str, str], chosen: dict[str, float]) -> None:
    write_card(
        folder,
        f"Linear tagger over {len(shop.labels)} labels",
        [
            ("search", f"{shop.kind}, {len(reads_vectors(shop.tree))} of them"),
            ("labels with training documents", shop.trained),
            ("on the validation split", chosen),
            ("licences of the models inside", licences or "none"),
        ],
    )
