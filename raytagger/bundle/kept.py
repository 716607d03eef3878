"""The rule by which a bundle keeps labels as tags: a file of the bundle, and what its manifest tells of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raytagger.calibration import Thresholds

FILE = "thresholds.json"
MODES = {
    "micro_F1": "the best micro-F1",
    "macro_F1": "the best macro-F1",
    "precision": "the precision asked for",
    "fixed": "the value that was set",
    "count": "a fixed number of tags",
}


def write_thresholds(folder: Path, thresholds: Thresholds) -> None:
    """Writes `thresholds.json`."""
    (folder / FILE).write_text(json.dumps(thresholds.as_dict()) + "\n", encoding="utf-8")


def read_thresholds(folder: Path, labels: int, fixed: float | None) -> Thresholds:
    """What `write_thresholds` wrote; of an older bundle, the one score that was `fixed` for it, if any."""
    file = folder / FILE
    if not file.is_file():
        return Thresholds(fixed)
    return Thresholds.from_dict(json.loads(file.read_text(encoding="utf-8")), labels)


def why_no_threshold(manifest: Mapping[str, Any]) -> str:
    """Why a bundle has no threshold, for a person."""
    found = manifest.get("thresholds") or {}
    if found.get("mode") == "count":
        return "threshold.mode is count"
    usual = "the bundle is of an older version, or imported; fit it again, or set search.threshold"
    return found.get("why") or usual


def told_tags(manifest: Mapping[str, Any]) -> str:
    """How many labels are kept as tags, and from which score on, in a line; "" for older bundles."""
    most, found = manifest.get("tags"), manifest.get("thresholds") or {}
    if not most:
        return ""
    by = "" if most["how"] == "threshold.most" else "; search.k sets it"
    line = f"tags: up to {most['k']} labels a document, {most['how']}{by}"
    if found.get("value") is None:
        return f"{line}; no threshold: {why_no_threshold(manifest)}"
    some, all_there = found["documents"], most.get("validation_documents", found["documents"])
    cut = "" if some == all_there else f" of {all_there:,}"
    chosen = f"{MODES[found['mode']]} on {some:,}{cut} validation documents"
    return f"{line}; from a score of {found['value']:.3g} on: " + (
        MODES["fixed"] if found["mode"] == "fixed" else found["why"] or chosen
    )
