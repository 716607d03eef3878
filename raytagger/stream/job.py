"""What a streaming run was asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from raytagger.corpus import LabelSet, read_source_labels
from raytagger.errors import CorpusError
from raytagger.settings import ClusterSettings, SourceSettings, StorageSettings, fingerprint
from raytagger.store import FileEntry, Store
from raytagger.stream.units import UNITS


@dataclass(frozen=True)
class TagJob:
    """One pass of a tagger over a corpus.

    Attributes:
        bundle: `OUT/<version>`, so that every worker loads the same.
        source: the documents.
        labels: a newer label set, or "".
        label_set: the fingerprint of that label set, so that every worker tags with the same.
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
    label_set: str = ""
    splits: tuple[str, ...] = ()
    tags: bool = False
    provenance: dict[str, str] = field(default_factory=dict)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)

    @property
    def label_source(self) -> SourceSettings:
        """Where the newer label set lies, and how it is read."""
        return replace(self.source, labels=self.labels)

    def key(self, bundle_id: str, files: list[FileEntry]) -> str:
        """Changes with all that decides the result, and with nothing else: not with paths of what has an identity.

        Args:
            bundle_id: the fingerprint of the bundle's content.
            files: the documents as they are now.
        """
        stamps = [(file.uri, file.size, file.stamp) for file in files]
        # How many rejects are allowed decides whether a run ends well, not what its units hold.
        source = replace(self.source, labels="", max_reject_share=0.0)
        places: dict[str, Any] = {
            "bundle": "",
            "labels": "",
            "data": "",
            "markers": "",
            "run_id": "",
            "provenance": {},
        }
        what = replace(self, source=source, **places)
        return fingerprint(what, bundle=bundle_id, files=stamps, chunk=[UNITS, self.cluster.chunk_documents])


def read_job_labels(store: Store, source: SourceSettings, label_set: str) -> LabelSet:
    """A job's newer label set, the same in every worker.

    Raises:
        CorpusError: it is not the one that the job began with.
    """
    labels = read_source_labels(store, source)
    if labels.fingerprint != label_set:
        raise CorpusError(f"{source.labels} was changed while the run read it", remedy="Start the run again.")
    return labels
