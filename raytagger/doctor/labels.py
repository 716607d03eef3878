"""Checks of a label set: texts that no method can tell apart, and texts that say too little.

The same text goes into every frozen embedding, so that an ill one costs unseen labels most: they have nothing else.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from raytagger.corpus import LabelSet
from raytagger.doctor.neighbours import NEIGHBOURS, find_hubs, nearest_labels
from raytagger.encoders import Encoder
from raytagger.errors import SettingsError
from raytagger.labels.bank import calls
from raytagger.progress import Progress, silent
from raytagger.schema import PAD, BoolArray, FloatArray, Scores
from raytagger.vectors.scripts import MARK, UNSPACED, characters_of, visible

COMMON_SHARE, COMMON_LABELS = 1 / 5, 5
FEWEST_LETTERS = 3

REMEDIES = {
    "empty": "Give it a title or a text, or retire it: nothing finds it by its text.",
    "duplicate": "Merge the two, or say in each text what sets it apart.",
    "similar": "Reword what sets them apart, or merge them.",
    "uninformative": "Say in the text what a document of this label is about.",
    "cut": "Put what matters first, or read more tokens (--max-tokens here, labels.max_tokens in a run).",
    "short": "Add a sentence that says what a document of this label is about.",
    "title_only": "Add a text that says more than the title.",
}
"""Kinds of findings, the worst first, and what to do about each."""

ILL = ("empty", "duplicate", "similar", "uninformative")
"""Kinds that harm; the others are advice."""


@dataclass(frozen=True)
class LabelFinding:
    """What is wrong with a label's text.

    Attributes:
        label_id: the label; of a pair the one with the larger index.
        kind: a key of `REMEDIES`.
        detail: what was found.
        other: of a pair the other label's id, else "".
        cosine: of `similar`, the cosine of the two frozen embeddings.
    """

    label_id: str
    kind: str
    detail: str
    other: str = ""
    cosine: float | None = None

    @property
    def label_ids(self) -> tuple[str, ...]:
        """The labels concerned: one, or the two of a pair."""
        return (self.label_id, self.other) if self.other else (self.label_id,)

    def as_dict(self) -> dict[str, Any]:
        """For a program, with the remedy."""
        return asdict(self) | {"remedy": REMEDIES[self.kind]}

    def line(self) -> str:
        """For a person."""
        return f"{self.kind:<14} {self.label_id}: {self.detail}"


@dataclass(frozen=True)
class LabelReport:
    """All findings on a label set, the worst first.

    Attributes:
        labels: how many active labels there are; retired ones are not looked at.
        findings: by kind as in `REMEDIES`, `similar` by falling cosine, then by the label's index.
    """

    labels: int
    findings: tuple[LabelFinding, ...]

    @cached_property
    def counts(self) -> dict[str, int]:
        """Labels concerned, by kind; every kind is there."""
        return {kind: len(self.flagged([kind])) for kind in REMEDIES}

    def flagged(self, kinds: Collection[str] = ILL) -> set[str]:
        """Ids of the labels concerned by these kinds."""
        return {name for one in self.findings if one.kind in kinds for name in one.label_ids}


def check_labels(
    labels: LabelSet, encoder: Encoder, similar: float = 0.95, prompt: str = "", progress: Progress = silent
) -> LabelReport:
    """Looks at all active labels; each distinct text is encoded once.

    Time is that of encoding the texts, and of L² x D products.

    Args:
        labels: the label set.
        encoder: the frozen encoder that sees the texts.
        similar: the least cosine of texts that are too similar.
        prompt: put before every text.
        progress: told of texts and labels.

    Raises:
        SettingsError: `similar` is not within 0 … 1.
    """
    if not 0 < similar <= 1:
        raise SettingsError("the cosine of similar labels", got=similar, expected="above 0, at most 1")
    texts = _Texts(labels)
    vector_UD, cut_U = _embed(texts.distinct, encoder, prompt, progress)
    has_vector_U: BoolArray = (vector_UD != 0).sum(axis=1) > 0
    known_U = np.flatnonzero(has_vector_U)
    nearest = nearest_labels(vector_UD[known_U], NEIGHBOURS, progress)
    hubs = find_hubs(nearest, vector_UD[known_U])
    findings = [
        *_find_empty(texts, has_vector_U),
        *_find_duplicates(texts),
        *_find_similar(texts, known_U, nearest, similar),
        *_find_commonplace(texts),
        *_find_hubs(texts, known_U[hubs.hub_L], hubs.count_L[hubs.hub_L]),
        *_find_cut(texts, cut_U),
        *_find_short(texts),
    ]
    rank = {kind: place for place, kind in enumerate(REMEDIES)}
    findings.sort(key=lambda one: (rank[one.kind], -(one.cosine or 0.0), labels.index[one.label_id]))
    return LabelReport(len(texts.active), tuple(findings))


def normalised(text: str) -> str:
    """A text without what case, spaces and Unicode's forms add."""
    return " ".join(unicodedata.normalize("NFKC", visible(text)).casefold().split())


def words_of(text: str) -> list[str]:
    """The words of a text, in small letters; of a script without spaces, each character with its marks is one."""
    return _word().findall(normalised(text))


@cache
def _word() -> re.Pattern[str]:
    unspaced, marks = characters_of(UNSPACED), characters_of(MARK)
    return re.compile(rf"[{unspaced}][{marks}]*|[^\W_{unspaced}](?:[^\W_{unspaced}]|[{marks}])*")


class _Texts:
    """The active labels by distinct text: the U texts that differ in more than case and spaces.

    Attributes:
        active: indices of active labels.
        distinct: U texts as they are encoded; texts without a word are not among them.
        owners_U: indices of the labels of each, ascending.
        word_U: their words.
        wordless: active labels whose text has no word.
    """

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels
        self.active = np.flatnonzero(labels.active_L).tolist()
        owners: dict[str, list[int]] = {}
        self.wordless: list[int] = []
        for label in self.active:
            text = labels.full_texts[label]
            if words_of(text):
                owners.setdefault(normalised(text), []).append(label)
            else:
                self.wordless.append(label)
        self.owners_U = list(owners.values())
        self.distinct = [labels.full_texts[found[0]] for found in self.owners_U]
        self.word_U = [words_of(text) for text in self.distinct]

    def owners(self, rows: Sequence[int] | npt.NDArray[np.intp]) -> Iterator[int]:
        """The labels of these texts."""
        return (label for row in rows for label in self.owners_U[row])


def _embed(texts: Sequence[str], encoder: Encoder, prompt: str, progress: Progress) -> tuple[FloatArray, BoolArray]:
    vectors, cuts = [np.zeros((0, encoder.width), np.float32)], [np.zeros(0, bool)]
    for start, stop in calls(len(texts)):
        vector_SD, cut_S = encoder.encode(texts[start:stop], prompt)
        vectors.append(vector_SD)
        cuts.append(cut_S)
        progress("encoding label texts", stop, len(texts))
    return np.concatenate(vectors), np.concatenate(cuts)


def _find_empty(texts: _Texts, has_vector_U: BoolArray) -> Iterator[LabelFinding]:
    ids, full = texts.labels.ids, texts.labels.full_texts
    for label in texts.wordless:
        yield LabelFinding(ids[label], "empty", "no word in its text" if full[label] else "neither title nor text")
    for label in texts.owners(np.flatnonzero(~has_vector_U)):
        yield LabelFinding(ids[label], "empty", "the encoder knows no part of its text")


def _find_duplicates(texts: _Texts) -> Iterator[LabelFinding]:
    ids = texts.labels.ids
    for first, *more in texts.owners_U:
        for label in more:
            shown = _shown(texts.labels.full_texts[label])
            yield LabelFinding(ids[label], "duplicate", f"the same text as {ids[first]}: {shown}", ids[first])


def _find_similar(
    texts: _Texts, known_U: npt.NDArray[np.intp], nearest: Scores, similar: float
) -> Iterator[LabelFinding]:
    """Each label with its nearest other; a pair that is nearest both ways is one finding."""
    if nearest.label_BK.shape[1] == 0:
        return
    ids, full = texts.labels.ids, texts.labels.full_texts
    near_U, cosine_U = nearest.label_BK[:, 0], nearest.score_BK[:, 0]
    pairs: dict[tuple[int, int], float] = {}
    for row in np.flatnonzero((near_U != PAD) & (cosine_U >= similar)).tolist():
        near = int(near_U[row])
        pairs[min(row, near), max(row, near)] = min(float(cosine_U[row]), 1.0)
    for (left, right), cosine in pairs.items():
        first, second = sorted((texts.owners_U[known_U[left]][0], texts.owners_U[known_U[right]][0]))
        detail = f"cosine {cosine:.3f} with {ids[first]}: {_shown(full[second])} | {_shown(full[first])}"
        yield LabelFinding(ids[second], "similar", detail, ids[first], round(cosine, 4))


def _find_commonplace(texts: _Texts) -> Iterator[LabelFinding]:
    """Texts without a word that tells them apart."""
    frequency = Counter(word for words in texts.word_U for word in set(words))
    least = max(COMMON_SHARE * len(texts.distinct), COMMON_LABELS)
    rows = [row for row, words in enumerate(texts.word_U) if all(frequency[word] > least for word in words)]
    for label in texts.owners(rows):
        detail = (
            f"each of its words stands in more than a fifth of the texts: {_shown(texts.labels.full_texts[label])}"
        )
        yield LabelFinding(texts.labels.ids[label], "uninformative", detail)


def _find_hubs(
    texts: _Texts, hub_H: npt.NDArray[np.intp], count_H: npt.NDArray[np.int64]
) -> Iterator[LabelFinding]:
    for row, count in zip(hub_H.tolist(), count_H.tolist(), strict=True):
        for label in texts.owners([row]):
            shown = _shown(texts.labels.full_texts[label])
            detail = f"like everything: among the {NEIGHBOURS} nearest of {count} other labels: {shown}"
            yield LabelFinding(texts.labels.ids[label], "uninformative", detail)


def _find_cut(texts: _Texts, cut_U: BoolArray) -> Iterator[LabelFinding]:
    for label in texts.owners(np.flatnonzero(cut_U)):
        characters = len(texts.labels.full_texts[label])
        detail = f"its text of {characters:,} characters is longer than the encoder reads"
        yield LabelFinding(texts.labels.ids[label], "cut", detail)


def _find_short(texts: _Texts) -> Iterator[LabelFinding]:
    labels = texts.labels
    for row, words in enumerate(texts.word_U):
        different = set(words)
        letters = sum(map(len, different))
        for label in texts.owners([row]):
            title, text = labels.titles[label], labels.texts[label]
            if len(different) == 1 or letters < FEWEST_LETTERS:
                yield LabelFinding(
                    labels.ids[label], "short", f"one word or less: {_shown(labels.full_texts[label])}"
                )
            if title and normalised(text) in ("", normalised(title)):
                yield LabelFinding(labels.ids[label], "title_only", f"a title and no text: {_shown(title)}")


def _shown(text: str, limit: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
