"""A label set's health as lines for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from raytagger.doctor.effect import Effect, Looked
from raytagger.doctor.labels import ILL, REMEDIES, LabelFinding, LabelReport
from raytagger.metrics import Interval
from raytagger.tables import blank_part, blank_warning, percent, table

WORST = 20


def report_lines(report: LabelReport) -> list[str]:
    """Counts by kind with what to do, and the worst findings."""
    if not report.findings:
        return [f"{report.labels:,} labels; nothing found."]
    rows = [[kind, count, REMEDIES[kind]] for kind, count in report.counts.items() if count]
    width = max(len(f"{count:,}") for _, count, _ in rows)
    lines = [f"{report.labels:,} labels, {len(report.findings):,} findings. Labels concerned, and what to do:"]
    lines += [f"  {kind:<14} {count:>{width},}  {remedy}" for kind, count, remedy in rows]
    more = len(report.findings) - WORST
    lines.append(f"The {WORST} worst, some of each harmful kind:" if more > 0 else "All of them, the worst first:")
    lines += [f"  {finding.line()}" for finding in worst(report.findings)]
    return [*lines, f"{more:,} more: --json prints all."] if more > 0 else lines


def worst(findings: Sequence[LabelFinding], count: int = WORST) -> list[LabelFinding]:
    """The first findings of each kind that harms in turn, then advice, in the order of the findings."""
    place: Counter[str] = Counter()
    ranked = []
    for row, finding in enumerate(findings):
        place[finding.kind] += 1
        ranked.append((finding.kind not in ILL, place[finding.kind], row))
    return [findings[row] for row in sorted(row for _, _, row in sorted(ranked)[:count])]


def document_lines(looked: Looked) -> list[str]:
    """How many documents were looked at, and what is wrong with them."""
    without = f"{looked.without_gold:,} without a known gold label"
    rejected = f"; {looked.rejected:,} others cannot be tagged" if looked.rejected else ""
    return [
        f"documents: {looked.documents:,}, {without}, {blank_part(looked.share_blank)}{rejected}",
        *blank_warning(looked.share_blank),
    ]


def effect_lines(effects: Sequence[Effect]) -> list[str]:
    """What leaving labels out does to the zero-shot figures."""
    if not effects:
        return ["No label with a finding is unseen: zero-shot figures do not depend on them."]
    rows = []
    for effect in effects:
        first = [effect.left_out, f"{effect.labels:,}", f"{effect.documents:,}"]
        if not effect.changes:
            rows.append([*first, "no other unseen gold", *[""] * 5])
        for figure, change in effect.changes.items():
            both = [percent(change.before), percent(change.after)]
            rows.append([*first, figure, *both, *map(_signed, (change.difference, change.others, change.by_lot))])
    header = [
        "left out",
        "unseen labels",
        "documents",
        "figure",
        "with",
        "without",
        "change",
        "others alone",
        "by lot",
    ]
    return [
        "With the unseen labels among them left out of candidates and gold, over the documents with other unseen "
        "gold; in brackets paired 95 % intervals over documents:",
        *table(rows, header).splitlines(),
        "`others alone`: the part of the change that is not the gold of the labels left out. `by lot`: the same "
        "for as many unseen labels drawn at random, mean [least, most] of ten draws. Fewer candidates always "
        "help; ill labels cost what exceeds that.",
    ]


def _signed(interval: Interval) -> str:
    value, low, high = (f"{100 * end:+.1f}" for end in (interval.value, interval.low, interval.high))
    return f"{value} [{low}, {high}]"
