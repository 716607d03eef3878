"""Texts as counts of terms over a fixed vocabulary of words and pairs of words; what a word is, `style` says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import scipy.sparse as sp

from raytagger.errors import BundleError, CapacityError
from raytagger.schema import FloatArray, IntArray
from raytagger.vectors.scan import HALF
from raytagger.vectors.style import STANDARD, Bytes, Longs, Style, alphabet, join_texts
from raytagger.vectors.tally import CountedTerms, TermCounts
from raytagger.vectors.words import (
    LOW,
    NO_PAIR,
    Lexicon,
    Scratch,
    fill_words,
    place_pairs,
    read_only,
    read_texts,
    table_size,
)

MAX_TERMS = 1 << 20
LOAD = 0.5  # of the tables: looking up what is not there must end soon, for many pairs are no terms
MAX_BYTES = 2_000_000_000  # of text in a batch: more could have 2^31 terms
_COUNTS: FloatArray = np.zeros(0, np.float32)

pc: Any = pyarrow.compute  # makes its functions at import, where no type checker sees them


class SparseRows(NamedTuple):
    """CSR arrays; `csr` makes a matrix of them, which takes longer than tagging one text.

    Attributes:
        row_B1: int32 (B + 1,), row b is `row_B1[b] : row_B1[b + 1]`.
        feature: int32, the columns, ascending in each row.
        value: float32.
        width: V, how many columns there are.
    """

    row_B1: IntArray
    feature: IntArray
    value: FloatArray
    width: int

    def csr(self) -> sp.csr_matrix:
        """The matrix (B, V)."""
        matrix = sp.csr_matrix(
            (self.value, self.feature, self.row_B1), (len(self.row_B1) - 1, self.width), copy=False
        )
        matrix.has_canonical_format = True
        return matrix

    @staticmethod
    def of(matrix: sp.csr_matrix) -> SparseRows:
        """The rows of a matrix."""
        width = cast("tuple[int, int]", matrix.shape)[1]
        row_B1, feature = np.asarray(matrix.indptr, np.int32), np.asarray(matrix.indices, np.int32)
        return SparseRows(row_B1, feature, np.asarray(matrix.data, np.float32), width)

    @staticmethod
    def concatenate(parts: Sequence[SparseRows]) -> SparseRows:
        """The rows of all parts, in order."""
        starts = np.cumsum([0, *(len(part.feature) for part in parts[:-1])], dtype=np.int32)
        rows = [part.row_B1[:-1] + start for part, start in zip(parts, starts, strict=True)]
        end = starts[-1] + parts[-1].row_B1[-1:]
        return SparseRows(
            np.concatenate([*rows, end], dtype=np.int32),
            np.concatenate([part.feature for part in parts]),
            np.concatenate([part.value for part in parts]),
            parts[0].width,
        )


class VocabularyArrays(NamedTuple):
    """What a vocabulary is, as it lies in its folder: V terms over W words, tables of S slots each.

    Attributes:
        texts: int64 (), how many texts were counted.
        frequency_V: int64 (V,), the number of texts that each term stands in.
        left_V: int32 (V,), each term's first word.
        right_V: int32 (V,), its second word, -1 where it has one only.
        word_byte, word_start_W1, word_feature_W, word_slot_S, pair_key_S, pair_feature_S: see `Lexicon`.
        idf_V: float32 (V,), where it was given; (0,) where the frequencies tell it.
        style: int64, the numbers of a `Style`; (0,) for the standard one.
    """

    texts: Longs
    frequency_V: Longs
    left_V: IntArray
    right_V: IntArray
    word_byte: Bytes
    word_start_W1: Longs
    word_feature_W: IntArray
    word_slot_S: np.ndarray[Any, Any]
    pair_key_S: np.ndarray[Any, Any]
    pair_feature_S: IntArray
    idf_V: FloatArray = _COUNTS
    style: Longs = np.zeros(0, np.int64)


class Vocabulary:
    """Terms with their document frequencies, numbered from the most frequent on, ties by spelling.

    A term is a word or two words joined by a space. Its methods may be called from several threads at once.

    Attributes:
        arrays: all that it consists of.
        texts: how many texts were counted.
        frequency_V: int64 (V,), the number of texts that each term stands in.
        style: how it sees words and weighs terms.
    """

    def __init__(self, arrays: VocabularyArrays) -> None:
        self.arrays = VocabularyArrays(*(read_only(array) for array in arrays))
        self.texts, self.frequency_V = int(arrays.texts), self.arrays.frequency_V
        self.style = Style(*arrays.style.tolist())
        self._lexicon = Lexicon(*(getattr(self.arrays, name) for name in Lexicon._fields))
        self._spare: list[Scratch] = []

    @classmethod
    def from_counts(cls, counts: TermCounts, max_terms: int = MAX_TERMS, min_frequency: int = 1) -> Vocabulary:
        """The `max_terms` most frequent of the terms that stand in at least `min_frequency` texts."""
        counted = counts.counted()
        left_V, right_V, frequency_V = _choose(counted, max_terms, min_frequency)
        arrays = _arrays(counted.word_byte, counted.word_start_W1, left_V, right_V, frequency_V, counted.texts)
        return cls(arrays._replace(style=np.array(Style(words=counted.words), np.int64)))

    @classmethod
    def from_terms(
        cls,
        terms: Sequence[str],
        frequency_V: Longs,
        texts: int,
        style: Style = STANDARD,
        idf_V: FloatArray = _COUNTS,
    ) -> Vocabulary:
        """These terms in this order.

        Args:
            terms: V.
            frequency_V: int64 (V,), the number of texts that each stands in.
            texts: how many were counted.
            style: how texts are read and weighed.
            idf_V: float32 (V,), or (0,) for what the frequencies tell.

        Raises:
            BundleError: a term is not one word or two with a space between them, or stands twice; an idf is
                missing, negative or not finite.
        """
        if len(idf_V) not in (0, len(terms)) or not (np.isfinite(idf_V) & (idf_V >= 0)).all():
            expected = f"{len(terms)} finite numbers of 0 or more"
            raise BundleError("the idf of the vocabulary's terms", got=f"{len(idf_V)} numbers", expected=expected)
        number: dict[str, int] = {}
        left_V, right_V = np.empty(len(terms), np.int32), np.full(len(terms), -1, np.int32)
        for row, term in enumerate(terms):
            words = term.split(" ")
            if len(words) > 2 or not all(words):
                raise BundleError("a term of the vocabulary", got=term, expected="one word, or two and a space")
            left_V[row] = number.setdefault(words[0], len(number))
            if len(words) == 2:
                right_V[row] = number.setdefault(words[1], len(number))
        if len(set(terms)) < len(terms):
            raise BundleError("a term stands twice in the vocabulary")
        word_byte, word_start_W1 = _join_words(list(number))
        arrays = _arrays(word_byte, word_start_W1, left_V, right_V, frequency_V, texts)
        return cls(arrays._replace(idf_V=np.asarray(idf_V, np.float32), style=np.array(style, np.int64)))

    def __reduce__(self) -> tuple[Callable[[VocabularyArrays], Vocabulary], tuple[VocabularyArrays]]:
        return Vocabulary, (self.arrays,)

    @cached_property
    def terms(self) -> list[str]:
        """V terms, spelt out on first use."""
        whole = self.arrays.word_byte.tobytes()
        starts = self.arrays.word_start_W1.tolist()
        words = [whole[start:end].decode() for start, end in pairwise(starts)]
        pairs = zip(self.arrays.left_V.tolist(), self.arrays.right_V.tolist(), strict=True)
        return [words[left] if right < 0 else f"{words[left]} {words[right]}" for left, right in pairs]

    def count(self, texts: Sequence[str]) -> sp.csr_matrix:
        """float32 CSR (B, V) of how often each term stands in each text; other terms are passed over."""
        return self.rows(texts).csr()

    def rows(self, texts: Sequence[str], idf_V: FloatArray = _COUNTS, threads: int = 1) -> SparseRows:
        """As `count`, without the matrix.

        Args:
            texts: B.
            idf_V: float32 (V,) makes the counts weights, as `tfidf` does; empty leaves them.
            threads: how many share a large batch.

        Raises:
            CapacityError: more than 2 GB of text.
        """
        if threads <= 1 or len(texts) < 2 * threads:
            return self._rows(texts, idf_V, MAX_BYTES)
        cuts = np.linspace(0, len(texts), threads + 1).astype(int).tolist()
        parts = [texts[start:end] for start, end in pairwise(cuts)]
        with ThreadPoolExecutor(threads) as pool:
            return SparseRows.concatenate(
                list(pool.map(lambda part: self._rows(part, idf_V, MAX_BYTES // threads), parts))
            )

    def save(self, folder: Path) -> None:
        """Writes every array to `<name>.npy`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in self.arrays._asdict().items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Maps what `save` wrote; also reads the Parquet file of `term, frequency` that older bundles hold.

        Raises:
            BundleError: an array is missing or damaged.
        """
        if path.is_file():
            table = pq.read_table(path)
            texts = int((table.schema.metadata or {})[b"texts"])
            return cls.from_terms(table["term"].to_pylist(), table["frequency"].to_numpy(), texts)
        try:
            files = {name: path / f"{name}.npy" for name in VocabularyArrays._fields}
            there = {
                name: np.load(file, mmap_mode="r")
                for name, file in files.items()
                if name not in VocabularyArrays._field_defaults or file.exists()  # older folders lack these
            }
            vocabulary = cls(VocabularyArrays(**there))
            alphabet(vocabulary.style.words)
            return vocabulary
        except (OSError, ValueError) as error:
            raise BundleError(f"the vocabulary {path} cannot be read", got=str(error)) from error

    def _rows(self, texts: Sequence[str], idf_V: FloatArray, max_bytes: int) -> SparseRows:
        text, start_B1 = join_texts(texts, self.style.words)
        if len(text) > max_bytes:
            raise CapacityError("too much text at once", got=len(text), expected=f"at most {max_bytes} bytes")
        letters = alphabet(self.style.words)
        # A word takes two bytes at least, with what parts it from the next, and begins a pair at most.
        most = len(text) + len(texts) + 2  # pages that stay unused take no memory
        row_B1 = np.empty(len(texts) + 1, np.int32)
        feature, value = np.empty(most, np.int32), np.empty(most, np.float32)
        # A scratch of the vocabulary's size is handed from call to call; list's pop and append are atomic.
        scratch = self._spare.pop() if self._spare else _make_scratch(len(self.frequency_V))
        read_texts(text, start_B1, letters, self.style, self._lexicon, scratch, idf_V, row_B1, feature, value)
        self._spare.append(scratch)
        filled = row_B1[-1]
        return SparseRows(row_B1, feature[:filled].copy(), value[:filled].copy(), len(self.frequency_V))


def _choose(counted: CountedTerms, max_terms: int, min_frequency: int) -> tuple[IntArray, IntArray, Longs]:
    """left_V, right_V and frequency_V of the terms that stay, in their order."""
    words = len(counted.word_frequency_W)
    frequency = np.concatenate([counted.word_frequency_W, counted.pair_frequency_P.astype(np.int64)])
    kept = np.flatnonzero(frequency >= min_frequency)
    if len(kept) > max_terms:  # sorting millions of terms that stand in one text each would take long
        cut = len(kept) - max_terms
        kept = kept[frequency[kept] >= np.partition(frequency[kept], cut)[cut]] if max_terms else kept[:0]
    keys = counted.pair_key_P[kept[kept >= words] - words]
    alone = kept[kept < words]
    left = np.concatenate([alone, (keys >> HALF).astype(np.int64)])
    right = np.concatenate([np.full(len(alone), -1), (keys & LOW).astype(np.int64)])
    # No character of a word sorts before the space of a pair: terms sort as pairs of words do.
    rank = np.append(_rank_words(counted.word_byte, counted.word_start_W1), -1)
    order = np.lexsort((rank[right], rank[left], -frequency[kept]))[:max_terms]
    return left[order].astype(np.int32), right[order].astype(np.int32), frequency[kept][order]


def _rank_words(word_byte: Bytes, word_start_W1: Longs) -> Longs:
    """The place of each word when they are sorted; UTF-8 sorts as code points do."""
    buffers = [None, pa.py_buffer(word_start_W1), pa.py_buffer(word_byte)]
    words = len(word_start_W1) - 1
    order = pc.array_sort_indices(pa.Array.from_buffers(pa.large_binary(), words, buffers)).to_numpy()
    rank_W = np.empty(words, np.int64)
    rank_W[order] = np.arange(words)
    return rank_W


def _arrays(
    word_byte: Bytes, word_start_W1: Longs, left_V: IntArray, right_V: IntArray, frequency_V: Longs, texts: int
) -> VocabularyArrays:
    """Lays out a vocabulary; only words that its terms need are kept, in the order in which the terms need them."""
    both = np.stack([left_V, right_V], axis=1).ravel()
    used, first, which = np.unique(both, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    order = order[used[order] >= 0]
    number = np.full(len(used), -1, np.int32)
    number[order] = np.arange(len(order), dtype=np.int32)
    left_V, right_V = number[which.reshape(-1, 2)].T.copy()
    word_byte, word_start_W1 = _take_words(word_byte, word_start_W1, used[order])
    words, alone = len(word_start_W1) - 1, np.flatnonzero(right_V < 0)
    paired = np.flatnonzero(right_V >= 0)
    word_feature_W = np.full(words, -1, np.int32)
    word_feature_W[left_V[alone]] = alone
    word_slot_S = np.zeros(table_size(words, LOAD), np.uint64)
    fill_words(word_byte, word_start_W1, words, word_slot_S)
    pair_key_S = np.full(table_size(len(paired), LOAD), NO_PAIR)
    pair_feature_S = np.full(len(pair_key_S), -1, np.int32)
    key_P = left_V[paired].astype(np.uint64) << HALF | right_V[paired].astype(np.uint64)
    pair_feature_S[place_pairs(key_P, pair_key_S)] = paired
    return VocabularyArrays(
        np.array(texts, np.int64),
        np.asarray(frequency_V, np.int64),
        left_V,
        right_V,
        word_byte,
        word_start_W1,
        word_feature_W,
        word_slot_S,
        pair_key_S,
        pair_feature_S,
    )


def _join_words(words: Sequence[str]) -> tuple[Bytes, Longs]:
    parts = [word.encode(errors="replace") for word in words]
    start_W1 = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    return np.frombuffer(b"".join(parts), np.uint8), start_W1


def _take_words(word_byte: Bytes, word_start_W1: Longs, chosen: npt.NDArray[Any]) -> tuple[Bytes, Longs]:
    size = np.diff(word_start_W1)[chosen]
    start_W1 = np.concatenate([[0], np.cumsum(size)])
    shift = np.repeat(word_start_W1[chosen] - start_W1[:-1], size)
    return word_byte[np.arange(start_W1[-1]) + shift], start_W1


def _make_scratch(terms: int) -> Scratch:
    return Scratch(
        np.zeros(terms, np.int32),
        np.zeros((terms >> 6) + 1, np.uint64),
        np.zeros((terms >> 12) + 1, np.uint64),
        np.zeros(8, np.uint64),
    )
