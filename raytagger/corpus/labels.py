"""The label set: ids, texts, status; its version is the fingerprint of its content."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from raytagger.corpus.columns import is_string, is_string_list
from raytagger.corpus.formats import read_raw
from raytagger.corpus.rows import Kind, Request, to_flag
from raytagger.corpus.unicode import check_form, normalise
from raytagger.errors import CorpusError
from raytagger.schema import BoolArray
from raytagger.settings import SourceSettings
from raytagger.store import Store

ACTIVE, RETIRED = "active", "retired"
KINDS = {
    **dict.fromkeys(("label_id", "id", "uid"), Kind.ID),
    **dict.fromkeys(("title", "text", "status"), Kind.TEXT),
    "parents": Kind.IDS,
    "seen": Kind.FLAG,
}
EXPECTED = {Kind.ID: "string or integer", Kind.TEXT: "string", Kind.IDS: "list<string>", Kind.FLAG: "bool"}


@dataclass(frozen=True)
class LabelSet:
    """L labels. A label's place is its index for good: later versions only append.

    Attributes:
        ids: unique label ids.
        titles: titles, "" where a label has none.
        texts: descriptions, "" where a label has none.
        parents: ids of parent labels, often empty.
        status: `active` or `retired`; a retired label keeps its index and is never predicted.
        seen: from the label file's own column, None where it has none.
    """

    ids: tuple[str, ...]
    titles: tuple[str, ...]
    texts: tuple[str, ...]
    parents: tuple[tuple[str, ...], ...] = ()
    status: tuple[str, ...] = ()
    seen: tuple[bool, ...] | None = None

    def __post_init__(self) -> None:
        if not self.parents:
            object.__setattr__(self, "parents", ((),) * len(self.ids))
        if not self.status:
            object.__setattr__(self, "status", (ACTIVE,) * len(self.ids))

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def index(self) -> dict[str, int]:
        """Label id to index."""
        return {label_id: index for index, label_id in enumerate(self.ids)}

    @cached_property
    def full_texts(self) -> list[str]:
        """What is encoded: title and text joined by ". ", or the one that is not empty."""
        return [". ".join(part for part in pair if part) for pair in zip(self.titles, self.texts, strict=True)]

    @cached_property
    def active_L(self) -> BoolArray:
        """Boolean (L,), False for retired labels."""
        return np.array([status == ACTIVE for status in self.status], bool)

    @cached_property
    def predictable_L(self) -> BoolArray:
        """Boolean (L,), True for active labels that have a text; not to be written to."""
        mask_L = self.active_L & np.array([bool(text) for text in self.full_texts], bool)
        mask_L.flags.writeable = False
        return mask_L

    @cached_property
    def marked_unseen_L(self) -> BoolArray:
        """Boolean (L,), True for labels that the file marks `seen = false`: nothing is trained on them."""
        return np.zeros(len(self), bool) if self.seen is None else ~np.array(self.seen, bool)

    def mask(self, label_ids: Iterable[str]) -> BoolArray:
        """Boolean (L,), True for these labels.

        Raises:
            CorpusError: an id that is no label's.
        """
        mask_L, unknown = np.zeros(len(self), bool), []
        for label_id in label_ids:
            if (label := self.index.get(label_id)) is None:
                unknown.append(label_id)
            else:
                mask_L[label] = True
        if unknown:
            raise CorpusError("no such labels", got=unknown[:5], expected="ids of the label set")
        return mask_L

    def below(self, label_id: str) -> BoolArray:
        """Boolean (L,), True for a label and all that have it as a parent, or a parent's parent, and so on.

        Raises:
            CorpusError: the id is no label's.
        """
        below_L, fresh = self.mask([label_id]), [label_id]
        while fresh:
            for label in self._children.get(fresh.pop(), ()):
                if not below_L[label]:
                    below_L[label] = True
                    fresh.append(self.ids[label])
        return below_L

    @cached_property
    def _children(self) -> dict[str, list[int]]:
        """Labels by the id of a parent."""
        children: dict[str, list[int]] = {}
        for label, parents in enumerate(self.parents):
            for parent in parents:
                children.setdefault(parent, []).append(label)
        return children

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits over ids, texts, parents, status and what is marked unseen, in order: the version."""
        content: list[Any] = list(zip(self.ids, self.titles, self.texts, self.parents, self.status, strict=True))
        if self.marked_unseen_L.any():
            content.append(np.flatnonzero(self.marked_unseen_L).tolist())
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]

    def to_table(self) -> pa.Table:
        """As an Arrow table with the columns of a label file."""
        columns: dict[str, Any] = {
            "label_id": pa.array(self.ids, pa.string()),
            "title": pa.array(self.titles, pa.string()),
            "text": pa.array(self.texts, pa.string()),
            "parents": pa.array([list(parents) for parents in self.parents], pa.list_(pa.string())),
            "status": pa.array(self.status, pa.string()),
        }
        if self.seen is not None:
            columns["seen"] = pa.array(self.seen, pa.bool_())
        return pa.table(columns)

    def merged(self, newer: LabelSet) -> LabelSet:
        """This set brought up to a newer one: known labels keep their index, new ones are appended.

        Labels that the newer set lacks are retired.
        """
        place = newer.index
        kept = [place.get(label_id) for label_id in self.ids]
        added = [index for index, label_id in enumerate(newer.ids) if label_id not in self.index]

        def column(name: str) -> tuple[Any, ...]:
            old, new = getattr(self, name), getattr(newer, name)
            known = [old[i] if at is None else new[at] for i, at in enumerate(kept)]
            return (*known, *(new[at] for at in added))

        status = [RETIRED if at is None else newer.status[at] for at in kept]
        merged = LabelSet(
            column("ids"),
            column("titles"),
            column("texts"),
            column("parents"),
            (*status, *(newer.status[at] for at in added)),
        )
        if newer.seen is None:
            return merged
        seen = [False if at is None else newer.seen[at] for at in kept]
        return replace(merged, seen=(*seen, *(newer.seen[at] for at in added)))


def read_source_labels(store: Store, source: SourceSettings) -> LabelSet:
    """Reads `source.labels` as `source` says; raises as `read_labels`."""
    how = {"form": source.normalise, "quotes": source.quotes, "language": source.language}
    return read_labels(store, source.labels, source.label_format, **how)


def read_labels(
    store: Store, uri: str, format_name: str = "", *, form: str = "nfc", quotes: str = "auto", language: str = "en"
) -> LabelSet:
    """Reads a label file.

    Args:
        store: where it lies.
        uri: a file or a folder.
        format_name: the format; empty: by the file's ending.
        form: the Unicode form of ids and texts, as `source.normalise`.
        quotes: as `source.quotes`.
        language: of a vocabulary's labels, as `source.language`.

    Raises:
        CorpusError: a row that cannot be read, no id column, neither title nor text, an empty or a duplicate
            id, a column of the wrong type, an unknown status, no labels.
        SettingsError: the form or `quotes` is unknown.
    """
    check_form(form)
    tables = []
    for entry in store.list(uri):
        request = Request(entry.uri, 1 << 16, KINDS, quotes=quotes, language=language)
        for chunk in read_raw(store, entry, format_name, request):
            if chunk.bad:
                row = chunk.bad[0]
                raise CorpusError(f"{entry.uri}: line {row.position} is {row.reason}: {row.error}")
            if chunk.positions and not chunk.table.num_columns:
                raise CorpusError(f"{entry.uri} has no column label_id or id", got=list(chunk.names))
            _refuse_other_case(chunk.names, entry.uri)
            tables.append(chunk.table)
    if not sum(map(len, tables)):
        raise CorpusError("the label file has no labels", got=uri)
    return from_table(pa.concat_tables(tables, promote_options="default"), uri, form)


def _refuse_other_case(names: Sequence[str], place: str) -> None:
    for name in names:
        if name not in KINDS and name.lower() in KINDS and name.lower() not in names:
            raise CorpusError(
                f"{place}: a column is passed over",
                got=name,
                expected=name.lower(),
                remedy="Rename it: columns of labels are called by small letters.",
            )


def from_table(table: pa.Table, place: str = "labels", form: str = "none") -> LabelSet:
    """A label set from a table with `label_id` or `id`, `title` and/or `text`, and the optional columns.

    Labels without a status are active; one without a `seen` is seen. Ids and texts are brought to a Unicode form.

    Raises:
        CorpusError: as `read_labels`.
    """
    names = set(table.column_names)
    id_name = next((name for name in ("label_id", "id", "uid") if name in names), None)
    if id_name is None:
        raise CorpusError(f"{place} has no column label_id or id", got=sorted(names))
    if not names & {"title", "text"}:
        raise CorpusError(f"{place} has neither title nor text", got=sorted(names))
    columns = {name: _values(table, name, kind, place) for name, kind in KINDS.items() if name in names}
    nothing = [None] * len(table)
    labels = LabelSet(
        tuple(_stripped(columns[id_name], form)),
        tuple(_stripped(columns.get("title", nothing), form)),
        tuple(_stripped(columns.get("text", nothing), form)),
        tuple(tuple(filter(None, _stripped(item or [], form))) for item in columns.get("parents", nothing)),
        tuple(item or ACTIVE for item in _stripped(columns.get("status", nothing))),
        tuple(item is not False for item in columns["seen"]) if "seen" in names else None,
    )
    _check(labels, place)
    return labels


def _stripped(values: Sequence[Any], form: str = "none") -> list[str]:
    return ["" if value is None else normalise(str(value).strip(), form) for value in values]


def _values(table: pa.Table, name: str, kind: Kind, place: str) -> list[Any]:
    column = table[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_null(column.type) or _fits(column.type, kind)):
        raise CorpusError(
            f"{place}: column {name} has the wrong type", got=str(column.type), expected=EXPECTED[kind]
        )
    try:
        values = column.to_pylist()
    except UnicodeDecodeError as error:
        raise CorpusError(f"{place}: column {name} is not UTF-8: {error}") from error
    return _flags(values, name, place) if kind is Kind.FLAG else values


def _flags(values: list[Any], name: str, place: str) -> list[bool | None]:
    flags = []
    for row, value in enumerate(values, 1):
        try:
            flags.append(to_flag(value))
        except TypeError as error:
            raise CorpusError(
                f"{place}: row {row}: column {name}: {error}", expected="true or false, 1 or 0, yes or no"
            ) from error
    return flags


def _fits(found: pa.DataType, kind: Kind) -> bool:
    if kind is Kind.FLAG:
        return (
            pa.types.is_boolean(found)
            or pa.types.is_integer(found)
            or pa.types.is_floating(found)
            or is_string(found)
        )
    if kind is Kind.IDS:
        return is_string_list(found)
    if kind is Kind.ID and pa.types.is_integer(found):
        return True
    return is_string(found)


def _check(labels: LabelSet, place: str) -> None:
    nameless = [row for row, label_id in enumerate(labels.ids) if not label_id]
    if nameless:
        raise CorpusError(f"{place}: {len(nameless)} labels have no id", got=f"rows {nameless[:5]}")
    twice = [label_id for label_id, count in Counter(labels.ids).items() if count > 1]
    if twice:
        raise CorpusError(f"{place}: {len(twice)} label ids occur twice", got=twice[:5], expected="unique ids")
    unknown = sorted(set(labels.status) - {ACTIVE, RETIRED})
    if unknown:
        raise CorpusError(f"{place}: unknown status", got=unknown[:5], expected=f"{ACTIVE} or {RETIRED}")
