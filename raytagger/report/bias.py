"""The trade between seen and unseen labels, as measured and as chosen on validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import logit

from raytagger import metrics
from raytagger.report.charts import Series, chart
from raytagger.report.markup import note, section
from raytagger.report.subject import Subject
from raytagger.schema import PAD, Scores
from raytagger.tables import percent

BIAS_POINTS = 21
LEAST, MOST = 2.0**-149, 1 - 2.0**-25  # odds stay finite, and in order, for every float32 between 0 and 1
X_TITLE, Y_TITLE = "ZSR@10 in % (unseen labels)", "nDCG@5 in % (all labels)"


def bias_curve(subject: Subject, beside: Sequence[Subject]) -> str:
    """nDCG@5 against ZSR@10 over the unseen bias."""
    measured = ""
    if subject.unseen_L.any():
        series = [one for one in (_front(one) for one in (subject, *beside)) if one is not None]
        measured = chart(
            series,
            X_TITLE,
            Y_TITLE,
            f"Each point adds another number to the {_scale(subject, beside)} of all unseen labels; the large mark adds "
            "nothing. Up and to the right is better.",
        )
    chosen, sentence = _validation(subject)
    if not (measured or chosen):
        return ""
    return section(
        "The trade between seen and unseen labels",
        "Preferring unseen labels finds more of them and pushes right seen labels down. Where the curve runs tells "
        "more than any one point on it.",
        f"<div class='charts'>{measured}{chosen}</div>{sentence}",
    )


def odds(scores: Scores) -> Scores:
    """Probabilities as log odds: a bias is added to these, or a probability could leave [0, 1]."""
    probability_BK = np.clip(scores.score_BK.astype(np.float64), LEAST, MOST)
    score_BK = np.where(scores.label_BK == PAD, -np.inf, logit(probability_BK)).astype(np.float32)
    return Scores(scores.label_BK, score_BK)


def _scale(subject: Subject, beside: Sequence[Subject]) -> str:
    """What the biases are added to."""
    names = {"log odds" if one.calibrated else "scores" for one in (subject, *beside)}
    return " or ".join(sorted(names, reverse=True))


def _front(one: Subject) -> Series | None:
    """The curve of a bundle over biases that span the scores' own spread."""
    ranked = one.ranked
    if one.calibrated:
        ranked = ranked._replace(seen=odds(ranked.seen), unseen=odds(ranked.unseen))
    seen, unseen = ranked.seen.score_BK[:, 0], ranked.unseen.score_BK[:, 0]
    gaps = (seen - unseen)[np.isfinite(seen) & np.isfinite(unseen)]
    if not len(gaps):
        return None
    reach = float(np.quantile(np.abs(gaps), 0.9)) or 1.0
    biases = sorted({0.0, *np.linspace(-0.3 * reach, reach, BIAS_POINTS).tolist()})
    points = [point for point in metrics.front(ranked, one.unseen_L, biases) if None not in point]
    if not points:
        return None
    return Series(
        one.name,
        [(100 * (point.zsr or 0), 100 * (point.ndcg or 0)) for point in points],
        tips=[_tip(one.name, point.bias, point.ndcg, point.zsr) for point in points],
        marked=[point.bias for point in points].index(0.0),
    )


def _validation(subject: Subject) -> tuple[str, str]:
    """The curve on validation documents that the bundle's own bias was chosen on, and what was chosen."""
    names = ("bias", "nDCG@5", "ZSR@10")
    curve: list[dict[str, Any]] = subject.manifest.get("curve") or []
    points = [tuple(float(point[name]) for name in names) for point in curve if _is_whole(point, names)]
    bias = subject.manifest.get("unseen_bias")
    if not points or bias is None:
        return "", ""
    nearest = int(np.argmin([abs(point[0] - bias) for point in points]))
    series = Series(
        "on validation documents",
        [(100 * zsr, 100 * ndcg) for _, ndcg, zsr in points],
        tips=[_tip("validation", *point) for point in points],
        marked=nearest,
    )
    _, ndcg, zsr = points[nearest]
    return chart(
        [series],
        X_TITLE,
        Y_TITLE,
        "The curve that the bias was chosen on: validation documents, with rare labels that were hidden from training "
        "in the place of unseen ones. The large mark is the choice.",
    ), note(
        f"The bundle's own bias, {bias:+.2f}, was chosen on validation documents with hidden labels: "
        f"nDCG@5 {percent(ndcg)} and ZSR@10 {percent(zsr)} there. The bundle's scores hold it already"
        + (
            ", and one curve over seen and unseen labels has made them probabilities again."
            if subject.manifest.get("shown") == "calibrated anew"
            else "."
        )
    )


def _is_whole(point: dict[str, Any], names: Sequence[str]) -> bool:
    return all(point.get(name) is not None for name in names)


def _tip(name: str, bias: float, ndcg: float | None, zsr: float | None) -> str:
    return f"{name}: {bias:+.3f}: nDCG@5 {percent(ndcg)}, ZSR@10 {percent(zsr)}"
