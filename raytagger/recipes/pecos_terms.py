"""The vocabularies of PECOS's text pipelines: its own vectoriser's files, or a list of terms. No pickle is read.

What `Vectorizer.save` and `Preprocessor.save` write:

    config.json                        {"type": "tfidf", …}; `sklearntfidf` has a pickle beside it, never opened
    meta.json                          how many base vectorisers, and the norm
    0.base/tokenizer/vocab.txt         how many, then   number TAB token   in no order
    0.base/tokenizer/config.json       10: tokens stand between spaces; others are of characters
    0.base/vectorizer/tfidf-model.txt  how many, then   feature TAB idf TAB how many tokens TAB their numbers
    0.base/vectorizer/config.json      counts, n-grams, truncation

Source: libpecos 1.2.8, pecos/core/utils/tfidf.hpp, and what it writes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from raytagger.errors import BundleError
from raytagger.schema import FloatArray
from raytagger.vectors import Vocabulary
from raytagger.vectors.style import COUNT, LOGARITHM, ONCE, PLAIN, RUNS, STANDARD, WORDS, Style

PLACES = ("", "preprocessor", "vectorizer")  # where a vectoriser lies in a model's folder
TOKENS_BETWEEN_SPACES = 10
NORMS = {"l1": 1, "l2": 2, 1: 1, 2: 2}
# What scikit-learn's vectoriser may have been given and still see words as we do, and PECOS's own default of each.
_ALIKE: dict[str, tuple[Sequence[Any], Any]] = {
    "analyzer": (("word",), "word"),
    "lowercase": ((True,), True),
    "strip_accents": ((None, "unicode"), "unicode"),
    "stop_words": ((None,), None),
    "token_pattern": ((r"(?u)\b\w\w+\b",), r"(?u)\b\w\w+\b"),
    "preprocessor": ((None,), None),
    "tokenizer": ((None,), None),
}
EXPORT = (
    "Write its terms to a file, `for term in sorted(v.vocabulary_, key=v.vocabulary_.get): "
    'print(term, v.idf_[v.vocabulary_[term]], sep="\\t")`, and name it with --vocabulary.'
)


def read_terms(model: Path, named: Path | None) -> Vocabulary:
    """The vocabulary that a model's features are of.

    Args:
        model: the model's folder, which may hold the vectoriser.
        named: another folder of a vectoriser, or a file of terms in the order of the features, one a line, each
            with a tab and its idf or all without (then every idf is 1). Such a file is read as a scikit-learn
            vectoriser's where the model's folder says so, else as raytagger's own: (1 + ln count) x idf.

    Raises:
        BundleError: there is none, it is damaged, or it does what raytagger cannot.
    """
    folder = named if named is not None and named.is_dir() else _find(model)
    if named is not None and not named.is_dir():
        return _read_list(named, STANDARD if folder is None else _style(folder))
    if folder is None:
        raise BundleError(
            "the model has no vectoriser, so that texts cannot become its features",
            got=str(model),
            expected=f"a vectoriser's files in the folder or in {' or '.join(PLACES[1:])} below it",
            remedy="Name the vectoriser's folder, or a file with a term a line in the order of the features, "
            "with --vocabulary.",
        )
    style = _style(folder)
    if _kind(folder) != "tfidf":
        raise BundleError(f"{folder} is a pickle of scikit-learn, which raytagger never reads", remedy=EXPORT)
    return _read_own(_base(folder), style)


def _find(model: Path) -> Path | None:
    """The first folder that holds a vectoriser."""
    for place in PLACES:
        folder = model / place
        if (folder / "meta.json").is_file() or (folder / "tokenizer").is_dir():
            return folder
        if (folder / "config.json").is_file() and _kind(folder):
            return folder
    return None


def _kind(folder: Path) -> str:
    """`tfidf` where nothing says otherwise, as PECOS reads its older folders."""
    if not (folder / "config.json").is_file():
        return "tfidf"
    return str(_read_json(folder / "config.json").get("type", ""))


def _base(folder: Path) -> Path:
    return folder / "0.base" if (folder / "meta.json").is_file() else folder


def _style(folder: Path) -> Style:
    kind = _kind(folder)
    if kind == "tfidf":
        return _own_style(folder)
    if kind == "sklearntfidf":
        return _scikit_learn_style(_table(_read_json(folder / "config.json"), "kwargs"))
    raise BundleError("the model's vectoriser cannot be imported", got=kind, expected="tfidf or sklearntfidf")


def _own_style(folder: Path) -> Style:
    base = _base(folder)
    meta = _table(_read_json(folder / "meta.json"), "kwargs") if base != folder else {}
    if (several := meta.get("num_base_vect", 1)) != 1:
        raise _unlike("base_vect_configs", f"{several} of them", "one")
    analyzer = _read_json(base / "tokenizer" / "config.json").get("token_type")
    if analyzer != TOKENS_BETWEEN_SPACES:
        raise _unlike("analyzer", {20: "char", 30: "char_wb"}.get(analyzer or 0, analyzer), "word")
    options = _table(_read_json(base / "vectorizer" / "config.json"), "kwargs")
    _check_ngrams(options)
    norm = _norm(meta.get("norm_p", options.get("norm_p", "l2")))
    return Style(RUNS, _counts(options), norm, max(0, int(options.get("max_length", 0))))


def _scikit_learn_style(options: dict[str, Any]) -> Style:
    for name, (alike, usual) in _ALIKE.items():
        if (got := options.get(name, usual)) not in alike:
            raise _unlike(name, got, " or ".join(map(repr, alike)))
    _check_ngrams(options)
    accents = options.get("strip_accents", _ALIKE["strip_accents"][1])
    return Style(PLAIN if accents else WORDS, _counts(options), _norm(options.get("norm", "l2")))


def _check_ngrams(options: dict[str, Any]) -> None:
    least, most = options.get("ngram_range", (1, 1))
    if not 1 <= least <= most <= 2:
        raise _unlike("ngram_range", [least, most], "[1, 1], [1, 2] or [2, 2]")


def _counts(options: dict[str, Any]) -> int:
    if options.get("binary"):
        return ONCE
    return LOGARITHM if options.get("sublinear_tf") else COUNT


def _norm(name: object) -> int:
    if name not in NORMS:
        raise _unlike("norm", name, "l1 or l2")
    return NORMS[name]


def _unlike(option: str, got: object, expected: str) -> BundleError:
    return BundleError(
        f"the vectoriser's option {option} is one that raytagger cannot follow", got=got, expected=expected
    )


def _read_own(base: Path, style: Style) -> Vocabulary:
    """The vocabulary of PECOS's own vectoriser."""
    use_idf = _table(_read_json(base / "vectorizer" / "config.json"), "kwargs").get("use_idf", True)
    try:
        tokens = _read_tokens(base / "tokenizer" / "vocab.txt")
        terms, idf_V = _read_features(base / "vectorizer" / "tfidf-model.txt", tokens)
    except (OSError, ValueError, LookupError) as error:
        expected = "what PECOS's vectoriser saved; no token holds a line break"
        raise BundleError(f"the vectoriser {base} cannot be read", got=str(error), expected=expected) from error
    return _vocabulary(terms, style, idf_V if use_idf else np.ones_like(idf_V))


def _read_tokens(path: Path) -> dict[int, str]:
    """Tokens by number."""
    count, *lines = path.read_bytes().rstrip(b"\n").split(b"\n")
    pairs = (line.split(b"\t", 1) for line in lines)
    tokens = {int(number): token.decode() for number, token in pairs}
    if len(tokens) != int(count):
        raise ValueError(f"{len(tokens)} tokens of {int(count)}")
    return tokens


def _read_features(path: Path, tokens: dict[int, str]) -> tuple[list[str], FloatArray]:
    """Terms in the order of the features, and their idf, float32 (V,)."""
    count, *lines = path.read_text(encoding="ascii").rstrip("\n").split("\n")
    terms, idf_V = [""] * int(count), np.zeros(int(count), np.float32)
    for line in lines:
        feature, idf, _, numbers = line.split("\t")
        terms[int(feature)] = " ".join(tokens[int(number)] for number in numbers.split(" "))
        idf_V[int(feature)] = float(idf)
    if not all(terms):
        raise ValueError(f"{len(lines)} features of {int(count)}")
    return terms, idf_V


def _read_list(path: Path, style: Style) -> Vocabulary:
    """The vocabulary of a file with a term a line, each with a tab and its idf or none with one."""
    try:
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        parts = [line.rstrip("\r").rsplit("\t", 1) for line in lines]
        bare = all(len(part) == 1 for part in parts)
        idf_V = np.array([1.0 if bare else float(part[1]) for part in parts], np.float32)
    except (OSError, ValueError, IndexError) as error:
        expected = "a term a line, each with a tab and its idf or all without"
        raise BundleError(f"the vocabulary {path} cannot be read", got=str(error), expected=expected) from error
    return _vocabulary([part[0] for part in parts], style, idf_V)


def _vocabulary(terms: list[str], style: Style, idf_V: FloatArray) -> Vocabulary:
    """How many texts were counted is not known: 0, and 1 for each term."""
    return Vocabulary.from_terms(terms, np.ones(len(terms), np.int64), 0, style, idf_V)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read", got=str(error), expected="a file of PECOS") from error
    if not isinstance(found, dict):
        raise BundleError(f"{path} is not a table", got=type(found).__name__)
    return found


def _table(found: dict[str, Any], name: str) -> dict[str, Any]:
    table = found.get(name)
    if not isinstance(table, dict):
        raise BundleError(f"a file of PECOS has no table {name}", got=sorted(found))
    return table
