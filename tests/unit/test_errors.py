import pickle

import pytest

from raytagger import errors
from raytagger.errors import RaytaggerError, SettingsError

CODES = {
    "RaytaggerError": 1,
    "SettingsError": 2,
    "StoreError": 1,
    "LockHeldError": 4,
    "CorpusError": 1,
    "RejectsError": 3,
    "BundleError": 1,
    "CapacityError": 1,
}


def test_message_with_all_parts():
    error = SettingsError("search.k", got=99, expected="at most 50", remedy="Lower it.")
    assert str(error) == "search.k; got 99; expected at most 50. Lower it."


def test_message_leaves_out_what_is_not_there():
    assert str(RaytaggerError("it failed")) == "it failed."
    assert str(RaytaggerError("it failed", got="")) == "it failed; got ''."
    assert str(RaytaggerError("it failed", expected="x")) == "it failed; expected x."


def test_long_values_are_shortened():
    message = str(RaytaggerError("it failed", got="a" * 10_000))
    assert len(message) < 250
    assert "…" in message


@pytest.mark.parametrize("name", CODES)
def test_exit_codes_and_pickling(name):
    kind = getattr(errors, name)
    error = kind("what", got=["a", 1], expected="b", remedy="Do it.")
    back = pickle.loads(pickle.dumps(error))
    assert error.exit_code == CODES[name]
    assert type(back) is kind
    assert str(back) == str(error)
    assert (back.what, back.got, back.expected, back.remedy) == ("what", ["a", 1], "b", "Do it.")


def test_every_class_of_the_family_is_in_the_table():
    family = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert family == set(CODES)
