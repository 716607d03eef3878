"""The ranks of the rooms, and the sizes and names of files and functions, from the code itself."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
RANKS = {
    0: ("errors", "schema", "progress", "tables", "cache"),
    0.5: ("settings", "causes", "bisect"),  # they raise, make or sort errors (docs/design.md)
    1: ("store", "vectors", "metrics", "client"),
    2: ("corpus", "encoders", "labels"),
    3: ("objectives", "search", "calibration"),
    4: ("bundle",),
    5: ("evaluate", "report", "fit", "stream"),
    5.5: ("doctor",),  # measures what an ill label costs
    6: ("recipes", "retag", "serve"),
    6.5: ("compare",),
    7: ("demo", "raytagger"),  # `raytagger`: the package's own __init__, as seen by jobs
    8: ("console",),
    8.5: ("cli", "__main__"),
    9: ("jobs",),  # a job is the command line under another name
}
RANK = {room: rank for rank, rooms in RANKS.items() for room in rooms}
RAY_ROOMS = {"fit", "stream", "recipes", "retag", "serve", "compare", "demo", "cli", "jobs"}
TORCH_ROOMS = {"encoders", "objectives", "search"} | {room for room in RANK if RANK[room] >= RANK["bundle"]}
LAZY_ROOMS = {"raytagger", "cli", "jobs", "demo"}
LAZY_FILES = {
    "raytagger/bundle/kinds.py",
    # What works on Ray is imported once it is known that Ray does the work: that takes longer than a small run.
    "raytagger/stream/executor.py",
    "raytagger/stream/run.py",
    "raytagger/stream/count.py",
    "raytagger/stream/embed.py",
    "raytagger/recipes/ofde.py",
}
REFUSED_NAMES = {"utils", "helpers", "common", "base", "manager"}
FILE_LINES, FUNCTION_LINES, KERNEL_LINES = 400, 60, 150


class Import(NamedTuple):
    name: str  # dotted and absolute
    line: int
    when: str  # `start`, `call` (in a function) or `typing` (under TYPE_CHECKING)


def check(root: Path) -> list[str]:
    """Everything in `root/raytagger` and `root/jobs` that breaks a rule, as `file:line: what`."""
    flaws: list[str] = []
    for folder in ("raytagger", "jobs"):
        for path in sorted((root / folder).rglob("*.py")):
            name = str(path.relative_to(root))
            text = path.read_text(encoding="utf-8")
            tree = ast.parse(text, name)
            flaws += [f"{name}:{line}: {what}" for line, what in check_imports(name, tree)]
            flaws += [f"{name}:{line}: {what}" for line, what in check_sizes(name, text, tree)]
            refused = REFUSED_NAMES & {*path.relative_to(root).parts[:-1], path.stem}
            flaws += [f"{name}:1: a module may not be named {word}" for word in sorted(refused)]
    return flaws


def check_imports(file: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    room = room_of_file(file)
    if room not in RANK:
        yield 1, f"room {room} has no rank"
        return
    for found in find_imports(file, tree):
        library = found.name.split(".")[0]
        if library == "ray" and room not in RAY_ROOMS:
            yield found.line, f"{room} may not import ray"
        if library == "torch" and room not in TORCH_ROOMS:
            yield found.line, f"{room} may not import torch"
        if library == "raytagger":
            yield from ((found.line, what) for what in check_own_import(file, room, found))


def check_own_import(file: str, room: str, found: Import) -> Iterator[str]:
    target = room_of_import(found.name)
    if found.when == "call" and not (room in LAZY_ROOMS or file in LAZY_FILES):
        yield f"lazy import of {found.name}"
    if target not in RANK:
        yield f"{found.name} has no rank"
    elif room == "raytagger":
        if found.when == "start" and RANK[target] > 0:
            yield f"the package must import {found.name} late"
    elif target != room and RANK[target] >= RANK[room]:
        yield f"{room} (rank {RANK[room]}) imports {target} (rank {RANK[target]})"


def room_of_file(file: str) -> str:
    parts = Path(file).with_suffix("").parts
    if parts[0] == "jobs":
        return "jobs"
    return "raytagger" if parts[1] == "__init__" else parts[1]


def room_of_import(name: str) -> str:
    parts = name.split(".")
    if len(parts) == 1:
        return "raytagger"
    return "errors" if parts[1].startswith("__") else parts[1]  # __version__ is anybody's


def find_imports(file: str, tree: ast.Module) -> Iterator[Import]:
    package = Path(file).parent.parts
    for node, when in walk(tree, "start"):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, when) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            if module == "raytagger":  # `from raytagger import metrics` names a room, `… import load` does not
                for alias in node.names:
                    known = alias.name in RANK or alias.name.startswith("__")
                    yield Import(f"raytagger.{alias.name}" if known else module, node.lineno, when)
            else:
                yield Import(module, node.lineno, when)
        elif isinstance(node, ast.Call) and (name := imported_by_call(node)):
            yield Import(name, node.lineno, "call")


def imported_by_call(node: ast.Call) -> str:
    called = ast.unparse(node.func).split(".")[-1]
    if called not in ("import_module", "__import__") or not node.args:
        return ""
    name = node.args[0]
    return name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else ""


def walk(node: ast.AST, when: str) -> Iterator[tuple[ast.AST, str]]:
    """All nodes below, and when they run."""
    for child in ast.iter_child_nodes(node):
        yield child, when
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from walk(child, "call")
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            yield from walk(child, "typing")
        else:
            yield from walk(child, when)


def check_sizes(file: str, text: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    lines = len(text.splitlines())
    if lines > FILE_LINES:
        yield 1, f"{lines} lines; a file has at most {FILE_LINES}"
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        start = node.body[0].lineno if room_of_file(file) == "cli" else node.lineno
        size = (node.end_lineno or start) - start + 1
        kernel = any(re.search(r"\bn?jit\b", ast.unparse(decorator)) for decorator in node.decorator_list)
        limit = KERNEL_LINES if kernel else FUNCTION_LINES
        if size > limit:
            yield node.lineno, f"{node.name} has {size} lines; at most {limit}"


def test_the_code_keeps_its_rules():
    assert not (flaws := check(ROOT)), "\n".join(flaws)


def test_something_was_checked():
    files = [str(path.relative_to(ROOT)) for path in (ROOT / "raytagger").rglob("*.py")]
    names = {
        found.name for file in files for found in find_imports(file, ast.parse((ROOT / file).read_text("utf-8")))
    }
    assert {"raytagger.errors", "pyarrow"} <= names


@pytest.mark.parametrize(
    ("file", "code", "flaw"),
    [
        ("raytagger/store/files.py", "from raytagger.corpus import read", "store (rank 1) imports corpus (rank 2)"),
        ("raytagger/store/files.py", "from raytagger import metrics", "store (rank 1) imports metrics (rank 1)"),
        ("raytagger/store/files.py", "from ..vectors import top", "store (rank 1) imports vectors (rank 1)"),
        ("raytagger/store/files.py", "from .. import vectors", "store (rank 1) imports vectors (rank 1)"),
        ("raytagger/store/files.py", "from raytagger import load", "store (rank 1) imports raytagger"),
        ("raytagger/store/files.py", "import raytagger", "store (rank 1) imports raytagger"),
        ("raytagger/store/files.py", "if 1:\n    import raytagger.bundle", ":2: store (rank 1) imports bundle"),
        ("raytagger/store/x.py", "if TYPE_CHECKING:\n    import raytagger.bundle", "store (rank 1) imports bundle"),
        ("raytagger/cli/x.py", "import jobs\nfrom raytagger.jobs import x", "cli (rank 8.5) imports jobs (rank 9)"),
        ("raytagger/errors.py", "from raytagger.schema import PAD", "errors (rank 0) imports schema (rank 0)"),
        ("raytagger/search/dense.py", "import ray.data", "search may not import ray"),
        ("raytagger/doctor/x.py", "def f():\n    from ray import init", ":2: doctor may not import ray"),
        ("raytagger/corpus/x.py", "from torch import nn", "corpus may not import torch"),
        ("raytagger/fit/x.py", "def f():\n    import raytagger.store", "lazy import of raytagger.store"),
        ("raytagger/bundle/x.py", "def f():\n    from .y import z", "lazy import of raytagger.bundle.y"),
        ("raytagger/fit/x.py", "import_module('raytagger.store')", "lazy import of raytagger.store"),
        ("raytagger/fit/x.py", "importlib.import_module('raytagger.cli')", "fit (rank 5) imports cli (rank 8.5)"),
        ("raytagger/bundle/kinds.py", "def f():\n    import raytagger.fit", "bundle (rank 4) imports fit (rank 5)"),
        ("raytagger/__init__.py", "from raytagger.bundle import load", "must import raytagger.bundle late"),
        ("raytagger/wonders/x.py", "", "room wonders has no rank"),
        ("raytagger/fit/x.py", "import raytagger.wonders", "raytagger.wonders has no rank"),
        ("raytagger/fit/utils.py", "", "may not be named utils"),
        ("raytagger/fit/base/x.py", "", "may not be named base"),
        ("raytagger/fit/x.py", "\n" * 401, "401 lines; a file has at most 400"),
        ("raytagger/fit/x.py", "def f():\n" + "    1\n" * 60, "f has 61 lines; at most 60"),
        ("raytagger/fit/x.py", "def f(\n" + "    a,\n" * 60 + "): ...", "f has 62 lines"),
        ("raytagger/cli/__init__.py", "def f():\n" + "    1\n" * 61, "f has 61 lines"),
        ("raytagger/search/x.py", "@njit(cache=True)\ndef f():\n" + "    1\n" * 150, "f has 151 lines"),
    ],
)
def test_a_violation_is_found(tmp_path, file, code, flaw):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(code)
    assert flaw in "\n".join(check(tmp_path))


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (
            "raytagger/store/files.py",
            "from raytagger.errors import StoreError\nfrom raytagger.store import options",
        ),
        (
            "raytagger/store/files.py",
            "from . import lock\nfrom .. import schema\nfrom raytagger import __version__",
        ),
        ("raytagger/__init__.py", "if TYPE_CHECKING:\n    from raytagger.bundle import load"),
        ("raytagger/__init__.py", "def __getattr__(n):\n    from raytagger.cli import main"),
        ("raytagger/bundle/kinds.py", "def f():\n    from raytagger.search import dense\n    import torch"),
        ("raytagger/cli/__init__.py", "def f():\n    import ray, torch\n    from raytagger.serve import run"),
        ("raytagger/cli/__init__.py", "def f(\n" + "    a,\n" * 90 + "):\n" + "    1\n" * 60),
        ("raytagger/search/x.py", "@numba.njit\ndef f():\n" + "    1\n" * 140),
        ("jobs/fit.py", "import raytagger\nfrom raytagger import load\nimport ray"),
        ("raytagger/demo.py", "import ray\nfrom raytagger.recipes import frozen"),
    ],
)
def test_what_is_allowed_passes(tmp_path, file, code):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(code)
    assert check(tmp_path) == []
