"""OF-DE, the whole method: one-sided fine-tuning against frozen label embeddings.

prepare   documents as token ids, labels as frozen embeddings from the bank; rare seen labels are hidden
train     document encoder and label projection by Ray Train, with checkpoints in object storage
publish   the trained encoder, the projected labels, the label encoder for labels to come, the log of the training

Every stage is kept under `output.bundle/training`; a killed run started again goes on from the last complete one.

Source: "Preserving Zero-shot Capability in Supervised Fine-tuning for Multi-label Text Classification", sections
4.2, 4.4, 4.5 and appendices C and D.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from raytagger.bundle import write_card, write_labels, write_trained
from raytagger.bundle.dense import save_label_encoder
from raytagger.corpus import LabelSet
from raytagger.encoders import lazy_encoder, save_encoder
from raytagger.encoders.transformer import TransformerEncoder
from raytagger.errors import SettingsError
from raytagger.fit.batches import make_batches
from raytagger.fit.checkpoint import set_weights
from raytagger.fit.guard import check_guard
from raytagger.fit.here import train_here
from raytagger.fit.inputs import Inputs
from raytagger.fit.job import FitJob, Place
from raytagger.fit.onesided import OneSidedTask, build_module, choose_labels, project
from raytagger.fit.training import Trained, run_uri
from raytagger.objectives.losses import find_loss
from raytagger.progress import Progress, silent, unsaid
from raytagger.recipes.fitted import Fitted, check_places, held_out_share, index_labels
from raytagger.recipes.prepare import Prepared, prepare, read_run_labels
from raytagger.recipes.reading import corpus_bytes
from raytagger.recipes.tags import publish_tagger
from raytagger.schema import FloatArray
from raytagger.search.approximate import QUERIES_AT_MOST
from raytagger.settings import FitRun, fingerprint
from raytagger.store import Store, absolute
from raytagger.stream.executor import at_work, ray_is_up


def fit_ofde(run: FitRun, progress: Progress = silent, say: Callable[[str], None] = unsaid) -> Fitted:
    """Makes a bundle of kind `dense`.

    Raises:
        SettingsError: a setting is impossible, or the document encoder cannot be trained.
        CorpusError: documents or labels cannot be read, or none can be trained on.
    """
    _check(run)
    store, started = Store(run.storage), time.perf_counter()
    labels = read_run_labels(run, store)
    prepared = prepare(run, store, labels, progress, say)
    job = _job(run, prepared)
    with at_work(run.cluster, corpus_bytes(run, store)):
        say(_story(run, prepared, job))
        trained = _train(run, job, _key(run, prepared), progress, say)
    version = _publish(run, store, labels, prepared, job, trained, progress)
    count = int(prepared.inputs.trained_L.sum())
    seconds = time.perf_counter() - started
    return Fitted(run.output.bundle, version, len(labels), count, prepared.encoded, prepared.report, seconds)


def _train(run: FitRun, job: FitJob, key: str, progress: Progress, say: Callable[[str], None]) -> Trained:
    bundle = absolute(run.output.bundle)
    if not ray_is_up():
        return train_here(job, make_task, run_uri(bundle, key, "here"), progress, say)
    from raytagger.fit.run import train

    uri = run_uri(bundle, key, _workers(run))
    return train(job, make_task, uri, run.cluster, progress, say)


def _workers(run: FitRun) -> int:
    if not ray_is_up():
        return 1
    from raytagger.fit.run import count_workers

    return count_workers(run.cluster, run.train.batch_size)


def _key(run: FitRun, prepared: Prepared) -> str:
    """Changes with whatever the training depends on; the encoders and the inputs count by content, not by place."""
    encoder, switches = replace(run.encoder, path=""), replace(run.labels, encoder="", bank="")
    return fingerprint(run.train, inputs=prepared.key, encoder=encoder, labels=switches)


def _job(run: FitRun, prepared: Prepared) -> FitJob:
    """What the workers are given: places that mean the same in the working directory of each."""
    encoder, switches = run.encoder, (run.labels.unseen_in_negatives, run.labels.unseen_in_auxiliary)
    if Path(encoder.path).expanduser().is_dir():
        encoder = replace(encoder, path=absolute(encoder.path))
    return FitJob(absolute(prepared.uri), encoder, run.train, run.storage, *switches)


def make_task(job: FitJob, place: Place, inputs: Inputs, cache: Path, progress: Progress) -> OneSidedTask:
    """What every worker of the training makes."""
    return OneSidedTask(job, place, inputs, cache, progress)


def _check(run: FitRun) -> None:
    check_places(run)
    check_guard(run.train.guard)
    find_loss(run.train.loss)
    if not run.source.documents:
        raise SettingsError("source.documents is empty", expected="labelled documents to train on")
    if run.search.kind not in ("dense", "mean"):  # `mean` is the default, meant for frozen taggers
        raise SettingsError("search.kind", got=run.search.kind, expected="dense")
    if run.train.epochs < 1 or run.train.batch_size < 1:
        got = (run.train.epochs, run.train.batch_size)
        raise SettingsError("train.epochs and train.batch_size", got=got, expected="1 or more")
    if run.train.temperature <= 0:
        raise SettingsError("train.temperature", got=run.train.temperature, expected="more than 0")


def _story(run: FitRun, prepared: Prepared, job: FitJob) -> str:
    inputs = prepared.inputs
    told = (
        f"{len(inputs.train_N):,} training documents, {int(inputs.trained_L.sum()):,} labels trained, "
        f"{int(inputs.unseen_L.sum()):,} unseen; {int(inputs.hidden_L.sum()):,} rare labels hidden to "
        f"measure zero-shot on {len(inputs.held_N):,} documents; {len(inputs.validation_N):,} validation documents"
        f"; left out: {_left_out(run, prepared, job)}"
    )
    if run.train.pseudo_unseen and not inputs.hidden_L.any():
        told += (
            "\nwarning: no label could be hidden to measure zero-shot, and train.guard is off: train.pseudo_unseen "
            "is less than a label, too few have three documents, or theirs are more than a twentieth of all"
        )
    return told


def _left_out(run: FitRun, prepared: Prepared, job: FitJob) -> str:
    """What is not trained on, or not in every epoch."""
    train, workers = run.train, _workers(run)
    hidden, untrained = prepared.left_out
    odd = make_batches(len(prepared.inputs.train_N), train.batch_size, workers, train.seed).odd
    texts = len(choose_labels(job, prepared.inputs)[1]) if train.auxiliary else 0
    odd_texts = make_batches(texts, train.batch_size, workers, train.seed, or_none=True).odd if texts else 0
    return (
        f"{hidden:,} training documents that have a hidden label, {untrained:,} without a trained label; and "
        f"of each epoch {odd:,} documents and {odd_texts:,} label texts, others each time, that fill no step"
    )


def _publish(
    run: FitRun,
    store: Store,
    labels: LabelSet,
    prepared: Prepared,
    job: FitJob,
    trained: Trained,
    progress: Progress,
) -> str:
    inputs = prepared.inputs
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        licences, index = _write_model(run, store, job, inputs, trained, folder)
        licences.setdefault(run.label_encoder.path, prepared.label_licence)
        count_L = np.where(inputs.trained_L, inputs.count_L, 0)
        write_labels(folder, labels, count_L)
        write_trained(folder, prepared.trained_hashes)
        training = training_log(inputs, trained)
        (folder / "training.json").write_text(json.dumps(training, indent=1) + "\n")
        chosen = trained.state.outcome["chosen"]
        _card(folder, run, labels, count_L, licences, chosen)
        facts = {
            "kind": "dense",
            "label_set": labels.fingerprint,
            "labels": len(labels),
            "trained_labels": {labels.ids[row]: int(count_L[row]) for row in np.flatnonzero(count_L)},
            "train_documents": len(inputs.train_N),
            "held_out": held_out_share(run, prepared.report),
            "calibrated": False,
            "metrics": {"validation": chosen},
            "index": index,
            "licences": licences,
        }
        return publish_tagger(folder, facts, run, store, labels, prepared.report, progress)


def _write_model(
    run: FitRun, store: Store, job: FitJob, inputs: Inputs, trained: Trained, folder: Path
) -> tuple[dict[str, str], dict[str, Any] | None]:
    """Encoder, projection, projected labels before and after, their index, and the label encoder.

    Returns:
        The licences, and what the manifest keeps of the index.
    """
    encoder, module = build_module(job, Place(), inputs)
    np.save(folder / "label_start_LD.npy", project(module, inputs).astype(np.float16))
    set_weights(module, trained.weights)
    label_LD = project(module, inputs)
    np.save(folder / "label_LD.npy", label_LD.astype(np.float16))
    np.save(folder / "projection_DE.npy", module.projection.weight.detach().numpy())
    np.save(folder / "projection_D.npy", module.projection.bias.detach().numpy())
    save_encoder(encoder, run.encoder, folder / "encoder")
    save_label_encoder(lazy_encoder(run.label_encoder, store), run, folder / "label_encoder")
    index = index_labels(run, label_LD, folder, lambda: _queries(encoder, inputs))
    return {run.encoder.path: encoder.licence}, index


def _queries(encoder: TransformerEncoder, inputs: Inputs) -> FloatArray:
    """Some documents by the trained encoder, float32 (Q, D), unit rows: of validation where there are any."""
    rows = inputs.validation_N if len(inputs.validation_N) else inputs.train_N
    rows = rows[:: max(1, len(rows) // QUERIES_AT_MOST)][:QUERIES_AT_MOST]
    doc_QD = encoder.encode_tokens([inputs.documents.row(row).tolist() for row in rows])
    return doc_QD / np.maximum(np.linalg.norm(doc_QD, axis=1, keepdims=True), 1e-12)


def training_log(inputs: Inputs, trained: Trained) -> dict[str, Any]:
    """What the report reads: every evaluation, the guard's decision, and what training took."""
    state = trained.state
    guard = {key: value for key, value in state.outcome.items() if key != "chosen"}
    return {
        "evaluations": state.evaluations,
        "pseudo_unseen_labels": int(inputs.hidden_L.sum()),
        "pseudo_unseen_documents": len(inputs.held_N),
        "validation_documents": len(inputs.validation_N),
        "guard": guard,
        "chosen": state.outcome["chosen"],
        "chosen_step": state.best_step,
        "steps": state.step,
        "seconds": state.seconds,
        "cpu_s": state.cpu_s,
        "workers": trained.workers,
    }


def _card(
    folder: Path,
    run: FitRun,
    labels: LabelSet,
    count_L: np.ndarray,
    licences: dict[str, str],
    chosen: dict[str, Any],
) -> None:
    write_card(
        folder,
        f"OF-DE tagger over {len(labels)} labels",
        [
            ("document encoder", run.encoder.path),
            ("frozen label encoder", run.label_encoder.path),
            ("labels with training documents", int((count_L > 0).sum())),
            ("on the validation split", chosen),
            ("licences of the models inside", licences or "none"),
        ],
    )
