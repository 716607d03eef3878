"""XML0, the whole method: seen labels by a base, unseen ones by fusing what the base says, and by text.

base       a bundle that knows the seen labels: named, or fitted first by this run's settings
draw       rare seen labels stand in for unseen ones                          recipes/xml0_weight.py
encoder    a sentence encoder for label and document texts; if asked, fine-tuned on pairs   fit/pairs.py
embed      label texts and the documents that are measured, through the bank
weigh      probabilities of the base, the weight of fusion, probabilities of unseen labels
publish    base, encoder, label embeddings and numbers as one bundle

Source: XML0 (Ostapuk et al. 2023), sections III and IV. Not said there, so chosen here: the threshold (0.1) and the
most labels that are fused (12); how the two scores are combined (a weighted sum of deviations from their means, the
weight by UR@1 on hidden labels); and whether label fusion reads the fine-tuned encoder (it does: there is one).
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from raytagger.bundle import (
    Tagger,
    load,
    open_bundle,
    text_settings,
    write_card,
    write_labels,
    write_trained,
)
from raytagger.bundle.trained import trained_hashes
from raytagger.bundle.xml0 import Mixture, Xml0Tagger, fusion_options, texts_alone, write_numbers
from raytagger.calibration import Curve
from raytagger.corpus import LabelSet
from raytagger.corpus.labels import read_source_labels
from raytagger.corpus.report import CorpusReport
from raytagger.encoders import Encoder, lazy_encoder, open_encoder, save_encoder
from raytagger.encoders.encoder import Embedded
from raytagger.encoders.lazy import loaded
from raytagger.encoders.transformer import TransformerEncoder
from raytagger.errors import SettingsError
from raytagger.fit.pairs import TextPairs, Tuning, draw_pairs, tune_on_pairs
from raytagger.progress import Progress, silent, unsaid
from raytagger.recipes.blend_documents import choose_documents, refuse_trained, survey
from raytagger.recipes.fitted import Fitted, check_places, embed_documents, embed_labels, held_out_share
from raytagger.recipes.inside import INSIDE, fit_inside
from raytagger.recipes.reading import Read, corpus_files, read_training, source_of_key
from raytagger.recipes.stages import Stages
from raytagger.recipes.tags import publish_tagger
from raytagger.recipes.xml0_weight import (
    DEPTH,
    FIXED,
    Chosen,
    Known,
    choose,
    draw_hidden,
    fit_probabilities,
    score_folds,
)
from raytagger.settings import FitRun, fingerprint
from raytagger.store import Store, join

COMBINATIONS = ("xml0", *FIXED)
FIRST_SCALES = Mixture(0.0, (0.0, 1.0), (0.0, 1.0), 1.0, 0.0)


@dataclass(frozen=True)
class Job:
    """A run, its label set and where it tells of itself."""

    run: FitRun
    store: Store
    labels: LabelSet
    report: CorpusReport
    progress: Progress
    say: Callable[[str], None]


def fit_xml0(run: FitRun, progress: Progress = silent, say: Callable[[str], None] = unsaid) -> Fitted:
    """Makes a bundle of kind `xml0`.

    Raises:
        SettingsError: a setting is impossible, or the base has another label set, reads another text or was
            trained on validation documents.
        BundleError: the base is missing.
        CorpusError: documents cannot be read, or there is no validation document with a label.
    """
    check_xml0(run)
    store, started = Store(run.storage), time.perf_counter()
    labels = read_source_labels(store, run.source)
    inside = None if run.xml0.base else fit_inside(run, run.xml0.base_method, progress, say)
    place = inside.bundle if inside else run.xml0.base
    base = load(place, store, run.encoder.device)
    _check_base(labels, base, place)
    run = replace(run, source=text_settings(base.manifest, run.source))
    job = Job(run, store, labels, CorpusReport(labels), progress, say)
    surveyed = survey(run, store, labels, job.report, progress)
    refuse_trained(run, {run.xml0.base: base} if run.xml0.base else {}, surveyed, job.report)
    if inside:
        job.report.add_refused(inside.report)
    gold = sp.csr_matrix(surveyed.gold[surveyed.train_N])
    pseudo_J = draw_hidden(gold, base.train_count_L, labels.predictable_L, run.train.seed)
    encoder = _make_encoder(job, surveyed, base, pseudo_J)
    banked = embed_labels(run, store, encoder, labels, progress)
    draft = Xml0Tagger(
        bundle_id="draft",
        manifest=base.manifest,
        labels=labels,
        train_count_L=base.train_count_L,
        run=run,
        base=base,
        encoder=encoder,
        label_LE=texts_alone(banked.vector_LD, labels.full_texts),
        curve=None,
        mixture=FIRST_SCALES,
        options=fusion_options(run),
    )
    tagger, chosen = _weigh(job, draft, surveyed, pseudo_J)
    trained_on = np.union1d(trained_hashes(base), surveyed.hash_N[surveyed.train_N])
    version = _publish(job, place, tagger, chosen, trained_on)
    trained, seconds = int(tagger.seen_L.sum()), time.perf_counter() - started
    encoded = banked.encoded + (inside.encoded_labels if inside else 0)
    return Fitted(run.output.bundle, version, len(labels), trained, encoded, job.report, seconds)


def check_xml0(run: FitRun) -> None:
    """Refuses impossible settings before anything is read.

    Raises:
        SettingsError: names the setting.
    """
    check_places(run)
    fusion_options(run)
    if not run.source.documents:
        raise SettingsError("source.documents is empty", expected="labelled documents with a validation split")
    if run.xml0.combination not in COMBINATIONS:
        raise SettingsError("xml0.combination", got=run.xml0.combination, expected=", ".join(COMBINATIONS))
    if not run.xml0.base and run.xml0.base_method not in INSIDE:
        raise SettingsError("xml0.base_method", got=run.xml0.base_method, expected=", ".join(INSIDE))
    if run.labels.encoder not in ("", run.encoder.path):
        raise SettingsError(
            "labels.encoder must be the document encoder for xml0",
            got=run.labels.encoder,
            expected=run.encoder.path,
            remedy="Documents and labels are compared in one space.",
        )
    if run.xml0.pairs < 0 or not run.xml0.learning_rate > 0:
        got = f"{run.xml0.pairs} pairs, learning rate {run.xml0.learning_rate}"
        raise SettingsError("xml0.pairs and xml0.learning_rate", got=got, expected="0 or more, and more than 0")
    if run.xml0.pairs and run.encoder.kind != "transformer":
        raise SettingsError(
            "this kind of encoder cannot be fine-tuned on pairs",
            got=run.encoder.kind,
            expected="transformer",
            remedy="Set xml0.pairs = 0, or name a Hugging Face model in encoder.path.",
        )
    if run.xml0.pairs and run.encoder.long != "cut":
        raise SettingsError(
            "encoder.long", got=run.encoder.long, expected="cut, where the encoder is tuned on pairs"
        )


def _check_base(labels: LabelSet, base: Tagger, place: str) -> None:
    if base.labels.fingerprint != labels.fingerprint:
        raise SettingsError(
            f"the base {place} has another label set than source.labels",
            got=base.labels.fingerprint,
            expected=labels.fingerprint,
            remedy="Fit the base on the same label file.",
        )


def _make_encoder(job: Job, surveyed: Read, base: Tagger, pseudo_J: np.ndarray) -> Encoder:
    """The sentence encoder as it is, or fine-tuned; hidden labels take no part in that."""
    run, encoder = job.run, lazy_encoder(job.run.encoder, job.store)
    if not run.xml0.pairs:
        return encoder
    files = corpus_files(run, job.store)
    parts = [job.labels.fingerprint, run.train.seed, run.train.batch_size]
    parts += [encoder.identity, run.encoder.prompt, run.labels.prompt, run.xml0.pairs, run.xml0.learning_rate]
    label_J = np.setdiff1d(np.flatnonzero((base.train_count_L > 0) & job.labels.predictable_L), pseudo_J)
    stages = Stages(job.store, join(run.output.bundle, "training"), job.say)
    key = fingerprint(source_of_key(run), files=files, parts=[*parts, label_J.tolist()])
    made = stages.folder("encoder", key, lambda folder: _tune(job, surveyed, encoder, label_J, folder))
    return open_encoder(made, run.encoder.device)


def _tune(job: Job, surveyed: Read, encoder: Encoder, label_J: np.ndarray, folder: Path) -> None:
    """Fine-tunes the encoder on pairs with some labels, and keeps it."""
    run, encoder = job.run, loaded(encoder)
    assert isinstance(encoder, TransformerEncoder)
    gold = sp.csr_matrix(surveyed.gold[surveyed.train_N])
    pairs = draw_pairs(gold, label_J, run.xml0.pairs, run.train.seed)
    rows_P = surveyed.train_N[pairs.document_P]
    text_of = _read_texts(job, rows_P)
    left = [run.encoder.prompt + text_of[row] for row in rows_P.tolist()]
    right = [run.labels.prompt + job.labels.full_texts[label] for label in pairs.label_P]
    tuning = Tuning(run.xml0.learning_rate, run.train.batch_size, run.train.seed)
    losses = tune_on_pairs(encoder, TextPairs(left, right, pairs.right_P), tuning, job.progress)
    tenth = max(1, len(losses) // 10)
    job.say(
        f"{len(pairs.right_P):,} pairs: squared distance of cosines {np.mean(losses[:tenth]):.3f} at first, "
        f"{np.mean(losses[-tenth:]):.3f} at last"
    )
    save_encoder(encoder, run.encoder, folder)


def _read_texts(job: Job, rows: np.ndarray) -> dict[int, str]:
    """The texts of some documents, by their place in the corpus."""
    wanted, position, found = set(rows.tolist()), 0, dict[int, str]()
    for part in read_training(job.run, job.store, job.labels, CorpusReport(job.labels), silent):
        found |= {row: text for row, text in enumerate(part.texts, position) if row in wanted}
        position += len(part.texts)
    return found


def _weigh(job: Job, draft: Xml0Tagger, surveyed: Read, pseudo_J: np.ndarray) -> tuple[Xml0Tagger, Chosen]:
    """The tagger with its probabilities and weight."""
    run = replace(job.run, blend=replace(job.run.blend, documents=0))  # no training document without a hidden label
    documents = choose_documents(run, job.store, job.labels, surveyed, pseudo_J)
    texts = dict(zip(documents.ids, documents.texts, strict=True))
    vector_GE, good = embed_documents(run, job.store, draft.encoder, texts, job.report, job.progress)
    documents, read = documents.take(good), Embedded(vector_GE, np.zeros(len(good), bool))  # cuts are not kept
    features = draft.encode_read(documents.texts, read)
    known = Known(features, documents.gold, documents.validation_B, documents.weight_B)
    curve = None
    if not draft.base.manifest.get("calibrated"):
        curve = fit_probabilities(draft.search_seen(features.base, DEPTH), known)
    draft = replace(draft, curve=curve)
    folds = score_folds(draft, known, pseudo_J, run.train.seed, job.progress)
    chosen = choose(run.xml0.combination, folds, documents.weight_B, run.train.seed)
    _tell(job, chosen, curve, len(pseudo_J), documents.validation_B)
    return replace(draft, mixture=chosen.mixture), chosen


def _tell(job: Job, chosen: Chosen, curve: Curve | None, hidden: int, validation_B: np.ndarray) -> None:
    say = job.say
    how = "as it says" if curve is None else f"by a curve ({curve.how})"
    say(
        f"{int(validation_B.sum()):,} validation documents and {int((~validation_B).sum()):,} training documents, "
        f"{hidden} hidden labels; probabilities of the base {how}"
    )
    if not chosen.curve:
        say(f"too little to measure: weight {chosen.mixture.weight}, probabilities of unseen labels are a guess")
        return
    say("UR@1 of hidden labels by weight: " + ", ".join(f"{w} {100 * v:.1f}" for w, v in chosen.curve.items()))
    gain = chosen.gain
    if not chosen.measured:
        say("the combined score does not rise with what is right: probabilities of unseen labels are a guess")
    if gain is not None:
        say(
            f"gain over the semantic score {100 * gain.value:+.1f} "
            f"({100 * gain.low:+.1f} to {100 * gain.high:+.1f}), weights from other folds; "
            f"weight of fusion: {chosen.mixture.weight}"
        )


def _publish(job: Job, place: str, tagger: Xml0Tagger, chosen: Chosen, trained_on: np.ndarray) -> str:
    run = job.run
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_labels(folder, job.labels, tagger.train_count_L)
        write_trained(folder, trained_on)
        shutil.copytree(open_bundle(place, job.store).folder, folder / "base")
        save_encoder(tagger.encoder, run.encoder, folder / "encoder")
        np.save(folder / "label_LE.npy", tagger.label_LE.astype(np.float16))
        write_numbers(folder, tagger.curve, tagger.mixture)
        facts = _facts(job, tagger, chosen)
        write_card(
            folder,
            f"XML0 over {len(job.labels)} labels",
            [
                ("base", tagger.base.manifest["kind"]),
                ("seen labels", int(tagger.seen_L.sum())),
                ("combination", f"{run.xml0.combination}, weight of fusion {chosen.mixture.weight}"),
                ("UR@1 of hidden labels by weight", chosen.curve or "not measured"),
                ("licences of the models inside", facts["licences"] or "none"),
            ],
        )
        return publish_tagger(folder, facts, run, job.store, job.labels, job.report, job.progress)


def _facts(job: Job, tagger: Xml0Tagger, chosen: Chosen) -> dict[str, Any]:
    labels, count_L, base = job.labels, tagger.train_count_L, tagger.base.manifest
    known = tagger.curve is None or tagger.curve.how != "prior"
    gain = chosen.gain
    return {
        "kind": "xml0",
        "label_set": labels.fingerprint,
        "labels": len(labels),
        "trained_labels": {labels.ids[row]: int(count_L[row]) for row in np.flatnonzero(count_L)},
        "train_documents": base["train_documents"],
        "held_out": held_out_share(job.run, job.report),
        "calibrated": known and chosen.measured,
        "licences": base.get("licences", {}) | {job.run.encoder.path: tagger.encoder.licence},
        "metrics": {"validation": {f"UR@1, hidden, weight {w}": value for w, value in chosen.curve.items()}},
        "gain": None if gain is None else [gain.value, gain.low, gain.high],
        "weight": chosen.mixture.weight,
    }
