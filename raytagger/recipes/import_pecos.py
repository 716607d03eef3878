"""A model that PECOS trained as a bundle: the tree of linear rankers of XR-Linear, and the vectoriser beside it.

read       weights and tree                                          `read_pecos`
terms      the vectoriser's vocabulary, idf and way to see words     recipes/pecos_terms.py
labels     from a label file, from text2text's items, or numbers
publish    a bundle of kind `tree`; labels that are added later are found by their texts
"""

from __future__ import annotations

import json
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast
from zipfile import BadZipFile

import numpy as np
import scipy.sparse as sp

from raytagger.bundle import publish, write_card, write_labels
from raytagger.bundle.tree import TextScale
from raytagger.corpus import LabelSet, read_labels
from raytagger.errors import BundleError
from raytagger.labels.tree import MOST_SIBLINGS, LabelTree
from raytagger.progress import unsaid
from raytagger.recipes.pecos_terms import read_terms
from raytagger.recipes.rank import SURE, open_level
from raytagger.recipes.text_path import FALLBACK
from raytagger.search import MOST_TAGS
from raytagger.search.layout import write_layout
from raytagger.search.transforms import TRANSFORMS, scoring, usual_combiner
from raytagger.settings import (
    FitRun,
    OutputSettings,
    SearchSettings,
    SourceSettings,
    TermSettings,
    TreeSettings,
    to_values,
)
from raytagger.store import Store, check_writable, join
from raytagger.vectors import Vocabulary

DEFAULT_BEAM = 10
ALL_NODES = 0  # the beam of a model without a hierarchy


@dataclass(frozen=True)
class Imported:
    """What an import made."""

    bundle: str
    version: str
    labels: int
    terms: int
    levels: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return dict(vars(self))

    def line(self) -> str:
        """For a person."""
        return (
            f"{self.labels:,} labels, {self.terms:,} terms, {self.levels} levels, {self.seconds:.1f} s: "
            f"{join(self.bundle, self.version)}"
        )


def import_pecos(
    folder: Path,
    output: str,
    labels: str = "",
    vocabulary: Path | None = None,
    store: Store | None = None,
    say: Callable[[str], None] = unsaid,
) -> Imported:
    """Makes a bundle of kind `tree` of a model that PECOS trained; it tags as PECOS does.

    Args:
        folder: what `XLinearModel.save` or `Text2Text.save` wrote.
        output: where the bundle goes, local or `s3://`.
        labels: a label file in the order of PECOS's labels; empty: the folder's own items, else numbers.
        vocabulary: a vectoriser's folder or a file of terms, where the model's folder has no vectoriser.
        store: storage options; by default those of the environment.
        say: gets warnings.

    Raises:
        BundleError: the folder holds no model that can be imported, or its parts do not fit together.
        CorpusError: the label file cannot be read.
    """
    store, started = store or Store(), time.perf_counter()
    check_writable(store, output, folder=True)
    model = read_pecos(_one_model(folder))
    terms = read_terms(folder, vocabulary)
    if len(terms.terms) != model.features:
        raise BundleError(
            "the vectoriser is not the one that the model was trained with",
            got=f"{len(terms.terms)} terms",
            expected=f"{model.features}, as many as the model has features",
        )
    label_set = _label_set(folder, labels, len(model.tree.label_P), store, say)
    run = _run(model, terms, output, labels)
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary)
        count_L = np.ones(len(label_set), np.int64)
        write_labels(made, label_set, count_L)
        weights, terms = _by_use(model.weights, terms)
        write_layout(made / "tree0", model.tree, weights)
        terms.save(made / "terms")
        scale = TextScale(*FALLBACK, scoring(model.transform, model.combiner).finish)
        (made / "text.json").write_text(json.dumps(scale._asdict()) + "\n")
        kind = "flat" if model.beam == ALL_NODES else "tree"
        facts = [("labels", len(label_set)), ("search", kind), ("trained by", "PECOS, on documents not known here")]
        write_card(made, f"Linear tagger over {len(label_set)} labels, imported from PECOS", facts)
        version = publish(made, _facts(run, label_set, kind), output, store)
    depth = model.tree.depth - (kind == "flat")
    seconds = time.perf_counter() - started
    return Imported(output, version, len(label_set), model.features, depth, seconds)


def _one_model(folder: Path) -> Path:
    """Where the rankers lie: the folder itself, or the only model of a text2text ensemble."""
    ensemble = folder / "xlinear_ensemble"
    if not ensemble.is_dir():
        return folder
    if (models := _read_json(ensemble / "config.json").get("nr_ensembles")) != 1:
        raise BundleError("ensembles of text2text are not imported", got=models, expected="one model")
    return ensemble / "0"


def _label_set(folder: Path, file: str, labels: int, store: Store, say: Callable[[str], None]) -> LabelSet:
    """L labels in PECOS's order."""
    items = folder / "output_items.json"
    if file:
        found = read_labels(store, file)
    elif items.is_file():
        texts = _read_items(items)
        unique = len(set(texts)) == len(texts) and all(texts)
        ids = texts if unique else _numbered(len(texts))
        found = LabelSet(tuple(ids), tuple(texts), ("",) * len(texts))
    else:
        say(
            "no label file is named, so that labels are called label 0, label 1 and so on; --labels FILE names them"
        )
        found = LabelSet(tuple(_numbered(labels)), ("",) * labels, ("",) * labels)
    if len(found) != labels:
        raise BundleError(
            "the label file is not that of the model",
            got=f"{len(found)} labels",
            expected=f"{labels}, in the order in which PECOS numbers them",
        )
    return found


def _numbered(labels: int) -> list[str]:
    return [f"label {number}" for number in range(labels)]


def _read_items(path: Path) -> list[str]:
    try:
        return [str(item).strip() for item in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise BundleError(
            f"{path} cannot be read", got=str(error), expected="a list of text2text's items"
        ) from error


def _by_use(weights: list[sp.csc_matrix], terms: Vocabulary) -> tuple[list[sp.csc_matrix], Vocabulary]:
    """The same with features numbered by how many weights each has, so that a search reads less memory."""
    features = len(terms.terms)
    used_V = sum(np.bincount(level.indices, minlength=features + 1)[:features] for level in weights)
    order = np.argsort(-np.asarray(used_V), kind="stable")
    number = np.empty(features + 1, np.int32)
    number[order], number[features] = np.arange(features), features
    moved = []
    for level in weights:
        level = sp.csc_matrix((level.data, number[level.indices], level.indptr), level.shape)
        level.sort_indices()
        moved.append(level)
    names, frequency_V, idf_V = terms.terms, terms.frequency_V[order], terms.arrays.idf_V[order]
    ordered = [names[feature] for feature in order]
    return moved, Vocabulary.from_terms(ordered, frequency_V, terms.texts, terms.style, idf_V)


def _run(model: PecosModel, terms: Vocabulary, output: str, labels: str) -> FitRun:
    """The settings that say of the bundle what is known of its training."""
    flat = model.beam == ALL_NODES
    return FitRun(
        method="xrlinear",
        source=SourceSettings(labels=labels, normalise="none"),  # as PECOS reads texts
        terms=TermSettings(ngrams=2 if (terms.arrays.right_V >= 0).any() else 1, min_frequency=1),
        tree=TreeSettings(trees=1, transform=model.transform, combiner=model.combiner),
        search=SearchSettings(
            index="flat" if flat else "tree", beam=model.beam or DEFAULT_BEAM, k=min(model.k, MOST_TAGS)
        ),
        output=OutputSettings(bundle=output),
    )


def _facts(run: FitRun, labels: LabelSet, kind: str) -> dict[str, Any]:
    return {
        "kind": "tree",
        "search": kind,
        "imported": "PECOS XR-Linear",
        "settings": to_values(run),
        "label_set": labels.fingerprint,
        "labels": len(labels),
        "trained_labels": dict.fromkeys(labels.ids, 1),  # PECOS does not keep how many documents each had
        "train_documents": len(labels),
        "calibrated": False,
        "metrics": {"validation": {}},
        "licences": {},
    }


class PecosModel(NamedTuple):
    """What a folder of PECOS holds.

    Attributes:
        tree: over PECOS's own label numbers.
        weights: one a level, float32 CSC (V + 1, places), the bias row already multiplied by `bias`.
        transform: the post-processor.
        combiner: that goes with it.
        beam: nodes kept a level; `ALL_NODES` where labels have no hierarchy.
        k: labels a document that it answers by default.
        bias: the constant feature's value that it was trained with; 0 or less for none.
    """

    tree: LabelTree
    weights: list[sp.csc_matrix]
    transform: str
    combiner: str
    beam: int
    k: int
    bias: float

    @property
    def features(self) -> int:
        """V."""
        return cast("tuple[int, int]", self.weights[0].shape)[0] - 1


def read_pecos(folder: Path) -> PecosModel:
    """Reads `folder/ranker/<level>.model/{W.npz,C.npz,param.json}`, or `folder` if it is itself the ranker's.

    Args:
        folder: what `XLinearModel.save` wrote.

    Raises:
        BundleError: the folder is no such model, is compiled for memory mapping, or its parts do not fit together.
    """
    ranker = folder / "ranker" if (folder / "ranker").is_dir() else folder
    facts = _read_json(ranker / "param.json")
    if facts.get("model") != "HierarchicalMLModel":
        raise BundleError("not a tree of PECOS", got=facts.get("model"), expected="HierarchicalMLModel")
    levels = [_read_level(ranker / f"{level}.model") for level in range(int(facts["depth"]))]
    tree, weights = _in_order(levels)
    flat = tree.depth > len(levels)
    kwargs = [level.facts.get("pred_kwargs", {}) for level in levels]
    transforms = {found.get("post_processor", "l3-hinge") for found in kwargs}
    if len(transforms) > 1 or not transforms <= set(TRANSFORMS):
        raise BundleError(
            "the model's post-processor is unknown",
            got=sorted(transforms),
            expected="one of " + ", ".join(TRANSFORMS),
        )
    transform = transforms.pop()
    beam = max((int(found.get("only_topk", DEFAULT_BEAM)) for found in kwargs[:-1]), default=DEFAULT_BEAM)
    if flat:  # a level above that lets every document through
        sure = 1.0 if transform == "noop" else SURE
        weights.insert(0, open_level(cast("tuple[int, int]", weights[0].shape)[0] - 1, tree.width[0], sure))
        beam = ALL_NODES
    k = int(kwargs[-1].get("only_topk", DEFAULT_BEAM))
    return PecosModel(tree, weights, transform, usual_combiner(transform), beam, k, levels[0].bias)


class _Level(NamedTuple):
    weight: sp.csc_matrix  # (V + 1, nodes), nodes by PECOS's numbers
    parent: sp.csc_matrix  # (nodes, nodes above)
    bias: float
    facts: dict[str, Any]


def _in_order(levels: list[_Level]) -> tuple[LabelTree, list[sp.csc_matrix]]:
    """Renumbers nodes so that siblings are neighbours: PECOS may number the nodes of a level as it likes."""
    offsets, weights, above = [], [], np.zeros(1, np.int32)
    for number, level in enumerate(levels):
        shape = cast("tuple[int, int]", level.parent.shape)
        if shape != (len(level.weight.indptr) - 1, len(above)):
            raise BundleError(f"level {number} of the PECOS model does not fit the level above", got=shape)
        parent = sp.csc_matrix(level.parent[:, above])
        offsets.append(parent.indptr.astype(np.int64))
        above = parent.indices.astype(np.int32)
        weights.append(sp.csc_matrix(level.weight[:, above]))
    if len(above) != len(np.unique(above)) or len(above) != len(levels[-1].weight.indptr) - 1:
        raise BundleError("the PECOS model's tree does not have each label once", got=len(above))
    if len(levels) == 1 and len(above) > MOST_SIBLINGS:
        return LabelTree.flat(above), weights
    return LabelTree(tuple(offsets), above), weights


def _read_level(folder: Path) -> _Level:
    facts = _read_json(folder / "param.json")
    weight, parent = _read_matrix(folder / "W.npz"), _read_matrix(folder / "C.npz")
    features, bias = int(facts["nr_features"]), float(facts.get("bias", -1.0))
    rows, nodes = cast("tuple[int, int]", weight.shape)
    if rows != features + (bias > 0):
        raise BundleError(
            f"weights in {folder} have the wrong number of rows", got=rows, expected=f"{features} + bias"
        )
    if bias <= 0:
        weight = sp.csc_matrix((weight.data, weight.indices, weight.indptr), (features + 1, nodes))
    else:
        weight.data[weight.indices == features] *= np.float32(bias)
    return _Level(weight, parent, bias, facts)


def _read_matrix(path: Path) -> sp.csc_matrix:
    """A sparse matrix as SciPy saves it, or a dense one as NumPy does."""
    try:
        with np.load(path, allow_pickle=False) as found:
            matrix = sp.load_npz(path) if "format" in found else found["data"]
    except (OSError, ValueError, KeyError, BadZipFile, zlib.error) as error:
        raise BundleError(f"{path} cannot be read", got=str(error), expected="a matrix that PECOS saved") from error
    matrix = sp.csc_matrix(matrix, dtype=np.float32)
    matrix.sort_indices()
    return matrix


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read", got=str(error), expected="a folder that PECOS saved") from error
    if not isinstance(found, dict):
        raise BundleError(f"{path} is not a table", got=type(found).__name__)
    return found
