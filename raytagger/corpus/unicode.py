"""One Unicode form for ids and texts, so that what looks alike is alike."""

from __future__ import annotations

import unicodedata

FORMS = {"nfc": "NFC", "nfkc": "NFKC"}


def normalise(text: str, form: str) -> str:
    """A text in a Unicode form: `nfc`, `nfkc`, or `none` for the text as it is."""
    if form == "none" or text.isascii():
        return text
    return unicodedata.normalize(FORMS[form], text)  # pyright: ignore[reportArgumentType] - one of its forms
