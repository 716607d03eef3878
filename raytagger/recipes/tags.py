"""Which labels of its rankings a new bundle keeps as tags: how many at most, and from which score on.

What a recipe has made is opened as it will be published, and asked about validation documents: the threshold is
chosen on the scores that its users see, by the function that chooses a blend's.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from raytagger.bisect import tag_bisecting
from raytagger.bundle import Tagger, publish
from raytagger.bundle.format import open_folder
from raytagger.bundle.kept import write_thresholds
from raytagger.bundle.kinds import open_kind
from raytagger.calibration import Evidence, FittedThresholds, Thresholds, fit_thresholds
from raytagger.calibration.threshold_fit import FEWEST_POSITIVES
from raytagger.corpus import LabelSet
from raytagger.corpus.limit import RejectLimit
from raytagger.corpus.report import CorpusReport
from raytagger.progress import Progress, silent
from raytagger.recipes.blend_documents import choose_documents, survey_any
from raytagger.recipes.reading import Read
from raytagger.schema import Scores
from raytagger.search import MOST_TAGS
from raytagger.settings import FitRun, ThresholdSettings, to_values
from raytagger.store import Store

FEWEST, PERCENTILE = 5, 99  # tags a document at most by default
BATCH = 512  # documents that are asked about at once
NOTHING = Scores(np.zeros((0, 0), np.int32), np.zeros((0, 0), np.float32))


class MostTags(NamedTuple):
    """Tags a document at most, and how that number was found."""

    k: int
    how: str


class _Validation(NamedTuple):
    """What a draft says of validation documents, their gold labels, and why there is none, if so."""

    scores: Scores
    gold: sp.csr_matrix
    why: str


def publish_tagger(
    folder: Path,
    facts: dict[str, Any],
    run: FitRun,
    store: Store,
    labels: LabelSet,
    report: CorpusReport,
    progress: Progress = silent,
) -> str:
    """Publishes what a recipe has made, with the rule by which its tags are kept.

    Args:
        folder: the bundle's files.
        facts: for the manifest; `settings`, `tags` and `thresholds` are set here.
        run: the run.
        store: storage options.
        labels: the label set.
        report: of the corpus; gets the validation documents that cannot be tagged.
        progress: told of documents.

    Returns:
        The version.

    Raises:
        RejectsError: more documents cannot be tagged than `source.max_reject_share` allows.
    """
    read = survey_any(run, store, labels, CorpusReport(labels), progress) if run.source.documents else None
    most = most_tags(run, read)
    run = with_most(run, most)
    there = {} if read is None else {"validation_documents": len(read.validation_N)}
    facts = facts | {"settings": to_values(run), "tags": most._asdict() | there}
    asked = _Validation(NOTHING, sp.csr_matrix((0, len(labels)), dtype=bool), _why_not(run, read, folder))
    if read is not None and not asked.why:
        draft = open_kind(open_folder(folder, json.loads(json.dumps(facts)), "draft"), store, run.encoder.device)
        asked = _ask(draft, run, store, read, report, progress)
    found = _fit(run, facts, asked, np.array([facts["trained_labels"].get(name, 0) for name in labels.ids]))
    write_thresholds(folder, found.thresholds)
    return publish(folder, facts | {"thresholds": found.report}, run.output.bundle, store)


def most_tags(run: FitRun, read: Read | None) -> MostTags:
    """`search.k`, or what hardly any training document exceeds.

    Args:
        run: the run.
        read: its documents; None without any.
    """
    if run.search.k:
        return MostTags(min(run.search.k, run.threshold.most or run.search.k), "as asked")
    count_N = np.zeros(0) if read is None else np.diff(read.gold.indptr)[read.train_N]
    count_N = count_N[count_N > 0]
    if run.threshold.most:
        return MostTags(run.threshold.most, "threshold.most")
    if not len(count_N):
        return MostTags(max(FEWEST, run.threshold.least), "for want of labelled training documents")
    found = int(np.percentile(count_N, PERCENTILE, method="inverted_cdf"))
    how = f"the {PERCENTILE}th percentile of the training documents"
    k = min(max(found, FEWEST, run.threshold.least), MOST_TAGS)
    return MostTags(k, how if k == found else f"where {how} is {found}")


def with_most(run: FitRun, most: MostTags) -> FitRun:
    """The run with its number of tags."""
    return replace(run, search=replace(run.search, k=most.k))


def threshold_settings(run: FitRun) -> ThresholdSettings:
    """What is asked of thresholds; `search.threshold` is one that is fixed."""
    if run.search.threshold is None:
        return run.threshold
    return replace(run.threshold, mode="fixed", value=run.search.threshold)


def _why_not(run: FitRun, read: Read | None, folder: Path) -> str:
    """Why no document is asked about; "" if some are."""
    mode = threshold_settings(run).mode
    if mode in ("count", "fixed"):
        return f"the mode is {mode}"
    if read is None or not len(read.validation_N):
        return "no validation document has a label of the label set"
    if run.cluster.use_gpu and (folder / "encoder").is_dir() and not _sees_gpu():
        return "validation documents were not tagged: cluster.use_gpu is set, and the driving machine has no GPU"
    return ""


def _sees_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _ask(
    draft: Tagger, run: FitRun, store: Store, read: Read, report: CorpusReport, progress: Progress
) -> _Validation:
    """Tags validation documents; those that cannot be tagged are rejects, as in `tag`."""
    alone = replace(run, blend=replace(run.blend, documents=0))
    chosen = choose_documents(alone, store, draft.labels, read, np.zeros(0, np.int64))
    parts, good, limit = list[Scores](), list[int](), RejectLimit(run.source, len(read.hash_N))
    for start in range(0, len(chosen.texts), BATCH):
        texts = chosen.texts[start : start + BATCH]
        tagged = tag_bisecting(lambda some: (draft.search(draft.encode(some), run.search.k), 0), texts)
        for bad in tagged.rejected:
            limit.reject(chosen.ids[start + bad.row], bad.reason, bad.error)
        report.refuse({chosen.ids[start + bad.row]: bad.reason for bad in tagged.rejected})
        limit.check()
        parts += tagged.parts
        good += [start + row for row in tagged.rows]
        progress("validating", start + len(texts), len(chosen.texts))
    scores = Scores.concatenate(parts) if parts else NOTHING
    return _Validation(scores, sp.csr_matrix(chosen.gold[good]), "")


def _fit(run: FitRun, facts: dict[str, Any], asked: _Validation, count_L: np.ndarray) -> FittedThresholds:
    """Thresholds; where too little is known, `threshold.value` for probabilities, and none for other scores."""
    settings = threshold_settings(run)
    evidence = Evidence(np.arange(len(asked.scores)), count_L, max(facts["train_documents"], 1), run.train.seed)
    found = fit_thresholds(asked.scores, asked.gold, settings, run.search.k, evidence)
    return found if facts["calibrated"] else unless_little(found, settings, asked.why)


def unless_little(found: FittedThresholds, settings: ThresholdSettings, why: str = "") -> FittedThresholds:
    """No threshold where scores are no probabilities and too few right labels are known to choose one.

    Args:
        found: what was chosen.
        settings: what was asked for.
        why: no document was asked about; "" where some were.
    """
    if settings.mode in ("count", "fixed") or found.report["positives"] >= FEWEST_POSITIVES:
        return found
    undefined = dict.fromkeys(("value", "precision", "recall", "micro_F1"))
    none: Thresholds = replace(found.thresholds, value=None)
    return FittedThresholds(none, found.report | undefined | {"why": why or found.report["why"]})
