"""Bundles measured beside each other on the same documents, and the report over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from raytagger.bundle import load, open_bundle, pin_bundle, text_settings
from raytagger.corpus.labels import read_source_labels
from raytagger.evaluate import Asked, Evaluation, gather
from raytagger.metrics import Ranked
from raytagger.progress import Progress
from raytagger.report import Subject, write_page
from raytagger.settings import SourceSettings
from raytagger.store import Store


def evaluate_beside(
    bundles: Sequence[str],
    labels: str,
    source: SourceSettings,
    asked: Asked,
    progress: Progress,
    store: Store | None = None,
) -> tuple[dict[str, Any], str]:
    """Measures bundles, the first of which is the one that matters.

    Args:
        bundles: `OUT` or `OUT/<version>` each.
        labels: a newer label set for all of them, or "".
        source: the documents.
        asked: what to measure; with `details` a report is written.
        progress: told of documents.
        store: storage options; by default those of the environment.

    Returns:
        The figures of the first, and the report as HTML, "" without details.
    """
    store, source = store or Store(), replace(source, labels=labels or source.labels)
    subjects = []
    figures: dict[str, Any] = {}
    for uri in bundles if asked.details else bundles[:1]:
        tagger = load(uri, store)
        if labels:
            tagger = tagger.with_labels(read_source_labels(store, text_settings(tagger.manifest, source)))
        evaluation = gather(tagger, store, source, asked, progress)
        asked = replace(asked, held_out=evaluation.selection.held_out)  # the others are measured on the same
        measured = evaluation.summary(asked)
        figures = figures or measured
        if asked.details:
            subjects.append(_subject(uri, store, evaluation, measured))
    page = write_page(subjects[0], subjects[1:], bool(asked.group)) if subjects else ""
    return figures, page


def _subject(uri: str, store: Store, evaluation: Evaluation, figures: dict[str, Any]) -> Subject:
    tagger = evaluation.tagger
    return Subject(
        uri.rstrip("/").rsplit("/", 1)[-1],
        open_bundle(pin_bundle(uri, store), store).folder,
        tagger.manifest,
        tagger.labels,
        tagger.train_count_L,
        evaluation.unseen_L,
        figures,
        Ranked.concatenate(evaluation.ranked),
        evaluation.examples,
    )
