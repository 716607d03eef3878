"""Why a tree gives a label its score: the way from the root, and the strongest features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Step(NamedTuple):
    """A level of the way to a label: the node's number in it, its margin, and the score with those above."""

    level: int
    node: int
    margin: float
    score: float


@dataclass(frozen=True)
class Explanation:
    """Why a label has its score.

    Attributes:
        label_id: which label.
        trained: scored by the tree; else by its text.
        score: what a search gives it.
        steps: the way through the tree, from the root; empty for an untrained label.
        features: the strongest terms at the last level with what they add to its margin; for an untrained label
            the terms that it shares with the document, with their part of the cosine.
        blank: nothing of the document is known: it gets no label.
    """

    label_id: str
    trained: bool
    score: float
    steps: tuple[Step, ...]
    features: tuple[tuple[str, float], ...]
    blank: bool

    def lines(self) -> list[str]:
        """For a person."""
        how = "" if self.trained else ", untrained: by its text"
        blank = ["  nothing of the document is known: it gets no label"] if self.blank else []
        steps = [
            f"  level {step.level}: node {step.node}, margin {step.margin:+.2f}, score {step.score:.3f}"
            for step in self.steps
        ]
        features = [f"    {value:+.3f}  {term}" for term, value in self.features]
        return [f"{self.label_id}  {self.score:.3f}{how}", *blank, *steps, *features]
