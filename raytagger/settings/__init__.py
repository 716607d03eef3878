"""Settings: TOML in, one frozen value a run, resolved JSON and fingerprint out."""

from raytagger.settings.parse import find_run_file, fingerprint, make_run, read_run, to_values
from raytagger.settings.parts import (
    ClusterSettings,
    EncoderSettings,
    LabelSettings,
    OutputSettings,
    SearchSettings,
    SourceSettings,
    StorageSettings,
    TermSettings,
    TrainSettings,
    TreeSettings,
)
from raytagger.settings.runs import FitRun, RetagRun, RetagSettings, ServeRun, ServeSettings

__all__ = [
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
    "TrainSettings",
    "TreeSettings",
    "find_run_file",
    "fingerprint",
    "make_run",
    "read_run",
    "to_values",
]
