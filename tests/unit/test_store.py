import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from raytagger.errors import LockHeldError, StoreError
from raytagger.store import Store, check_files, join, locked, read_manifest, write_manifest

HOLDER = """
import sys
from raytagger.store import Store, locked
with locked(Store(), sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def store():
    return Store()


def write_half(store, uri, error):
    with store.writing(uri) as file:
        file.write(b"new")
        raise error


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_list_is_in_order_of_names_and_leaves_out_hidden_files(store, tmp_path):
    for name in ("b/2", "b/1", "a.txt", "a/x", "_success", ".part", "b/.crc", "_temporary/y"):
        store.write_bytes(f"{tmp_path}/{name}", name.encode())
    entries = store.list(f"{tmp_path}/")
    assert [entry.uri for entry in entries] == [f"{tmp_path}/{name}" for name in ("a.txt", "a/x", "b/1", "b/2")]
    assert [entry.size for entry in entries] == [5, 3, 3, 3]


def test_list_of_a_file_is_that_file_even_when_hidden(store, tmp_path):
    store.write_bytes(f"{tmp_path}/_x", b"12")
    assert [(entry.uri, entry.size) for entry in store.list(f"{tmp_path}/_x")] == [(f"{tmp_path}/_x", 2)]


def test_a_hidden_folder_above_hides_nothing(store, tmp_path):
    store.write_bytes(f"{tmp_path}/_run/x", b"")
    assert [entry.uri for entry in store.list(f"{tmp_path}/_run")] == [f"{tmp_path}/_run/x"]


def test_relative_paths(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store.write_bytes("data/x", b"1")
    assert [entry.uri for entry in store.list("data")] == ["data/x"]
    assert [entry.uri for entry in store.list("../" + tmp_path.name)] == [f"../{tmp_path.name}/data/x"]


def test_stamp_changes_when_a_file_is_written_again(store, tmp_path):
    uri = f"{tmp_path}/x"
    store.write_bytes(uri, b"1")
    before = store.list(uri)
    store.write_bytes(uri, b"2")
    assert store.list(uri) != before


def test_missing_is_named(store, tmp_path):
    for action in (store.list, store.open, store.read_bytes):
        with pytest.raises(StoreError, match="absent"):
            action(f"{tmp_path}/absent")
    assert not store.exists(f"{tmp_path}/absent")
    store.delete(f"{tmp_path}/absent")


@pytest.mark.parametrize("uri", ["gs://b/x", "file:///tmp/x", "hdfs://h/x"])
def test_other_storage_is_refused_and_nothing_is_made(store, tmp_path, monkeypatch, uri):
    monkeypatch.chdir(tmp_path)
    for action in (
        store.list,
        store.open,
        lambda uri: store.write_bytes(uri, b""),
        lambda uri: store.create_bytes(uri, b""),
    ):
        with pytest.raises(StoreError, match="unknown kind of storage"):
            action(uri)
    with pytest.raises(StoreError, match="unknown kind of storage"), locked(store, uri):
        pass
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_failing_writer_leaves_the_old_file_and_no_other(store, tmp_path, error):
    uri = f"{tmp_path}/x"
    store.write_bytes(uri, b"old")
    with pytest.raises((error, StoreError)):
        write_half(store, uri, error)
    assert store.read_bytes(uri) == b"old"
    assert names(tmp_path) == ["x"]


def test_readers_never_see_a_part(store, tmp_path):
    uri = f"{tmp_path}/x"
    with store.writing(uri) as file:
        file.write(b"1")
        assert not store.exists(uri)
        assert store.list(str(tmp_path)) == []
    assert store.read_bytes(uri) == b"1"


def test_create_bytes_has_one_winner(store, tmp_path):
    start = threading.Barrier(8)

    def create(number):
        start.wait()
        return store.create_bytes(f"{tmp_path}/deep/x", str(number).encode())

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert sum(won) == 1
    assert store.read_bytes(f"{tmp_path}/deep/x") == str(won.index(True)).encode()
    assert names(tmp_path / "deep") == ["x"]


def test_delete_and_exists(store, tmp_path):
    store.write_bytes(f"{tmp_path}/a/b/c", b"")
    assert store.exists(f"{tmp_path}/a")
    store.delete(f"{tmp_path}/a/b/c")
    store.delete(f"{tmp_path}/a")
    assert names(tmp_path) == []


def test_upload_and_download_bring_every_file(store, tmp_path):
    for name in ("x", "sub/y", ".hidden", "_z"):
        store.write_bytes(f"{tmp_path}/from/{name}", name.encode())
    store.upload(tmp_path / "from", f"{tmp_path}/there/")
    store.download(f"{tmp_path}/there", tmp_path / "back")
    found = {str(path.relative_to(tmp_path / "back")) for path in (tmp_path / "back").rglob("*") if path.is_file()}
    assert found == {"x", "sub/y", ".hidden", "_z"}
    assert (tmp_path / "back/sub/y").read_bytes() == b"sub/y"


def test_download_of_one_file_does_not_touch_it(store, tmp_path):
    store.write_bytes(f"{tmp_path}/x", b"1")
    store.download(f"{tmp_path}/x", tmp_path / "back")
    assert store.read_bytes(f"{tmp_path}/x") == (tmp_path / "back/x").read_bytes() == b"1"


def test_join_and_pickling(store):
    assert join("s3://b/x/", "/y/", "", "z") == "s3://b/x/y/z"
    assert join("/", "x") == "/x"
    assert pickle.loads(pickle.dumps(store)) == store


@pytest.mark.parametrize("uri", ["s3://", "s3:///x", "s3://b//x", "s3://b/x//y"])
def test_malformed_s3_uris_need_no_network(store, uri):
    for action in (store.list, store.open, lambda uri: store.write_bytes(uri, b"")):
        with pytest.raises(StoreError, match="s3://bucket/key"):
            action(uri)


def test_endpoint_without_scheme(store, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "127.0.0.1:8333")
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    with pytest.raises(StoreError, match=r"http\(s\)://host:port"):
        store.exists("s3://b/x")


def test_lock_of_another_process_and_its_death(store, tmp_path):
    uri = f"{tmp_path}/locks/table"
    command = [sys.executable, "-c", HOLDER, uri]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockHeldError) as raised, locked(store, uri):
            pass
        assert f'"pid": {holder.pid}' in str(raised.value)
        assert "since" in str(raised.value)
        assert raised.value.exit_code == 4
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate()
    with locked(store, uri):
        assert json.loads((tmp_path / "locks/table").read_text())["pid"] == os.getpid()


def test_lock_is_free_after_an_error(store, tmp_path):
    uri = f"{tmp_path}/lock"
    with pytest.raises(ZeroDivisionError), locked(store, uri):
        raise ZeroDivisionError
    with locked(store, uri), pytest.raises(LockHeldError), locked(store, uri):
        pass


@pytest.fixture
def published(tmp_path):
    folder = tmp_path / "bundle"
    (folder / "encoder").mkdir(parents=True)
    (folder / "encoder/weights").write_bytes(bytes(1000))
    (folder / "encoder/manifest.json").write_text("{}")
    write_manifest(folder, {"kind": "frozen"})
    return folder


def test_manifest_names_every_file(published):
    manifest = read_manifest(published)
    assert manifest["kind"] == "frozen"
    assert set(manifest["files"]) == {"encoder/weights", "encoder/manifest.json"}
    check_files(published, manifest["files"])


def test_damage_is_named(published):
    files = read_manifest(published)["files"]
    weights = published / "encoder/weights"
    for damaged, words in ((bytes(999), "cut off"), (bytes(999) + b"\1", "altered"), (None, "missing")):
        weights.unlink() if damaged is None else weights.write_bytes(damaged)
        with pytest.raises(StoreError, match=f"encoder/weights .*{words}"):
            check_files(published, files)


@pytest.mark.parametrize("text", ["", '{"files": ', "[]", "\0"])
def test_damaged_manifest(published, text):
    (published / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match=r"manifest\.json is damaged"):
        read_manifest(published)


def test_folder_without_manifest(tmp_path):
    with pytest.raises(StoreError, match=r"no manifest\.json"):
        read_manifest(tmp_path)


def below(store, uri, root):
    return [entry.uri.removeprefix(f"{root}/") for entry in store.list(uri)]


def test_a_link_that_leads_nowhere_is_named(store, tmp_path):
    store.write_bytes(f"{tmp_path}/docs/a", b"1")
    (tmp_path / "docs/.#a").symlink_to("user@host:1")  # an editor's lock file, hidden as such
    assert below(store, f"{tmp_path}/docs", tmp_path) == ["docs/a"]
    for target in ("gone", "b"):
        (tmp_path / "docs/b").symlink_to(target)
        with pytest.raises(StoreError, match=f"docs/b is a link that leads nowhere; got '{target}'"):
            store.list(f"{tmp_path}/docs")
        with pytest.raises(StoreError, match="leads nowhere"):
            store.list(f"{tmp_path}/docs/b")
        (tmp_path / "docs/b").unlink()


def test_links_are_followed_and_each_file_is_listed_once(store, tmp_path):
    for name in ("docs/m/a", "docs/m/b", "elsewhere/c"):
        store.write_bytes(f"{tmp_path}/{name}", b"1")
    (tmp_path / "docs/a-first").symlink_to("m")
    (tmp_path / "docs/itself").symlink_to(".")
    (tmp_path / "docs/m/up").symlink_to("..")
    (tmp_path / "docs/m/z").symlink_to("a")
    (tmp_path / "docs/away").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "docs/n").symlink_to(tmp_path / "elsewhere/c")
    (tmp_path / "link").symlink_to("docs")
    assert below(store, f"{tmp_path}/docs", tmp_path) == ["docs/away/c", "docs/m/a", "docs/m/b"]
    assert len(store.list(f"{tmp_path}/link")) == 3


def test_what_is_neither_a_file_nor_a_folder_is_named(store, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match="pipe is neither a file nor a folder"):
        store.list(str(tmp_path))


FILES = ("a.jsonl", "b.csv", "x/c.jsonl", "x/y/d.jsonl", "x/y/_e.jsonl", "[ab].csv", "1?.csv")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jsonl", ["a.jsonl"]),
        ("**/*.jsonl", ["a.jsonl", "x/c.jsonl", "x/y/d.jsonl"]),
        ("x/*.jsonl", ["x/c.jsonl"]),
        ("x*/y", ["x/y/d.jsonl"]),
        ("x/**", ["x/c.jsonl", "x/y/d.jsonl"]),
        ("?.csv", ["b.csv"]),
        ("[a-b].*", ["a.jsonl", "b.csv"]),
        ("[!a].*", ["b.csv"]),
        ("[ab].csv", ["[ab].csv"]),  # a file of that very name comes first
        ("1?.csv", ["1?.csv"]),
        ("x/y/_*", ["x/y/_e.jsonl"]),
    ],
)
def test_patterns(store, tmp_path, pattern, expected):
    for name in FILES:
        store.write_bytes(f"{tmp_path}/{name}", b"1")
    assert below(store, f"{tmp_path}/{pattern}", tmp_path) == expected


def test_what_a_pattern_cannot_match_is_not_looked_at(store, tmp_path):
    for name in ("a.jsonl", "x/b.jsonl", "x/y/c.jsonl", "docs/d.jsonl"):
        store.write_bytes(str(tmp_path / name), b"1")
    for folder in ("x", "x/y"):
        (tmp_path / folder / "nowhere").symlink_to("absent")
    os.mkfifo(tmp_path / "pipe")
    assert below(store, f"{tmp_path}/*.jsonl", tmp_path) == ["a.jsonl"]
    assert below(store, f"{tmp_path}/[x]/*.jsonl", tmp_path) == ["x/b.jsonl"]
    assert below(store, f"{tmp_path}/d*", tmp_path) == ["docs/d.jsonl"]
    with pytest.raises(StoreError, match="a link that leads nowhere"):
        store.list(f"{tmp_path}/x*/**/*.jsonl")


def test_a_pattern_that_matches_nothing_is_named(store, tmp_path):
    for pattern in ("*.parquet", "absent/*.jsonl"):
        with pytest.raises(StoreError, match="no file matches the pattern"):
            store.list(f"{tmp_path}/{pattern}")


def test_patterns_of_relative_paths(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store.write_bytes("a.csv", b"1")
    store.write_bytes("x/b.csv", b"1")
    assert [entry.uri for entry in store.list("x/*.csv")] == ["x/b.csv"]
    assert [entry.uri.removeprefix("./") for entry in store.list("*.csv")] == ["a.csv"]
