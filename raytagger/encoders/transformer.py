"""Any Hugging Face encoder, bidirectional or causal, read through transformers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from raytagger.encoders.batches import length_batches
from raytagger.encoders.encoder import Embedded, finish, shorten, silent_tokens, without_words
from raytagger.encoders.lazy import About
from raytagger.encoders.locate import model_files, read_licence, weights_digest
from raytagger.errors import CapacityError, SettingsError
from raytagger.settings import EncoderSettings

POOLINGS = ("mean", "cls", "last")
LONG = ("cut", "mean")
FEWEST_TOKENS = 4  # special tokens at both ends, and something between them


class Pieces(NamedTuple):
    """Texts as token ids: a row a piece, and the text that each piece belongs to."""

    ids: list[list[int]]
    owner_P: np.ndarray
    cut_B: np.ndarray


class TransformerEncoder:
    """Embeds texts with a transformer on CPU or GPU.

    `causal` models take the hidden state of the last token, after an end-of-sequence token, and run in bfloat16
    on a GPU; all others run in float32.

    Raises:
        SettingsError: the model cannot be loaded or does not fit the settings, or pooling or long is unknown.
    """

    def __init__(self, settings: EncoderSettings, folder: str) -> None:
        self._causal = settings.kind == "causal"
        self.pooling = _pooling(settings)
        if self.pooling not in POOLINGS:
            raise SettingsError("encoder.pooling", got=settings.pooling, expected=", ".join(POOLINGS))
        if settings.long not in LONG:
            raise SettingsError("encoder.long", got=settings.long, expected=", ".join(LONG))
        self._settings, self._folder = settings, folder
        self._device = pick_device(settings.device)
        self._budget = settings.batch_tokens or batch_budget(self._device)
        self._tokenizer, self.model = _load(folder, self._device, self._causal)
        # Keys and values are for generating text; here they would only fill the memory.
        self._asked: dict[str, Any] = {"use_cache": False} if self._causal else {}
        self._silent = silent_tokens(self._tokenizer.all_special_ids, self._tokenizer.get_vocab())
        self.width = int(self.model.config.hidden_size)
        check_max_tokens(settings.max_tokens, getattr(self.model.config, "max_position_embeddings", None))
        if self._causal and self._tokenizer.eos_token_id is None:
            raise SettingsError(
                "a causal encoder needs a tokenizer with an end-of-sequence token",
                got=folder,
                remedy='Name it in tokenizer_config.json as eos_token, or use encoder.kind = "transformer".',
            )

    @staticmethod
    def describe(settings: EncoderSettings, folder: str) -> About:
        """What is known without loading it."""
        return About(_identity(settings, folder), read_licence(folder), model_files(folder, deep=False))

    @property
    def identity(self) -> str:
        """Weights, pooling and length; the device and the batch size do not matter."""
        return _identity(self._settings, self._folder)

    @property
    def licence(self) -> str:
        """As the model card states it."""
        return read_licence(self._folder)

    def encode(self, texts: Sequence[str], prompt: str = "") -> Embedded:
        """See `Encoder.encode`. The cost is that of the padded tokens; texts are batched by length."""
        if not texts:
            return Embedded(np.zeros((0, self.width), np.float32), np.zeros(0, bool))
        pieces = self.tokenize([prompt + text for text in texts] if prompt else list(texts))
        lengths = np.array([len(ids) for ids in pieces.ids])
        vector_PD = self.encode_tokens(pieces.ids)
        if len(lengths) > len(texts):
            vector_PD = _mean_of_pieces(vector_PD, lengths, pieces.owner_P, len(texts))
        prompt_ids = self._tokenizer(prompt)["input_ids"] if prompt else ()
        vector_PD[without_words(pieces.ids, self._silent, prompt_ids, pieces.owner_P)] = 0
        return Embedded(finish(vector_PD, texts), pieces.cut_B)

    def encode_tokens(self, ids: Sequence[Sequence[int]]) -> np.ndarray:
        """Pooled vectors of texts that are token ids, float32 (P, D) of any length; zeros where a text has none."""
        lengths = np.array([len(row) for row in ids], np.int64)
        vector_PD = np.zeros((len(lengths), self.width), np.float32)
        some = np.flatnonzero(lengths)
        for batch in length_batches(lengths[some], self._budget):
            vector_PD[some[batch]] = self._forward([list(ids[row]) for row in some[batch]])
        return vector_PD

    def save(self, folder: Path) -> None:
        """Writes model and tokenizer in Hugging Face layout (safetensors), with the model card's licence."""
        self.model.save_pretrained(folder)
        self._tokenizer.save_pretrained(folder)
        (folder / "README.md").write_text(f"---\nlicense: {self.licence}\n---\n")

    def tokenize(self, texts: list[str]) -> Pieces:
        """Token ids as the model reads them, cut or in pieces as `encoder.long` says."""
        limit, cut = self._settings.max_tokens, self._settings.long == "cut"
        short_B = np.zeros(len(texts), bool)
        if cut:
            texts, short_B = shorten(texts, limit)
        room = limit - 1 if self._causal else limit
        encoded = self._tokenizer(
            texts,
            truncation=True,
            max_length=room,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_overflowing_tokens=True,
        )
        owner = np.array(encoded["overflow_to_sample_mapping"])
        count_B = np.bincount(owner, minlength=len(texts))
        ids: list[list[int]] = encoded["input_ids"]
        if cut:
            first = np.unique(owner, return_index=True)[1]
            ids, owner = [ids[row] for row in first], owner[first]
        if self._causal:
            end = self._tokenizer.eos_token_id
            ids = [row if row and row[-1] == end else [*row, end] for row in ids]
        return Pieces(ids, owner, short_B | ((count_B > 1) & cut))

    @torch.inference_mode()
    def _forward(self, ids: list[list[int]]) -> np.ndarray:
        width = max(map(len, ids))
        pad = self._tokenizer.pad_token_id or 0
        token_BT = torch.tensor([row + [pad] * (width - len(row)) for row in ids], device=self._device)
        length_B = torch.tensor([len(row) for row in ids], device=self._device)
        mask_BT = torch.arange(width, device=self._device)[None, :] < length_B[:, None]
        try:
            hidden_BTD = self.model(
                input_ids=token_BT, attention_mask=mask_BT.long(), **self._asked
            ).last_hidden_state
            return pool(hidden_BTD, mask_BT, self.pooling).float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            if len(ids) == 1:
                raise CapacityError(
                    "the GPU cannot hold a single text",
                    got=f"{width} tokens",
                    remedy="Lower encoder.max_tokens.",
                ) from error
        half = len(ids) // 2  # not in the handler, whose error keeps the activations that did not fit
        return np.concatenate([self._forward(ids[:half]), self._forward(ids[half:])])


def _identity(settings: EncoderSettings, folder: str) -> str:
    causal = settings.kind == "causal"
    facts = [weights_digest(folder), _pooling(settings), settings.max_tokens, settings.long, causal]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _pooling(settings: EncoderSettings) -> str:
    return "last" if settings.kind == "causal" else settings.pooling


def batch_budget(device: str) -> int:
    """Padded tokens of one forward pass: what fits a core's caches, or keeps a GPU busy."""
    return 1_536 if device == "cpu" else 16_384


def pick_device(name: str) -> str:
    """The device itself; `auto` is CUDA, then MPS, then the CPU, as there is one."""
    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check_max_tokens(max_tokens: int, most: int | None) -> None:
    """Refuses a length that the model has no positions for, or that leaves no room for a text."""
    if max_tokens < FEWEST_TOKENS or (most is not None and max_tokens > most):
        raise SettingsError(
            "encoder.max_tokens does not fit the model",
            got=max_tokens,
            expected=f"{FEWEST_TOKENS} to {most}" if most else f"at least {FEWEST_TOKENS}",
        )


def _load(folder: str, device: str, causal: bool) -> tuple[Any, Any]:
    dtype = torch.bfloat16 if causal and device != "cpu" else torch.float32
    transformers_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model, loaded = AutoModel.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    except Exception as error:
        raise SettingsError(
            f"the encoder cannot be loaded: {(str(error).splitlines() or [''])[0][:200]}",
            got=folder,
            remedy="Check encoder.path: a Hugging Face name (needs the hub or its cache) or a folder with weights.",
        ) from error
    # A missing tensor would silently be random; pooling heads are not used here and often left out.
    missing = [name for name in loaded["missing_keys"] if "pooler" not in name]
    if missing:
        raise SettingsError(
            "the encoder's weights are incomplete", got=missing[:3], remedy="Fetch the model again."
        )
    return tokenizer, model.to(device).eval()


def pool(hidden_BTD: torch.Tensor, mask_BT: torch.Tensor, pooling: str) -> torch.Tensor:
    """Float (B, D) from float (B, T, D): the mean over tokens, the first one or the last one."""
    if pooling == "cls":
        return hidden_BTD[:, 0]
    if pooling == "last":
        last_B = mask_BT.sum(1) - 1
        return hidden_BTD[torch.arange(len(last_B), device=last_B.device), last_B]
    weight_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTD.dtype)
    return (hidden_BTD * weight_BT1).sum(1) / weight_BT1.sum(1).clamp(min=1)


def _mean_of_pieces(vector_PD: np.ndarray, length_P: np.ndarray, owner_P: np.ndarray, texts: int) -> np.ndarray:
    """A text's vector is the mean of its pieces' unit vectors, weighted by their tokens."""
    unit_PD = vector_PD / np.maximum(np.linalg.norm(vector_PD, axis=1, keepdims=True), 1e-12)
    total_BD = np.zeros((texts, vector_PD.shape[1]), np.float32)
    np.add.at(total_BD, owner_P, unit_PD * length_P[:, None].astype(np.float32))
    return total_BD
