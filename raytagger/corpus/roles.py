"""Which of a file's columns is a document's id, text, labels, split and title: by name, or by `source.map`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from raytagger.corpus.rows import Kind
from raytagger.corpus.unicode import check_form
from raytagger.errors import SettingsError
from raytagger.settings import SourceSettings

ROLES = ("id", "text", "labels", "split", "title")
ID_NAMES = ("doc_id", "id", "uid")


@dataclass(frozen=True)
class Roles:
    """The columns that `source` asks for.

    Raises:
        SettingsError: `source.map` has an unknown role, an empty name, or one column for two roles.
    """

    source: SourceSettings

    def __post_init__(self) -> None:
        check_form(self.source.normalise)
        for role, name in self.source.map.items():
            if role not in ROLES:
                near = difflib.get_close_matches(role, ROLES, n=1, cutoff=0.0)[0]
                raise SettingsError(
                    f"source.map has no role {role}",
                    expected=", ".join(ROLES),
                    remedy=f"Did you mean {near}? Other columns are named by source.fields and source.columns.",
                )
            unlabelled = role == "labels" and not name
            if not (name.strip("*") or unlabelled) or (role != "labels" and name.endswith("*")):
                raise SettingsError(f"source.map.{role} names no column", got=name, expected="a column of the file")
        used = [*self.source.map.values(), *({"text"} & set(self.fields) - self.source.map.keys())]
        twice = sorted({name for name in used if used.count(name) > 1})
        if twice:
            raise SettingsError("source.map names one column for two roles", got=twice, expected="a column a role")

    def column(self, name: str) -> str:
        """The file's column for a role or, where it is none, of that name."""
        return self.source.map.get(name, name)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Columns that hold the id, the first that is there."""
        return (self.column("id"),) if "id" in self.source.map else self._free(*ID_NAMES)

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """What makes the text, as roles or columns: with a title that is mapped, title and text."""
        return self.source.fields or (("title", "text") if "title" in self.source.map else ("text",))

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The file's columns that make the text."""
        return tuple(self.column(name) for name in self.fields)

    @cached_property
    def labels(self) -> str:
        """The column of the labels; "" where there is none or a prefix stands for many."""
        return "" if self.prefix else "".join(self._own("labels"))

    @cached_property
    def prefix(self) -> str:
        """What the names of multi-hot columns begin with; "" where labels are one column."""
        name = self.source.map.get("labels", "")
        return name.removesuffix("*") if name.endswith("*") else ""

    @cached_property
    def split(self) -> str:
        """The column of the split; "" where another role has taken it."""
        return "".join(self._own("split"))

    def has(self, role: str, names: Iterable[str]) -> bool:
        """Whether the column of the labels or the split is among a file's, or one of those with its prefix."""
        if role == "labels" and self.prefix:
            return any(name.startswith(self.prefix) for name in names)
        return (self.labels if role == "labels" else self.split) in names

    def kinds(self) -> dict[str, Kind]:
        """The columns to ask a reader for; ids first."""
        kinds = dict.fromkeys(self.ids, Kind.ID) | dict.fromkeys(self.texts, Kind.TEXT)
        if self.labels:
            kinds[self.labels] = Kind.LABELS if "labels" in self.source.map else Kind.IDS
        if self.split:
            kinds[self.split] = Kind.TEXT
        for name in self.source.columns:
            kinds.setdefault(self.column(name), Kind.ANY)
        return kinds

    def _own(self, role: str) -> tuple[str, ...]:
        return (self.source.map[role],) if role in self.source.map else self._free(role)

    def _free(self, *names: str) -> tuple[str, ...]:
        return tuple(name for name in names if name not in self.source.map.values())
