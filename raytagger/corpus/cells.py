"""Cells as people write them, made uniform in one place: ids, lists of ids, flags, names of splits."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from raytagger.corpus.unicode import normalise_column
from raytagger.settings import SourceSettings

pc: Any = pyarrow.compute  # makes its functions at import, where no type checker sees them

VALIDATION = "val"
VALIDATION_NAMES = ("validation", "valid", "dev")  # what others call it
MISSING = frozenset({"nan", "NaN", "NaT", "None", "null", "NULL", "<NA>"})  # as programs write it for want of null
LIST_BEGINS = ("[", "array([")
WRITTEN_ARRAY = re.compile(r"array\((\[.*\])(?:, dtype=\w+)?\)", re.DOTALL)
ITEM = re.compile(r"""\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|-?\d+)\s*(?:,|(?=\s|['"]|$))\s*""", re.DOTALL)


def label_cell(cell: str) -> list[Any] | str:
    """The ids of a cell that is text: one, or a list as `parse_list` reads it; none where a value is missing.

    A cell that begins as a list and is none comes back as it is.
    """
    text = cell.strip()
    if text.startswith(LIST_BEGINS):
        return parse_list(text)
    return [] if text in MISSING else [cell]


def split_cell(cell: str) -> list[Any] | str:
    """The ids of a cell as `label_cell` reads it; one that is no list may have parts joined by `;` or `|`."""
    found, text = label_cell(cell), cell.strip()
    if not found or text.startswith(LIST_BEGINS):
        return found
    return [part.strip() for part in text.split(";" if ";" in text else "|") if part.strip()]


def parse_list(text: str) -> list[Any] | str:
    """The items of a list in JSON, or as `str` of a list or of a NumPy array spells it; else the text itself.

    Strings and integers only. `['a' 'b']`, which Python's grammar would make one string, has two.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return _parse_printed(text)
    return found if isinstance(found, list) else text


def split_name(cell: str, source: SourceSettings) -> str:
    """A split's name: as the run spells it, else in lower case, and `val` for what others call it."""
    name = cell.strip()
    own = {known.lower(): known for known in (source.train_split, source.validation_split)}
    lower = name.lower()
    if lower in own:
        return own[lower]
    if lower in VALIDATION_NAMES and not own.keys() & set(VALIDATION_NAMES):
        return VALIDATION
    return lower


def same_split(asked: str, name: str) -> bool:
    """Whether a split that is asked for is one that `split_name` has named: case and blanks do not count."""
    asked, name = asked.strip().lower(), name.lower()
    return asked == name or (asked in VALIDATION_NAMES and name == VALIDATION)


def clean_splits(column: pa.ChunkedArray, source: SourceSettings) -> pa.ChunkedArray:
    """Names of splits made uniform; a blank one is null."""
    names = pc.unique(column).to_pylist()
    new = {name: split_name(name, source) or None for name in names if name is not None}
    if all(name == kept for name, kept in new.items()):
        return column
    encoded = column.combine_chunks().dictionary_encode()
    spelled = pa.array([new[name] for name in encoded.dictionary.to_pylist()], pa.string())
    return pa.chunked_array([spelled.take(encoded.indices)], pa.string())


def clean_ids(column: pa.ChunkedArray, form: str) -> pa.ChunkedArray:
    """Ids without blanks around them, in one Unicode form."""
    return normalise_column(pc.utf8_trim_whitespace(column), form)


def clean_lists(column: pa.ChunkedArray, form: str) -> pa.ChunkedArray:
    """Lists of ids as `clean_ids` has them, without null and blank ones; a null list stays null."""
    flat = pa.chunked_array([pc.list_flatten(column).combine_chunks()], pa.string())
    ids = clean_ids(flat, form)
    kept = np.asarray(pc.fill_null(pc.not_equal(ids, ""), False).combine_chunks(), bool)
    if kept.all() and ids.equals(flat):
        return column
    lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0).combine_chunks(), np.int64)
    ends = np.concatenate([[0], np.cumsum(kept)])[np.concatenate([[0], np.cumsum(lengths)])]
    values = ids.filter(pa.array(kept)).combine_chunks()
    lists = pa.ListArray.from_arrays(
        pa.array(ends, pa.int32()), values, mask=pc.is_null(column).combine_chunks(), type=pa.list_(pa.string())
    )
    return pa.chunked_array([lists])


def _parse_printed(text: str) -> list[Any] | str:
    array = WRITTEN_ARRAY.fullmatch(text)
    inner = (array[1] if array else text).removeprefix("[")
    if not inner.endswith("]"):
        return text
    inner, items, at = inner[:-1].strip(), [], 0
    while at < len(inner):
        found = ITEM.match(inner, at)
        if found is None:
            return text
        try:
            items.append(ast.literal_eval(found[1]))  # one string or integer, never an expression
        except (ValueError, SyntaxError):
            return text
        at = found.end()
    return items
