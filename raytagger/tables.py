"""Figures as text: aligned tables and percentages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

BLANK_SHARE = 0.05  # of the documents: with more blank ones, something is wrong with the texts or the bundle


def table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """Aligned columns; the first to the left, numbers to the right."""
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def percent(value: float | None) -> str:
    """A fraction as a percentage, `-` where it is undefined."""
    return "-" if value is None else f"{100 * value:.1f}"


def blank_part(share: float) -> str:
    """How many of the documents are blank: the same words wherever documents are tagged."""
    return f"{100 * share:.1f} % blank (nothing of them is known)"


def blank_warning(share: float) -> list[str]:
    """A line where too many documents are blank; none otherwise."""
    if share <= BLANK_SHARE:
        return []
    return [
        f"warning: {100 * share:.1f} % of the documents are blank: no word of theirs is known, so that they get no "
        "tags; check source.fields, the documents' language, and that the bundle was fitted on texts like them"
    ]


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def figure_lines(figures: dict[str, Any]) -> list[str]:
    """The short table of an evaluation, and what was measured and left out."""
    names = ["P@1", "P@5", "R@10", "nDCG@5", "PSP@5", "micro_F1", "ZSR@10", "UR@1", "chance_ZSR@10"]
    names += [name for name in ("ECE_seen", "ECE_unseen") if figures.get(name) is not None]
    intervals = figures["intervals"]
    rows = [
        [name, percent(figures[name]), " to ".join(percent(end) for end in intervals.get(name) or ())]
        for name in names
    ]
    if figures["no_F1"]:
        rows[names.index("micro_F1")][1] = "n/a"
    lines = table(rows, ["metric", "%", "95 % interval"]).splitlines()
    if figures["no_F1"]:
        lines.append(f"micro_F1: none without a threshold of tags: {figures['no_F1']}")
    count = figures["n_filtered_gold"]
    filtered = f"{count:,} gold labels by filter_labels, " if count else ""
    lines.append(
        f"{figures['n_documents']:,} documents, {figures['n_labels']:,} labels "
        f"({figures['n_unseen_labels']:,} unseen), {figures['documents_per_s']:,.0f} documents/s; left out: "
        f"{figures['n_without_gold']:,} without gold labels, {figures['n_unknown_gold']:,} unknown gold labels, "
        f"{filtered}{figures['n_rejected']:,} rejected rows; {blank_part(figures['share_blank'])}"
    )
    compared = figures["compared"]
    if len(compared) > 1:
        lines.append(
            f"{len(compared)} bundles are compared: unseen are the labels that none was trained on, and PSP weighs "
            f"labels by the training counts of {compared[0]}"
        )
    lines.extend(f"rejected, {why}: {count:,}, such as {one}" for why, (count, one) in figures["rejected"].items())
    lines.extend(blank_warning(figures["share_blank"]))
    lines.extend(f"model {model}: licence {licence}" for model, licence in figures["licences"].items())
    return lines
