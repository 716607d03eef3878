"""What a blend learns: from members and documents to gates, curves, bias and thresholds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from raytagger.bisect import tag_bisecting
from raytagger.bundle import Tagger
from raytagger.bundle.blend import DEPTH, BlendFeatures, BlendTagger
from raytagger.bundle.features import join_rows
from raytagger.bundle.panel import Panel, spread
from raytagger.calibration import Curve, Evidence, FittedThresholds, fit_thresholds
from raytagger.corpus import LabelSet
from raytagger.corpus.limit import RejectLimit
from raytagger.corpus.report import CorpusReport
from raytagger.progress import Progress
from raytagger.recipes.blend_bias import BIASES, Both, Point, bias_curve, choose_bias, hidden_groups, merged
from raytagger.recipes.blend_cascade import Saving, cheap_members, fit_cascade
from raytagger.recipes.blend_documents import (
    SAMPLE,
    Chosen,
    choose_documents,
    part_of,
    refuse_trained,
    sample_first,
    survey,
    trained_counts,
    unseen_pairs,
)
from raytagger.recipes.blend_seen import FOLDS, Joined, Pairs, join_seen, member_curves, right_pairs
from raytagger.recipes.blend_unseen import Guessed, Pseudo, draw_pseudo, guess_unseen, usable_pairs
from raytagger.recipes.tags import most_tags, threshold_settings, unless_little, with_most
from raytagger.schema import PAD, BoolArray, FloatArray, Scores
from raytagger.search.blend import Candidates, Gate
from raytagger.search.overlap import Overlap
from raytagger.settings import FitRun
from raytagger.store import Store

TIMED = 64
NO_CURVE = Curve(np.array([0.0, 1.0]), np.array([0.0, 1.0]), "prior")


@dataclass(frozen=True)
class Learnt:
    """A finished tagger, the hashed ids of the documents for training, uint64, and what the manifest tells."""

    tagger: BlendTagger
    trained_hashes: np.ndarray
    calibrated: bool
    sample_documents: int
    facts: dict[str, Any]


class _Material(NamedTuple):
    """What panels are fitted on: documents in slabs, and drafts before and after labels are forgotten."""

    draft: BlendTagger
    forgetful: BlendTagger
    chosen: Chosen
    slabs: list[BlendFeatures]
    fold_B: np.ndarray
    pseudo_J: np.ndarray
    unseen_J: np.ndarray
    has_unseen: bool
    seed: int

    @property
    def judged_J(self) -> np.ndarray:
        """Labels that are scored as unseen ones, and of which is known which documents have them."""
        return self.unseen_J if self.has_unseen else self.pseudo_J

    def curve(
        self, both: Both, most_error: float, biases: Sequence[float], others: Both | None = None
    ) -> list[Point]:
        """What biases give, where these labels stand among the other unseen ones."""
        if self.has_unseen:
            return bias_curve(both, [self.unseen_J], np.zeros(0, np.int64), most_error, biases)
        groups = hidden_groups(self.pseudo_J, len(self.draft.labels) - len(self.unseen_J))
        return bias_curve(both, groups, self.unseen_J, most_error, biases, others)


class _Fit(NamedTuple):
    panel: Panel
    joined: Joined
    guessed: Guessed
    both: Both
    others: Both
    spread_M2: np.ndarray


def learn(
    run: FitRun,
    store: Store,
    labels: LabelSet,
    members: Sequence[Tagger],
    names: Sequence[str],
    report: CorpusReport,
    progress: Progress,
    say: Callable[[str], None],
) -> Learnt:
    """Fits everything that joins the members.

    Raises:
        CorpusError: no validation document has a label of the label set.
        SettingsError: a named member was trained on validation documents.
        RejectsError: more documents cannot be encoded than `source.max_reject_share` allows.
    """
    surveyed = survey(run, store, labels, report, progress)
    refuse_trained(run, dict(zip(run.blend.members, members, strict=False)), surveyed, report)
    tags = most_tags(run, surveyed)
    run = with_most(run, tags)
    count_L = np.max([trained_counts(member, surveyed) for member in members], axis=0)
    usable_L = labels.predictable_L
    unseen_J = np.flatnonzero(usable_L & (count_L == 0))
    known = unseen_pairs(surveyed, unseen_J)
    pseudo_J = np.zeros(0, np.int64) if known.enough else draw_pseudo(members, count_L, usable_L, run.train.seed)
    chosen, sample = sample_first(choose_documents(run, store, labels, surveyed, pseudo_J))
    validation = part_of(int(chosen.validation_B.sum()), len(surveyed.validation_N))
    judged = f"{len(pseudo_J)} seen labels stand in for unseen ones on {len(chosen.texts):,} documents"
    if known.enough:
        judged = f"they have {known.labels:,} unseen labels {known.pairs:,} times, by which these are judged"
    say(f"{validation} validation documents; {judged}")
    draft = _draft(run, labels, members, names, count_L)
    chosen, slabs = _encode(draft, chosen, sample, report, progress)
    fold_B = np.random.default_rng([run.train.seed, 8]).integers(FOLDS, size=len(chosen.texts))
    draft = replace(draft, samples=slabs[0].members)
    forgetful = _forgetful(draft, pseudo_J, unseen_J)
    material = _Material(draft, forgetful, chosen, slabs, fold_B, pseudo_J, unseen_J, known.enough, run.train.seed)
    fit = _fit_panel(material, tuple(range(len(members))))
    _tell(fit, names, say)
    asked, most = run.blend.unseen_bias, run.blend.most_error
    curve = material.curve(fit.both, most, sorted({*BIASES, asked or 0.0}), fit.others)
    measured = fit.guessed.odds_DC is not None
    usual = choose_bias(curve, most, run.blend.seen_loss, run.train.seed) if measured else 0.0
    bias = usual if asked is None else asked
    if len(unseen_J):  # where all labels are trained, none is raised and what is shown needs no other curve
        fit = fit._replace(panel=fit.panel._replace(shown=_at(curve, bias).shown))
    without = f"; without it {_at(curve, 0.0).line()}" if bias else ""
    say(f"unseen bias {bias:.2f}: {_at(curve, bias).line()}{without}")
    cheap, saving = _cascade(run, material, fit, bias, say)
    calibrated = fit.joined.curve.how != "prior" and (measured or not len(unseen_J))
    kept = _thresholds(run, material, fit, bias, calibrated)
    tagger = replace(draft, full=fit.panel, cheap=cheap, unseen_bias=bias, thresholds=kept.thresholds)
    tagger = replace(tagger, usual_M2L=_usual_of(draft, unseen_J))
    facts = _facts(run, material, fit, curve, bias, saving)
    there = {"validation_documents": len(surveyed.validation_N)}
    facts |= {"tags": tags._asdict() | there, "thresholds": kept.report}
    return Learnt(tagger, surveyed.hash_N[surveyed.train_N], calibrated, len(slabs[0].cut_B), facts)


def _usual_of(draft: BlendTagger, unseen_J: np.ndarray) -> FloatArray:
    """Float32 (M, 2, L), the usual scores of unseen labels; 0 and 1 of all others, of which nobody asks."""
    usual_M2L = np.zeros_like(draft.usual_M2L)
    usual_M2L[:, 1] = 1
    usual_M2L[:, :, unseen_J] = draft.usual(unseen_J)
    return usual_M2L


def _draft(
    run: FitRun, labels: LabelSet, members: Sequence[Tagger], names: Sequence[str], count_L: np.ndarray
) -> BlendTagger:
    """A tagger that encodes and names candidates, but joins nothing yet."""
    none = Gate(np.zeros(0), 0.0)
    curves = tuple(NO_CURVE for _ in members)
    panel = Panel(tuple(range(len(members))), curves, none, NO_CURVE, np.zeros(len(labels)), none)
    usual_M2L = np.zeros((len(members), 2, len(labels)), np.float32)
    return BlendTagger(
        bundle_id="draft",
        manifest={},
        labels=labels,
        train_count_L=count_L,
        run=run,
        names=tuple(names),
        members=tuple(members),
        full=panel,
        cheap=None,
        usual_M2L=usual_M2L,
        samples=(),
        unseen_bias=0.0,
        overlap=Overlap(labels.full_texts),
    )


def _encode(
    draft: BlendTagger, chosen: Chosen, sample: int, report: CorpusReport, progress: Progress
) -> tuple[Chosen, list[BlendFeatures]]:
    """Features in slabs, the sample first, and their documents: those that cannot be encoded are rejects.

    Raises:
        RejectsError: these are more than the limit allows.
    """
    good, slabs, limit = list[int](), list[BlendFeatures](), RejectLimit(draft.run.source, report.n_documents)
    for start, stop in pairwise([0, *range(sample, len(chosen.texts), SAMPLE), len(chosen.texts)]):
        texts = chosen.texts[start:stop]
        encoded = tag_bisecting(lambda some: (draft.encode(some), 0), texts)
        for bad in encoded.rejected:
            limit.reject(chosen.ids[start + bad.row], bad.reason, bad.error)
        limit.check()
        report.refuse({chosen.ids[start + bad.row]: bad.reason for bad in encoded.rejected})
        if encoded.parts:  # a slab is one piece: that of the sample tells the usual scores
            slabs.append(join_rows(encoded.parts))
        good += [start + row for row in encoded.rows]
        progress("blending", stop)
    return chosen.take(np.array(good, np.int64)), slabs


def _fit_panel(material: _Material, numbers: tuple[int, ...]) -> _Fit:
    """Gates and curves for some members."""
    draft, chosen = material.draft, material.chosen
    none = Gate(np.zeros(0), 0.0)
    labels = len(draft.labels)
    panel = Panel(numbers, (), none, NO_CURVE, np.zeros(labels), none)
    rows = np.flatnonzero(chosen.validation_B)
    gold = sp.csr_matrix(chosen.gold[rows])
    every = _candidates(draft, material.slabs, panel, draft.seen_L)
    seen = every.take(rows)
    right_BC = right_pairs(seen, gold)
    panel = panel._replace(curves=member_curves(seen, right_BC))
    words_NV = sp.csr_matrix(sp.vstack([slab.words_BV for slab in material.slabs]))
    fact_BCF = draft.facts(panel, seen, sp.csr_matrix(words_NV[rows]), True)
    pairs = Pairs(seen, fact_BCF, right_BC, gold, material.fold_B[rows], draft.train_count_L)
    joined = join_seen(pairs, panel.curves)
    unseen, pseudo = _pseudo(material, panel, words_NV)
    guessed = guess_unseen(pseudo if len(material.judged_J) else None, len(numbers), material.seed)
    odds_NC = guessed.odds_DC if guessed.odds_DC is not None else guessed.gate.odds(pseudo.fact_DCF)
    panel = panel._replace(seen=joined.gate, curve=joined.curve, offset_L=joined.offset_L, unseen=guessed.gate)
    both = Both(seen, joined.odds_BC, unseen.take(rows), odds_NC[rows], gold)
    others = _others(material, panel, words_NV, every, unseen, odds_NC)
    spread_M2 = np.stack(
        [
            _shares(joined.gate, fact_BCF[pairs.filled_BC], len(numbers), 3),
            _shares(guessed.gate, pseudo.fact_DCF[pseudo.candidates.label_BC != PAD], len(numbers), 4),
        ],
        axis=1,
    )
    return _Fit(panel, joined, guessed, both, others, spread_M2)


def _others(
    material: _Material,
    panel: Panel,
    words_NV: sp.csr_matrix,
    every: Candidates,
    unseen: Candidates,
    odds_NC: np.ndarray,
) -> Both:
    """Training documents with a pseudo-unseen label: members learnt their seen labels, so they tell no price."""
    has_N = np.asarray(material.chosen.gold[:, material.pseudo_J].sum(axis=1)).ravel() > 0
    rows = np.flatnonzero(has_N & ~material.chosen.validation_B)
    seen = every.take(rows)
    odds_BC = panel.odds(seen, material.draft.facts(panel, seen, sp.csr_matrix(words_NV[rows]), True), True)
    return Both(seen, odds_BC, unseen.take(rows), odds_NC[rows], sp.csr_matrix(material.chosen.gold[rows]))


def _pseudo(material: _Material, panel: Panel, words_NV: sp.csr_matrix) -> tuple[Candidates, Pseudo]:
    """What members say of pseudo-unseen and unseen labels when they have forgotten the former.

    No training document has an unseen label, or it were seen: of these, validation documents alone say something.
    """
    forgetful, chosen, pseudo_J = material.forgetful, material.chosen, material.pseudo_J
    labels = len(forgetful.labels)
    allowed_L = spread(np.concatenate([pseudo_J, material.unseen_J]), labels)
    candidates = _candidates(forgetful, material.slabs, panel, allowed_L)
    fact_DCF = forgetful.facts(panel, candidates, words_NV, False)
    right_DC = right_pairs(candidates, chosen.gold)
    known_DC = usable_pairs(candidates, material.judged_J, labels)
    if material.has_unseen:
        known_DC &= chosen.validation_B[:, None]
    return candidates, Pseudo(candidates, fact_DCF, right_DC, known_DC, chosen.weight_B)


def _forgetful(draft: BlendTagger, pseudo_J: np.ndarray, unseen_J: np.ndarray) -> BlendTagger:
    """The draft when pseudo-unseen labels are forgotten, with the usual scores of these and of unseen ones."""
    labels = len(draft.labels)
    forgetful = draft.forgetting(spread(pseudo_J, labels))
    assert forgetful is not None  # `draw_pseudo` takes only labels that all members can forget
    label_J = np.sort(np.concatenate([pseudo_J, unseen_J]))
    usual_M2L = draft.usual_M2L.copy()
    usual_M2L[:, :, label_J] = forgetful.usual(label_J)
    return replace(forgetful, usual_M2L=usual_M2L)


def _candidates(
    tagger: BlendTagger, slabs: Sequence[BlendFeatures], panel: Panel, allowed_L: BoolArray
) -> Candidates:
    """Candidates of all documents, slab by slab."""
    return Candidates.concatenate([tagger.candidates(panel, slab.members, allowed_L, DEPTH) for slab in slabs])


def _shares(gate: Gate, fact_PF: np.ndarray, members: int, times: int) -> np.ndarray:
    """How much of the differences between pairs each member makes, float64 (M,), 1 in all."""
    if not len(fact_PF):
        return np.zeros(members)
    part_F = np.abs(gate.weight_F) * fact_PF.std(axis=0)
    part_M = part_F[: times * members].reshape(times, members).sum(axis=0)
    return part_M / max(float(part_M.sum()), 1e-12)


def _cascade(
    run: FitRun, material: _Material, fit: _Fit, bias: float, say: Callable[[str], None]
) -> tuple[Panel | None, Saving | None]:
    if not run.blend.cascade:
        return None, None
    cheap = _fit_panel(material, tuple(cheap_members(material.draft.members)))
    point = material.curve(cheap.both, run.blend.most_error, [bias])[0]
    cheap = cheap._replace(panel=cheap.panel._replace(shown=point.shown))
    by_cheap, by_all = (_ranking(material, one, bias, 10) for one in (cheap, fit))
    fold_B = material.fold_B[material.chosen.validation_B]
    saving = fit_cascade(by_cheap, by_all, fit.both.gold, fold_B, run.blend.cascade_loss)
    say(
        f"cascade: the dear members are spared {saving.share_skipped:.0%} of the validation documents, "
        f"which costs {100 * saving.loss:.2f} points of nDCG@5"
    )
    return cheap.panel._replace(cascade=saving.cascade), saving


def _ranking(material: _Material, fit: _Fit, bias: float, k: int) -> Scores:
    """What validation documents are shown, nothing hidden."""
    return fit.panel.show(merged(fit.both, np.zeros(0, np.int64), material.unseen_J, bias, k))


def _thresholds(run: FitRun, material: _Material, fit: _Fit, bias: float, calibrated: bool) -> FittedThresholds:
    k = run.search.k
    scores = _ranking(material, fit, bias, k)
    rows = np.flatnonzero(material.chosen.validation_B)
    count_L = material.draft.train_count_L
    documents = max(int(member.manifest.get("train_documents", 0)) for member in material.draft.members)
    evidence = Evidence(rows, count_L, documents, run.train.seed)
    settings = threshold_settings(run)
    found = fit_thresholds(scores, fit.both.gold, settings, k, evidence)
    return found if calibrated else unless_little(found, settings)


def _facts(
    run: FitRun, material: _Material, fit: _Fit, curve: list[Point], bias: float, saving: Saving | None
) -> dict[str, Any]:
    draft = material.draft
    cheap = cheap_members(draft.members) if saving else []
    members = [
        {
            "name": name,
            "kind": member.manifest["kind"],
            "bundle": member.bundle_id,
            "documents_per_s": _speed(member, material.chosen.texts[:TIMED]),
            "share_asked": 1.0 if saving is None or number in cheap else 1 - saving.share_skipped,
            "weight_seen": float(fit.spread_M2[number, 0]),
            "weight_unseen": float(fit.spread_M2[number, 1]),
        }
        for number, (name, member) in enumerate(zip(draft.names, draft.members, strict=True))
    ]
    found = {"nDCG@5": fit.joined.ndcg[fit.joined.way], "ZSR@10, pseudo-unseen": _at(curve, bias).zsr}
    return {
        "members": members,
        "unseen_bias": bias,
        "curve": [point.as_dict() for point in curve],
        "gain_documents": curve[0].documents,
        "shown": "as ranked" if fit.panel.shown is None else "calibrated anew",
        "joined": {"way": _named(fit.joined.way, draft.names), "nDCG@5": _all_named(fit.joined.ndcg, draft.names)},
        "guessed": {"way": _named(fit.guessed.way, draft.names), "hit": _all_named(fit.guessed.hit, draft.names)},
        "pseudo_unseen": len(material.pseudo_J),
        "judged_by": "unseen labels of validation documents" if material.has_unseen else "hidden seen labels",
        "cascade": None if saving is None else {"share_skipped": saving.share_skipped, "nDCG@5 lost": saving.loss},
        "metrics": {"validation": {name: value for name, value in found.items() if value is not None}},
    }


def _speed(member: Tagger, texts: list[str]) -> float:
    """Documents a second of wall time, alone and on a warm start."""
    member.tag(texts[:2])
    started = time.perf_counter()
    member.tag(texts)
    return len(texts) / max(time.perf_counter() - started, 1e-9)


def _tell(fit: _Fit, names: Sequence[str], say: Callable[[str], None]) -> None:
    found = ", ".join(f"{_named(way, names)} {100 * value:.1f}" for way, value in fit.joined.ndcg.items() if value)
    offsets = ", with offsets of labels" if fit.joined.offset_L.any() else ""
    say(f"seen labels, nDCG@5: {found}; taken: {_named(fit.joined.way, names)}{offsets}")
    found = ", ".join(f"{_named(way, names)} {100 * value:.1f}" for way, value in fit.guessed.hit.items())
    say(f"unseen labels, UR@1 and 5: {found or 'nothing to measure'}; taken: {_named(fit.guessed.way, names)}")


def _named(way: str, names: Sequence[str]) -> str:
    """`member 1` by its name."""
    return names[int(way.split()[1])] if way.startswith("member ") else way


def _all_named(found: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {_named(way, names): value for way, value in found.items()}


def _at(curve: Sequence[Point], bias: float) -> Point:
    return next(point for point in curve if point.bias == bias)
