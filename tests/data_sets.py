"""The benchmarks' data sets on a machine that has none: the small corpus under each of their names."""

import math
from pathlib import Path
from typing import Any

from raytagger.corpus.output import small_corpus, write_corpus
from raytagger.store import Store

DATA_SETS = ("arxiv_daily", "attack_procedures", "debian_seealso", "debtags", "eurlex_triples", "gnd_tibcore")

EVERY = 3  # the others would only be encoded


def write_data_sets(folder: Path) -> Path:
    """As they lie in `../shared/data`, where documents and labels have an `id`."""
    documents, labels, source = small_corpus(Store())
    documents = documents.take(list(range(0, len(documents), EVERY)))
    documents, labels = (
        table.rename_columns({name: "id"}) for table, name in ((documents, "doc_id"), (labels, "label_id"))
    )
    for name in DATA_SETS:
        write_corpus(Store(), str(folder / name), documents, labels, source)
    return folder


def numbers(figures: Any, path: str = "") -> dict[str, float]:
    """All numbers of a benchmark's figures, by where they stand."""
    if isinstance(figures, bool | str) or figures is None:
        return {}
    if isinstance(figures, dict):
        parts = figures.items()
    elif isinstance(figures, list | tuple):
        parts = enumerate(figures)
    else:
        return {path: float(figures)}
    return {where: value for key, part in parts for where, value in numbers(part, f"{path}/{key}").items()}


def infinite(figures: Any) -> list[str]:
    """Where a number stands that is none."""
    return [where for where, value in numbers(figures).items() if not math.isfinite(value)]
