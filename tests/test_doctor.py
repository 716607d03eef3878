"""The doctor on this machine, and on what is broken."""

import dataclasses
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raytagger.cli import app
from raytagger.doctor import Finding, examine, installation
from raytagger.settings import EncoderSettings, StorageSettings
from raytagger.store import Store
from raytagger.store.files import split_s3
from tests.corpora import STATIC


@pytest.fixture
def no_storage(monkeypatch, tmp_path):
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", *installation.CREDENTIALS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_a_ray_that_does_not_start_in_time_is_a_finding(monkeypatch):
    monkeypatch.setattr(installation, "RAY_PROBE", "import time; time.sleep(60)")
    found = next(finding for finding in examine(encoder=STATIC, ray_timeout_s=0.1) if finding.part == "ray")
    assert not found.works
    assert "in time" in found.detail
    assert found.remedy


def test_a_ray_that_fails_is_a_finding(monkeypatch):
    monkeypatch.setattr(installation, "RAY_PROBE", "raise RuntimeError('no port left')")
    found = next(finding for finding in examine(encoder=STATIC) if finding.part == "ray")
    assert not found.works
    assert "no port left" in found.detail


@pytest.mark.parametrize(
    ("settings", "detail"),
    [
        (EncoderSettings(path="/no/such/model"), "/no/such/model is not on this machine"),
        (EncoderSettings(path="nobody/no-such-model"), "not on this machine"),
        (EncoderSettings(path=""), "encoder.path is empty"),
        (EncoderSettings(kind="psychic"), "encoder.kind is unknown"),
        (EncoderSettings(kind="static", path=str(Path(__file__).parent)), "no static vectors"),
        (EncoderSettings(path=str(Path(__file__).parent)), "cannot be loaded"),
    ],
)
def test_a_broken_encoder_is_a_finding_with_a_remedy(settings, detail):
    found = installation._check_encoder(settings)
    assert not found.works
    assert detail in found.detail
    assert found.remedy


@pytest.mark.usefixtures("no_storage")
def test_storage_is_optional_where_none_is_set_up():
    (found,) = installation._check_storage("", StorageSettings())
    assert found.works
    assert found.optional


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "127.0.0.1:1", "http://127.0.0.1:port"])
@pytest.mark.parametrize("uri", ["", "s3://bucket/prefix"])
@pytest.mark.usefixtures("no_storage")
def test_an_unreachable_endpoint_is_a_finding_with_a_remedy(endpoint, uri):
    (found,) = installation._check_storage(uri, StorageSettings(endpoint=endpoint))
    assert not found.works
    assert endpoint in found.detail
    if endpoint.startswith("http"):
        assert "storage.endpoint" in found.remedy


def test_a_local_folder_is_probed_and_left_empty(tmp_path):
    (found,) = installation._check_storage(str(tmp_path), StorageSettings())
    assert found.works
    assert list(tmp_path.iterdir()) == []


@pytest.mark.s3
def test_object_storage_is_probed_and_left_empty(bucket):
    (found,) = installation._check_storage(bucket, StorageSettings())
    assert found.works, found
    name, prefix = split_s3(bucket)
    assert not Store().client().list_objects_v2(Bucket=name, Prefix=prefix).get("KeyCount")
    (found,) = installation._check_storage("", StorageSettings())
    assert found.works
    assert "buckets" in found.detail


@pytest.mark.s3
def test_refused_storage_is_a_finding_with_a_remedy(bucket, monkeypatch):
    (found,) = installation._check_storage("s3://no-such-bucket-here/x", StorageSettings())
    assert not found.works
    assert "bucket" in found.remedy
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    fresh = StorageSettings(region="eu-wrong-1")  # another region: clients are kept by their settings
    for uri in ("", bucket):
        (found,) = installation._check_storage(uri, fresh)
        assert not found.works
        assert "AWS_SECRET_ACCESS_KEY" in found.remedy


def test_storage_that_lets_an_object_be_created_twice_is_a_finding(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Careless(Store):
        def create_bytes(self, uri, data):
            self.write_bytes(uri, data)
            return True

    found = installation._probe(str(tmp_path), Careless())
    assert not found.works
    assert "overlap" in found.remedy


def test_a_full_or_closed_disk_is_a_finding(tmp_path, monkeypatch):
    assert installation._check_space("disk", tmp_path / "not" / "yet", "X").works
    monkeypatch.setattr(installation, "LEAST_DISK_GB", 1e9)
    found = installation._check_space("disk", tmp_path, "RAYTAGGER_CACHE")
    assert not found.works
    assert "RAYTAGGER_CACHE" in found.remedy


def test_lines_for_a_person():
    assert Finding("ray", True, "fine").lines() == ["ok       ray: fine"]
    assert Finding("faiss", False, "absent", "pip", True).lines() == ["without  faiss: absent", "         -> pip"]
    assert Finding("ray", False, "ill", "pip").lines()[0].startswith("FAILS")


@pytest.mark.usefixtures("no_storage")
def test_the_command_tells_what_is_broken_and_exits_1(monkeypatch):
    monkeypatch.setattr(installation, "RAY_PROBE", "raise RuntimeError('no port left')")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    done = CliRunner().invoke(app, ["doctor", "--storage", "s3://bucket/x", "--json"])
    assert done.exit_code == 1, done.output
    found = {finding["part"]: finding for finding in json.loads(done.stdout)}
    assert not found["ray"]["works"]
    assert "AWS_ENDPOINT_URL" in found["storage"]["remedy"]
    told = CliRunner().invoke(app, ["doctor"]).stdout
    assert "FAILS    ray: " in told
    assert "without  storage: " in told
