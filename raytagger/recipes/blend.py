"""The blend: several taggers as one, with one probability and one threshold for seen and unseen labels.

members    bundles that are named, or fitted first by this run's settings
draw       rare seen labels that members can forget stand in for unseen ones      recipes/blend_unseen.py
score      every member scores validation documents and some training documents
join       gates, curves and offsets, each chosen on documents or labels it was not fitted on
bias       how far unseen labels are raised                                       recipes/blend_bias.py
keep       thresholds of tags; with a cascade, which documents the dear members are asked about
publish    members, gates and thresholds as one bundle

Source: calibrating zero-shot scores on hidden seen labels follows Chao et al. 2016 (calibrated stacking).
Differs: the bias is an exponent of the probability, which leaves what is impossible or certain as it is.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from raytagger.bundle import Tagger, load, open_bundle, publish, write_card, write_labels, write_trained
from raytagger.bundle.blend import BlendTagger, shared_encoders
from raytagger.bundle.features import save_features
from raytagger.bundle.texts import shared_text_settings
from raytagger.bundle.trained import trained_hashes
from raytagger.corpus import LabelSet
from raytagger.corpus.labels import read_source_labels
from raytagger.corpus.report import CorpusReport
from raytagger.errors import SettingsError
from raytagger.progress import Progress, silent, unsaid
from raytagger.recipes.blend_cascade import check_cascade
from raytagger.recipes.blend_learn import Learnt, learn
from raytagger.recipes.fitted import Fitted, check_places, held_out_share
from raytagger.recipes.inside import INSIDE, fit_inside
from raytagger.settings import FitRun, to_values
from raytagger.store import Store


def fit_blend(run: FitRun, progress: Progress = silent, say: Callable[[str], None] = unsaid) -> Fitted:
    """Makes a bundle of kind `blend`.

    Raises:
        SettingsError: a setting is impossible, or members have different label sets, read different texts or were
            trained on validation documents.
        BundleError: a member is missing.
        CorpusError: documents cannot be read, or there is no validation document with a label.
    """
    check_blend(run)
    store, started = Store(run.storage), time.perf_counter()
    labels = read_source_labels(store, run.source)
    methods = () if run.blend.members else run.blend.methods
    inside = [fit_inside(run, method, progress, say) for method in methods]
    places = list(run.blend.members) or [fitted.bundle for fitted in inside]
    names = _names(places, run)
    members = shared_encoders([load(place, store, run.encoder.device) for place in places])
    check_labels(labels, members, places)
    run = replace(run, source=shared_text_settings([member.manifest for member in members], run.source))
    check_cascade(run, members, names)
    report = CorpusReport(labels)
    for fitted in inside:
        report.add_refused(fitted.report)
    learnt = learn(run, store, labels, members, names, report, progress, say)
    version = _publish(run, store, places, learnt, report)
    trained, seconds = int(learnt.tagger.seen_L.sum()), time.perf_counter() - started
    encoded = sum(fitted.encoded_labels for fitted in inside)
    return Fitted(run.output.bundle, version, len(labels), trained, encoded, report, seconds)


def check_blend(run: FitRun) -> None:
    """Refuses settings that contradict each other.

    Raises:
        SettingsError: names the setting.
    """
    check_places(run)
    fixed = run.search.threshold
    if fixed is not None and not 0 <= fixed <= 1:
        raise SettingsError("search.threshold", got=fixed, expected="a probability, 0 to 1")
    if not run.source.documents:
        raise SettingsError("source.documents is empty", expected="labelled documents with a validation split")
    if not run.blend.members and not run.blend.methods:
        raise SettingsError("nothing to blend", expected="blend.members or blend.methods")
    if unknown := [method for method in run.blend.methods if method not in INSIDE]:
        raise SettingsError("blend.methods", got=unknown[0], expected=", ".join(INSIDE))
    shares = {"most_error": run.blend.most_error, "unseen_bias": run.blend.unseen_bias or 0.0}
    shares |= {"seen_loss": run.blend.seen_loss, "cascade_loss": run.blend.cascade_loss}
    for name, value in shares.items():
        if not 0 <= value < 1:
            raise SettingsError(f"blend.{name}", got=value, expected="0 to less than 1")
    if run.blend.documents < 1:
        raise SettingsError("blend.documents", got=run.blend.documents, expected="1 or more")


def check_labels(labels: LabelSet, members: list[Tagger], places: list[str]) -> None:
    """Refuses members of different label-set versions.

    Raises:
        SettingsError: names the member.
    """
    for member, place in zip(members, places, strict=True):
        if member.manifest.get("cascade"):
            raise SettingsError(
                "a blend with a cascade cannot be a member",
                got=place,
                remedy="Name its members, or fit it with blend.cascade = false.",
            )
        if member.labels.fingerprint != labels.fingerprint:
            raise SettingsError(
                f"the member {place} has another label set than source.labels",
                got=member.labels.fingerprint,
                expected=labels.fingerprint,
                remedy="Fit the member on the same label file.",
            )


def _names(places: list[str], run: FitRun) -> list[str]:
    """What members are called: by their folders, with a number where two are called alike."""
    names = (
        [place.rstrip("/").rsplit("/", 1)[-1] for place in places] if run.blend.members else [*run.blend.methods]
    )
    return [name if names.count(name) == 1 else f"{name} {number}" for number, name in enumerate(names)]


def _publish(run: FitRun, store: Store, places: list[str], learnt: Learnt, report: CorpusReport) -> str:
    tagger = learnt.tagger
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_labels(folder, tagger.labels, tagger.train_count_L)
        write_trained(folder, np.union1d(trained_hashes(*tagger.members), learnt.trained_hashes))
        for number, place in enumerate(places):
            shutil.copytree(open_bundle(place, store).folder, folder / "members" / str(number))
            save_features(tagger.samples[number], folder / "sample" / str(number))
            (folder / "usual").mkdir(exist_ok=True)
            np.save(folder / "usual" / f"{number}.npy", tagger.usual_M2L[number])
        (folder / "blend.json").write_text(json.dumps(_numbers(tagger, learnt), indent=1) + "\n")
        facts: dict[str, Any] = {**_facts(learnt), "held_out": held_out_share(run, report)}
        write_card(
            folder,
            f"Blend of {len(tagger.names)} taggers over {len(tagger.labels)} labels",
            [
                ("members", ", ".join(tagger.names)),
                ("seen labels", int(tagger.seen_L.sum())),
                ("unseen bias", tagger.unseen_bias),
                ("on the validation split", facts["metrics"]["validation"]),
                ("licences of the models inside", facts["licences"] or "none"),
            ],
        )
        return publish(folder, facts, run.output.bundle, store)


def _numbers(tagger: BlendTagger, learnt: Learnt) -> dict[str, Any]:
    return {
        "names": list(tagger.names),
        "full": tagger.full.as_dict(),
        "cheap": None if tagger.cheap is None else tagger.cheap.as_dict(),
        "unseen_bias": tagger.unseen_bias,
        "thresholds": tagger.thresholds.as_dict(),
        "sample": learnt.sample_documents,
        "words": tagger.overlap.way,
    }


def _facts(learnt: Learnt) -> dict[str, Any]:
    tagger = learnt.tagger
    count_L, labels = tagger.train_count_L, tagger.labels
    licences: dict[str, str] = {}
    for member in tagger.members:
        licences |= member.manifest.get("licences", {})
    return {
        "kind": "blend",
        "settings": to_values(tagger.run),
        "label_set": labels.fingerprint,
        "labels": len(labels),
        "trained_labels": {labels.ids[row]: int(count_L[row]) for row in np.flatnonzero(count_L)},
        "train_documents": max(int(member.manifest["train_documents"]) for member in tagger.members),
        "calibrated": learnt.calibrated,
        "licences": licences,
        **learnt.facts,
    }
