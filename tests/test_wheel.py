"""The wheel holds what the checkout has: command line, shipped run files, jobs, the small corpus."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The unpacked wheel; a folder."""
    pytest.importorskip("hatchling", reason="pip install 'raytagger[dev]'")
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(out / "built")], capture_output=True, text=True, check=False, cwd=out
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (out / "built").iterdir()
    with zipfile.ZipFile(built) as archive:
        archive.extractall(out / "unpacked")
    return out / "unpacked"


@pytest.fixture
def python(wheel, tmp_path):
    """Runs Python far from the checkout, the wheel first on its path."""

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(wheel)},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_it_is_the_wheel_that_runs(python, wheel):
    assert python("-c", "import raytagger; print(raytagger.__file__)").startswith(str(wheel))


def test_the_command_line_works(python):
    assert "Example: raytagger fit" in python("-m", "raytagger.cli", "fit", "frozen.toml", "--help")


def test_shipped_run_files_are_found(python, wheel):
    code = "import raytagger.settings as s; print(s.find_run_file('jobs/{0}.toml'), s.find_run_file('{0}.toml'))"
    for name in ("frozen", "retag", "serve"):
        shipped = wheel / "raytagger" / "jobs" / f"{name}.toml"
        assert python("-c", code.format(name)).split() == [str(shipped)] * 2
        assert shipped.read_bytes() == (ROOT / "jobs" / f"{name}.toml").read_bytes()


def test_jobs_run_from_the_wheel(python, wheel):
    for job in (ROOT / "jobs").glob("*.py"):
        assert "Example" in python(wheel / "raytagger" / "jobs" / job.name, "--help")


def test_a_tagger_is_frozen_from_the_wheel(python, tmp_path):
    python("-m", "raytagger.cli", "corpus", "small", "--output", "corpus")
    sets = ["source.documents=corpus/docs.parquet", "source.labels=corpus/labels.parquet", "search.kind=popularity"]
    options = [part for one in [*sets, "output.bundle=bundle"] for part in ("--set", one)]
    assert "60 labels" in python("-m", "raytagger.cli", "fit", "frozen.toml", *options)
    assert (tmp_path / "bundle" / "latest.json").is_file()


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    assert sorted(path.name.split("-")[0] for path in wheel.iterdir()) == ["raytagger", "raytagger"]
    ours = {path.relative_to(ROOT) for path in (ROOT / "raytagger").rglob("*") if path.is_file()}
    ours = {path for path in ours if "__pycache__" not in path.parts}
    there = {path.relative_to(wheel) for path in (wheel / "raytagger").rglob("*") if path.is_file()}
    jobs = {Path("raytagger") / path.relative_to(ROOT) for path in (ROOT / "jobs").glob("*.*")}
    assert there == ours | jobs
    assert Path("raytagger/py.typed") in there
