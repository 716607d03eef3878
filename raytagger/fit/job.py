"""What a training run was asked to do, and what its worker code is given."""

from __future__ import annotations

from dataclasses import dataclass

from raytagger.settings import EncoderSettings, StorageSettings, TrainSettings


@dataclass(frozen=True)
class FitJob:
    """A training run, as every worker gets it.

    Attributes:
        inputs: where `Inputs` lie.
        encoder: the document encoder before training.
        train: how it is trained.
        storage: for every worker.
        unseen_in_negatives: `labels.unseen_in_negatives`.
        unseen_in_auxiliary: `labels.unseen_in_auxiliary`.
    """

    inputs: str
    encoder: EncoderSettings
    train: TrainSettings
    storage: StorageSettings
    unseen_in_negatives: bool
    unseen_in_auxiliary: bool


@dataclass(frozen=True)
class Place:
    """Which worker this is: its rank among all workers and on its node, how many there are, and its device."""

    rank: int = 0
    workers: int = 1
    local_rank: int = 0
    local_workers: int = 1
    device: str = "cpu"
