import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raytagger.errors import SettingsError
from raytagger.settings import (
    FitRun,
    RetagRun,
    ServeRun,
    find_run_file,
    fingerprint,
    make_run,
    read_run,
    to_values,
)
from raytagger.settings.parse import shipped_jobs

PLACES = {"cluster": "workers=3", "storage": "region=eu-west-1", "output": "bundle=elsewhere"}


def write(folder, text):
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def with_overrides(*overrides: str) -> FitRun:
    return make_run({}, FitRun, overrides)


def leaves(kind):
    """Every (part, field) of a run whose parts are tables."""
    run = kind()
    for part in dataclasses.fields(run):
        value = getattr(run, part.name)
        if dataclasses.is_dataclass(value):
            yield from ((part.name, field.name, getattr(value, field.name)) for field in dataclasses.fields(value))


def another(value):
    """A value of the same type that differs."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return [*value, "more"]
    if isinstance(value, dict):
        return {**value, "text": "more"}
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, float):
        return 0.7 * value + 0.123  # a share stays one
    return (value or 0) + 1


def test_reads_toml(tmp_path):
    run = read_run(
        write(tmp_path, 'method = "frozen"\n[source]\nfields = ["title"]\n[search]\nthreshold = 1'), FitRun
    )
    assert run.source.fields == ("title",)
    assert run.search.threshold == 1.0
    assert isinstance(run.search.threshold, float)
    assert run.encoder.max_tokens == 128


def test_overrides_are_toml_or_bare_strings(tmp_path):
    path = write(tmp_path, "[search]\nk = 3")
    overrides = ["search.k=7", "search.kind=dense", 'source.fields=["a", "b"]', "cluster.use_gpu=true"]
    run = read_run(
        path, FitRun, [*overrides, "search.threshold=0.5", "output.bundle=s3://b/x=y", "encoder.prompt="]
    )
    assert (run.search.k, run.search.kind, run.search.threshold) == (7, "dense", 0.5)
    assert run.source.fields == ("a", "b")
    assert run.cluster.use_gpu is True
    assert run.output.bundle == "s3://b/x=y"
    assert run.encoder.prompt == ""


def test_the_last_override_wins_and_the_input_stays():
    values = {"search": {"k": 3}}
    assert make_run(values, FitRun, ["search.k=4", "search.k=5"]).search.k == 5
    assert values == {"search": {"k": 3}}


@pytest.mark.parametrize("override", ["search.k", "=3", "", " =x"])
def test_override_without_key_or_value(override):
    with pytest.raises(SettingsError, match=r"part\.key=value"):
        with_overrides(override)


@pytest.mark.parametrize("override", ["method.x=1", "search.k.x=1", "search=3"])
def test_override_that_does_not_fit_the_tables(override):
    with pytest.raises(SettingsError, match=r"must be a table|type str|type int"):
        make_run({"method": "frozen", "search": {"k": 1}}, FitRun, [override])


def test_override_beside_a_date_in_the_file(tmp_path):
    with pytest.raises(SettingsError, match=r"source\.documents"):
        read_run(write(tmp_path, "[source]\ndocuments = 2026-11-22"), FitRun, ["search.k=2"])


def test_a_line_break_brings_in_no_further_keys():
    assert with_overrides("encoder.prompt=1\nother = 2").encoder.prompt == "1\nother = 2"


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("source.documnets=x", "source.documents"),
        ("serach.k=3", "search"),
        ("search.beem=3", "search."),
        ("cluster.Workers=3", "cluster.workers"),
    ],
)
def test_unknown_key_names_the_nearest(override, nearest):
    with pytest.raises(SettingsError) as raised:
        with_overrides(override)
    assert f"unknown key {override.partition('=')[0].split('.')[0]}" in str(raised.value)
    assert f"Did you mean {nearest}" in str(raised.value)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("search.k=3.5", "int"),
        ("search.k=true", "int"),
        ("search.k=many", "int"),
        ("cluster.use_gpu=1", "bool"),
        ("source.fields=title", "a list of strings"),
        ("source.fields=[1]", "a list of strings"),
        ("source.map=text", "a table of strings"),
        ("source.map.text=1", "str"),
        ("search.threshold=true", "float"),
        ("search.threshold=1" + "0" * 400, "float"),
        ("method=[1]", "str"),
    ],
)
def test_wrong_types(override, expected):
    with pytest.raises(SettingsError) as raised:
        with_overrides(override)
    assert expected in str(raised.value)
    assert override.partition("=")[0] in str(raised.value)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("text", ["[source", "a = = 1", "\ufeffa = 1"])
def test_not_toml_names_the_file(tmp_path, text):
    with pytest.raises(SettingsError, match=r"run\.toml"):
        read_run(write(tmp_path, text), FitRun)


def test_not_utf8(tmp_path):
    (tmp_path / "run.toml").write_bytes(b'method = "\xff"')
    with pytest.raises(SettingsError, match=r"run\.toml"):
        read_run(tmp_path / "run.toml", FitRun)


def test_missing_file_names_the_shipped_jobs(tmp_path):
    with pytest.raises(SettingsError) as raised:
        find_run_file(tmp_path / "absent.toml")
    shipped = sorted(file.name for folder in shipped_jobs() for file in folder.glob("*.toml"))
    assert "absent.toml" in str(raised.value)
    assert all(f"jobs/{name}" in str(raised.value) for name in shipped)
    assert shipped or "none" in str(raised.value)


def test_shipped_jobs_are_found_by_name_only(tmp_path, monkeypatch):
    shipped = [file for folder in shipped_jobs() for file in folder.glob("*.toml")]
    if not shipped:
        pytest.skip("no job is shipped yet")
    monkeypatch.chdir(tmp_path)
    assert find_run_file(shipped[0].name) == find_run_file(f"jobs/{shipped[0].name}") == shipped[0]
    for elsewhere in (f"other/jobs/{shipped[0].name}", f"/{shipped[0].name}"):
        with pytest.raises(SettingsError):
            find_run_file(elsewhere)


@pytest.mark.parametrize("kind", [FitRun, RetagRun, ServeRun])
def test_fingerprint_ignores_places_and_changes_with_all_else(kind):
    plain = fingerprint(kind())
    assert len(plain) == 12
    for part, name, value in leaves(kind):
        changed = fingerprint(make_run({part: {name: another(value)}}, kind))
        assert (changed == plain) == (part in PLACES), f"{part}.{name}"


def test_fingerprint_takes_more():
    run = FitRun()
    assert fingerprint(run, labels="a") != fingerprint(run, labels="b") != fingerprint(run)
    assert fingerprint(run, a=1, b=2) == fingerprint(run, b=2, a=1)
    assert fingerprint(with_overrides("method=ofde")) != fingerprint(run)
    assert fingerprint(with_overrides("search.threshold=1")) == fingerprint(with_overrides("search.threshold=1.0"))


texts = st.text(max_size=20)


@given(
    documents=texts,
    fields=st.lists(texts, max_size=3),
    k=st.integers(),
    threshold=st.none() | st.floats(allow_nan=False),
    use_gpu=st.booleans(),
)
def test_resolved_json_comes_back_the_same(documents, fields, k, threshold, use_gpu):
    values = {
        "source": {"documents": documents, "fields": fields},
        "search": {"k": k, "threshold": threshold},
        "cluster": {"use_gpu": use_gpu},
    }
    run = make_run(values, FitRun)
    back = make_run(json.loads(json.dumps(to_values(run))), FitRun)
    assert back == run
    assert fingerprint(back) == fingerprint(run)


@given(text=texts)
def test_an_override_is_a_string_or_a_clear_error(text):
    override = f"source.documents={text}"
    try:
        found = with_overrides(override).source.documents
    except SettingsError:
        with pytest.raises(SettingsError, match=r"source\.documents"):
            with_overrides(override)
    else:
        assert isinstance(found, str)


@given(value=st.floats(allow_nan=False) | st.integers(-(2**53), 2**53))
def test_numbers_survive_an_override(value):
    threshold = with_overrides(f"search.threshold={value}").search.threshold
    assert threshold is not None
    assert math.isclose(threshold, value, rel_tol=0)
