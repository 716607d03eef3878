"""The parts that runs are made of. Each field's comment is its documentation; docs/settings.md repeats it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SourceSettings:
    """Where documents and labels come from, and which of them are taken."""

    documents: str = ""  # file, directory or s3:// prefix; Parquet, JSONL, CSV or XMC-repository files
    labels: str = ""  # label file in one of the same formats
    fields: tuple[str, ...] = ()  # columns joined by ". " to a document's text; empty: the column `text`
    columns: tuple[str, ...] = ()  # further columns to carry through
    format: str = ""  # parquet, jsonl, json, csv, tsv, xmc-json, xmc-sparse; empty: by the file's ending
    train_split: str = "train"
    validation_split: str = "val"
    max_bytes: int = 5_000_000  # a longer document is rejected as `too_long`
    max_reject_share: float = 0.01  # a run with a larger share of rejects fails with exit code 3


@dataclass(frozen=True)
class EncoderSettings:
    """The document encoder."""

    path: str = "sentence-transformers/all-MiniLM-L6-v2"  # Hugging Face name, local or s3:// folder, or URL
    kind: str = "transformer"  # transformer, causal, sentence-transformers, static, http, or a plugin's name
    max_tokens: int = 128
    pooling: str = "mean"  # mean, cls or last; `causal` always takes the last token
    long: str = "cut"  # cut: the first max_tokens; mean: chunks of max_tokens, pooled
    prompt: str = ""  # put before every document
    model: str = ""  # http: the model's name in the request
    batch_tokens: int = 0  # padded tokens of one forward pass; 0: 1,536 on a CPU, 16,384 on a GPU
    device: str = "auto"  # auto, cpu, cuda, mps
    key_variable: str = "OPENAI_API_KEY"  # http: the environment variable that holds the bearer token


@dataclass(frozen=True)
class LabelSettings:
    """The label side."""

    encoder: str = ""  # the frozen label encoder's path; empty: the document encoder
    prompt: str = ""  # put before every label text
    bank: str = ""  # where label embeddings are kept; empty: `bank` beside the bundle


@dataclass(frozen=True)
class SearchSettings:
    """How labels are found for a document, and which of them are kept as its tags."""

    kind: str = "mean"  # dense, tfidf, mean (of both cosines), bm25, popularity
    k: int = 5  # tags kept a document, 50 at most
    threshold: float | None = None  # keep only tags with at least this score


@dataclass(frozen=True)
class ClusterSettings:
    """What a run takes of the cluster."""

    workers: int = 0  # tagging processes; 0: as many as the cluster's CPUs (or GPUs) carry
    use_gpu: bool = False
    chunk_documents: int = 1024  # documents that are tagged and written as one unit
    address: str = ""  # a running Ray; empty: RAY_ADDRESS, else one started for the run


@dataclass(frozen=True)
class StorageSettings:
    """Object storage where the environment does not say."""

    endpoint: str = ""  # empty: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, else AWS itself
    region: str = ""  # empty: AWS_REGION, AWS_DEFAULT_REGION, else us-east-1


@dataclass(frozen=True)
class OutputSettings:
    """Where the result lands."""

    bundle: str = ""
