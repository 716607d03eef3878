"""What decides the text that a model sees: kept in its bundle, and what holds wherever the bundle reads texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from raytagger.corpus.unicode import normalise
from raytagger.errors import CorpusError, SettingsError
from raytagger.settings import SourceSettings

SEPARATOR = ". "
TEXT_ROLES = ("title", "text")  # of `source.map`: which column of a file is meant by a field's name
Text = str | Mapping[str, Any]


def text_fields(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields that a bundle's documents are joined from."""
    kept = _kept(manifest)
    return tuple(kept.get("fields") or (TEXT_ROLES if "title" in kept.get("map", {}) else ("text",)))


def text_settings(manifest: Mapping[str, Any], asked: SourceSettings) -> SourceSettings:
    """How documents are to be read for a bundle: as those that it was fitted on.

    What is left at its default is the bundle's: `source.fields`, `source.normalise`, and the columns of the text in
    `source.map`. That a file calls its columns otherwise is said by `source.map`.

    Args:
        manifest: of the bundle. A manifest from before a setting means what was done before it.
        asked: where the documents are, and whatever else is asked of them.

    Raises:
        SettingsError: the fields or the Unicode form that are asked for are not the bundle's.
    """
    kept = _kept(manifest)
    if not kept:
        return asked
    columns = {role: name for role, name in kept.get("map", {}).items() if role in TEXT_ROLES}
    fields, form = text_fields(manifest), kept.get("normalise", "none")
    if not kept.get("documents") and not kept.get("fields"):
        fields = asked.fields  # the bundle has seen label texts alone
    if asked.fields and asked.fields != fields:
        raise _other("fields", asked.fields, fields, "Where the file calls its columns otherwise, use source.map.")
    if asked.normalise not in (form, SourceSettings.normalise):
        raise _other("normalise", asked.normalise, form)
    return replace(asked, fields=fields, normalise=form, map=columns | asked.map)


def shared_text_settings(manifests: Sequence[Mapping[str, Any]], asked: SourceSettings) -> SourceSettings:
    """How documents are to be read for several bundles at once.

    Raises:
        SettingsError: they read different texts.
    """
    for manifest in (*manifests, *manifests):  # a second time with what the later ones have said
        asked = text_settings(manifest, asked)
    return asked


def read_texts(manifest: Mapping[str, Any], texts: Iterable[Text]) -> list[str]:
    """Texts from outside as the bundle's documents were read: fields joined, in the same Unicode form.

    Args:
        manifest: of the bundle.
        texts: each whole, or the bundle's fields by name; an empty or absent field adds nothing.

    Raises:
        CorpusError: this is no list of texts, or a field is not the bundle's.
    """
    if isinstance(texts, str | bytes | Mapping) or not isinstance(texts, Iterable):
        raise CorpusError("texts come as a list", got=texts, remedy="Put a single text into a list.")
    fields, form = text_fields(manifest), _kept(manifest).get("normalise", "none")
    return [normalise(_whole(text, row, fields), form) for row, text in enumerate(texts)]


def join_fields(parts: Iterable[str | None]) -> str:
    """A document's text from its fields; an empty one leaves no separator behind."""
    return SEPARATOR.join(part for part in parts if part and part.strip())


def _kept(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return manifest.get("settings", {}).get("source", {})


def _other(name: str, asked: object, kept: object, remedy: str = "") -> SettingsError:
    return SettingsError(
        f"source.{name} is not what the bundle was fitted with",
        got=asked,
        expected=f"{kept!r}, or nothing: the bundle knows",
        remedy=remedy,
    )


def _whole(text: Text, row: int, fields: tuple[str, ...]) -> str:
    if isinstance(text, str):
        return _unicode(text, row)
    if not isinstance(text, Mapping):
        raise CorpusError(f"text {row} is not a text", got=text, expected="a string")
    if unknown := [name for name in text if name not in fields]:
        expected = ", ".join(fields)
        raise CorpusError(f"text {row} has a field that the bundle does not read", got=unknown, expected=expected)
    parts = [text[name] for name in fields if text.get(name) is not None]
    return join_fields(_whole(part, row, ()) for part in parts)


def _unicode(text: str, row: int) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise CorpusError(f"text {row} is not Unicode: {error}") from error
    return text
