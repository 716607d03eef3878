"""What an encoder is: texts in, unit vectors out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from raytagger.errors import CorpusError
from raytagger.schema import BoolArray, FloatArray

# No tokenizer in use makes a token of more characters than this on average over a whole text.
CHARACTERS_A_TOKEN = 64
# The beginning of a word as a token by itself: what SentencePiece leaves of an unknown word.
BARE_TOKENS = ("▁", "Ġ")


class Embedded(NamedTuple):
    """Encoded texts.

    Attributes:
        vector_BD: float32 (B, D), rows of unit length, each value rounded to float16 so that cached and fresh
            embeddings are the same. A text of which the encoder reads nothing, because it has no token or only
            unknown ones, has the zero vector.
        cut_B: bool (B,), True where a text was longer than the encoder reads.
    """

    vector_BD: FloatArray
    cut_B: BoolArray


class Encoder(Protocol):
    """A text encoder. Implementations: transformer, causal, sentence-transformers, static, http."""

    @property
    def width(self) -> int:
        """D, the width of an embedding."""
        ...

    @property
    def identity(self) -> str:
        """Changes when the same text would get another embedding: weights, pooling, length."""
        ...

    @property
    def licence(self) -> str:
        """The model's licence as its card states it, or `unknown`."""
        ...

    def encode(self, texts: Sequence[str], prompt: str = "") -> Embedded:
        """Embeds texts in their order, each with `prompt` put before it."""
        ...

    def save(self, folder: Path) -> None:
        """Writes what is needed to load it again."""
        ...


def shorten(texts: Sequence[str], max_tokens: int) -> tuple[list[str], BoolArray]:
    """Texts without what lies beyond any `max_tokens` tokens, so that a huge text costs no more than a long one.

    Returns:
        The texts, and bool (B,): which of them were shortened.
    """
    limit = CHARACTERS_A_TOKEN * max_tokens
    return [text[:limit] for text in texts], np.array([len(text) > limit for text in texts], bool)


def unread(vector_BD: FloatArray) -> BoolArray:
    """Bool (B,), texts of which the encoder reads nothing, by their zero vectors."""
    return ~np.any(vector_BD, axis=1)


def without_words(
    rows: Sequence[Sequence[int]],
    silent: frozenset[int],
    prompt: Sequence[int] = (),
    owner_P: np.ndarray | None = None,
) -> BoolArray:
    """Bool (B,), texts that have no token of their own but silent ones.

    Args:
        rows: token ids of each text with its prompt, or of its pieces.
        silent: tokens that stand for nothing or for anything: unknown words, beginnings, ends, padding.
        prompt: token ids of the prompt alone.
        owner_P: the text that each piece belongs to; by default every row is a text.
    """
    heard = sum(token not in silent for token in prompt)
    if not heard and owner_P is None:
        return np.array([silent.issuperset(row) for row in rows], bool)
    count_P = np.array([sum(token not in silent for token in row) for row in rows], np.int64)
    return (count_P if owner_P is None else np.bincount(owner_P, count_P)) <= heard


def silent_tokens(special: Iterable[int], vocabulary: Mapping[str, int]) -> frozenset[int]:
    """What `without_words` takes: special tokens, the unknown one among them, and bare beginnings of words."""
    return frozenset(special) | {vocabulary[token] for token in BARE_TOKENS if token in vocabulary}


def finish(vector_BD: np.ndarray, texts: Sequence[str]) -> FloatArray:
    """Unit length, then float16 precision in float32.

    Raises:
        CorpusError: a vector is not finite; names the first text of that kind.
    """
    norm_B = np.linalg.norm(vector_BD.astype(np.float32), axis=1, keepdims=True)
    if not np.isfinite(norm_B).all():
        row = int(np.flatnonzero(~np.isfinite(norm_B[:, 0]))[0])
        raise CorpusError(
            "the encoder gave a vector that is not finite",
            got=f"text {texts[row][:80]!r}",
            remedy="Look at the text; if all texts fail, the weights are damaged.",
        )
    unit = vector_BD / np.maximum(norm_B, 1e-12)
    return unit.astype(np.float16).astype(np.float32)
