"""Where the cache is, and what happens where none can be written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

VARIABLES = ("HOME", "RAYTAGGER_CACHE", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
TELLS = "import raytagger, os; print(os.environ['RAYTAGGER_CACHE'], os.environ['NUMBA_CACHE_DIR'])"
# A user whom the machine does not know, as containers start them: `~` leads nowhere.
UNKNOWN_USER = """
import pwd
def getpwuid(uid):
    raise KeyError(uid)
pwd.getpwuid = getpwuid
"""


def python(code, temporary, *arguments, **environment):
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=kept | {"TMPDIR": str(temporary)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "environment", "named"),
    [
        ("", {"HOME": "/dev/null"}, "/dev/null/.cache/raytagger"),
        ("", {"RAYTAGGER_CACHE": "/proc/nowhere"}, "/proc/nowhere"),
        (UNKNOWN_USER, {}, "~/.cache/raytagger"),
    ],
)
def test_without_a_home_the_cache_is_private_and_temporary(tmp_path, code, environment, named):
    told = python(code + TELLS, tmp_path, **environment)
    assert told.returncode == 0, told.stderr
    folder = tmp_path / f"raytagger-{os.getuid()}"
    assert told.stdout.split() == [str(folder), str(folder / "numba")]
    (line,) = told.stderr.splitlines()
    assert line.startswith(f"raytagger: {named} cannot be written; the cache is {folder}.")
    assert "RAYTAGGER_CACHE" in line
    assert folder.stat().st_mode & 0o077 == 0
    # Processes that are started from there say no more, and a second run has the same cache.
    again = python(code + TELLS, tmp_path, RAYTAGGER_CACHE=str(folder))
    assert (again.stdout, again.stderr) == (told.stdout, "")
    assert python(code + TELLS, tmp_path, **environment).stdout == told.stdout


def test_a_folder_that_others_made_is_not_used(tmp_path):
    foreign = tmp_path / f"raytagger-{os.getuid()}"
    foreign.mkdir()
    foreign.chmod(0o777)
    told = python(TELLS, tmp_path, HOME="/dev/null")
    found = Path(told.stdout.split()[0])
    assert found != foreign
    assert found.parent == tmp_path
    assert found.stat().st_mode & 0o077 == 0


def test_kernels_are_kept_where_they_can_be(tmp_path):
    ours = str(tmp_path / "cache")
    told = python(TELLS, tmp_path, RAYTAGGER_CACHE=ours, NUMBA_CACHE_DIR=str(tmp_path / "kernels"))
    assert told.stdout.split() == [ours, str(tmp_path / "kernels")]
    assert told.stderr == ""
    told = python(TELLS, tmp_path, RAYTAGGER_CACHE=ours, NUMBA_CACHE_DIR="/dev/null/kernels")
    assert told.stdout.split() == [ours, f"{ours}/numba"]
    assert told.stderr.startswith("raytagger: NUMBA_CACHE_DIR /dev/null/kernels cannot be written")


@pytest.mark.slow
def test_a_bundle_tags_without_a_home(tmp_path, mean_bundle):
    code = "import sys, raytagger; print(raytagger.load(sys.argv[1]).tag(['pruning plums'], 3).label_BK.shape)"
    told = python(code, tmp_path, mean_bundle, HOME="/dev/null")
    assert told.stdout == "(1, 3)\n", told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert any((tmp_path / f"raytagger-{os.getuid()}" / "numba").rglob("*.nbi"))
