"""One frozen value a run: what `fit`, `retag` and `serve` were asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from raytagger.settings.parts import (
    BlendSettings,
    ClusterSettings,
    EncoderSettings,
    LabelSettings,
    OutputSettings,
    SearchSettings,
    SourceSettings,
    StorageSettings,
    TermSettings,
    ThresholdSettings,
    TrainSettings,
    TreeSettings,
    Xml0Settings,
)


@dataclass(frozen=True)
class FitRun:
    """`raytagger fit`: documents and labels in, a bundle out."""

    method: str = "frozen"
    source: SourceSettings = field(default_factory=SourceSettings)
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    terms: TermSettings = field(default_factory=TermSettings)
    tree: TreeSettings = field(default_factory=TreeSettings)
    blend: BlendSettings = field(default_factory=BlendSettings)
    xml0: Xml0Settings = field(default_factory=Xml0Settings)
    search: SearchSettings = field(default_factory=SearchSettings)
    threshold: ThresholdSettings = field(default_factory=ThresholdSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
    output: OutputSettings = field(default_factory=OutputSettings)

    @property
    def label_encoder(self) -> EncoderSettings:
        """The frozen label encoder: the one that is named, else the document encoder as it is before training."""
        if not self.labels.encoder:
            return replace(self.encoder, prompt="")
        return EncoderSettings(
            path=self.labels.encoder,
            kind=self.labels.kind,
            max_tokens=self.labels.max_tokens,
            pooling=self.labels.pooling,
            batch_tokens=self.encoder.batch_tokens,
            device=self.encoder.device,
            key_variable=self.encoder.key_variable,
        )


@dataclass(frozen=True)
class RetagSettings:
    """What a night tags, with what, and into which table."""

    documents: str = ""
    labels: str = ""  # a newer label set than the bundle's; empty: the bundle's own
    bundle: str = ""
    table: str = ""
    splits: tuple[str, ...] = ()  # only these splits; empty: every document
    k: int = 0  # tags kept a document; 0: as the bundle says


@dataclass(frozen=True)
class RetagRun:
    """`raytagger retag`: a corpus in, one commit to the tag table out."""

    retag: RetagSettings = field(default_factory=RetagSettings)
    source: SourceSettings = field(default_factory=SourceSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)


@dataclass(frozen=True)
class ServeSettings:
    """The endpoint."""

    bundle: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    replicas_min: int = 1
    replicas_max: int = 1
    tokens_file: str = ""  # a file of bearer tokens, one a line; empty: no authentication
    max_texts: int = 256  # texts in one request


@dataclass(frozen=True)
class ServeRun:
    """`raytagger serve`."""

    serve: ServeSettings = field(default_factory=ServeSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
