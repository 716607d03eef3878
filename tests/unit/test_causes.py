"""Whatever is raised comes out as one line that says what, where and what to do."""

import errno
import os
import subprocess
import sys

import pyarrow as pa
import pytest
import ray.exceptions
from deltalake.exceptions import DeltaError
from ray.data.exceptions import UserCodeException

from raytagger.causes import explain, own_error
from raytagger.console import explained_errors
from raytagger.errors import CapacityError, CorpusError, RejectsError, SettingsError, StoreError

OWN = RejectsError("too many", got=3, expected="2", remedy="Mend them.")
TRACEBACK = f"""ray::MapWorker(MapBatches(TagStage)).__init__() (pid=1)
  File "x.py", line 1, in __init__
raytagger.errors.RejectsError: {OWN}
Failed to apply UDF transform after 1/1 attempts (total backoff 0.0s).
"""


def task_error(cause, text=TRACEBACK):
    return ray.exceptions.RayTaskError("f", text, cause, proctitle="p", pid=1, ip="ip")


def chained(outer, inner):
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    "error",
    [
        OWN,
        task_error(OWN),
        task_error(OWN).as_instanceof_cause(),
        task_error(UserCodeException("UDF failed")),  # its cause is lost between processes
        ray.exceptions.ActorDiedError(task_error(OWN)),
        chained(RuntimeError("around"), task_error(task_error(OWN))),
        chained(KeyError("around"), OWN),
    ],
    ids=lambda error: type(error).__name__,
)
def test_our_own_error_is_found_in_what_others_make_of_it(error):
    found = own_error(error)
    assert type(found) is RejectsError
    assert str(found) == str(explain(error)) == str(OWN)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x"), CapacityError, "disk is full at /data/x"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), StoreError, "no permission at /x"),
        (OSError(errno.EROFS, "Read-only file system", "/x"), StoreError, "no permission at /x"),
        (MemoryError(), CapacityError, "memory does not suffice"),
        (pa.ArrowMemoryError("malloc of size 9 failed"), CapacityError, "memory does not suffice"),
        (pa.ArrowInvalid("not a Parquet file"), CorpusError, "not a Parquet file"),
        (DeltaError("Kernel error: File not found"), StoreError, "tag table cannot be used.*File not found"),
        (ray.exceptions.AuthenticationError("no token"), SettingsError, "RAY_AUTH_TOKEN_PATH"),
        (ray.exceptions.ObjectStoreFullError("full"), CapacityError, "the cluster failed.*full"),
        (task_error(OSError(errno.ENOSPC, "No space", "/x"), "OSError"), CapacityError, "disk is full at /x"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_errors_of_libraries_are_told_in_our_words(error, kind, words):
    told = explain(error)
    assert type(told) is kind
    assert len(str(told).splitlines()) == 1
    with pytest.raises(kind, match=words):
        raise told


def test_what_nobody_foresaw_names_itself_and_asks_for_a_report(capsys, monkeypatch):
    monkeypatch.delenv("RAYTAGGER_VERBOSE", raising=False)
    with pytest.raises(SystemExit) as end, explained_errors():
        raise KeyError("no such thing")
    assert end.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: internal error: KeyError: 'no such thing'")
    assert "--verbose" in line
    text = "  File x\nValueError: one\nTo change retry attempts, configure Ray."
    assert "internal error: ValueError: one" in str(explain(task_error(ValueError("one"), text)))


@pytest.mark.slow
def test_verbose_may_stand_anywhere_and_shows_the_traceback(tmp_path):
    code = "from raytagger.cli import main; main()"
    words = ["labels", "diff", str(tmp_path / "absent"), str(tmp_path / "absent")]
    for given, lines in ((words, 1), ([*words, "--verbose"], None), (["--verbose", *words], None)):
        done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "error: nothing is stored there" in done.stderr.splitlines()[-1]
        assert ("Traceback" in done.stderr) is (lines is None)
        assert lines is None or len(done.stderr.splitlines()) == lines
