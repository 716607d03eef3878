"""The command line: help, exit codes, JSON."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from raytagger.cli import app, main

ROOT = Path(__file__).parents[2]
HEAVY = (
    "torch",
    "ray",
    "transformers",
    "pyarrow",
    "numpy",
    "sklearn",
    "boto3",
    "fastapi",
    "deltalake",
    "rich.progress",
)
JOBS = sorted(path.name for path in (ROOT / "jobs").glob("*.py"))


def commands(group=app, above=()):
    """Every command, as the words that name it."""
    for command in group.registered_commands:
        yield (*above, command.name or command.callback.__name__.replace("_", "-"))
    for inner in group.registered_groups:
        yield from commands(inner.typer_instance, (*above, inner.name))


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def python(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, env=os.environ, check=False
    )


COMMANDS = list(commands())


def test_all_commands_are_known():
    assert {("fit",), ("evaluate",), ("tags", "show"), ("labels", "apply"), ("labels", "check")} <= set(COMMANDS)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(words):
    result = run(*words, "--help")
    assert result.exit_code == 0
    # The example names this very command, or the job that is it.
    assert re.search(rf"Example: .*(raytagger {' '.join(words)}|jobs/{words[0]}\.py)\b", result.output), (
        result.output
    )


@pytest.mark.parametrize("words", [(), ("corpus",), ("tags",), ("labels",)], ids=" ".join)
def test_groups_have_help(words):
    result = run(*words, "--help")
    assert result.exit_code == 0
    assert "Commands" in result.output
    assert run(*words).exit_code == 2  # nothing was asked for


def test_help_is_light():
    """No heavy library is imported for help, of the whole and of each command."""
    code = f"""
import sys
from raytagger.cli import main
for words in {[[], *map(list, COMMANDS)]}:
    try:
        main([*words, "--help"])
    except SystemExit as end:
        assert end.code == 0, words
print("HEAVY", [name for name in {HEAVY} if name in sys.modules])
"""
    done = python("-c", code)
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stdout[-300:] + done.stderr


@pytest.mark.parametrize("job", JOBS)
def test_every_job_has_help(job, tmp_path):
    done = python("-X", "importtime", ROOT / "jobs" / job, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Example" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "raytagger" in imported
    assert not imported & set(HEAVY)
    assert job in ast.get_docstring(ast.parse((ROOT / "jobs" / job).read_text()))


def test_the_module_runs_too(tmp_path):
    done = python("-m", "raytagger.cli", "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "raytagger fit jobs/frozen.toml" in done.stdout


# exit codes


@pytest.fixture
def toml(tmp_path):
    def write(text):
        (tmp_path / "run.toml").write_text(text)
        return tmp_path / "run.toml"

    return write


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[sorce]\n", "unknown key sorce. Did you mean source?"),
        ("[search]\nkindd = 'mean'\n", "unknown key search.kindd. Did you mean search.kind?"),
        ("[search]\nk = 'five'\n", "expected a value of type int"),
        ("[search\n", "is not a TOML file"),
        ("", "source.labels is empty"),
        ("[source]\nmax_reject_share = -1.0\n", "source.max_reject_share; got -1.0; expected 0 to 1"),
        ("[source]\nmax_reject_share = nan\n", "source.max_reject_share; got nan; expected 0 to 1"),
        ("method = 'magic'\n", "method; got 'magic'; expected "),
    ],
)
def test_a_wrong_run_file_is_two(toml, text, message):
    result = run("fit", toml(text))
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit",),
        ("fit", "jobs/frozen.toml", "--sett", "a=b"),
        ("fit", "jobs/no-such.toml"),
        ("fit", "jobs/frozen.toml", "--set", "nothing"),
        ("evaluate", "bundle"),
        ("evaluate", "bundle", "--documents", "x", "--beside", "other"),
        ("evaluate", "bundle", "--documents", "x", "--json", "one", "--html", "one"),
        ("nonsense",),
        ("tag", "bundle", "--documents", "x", "--output", "y", "--k", "0"),
        ("labels", "diff", "one"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_two(arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "no-bundle", "--documents", "x"), "no bundle there"),
        (("labels", "diff", "no-file", "no-file"), "nothing is stored there"),
        (("tags", "history", "."), "no tag table there"),
        (("fit", "jobs/frozen.toml", "--set", "source.labels=no-file"), "nothing is stored there"),
    ],
    ids=str,
)
def test_what_is_missing_is_one(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_the_console_script_exits_with_the_code(monkeypatch, capsys):
    for arguments, code in ((["evaluate", "no-bundle", "--documents", "x"], 1), (["fit", "no.toml"], 2)):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == code
    capsys.readouterr()


# what the commands do


@pytest.mark.slow
def test_corpus_fit_and_evaluate(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("corpus", "small", "--output", "corpus")
    assert (result.exit_code, result.stdout) == (0, "470 documents, 60 labels: corpus\n")
    assert pq.read_table("corpus/docs.parquet").num_rows == 470
    assert json.loads(Path("corpus/SOURCE.json").read_text())["licence"] == "Apache-2.0"

    sets = ["source.documents=corpus/docs.parquet", "source.labels=corpus/labels.parquet", "encoder.kind=static"]
    sets += ["encoder.path=wordllama", "output.bundle=models/frozen", "search.k=3"]
    options = [part for one in sets for part in ("--set", one)]
    result = run("fit", "jobs/frozen.toml", *options, "--json")
    assert result.exit_code == 0, result.stderr
    fitted = json.loads(result.stdout)
    assert (fitted["labels"], fitted["encoded_labels"], fitted["bundle"]) == (60, 60, "models/frozen")
    assert Path("models/frozen", fitted["version"], "manifest.json").is_file()
    line = run("fit", "frozen.toml", *options).stdout
    assert re.fullmatch(
        r"60 labels, 50 of them with .*, 0 encoded now, .* s: models/frozen/\w{12}\n"
        r"tags: up to 3 labels .*search\.k sets it; from a score of .* on .* validation documents\n"
        r".* 0\.0 % blank .*\n",
        line,
    )

    mute = run("explain", "models/frozen", "--text", "A pond in the garden")
    assert (mute.exit_code, mute.stdout) == (1, "")
    assert "got 'frozen'; expected a kind that explains itself" in mute.stderr

    result = run("evaluate", "models/frozen", "--documents", "corpus/docs.parquet", "--json", "out/figures.json")
    assert result.exit_code == 0, result.stderr
    figures = json.loads(Path("out/figures.json").read_text())
    assert figures["bundle"] == fitted["version"]
    assert figures["n_unseen_labels"] == 10
    assert f"{100 * figures['nDCG@5']:.1f}" in result.stdout
    for name in ("UR@1", "ZSR@10", "chance_ZSR@10"):
        assert name in result.stdout
    absent = run("evaluate", "models/frozen", "--documents", "corpus/docs.parquet", "--split", "tset")
    assert (absent.exit_code, absent.stdout) == (1, "")
    assert "got 'tset'" in absent.stderr
    grouped = run(
        *("evaluate", "models/frozen", "--documents", "corpus/docs.parquet", "--group", "source"),
        *("--limit", "20", "--json", "grouped.json"),
    )
    assert grouped.exit_code == 0
    assert json.loads(Path("grouped.json").read_text())["n_documents"] == 20


def test_label_versions(small_files, tmp_path):
    old, new, edits = small_files / "labels.parquet", tmp_path / "new.parquet", tmp_path / "edits.jsonl"
    lines = [
        {"kind": "add", "label_id": "new/kites", "title": "Kites", "text": "Flying kites."},
        {"kind": "retire", "label_id": "garden/pests"},
    ]
    edits.write_text("\n".join(map(json.dumps, lines)))
    result = run("labels", "apply", edits, old, "--output", new)
    assert result.exit_code == 0
    assert re.fullmatch(rf"61 labels, version \w{{12}}: {new}\n", result.stdout)
    found = json.loads(run("labels", "diff", old, new, "--json").stdout)
    assert [(edit["kind"], edit["label_id"]) for edit in found] == [
        ("add", "new/kites"),
        ("retire", "garden/pests"),
    ]
    text = run("labels", "diff", old, new).stdout.splitlines()
    assert len(text) == 2
    assert "encode 1 label text" in text[0]
    assert json.loads(run("labels", "diff", old, old, "--json").stdout) == []
    assert run("labels", "diff", old, old).stdout == "no edits\n"
    edits.write_text('{"kind": "add"}')
    result = run("labels", "apply", edits, old, "--output", new)
    assert result.exit_code == 1
    assert "line 1" in result.stderr
