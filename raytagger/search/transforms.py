"""Post-processors and combiners: from a node's margin to its score, and from a path's scores to one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from raytagger.errors import SettingsError

MARGIN, LOG_SIGMOID = 0, 5  # families; 1 to 4 are the powers of the hinge
REPLACE, ADD, MULTIPLY = 0, 1, 2

# The family of each transform, and whether its value is the exponential of the family's.
_FAMILIES = {
    "noop": (MARGIN, False),
    "sigmoid": (LOG_SIGMOID, True),
    "log-sigmoid": (LOG_SIGMOID, False),
    **{f"l{power}-hinge": (power, True) for power in (1, 2, 3, 4)},
    **{f"log-l{power}-hinge": (power, False) for power in (1, 2, 3, 4)},
}
TRANSFORMS = tuple(_FAMILIES)
COMBINERS = ("product", "sum", "none")


class Scoring(NamedTuple):
    """How the kernel gets a child's score from its margin and its parent's score.

    A product of exponentials is searched as the sum of their logarithms, which neither underflows nor costs an
    exponential a node.

    Attributes:
        family: `MARGIN`, the power of the hinge, or `LOG_SIGMOID`.
        exponential: take the exponential of it at every node.
        combine: `ADD` it to the parent's score, `MULTIPLY` it, or `REPLACE` the parent's score by it.
        bounded: no child scores above its parent, so that a search may stop early and still be exact.
        finish: take the exponential of the final scores.
    """

    family: int
    exponential: bool
    combine: int
    bounded: bool
    finish: bool

    @property
    def root(self) -> float:
        """The score above the first level."""
        return 1.0 if self.combine == MULTIPLY else 0.0


def scoring(transform: str, combiner: str) -> Scoring:
    """What a transform and a combiner come to.

    The combiner `none` takes the last level's score alone, as PECOS does with `noop`.

    Raises:
        SettingsError: a name is unknown.
    """
    if transform not in _FAMILIES:
        raise SettingsError("unknown post-processor", got=transform, expected=", ".join(TRANSFORMS))
    if combiner not in COMBINERS:
        raise SettingsError("unknown combiner", got=combiner, expected=", ".join(COMBINERS))
    family, exponential = _FAMILIES[transform]
    in_logs = exponential and combiner != "sum"
    if combiner == "none":
        return Scoring(family, False, REPLACE, False, in_logs)
    if combiner == "product" and not exponential:
        return Scoring(family, False, MULTIPLY, False, False)
    bounded = family != MARGIN and (in_logs or not exponential)
    return Scoring(family, exponential and not in_logs, ADD, bounded, in_logs)


def usual_combiner(transform: str) -> str:
    """The combiner that PECOS ties to a transform."""
    if transform == "noop":
        return "none"
    return "sum" if transform.startswith("log-") else "product"


def transformed(margin: float, transform: str) -> float:
    """The transform of one margin, for explanations; the kernel has its own."""
    family, exponential = _FAMILIES[transform]
    if family == MARGIN:
        return margin
    value = -float(np.logaddexp(0.0, -margin)) if family == LOG_SIGMOID else -(max(0.0, 1.0 - margin) ** family)
    return float(np.exp(value)) if exponential else value


def combined(above: float, score: float, combiner: str) -> float:
    """A parent's combined score with its child's own."""
    if combiner == "none":
        return score
    return above + score if combiner == "sum" else above * score
