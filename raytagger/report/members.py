"""A tagger made of others: what each costs and counts, and which of its answers are kept as tags."""

from __future__ import annotations

from typing import Any

from raytagger.bundle.kept import MODES, why_no_threshold
from raytagger.report.markup import NOTHING, number, row, section, table
from raytagger.report.subject import Subject


def members(subject: Subject) -> str:
    """What each member costs; "" for a tagger without members."""
    found: list[dict[str, Any]] = subject.manifest.get("members") or []
    if not found:
        return ""
    header = ["member", "kind", "documents/s", "asked for, %", "weight, seen", "weight, unseen", "bundle"]
    rows = [
        row(
            [
                _text(member.get("name")),
                _text(member.get("kind")),
                number(member.get("documents_per_s"), ",.0f"),
                number(member.get("share_asked"), ".1f", 100),
                number(member.get("weight_seen"), ".2f"),
                number(member.get("weight_unseen"), ".2f"),
                _text(member.get("bundle")),
            ]
        )
        for member in found
    ]
    return section(
        "What each member costs",
        "This tagger asks others and weighs what they say: how fast each is, for how many documents it is asked, and how "
        "much it counts for seen and for unseen labels.",
        table(header, rows),
    )


def kept_tags(subject: Subject) -> str:
    """How the thresholds were chosen, or why there are none, in a paragraph; "" where nothing is known of them."""
    found: dict[str, Any] = subject.manifest.get("thresholds") or {}
    if not found:
        return ""
    value, mode = found.get("value"), found.get("mode")
    if value is None and mode in MODES:
        why = f"There is no threshold: {why_no_threshold(subject.manifest)}. "
        return section("Which tags are kept", why + "Every document gets its best labels, and F1 is not defined.")
    from_where = "" if value is None else f"A label is kept as a tag from {number(value, '.3f')} on. "
    why = "" if mode is None else f"It was chosen for {MODES.get(mode, mode)} on validation documents. "
    because = f"{_text(found['why'])}. " if found.get("why") else ""
    return section("Which tags are kept", (from_where + why + because + _per_label(found.get("per_label"))).strip())


def _per_label(found: object) -> str:
    """Whether labels have thresholds of their own."""
    if not isinstance(found, dict) or not found:
        return ""
    tried = (
        "Thresholds of their own for labels are used"
        if found.get("kept")
        else "Thresholds of their own for labels were tried and left out, since their gain may be chance"
    )
    gain = found.get("gain")
    if gain is None:
        return "" if found.get("why") is None else f"Labels have no thresholds of their own: {found['why']}."
    between = ""
    if found.get("low") is not None and found.get("high") is not None:
        low, high = (number(found[end], "+.2f", 100) for end in ("low", "high"))
        between = f" (95 % interval {low} to {high})"
    return f"{tried}: {number(gain, '+.2f', 100)} points on documents that they were not chosen on{between}."


def _text(value: object) -> str:
    return NOTHING if value is None or value == "" else str(value)
