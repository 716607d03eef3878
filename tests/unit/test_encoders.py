"""Encoders against the libraries' own forward passes and the plainest loops."""

import dataclasses
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.constants import HF_HUB_CACHE
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, Qwen2Config, Qwen2Model

from raytagger.encoders import load_encoder, open_encoder, save_encoder
from raytagger.encoders.encoder import finish
from raytagger.errors import CorpusError, SettingsError
from raytagger.settings import EncoderSettings
from tests.tiny import tiny_decoder, tiny_encoder

TEXTS = [
    "A short text.",
    "Cut plums and cherries in high summer, never in the wet months. " * 4,
    "?",
    "東京タワー と Öltanker",
    "one",
    "a text of middling length about pruning hydrangeas and roses in the old garden by the gate",
    "words " * 60,
]
CLOSE = 1e-3  # what float16 leaves of a unit vector


def load(store, folder, **settings: Any):
    settings.setdefault("device", "cpu")
    return load_encoder(EncoderSettings(path=str(folder), **settings), store)


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def copy_model(source, target):
    """A model folder to damage; the weights are copied, not linked."""
    names = (
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
        "README.md",
    )
    target.mkdir()
    for name in names:
        shutil.copyfile(source / name, target / name)
    return target


SMALL_SIZE: dict[str, Any] = {
    "vocab_size": 30522,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def save_small(network, tokenizer_folder, target, end=None):
    """A network with random weights and MiniLM's tokenizer."""
    network.save_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    tokenizer.eos_token = end
    tokenizer.save_pretrained(target)
    return target


@pytest.fixture(scope="session")
def small_folder(minilm_folder, tmp_path_factory):
    """A tiny bidirectional model."""
    torch.manual_seed(0)
    network = BertModel(BertConfig(**SMALL_SIZE, initializer_range=0.5))
    return save_small(network, minilm_folder, tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def decoder_folder(minilm_folder, tmp_path_factory):
    """A tiny decoder."""
    torch.manual_seed(0)
    config = Qwen2Config(**SMALL_SIZE, num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.5)
    return save_small(Qwen2Model(config), minilm_folder, tmp_path_factory.mktemp("decoder"), end="[SEP]")


@pytest.fixture(scope="session")
def raw(small_folder):
    """The tiny model's tokenizer and network, to compute with by hand."""
    return AutoTokenizer.from_pretrained(small_folder), AutoModel.from_pretrained(small_folder).eval()


@torch.inference_mode()
def hidden(network, ids):
    return network(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy()


# transformer


def test_mean_pooling_is_that_of_sentence_transformers(minilm, minilm_folder, store):
    peer = SentenceTransformer(str(minilm_folder), device="cpu")
    peer.max_seq_length = 48
    found = load(store, minilm_folder, max_tokens=48).encode(TEXTS)
    assert found.vector_BD.shape == (len(TEXTS), minilm.width) == (len(TEXTS), 384)
    np.testing.assert_allclose(found.vector_BD, peer.encode(TEXTS, normalize_embeddings=True), atol=CLOSE)
    assert found.cut_B.tolist() == [False, True, False, False, False, False, True]
    assert (found.vector_BD == found.vector_BD.astype(np.float16).astype(np.float32)).all()


@pytest.mark.parametrize("batch_tokens", [1, 200])
def test_the_batch_does_not_matter(minilm, minilm_folder, store, batch_tokens):
    other = load(store, minilm_folder, batch_tokens=batch_tokens)
    together = minilm.encode(TEXTS).vector_BD
    np.testing.assert_allclose(other.encode(TEXTS).vector_BD, together, atol=CLOSE)
    for row in (2, 3, 6):
        np.testing.assert_allclose(minilm.encode([TEXTS[row]]).vector_BD[0], together[row], atol=CLOSE)
    np.testing.assert_allclose(minilm.encode(TEXTS[::-1]).vector_BD[::-1], together, atol=CLOSE)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_poolings_equal_a_forward_pass(raw, small_folder, store, pooling):
    tokenizer, network = raw
    encoder = load(store, small_folder, pooling=pooling, max_tokens=32)
    expected = []
    for text in TEXTS:
        states = hidden(network, tokenizer(text, truncation=True, max_length=32)["input_ids"])
        expected.append({"mean": states.mean(0), "cls": states[0], "last": states[-1]}[pooling])
    np.testing.assert_allclose(encoder.encode(TEXTS).vector_BD, unit(np.array(expected)), atol=CLOSE)


def test_a_prompt_comes_before_every_text(minilm):
    prompted = minilm.encode(TEXTS[:3], prompt="query: ").vector_BD
    np.testing.assert_array_equal(prompted, minilm.encode(["query: " + text for text in TEXTS[:3]]).vector_BD)
    assert np.abs(prompted - minilm.encode(TEXTS[:3]).vector_BD).max() > 0.01


def test_long_texts_are_the_mean_of_their_chunks(raw, small_folder, store):
    tokenizer, network = raw
    encoder = load(store, small_folder, long="mean", max_tokens=20, batch_tokens=64)
    expected = []
    for text in TEXTS:
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        chunks = [tokens[start : start + 18] for start in range(0, len(tokens), 18)] or [[]]
        chunks = [[tokenizer.cls_token_id, *chunk, tokenizer.sep_token_id] for chunk in chunks]
        vectors = [unit(hidden(network, chunk).mean(0)) * len(chunk) for chunk in chunks]
        expected.append(np.sum(vectors, axis=0))
    found = encoder.encode(TEXTS)
    np.testing.assert_allclose(found.vector_BD, unit(np.array(expected)), atol=CLOSE)
    assert not found.cut_B.any()  # nothing of a text is left unread


@pytest.mark.parametrize(("words", "cut"), [(1, False), (6, False), (7, True)])
def test_cut_is_told_at_the_exact_length(small_folder, store, words, cut):
    encoder = load(store, small_folder, max_tokens=8)  # 6 words and two special tokens
    assert encoder.encode(["word " * words]).cut_B.tolist() == [cut]


@pytest.mark.parametrize("text", ["a" * 10_000_000, "word " * 2_000_000, " " * 9_999_999 + "x"])
def test_a_huge_text_is_cut_at_once(minilm, text):
    started = time.process_time()
    found = minilm.encode([text])
    assert time.process_time() - started < 2
    assert found.cut_B.tolist() == [True]
    assert np.isfinite(found.vector_BD).all()


def test_no_texts_give_no_rows(minilm):
    found = minilm.encode([])
    assert found.vector_BD.shape == (0, 384)
    assert found.cut_B.shape == (0,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling": "max"}, "mean, cls, last"),
        ({"long": "drop"}, "cut, mean"),
        ({"max_tokens": 600}, "4 to 512"),
        ({"max_tokens": 0}, "4 to 512"),
        ({"kind": "transfromer"}, "sentence-transformers, static"),
        ({"kind": "sentence-transformers", "max_tokens": 600}, "4 to 512"),
        ({"path": ""}, r"encoder\.path is empty"),
        ({"path": "no-such/encoder"}, "no-such/encoder"),
        ({"path": "no-such/encoder", "kind": "sentence-transformers"}, "no-such/encoder"),
        ({"path": "no-such/encoder", "kind": "static"}, "no-such/encoder"),
        ({"path": "/"}, "cannot be loaded"),
    ],
)
def test_wrong_settings_are_refused(store, settings, message):
    with pytest.raises(SettingsError, match=message):
        load_encoder(EncoderSettings(**{"device": "cpu", **settings}), store)


@pytest.mark.parametrize("kind", ["transformer", "sentence-transformers", "static"])
def test_cut_off_weights_are_refused(minilm_folder, tmp_path, store, kind):
    folder = copy_model(minilm_folder, tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(SettingsError, match="model"):
        load(store, folder, kind=kind)


def test_weights_that_are_no_numbers_name_the_text(decoder_folder, tmp_path, store):
    folder = tmp_path / "model"
    shutil.copytree(decoder_folder, folder)
    network = Qwen2Model.from_pretrained(folder)
    with torch.no_grad():
        network.norm.weight[3] = float("nan")
    network.save_pretrained(folder)
    with pytest.raises(CorpusError, match="the text that fails"):
        load(store, folder, kind="causal").encode(["the text that fails", "another"])


def test_finish_names_the_first_bad_text():
    with pytest.raises(CorpusError, match="second"):
        finish(np.array([[1, 0], [np.inf, 1], [np.nan, 0]]), ["first", "second", "third"])
    assert finish(np.zeros((1, 3)), ["nothing"]).tolist() == [[0, 0, 0]]
    np.testing.assert_array_equal(
        finish(np.array([[3.0, 4.0]]), ["x"]), np.float32([[np.float16(0.6), np.float16(0.8)]])
    )


# causal


@pytest.mark.parametrize("prompt", ["", "Instruct: find tags. Query: "])
def test_a_causal_model_gives_its_last_token(decoder_folder, store, prompt):
    encoder = load(store, decoder_folder, kind="causal", max_tokens=60, pooling="cls")
    tokenizer, network = (
        AutoTokenizer.from_pretrained(decoder_folder),
        AutoModel.from_pretrained(decoder_folder).eval(),
    )
    expected, cut = [], []
    for text in TEXTS:
        cut.append(len(tokenizer(prompt + text)["input_ids"]) > 59)
        ids = tokenizer(prompt + text, truncation=True, max_length=59)["input_ids"]
        ids = ids if ids and ids[-1] == tokenizer.eos_token_id else [*ids, tokenizer.eos_token_id]
        expected.append(hidden(network, ids)[-1])
    found = encoder.encode(TEXTS, prompt)
    np.testing.assert_allclose(found.vector_BD, unit(np.array(expected)), atol=CLOSE)
    assert found.cut_B.tolist() == cut
    assert {True, False} == set(cut)


def without_special_tokens(folder, target):
    """The decoder with a tokenizer that adds nothing, as those of Llama and Qwen."""
    shutil.copytree(folder, target)
    data = json.loads((target / "tokenizer.json").read_text())
    data["post_processor"] = None
    (target / "tokenizer.json").write_text(json.dumps(data))
    settings = json.loads((target / "tokenizer_config.json").read_text())
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"  # that of BERT would add its own again
    (target / "tokenizer_config.json").write_text(json.dumps(settings))
    return target


def test_a_tokenizer_that_adds_nothing(decoder_folder, tmp_path, store):
    folder = without_special_tokens(decoder_folder, tmp_path / "model")
    tokenizer, network = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    assert tokenizer("")["input_ids"] == []
    end = tokenizer.eos_token_id
    causal = load(store, folder, kind="causal", max_tokens=8)
    expected = [hidden(network, [*tokenizer(text)["input_ids"][:7], end])[-1] for text in TEXTS]
    np.testing.assert_allclose(causal.encode(TEXTS).vector_BD, unit(np.array(expected)), atol=CLOSE)
    # Without an end token, an empty text has nothing to pool: the zero vector, alone and in company.
    mean = load(store, folder, max_tokens=8)
    assert (mean.encode([""]).vector_BD == 0).all()
    np.testing.assert_allclose(mean.encode(["", "one"]).vector_BD[1], mean.encode(["one"]).vector_BD[0], atol=CLOSE)


def test_a_causal_model_needs_an_end_token(decoder_folder, tmp_path, store):
    folder = without_special_tokens(decoder_folder, tmp_path / "model")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "eos_token": None}))
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    with pytest.raises(SettingsError, match="end-of-sequence"):
        load(store, folder, kind="causal")


# identity, licence, saving


def test_identity_is_what_the_embedding_depends_on(decoder_folder, tmp_path, store):
    def identity(**settings: Any):
        return load(store, settings.pop("folder", decoder_folder), **settings).identity

    same = [identity(), identity(batch_tokens=7), identity(device="auto"), identity(key_variable="OTHER")]
    assert len(set(same)) == 1
    shutil.copytree(decoder_folder, tmp_path / "copy")
    assert identity(folder=tmp_path / "copy") == same[0]
    weights = tmp_path / "copy" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    changed = [
        identity(folder=tmp_path / "copy"),
        identity(pooling="cls"),
        identity(pooling="last"),
        identity(max_tokens=64),
        identity(long="mean"),
        identity(kind="causal"),
    ]
    assert len({same[0], *changed}) == 7


@pytest.mark.parametrize("kind", ["transformer", "causal", "sentence-transformers", "static"])
def test_saved_and_opened_it_is_the_same(small_folder, decoder_folder, tmp_path, store, kind):
    path = {"static": "wordllama", "causal": decoder_folder}.get(kind, small_folder)
    settings = EncoderSettings(kind=kind, path=str(path), device="cpu", max_tokens=16)
    encoder = load_encoder(settings, store)
    save_encoder(encoder, settings, tmp_path / "saved")
    again = open_encoder(tmp_path / "saved", "cpu")
    np.testing.assert_array_equal(again.encode(TEXTS, "p: ").vector_BD, encoder.encode(TEXTS, "p: ").vector_BD)
    np.testing.assert_array_equal(again.encode(TEXTS).cut_B, encoder.encode(TEXTS).cut_B)
    assert (again.width, again.licence) == (encoder.width, encoder.licence)
    # Where the settings say how to run, not what to compute, the saved one keeps its identity too.
    save_encoder(again, dataclasses.replace(settings, batch_tokens=7, device="auto"), tmp_path / "twice")
    before = open_encoder(tmp_path / "twice", "cpu").identity
    file = tmp_path / "twice" / "encoder.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "batch_tokens": 99}))
    assert open_encoder(tmp_path / "twice", "cpu").identity == before
    assert not list((tmp_path / "saved").rglob("*.bin")) + list((tmp_path / "saved").rglob("*.pkl"))


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n# Model", "apache-2.0"),
        ("---\ntags:\n- a---b\nlicense:   'mit'  \n---\n", "mit"),
        ("---\nlicense:\n- cc-by-4.0\n---\n", "cc-by-4.0"),
        ("---\r\nlicense: bsd\r\n---\r\n", "bsd"),
        ("---\ntags: []\n---\nlicense: mit\n", "unknown"),
        ("license: mit\n", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_the_licence_is_that_of_the_card(decoder_folder, tmp_path, store, card, licence):
    shutil.copytree(decoder_folder, tmp_path / "model")
    if card is not None:
        (tmp_path / "model" / "README.md").write_bytes(card.encode())
    assert load(store, tmp_path / "model").licence == licence


def test_a_model_of_the_hub(decoder_folder, store):
    """From the hub's cache, as a machine without network has it: licence and commit are known."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = Path(HF_HUB_CACHE) / "models--someone--something"
    assert Path(HF_HUB_CACHE).is_relative_to(os.environ["HF_HOME"])
    shutil.copytree(decoder_folder, repository / "snapshots" / commit)
    (repository / "snapshots" / commit / "README.md").write_text("---\nlicense: mit\n---\n")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    first = load(store, "someone/something", max_tokens=8)
    assert first.licence == "mit"
    before = first.identity
    (repository / "snapshots" / commit).rename(repository / "snapshots" / commit[::-1])
    (repository / "refs" / "main").write_text(commit[::-1])
    second = load(store, "someone/something", max_tokens=8)
    assert first.width == second.width == 32
    assert load(store, "someone/something", max_tokens=9).identity != second.identity != before


# sentence-transformers


@pytest.mark.parametrize("make", [tiny_encoder, tiny_decoder])
def test_what_does_not_fit_the_memory_is_let_go_before_its_halves_are_encoded(make, tmp_path, store, monkeypatch):
    encoder = load_encoder(make(tmp_path), store)
    whole, forward = encoder.encode(TEXTS).vector_BD, encoder.model.forward

    def scarce(*args, **kwargs):
        assert sys.exc_info()[0] is None, "the error that is handled keeps the activations"
        if len(kwargs["input_ids"]) > 2:
            raise torch.OutOfMemoryError("too much")
        hidden = forward(*args, **kwargs)
        assert make is tiny_encoder or hidden.past_key_values is None
        return hidden

    monkeypatch.setattr(encoder.model, "forward", scarce)
    np.testing.assert_allclose(encoder.encode(TEXTS).vector_BD, whole, atol=1e-3)  # float16's


def test_a_sentence_transformers_model_is_used_as_it_is(minilm, minilm_folder, store):
    encoder = load(store, minilm_folder, kind="sentence-transformers")
    found = encoder.encode(TEXTS)
    np.testing.assert_allclose(found.vector_BD, minilm.encode(TEXTS).vector_BD, atol=CLOSE)
    assert found.cut_B.tolist() == minilm.encode(TEXTS).cut_B.tolist()
    assert encoder.encode([]).vector_BD.shape == (0, 384)
    assert encoder.licence == "apache-2.0"
    assert encoder.encode(["y" * 10_000_000]).cut_B.tolist() == [True]


def test_a_sentence_transformers_model_without_a_network(static, tmp_path, store):
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    module = StaticEmbedding(Tokenizer.from_file(str(static._tokenizer_file)), embedding_weights=static._table_VD)
    SentenceTransformer(modules=[module], device="cpu").save(str(tmp_path / "model"))
    encoder = load(store, tmp_path / "model", kind="sentence-transformers", max_tokens=512)
    np.testing.assert_allclose(encoder.encode(TEXTS[:2]).vector_BD, static.encode(TEXTS[:2]).vector_BD, atol=CLOSE)


# static


@pytest.fixture(scope="session")
def static(store):
    return load_encoder(EncoderSettings(kind="static", path="wordllama", max_tokens=512), store)


def test_static_vectors_are_means(static, store):
    table = load_file(static._table_file).popitem()[1].astype(np.float32)
    tokenizer = Tokenizer.from_file(str(static._tokenizer_file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    short = load_encoder(EncoderSettings(kind="static", path="wordllama", max_tokens=5), store)
    for encoder, limit in ((static, 512), (short, 5)):
        expected = np.zeros((len(TEXTS), 256))
        lengths = []
        for row, text in enumerate(TEXTS):
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            lengths.append(len(ids))
            if ids:
                expected[row] = table[ids[:limit]].astype(np.float64).mean(0)
        found = encoder.encode(TEXTS)
        np.testing.assert_allclose(found.vector_BD, unit(expected), atol=CLOSE)
        assert found.cut_B.tolist() == [length > limit for length in lengths]
    assert (static.encode(["", ""]).vector_BD == 0).all()
    assert static.encode([]).vector_BD.shape == (0, 256)
    assert static.licence == "mit"


def test_static_vectors_cut_a_huge_text_at_once(static):
    started = time.process_time()
    assert static.encode(["word " * 2_000_000]).cut_B.tolist() == [True]
    assert time.process_time() - started < 1


def test_static_identity_survives_saving(static, tmp_path, store):
    static.save(tmp_path / "model")
    settings = EncoderSettings(kind="static", path=str(tmp_path / "model"), max_tokens=512)
    assert load_encoder(settings, store).identity == static.identity
    assert load_encoder(dataclasses.replace(settings, max_tokens=100), store).identity != static.identity
    tokenizer = json.loads((tmp_path / "model" / "tokenizer.json").read_text())
    (tmp_path / "model" / "tokenizer.json").write_text(json.dumps({**tokenizer, "normalizer": None}))
    assert load_encoder(settings, store).identity != static.identity


@pytest.mark.parametrize(("name", "data"), [("tokenizer.json", b"{}"), ("model.safetensors", b"short")])
def test_damaged_static_files_are_refused(static, tmp_path, store, name, data):
    static.save(tmp_path / "model")
    (tmp_path / "model" / name).write_bytes(data)
    with pytest.raises(SettingsError, match="cannot be loaded"):
        load(store, tmp_path / "model", kind="static")


def test_a_tokenizer_of_another_table_is_refused(static, minilm_folder, tmp_path, store):
    from safetensors.numpy import save_file

    static.save(tmp_path / "model")
    save_file({"table": np.ones((100, 4), np.float32)}, tmp_path / "model" / "model.safetensors")
    with pytest.raises(SettingsError, match="do not belong together"):
        load(store, tmp_path / "model", kind="static")


# plugins, batches


def test_a_plugin_is_found_by_its_entry_point(tmp_path, monkeypatch, store):
    facts = tmp_path / "letters-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: letters\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[raytagger.encoders]\nletters = letters_plugin:Letters\n")
    (tmp_path / "letters_plugin.py").write_text(
        """
import numpy as np
from raytagger.encoders import Embedded
from raytagger.encoders.encoder import finish

class Letters:
    width, identity, licence = 26, "letters", "none"

    def __init__(self, settings, folder):
        self.folder = folder

    def encode(self, texts, prompt=""):
        rows = [[(prompt + text).count(chr(97 + place)) for place in range(26)] for text in texts]
        return Embedded(finish(np.array(rows, np.float32), texts), np.zeros(len(texts), bool))

    def save(self, folder):
        (folder / "letters").touch()
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings = EncoderSettings(kind="letters", path="anything")
    encoder = load_encoder(settings, store)
    assert np.flatnonzero(encoder.encode(["abba"]).vector_BD[0]).tolist() == [0, 1]
    save_encoder(encoder, settings, tmp_path / "saved")
    assert open_encoder(tmp_path / "saved").folder == str(tmp_path / "saved")
