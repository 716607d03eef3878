"""Unicode forms: ids and texts that look alike are made the same, in one place."""

from __future__ import annotations

import unicodedata
from typing import Any, Literal, cast

import pyarrow as pa
import pyarrow.compute

from raytagger.errors import SettingsError

pc: Any = pyarrow.compute  # makes its functions at import, where no type checker sees them

FORMS = ("nfc", "nfkc", "none")


def check_form(form: str) -> None:
    """Refuses a form that is not known.

    Raises:
        SettingsError: it is none of `FORMS`.
    """
    if form not in FORMS:
        raise SettingsError("source.normalise is unknown", got=form, expected=", ".join(FORMS))


def normalise(text: str, form: str) -> str:
    """A text in the form `nfc` or `nfkc`; as it is for `none`."""
    if form == "none" or text.isascii():
        return text
    return unicodedata.normalize(_name(form), text)


def normalise_column(column: pa.ChunkedArray, form: str) -> pa.ChunkedArray:
    """A column of strings in a form; the column itself where nothing changes."""
    if form == "none":
        return column
    odd = pc.invert(pc.string_is_ascii(column))
    if not pc.any(odd).as_py():
        return column
    # Python's check reads a text ten times as fast as Arrow normalises it, and few texts need it.
    name = _name(form)
    values = column.filter(odd).to_pylist()
    if all(unicodedata.is_normalized(name, value) for value in values):
        return column
    changed = pa.array([unicodedata.normalize(name, value) for value in values], column.type)
    return pc.replace_with_mask(column, pc.fill_null(odd, False).combine_chunks(), changed)


def fold(text: str) -> str:
    """What is left of a text without case, blanks around it and the ways to encode a letter."""
    return unicodedata.normalize("NFKC", text).strip().casefold()


def _name(form: str) -> Literal["NFC", "NFKC"]:
    return cast(Literal["NFC", "NFKC"], form.upper())
