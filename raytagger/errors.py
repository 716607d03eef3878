"""The exception family. A message names what failed, the value got, the value expected and the remedy.

What each means, and the exit code of a command that it ends:

    RaytaggerError            exit 1
    ├── SettingsError         exit 2  a run file, an option or a name in it is wrong
    ├── StoreError            exit 1  object storage: missing, refused, damaged
    │   └── LockHeldError     exit 4  another run works on the same table
    ├── CorpusError           exit 1  documents or labels that cannot be read or do not fit together
    │   └── RejectsError      exit 3  more documents were rejected than the run allows
    ├── BundleError           exit 1  a trained tagger that cannot be loaded or used
    └── CapacityError         exit 1  memory, disk or a node that does not suffice
"""

from __future__ import annotations

from typing import ClassVar


class RaytaggerError(Exception):
    """Anything that raytagger itself refuses.

    Args:
        what: what failed and where, without a full stop.
        got: the offending value, where there is one.
        expected: what would have been right.
        remedy: what the user can do, as a sentence.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, got: object = None, expected: str = "", remedy: str = "") -> None:
        self.what, self.got, self.expected, self.remedy = what, got, expected, remedy
        details = [what]
        if got is not None:
            details.append(f"got {_shorten(got)}")
        if expected:
            details.append(f"expected {expected}")
        super().__init__("; ".join(details) + "." + (f" {remedy}" if remedy else ""))

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders in Ray; keyword-only fields need their own way back.
        return _rebuild, (type(self), self.what, self.got, self.expected, self.remedy)


class SettingsError(RaytaggerError):
    """A run file, an option or a name in it is wrong."""

    exit_code = 2


class StoreError(RaytaggerError):
    """Object storage does not have, does not allow or has damaged what was asked for."""


class LockHeldError(StoreError):
    """Another run holds the lock."""

    exit_code = 4


class CorpusError(RaytaggerError):
    """Documents or labels cannot be read or do not fit together."""


class RejectsError(CorpusError):
    """More documents were rejected than the run allows."""

    exit_code = 3


class BundleError(RaytaggerError):
    """A trained tagger cannot be loaded or used."""


class CapacityError(RaytaggerError):
    """Memory, disk or a node does not suffice."""


def _shorten(value: object, limit: int = 200) -> str:
    text = repr(value)
    if isinstance(value, str) and "\\" in text and value.isprintable():
        text = f"'{value}'"  # quotes need no escape: of an error told within another they would double
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _rebuild(cls: type[RaytaggerError], what: str, got: object, expected: str, remedy: str) -> RaytaggerError:
    return cls(what, got=got, expected=expected, remedy=remedy)
