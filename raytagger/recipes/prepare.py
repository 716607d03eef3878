"""The first stage of a recipe that trains: the corpus as token ids and gold labels, the labels as embeddings."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from raytagger.corpus import LabelSet
from raytagger.corpus.labels import read_source_labels
from raytagger.corpus.report import CorpusReport
from raytagger.encoders import Encoder, lazy_encoder
from raytagger.encoders.lazy import loaded
from raytagger.encoders.transformer import TransformerEncoder
from raytagger.errors import SettingsError
from raytagger.fit.inputs import Inputs, Ragged, hide_labels, part_documents
from raytagger.objectives.projection import start_projection
from raytagger.progress import Progress
from raytagger.recipes.fitted import embed_labels, licence_of, missing_labels
from raytagger.recipes.reading import Collected, Read, check_trainable, corpus_files, read_training, source_of_key
from raytagger.schema import FloatArray
from raytagger.settings import FitRun, fingerprint
from raytagger.store import Store, join

DONE, TRAINED = "done.json", "trained_hashes.npy"
STAGE = 4  # raised when it writes other files for the same input


@dataclass(frozen=True)
class Prepared:
    """What the stage made.

    Attributes:
        key: changes with whatever the inputs depend on, which is told by content: the weights of the encoders, too.
        uri: where the inputs lie.
        inputs: the same, loaded.
        trained_hashes: uint64, of the ids of all documents of the training split.
        report: what the corpus looked like.
        left_out: training documents that are not trained on: for a hidden label, and for want of a trained one.
        encoded: labels that were encoded now.
        label_licence: of the label encoder.
    """

    key: str
    uri: str
    inputs: Inputs
    trained_hashes: np.ndarray
    report: CorpusReport
    left_out: tuple[int, int]
    encoded: int
    label_licence: str


class _Corpus(NamedTuple):
    documents: Ragged
    read: Read


def prepare(
    run: FitRun, store: Store, labels: LabelSet, progress: Progress, say: Callable[[str], None]
) -> Prepared:
    """Makes the inputs of a training, or takes those that an earlier attempt has made.

    Encoders are loaded for what is not known yet: neither for their identity nor where all labels are in the bank.

    Raises:
        SettingsError: the document encoder cannot be trained.
        CorpusError: documents cannot be read, or none can be trained on.
    """
    encoder, label_encoder = lazy_encoder(run.encoder, store), lazy_encoder(run.label_encoder, store)
    key = _key(run, store, labels, [encoder.identity, label_encoder.identity])
    uri = join(run.output.bundle, "training", f"inputs-{key}")
    report = CorpusReport(labels)
    if store.exists(join(uri, DONE)):
        say(f"the corpus is prepared already: {uri}")
        return _prepared(key, uri, store, report, 0, licence_of(run, store, label_encoder))
    trainable = _trainable(run, encoder)
    if missing_labels(run, store, label_encoder, labels):
        loaded(label_encoder)  # what is wrong with it is told before the corpus is read
    corpus = _read(run, store, labels, trainable, report, progress)
    banked = embed_labels(run, store, label_encoder, labels, progress)
    own_LD = None
    if run.labels.encoder:
        own_LD = trainable.encode(labels.full_texts).vector_BD
    tokens = Ragged.of(trainable.tokenize(labels.full_texts).ids)
    inputs = _assemble(run, labels, corpus, tokens, banked.vector_LD, own_LD)
    with tempfile.TemporaryDirectory() as folder:
        inputs.save(Path(folder))
        np.save(Path(folder) / TRAINED, corpus.read.hash_N[corpus.read.train_N])
        report.save(Path(folder))
        store.upload(Path(folder), uri)
    store.write_bytes(join(uri, DONE), json.dumps({"left_out": _left_out(corpus.read, inputs)}).encode())
    return _prepared(key, uri, store, report, banked.encoded, licence_of(run, store, label_encoder))


def _left_out(read: Read, inputs: Inputs) -> tuple[int, int]:
    hidden = int((np.asarray(read.gold[read.train_N][:, inputs.hidden_L].sum(1)).ravel() > 0).sum())
    return hidden, len(read.train_N) - len(inputs.train_N) - hidden


def _key(run: FitRun, store: Store, labels: LabelSet, encoders: list[str]) -> str:
    """Changes with whatever the inputs depend on, and with nothing else; encoders count by their identity."""
    files, train = corpus_files(run, store), [run.train.seed, run.train.pseudo_unseen]
    parts = [STAGE, source_of_key(run), run.encoder.prompt, bool(run.labels.encoder)]
    side = replace(run.labels, encoder="", bank="")
    return fingerprint(side, files=files, parts=parts, train=train, labels=labels.fingerprint, by=encoders)


def _prepared(key: str, uri: str, store: Store, report: CorpusReport, encoded: int, licence: str) -> Prepared:
    """Loads what was made, now or by an earlier attempt, with the report of the corpus that it was made of."""
    folder = _local(uri, store)
    report.restore(folder)
    hashes = np.load(folder / TRAINED, allow_pickle=False)
    hidden, untrained = json.loads(store.read_bytes(join(uri, DONE)))["left_out"]
    return Prepared(key, uri, Inputs.load(folder), hashes, report, (hidden, untrained), encoded, licence)


def _local(uri: str, store: Store) -> Path:
    filesystem, path = store.arrow(uri)
    if filesystem.type_name == "local":
        return Path(path)
    folder = Path(tempfile.mkdtemp(prefix="raytagger-inputs-"))
    store.download(uri, folder)
    return folder


def _trainable(run: FitRun, named: Encoder) -> TransformerEncoder:
    encoder = loaded(named)
    if not isinstance(encoder, TransformerEncoder) or run.encoder.kind != "transformer":
        raise SettingsError(
            "this kind of encoder cannot be trained",
            got=run.encoder.kind,
            expected="transformer",
            remedy="Name a Hugging Face model in encoder.path; any kind can be the label encoder.",
        )
    if run.encoder.long != "cut":
        raise SettingsError("encoder.long", got=run.encoder.long, expected="cut, where the encoder is trained")
    return encoder


def _read(
    run: FitRun,
    store: Store,
    labels: LabelSet,
    encoder: TransformerEncoder,
    report: CorpusReport,
    progress: Progress,
) -> _Corpus:
    """One pass over the corpus: training and validation documents as token ids, and their labels."""
    ids: list[list[int]] = []
    collected = Collected()
    for part in read_training(run, store, labels, report, progress):
        if part.texts:
            ids += encoder.tokenize([run.encoder.prompt + text for text in part.texts]).ids
        collected.add(part)
    read = collected.read(run, len(labels))
    check_trainable(read, report)
    return _Corpus(Ragged.of(ids), read)


def _assemble(
    run: FitRun,
    labels: LabelSet,
    corpus: _Corpus,
    tokens: Ragged,
    label_LE: FloatArray,
    own_LD: FloatArray | None,
) -> Inputs:
    usable_L = labels.active_L & np.array([bool(text) for text in labels.full_texts], bool)
    train, (gold, train_N, validation_N, _) = run.train, corpus.read
    hidden_L = hide_labels(gold, train_N, usable_L, train.pseudo_unseen, train.seed)
    parts = part_documents(gold, train_N, validation_N, hidden_L, usable_L, train.seed)
    weight_DE, bias_D = start_projection(label_LE, own_LD)
    return Inputs(
        corpus.documents,
        tokens,
        gold,
        *parts,
        label_LE=label_LE,
        twin_L=_twins(labels.full_texts),
        count_L=np.asarray(gold[parts[0]].sum(0)).ravel().astype(np.int64),
        hidden_L=hidden_L,
        usable_L=usable_L,
        weight_DE=weight_DE,
        bias_D=bias_D,
    )


def _twins(texts: Sequence[str]) -> np.ndarray:
    """The number of each text, int64 (L,), the same for the same text."""
    # Not by numpy, whose array of texts takes for each the room of the longest.
    number: dict[str, int] = {}
    return np.array([number.setdefault(text, len(number)) for text in texts], np.int64)


def read_run_labels(run: FitRun, store: Store) -> LabelSet:
    """The label set of a run."""
    return read_source_labels(store, run.source)
