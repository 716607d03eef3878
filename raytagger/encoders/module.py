"""A transformer as a torch module: what training needs of an encoder that `encode` does not give."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from raytagger.encoders.transformer import TransformerEncoder, pool
from raytagger.errors import SettingsError


class Texts(NamedTuple):
    """Padded texts of a batch.

    Attributes:
        value: int64 (B, T) token ids, or float (B, T, D) what the frozen lower layers gave.
        mask_BT: bool (B, T), True where there is a token.
    """

    value: torch.Tensor
    mask_BT: torch.Tensor


class DocumentEncoder(torch.nn.Module):
    """A transformer's layers with its pooling; the lowest `frozen_layers` and the embeddings are never trained.

    With frozen layers `forward` reads what `lower` gave, so that it can be computed once and kept.

    Raises:
        SettingsError: the model's layers cannot be found, or fewer layers than are to be frozen.
    """

    def __init__(self, encoder: TransformerEncoder, frozen_layers: int) -> None:
        super().__init__()
        self._pooling, self.frozen_layers = encoder.pooling, frozen_layers
        self.model: Any = encoder.model
        for name, value in self.model.named_parameters():
            if "pooler" in name:  # no pooling here reads it
                value.requires_grad_(False)
        self._lower: tuple[Any, ...] = ()  # a tuple, so that its weights are not counted as this module's
        if frozen_layers:
            self._lower = (_cut(self.model, frozen_layers),)
            self.model = _without_lower(self.model, frozen_layers)

    def forward(self, texts: Texts) -> torch.Tensor:
        """Float (B, D), pooled and not yet of unit length."""
        mask_BT = texts.mask_BT.long()
        if self.frozen_layers:
            hidden = self.model(inputs_embeds=texts.value, attention_mask=mask_BT).last_hidden_state
        else:
            hidden = self.model(input_ids=texts.value, attention_mask=mask_BT).last_hidden_state
        return pool(hidden, texts.mask_BT, self._pooling)

    @torch.inference_mode()
    def lower(self, texts: Texts) -> torch.Tensor:
        """Float (B, T, D), what the frozen layers give, always without dropout."""
        model = self._lower[0].eval()
        return model(input_ids=texts.value, attention_mask=texts.mask_BT.long()).last_hidden_state


def pad_rows(rows: Sequence[np.ndarray], device: torch.device | str) -> Texts:
    """Pads rows of token ids (T,) or of hidden states (T, D) to the longest."""
    length_B = np.array([len(row) for row in rows])
    value = np.zeros((len(rows), int(length_B.max()), *rows[0].shape[1:]), _wide(rows[0].dtype))
    for place, row in enumerate(rows):
        value[place, : len(row)] = row
    mask_BT = np.arange(value.shape[1])[None, :] < length_B[:, None]
    return Texts(torch.from_numpy(value).to(device), torch.from_numpy(mask_BT).to(device))


def _wide(kind: np.dtype) -> np.dtype:
    return np.dtype(np.int64) if kind.kind == "i" else np.dtype(np.float32)


class _Passed(torch.nn.Module):
    """Stands where the embeddings were: hands on what the lower layers gave."""

    def forward(self, *_: Any, inputs_embeds: torch.Tensor, **__: Any) -> torch.Tensor:
        return inputs_embeds


def _layers(model: Any) -> tuple[Any, str, torch.nn.ModuleList]:
    """The layers and where they hang: `encoder.layer` in BERT's family, `transformer.layer` in DistilBERT."""
    for stack_name in ("encoder", "transformer"):
        stack = getattr(model, stack_name, None)
        layers = getattr(stack, "layer", None)
        if isinstance(layers, torch.nn.ModuleList) and hasattr(model, "embeddings"):
            return stack, stack_name, layers
    raise SettingsError(
        "train.frozen_layers: the layers of this model cannot be found",
        got=type(model).__name__,
        expected="a model of the BERT family",
        remedy="Set train.frozen_layers = 0.",
    )


def _cut(model: Any, layers: int) -> Any:
    """A copy of the embeddings and the lowest layers."""
    stack, _, every = _layers(model)
    if not 0 < layers < len(every):
        raise SettingsError("train.frozen_layers", got=layers, expected=f"0 to {len(every) - 1}")
    stack.layer = every[:layers]
    lower = copy.deepcopy(model).requires_grad_(False)
    stack.layer = every
    return lower


def _without_lower(model: Any, layers: int) -> Any:
    """The upper layers as a model of their own that shares their weights with the whole."""
    _, stack_name, every = _layers(model)
    upper = _shallow(model.requires_grad_(False))  # what the stack shares between layers stays as it is
    every[layers:].requires_grad_(True)
    stack = _shallow(getattr(upper, stack_name))
    stack.layer = every[layers:]
    setattr(upper, stack_name, stack)
    upper.embeddings = _Passed()
    return upper


def _shallow(module: Any) -> Any:
    copied = copy.copy(module)
    copied._modules = dict(module._modules)
    return copied
