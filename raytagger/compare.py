"""Bundles measured beside each other on the same documents, and the report over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from raytagger.bundle import Opened, open_bundle, text_settings
from raytagger.bundle.kinds import open_kind
from raytagger.corpus import LabelSet
from raytagger.corpus.labels import read_source_labels
from raytagger.evaluate import Asked, Evaluation, Yardstick, gather
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

    ZSR and UR are over the labels that no bundle was trained on, and PSP weighs labels by the first one's counts.

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
    opened = [open_bundle(uri, store) for uri in bundles]
    newer = [read_source_labels(store, text_settings(one.manifest, source)) if labels else None for one in opened]
    yardstick = Yardstick.over(list(map(_brought_up, opened, newer)))
    for uri, one, new in list(zip(bundles, opened, newer, strict=True))[: None if asked.details else 1]:
        tagger = open_kind(one, store, "auto")
        if new is not None:
            tagger = tagger.with_labels(new)
        evaluation = gather(tagger, store, source, asked, progress, yardstick)
        asked = replace(asked, held_out=evaluation.selection.held_out)  # the others are measured on the same
        measured = evaluation.summary(asked)
        figures = figures or measured
        if asked.details:
            subjects.append(_subject(uri, one, evaluation, measured))
    page = write_page(subjects[0], subjects[1:], bool(asked.group)) if subjects else ""
    return figures, page


def _brought_up(opened: Opened, newer: LabelSet | None) -> Opened:
    """A bundle with the labels that it would have after `with_labels`; none is loaded."""
    if newer is None:
        return opened
    merged = opened.labels.merged(newer)
    added = np.zeros(len(merged) - len(opened.labels), np.int64)
    return replace(opened, labels=merged, train_count_L=np.concatenate([opened.train_count_L, added]))


def _subject(uri: str, opened: Opened, evaluation: Evaluation, figures: dict[str, Any]) -> Subject:
    tagger = evaluation.tagger
    return Subject(
        uri.rstrip("/").rsplit("/", 1)[-1],
        opened.folder,
        tagger.manifest,
        tagger.labels,
        tagger.train_count_L,
        evaluation.unseen_L,
        figures,
        Ranked.concatenate(evaluation.ranked),
        evaluation.examples,
    )
