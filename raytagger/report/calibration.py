"""Whether the probabilities can be believed: reliability diagrams and calibration errors."""

from __future__ import annotations

import math
from typing import Any

from raytagger import metrics
from raytagger.report.charts import Series, chart
from raytagger.report.markup import note, number, row, section, table
from raytagger.report.subject import Subject
from raytagger.tables import percent

TITLE = "Can the probabilities be believed?"
GROUPS = {
    "seen": "seen labels",
    "rare": f"seen labels with {metrics.RARE_AT_MOST} training documents or fewer",
    "unseen": "unseen labels",
}
SMALLEST, LARGEST = 2.2, 8.0  # radii of marks


def probabilities(subject: Subject) -> str:
    """What was promised against what is right, for seen, rare and unseen labels; one sentence without promises."""
    if not subject.calibrated:
        return section(
            TITLE,
            "The scores of this tagger are no probabilities: they put a document's labels in order, and a score of 0.8 "
            "does not mean that the label is right eight times in ten.",
        )
    charts = "".join(_diagram(subject, group, name) for group, name in GROUPS.items())
    sentences = "".join(f"<p>{_sentence(subject, group)}</p>" for group in ("seen", "unseen"))
    return section(
        TITLE,
        "A tag given with 30 % should be right about three times in ten. Each mark stands for the tags shown, the first "
        "ten of every document, whose probabilities lie close together; the larger it is, the more they are. On the "
        "dashed line what was promised is what is right; above it the tagger promised too little, below too much.",
        f"{sentences}<div class='charts'>{charts}</div>{_table(subject)}",
    )


def _diagram(subject: Subject, group: str, name: str) -> str:
    bins = _bins(subject, group)
    if not bins:
        return ""
    most = max(one.pairs for one in bins)
    series = Series(
        name,
        [(100 * one.probability, 100 * one.share) for one in bins],
        tips=[
            f"{one.pairs:,} tags: promised {percent(one.probability)} %, right {percent(one.share)} %"
            for one in bins
        ],
        sizes=[SMALLEST + (LARGEST - SMALLEST) * math.sqrt(one.pairs / most) for one in bins],
    )
    found = subject.figures
    caption = (
        f"{name[0].upper()}{name[1:]}: {percent(found[f'ECE_{group}'])} points off on average (ECE), Brier score "
        f"{number(found[f'Brier_{group}'], '.3f')}, {number(found[f'n_pairs_{group}'], ',.0f')} tags."
    )
    return chart([series], "probability given, %", "of these right, %", caption, diagonal=100.0)


def _sentence(subject: Subject, group: str) -> str:
    bins = _bins(subject, group)
    if not bins:
        return f"No {group} label was among the tags shown, so nothing can be said about {group} labels."
    promised, right = _means(bins)
    return (
        f"Of the <b>{sum(one.pairs for one in bins):,}</b> {group} labels shown, <b>{percent(promised)} %</b> were "
        f"promised to be right and <b>{percent(right)} %</b> are; a probability is off by "
        f"<b>{percent(subject.figures[f'ECE_{group}'])}</b> points on average."
    )


def _table(subject: Subject) -> str:
    found = subject.figures
    names = dict(GROUPS)
    remark = ""
    if found["n_pairs_unseen_zero_shot"] != found["n_pairs_unseen"]:
        splits = ", ".join(found["zero_shot_splits"])
        names["unseen_zero_shot"] = f"unseen labels, on the documents of {splits}"
        remark = note(
            "Documents of a zero-shot split are chosen because they have an unseen label, so that unseen labels are right "
            "more often there than a tagger that is right about the whole corpus can promise."
        )
    header = ["tags shown", "how many", "promised, %", "right, %", "ECE, points", "Brier score"]
    return table(header, [_row(subject, group, name) for group, name in names.items()]) + remark


def _row(subject: Subject, group: str, name: str) -> str:
    found, bins = subject.figures, _bins(subject, group)
    promised, right = _means(bins) if bins else (None, None)
    return row(
        [
            name,
            number(found[f"n_pairs_{group}"], ",.0f"),
            percent(promised),
            percent(right),
            percent(found[f"ECE_{group}"]),
            number(found[f"Brier_{group}"], ".3f"),
        ]
    )


def _bins(subject: Subject, group: str) -> list[metrics.Bin]:
    found: dict[str, Any] = subject.figures["reliability"]
    return [metrics.Bin(*one) for one in found[group]]


def _means(bins: list[metrics.Bin]) -> tuple[float, float]:
    """The mean probability of all bins' pairs, and the share of them that is right."""
    pairs = sum(one.pairs for one in bins)
    promised = sum(one.pairs * one.probability for one in bins)
    return promised / pairs, sum(one.pairs * one.share for one in bins) / pairs
