import json
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from raytagger.errors import LockHeldError, StoreError
from raytagger.settings import StorageSettings
from raytagger.store import Store, check_files, check_writable, locked, options, read_manifest, write_manifest
from raytagger.store.files import split_s3
from raytagger.store.tags import DataFile, TagTable
from tests.processes import wait_until
from tests.s3 import S3Server

pytestmark = pytest.mark.s3
LEASE_S = 1.5
PASSED_S = 2.1  # S3 tells whole seconds, so an age is 2 s then, or 3


@pytest.fixture
def store(s3):
    return Store()


@pytest.fixture
def fresh_clients():
    """Clients keep the credentials that they were made with."""
    clear_clients()
    yield
    clear_clients()


def clear_clients():
    options.s3_client.cache_clear()
    options.s3_filesystem.cache_clear()


def keys(store, uri):
    bucket, prefix = split_s3(uri)
    return [
        entry["Key"] for entry in store.client().list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ())
    ]


def write_half(store, uri, error):
    with store.writing(uri) as file:
        file.write(b"new")
        raise error


def listening(pid):
    """(address, port) of every socket on which a process listens, from /proc."""
    inodes = {
        link for path in Path(f"/proc/{pid}/fd").iterdir() if (link := str(path.readlink())).startswith("socket")
    }
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            cells = row.split()
            if cells[3] == "0A" and f"socket:[{cells[9]}]" in inodes:
                address, port = cells[1].split(":")
                yield address, int(port, 16)


def test_two_servers_live_side_by_side_on_loopback_only(s3):
    with S3Server() as other:
        other.create_bucket("corpus")
        assert Store(StorageSettings(endpoint=other.endpoint)).exists("s3://corpus")
        assert not Store().exists("s3://corpus")
        for server in (s3, other):
            assert server.process is not None
            found = dict(listening(server.process.pid))
            assert set(found) == {"0100007F"}
        mine, theirs = (set(server.ports.values()) for server in (s3, other))
        assert not mine & theirs
        process = other.process
    assert process is not None
    assert process.poll() is not None


def test_list_is_in_order_of_names_and_leaves_out_hidden_files(store, bucket):
    for name in ("b/2", "b/1", "a.txt", "a/x", "_success", ".part", "_temporary/y"):
        store.write_bytes(f"{bucket}/{name}", name.encode())
    entries = store.list(f"{bucket}/")
    assert [entry.uri for entry in entries] == [f"{bucket}/{name}" for name in ("a.txt", "a/x", "b/1", "b/2")]
    assert [entry.size for entry in entries] == [5, 3, 3, 3]
    assert [entry.uri for entry in store.list(f"{bucket}/b/1")] == [f"{bucket}/b/1"]


def test_write_read_exists_delete(store, bucket):
    store.write_bytes(f"{bucket}/a/x", b"1")
    store.write_bytes(f"{bucket}/a/x", b"22")
    assert store.read_bytes(f"{bucket}/a/x") == b"22"
    with store.open(f"{bucket}/a/x") as file:
        assert (file.seek(1), file.read()) == (1, b"2")
    assert store.exists(f"{bucket}/a")
    store.delete(f"{bucket}/a")
    store.delete(f"{bucket}/a")
    assert not store.exists(f"{bucket}/a/x")


def test_missing_object_and_missing_bucket(store, bucket):
    nowhere = "s3://no-such-bucket/x"
    for uri in (f"{bucket}/absent", nowhere):
        for action in (store.list, store.open, store.read_bytes):
            with pytest.raises(StoreError, match="Check the bucket, the spelling"):
                action(uri)
        assert not store.exists(uri)
    for action in (store.write_bytes, store.create_bytes):
        with pytest.raises(StoreError, match=r"no-such-bucket.*Check the bucket"):
            action(nowhere, b"")
    with pytest.raises(StoreError, match="Check the bucket"), locked(store, nowhere):
        pass


def test_wrong_secret(store, bucket, monkeypatch, fresh_clients):
    store.write_bytes(f"{bucket}/x", b"1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    clear_clients()
    attempts = (store.list, store.exists, store.read_bytes, store.delete)
    for action in (*attempts, lambda uri: store.write_bytes(uri, b""), lambda uri: store.create_bytes(uri, b"")):
        with pytest.raises(StoreError, match="AWS_SECRET_ACCESS_KEY"):
            action(f"{bucket}/x")
    with pytest.raises(StoreError, match="AWS_SECRET_ACCESS_KEY") as raised, locked(store, f"{bucket}/lock"):
        pass
    assert not isinstance(raised.value, LockHeldError)


def test_an_unreachable_endpoint_is_named(s3):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, but nobody listens
        store = Store(StorageSettings(endpoint=f"http://127.0.0.1:{nobody.getsockname()[1]}"))
        for action in (store.exists, lambda uri: store.write_bytes(uri, b"")):
            with pytest.raises(StoreError, match=r"storage\.endpoint"):
                action("s3://bucket/x")


def test_conditional_create_has_one_winner(store, bucket):
    start = threading.Barrier(16)

    def create(number):
        start.wait()
        return store.create_bytes(f"{bucket}/x", str(number).encode())

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(create, range(16)))
    assert sum(won) == 1
    assert store.read_bytes(f"{bucket}/x") == str(won.index(True)).encode()


def test_put_under_a_condition(store, bucket):
    etag = store.put(f"{bucket}/x", b"1", IfNoneMatch="*")
    assert store.put(f"{bucket}/x", b"2", IfNoneMatch="*") is None
    assert store.put(f"{bucket}/x", b"3", IfMatch=etag) not in (None, etag)
    assert store.put(f"{bucket}/x", b"4", IfMatch=etag) is None
    assert store.put(f"{bucket}/absent", b"5", IfMatch=etag) is None
    assert store.read_bytes(f"{bucket}/x") == b"3"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_failing_writer_publishes_nothing(store, bucket, error):
    store.write_bytes(f"{bucket}/old", b"old")
    for name in ("old", "new"):
        with pytest.raises((error, StoreError)):
            write_half(store, f"{bucket}/{name}", error)
    assert store.read_bytes(f"{bucket}/old") == b"old"
    assert [key.rsplit("/", 1)[-1] for key in keys(store, bucket)] == ["old"]


def test_folder_goes_up_and_comes_back(store, bucket, tmp_path):
    folder, back = tmp_path / "bundle", tmp_path / "back"
    (folder / "encoder").mkdir(parents=True)
    (folder / "encoder/weights").write_bytes(bytes(range(256)) * 40_000)  # more than one part of an upload
    (folder / ".hidden").write_text("x")
    write_manifest(folder, {})
    store.upload(folder, bucket)
    store.download(bucket, back)
    manifest = read_manifest(back)
    check_files(back, manifest["files"])
    assert set(manifest["files"]) == {"encoder/weights", ".hidden"}
    store.download(f"{bucket}/.hidden", tmp_path / "one")
    assert (tmp_path / "one/.hidden").read_text() == "x"


def test_lock_is_exclusive_and_is_removed(store, bucket):
    lock = f"{bucket}/lock"
    with locked(store, lock):
        with pytest.raises(LockHeldError, match=rf"{socket.gethostname()}.*since.*120 s"), locked(store, lock):
            pass
        assert store.exists(lock)
    assert keys(store, lock) == []
    with locked(store, lock):
        pass


def test_lock_is_renewed_while_its_run_lives(store, bucket):
    lock = f"{bucket}/lock"
    with locked(store, lock, LEASE_S):
        written = store.read_bytes(lock)
        wait_until(lambda: store.read_bytes(lock) != written)
        with pytest.raises(LockHeldError), locked(store, lock):
            pass


def test_lease_is_taken_over_and_the_old_owner_leaves_the_new_lock(store, bucket):
    lock = f"{bucket}/lock"
    with locked(store, lock, lease_s=600):  # renews after 200 s: as good as dead
        with pytest.raises(LockHeldError), locked(store, lock, lease_s=60):
            pass
        time.sleep(PASSED_S)
        taken = locked(store, lock, LEASE_S)
        taken.__enter__()
        content = store.read_bytes(lock)
    try:
        assert store.exists(lock)  # the old owner has left
        assert b"since" in content
        with pytest.raises(LockHeldError), locked(store, lock):
            pass
    finally:
        taken.__exit__(None, None, None)
    assert keys(store, lock) == []


def test_a_lock_of_a_dead_process_has_one_heir(store, bucket):
    lock = f"{bucket}/lock"
    with subprocess.Popen(["true"]) as dead:
        pass
    owner = {"host": socket.gethostname(), "pid": dead.pid}
    store.write_bytes(lock, json.dumps(owner).encode())
    start, leave = threading.Barrier(8), threading.Barrier(8)

    def inherit(_):
        start.wait()
        try:
            with locked(store, lock):
                leave.wait()
                return True
        except LockHeldError:
            leave.wait()
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(inherit, range(8))) == 1


def test_delta_options(store, s3, bucket, tmp_path):
    found = store.delta_options(bucket)
    assert found == {
        "AWS_ACCESS_KEY_ID": s3.key,
        "AWS_SECRET_ACCESS_KEY": s3.secret,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3.endpoint,
        "AWS_ALLOW_HTTP": "true",
    }
    assert store.delta_options(str(tmp_path)) is None
    secure = Store(StorageSettings(endpoint="https://s3.example.org", region="eu-west-1")).delta_options(bucket)
    assert secure is not None
    assert (secure["AWS_ALLOW_HTTP"], secure["AWS_REGION"]) == ("false", "eu-west-1")
    write_deltalake(f"{bucket}/table", pa.table({"a": [1]}), storage_options=found)
    assert DeltaTable(f"{bucket}/table", storage_options=found).version() == 0


def test_no_credentials(store, bucket, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "absent"))
    with pytest.raises(StoreError, match="no credentials"):
        store.delta_options(bucket)


def test_patterns_match_keys(store, bucket):
    for name in ("a.jsonl", "x/c.jsonl", "x/y/d.jsonl", "x/y/_e.jsonl", "q?.csv"):
        store.write_bytes(f"{bucket}/{name}", b"1")
    for pattern, expected in (
        ("*.jsonl", ["a.jsonl"]),
        ("**/*.jsonl", ["a.jsonl", "x/c.jsonl", "x/y/d.jsonl"]),
        ("x/y*", ["x/y/d.jsonl"]),
        ("[a-c].jsonl", ["a.jsonl"]),
        ("q?.csv", ["q?.csv"]),
    ):
        assert [entry.uri for entry in store.list(f"{bucket}/{pattern}")] == [
            f"{bucket}/{name}" for name in expected
        ]
    with pytest.raises(StoreError, match="no file matches the pattern"):
        store.list(f"{bucket}/*.parquet")


def test_the_stamp_changes_with_the_content_alone(store, bucket):
    uri = f"{bucket}/x"
    store.write_bytes(uri, b"1")
    before = store.list(uri)
    store.write_bytes(uri, b"2")  # within the second that S3 tells
    assert store.list(uri) != before
    store.write_bytes(uri, b"1")
    assert store.list(uri) == store.list(bucket) == before


def test_nothing_stays_of_a_look_at_a_target(store, bucket):
    check_writable(store, f"{bucket}/a/tags.parquet")
    check_writable(store, f"{bucket}/a/bundle", folder=True)
    assert keys(store, bucket) == []
    for folder in (True, False):
        with pytest.raises(StoreError, match=r"no-such-bucket.*Check the bucket"):
            check_writable(store, "s3://no-such-bucket/x", folder)


@pytest.mark.parametrize("name", ["100%", "a[x]", "with space", "a#b", "a+b", "a?b", "ü"])
def test_a_tag_table_may_have_any_name(store, bucket, name):
    uri = f"{bucket}/{name}/tags"
    table = TagTable(store, uri)
    table.check()
    store.write_bytes(f"{uri}/data/r/outcome=tagged/x.parquet", b"1")
    assert table.commit([DataFile("data/r/outcome=tagged/x.parquet", 1, 3, "tagged")], "i", {"run_id": "r"}) == 1
    assert [file.rows for file in table.files(table.open())] == [3]
    table.check()
    prefix = split_s3(uri)[1]
    assert all(key.startswith(f"{prefix}/") for key in keys(store, bucket))


def test_a_foreign_place_is_no_tag_table(store, bucket):
    store.write_bytes(f"{bucket}/reports/may.csv", b"1")
    write_deltalake(f"{bucket}/delta", pa.table({"x": [1]}), storage_options=store.delta_options(bucket))
    with pytest.raises(StoreError, match="deltalake cannot keep a table whose path has '%20'"):
        TagTable(store, f"{bucket}/a%20b").check()
    before = keys(store, bucket)
    for name, words in (("reports", r"other files; got .*may\.csv"), ("delta", "a table of something else")):
        with pytest.raises(StoreError, match=words):
            TagTable(store, f"{bucket}/{name}").check()
    assert keys(store, bucket) == before
