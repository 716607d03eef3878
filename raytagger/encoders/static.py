"""Static token vectors: the mean of a table's rows. The cheapest encoder, and no torch."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from raytagger.encoders.encoder import Embedded, finish, shorten, silent_tokens, without_words
from raytagger.encoders.lazy import About
from raytagger.encoders.locate import files_digest, read_licence
from raytagger.errors import SettingsError
from raytagger.settings import EncoderSettings


class StaticEncoder:
    """Means of token vectors, read from one `*.safetensors` table and a tokenizer file.

    Raises:
        SettingsError: the folder lacks either, or the table is damaged.
    """

    def __init__(self, settings: EncoderSettings, folder: str) -> None:
        self._settings, self._folder = settings, folder
        self._table_file, self._tokenizer_file = _files(folder)
        try:
            tables = [table for table in load_file(self._table_file).values() if table.ndim == 2]
            self._table_VD = max(tables, key=len).astype(np.float32)
            self._tokenizer = Tokenizer.from_file(str(self._tokenizer_file))
        except Exception as error:  # tokenizers raises nothing more precise
            raise SettingsError(f"{folder} cannot be loaded: {error}", remedy="Fetch the model again.") from error
        if self._tokenizer.get_vocab_size() > len(self._table_VD):
            raise SettingsError(
                "the tokenizer and the static vectors do not belong together",
                got=f"{self._tokenizer.get_vocab_size()} tokens, {len(self._table_VD)} vectors",
                remedy=f"Look at {folder}.",
            )
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._silent = tokenizer_silence(self._tokenizer)
        self.width = self._table_VD.shape[1]

    @staticmethod
    def describe(settings: EncoderSettings, folder: str) -> About:
        """What is known without loading it."""
        table, tokenizer = _files(folder)
        files = {"model.safetensors": table, "tokenizer.json": tokenizer}
        return About(_identity(settings, folder), _licence(folder), files)

    @property
    def identity(self) -> str:
        """Weights, tokenizer and length; a saved copy has the same."""
        return _identity(self._settings, self._folder)

    @property
    def licence(self) -> str:
        """As the model card states it; wordllama's package is MIT."""
        return _licence(self._folder)

    def encode(self, texts: Sequence[str], prompt: str = "") -> Embedded:
        """See `Encoder.encode`."""
        limit = self._settings.max_tokens
        short, short_B = shorten([prompt + text for text in texts], limit)
        rows = self._tokenizer.encode_batch_fast(short, add_special_tokens=False)
        ids = [row.ids[:limit] for row in rows]
        cut_B = short_B | np.array([len(row) > limit for row in rows], bool)
        sum_BD = np.zeros((len(texts), self.width), np.float32)
        length_B = np.array([len(row) for row in ids], np.int64)
        if length_B.sum():
            filled = np.flatnonzero(length_B)
            flat = np.concatenate([np.asarray(ids[row], np.int64) for row in filled])
            starts = np.concatenate([[0], np.cumsum(length_B[filled])[:-1]])
            sum_BD[filled] = np.add.reduceat(self._table_VD[flat], starts, axis=0)
        prompt_ids = self._tokenizer.encode(prompt, add_special_tokens=False).ids if prompt else ()
        sum_BD[without_words(ids, self._silent, prompt_ids)] = 0
        return Embedded(finish(sum_BD, texts), cut_B)

    def save(self, folder: Path) -> None:
        """Copies the table and the tokenizer."""
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._table_file, folder / "model.safetensors")
        shutil.copyfile(self._tokenizer_file, folder / "tokenizer.json")
        (folder / "README.md").write_text(f"---\nlicense: {self.licence}\n---\n")


def tokenizer_silence(tokenizer: Tokenizer) -> frozenset[int]:
    """The tokens of a tokenizer that say nothing; see `silent_tokens`."""
    vocabulary = tokenizer.get_vocab()
    special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    unknown = getattr(tokenizer.model, "unk_token", None)
    if unknown in vocabulary:
        special.add(vocabulary[unknown])
    return silent_tokens(special, vocabulary)


def _identity(settings: EncoderSettings, folder: str) -> str:
    facts = ["static", files_digest(_files(folder), ["table", "tokenizer"]), settings.max_tokens]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _licence(folder: str) -> str:
    return "mit" if Path(folder).name == "wordllama" else read_licence(folder)


def _files(folder: str) -> tuple[Path, Path]:
    tables = sorted(Path(folder).rglob("*.safetensors"))
    tokenizers = [
        *Path(folder).glob("tokenizer.json"),
        *sorted(Path(folder).rglob("*_tokenizer_config.json")),
    ]
    if not tables or not tokenizers:
        raise SettingsError(
            "no static vectors there",
            got=folder,
            expected="a folder with a .safetensors table and tokenizer.json",
            remedy="For the packaged table: pip install 'raytagger[models]' and encoder.path = \"wordllama\".",
        )
    return tables[0], tokenizers[0]
