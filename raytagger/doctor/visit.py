"""A whole examination of a label file: read, check, and measure on a bundle what was found."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from raytagger.bundle import load, peek_manifest, pin_bundle, text_settings
from raytagger.corpus import LabelSet
from raytagger.corpus.labels import read_source_labels
from raytagger.corpus.limit import RejectLimit
from raytagger.doctor.effect import Measured, measure_effect, zero_shot_documents
from raytagger.doctor.labels import REMEDIES, LabelReport, check_labels
from raytagger.doctor.told import document_lines, effect_lines, report_lines
from raytagger.encoders import load_encoder
from raytagger.errors import SettingsError
from raytagger.evaluate import survey
from raytagger.progress import Progress, silent
from raytagger.settings import EncoderSettings, SourceSettings
from raytagger.store import Store


@dataclass(frozen=True)
class Trial:
    """On what the effect of ill labels is measured; nothing is without a bundle.

    Attributes:
        bundle: `OUT` or `OUT/<version>`, or "".
        source: the labelled documents.
        splits: those of ZSR and UR, which must exist; None: those of `test` and `zeroshot` that do.
        limit: at most so many documents of a split; 0 for all.
    """

    bundle: str = ""
    source: SourceSettings = field(default_factory=SourceSettings)
    splits: tuple[str, ...] | None = None
    limit: int = 0


@dataclass(frozen=True)
class Health:
    """The findings on a label file and, where they were measured on documents, their effect; None where not."""

    place: str
    label_set_id: str
    report: LabelReport
    measured: Measured | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For a program: all findings."""
        looked, effects = self.measured or (None, None)
        return {
            "labels": self.place,
            "label_set_id": self.label_set_id,
            "n_labels": self.report.labels,
            "counts": self.report.counts,
            "findings": [finding.as_dict() for finding in self.report.findings],
            "documents": looked and looked.as_dict(),
            "effects": None if effects is None else [effect.as_dict() for effect in effects],
            "seconds": round(self.seconds, 2),
        }

    def lines(self) -> list[str]:
        """For a person: counts, the worst findings, the effect, the documents."""
        if self.measured is None:
            return report_lines(self.report)
        looked, effects = self.measured
        return [*report_lines(self.report), *effect_lines(effects), *document_lines(looked)]


def examine_labels(
    labels: str,
    encoder: EncoderSettings,
    similar: float,
    trial: Trial,
    progress: Progress = silent,
    store: Store | None = None,
) -> Health:
    """Examines a label file.

    Args:
        labels: the file.
        encoder: the frozen encoder; its prompt goes before every label text.
        similar: the least cosine of texts that are too similar.
        trial: on what the effect is measured.
        progress: told of texts, labels and documents.
        store: storage options; by default those of the environment.

    Raises:
        SettingsError: a bundle without documents, or documents without a bundle.
        CorpusError: the labels or the documents cannot be read, or no document has an unseen gold label.
        BundleError: the bundle cannot be loaded.
    """
    if bool(trial.bundle) != bool(trial.source.documents):
        raise SettingsError(
            "the effect of ill labels is measured on a bundle and documents",
            got=f"--bundle {trial.bundle!r}, --documents {trial.source.documents!r}",
            expected="both or neither",
        )
    started, store = time.perf_counter(), store or Store()
    source = replace(trial.source, labels=labels)
    if trial.bundle:
        source = text_settings(peek_manifest(pin_bundle(trial.bundle, store), store), source)
    label_set = read_source_labels(store, source)
    report = check_labels(label_set, load_encoder(encoder, store), similar, encoder.prompt, progress)
    trial = replace(trial, source=source)
    measured = _measure(store, label_set, report, trial, progress) if trial.bundle else None
    return Health(labels, label_set.fingerprint, report, measured, time.perf_counter() - started)


def _measure(store: Store, labels: LabelSet, report: LabelReport, trial: Trial, progress: Progress) -> Measured:
    tagger = load(trial.bundle, store)
    if tagger.labels != labels:
        tagger = tagger.with_labels(labels)
    flagged = {"ill": tagger.labels.mask(report.flagged())}
    flagged |= {kind: tagger.labels.mask(report.flagged([kind])) for kind in REMEDIES}
    share = survey(store, trial.source, tagger).held_out(tagger)
    documents = zero_shot_documents(store, trial.source, trial.splits, trial.limit, share)
    return measure_effect(tagger, documents, flagged, progress=progress, limit=RejectLimit(trial.source))
