"""Any sentence-transformers model, with the modules and prompts that it brings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from raytagger.encoders.encoder import Embedded, finish
from raytagger.encoders.locate import read_licence, weights_digest
from raytagger.encoders.transformer import pick_device
from raytagger.errors import SettingsError
from raytagger.settings import EncoderSettings


class SentenceEncoder:
    """A sentence-transformers model.

    Raises:
        SettingsError: it cannot be loaded.
    """

    def __init__(self, settings: EncoderSettings, folder: str) -> None:
        self._settings, self._folder = settings, folder
        try:
            self._model = SentenceTransformer(folder, device=pick_device(settings.device))
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"sentence-transformers cannot load the encoder: {str(error).splitlines()[0][:200]}",
                got=folder,
                remedy="Check encoder.path.",
            ) from error
        self._model.max_seq_length = settings.max_tokens
        self.width = int(self._model.get_embedding_dimension() or 0)

    @property
    def identity(self) -> str:
        """Weights and length."""
        weights = weights_digest(self._folder) if Path(self._folder).is_dir() else self._folder
        facts = ["sentence-transformers", weights, self._settings.max_tokens]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    @property
    def licence(self) -> str:
        """As the model card states it."""
        return read_licence(self._folder)

    def encode(self, texts: Sequence[str], prompt: str = "") -> Embedded:
        """See `Encoder.encode`."""
        rows = max(self._settings.batch_tokens // self._settings.max_tokens, 1)
        vector_BD = self._model.encode(
            list(texts),
            prompt=prompt or None,
            batch_size=rows,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        lengths = [len(ids) for ids in self._model.tokenizer([prompt + text for text in texts])["input_ids"]]
        vector_BD = np.asarray(vector_BD, np.float32).reshape(len(texts), self.width)
        return Embedded(finish(vector_BD, texts), np.array(lengths) > self._settings.max_tokens)

    def save(self, folder: Path) -> None:
        """Writes the model in sentence-transformers' own layout."""
        self._model.save(str(folder))
