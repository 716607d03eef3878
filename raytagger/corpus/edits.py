"""Edits of a label set: typed, applied as a list, each saying what must be computed anew.

A label's index is for good: an edit changes, retires or appends, and never removes or moves.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

from raytagger.corpus.labels import ACTIVE, RETIRED, LabelSet
from raytagger.errors import CorpusError
from raytagger.store import Store

Scope: TypeAlias = Literal["none", "tagged", "all"]


@dataclass(frozen=True)
class Recompute:
    """What an edit makes stale. No document is ever encoded anew: its cached embedding stays right.

    Attributes:
        encode: labels whose text must be encoded, one encoding each.
        retag: labels that must leave the tags: documents that carry one are ranked again.
        documents: whose tags may change: nobody's, those of documents tagged with a label in `retag`, or all,
            since each must be scored against the labels in `encode`.
        fit: labels whose mark a bundle takes up with its next fit.
    """

    encode: tuple[str, ...] = ()
    retag: tuple[str, ...] = ()
    fit: tuple[str, ...] = ()

    @property
    def documents(self) -> Scope:
        """The documents concerned."""
        if self.encode:
            return "all"
        return "tagged" if self.retag else "none"

    def __str__(self) -> str:
        steps = []
        if self.encode:
            what = "1 label text" if len(self.encode) == 1 else f"{len(self.encode)} label texts"
            them = "it" if len(self.encode) == 1 else "them"
            steps.append(f"encode {what} and score all documents against {them}")
        if self.retag:
            steps.append(f"re-tag the documents tagged {', '.join(self.retag)}")
        if self.fit:
            steps.append("fit again")
        return "; ".join(steps) or "nothing"


@dataclass(frozen=True)
class Edit:
    """One change to a label set; the kinds below are all there are."""

    kind: ClassVar[str] = ""

    @property
    def recompute(self) -> Recompute:
        """What the edit makes stale."""
        return Recompute()

    def to_dict(self) -> dict[str, Any]:
        """The edit as JSON's values, its kind among them."""
        return {"kind": self.kind, **json.loads(json.dumps(dataclasses.asdict(self)))}

    @staticmethod
    def from_dict(value: Mapping[str, Any]) -> Edit:
        """The edit of `to_dict`.

        Raises:
            CorpusError: the kind is unknown; a field is unknown, absent or of the wrong type.
        """
        kind = KINDS.get(str(value.get("kind")))
        if kind is None:
            raise CorpusError("unknown kind of edit", got=value.get("kind"), expected=", ".join(KINDS))
        fields = {field.name: field for field in dataclasses.fields(kind)}
        required = {name for name, field in fields.items() if field.default is dataclasses.MISSING}
        given = set(value) - {"kind"}
        if not required <= given <= set(fields):
            raise CorpusError(
                f"an edit of kind {kind.kind} has the wrong fields",
                got=sorted(given),
                expected=", ".join(fields),
            )
        return kind(**{name: _from_json(kind.kind, name, value[name]) for name in given})


@dataclass(frozen=True)
class Add(Edit):
    """A new label; or a retired one, which comes back at its old index."""

    kind: ClassVar[str] = "add"
    label_id: str
    title: str = ""
    text: str = ""
    parents: tuple[str, ...] = ()

    @property
    def recompute(self) -> Recompute:
        """Its text is encoded."""
        return Recompute(encode=(self.label_id,))


@dataclass(frozen=True)
class Reword(Edit):
    """Another title and text for a label."""

    kind: ClassVar[str] = "reword"
    label_id: str
    title: str = ""
    text: str = ""

    @property
    def recompute(self) -> Recompute:
        """The new text is encoded; documents that carry the label may lose it."""
        return Recompute(encode=(self.label_id,), retag=(self.label_id,))


@dataclass(frozen=True)
class Reparent(Edit):
    """Other parents for a label."""

    kind: ClassVar[str] = "reparent"
    label_id: str
    parents: tuple[str, ...] = ()

    @property
    def recompute(self) -> Recompute:
        """Nothing: parents are not part of a label's text."""
        return Recompute()


@dataclass(frozen=True)
class Merge(Edit):
    """Labels that retire in favour of another one, which stays as it is."""

    kind: ClassVar[str] = "merge"
    sources: tuple[str, ...]
    target: str

    @property
    def recompute(self) -> Recompute:
        """Documents that carry a source are tagged again."""
        return Recompute(retag=self.sources)


@dataclass(frozen=True)
class Split(Edit):
    """A label that retires in favour of new ones."""

    kind: ClassVar[str] = "split"
    label_id: str
    parts: tuple[Add, ...]

    @property
    def recompute(self) -> Recompute:
        """The parts are encoded; documents that carry the label are tagged again."""
        return Recompute(encode=tuple(part.label_id for part in self.parts), retag=(self.label_id,))


@dataclass(frozen=True)
class Retire(Edit):
    """A label that is predicted no more."""

    kind: ClassVar[str] = "retire"
    label_id: str

    @property
    def recompute(self) -> Recompute:
        """Documents that carry it are tagged again."""
        return Recompute(retag=(self.label_id,))


@dataclass(frozen=True)
class Mark(Edit):
    """Whether a label may be trained, as the column `seen` says."""

    kind: ClassVar[str] = "mark"
    label_id: str
    seen: bool

    @property
    def recompute(self) -> Recompute:
        """Until the next fit a bundle keeps what it was trained on."""
        return Recompute(fit=(self.label_id,))

    def __str__(self) -> str:
        old, new = str(not self.seen).lower(), str(self.seen).lower()
        return f"Mark(label_id={self.label_id!r}, seen: {old} → {new})"


KINDS: dict[str, type[Edit]] = {kind.kind: kind for kind in (Add, Reword, Reparent, Merge, Split, Retire, Mark)}


def diff(old: LabelSet, new: LabelSet) -> list[Edit]:
    """The edits that bring `old` to the active labels of `new`; merges and splits show as add and retire."""
    was, becomes = _active(old), _active(new)
    was_unseen, unseen = ({one.ids[row] for row in one.marked_unseen_L.nonzero()[0]} for one in (old, new))
    edits: list[Edit] = []
    for label_id, (title, text, parents) in becomes.items():
        if label_id not in was:
            edits.append(Add(label_id, title, text, parents))
            continue
        if was[label_id][:2] != (title, text):
            edits.append(Reword(label_id, title, text))
        if was[label_id][2] != parents:
            edits.append(Reparent(label_id, parents))
        if (seen := label_id not in unseen) == (label_id in was_unseen):
            edits.append(Mark(label_id, seen))
    return edits + [Retire(label_id) for label_id in was if label_id not in becomes]


def apply(labels: LabelSet, edits: Iterable[Edit]) -> LabelSet:
    """The next version of a label set, its edits done in order; new labels are appended.

    Raises:
        CorpusError: an edit names an unknown or retired label, or adds one that is there.
    """
    draft = _Draft(labels)
    for number, edit in enumerate(edits, 1):
        draft.do(edit, f"edit {number} ({edit.kind})")
    return draft.finish()


def read_edits(store: Store, uri: str) -> list[Edit]:
    """Edits from a file of JSON lines, one a line, blank lines skipped.

    Raises:
        CorpusError: a line is not JSON in UTF-8, or no edit.
    """
    edits: list[Edit] = []
    for number, line in enumerate(store.read_bytes(uri).splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{uri}: line {number} is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise CorpusError(f"{uri}: line {number} is not a JSON object", got=value)
        try:
            edits.append(Edit.from_dict(value))
        except CorpusError as error:
            raise CorpusError(f"{uri}: line {number}: {error}") from error
    return edits


class _Draft:
    """A label set that is being edited."""

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels
        seen = labels.seen or (True,) * len(labels)  # as where a file says nothing: it may be trained
        rows = zip(labels.titles, labels.texts, labels.parents, labels.status, seen, strict=True)
        self.rows: dict[str, _Row] = dict(zip(labels.ids, (_Row(*row) for row in rows), strict=True))

    def do(self, edit: Edit, place: str) -> None:
        match edit:
            case Add():
                self.add(edit, place)
            case Reword():
                self.change(edit.label_id, place, title=edit.title, text=edit.text)
            case Reparent():
                self.change(edit.label_id, place, parents=edit.parents)
            case Mark():
                self.change(edit.label_id, place, seen=edit.seen)
            case Retire():
                self.change(edit.label_id, place, status=RETIRED)
            case Merge():
                self.merge(edit, place)
            case Split():
                self.split(edit, place)

    def add(self, edit: Add, place: str) -> None:
        if not edit.label_id:
            raise CorpusError(f"{place}: the new label has no id")
        old = self.rows.get(edit.label_id)
        if old is not None and old.status == ACTIVE:
            raise CorpusError(
                f"{place}: the label is already there", got=edit.label_id, remedy="Reword it instead."
            )
        seen = old is None or old.seen
        self.rows[edit.label_id] = _Row(edit.title, edit.text, edit.parents, ACTIVE, seen)

    def change(self, label_id: str, place: str, **values: Any) -> None:
        self.rows[label_id] = self.find(label_id, place)._replace(**values)

    def merge(self, edit: Merge, place: str) -> None:
        self.find(edit.target, place)
        if edit.target in edit.sources or len(set(edit.sources)) < len(edit.sources) or not edit.sources:
            raise CorpusError(
                f"{place}: the sources are wrong",
                got=edit.sources,
                expected="different labels, not the target",
            )
        for source in edit.sources:
            self.change(source, place, status=RETIRED)

    def split(self, edit: Split, place: str) -> None:
        self.find(edit.label_id, place)
        if not edit.parts:
            raise CorpusError(f"{place}: there are no parts", got=edit.label_id)
        for part in edit.parts:
            self.add(part, place)
        self.change(edit.label_id, place, status=RETIRED)

    def find(self, label_id: str, place: str) -> _Row:
        row = self.rows.get(label_id)
        if row is None:
            near = difflib.get_close_matches(label_id, self.rows, n=1)
            remedy = f"Did you mean {near[0]}?" if near else ""
            raise CorpusError(f"{place}: the label set has no such label", got=label_id, remedy=remedy)
        if row.status != ACTIVE:
            raise CorpusError(f"{place}: the label is retired", got=label_id, remedy="Add it again first.")
        return row

    def finish(self) -> LabelSet:
        titles, texts, parents, status, seen = zip(*self.rows.values(), strict=True) if self.rows else ((),) * 5
        said = self.labels.seen is not None or not all(seen)
        return LabelSet(tuple(self.rows), titles, texts, parents, status, seen if said else None)


class _Row(NamedTuple):
    title: str
    text: str
    parents: tuple[str, ...]
    status: str
    seen: bool


def _active(labels: LabelSet) -> dict[str, tuple[str, str, tuple[str, ...]]]:
    rows = zip(labels.ids, labels.titles, labels.texts, labels.parents, labels.status, strict=True)
    return {label_id: (title, text, parents) for label_id, title, text, parents, status in rows if status == ACTIVE}


def _from_json(kind: str, name: str, value: Any) -> Any:
    is_list = isinstance(value, list | tuple)
    if name == "parts" and is_list and all(isinstance(part, dict) for part in value):
        return tuple(Edit.from_dict({**part, "kind": Add.kind}) for part in value)
    if name in ("sources", "parents") and is_list and all(isinstance(part, str) for part in value):
        return tuple(value)
    if name == "seen" and isinstance(value, bool):
        return value
    if name in ("label_id", "title", "text", "target") and isinstance(value, str):
        return value.strip()
    raise CorpusError(f"an edit of kind {kind} has a wrong {name}", got=value)
