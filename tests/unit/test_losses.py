"""Losses against slow loops, gradients against differences, chunks and shards against the whole."""

import math
from typing import Any, cast

import numpy as np
import pytest
import scipy.sparse as sp
import torch
import torch.multiprocessing
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import load_file, save_file

from raytagger.errors import SettingsError
from raytagger.objectives import losses
from raytagger.objectives.losses import LOSSES, Labels, Positives, Scored, divergence, find_loss
from raytagger.objectives.ofde import LabelSide, OneSided, Step, Task, shard_bounds, to_positives, twin_matrix
from raytagger.objectives.projection import LabelProjection, least_squares, start_projection
from raytagger.objectives.workers import gather
from raytagger.settings import TrainSettings

TEMPERATURE = 0.3


def unit(values):
    return torch.nn.functional.normalize(values, dim=1)


def example(seed, documents=5, labels=7, width=4, density=0.35):
    generator = torch.Generator().manual_seed(seed)
    doc_BD = unit(torch.randn(documents, width, generator=generator, dtype=torch.float64))
    label_LD = unit(torch.randn(labels, width, generator=generator, dtype=torch.float64))
    gold = torch.rand(documents, labels, generator=generator) < density
    return doc_BD, label_LD, sp.csr_matrix(gold.numpy())


def scored(doc_BD, label_LD, gold, chunk=100):
    return Scored(doc_BD, Labels.of(label_LD), to_positives(gold, doc_BD.device), TEMPERATURE, chunk)


def slow(name, doc_BD, label_LD, gold):
    """One pair at a time, as the formulas read."""
    score, gold = (doc_BD @ label_LD.T / TEMPERATURE).tolist(), gold.toarray()
    total = 0.0
    for row in range(len(score)):
        positives = [column for column in range(len(score[row])) if gold[row, column]]
        negatives = [column for column in range(len(score[row])) if not gold[row, column]]
        if name == "bce":
            total += sum(math.log1p(math.exp(-score[row][column])) for column in positives)
            total += sum(math.log1p(math.exp(score[row][column])) for column in negatives)
            continue
        for column in positives:
            against = (
                negatives if name == "decoupled" else [other for other in range(len(score[row])) if other != column]
            )
            below = math.exp(score[row][column]) + sum(math.exp(score[row][other]) for other in against)
            total -= math.log(math.exp(score[row][column]) / below) / len(positives)
    return total


@pytest.mark.parametrize("name", LOSSES)
@given(seed=st.integers(0, 10**6), documents=st.integers(1, 6), labels=st.integers(1, 9), density=st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_a_loss_is_its_slow_loop(name, seed, documents, labels, density):
    doc_BD, label_LD, gold = example(seed, documents, labels, density=density)
    assert float(find_loss(name)(scored(doc_BD, label_LD, gold))) == pytest.approx(
        slow(name, doc_BD, label_LD, gold), rel=1e-6, abs=1e-6
    )


class Given(torch.nn.Module):
    """In the place of an encoder: the texts are their vectors."""

    def forward(self, vectors):
        return vectors


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_ends_at_the_encoder(name):
    doc_BD, label_LD, gold = example(5, documents=8, labels=20, width=16)
    label_LE = label_LD.float()
    side = LabelSide(label_LE, torch.arange(15), torch.arange(15), torch.arange(15, 20))
    projection = LabelProjection(np.eye(16, dtype=np.float32), np.zeros(16, np.float32))
    module = OneSided(cast(Any, Given()), projection, side, TrainSettings(loss=name, temperature=0.05))
    task = Task((doc_BD.float(),), sp.csr_matrix(gold[:, :15]), 1 / 8, doc_BD.flip(0).float())
    full = module(Step(task, None))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(module(Step(task, None)), full)


@pytest.mark.parametrize("name", LOSSES)
def test_a_gradient_is_that_of_differences(name):
    doc_BD, label_LD, gold = example(3)

    def loss(doc, label):
        return find_loss(name)(scored(doc, label, gold, chunk=3))

    assert torch.autograd.gradcheck(loss, (doc_BD.requires_grad_(), label_LD.requires_grad_()))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("kept", [0, 1 << 26])
def test_chunks_give_the_loss_and_gradient_of_the_whole(name, chunk, kept, monkeypatch):
    """Whether what they need is kept for the backward pass or computed anew."""
    results = []
    for size, most in ((chunk, kept), (1000, 1 << 26)):
        monkeypatch.setattr(losses, "KEPT_AT_MOST", most)
        doc_BD, label_LD, gold = example(5)
        doc_BD.requires_grad_()
        label_LD.requires_grad_()
        loss = find_loss(name)(scored(doc_BD, label_LD, gold, size))
        loss.backward()
        results.append((loss.detach(), doc_BD.grad, label_LD.grad))
    for part, whole in zip(*results, strict=True):
        torch.testing.assert_close(part, whole)


@pytest.mark.parametrize("name", ["decoupled", "softmax"])
def test_a_document_without_positives_or_without_negatives_harms_nothing(name):
    doc_BD, label_LD, _ = example(1, documents=3)
    gold = sp.csr_matrix(np.array([[False] * 7, [True] * 7, [True] + [False] * 6]))
    doc_BD.requires_grad_()
    loss = find_loss(name)(scored(doc_BD, label_LD, gold, chunk=2))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(doc_BD.grad).all()
    assert not doc_BD.grad[0].any()  # nothing is known of it


def test_an_unknown_loss_names_those_there_are():
    with pytest.raises(SettingsError, match=r"decoupled, softmax, bce"):
        find_loss("hinge")


def test_memory_is_a_chunks_where_labels_are_many(monkeypatch):
    """Numbers kept for the backward pass: of few labels all scores, of many none."""
    documents, labels = 64, 40_000
    generator = torch.Generator().manual_seed(0)
    doc_BD = unit(torch.randn(documents, 8, generator=generator)).requires_grad_()
    label_LD = unit(torch.randn(labels, 8, generator=generator))
    gold = sp.csr_matrix(
        (np.ones(documents, bool), (range(documents), range(documents))), shape=(documents, labels)
    )
    numbers = {}
    for most in (0, 1 << 26):
        monkeypatch.setattr(losses, "KEPT_AT_MOST", most)
        kept = {}

        def keep(tensor, kept=kept):
            kept[tensor.data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            find_loss("decoupled")(scored(doc_BD, label_LD, gold, chunk=500))
        numbers[most] = sum(tensor.numel() for tensor in kept.values())
    assert numbers[0] < documents * labels / 20
    assert numbers[1 << 26] >= documents * labels


@given(labels=st.integers(1, 60), workers=st.integers(1, 9), seed=st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_every_positive_is_in_exactly_one_shard(labels, workers, seed):
    _, _, gold = example(seed, labels=labels)
    positives = to_positives(gold, torch.device("cpu"))
    found = []
    for rank in range(workers):
        start, stop = shard_bounds(labels, workers, rank)
        part = positives.shard(start, stop)
        found += list(zip(part.row_P.tolist(), (part.column_P + start).tolist(), strict=True))
    # The last label of each shard too: DEXML loses it.
    assert sorted(found) == sorted(zip(positives.row_P.tolist(), positives.column_P.tolist(), strict=True))


def one_worker(rank, workers, folder, name):
    """A worker that holds its share of labels and documents; writes its loss and gradients."""
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet-{name}", rank=rank, world_size=workers)
    doc_BD, label_LD, gold = shard_example()
    share = len(doc_BD) // workers
    own = doc_BD[rank * share : (rank + 1) * share].clone().requires_grad_()
    every = gather(own, torch.distributed.group.WORLD).flatten(0, 1)
    start, stop = shard_bounds(len(label_LD), workers, rank)
    labels = label_LD[start:stop].clone().requires_grad_()
    positives = to_positives(gold, doc_BD.device).shard(start, stop)
    group = torch.distributed.group.WORLD
    loss = find_loss(name)(Scored(every, Labels.of(labels), positives, TEMPERATURE, 2, group))
    loss.backward()
    torch.save([loss.detach(), own.grad, labels.grad], f"{folder}/{name}-{rank}.pt")
    torch.distributed.destroy_process_group()


def shard_example():
    doc_BD, label_LD, gold = example(11, documents=6, labels=8)
    gold = gold.toarray()
    for rank in range(2):
        gold[rank, shard_bounds(8, 2, rank)[1] - 1] = True  # the last label of each shard is a positive
    return doc_BD, label_LD, sp.csr_matrix(gold)


def both(rank, folder):
    for name in LOSSES:
        one_worker(rank, 2, folder, name)


@pytest.mark.slow
def test_labels_shared_by_workers_give_the_loss_and_gradients_of_the_whole(tmp_path):
    torch.multiprocessing.spawn(both, (str(tmp_path),), nprocs=2)
    for name in LOSSES:
        doc_BD, label_LD, gold = shard_example()
        doc_BD.requires_grad_()
        label_LD.requires_grad_()
        whole = find_loss(name)(scored(doc_BD, label_LD, gold))
        whole.backward()
        losses, docs, labels = zip(*(torch.load(tmp_path / f"{name}-{rank}.pt") for rank in range(2)), strict=True)
        torch.testing.assert_close(sum(losses), whole.detach())
        torch.testing.assert_close(torch.cat(docs), doc_BD.grad)
        torch.testing.assert_close(torch.cat(labels), label_LD.grad)


def test_the_divergence_is_scipys():
    from scipy.special import rel_entr, softmax

    now, before = np.random.default_rng(0).normal(size=(2, 4, 6))
    expected = rel_entr(softmax(before / 0.5, axis=1), softmax(now / 0.5, axis=1)).sum()
    assert float(divergence(torch.tensor(now), torch.tensor(before), 0.5)) == pytest.approx(expected)
    assert float(divergence(torch.tensor(now), torch.tensor(now), 0.5)) == pytest.approx(0)


def test_labels_of_the_same_text_are_twins():
    twins = twin_matrix(np.array([4, 7, 4, 9]))
    assert twins.toarray().tolist() == [
        [True, False, True, False],
        [False, True, False, False],
        [True, False, True, False],
        [False, False, False, True],
    ]


def test_weights_of_a_document_sum_to_one():
    _, _, gold = example(2)
    positives = to_positives(gold, torch.device("cpu"))
    assert isinstance(positives, Positives)
    total = np.bincount(positives.row_P.numpy(), positives.weight_P.numpy(), minlength=5)
    assert total == pytest.approx((np.diff(gold.indptr) > 0).astype(float))


# the projection


def test_one_encoder_on_both_sides_starts_with_the_identity():
    label_LE = unit(torch.randn(5, 8)).numpy()
    projection = LabelProjection(*start_projection(label_LE, None))
    assert projection(torch.from_numpy(label_LE)).detach().numpy() == pytest.approx(label_LE, abs=1e-6)


@given(arrays(np.float64, (3, 5), elements=st.floats(-1, 1)), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_least_squares_finds_an_affine_map(weight_DE, seed):
    rng = np.random.default_rng(seed)
    label_LE = rng.normal(size=(400, 5)).astype(np.float32)
    label_LD = (label_LE @ weight_DE.T + rng.normal(size=3)).astype(np.float32)
    weight, bias = least_squares(label_LE, label_LD)
    assert label_LE @ weight.T + bias == pytest.approx(label_LD, abs=0.1)


@pytest.mark.slow
def test_a_projection_between_two_encoders_can_be_kept(tmp_path):
    rng = np.random.default_rng(0)
    projection = LabelProjection(*least_squares(rng.random((20, 6), np.float32), rng.random((20, 4), np.float32)))
    save_file(projection.state_dict(), tmp_path / "kept.safetensors")
    torch.testing.assert_close(load_file(tmp_path / "kept.safetensors"), dict(projection.state_dict()))


def test_least_squares_brings_two_real_encoders_nearer_than_chance(store, minilm):
    from raytagger.corpus.labels import from_table
    from raytagger.corpus.output import small_corpus
    from raytagger.encoders import load_encoder
    from raytagger.settings import EncoderSettings

    documents, labels, _ = small_corpus(store)
    static = load_encoder(EncoderSettings(kind="static", path="wordllama"), store)
    texts = from_table(labels).full_texts
    own, other = minilm.encode(texts).vector_BD, static.encode(texts).vector_BD
    doc_BD = minilm.encode(documents["text"].to_pylist()[:60]).vector_BD
    wanted = (doc_BD @ own.T).argmax(1)

    def agreement(weight_DE, bias_D):
        label_LD = LabelProjection(weight_DE, bias_D)(torch.from_numpy(other)).detach().numpy()
        return float(((doc_BD @ label_LD.T).argmax(1) == wanted).mean())

    random = np.random.default_rng(0).normal(size=(own.shape[1], other.shape[1])).astype(np.float32)
    assert agreement(*least_squares(other, own)) > 3 * agreement(random, np.zeros(len(random), np.float32))
