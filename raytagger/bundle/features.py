"""Document features of any kind: named tuples of arrays, cut to some rows, and kept in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp


def take_rows(features: Any, rows: np.ndarray) -> Any:
    """The features of some documents, int64 rows."""
    return type(features)(*(_taken(value, rows) for value in features))


def join_rows(parts: Sequence[Any]) -> Any:
    """The features of documents in one piece, from one or more pieces that one tagger has made."""
    return parts[0] if len(parts) == 1 else type(parts[0])(*map(_joined, zip(*parts, strict=True)))


def readers(parts: Sequence[Any]) -> Sequence[Any]:
    """The features of those members that read documents: popularity is the same whatever is known of one."""
    return [part for part in parts if getattr(part, "reads_text", True)] or parts


def save_features(features: Any, folder: Path) -> None:
    """Writes one file an array: `.npy`, four for a sparse matrix, and a folder for features within features."""
    folder.mkdir(parents=True)
    for name, value in _fields(features).items():
        if isinstance(value, tuple):
            save_features(value, folder / name)
        elif isinstance(value, np.ndarray):
            kept = value.astype(np.float16) if value.dtype == np.float32 else value
            np.save(folder / f"{name}.npy", kept)
        elif sp.issparse(value):
            np.save(folder / f"{name}.data.npy", value.data)
            np.save(folder / f"{name}.indices.npy", value.indices)
            np.save(folder / f"{name}.indptr.npy", value.indptr)
            np.save(folder / f"{name}.shape.npy", np.array(value.shape))


def load_features(like: Any, documents: int, folder: Path) -> Any:
    """What `save_features` wrote.

    Args:
        like: features of any documents by the same member.
        documents: how many; a field that counts them has this value.
        folder: where it was written.
    """
    values = [_loaded(folder, name, one, documents) for name, one in _fields(like).items()]
    return type(like)(*values) if hasattr(like, "_fields") else tuple(values)


def _fields(features: Any) -> dict[str, Any]:
    """By name, or by place in a tuple without names."""
    return features._asdict() if hasattr(features, "_fields") else {str(n): one for n, one in enumerate(features)}


def _taken(value: Any, rows: np.ndarray) -> Any:
    if isinstance(value, tuple):
        return take_rows(value, rows) if hasattr(value, "_fields") else tuple(_taken(one, rows) for one in value)
    if isinstance(value, int):
        return len(rows)
    return None if value is None else value[rows]


def _joined(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, tuple):
        return join_rows(values) if hasattr(first, "_fields") else tuple(map(_joined, zip(*values, strict=True)))
    if isinstance(first, int):
        return sum(values)
    if sp.issparse(first):
        return sp.vstack(values, format="csr")
    return None if first is None else np.concatenate(values)


def _loaded(folder: Path, name: str, like: Any, documents: int) -> Any:
    if isinstance(like, tuple):
        return load_features(like, documents, folder / name)
    if (folder / f"{name}.npy").is_file():
        value = np.load(folder / f"{name}.npy", allow_pickle=False)
        return value.astype(np.float32) if value.dtype == np.float16 else value
    if (folder / f"{name}.data.npy").is_file():
        parts = [
            np.load(folder / f"{name}.{part}.npy", allow_pickle=False) for part in ("data", "indices", "indptr")
        ]
        shape = np.load(folder / f"{name}.shape.npy", allow_pickle=False)
        return sp.csr_matrix(tuple(parts), shape=tuple(shape.tolist()))
    return documents if name == "documents" else None
