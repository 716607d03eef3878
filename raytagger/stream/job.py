"""What a streaming run was asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field

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
        tags: only those are written that the tagger keeps as tags; else all k.
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
    tags: bool = False
    provenance: dict[str, str] = field(default_factory=dict)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
