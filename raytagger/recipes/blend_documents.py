"""The documents that a blend is fitted on: validation documents, and some training documents for unseen labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from raytagger.bundle import Tagger
from raytagger.bundle.trained import trained_hashes
from raytagger.corpus import LabelSet
from raytagger.corpus.report import CorpusReport
from raytagger.errors import CorpusError, SettingsError
from raytagger.progress import Progress, silent
from raytagger.recipes.fitted import held_out_share
from raytagger.recipes.reading import Collected, Read, read_training
from raytagger.settings import FitRun
from raytagger.store import Store

FEWEST_LABELS, FEWEST_PAIRS = 20, 100  # of unseen labels in validation documents, by which these are judged
VALIDATION_AT_MOST, HELD_AT_MOST = 3000, 1000
SAMPLE, FEWEST_SAMPLE = 2000, 50  # documents by which a label's usual scores are known


class Chosen(NamedTuple):
    """Documents with their texts.

    Attributes:
        ids: of B documents.
        texts: of them.
        gold: bool CSR (B, L).
        validation_B: bool (B,), documents of the validation split.
        usual_B: bool (B,), training documents drawn at random.
        weight_B: float64 (B,), how many documents of the corpus each stands for where unseen labels are fitted.
    """

    ids: list[str]
    texts: list[str]
    gold: sp.csr_matrix
    validation_B: np.ndarray
    usual_B: np.ndarray
    weight_B: np.ndarray

    def take(self, rows: np.ndarray) -> Chosen:
        """Some of them, int64 rows."""
        ids, texts = ([values[row] for row in rows] for values in (self.ids, self.texts))
        gold = sp.csr_matrix(self.gold[rows])
        return Chosen(ids, texts, gold, self.validation_B[rows], self.usual_B[rows], self.weight_B[rows])


def survey_any(run: FitRun, store: Store, labels: LabelSet, report: CorpusReport, progress: Progress) -> Read:
    """One pass over the corpus that keeps no text; of the validation documents those that have a label, if any."""
    collected = Collected()
    for part in read_training(run, store, labels, report, progress):
        collected.add(part)
    read = collected.read(run, len(labels))
    return read._replace(validation_N=read.validation_N[read.has_label_N[read.validation_N]])


def survey(run: FitRun, store: Store, labels: LabelSet, report: CorpusReport, progress: Progress) -> Read:
    """As `survey_any`, where there must be some.

    Raises:
        CorpusError: no validation document has a label of the label set.
    """
    read = survey_any(run, store, labels, report, progress)
    if not len(read.validation_N):
        raise CorpusError(
            "no validation document",
            got=f"{len(read.hash_N):,} documents, none of the validation split with a label of the label set; "
            f"splits: {report.told_splits()}",
            remedy="Check source.validation_split; members must not have been trained on these documents.",
        )
    return read


def refuse_trained(run: FitRun, members: Mapping[str, Tagger], surveyed: Read, report: CorpusReport) -> None:
    """Refuses named members that were trained on this run's validation documents: all figures would be too good.

    A frozen member learns nothing of a document, and may have counted any.

    Args:
        run: the run.
        members: by the places that name them.
        surveyed: this run's documents.
        report: of the same.

    Raises:
        SettingsError: says how both runs chose their documents.
    """
    validation_hashes = surveyed.hash_N[surveyed.validation_N]
    for place, member in members.items():
        known = np.isin(validation_hashes, trained_hashes(member))
        if member.manifest["kind"] == "frozen" or not known.any():
            continue
        theirs, share = member.manifest["settings"], float(member.manifest.get("held_out", 0))
        raise SettingsError(
            f"{place} was trained on validation documents of this run, so that every figure would be too good",
            got=f"{int(known.sum()):,} of {len(known):,} documents; the bundle was fitted with "
            + _told(theirs["source"], theirs["train"]["seed"], share),
            expected=_told(vars(run.source), run.train.seed, held_out_share(run, report)),
            remedy="Fit the bundle with this run's splits and train.seed, or this one with the bundle's.",
        )


def trained_counts(member: Tagger, surveyed: Read) -> np.ndarray:
    """int64 (L,): a frozen member learnt nothing of labels, and may have counted validation documents."""
    if member.manifest["kind"] != "frozen":
        return member.train_count_L
    return np.asarray(surveyed.gold[surveyed.train_N].sum(axis=0)).ravel().astype(np.int64)


class Known(NamedTuple):
    """How many unseen labels validation documents have, and how often."""

    labels: int
    pairs: int

    @property
    def enough(self) -> bool:
        """Whether unseen labels can be judged by them."""
        return self.labels >= FEWEST_LABELS and self.pairs >= FEWEST_PAIRS


def unseen_pairs(surveyed: Read, unseen_J: np.ndarray) -> Known:
    """What validation documents have of labels that no member was trained on."""
    count_J = np.asarray(surveyed.gold[surveyed.validation_N][:, unseen_J].sum(axis=0)).ravel()
    return Known(int((count_J > 0).sum()), int(count_J.sum()))


def part_of(part: int, whole: int) -> str:
    """How many of how many, where they are not all."""
    return f"{part:,}" if part == whole else f"{part:,} of {whole:,}"


def _told(source: Mapping[str, Any], seed: int, share: float) -> str:
    splits = f"train_split {source['train_split']!r}, validation_split {source['validation_split']!r}"
    return f"{splits}, train.seed {seed}, a share of {share:g} held out"


def choose_documents(run: FitRun, store: Store, labels: LabelSet, surveyed: Read, pseudo_J: np.ndarray) -> Chosen:
    """A second pass that keeps the texts of few documents."""
    rng = np.random.default_rng([run.train.seed, 7])
    validation = _sample(surveyed.validation_N, VALIDATION_AT_MOST, rng)
    usual = _sample(surveyed.train_N, run.blend.documents, rng)
    has_N = np.asarray(surveyed.gold[:, pseudo_J].sum(axis=1)).ravel() > 0
    held = _sample(surveyed.train_N[has_N[surveyed.train_N]], HELD_AT_MOST, rng)
    rows = np.unique(np.concatenate([validation, usual, held]))
    found, position, wanted = dict[str, str](), 0, set(rows.tolist())
    for part in read_training(run, store, labels, CorpusReport(labels), silent):
        here = enumerate(zip(part.ids, part.texts, strict=True), position)
        found |= dict(document for row, document in here if row in wanted)
        position += len(part.texts)
    return Chosen(
        list(found),
        list(found.values()),
        sp.csr_matrix(surveyed.gold[rows]),
        np.isin(rows, validation),
        np.isin(rows, usual),
        _weights(surveyed, rows, has_N),
    )


def sample_first(chosen: Chosen) -> tuple[Chosen, int]:
    """The documents of usual scores stand first, and how many they are: any documents where too few are drawn."""
    first = np.flatnonzero(chosen.usual_B)
    first = (first if len(first) >= FEWEST_SAMPLE else np.arange(len(chosen.texts)))[:SAMPLE]
    order = np.concatenate([first, np.setdiff1d(np.arange(len(chosen.texts)), first)])
    return chosen.take(order), len(first)


def _weights(surveyed: Read, rows: np.ndarray, has_N: np.ndarray) -> np.ndarray:
    """Documents with a pseudo-unseen label are more frequent here than in the corpus; both kinds get their due."""
    every = np.concatenate([surveyed.train_N, surveyed.validation_N])
    weight_B = np.ones(len(rows))
    for kind in (False, True):
        here_B = has_N[rows] == kind
        weight_B[here_B] = (has_N[every] == kind).sum() / max(int(here_B.sum()), 1)
    return weight_B / max(float(weight_B.mean()), 1e-12)


def _sample(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))
