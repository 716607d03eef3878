"""The kind `xml0`: a tagger of seen labels, and unseen labels found by fusing those that it gives a document.

base/             a whole bundle that knows the seen labels: tree, dense, frozen, blend
encoder/          the sentence encoder of label and document texts; label_LE.npy: label texts by it
xml0.json         from base scores to probabilities; how fusion and semantic score become one, and a probability

A seen label has the base's probability. An unseen label has two scores: the closest that a weighted sum of seen
labels of the document comes to it, and the cosine of its text and the document's. A document that has no seen label
above the threshold has the second one alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from raytagger.bundle.format import Opened, open_folder
from raytagger.bundle.loaded import Loaded
from raytagger.bundle.panel import spread
from raytagger.bundle.tagger import Tagger
from raytagger.calibration import Curve
from raytagger.corpus import LabelSet
from raytagger.encoders import Encoder, open_encoder, unread
from raytagger.encoders.encoder import Embedded
from raytagger.errors import BundleError, SettingsError
from raytagger.schema import PAD, BoolArray, FloatArray, Scores
from raytagger.search.fusion import Fusion, FusionOptions, fuse, fused_labels
from raytagger.settings import FitRun
from raytagger.store import Store, read_manifest
from raytagger.vectors import merge_disjoint, top_k

Load = Callable[[Opened, Store, str], Tagger]
ROWS = 64  # documents whose scores of all unseen labels are in memory at once


class Xml0Features(NamedTuple):
    """What a search reads of B documents.

    Attributes:
        base: features of the base.
        doc_BE: float32 (B, E), unit rows by the sentence encoder.
        cut_B: bool (B,), longer than the base or the encoder reads.
    """

    base: Any
    doc_BE: FloatArray
    cut_B: BoolArray

    @property
    def blank_B(self) -> BoolArray:
        """Bool (B,), neither the base nor the sentence encoder knows anything of the document."""
        return self.base.blank_B & unread(self.doc_BE)


class Mixture(NamedTuple):
    """How the two scores of an unseen label become one, and a probability.

    Attributes:
        weight: of the fusion score; 1 - weight of the semantic one, each as deviations from its mean.
        fusion: mean and deviation of fusion scores.
        semantic: mean and deviation of semantic scores.
        slope: log odds of the combined score = slope · combined + offset.
        offset: of the same.
    """

    weight: float
    fusion: tuple[float, float]
    semantic: tuple[float, float]
    slope: float
    offset: float

    def combine(self, fusion_BU: FloatArray, semantic_BU: FloatArray) -> FloatArray:
        """float32 (B, U); where there is no fusion score (`-inf`), the semantic one alone."""
        semantic_BU = _standard(semantic_BU, self.semantic)
        if not self.weight:
            return semantic_BU
        known_BU = ~np.isneginf(fusion_BU)
        fusion_BU = _standard(np.where(known_BU, fusion_BU, np.float32(0)), self.fusion)
        mixed_BU = self.weight * fusion_BU + (1 - self.weight) * semantic_BU
        return np.where(known_BU, mixed_BU, semantic_BU).astype(np.float32)

    def probability(self, combined_BU: FloatArray) -> FloatArray:
        """float32 (B, U)."""
        return expit(self.slope * combined_BU + self.offset).astype(np.float32)


@dataclass(frozen=True)
class Explanation:
    """Why a label has its score.

    Attributes:
        label_id: which label.
        seen: scored by the base; else by fusion and text.
        score: its probability.
        fused: seen labels whose sum comes closest to it, with their probabilities; empty for a seen label, and
            where the document has none above the threshold or fusion has no weight.
        fusion: cosine of that sum and the label; None where nothing was fused.
        semantic: cosine of the document's and the label's text; None for a seen label.
        weight: of the fusion score.
        proven: no other subset of the document's labels comes closer.
    """

    label_id: str
    seen: bool
    score: float
    fused: tuple[tuple[str, float], ...] = ()
    fusion: float | None = None
    semantic: float | None = None
    weight: float = 0.0
    proven: bool = True

    def lines(self) -> list[str]:
        """For a person."""
        if self.seen:
            return [f"{self.label_id}  {self.score:.3f}  seen: by the base"]
        lines = [f"{self.label_id}  {self.score:.3f}  unseen: by label fusion and text"]
        if self.fusion is None:
            why = "has no weight" if not self.weight else "no seen label is above the threshold"
            lines.append(f"  fusion: {why}")
        else:
            sure = "" if self.proven else ", perhaps not the best subset"
            lines.append(f"  fusion {self.fusion:.3f}, weight {self.weight:.2f}{sure}")
            lines += [f"    {chance:.3f}  {label_id}" for label_id, chance in self.fused]
        weight = 1.0 if self.fusion is None else 1 - self.weight
        return [*lines, f"  semantic {self.semantic or 0.0:.3f}, weight {weight:.2f}"]


class Fused(NamedTuple):
    """The ids of the seen labels whose sum an unseen label was scored by, and whether no other subset is nearer."""

    labels: tuple[str, ...]
    proven: bool


@dataclass(frozen=True)
class Xml0Tagger(Loaded):
    """Label fusion over a base; see `Tagger` for the attributes it shares with all kinds."""

    base: Tagger
    encoder: Encoder
    label_LE: FloatArray
    curve: Curve | None
    mixture: Mixture
    options: FusionOptions

    @cached_property
    def seen_L(self) -> BoolArray:
        """Bool (L,): labels that the base was trained on."""
        return self.train_count_L > 0

    def encode(self, texts: Sequence[str]) -> Xml0Features:
        """See `Tagger.encode`."""
        return self.encode_read(texts, self.encoder.encode(texts, self.run.encoder.prompt))

    def encode_read(self, texts: Sequence[str], read: Embedded) -> Xml0Features:
        """The same where the sentence encoder has read the texts; a base with the same encoder takes that too."""
        base = self.base
        if self._shares_encoder:
            known = _Read(self.encoder, self.run.encoder.prompt, read)
            base = replace(base, encoder=known)  # pyright: ignore[reportCallIssue, reportArgumentType] - has it
        features = base.encode(texts)
        return Xml0Features(features, read.vector_BD, read.cut_B | features.cut_B)

    def _rank(self, features: Xml0Features, k: int, allowed_L: BoolArray | None) -> Scores:
        """Probabilities. Whatever is allowed, all seen labels may be fused."""
        most, everything = self.options.labels_at_most, allowed_L is None
        allowed = np.ones(len(self.labels), bool) if allowed_L is None else allowed_L
        fusable = self.search_seen(features.base, max(k, most) if everything else most)
        seen = fusable if everything else self.search_seen(features.base, k, allowed)
        unseen_J = self._unseen[allowed[self._unseen]]
        return merge_disjoint(seen, self._search_unseen(features.doc_BE, fusable.top(most), unseen_J, k), k)

    def forgetting(self, hidden_L: BoolArray) -> Xml0Tagger | None:
        """See `Tagger.forgetting`: as the base can; what a sentence encoder learnt of pairs stays in it."""
        base = self.base.forgetting(hidden_L)
        if base is None or (self.run.xml0.pairs and (hidden_L & self.seen_L).any()):
            return None
        return replace(self, base=base, train_count_L=np.where(hidden_L, 0, self.train_count_L))

    def with_labels(self, newer: LabelSet) -> Xml0Tagger:
        """See `Tagger.with_labels`: new labels are unseen, and found at once."""
        new = self.compared(newer)
        label_LE = new.padded(self.label_LE)
        if new.changed:
            vector_BE = self.encoder.encode(new.texts, self.run.labels.prompt).vector_BD
            label_LE[new.changed] = texts_alone(vector_BE, new.texts)
        base = self.base.with_labels(newer)
        return replace(self, labels=new.labels, train_count_L=new.train_count_L, base=base, label_LE=label_LE)

    def explain(self, text: str, label_id: str) -> Explanation:
        """Why a label has its score for a text.

        Raises:
            SettingsError: there is no such label.
        """
        label = self.labels.index.get(label_id)
        if label is None:
            raise SettingsError("no such label", got=label_id, expected="a label id of the bundle's label set")
        features = self.encode([text])
        if self.seen_L[label]:
            # The score of an ensemble depends on the other labels that it finds.
            found = self.search_seen(features.base, int(self.seen_L.sum()))
            return Explanation(label_id, True, float(found.score_BK[0][found.label_BK[0] == label].sum()))
        answer = self.search(features, 1, spread([label], len(self.labels)))
        score = 0.0 if answer.label_BK[0, 0] == PAD else float(answer.score_BK[0, 0])
        fusable = self.search_seen(features.base, self.options.labels_at_most)
        found, semantic_BU = self.score_unseen(features.doc_BE, fusable, np.array([label]))
        semantic, weight = float(semantic_BU[0, 0]), self.mixture.weight
        if found is None or np.isneginf(found.score_BU[0, 0]):
            return Explanation(label_id, False, score, semantic=semantic, weight=weight)
        chance = dict(zip(fusable.label_BK[0].tolist(), fusable.score_BK[0].tolist(), strict=True))
        taken = fused_labels(int(found.chosen_BU[0, 0]), fusable.label_BK[0]).tolist()
        fused = tuple((self.labels.ids[one], chance[one]) for one in taken)
        fusion, proven = float(found.score_BU[0, 0]), bool(found.proven_BU[0, 0])
        return Explanation(label_id, False, score, fused, fusion, semantic, weight, proven)

    def fused(self, features: Xml0Features, scores: Scores) -> list[list[Fused]]:
        """The seen labels that were fused for each label of an answer; none for a seen label.

        Args:
            features: of B documents.
            scores: what `search` answered of them.
        """
        fusable = self.search_seen(features.base, self.options.labels_at_most)
        named: list[list[Fused]] = []
        for row, label_K in enumerate(scores.label_BK):
            alone = Scores(fusable.label_BK[[row]], fusable.score_BK[[row]])
            unseen_J = np.flatnonzero((label_K != PAD) & ~self.seen_L[label_K])
            found, _ = self.score_unseen(features.doc_BE[[row]], alone, label_K[unseen_J])
            fused = [Fused((), True)] * len(label_K)
            if found is not None:
                for place, chosen, proven in zip(unseen_J, found.chosen_BU[0], found.proven_BU[0], strict=True):
                    taken = fused_labels(int(chosen), alone.label_BK[0])
                    fused[place] = Fused(tuple(self.labels.ids[label] for label in taken), bool(proven))
            named.append(fused)
        return named

    def search_seen(self, features: Any, k: int, allowed_L: BoolArray | None = None) -> Scores:
        """The k best seen labels by the base, with probabilities.

        Args:
            features: of the base.
            k: how many.
            allowed_L: bool (L,), of these only.
        """
        allowed = self.seen_L if allowed_L is None else self.seen_L & allowed_L
        if not allowed.any():
            return top_k(np.zeros((len(features.cut_B), 0), np.float32), k)
        found = self.base.search(features, k, allowed)
        if self.curve is None:
            return found
        chance_BK = self.curve.probability(found.score_BK).astype(np.float32)
        return Scores(found.label_BK, np.where(found.label_BK == PAD, np.float32(-np.inf), chance_BK))

    def score_unseen(
        self, doc_BE: FloatArray, fusable: Scores, label_J: np.ndarray
    ) -> tuple[Fusion | None, FloatArray]:
        """Fusion of some labels, None where it has no weight, and their semantic scores, float32 (B, J).

        Args:
            doc_BE: float32 (B, E).
            fusable: seen labels of the same documents, with probabilities.
            label_J: int64 (J,).
        """
        label_JE = self._unseen_LE if np.array_equal(label_J, self._unseen) else self.label_LE[label_J]
        semantic_BJ = doc_BE @ label_JE.T
        if not self.mixture.weight:
            return None, semantic_BJ
        return fuse(fusable, self.label_LE, label_JE, self.options), semantic_BJ

    def _search_unseen(self, doc_BE: FloatArray, fusable: Scores, label_J: np.ndarray, k: int) -> Scores:
        if not len(label_J) or not len(doc_BE):
            return top_k(np.zeros((len(doc_BE), 0), np.float32), k)
        parts = []
        for start in range(0, len(doc_BE), ROWS):
            rows = slice(start, start + ROWS)
            some = Scores(fusable.label_BK[rows], fusable.score_BK[rows])
            found, semantic_BJ = self.score_unseen(doc_BE[rows], some, label_J)
            fusion_BJ = np.full_like(semantic_BJ, -np.inf) if found is None else found.score_BU
            mixed_BJ = self.mixture.combine(fusion_BJ, semantic_BJ)
            mixed_BJ[np.isneginf(fusion_BJ) & unread(doc_BE[rows])[:, None]] = -np.inf  # nothing says anything
            best = top_k(mixed_BJ, k)
            label_BK = np.where(best.label_BK == PAD, PAD, label_J[best.label_BK]).astype(np.int32)
            parts.append(Scores(label_BK, _where_found(best, self.mixture.probability(best.score_BK))))
        return Scores.concatenate(parts)

    @cached_property
    def _unseen(self) -> np.ndarray:
        """int64, the unseen labels that may be answered: active and with a text."""
        return np.flatnonzero(self.labels.predictable_L & ~self.seen_L)

    @cached_property
    def _unseen_LE(self) -> FloatArray:
        return self.label_LE[self._unseen]

    @cached_property
    def _shares_encoder(self) -> bool:
        theirs = getattr(self.base, "encoder", None)
        return theirs is not None and theirs.identity == self.encoder.identity


class _Read:
    """An encoder that has read some texts already."""

    def __init__(self, encoder: Encoder, prompt: str, read: Embedded) -> None:
        self._encoder, self._prompt, self._read = encoder, prompt, read
        self.identity = encoder.identity

    def encode(self, texts: Sequence[str], prompt: str = "") -> Embedded:
        return self._read if prompt == self._prompt else self._encoder.encode(texts, prompt)


def texts_alone(label_LE: FloatArray, texts: Sequence[str]) -> FloatArray:
    """The same with zero rows for labels without a text, of which some encoders make a vector all the same."""
    return np.where(np.array([bool(text) for text in texts], bool)[:, None], label_LE, np.float32(0))


def _where_found(scores: Scores, value_BK: FloatArray) -> FloatArray:
    return np.where(scores.label_BK == PAD, np.float32(-np.inf), value_BK)


def _standard(score_BU: FloatArray, scale: tuple[float, float]) -> FloatArray:
    mean, deviation = scale
    return ((score_BU - np.float32(mean)) / np.float32(deviation)).astype(np.float32)


def fusion_options(run: FitRun) -> FusionOptions:
    """The search of subsets that the settings ask for.

    Raises:
        SettingsError: a value is out of range.
    """
    search = "conse" if run.xml0.combination == "conse" else "branch"
    return FusionOptions(run.xml0.threshold, run.xml0.labels_at_most, search)


def write_numbers(folder: Path, curve: Curve | None, mixture: Mixture) -> None:
    """Writes `xml0.json`."""
    kept = None
    if curve is not None:
        kept = {"score": curve.score_K.tolist(), "odds": curve.odds_K.tolist(), "how": curve.how}
    (folder / "xml0.json").write_text(json.dumps({"curve": kept, "mixture": mixture._asdict()}, indent=1) + "\n")


def open_xml0(opened: Opened, store: Store, device: str, open_kind: Load) -> Xml0Tagger:
    """Loads the base and what stands over it; the files were checked with the bundle.

    Raises:
        BundleError: the base is missing, or of another label set.
    """
    folder, run = opened.folder, opened.run
    kept = json.loads((folder / "xml0.json").read_text(encoding="utf-8"))
    curve, mixture = kept["curve"], kept["mixture"]
    base, encoder = open_kind(_open_base(opened), store, device), open_encoder(folder / "encoder", device)
    theirs = getattr(base, "encoder", None)
    return Xml0Tagger(
        bundle_id=opened.bundle_id,
        manifest=opened.manifest,
        labels=opened.labels,
        train_count_L=opened.train_count_L,
        trained_hashes=opened.trained_hashes,
        thresholds=opened.thresholds,
        run=run,
        base=base,
        encoder=theirs if theirs is not None and theirs.identity == encoder.identity else encoder,
        label_LE=np.load(folder / "label_LE.npy", allow_pickle=False).astype(np.float32),
        curve=curve and Curve(np.array(curve["score"]), np.array(curve["odds"]), curve["how"]),
        mixture=Mixture(**mixture | {"fusion": tuple(mixture["fusion"]), "semantic": tuple(mixture["semantic"])}),
        options=fusion_options(run),
    )


def _open_base(opened: Opened) -> Opened:
    place = opened.folder / "base"
    if not (place / "manifest.json").is_file():
        raise BundleError("the base of label fusion is missing", got=str(place), remedy="Fit the bundle again.")
    base = open_folder(place, read_manifest(place), f"{opened.bundle_id}-base")
    if base.labels.fingerprint != opened.labels.fingerprint:
        raise BundleError(
            "the base of label fusion has another label set",
            got=base.labels.fingerprint,
            expected=opened.labels.fingerprint,
            remedy="Fit both on one label file.",
        )
    return base
