"""What a streaming run was asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field

from raytagger.schema import Scores
from raytagger.search import keep_tags
from raytagger.settings import ClusterSettings, SourceSettings, StorageSettings


@dataclass(frozen=True)
class TagJob:
    """One pass of a tagger over a corpus.

    Attributes:
        bundle: `OUT/<version>`, so that every worker loads the same.
        source: the documents.
        labels: a newer label set, or "".
        splits: only these splits; empty for all.
        k: labels a document.
        threshold: the least score of a tag; None keeps all k.
        data: where data files go.
        markers: where the markers of this run go.
        run_id: of this run.
        provenance: columns to add to every row.
        cluster: workers and the size of a unit.
        storage: for every worker.
    """

    bundle: str
    source: SourceSettings
    k: int
    data: str
    markers: str
    run_id: str
    labels: str = ""
    splits: tuple[str, ...] = ()
    threshold: float | None = None
    provenance: dict[str, str] = field(default_factory=dict)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)

    def kept(self, scores: Scores) -> Scores:
        """The labels that are written; all k of them where no threshold is set."""
        return scores if self.threshold is None else keep_tags(scores, self.k, self.threshold)
