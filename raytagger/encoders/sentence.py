"""Any sentence-transformers model, with the modules and prompts that it brings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from raytagger.encoders.encoder import Embedded, finish, shorten, silent_tokens, without_words
from raytagger.encoders.lazy import About
from raytagger.encoders.locate import model_files, read_licence, weights_digest
from raytagger.encoders.static import tokenizer_silence
from raytagger.encoders.transformer import batch_budget, check_max_tokens, pick_device
from raytagger.errors import SettingsError
from raytagger.settings import EncoderSettings


class SentenceEncoder:
    """A sentence-transformers model.

    Raises:
        SettingsError: it cannot be loaded, or `max_tokens` does not fit it.
    """

    def __init__(self, settings: EncoderSettings, folder: str) -> None:
        self._settings, self._folder = settings, folder
        device = pick_device(settings.device)
        self._budget = settings.batch_tokens or batch_budget(device)
        transformers_logging.disable_progress_bar()
        try:
            self._model = SentenceTransformer(folder, device=device)
        except Exception as error:
            raise SettingsError(
                f"sentence-transformers cannot load the encoder: {(str(error).splitlines() or [''])[0][:200]}",
                got=folder,
                remedy="Check encoder.path.",
            ) from error
        network = getattr(self._model[0], "auto_model", None)
        self._reads_all = network is None  # such as static vectors, which know no length
        if network is not None:
            check_max_tokens(settings.max_tokens, getattr(network.config, "max_position_embeddings", None))
            self._model.max_seq_length = settings.max_tokens
        self._tokenizer: Any = getattr(self._model, "tokenizer", None)
        self._silent = _silence(self._tokenizer)
        self.width = int(self._model.get_embedding_dimension() or 0)

    @staticmethod
    def describe(settings: EncoderSettings, folder: str) -> About:
        """What is known without loading it."""
        return About(_identity(settings, folder), read_licence(folder), model_files(folder, deep=True))

    @property
    def identity(self) -> str:
        """Weights and length."""
        return _identity(self._settings, self._folder)

    @property
    def licence(self) -> str:
        """As the model card states it."""
        return read_licence(self._folder)

    def encode(self, texts: Sequence[str], prompt: str = "") -> Embedded:
        """See `Encoder.encode`."""
        if not texts:
            return Embedded(np.zeros((0, self.width), np.float32), np.zeros(0, bool))
        limit = self._settings.max_tokens
        short, cut_B = list(texts), np.zeros(len(texts), bool)
        if not self._reads_all:
            short, cut_B = shorten(texts, limit)
        ids = self._token_ids([prompt + text for text in short])
        if not self._reads_all:
            cut_B |= np.array([len(row) for row in ids]) > limit
        vector_BD = self._model.encode(
            short,
            prompt=prompt or None,
            batch_size=max(self._budget // limit, 1),
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        vector_BD = np.array(vector_BD, np.float32)
        if ids:
            vector_BD[without_words(ids, self._silent, self._token_ids([prompt])[0] if prompt else ())] = 0
        return Embedded(finish(vector_BD, texts), cut_B)

    def save(self, folder: Path) -> None:
        """Writes the model in sentence-transformers' own layout."""
        self._model.save(str(folder))

    def _token_ids(self, texts: list[str]) -> list[list[int]]:
        """Of each text; none where the model has no tokenizer of a kind that is known here."""
        if isinstance(self._tokenizer, Tokenizer):
            return [row.ids for row in self._tokenizer.encode_batch(texts, add_special_tokens=False)]
        if isinstance(self._tokenizer, PreTrainedTokenizerBase):
            return self._tokenizer(texts, verbose=False)["input_ids"]  # pyright: ignore[reportReturnType] - lists, as no tensors are asked for
        return []


def _identity(settings: EncoderSettings, folder: str) -> str:
    facts = ["sentence-transformers", weights_digest(folder), settings.max_tokens]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _silence(tokenizer: Any) -> frozenset[int]:
    if isinstance(tokenizer, Tokenizer):
        return tokenizer_silence(tokenizer)
    if isinstance(tokenizer, PreTrainedTokenizerBase):
        return silent_tokens(tokenizer.all_special_ids, tokenizer.get_vocab())
    return frozenset()
