"""TOML and `--set a.b=v` in, one frozen run out; and back to JSON and a fingerprint."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import hashlib
import json
import sys
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from raytagger.errors import SettingsError

Run = TypeVar("Run")

# Parts that say where a run happens, not what it computes: two runs that differ only here are the same run.
PLACES = ("cluster", "storage", "output")


def read_run(path: str | Path, kind: type[Run], overrides: typing.Sequence[str] = ()) -> Run:
    """Reads a run file and applies overrides.

    Args:
        path: a TOML file, or the name of one that the package ships (`jobs/frozen.toml`).
        kind: the run's dataclass.
        overrides: `part.key=value`; a value is TOML, or a bare string.

    Raises:
        SettingsError: the file is absent or not TOML, a key is unknown, a value has the wrong type.
    """
    file = find_run_file(path)
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not a TOML file: {error}") from error
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    return make_run(values, kind, overrides, place=str(file))


def make_run(
    values: dict[str, Any], kind: type[Run], overrides: typing.Sequence[str] = (), place: str = "settings"
) -> Run:
    """Builds a run from nested values; see `read_run`."""
    for override in overrides:
        values = _apply_override(values, override)
    return _build(kind, values, place, "")


def find_run_file(path: str | Path) -> Path:
    """The file itself, or the one of that name among the jobs that the package ships."""
    asked = Path(path)
    if asked.is_file():
        return asked
    for folder in shipped_jobs():
        if (folder / asked.name).is_file() and str(asked.parent) in (".", "jobs"):
            return folder / asked.name
    raise SettingsError(
        "the run file does not exist",
        got=str(path),
        expected="a TOML file",
        remedy=f"The package ships {', '.join(_shipped_names()) or 'none'}.",
    )


def shipped_jobs() -> list[Path]:
    """The folders that hold the shipped jobs: inside an installed wheel, or beside the package."""
    package = Path(__file__).parents[1]
    return [folder for folder in (package / "jobs", package.parent / "jobs") if folder.is_dir()]


def to_values(run: Any) -> dict[str, Any]:
    """The resolved run as plain nested values, every default filled in."""
    return json.loads(json.dumps(dataclasses.asdict(run)))


def fingerprint(run: Any, **more: object) -> str:
    """Twelve hex digits that change when what the run computes changes; `more` joins what else matters."""
    values = {key: value for key, value in to_values(run).items() if key not in PLACES}
    text = json.dumps([values, more], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _shipped_names() -> list[str]:
    return sorted({f"jobs/{file.name}" for folder in shipped_jobs() for file in folder.glob("*.toml")})


def _apply_override(values: dict[str, Any], override: str) -> dict[str, Any]:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise SettingsError("--set takes part.key=value", got=override)
    *parents, name = key.strip().split(".")
    result = copy.deepcopy(values)
    inner = result
    for parent in parents:
        inner = inner.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"--set {key.strip()}: {parent} must be a table", got=inner)
    inner[name] = _parse_value(text)
    return result


def _parse_value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if len(parsed) == 1 else text  # a line break could have brought in further keys


def _build(kind: type[Run], values: Any, place: str, prefix: str) -> Run:
    if not isinstance(values, dict):
        raise SettingsError(f"{place}: {prefix.rstrip('.')} must be a table", got=values)
    hints = typing.get_type_hints(kind)
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in hints:
            raise _unknown_key(key, hints, place, prefix)
        hint = hints[key]
        if dataclasses.is_dataclass(hint):
            arguments[key] = _build(typing.cast(type, hint), value, place, f"{prefix}{key}.")
        else:
            arguments[key] = _convert(hint, value, f"{place}: {prefix}{key}")
    return kind(**arguments)


def _unknown_key(key: str, known: dict[str, Any], place: str, prefix: str) -> SettingsError:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    return SettingsError(
        f"{place}: unknown key {prefix}{key}", remedy=f"Did you mean {prefix}{near[0]}?" if near else ""
    )


def _convert(hint: Any, value: Any, place: str) -> Any:
    if isinstance(hint, types.UnionType):
        wanted = next(part for part in typing.get_args(hint) if part is not type(None))
        return None if value is None else _convert(wanted, value, place)
    if typing.get_origin(hint) is tuple:
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise SettingsError(place, got=value, expected="a list of strings")
    if typing.get_origin(hint) is dict:
        if not isinstance(value, dict):
            raise SettingsError(place, got=value, expected="a table of strings")
        return {key: _convert(str, item, f"{place}.{key}") for key, item in value.items()}
    if hint is float and type(value) is int and abs(value) <= sys.float_info.max:
        return float(value)
    if type(value) is not hint:
        raise SettingsError(place, got=value, expected=f"a value of type {hint.__name__}")
    return value
