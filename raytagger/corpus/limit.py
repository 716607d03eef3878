"""How many documents may be rejected before a run is refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from raytagger.corpus.chunk import DocumentChunk
from raytagger.errors import RejectsError
from raytagger.settings import SourceSettings

EARLY_ROWS = 10_000  # where none of so many can be used, nobody waits for the rest

REMEDIES = {
    "not_utf8": "Convert the files to UTF-8: iconv -f CP1252 -t UTF-8 in > out.",
    "not_json": "Write one JSON object a line: jq -c 'if type == \"array\" then .[] else . end' in > out.",
    "not_csv": "Mend the quotes, or set source.quotes = never where a quote is an ordinary character.",
    "wrong_width": "Check the separator, and whether fields with separators stand in quotes (source.quotes).",
    "wrong_type": 'Convert the column, or name another by source.map; source.map.labels = "" reads no labels.',
    "no_id": "Give every document an id, or name the column by source.map.id.",
    "empty_text": "Name the columns of the text by source.map.text or source.fields; feature files have none.",
    "duplicate_id": "Give every document an id of its own, or name the column that has it by source.map.id.",
    "too_long": "Cut the documents, or raise source.max_bytes.",
}


@dataclass
class RejectLimit:
    """Counts what is read and refuses it where the share of rejects passes `source.max_reject_share`."""

    source: SourceSettings
    read: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, chunk: DocumentChunk) -> None:
        """Counts a chunk.

        Raises:
            RejectsError: none of the first 10,000 rows is a document, where most of them have to be.
        """
        self.read += len(chunk.documents) + len(chunk.rejects)
        for row in chunk.rejects.select(["doc_id", "reason", "error"]).to_pylist():
            self.reject(**row)
        if self.read >= EARLY_ROWS and self.rejected.total() == self.read and self.source.max_reject_share < 0.5:
            self.check()

    def reject(self, doc_id: str, reason: str, error: str) -> None:
        """Counts a document, which is among those read, as rejected."""
        self.rejected[reason] += 1
        self.examples.setdefault(reason, f"{doc_id}: {error}")

    def check(self, kept: str = "") -> None:
        """At the end of a pass.

        Args:
            kept: what there is to say of what was done until then.

        Raises:
            RejectsError: more were rejected than the limit allows.
        """
        rejects = self.rejected.total()
        if rejects <= self.source.max_reject_share * self.read:
            return
        reason, _ = self.rejected.most_common(1)[0]
        counts = ", ".join(f"{why} {count:,}" for why, count in self.rejected.most_common())
        raise RejectsError(
            f"{rejects:,} of {self.read:,} documents of {self.source.documents} "
            f"{'was' if rejects == 1 else 'were'} rejected",
            got=f"{counts}, such as {self.examples[reason]}",
            expected=f"a share of {self.source.max_reject_share} at most (source.max_reject_share)",
            remedy=f"{REMEDIES.get(reason, 'Mend the documents, or raise the limit.')} {kept}".rstrip(),
        )
