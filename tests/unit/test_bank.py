"""The label bank: what is encoded, what is kept, what damage says."""

import threading

import numpy as np
import pytest

from raytagger.errors import StoreError
from raytagger.labels import LabelBank, bank

TEXTS = [f"label {number}" for number in range(25)]


class Counting:
    """Encodes a text as its digits' vector and remembers what it was asked."""

    def __init__(self, die_after=None, width=4) -> None:
        self.asked, self.die_after, self.width = [], die_after, width

    def __call__(self, texts) -> np.ndarray:
        if self.die_after is not None and len(self.asked) >= self.die_after:
            raise KeyboardInterrupt
        self.asked.extend(texts)
        return np.array([vector_of(text, self.width) for text in texts])


def vector_of(text, width=4):
    rng = np.random.default_rng(sum(text.encode()) * 1000 + len(text))
    return rng.random(width, np.float32).astype(np.float16).astype(np.float32)


def expected(texts, width=4):
    return np.array([vector_of(text, width) for text in texts])


@pytest.fixture
def labels_bank(tmp_path, store):
    return LabelBank(store, str(tmp_path / "bank"))


@pytest.fixture
def small_slabs(monkeypatch):
    monkeypatch.setattr(bank, "SLAB_TEXTS", 10)


def parts(tmp_path):
    return sorted((tmp_path / "bank").rglob("*.parquet"))


def test_a_second_run_encodes_nothing(labels_bank):
    encode = Counting()
    first = labels_bank.embed(TEXTS, "encoder", encode)
    again = labels_bank.embed(TEXTS[::-1], "encoder", encode)
    assert encode.asked == TEXTS
    assert (first.encoded, again.encoded) == (25, 0)
    for found, texts in ((first, TEXTS), (again, TEXTS[::-1])):
        assert found.vector_LD.dtype == np.float32
        np.testing.assert_array_equal(found.vector_LD, expected(texts))


def test_ten_new_labels_are_ten_encodings_and_a_rewording_is_one(labels_bank):
    labels_bank.embed(TEXTS, "encoder", Counting())
    new, encode = [f"new {number}" for number in range(10)], Counting()
    assert labels_bank.embed([*new[:5], *TEXTS, *new[5:]], "encoder", encode).encoded == 10
    assert encode.asked == new
    encode = Counting()
    found = labels_bank.embed([*TEXTS[:3], "label 3, reworded", *TEXTS[4:]], "encoder", encode)
    assert encode.asked == ["label 3, reworded"]
    np.testing.assert_array_equal(found.vector_LD[3], vector_of("label 3, reworded"))


def test_each_encoder_has_its_own(labels_bank):
    labels_bank.embed(TEXTS, "one", Counting(width=4))
    other = Counting(width=6)
    np.testing.assert_array_equal(labels_bank.embed(TEXTS, "two", other).vector_LD, expected(TEXTS, 6))
    assert other.asked == TEXTS


def test_a_text_that_stands_twice_is_encoded_once(labels_bank):
    encode = Counting()
    found = labels_bank.embed(["a", "b", "a", "a"], "encoder", encode)
    assert encode.asked == ["a", "b"]
    assert found.encoded == 2
    np.testing.assert_array_equal(found.vector_LD, expected(["a", "b", "a", "a"]))


def test_a_killed_run_keeps_its_slabs(labels_bank, small_slabs, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        labels_bank.embed(TEXTS, "encoder", Counting(die_after=20))
    assert len(parts(tmp_path)) == 2
    encode = Counting()
    found = labels_bank.embed(TEXTS, "encoder", encode)
    assert encode.asked == TEXTS[20:]
    np.testing.assert_array_equal(found.vector_LD, expected(TEXTS))


def test_progress_is_told(labels_bank, small_slabs):
    told = []
    labels_bank.embed(TEXTS, "encoder", Counting(), lambda *what: told.append(what))
    assert told == [("label bank", done, 25) for done in (0, 10, 20, 25)]


def test_progress_is_told_before_a_slab_is_full(labels_bank, tmp_path):
    texts, told = [f"label {number}" for number in range(2100)], []
    found = labels_bank.embed(texts, "encoder", Counting(), lambda *what: told.append(what))
    assert told == [("label bank", done, 2100) for done in (*range(0, 1025, 128), 2048, 2100)]
    assert len(parts(tmp_path)) == 3
    np.testing.assert_array_equal(found.vector_LD, expected(texts))


def test_what_is_missing_is_told_each_once_in_order(labels_bank):
    assert labels_bank.missing(["b", "a", "b"], "encoder") == ["b", "a"]
    labels_bank.add(["a", "c"], "encoder", expected(["a", "c"]))
    assert labels_bank.missing(["d", "c", "b", "a", "d"], "encoder") == ["d", "b"]
    assert labels_bank.missing(["a"], "another") == ["a"]
    assert labels_bank.missing([], "encoder") == []


def test_an_added_slab_is_what_embed_finds(labels_bank):
    labels_bank.add(TEXTS[:9], "encoder", expected(TEXTS[:9]))
    encode = Counting()
    found = labels_bank.embed(TEXTS, "encoder", encode)
    assert encode.asked == TEXTS[9:]
    np.testing.assert_array_equal(found.vector_LD, expected(TEXTS))


def test_a_damaged_file_is_named_where_only_keys_are_read(labels_bank, tmp_path):
    labels_bank.add(TEXTS, "encoder", expected(TEXTS))
    (file,) = parts(tmp_path)
    file.write_bytes(cut_off(file.read_bytes()))
    with pytest.raises(StoreError, match=f"{file.name} is damaged"):
        labels_bank.missing(TEXTS, "encoder")


def cut_off(data):
    return data[: len(data) // 2]


def flip_a_vector(data):
    at = data.index(vector_of(TEXTS[7]).astype(np.float16).tobytes())
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def flip_the_footer(data):
    return data[:-20] + bytes(byte ^ 255 for byte in data[-20:-8]) + data[-8:]


@pytest.mark.parametrize("damage", [cut_off, flip_a_vector, flip_the_footer, lambda data: b"", lambda data: b"{}"])
def test_a_damaged_file_is_named(labels_bank, tmp_path, damage):
    labels_bank.embed(TEXTS, "encoder", Counting())
    (file,) = parts(tmp_path)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(StoreError, match=file.name) as caught:
        labels_bank.embed(TEXTS, "encoder", Counting())
    assert "Delete the file" in str(caught.value)
    file.unlink()
    assert labels_bank.embed(TEXTS, "encoder", Counting()).encoded == 25


def test_two_runs_may_fill_one_bank(labels_bank, small_slabs):
    """Both read the empty bank before either writes; one half of their texts is the same."""
    ready, results = threading.Barrier(2), {}

    class Meeting(Counting):
        def __call__(self, texts) -> np.ndarray:
            if not self.asked:
                ready.wait(10)
            return super().__call__(texts)

    def run(name, texts):
        results[name] = labels_bank.embed(texts, "encoder", Meeting()).vector_LD

    sides = {"left": TEXTS, "right": [*TEXTS[:12], *(f"other {number}" for number in range(12))]}
    threads = [threading.Thread(target=run, args=side) for side in sides.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, texts in sides.items():
        np.testing.assert_array_equal(results[name], expected(texts))
    encode = Counting()
    everything = sides["left"] + sides["right"]
    np.testing.assert_array_equal(labels_bank.embed(everything, "encoder", encode).vector_LD, expected(everything))
    assert encode.asked == []
