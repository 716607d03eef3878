"""A tiny trainable encoder, and a training over the small corpus that takes seconds."""

from pathlib import Path

import torch
from transformers import AutoTokenizer, BertConfig, BertModel, Qwen2Config, Qwen2Model

from raytagger.corpus.output import SMALL
from raytagger.encoders.locate import locate
from raytagger.settings import (
    ClusterSettings,
    EncoderSettings,
    FitRun,
    OutputSettings,
    SourceSettings,
    TrainSettings,
)
from raytagger.store import Store

# A training that keeps what it trained: a guard may mix in so much of the start that trainings cannot differ.
UNGUARDED = {"guard": "off", "pseudo_unseen": 0.0}
MINILM = "sentence-transformers/all-MiniLM-L6-v2"


def tiny_encoder(folder: Path) -> EncoderSettings:
    """A two-layer BERT with random weights and MiniLM's tokenizer, written to a folder."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30522, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    BertModel(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(locate(MINILM, Store())).save_pretrained(folder)
    return EncoderSettings(path=str(folder), max_tokens=16, device="cpu")


def tiny_decoder(folder: Path) -> EncoderSettings:
    """A two-layer decoder with random weights and MiniLM's tokenizer, as a stand-in for 7B-class embedders."""
    torch.manual_seed(0)
    size = {"vocab_size": 30522, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256}
    Qwen2Model(Qwen2Config(**size, **heads, initializer_range=0.5)).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(locate(MINILM, Store()))
    tokenizer.eos_token = "[SEP]"
    tokenizer.save_pretrained(folder)
    return EncoderSettings(path=str(folder), kind="causal", max_tokens=48, device="cpu")


def tiny_run(encoder: EncoderSettings, out: str, workers: int = 1, **train) -> FitRun:
    """OF-DE over the small corpus: eight steps of sixteen documents."""
    values = {"epochs": 1, "max_steps": 8, "batch_size": 16, "evaluations": 2, "learning_rate": 1e-3} | train
    return FitRun(
        method="ofde",
        source=SourceSettings(documents=str(SMALL / "docs.jsonl"), labels=str(SMALL / "labels.jsonl")),
        encoder=encoder,
        train=TrainSettings(**values),
        cluster=ClusterSettings(workers=workers),
        output=OutputSettings(out),
    )
