"""The kind `blend`: several taggers as one, with one probability for seen and unseen labels.

members/<n>/      whole bundles, in the order of `names`
usual/<n>.npy     float32 (2, L): mean and deviation of a member's scores of each label over documents of the corpus
sample/<n>/       features of those documents, so that labels to come get theirs
blend.json        gates, curves, offsets, the unseen bias, thresholds

A label is seen if any member was trained on it. Seen labels: each member's score becomes log odds, a gate joins
them, a curve and offsets of labels make them a probability. Unseen labels: each member's score counts by how
unusual it is for the label; the gate was fitted on seen labels that all members were made to forget. Both are
ranked together, unseen ones raised by the bias, and a last curve makes what is shown probabilities again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from raytagger.bundle.features import load_features, readers, take_rows
from raytagger.bundle.format import Opened, open_folder
from raytagger.bundle.loaded import Loaded
from raytagger.bundle.panel import Panel, from_dict, raised, spread
from raytagger.bundle.tagger import Tagger
from raytagger.calibration import Thresholds
from raytagger.corpus import LabelSet
from raytagger.encoders import Encoder
from raytagger.encoders.encoder import Embedded
from raytagger.errors import BundleError, SettingsError
from raytagger.schema import BoolArray, FloatArray, Scores
from raytagger.search.blend import Candidates, Setting, ranked, seen_facts, unite, unseen_facts, unusual
from raytagger.search.overlap import Overlap
from raytagger.store import Store, read_manifest
from raytagger.vectors import merge_disjoint
from raytagger.vectors.style import WORDS

DEPTH = 100  # labels that a member names of either population
ROWS = 256  # documents whose facts are in memory at once
Load = Callable[[Opened, Store, str], Tagger]


class BlendFeatures(NamedTuple):
    """What a blend reads of B documents.

    Attributes:
        members: features of each member; of one that the cascade skips, those of the asked documents alone.
        words_BV: bool-like CSR (B, V), which label words a document has.
        cut_B: bool (B,), longer than some member reads.
        asked: int64, documents that all members are asked about; None for all of them.
    """

    members: tuple[Any, ...]
    words_BV: sp.csr_matrix
    cut_B: BoolArray
    asked: np.ndarray | None

    @property
    def blank_B(self) -> BoolArray:
        """Bool (B,), no member knows anything of the document: such documents all are asked about."""
        asked = np.arange(len(self.cut_B)) if self.asked is None else self.asked
        blank_B = np.zeros(len(self.cut_B), bool)
        parts = [part.blank_B for part in readers(self.members)]
        blank_B[asked] = np.all([part_B[asked] if len(part_B) > len(asked) else part_B for part_B in parts], axis=0)
        return blank_B


@dataclass(frozen=True)
class Said:
    """What one member says of a label."""

    member: str
    score: float | None
    adds: float


@dataclass(frozen=True)
class BlendExplanation:
    """Why a label has its score: log odds are a sum of what each member adds and of what belongs to the label."""

    label_id: str
    seen: bool
    score: float
    members: tuple[Said, ...]
    rest: float

    def lines(self) -> list[str]:
        """For a person."""
        how = "seen" if self.seen else "unseen: by its text"
        said = [(one, "did not name it" if one.score is None else f"score {one.score:.3f}") for one in self.members]
        told = [f"  {one.member}: {what}, {one.adds:+.2f}" for one, what in said]
        return [f"{self.label_id}  {self.score:.3f}  {how}", *told, f"  label and document: {self.rest:+.2f}"]


@dataclass(frozen=True)
class BlendTagger(Loaded):
    """Several taggers as one; see `Tagger` for the attributes it shares with all kinds."""

    names: tuple[str, ...]
    members: tuple[Tagger, ...]
    full: Panel
    cheap: Panel | None
    usual_M2L: FloatArray
    samples: tuple[Any, ...]
    unseen_bias: float
    overlap: Overlap = field(repr=False)

    @cached_property
    def seen_L(self) -> BoolArray:
        """Bool (L,): labels that some member was trained on."""
        return self.train_count_L > 0

    def encode(self, texts: Sequence[str]) -> BlendFeatures:
        """See `Tagger.encode`. Members with the same encoder share what it gives."""
        words_BV = self.overlap.words(texts)
        if self.cheap is None:
            features = self._encode_members(range(len(self.members)), texts)
            parts = tuple(features[member] for member in range(len(self.members)))
            cut_B = np.any([part.cut_B for part in parts], axis=0)
            return BlendFeatures(parts, words_BV, cut_B, None)
        features = self._encode_members(self.cheap.members, texts)
        asked = self._uncertain(features, words_BV)
        rest = [member for member in range(len(self.members)) if member not in features]
        features |= self._encode_members(rest, [texts[int(row)] for row in asked])
        cut_B = np.any([features[member].cut_B for member in self.cheap.members], axis=0)
        for member in rest:
            cut_B[asked] |= features[member].cut_B
        return BlendFeatures(tuple(features[m] for m in range(len(self.members))), words_BV, cut_B, asked)

    def _rank(self, features: BlendFeatures, k: int, allowed_L: BoolArray | None) -> Scores:
        """Probabilities; unseen labels are raised by the bias in the ranking.

        Allowing a part of the seen or of the unseen labels changes what stands beside a label, and so its
        probability a little. Features are of this tagger's label texts: encode again after `with_labels`.
        """
        asked = features.asked
        if asked is None or self.cheap is None:
            return self._search(self.full, features.members, features.words_BV, k, allowed_L)
        cheap = {member: features.members[member] for member in self.cheap.members}
        found = self._search(self.cheap, cheap, features.words_BV, k, allowed_L)
        if len(asked):
            every = [take_rows(part, asked) if m in cheap else part for m, part in enumerate(features.members)]
            better = self._search(self.full, every, features.words_BV[asked], k, allowed_L)
            found.label_BK[asked], found.score_BK[asked] = better.label_BK, better.score_BK
        return found

    def forgetting(self, hidden_L: BoolArray) -> BlendTagger | None:
        """See `Tagger.forgetting`."""
        members = [member.forgetting(hidden_L) for member in self.members]
        if any(member is None for member in members):
            return None
        kept = tuple(member for member in members if member is not None)
        usual_M2L, fresh = self.usual_M2L.copy(), np.flatnonzero(hidden_L & self.seen_L)
        usual_M2L[:, :, fresh] = replace(self, members=kept).usual(fresh)
        count_L = np.where(hidden_L, 0, self.train_count_L)
        return replace(self, members=kept, train_count_L=count_L, usual_M2L=usual_M2L)

    def with_labels(self, newer: LabelSet) -> BlendTagger:
        """See `Tagger.with_labels`: every member takes them, and learns how they score documents of the corpus."""
        new = self.compared(newer)
        labels = len(new.labels)
        back_L = new.labels.active_L & ~np.append(self.labels.active_L, np.ones(new.added, bool))
        fresh = np.flatnonzero((spread(new.changed, labels) | back_L) & (new.train_count_L == 0))
        members = tuple(member.with_labels(newer) for member in self.members)
        usual_M2L = np.pad(self.usual_M2L, ((0, 0), (0, 0), (0, new.added)))
        usual_M2L[:, :, fresh] = replace(self, members=members).usual(fresh)
        return replace(
            self,
            labels=new.labels,
            train_count_L=new.train_count_L,
            members=members,
            usual_M2L=usual_M2L,
            overlap=Overlap(new.labels.full_texts, self.overlap.way) if new.changed else self.overlap,
        )

    def usual(self, label_J: np.ndarray) -> FloatArray:
        """What each member usually gives some labels, float32 (M, 2, J), see `Tagger.moments`."""
        pairs = zip(self.members, self.samples, strict=True)
        return np.stack([member.moments(sample, label_J) for member, sample in pairs])

    def explain(self, text: str, label_id: str) -> BlendExplanation:
        """Which member said what of a label, and what it adds to the log odds.

        Raises:
            SettingsError: there is no such label.
        """
        label = self.labels.index.get(label_id)
        if label is None:
            raise SettingsError("no such label", got=label_id, expected="a label id of the bundle's label set")
        features, seen = self.encode([text]), bool(self.seen_L[label])
        cheap = self.cheap is not None and features.asked is not None and not len(features.asked)
        panel = self.cheap if cheap and self.cheap is not None else self.full
        everyone = self.seen_L if seen else ~self.seen_L
        candidates = self.candidates(panel, features.members, everyone)
        fact_BCF = self.facts(panel, candidates, features.words_BV, seen)
        column = np.flatnonzero(candidates.label_BC[0] == label)
        names = [self.names[member] for member in panel.members]
        if not len(column):
            return BlendExplanation(label_id, seen, 0.0, tuple(Said(name, None, 0.0) for name in names), 0.0)
        chance_BC = panel.probability(candidates, fact_BCF, seen)
        if not seen:
            chance_BC = raised(chance_BC, self.unseen_bias)
        score = panel.told(chance_BC)[0, column[0]]
        gate = panel.seen if seen else panel.unseen
        part_F = fact_BCF[0, column[0]] * gate.weight_F
        adds_M = panel.by_member(part_F, seen)
        named_M = candidates.rank_MBC[:, 0, column[0]] > 0
        values_M = candidates.score_MBC[:, 0, column[0]]
        said = [
            Said(name, float(value) if named else None, float(adds))
            for name, value, named, adds in zip(names, values_M, named_M, adds_M, strict=True)
        ]
        rest = float(part_F.sum() - adds_M.sum() + gate.offset)
        return BlendExplanation(label_id, seen, float(score), tuple(said), rest)

    def candidates(self, panel: Panel, features: Any, allowed_L: BoolArray, depth: int = DEPTH) -> Candidates:
        """What the members of a panel name, of the allowed labels.

        Args:
            panel: the members that are asked.
            features: of each member, by its number.
            allowed_L: bool (L,).
            depth: labels that a member names.
        """
        said = [self.members[member].rank(features[member], depth, allowed_L) for member in panel.members]
        return unite(said, np.stack([features[member].blank_B for member in panel.members]))

    def facts(self, panel: Panel, candidates: Candidates, words_BV: sp.csr_matrix, seen: bool) -> np.ndarray:
        """Facts of pairs of one population, float64 (B, C, F), for at most a few hundred documents."""
        setting = Setting(
            np.log1p(self.train_count_L[np.maximum(candidates.label_BC, 0)]),
            self.overlap.shares(words_BV, candidates.label_BC).astype(np.float64),
            np.log1p(np.diff(words_BV.indptr))[:, None],
        )
        if seen:
            return seen_facts(panel.member_odds(candidates), candidates, setting)
        usual_M2L = self.usual_M2L[list(panel.members)]
        away_MBC = unusual(candidates, usual_M2L[:, 0], usual_M2L[:, 1])
        return unseen_facts(away_MBC, candidates, setting)

    def _search(
        self, panel: Panel, features: Any, words_BV: sp.csr_matrix, k: int, allowed_L: BoolArray | None
    ) -> Scores:
        rows = len(words_BV.indptr) - 1
        if rows <= ROWS:
            return self._search_rows(panel, features, words_BV, k, allowed_L)
        parts = []
        for start in range(0, rows, ROWS):
            some = np.arange(start, min(start + ROWS, rows))
            cut = {member: take_rows(features[member], some) for member in panel.members}
            parts.append(self._search_rows(panel, cut, words_BV[some], k, allowed_L))
        return Scores.concatenate(parts)

    def _search_rows(
        self, panel: Panel, features: Any, words_BV: sp.csr_matrix, k: int, allowed_L: BoolArray | None
    ) -> Scores:
        found: list[Scores] = []
        for seen, population_L in ((True, self.seen_L), (False, ~self.seen_L)):
            only_L = population_L if allowed_L is None else population_L & allowed_L
            candidates = self.candidates(panel, features, only_L, max(k, DEPTH))
            chance_BC = panel.probability(candidates, self.facts(panel, candidates, words_BV, seen), seen)
            if not seen:
                chance_BC = raised(chance_BC, self.unseen_bias)
            found.append(ranked(candidates, chance_BC, k))
        return panel.show(merge_disjoint(found[0], found[1], k))

    def _encode_members(self, members: Iterable[int], texts: Sequence[str]) -> dict[int, Any]:
        """Each distinct encoder reads the texts once."""
        once: dict[int, _Once] = {}
        found = {}
        for number in members:
            member = self.members[number]
            encoder = getattr(member, "encoder", None)
            if encoder is not None:
                shared = once.setdefault(id(encoder), _Once(encoder))
                member = replace(member, encoder=shared)  # pyright: ignore[reportCallIssue, reportArgumentType] - has it
            found[number] = member.encode(texts)
        return found

    def _uncertain(self, features: dict[int, Any], words_BV: sp.csr_matrix) -> np.ndarray:
        """Documents whose ranking by the cheap members would gain by asking the dear ones."""
        panel = self.cheap
        if panel is None or panel.cascade is None:
            return np.arange(len(words_BV.indptr) - 1)
        scores = self._search(panel, features, words_BV, panel.cascade.depth, None)
        blank_B = np.all([part.blank_B for part in readers([features[m] for m in panel.members])], axis=0)
        return np.flatnonzero(blank_B | (panel.cascade.gain(scores) > panel.cascade.least_gain))


class _Once:
    """An encoder that reads the same texts once."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder, self._read = encoder, dict[str, Embedded]()
        self.identity = encoder.identity

    def encode(self, texts: Sequence[str], prompt: str = "") -> Embedded:
        if prompt not in self._read:
            self._read[prompt] = self._encoder.encode(texts, prompt)
        return self._read[prompt]


def open_blend(opened: Opened, store: Store, device: str, open_kind: Load) -> BlendTagger:
    """Loads the members and what joins them.

    Raises:
        BundleError: a member is missing, or of another label set.
    """
    folder = opened.folder
    run = opened.run
    kept = json.loads((folder / "blend.json").read_text(encoding="utf-8"))
    members = [open_kind(_member(folder, number, opened), store, device) for number in range(len(kept["names"]))]
    members = shared_encoders(members)
    documents = int(kept["sample"])
    samples = tuple(
        load_features(member.encode([""]), documents, folder / "sample" / str(number))
        for number, member in enumerate(members)
    )
    return BlendTagger(
        bundle_id=opened.bundle_id,
        manifest=opened.manifest,
        labels=opened.labels,
        train_count_L=opened.train_count_L,
        trained_hashes=opened.trained_hashes,
        run=run,
        names=tuple(kept["names"]),
        members=tuple(members),
        full=from_dict(kept["full"], len(opened.labels)),
        cheap=from_dict(kept["cheap"], len(opened.labels)) if kept["cheap"] else None,
        usual_M2L=np.stack(
            [np.load(folder / "usual" / f"{n}.npy", allow_pickle=False) for n in range(len(members))]
        ),
        samples=samples,
        thresholds=Thresholds.from_dict(kept["thresholds"], len(opened.labels)),
        unseen_bias=kept["unseen_bias"],
        overlap=Overlap(opened.labels.full_texts, kept.get("words", WORDS)),  # older ones saw words in that way
    )


def shared_encoders(members: Sequence[Tagger]) -> list[Tagger]:
    """Members with equal encoders hold the same one."""
    known: dict[str, Encoder] = {}
    shared = []
    for member in members:
        encoder = getattr(member, "encoder", None)
        if encoder is not None:
            member = replace(member, encoder=known.setdefault(encoder.identity, encoder))  # pyright: ignore[reportCallIssue, reportArgumentType] - has it
        shared.append(member)
    return shared


def _member(folder: Path, number: int, opened: Opened) -> Opened:
    place = folder / "members" / str(number)
    if not (place / "manifest.json").is_file():
        raise BundleError("a member of the blend is missing", got=str(place), remedy="Fit the blend again.")
    member = open_folder(place, read_manifest(place), f"{opened.bundle_id}-{number}")
    if member.labels.fingerprint != opened.labels.fingerprint:
        raise BundleError(
            "a member of the blend has another label set",
            got=f"{place}: {member.labels.fingerprint}",
            expected=opened.labels.fingerprint,
            remedy="Fit the members and the blend on one label file.",
        )
    return member
