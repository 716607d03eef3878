"""Label bank, encoder and bundle in real object storage."""

import dataclasses

import numpy as np
import pytest

from raytagger.bundle import load
from raytagger.encoders import load_encoder
from raytagger.encoders.locate import locate
from raytagger.errors import BundleError, StoreError
from raytagger.labels import LabelBank
from raytagger.settings import EncoderSettings
from raytagger.store import Store, join
from tests.corpora import STATIC, small_bundle
from tests.equal import assert_same_scores
from tests.unit.test_bank import TEXTS, Counting, cut_off, expected

pytestmark = pytest.mark.s3


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYTAGGER_CACHE", str(tmp_path / "cache"))


def test_the_bank_encodes_once(bucket):
    store = Store()
    bank = LabelBank(store, join(bucket, "bank"))
    assert bank.embed(TEXTS, "encoder", Counting()).encoded == 25
    encode = Counting()
    found = bank.embed([*TEXTS, "new"], "encoder", encode)
    assert encode.asked == ["new"]
    np.testing.assert_array_equal(found.vector_LD, expected([*TEXTS, "new"]))
    entry = store.list(join(bucket, "bank"))[0]
    store.write_bytes(entry.uri, cut_off(store.read_bytes(entry.uri)))
    with pytest.raises(StoreError, match=entry.uri):
        bank.embed(TEXTS, "encoder", Counting())


def test_an_encoder_is_fetched_once_and_again_when_it_changes(bucket, tmp_path):
    store = Store()
    load_encoder(STATIC, store).save(tmp_path / "model")
    store.upload(tmp_path / "model", join(bucket, "model"))
    first = locate(join(bucket, "model"), store)
    assert locate(join(bucket, "model"), store) == first
    settings = EncoderSettings(kind="static", path=join(bucket, "model"))
    texts = ["some words", "others"]
    here = load_encoder(dataclasses.replace(settings, path=str(tmp_path / "model")), store)
    np.testing.assert_array_equal(
        load_encoder(settings, store).encode(texts).vector_BD, here.encode(texts).vector_BD
    )
    store.write_bytes(join(bucket, "model", "README.md"), b"---\nlicense: apache-2.0\n---\n")
    assert locate(join(bucket, "model"), store) != first
    assert load_encoder(settings, store).licence == "apache-2.0"


def test_a_download_that_breaks_off_leaves_nothing_behind(bucket, tmp_path, monkeypatch):
    store = Store()
    store.write_bytes(join(bucket, "model", "a.json"), b"{}")
    store.write_bytes(join(bucket, "model", "b.json"), b"{}")
    opened = Store.open

    def fail(self, uri):
        if uri.endswith("b.json"):
            raise StoreError("the line went dead")
        return opened(self, uri)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "open", fail)
        with pytest.raises(StoreError, match="dead"):
            locate(join(bucket, "model"), store)
    assert list((tmp_path / "cache" / "encoders").iterdir()) == []
    assert locate(join(bucket, "model"), store).startswith(str(tmp_path / "cache"))


def test_a_bundle_is_loaded_from_storage(bucket, tmp_path):
    out = small_bundle(join(bucket, "models", "tagger"))
    tagger, store = load(out), Store()
    local = load(small_bundle(str(tmp_path / "tagger")))
    texts = ["Pruning apple trees", "soup"]
    assert_same_scores(tagger.tag(texts), local.tag(texts))
    assert tagger.bundle_id == local.bundle_id
    (cached,) = (tmp_path / "cache" / "bundles").iterdir()
    (cached / "labels.parquet").write_bytes(b"damaged")
    assert load(out).labels.fingerprint == tagger.labels.fingerprint  # fetched anew
    (cached / "labels.parquet").unlink()
    damaged = join(out, tagger.bundle_id, "labels.parquet")
    store.write_bytes(damaged, cut_off(store.read_bytes(damaged)))
    with pytest.raises(BundleError, match=r"labels\.parquet"):
        load(out)
