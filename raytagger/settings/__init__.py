"""Settings: TOML in, one frozen value a run, resolved JSON and fingerprint out."""

from raytagger.settings.parse import find_run_file, fingerprint, make_run, read_run, to_values
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
from raytagger.settings.runs import FitRun, RetagRun, RetagSettings, ServeRun, ServeSettings

__all__ = [
    "BlendSettings",
    "ClusterSettings",
    "EncoderSettings",
    "FitRun",
    "LabelSettings",
    "OutputSettings",
    "RetagRun",
    "RetagSettings",
    "SearchSettings",
    "ServeRun",
    "ServeSettings",
    "SourceSettings",
    "StorageSettings",
    "TermSettings",
    "ThresholdSettings",
    "TrainSettings",
    "TreeSettings",
    "Xml0Settings",
    "find_run_file",
    "fingerprint",
    "make_run",
    "read_run",
    "to_values",
]
