"""Embedding labels on a cluster: what is asked of the workers, without any."""

import dataclasses

import pytest

from raytagger.errors import CapacityError
from raytagger.settings import (
    ClusterSettings,
    EncoderSettings,
    FitRun,
    LabelSettings,
    OutputSettings,
    SourceSettings,
)
from raytagger.stream.embed import plan_job
from raytagger.stream.slabs import SLAB_TEXTS_AT_LEAST, cut_slabs, place_encoder
from tests.tiny import tiny_decoder


def run_of(method="ofde", gpu=False, **labels) -> FitRun:
    return FitRun(
        method=method,
        source=SourceSettings(labels="labels.parquet"),
        encoder=EncoderSettings(path="documents", prompt="doc: "),
        labels=LabelSettings(**labels),
        cluster=ClusterSettings(use_gpu=gpu),
        output=OutputSettings("s3://models/tagger"),
    )


@pytest.mark.parametrize(("count", "workers"), [(1, 8), (63, 2), (1000, 2), (7000, 8), (100_000, 3)])
def test_slabs_hold_every_text_once_the_longest_first(count, workers):
    texts = [f"{'long ' * (number % 7)}{number}" for number in range(count)]
    slabs = cut_slabs(texts, workers)
    flat = [text for slab in slabs for text in slab.texts]
    assert sorted(flat) == sorted(texts)
    assert [len(text) for text in flat] == sorted(map(len, texts), reverse=True)
    assert len({slab.name for slab in slabs}) == len(slabs)
    sizes = [len(slab.texts) for slab in slabs]
    assert max(sizes) <= 1024
    assert min(sizes[:-1], default=SLAB_TEXTS_AT_LEAST) >= SLAB_TEXTS_AT_LEAST


def test_the_work_is_shared_out_among_the_workers():
    assert len(cut_slabs([str(number) for number in range(7000)], 8)) >= 8


def test_the_encoder_is_the_one_that_fit_takes():
    named = plan_job(run_of(encoder="seven-b", kind="causal", max_tokens=99, prompt="tag: "))
    assert (named.encoder.path, named.encoder.kind, named.encoder.max_tokens) == ("seven-b", "causal", 99)
    assert (named.prompt, named.bank) == ("tag: ", "s3://models/bank")
    assert plan_job(run_of()).encoder.path == "documents"
    same = plan_job(run_of("frozen", encoder="documents", max_tokens=99)).encoder
    assert same.max_tokens == run_of().encoder.max_tokens  # the frozen recipe reads both sides alike
    assert plan_job(run_of(bank="s3://labels/bank")).bank == "s3://labels/bank"


def test_a_device_that_is_not_there_is_one_clear_error(tmp_path):
    run = dataclasses.replace(run_of(), encoder=tiny_decoder(tmp_path / "decoder"))
    job = plan_job(run)
    absent = dataclasses.replace(job.encoder, device="cuda:9")
    with pytest.raises(CapacityError, match="cannot be put on the device"):
        place_encoder(dataclasses.replace(job, encoder=absent))
