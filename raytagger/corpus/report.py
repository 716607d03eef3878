"""What is odd about a corpus: counted while its documents pass by, with a few examples of each finding."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from raytagger.corpus.chunk import DocumentChunk
from raytagger.corpus.labels import LabelSet
from raytagger.corpus.splits import list_splits
from raytagger.corpus.unknown import explain_unknown, fold_ids

pc: Any = pyarrow.compute  # makes its functions at import, where no type checker sees them

EXAMPLES = 5
SAVED = "report.json"


@dataclass
class Finding:
    """How often something was found, and the first few places, each once."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def wants_examples(self) -> bool:
        """Whether there is room for another example."""
        return len(self.examples) < EXAMPLES

    def add(self, places: Iterable[str]) -> None:
        """Counts places."""
        for place in places:
            self.count += 1
            if self.wants_examples and place not in self.examples:
                self.examples.append(place)


class CorpusReport:
    """Counts over documents and labels.

    Attributes:
        n_documents: documents read, without the rejected ones.
        splits: documents of each split; "" counts those without one.
        left_out: gold labels that the XMC repository's pairs of document and label take away.
        rejects: rejected rows by reason.
        findings: by name, see `TITLES`. Labels are looked at once, retired ones not at all.
    """

    def __init__(self, labels: LabelSet | None = None) -> None:
        self.n_documents = 0
        self.n_labels = int(labels.active_L.sum()) if labels else 0
        self.left_out = 0
        self.splits: Counter[str] = Counter()
        self.rejects: Counter[str] = Counter()
        self._refused: dict[str, str] = {}
        self.findings = {name: Finding() for name in TITLES}
        self._hint = ""
        self._labels = labels
        self._label_ids = pa.array(labels.ids, pa.string()) if labels else None
        if labels:
            self._check_labels(labels)

    def add(self, chunk: DocumentChunk) -> None:
        """Counts a chunk's documents and rejects."""
        documents, rejects = chunk.documents, chunk.rejects
        self.n_documents += len(documents)
        self.left_out += chunk.left_out
        self._hint = self._hint or chunk.hint
        self.splits.update(name or "" for name in documents["split"].to_pylist())
        self.rejects.update(rejects["reason"].to_pylist())
        for reason, finding in (("empty_text", "empty_texts"), ("duplicate_id", "duplicate_ids")):
            found = rejects.filter(pc.equal(rejects["reason"], reason))
            self.findings[finding].add(found["doc_id"].to_pylist())
        self.findings["over_lines"].add(chunk.over_lines)
        ids = documents["doc_id"].to_pylist()
        labels = documents["labels"]
        bare = np.asarray(pc.equal(pc.fill_null(pc.list_value_length(labels), 0), 0))
        self.findings["without_labels"].add(ids[row] for row in np.flatnonzero(bare))
        if self._label_ids is not None:
            gold = pc.drop_null(pc.list_flatten(labels))
            known = pc.is_in(gold, self._label_ids)
            self.findings["unknown_labels"].add(map(self._explained, gold.filter(pc.invert(known)).to_pylist()))

    def refuse(self, refused: Mapping[str, str]) -> None:
        """Counts documents that an encoder has refused, each once however many refuse it.

        Args:
            refused: their ids, and why.
        """
        new = {doc_id: reason for doc_id, reason in refused.items() if doc_id not in self._refused}
        self._refused |= new
        self.rejects.update(new.values())

    def add_refused(self, other: CorpusReport) -> None:
        """Counts the documents that were refused while a bundle within this one was fitted."""
        self.refuse(other._refused)

    @property
    def hint(self) -> str:
        """Where no document has labels: which columns look like labels, and how to name one; else ""."""
        return self._hint if self.findings["without_labels"].count == self.n_documents else ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON: every count, zeros too, and the examples."""
        return {
            "n_documents": self.n_documents,
            "n_labels": self.n_labels,
            "splits": dict(sorted(self.splits.items())),
            "rejects": dict(sorted(self.rejects.items())),
            "left_out": self.left_out,
            "hint": self.hint,
            **{name: {"count": found.count, "examples": found.examples} for name, found in self.findings.items()},
        }

    @property
    def without_splits(self) -> bool:
        """Whether no document has a split; False where there is none."""
        return set(self.splits) == {""}

    def told_splits(self) -> str:
        """The splits there are, for a message."""
        return list_splits({name: count for name, count in self.splits.items() if name})

    def save(self, folder: Path) -> None:
        """Writes the counts beside what was made of the documents."""
        (folder / SAVED).write_text(
            json.dumps({**self.as_dict(), "refused": self._refused}, indent=1) + "\n", encoding="utf-8"
        )

    def restore(self, folder: Path) -> None:
        """Takes over the counts that `save` wrote when the documents were read."""
        if not (folder / SAVED).is_file():
            return
        kept = json.loads((folder / SAVED).read_text(encoding="utf-8"))
        self.n_documents, self.left_out, self._hint = kept["n_documents"], kept["left_out"], kept["hint"]
        self.splits, self.rejects = Counter(kept["splits"]), Counter(kept["rejects"])
        self._refused = kept.get("refused", {})
        self.findings |= {name: Finding(**kept[name]) for name in TITLES if name in kept}

    def lines(self) -> list[str]:
        """For people: the size, and then only what is not zero."""
        splits = ", ".join(f"{count:,} {name or 'without a split'}" for name, count in self.splits.items())
        lines = [f"documents: {self.n_documents:,}" + (f" ({splits})" if splits else "")]
        if self.n_labels:
            lines.append(f"labels: {self.n_labels:,}")
        lines += [f"rejected, {reason}: {count:,}" for reason, count in sorted(self.rejects.items())]
        if self.left_out:
            lines.append(f"gold labels left out by filter_labels: {self.left_out:,}")
        for name, found in self.findings.items():
            if found.count:
                more = ", …" if found.count > len(found.examples) else ""
                lines.append(f"{TITLES[name]}: {found.count:,} ({', '.join(found.examples)}{more})")
        return lines + ([self.hint] if self.hint else [])

    def _explained(self, label_id: str) -> str:
        """An unknown label id, with what the label set has instead where that shows."""
        return (
            explain_unknown(label_id, self._folded) if self.findings["unknown_labels"].wants_examples else label_id
        )

    @cached_property
    def _folded(self) -> dict[str, str]:
        return fold_ids(self._labels.ids) if self._labels else {}

    def _check_labels(self, labels: LabelSet) -> None:
        first: set[str] = set()
        for index in np.flatnonzero(labels.active_L):
            label_id, text = labels.ids[index], labels.full_texts[index]
            if not text:
                self.findings["empty_labels"].add([label_id])
            elif text in first:
                self.findings["duplicate_label_texts"].add([label_id])
            first.add(text)


TITLES = {
    "duplicate_ids": "documents whose id occurred before",
    "empty_texts": "documents with an empty text",
    "over_lines": "texts over several lines of a CSV",
    "without_labels": "documents without labels",
    "unknown_labels": "gold labels that the label set does not have",
    "marked_unseen": "gold labels marked seen = false, left out of training",
    "empty_labels": "labels with neither title nor text",
    "duplicate_label_texts": "labels with the text of an earlier one",
}
