"""Commands run as a user runs them: in processes of their own, with a Ray of their own unless one is named."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
RAY_ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "plugins")]),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_enable_worker_prestart": "0",  # a worker that nobody has asked for costs seconds of a core
    "RAY_prestart_worker_first_driver": "0",
    "RAY_worker_niceness": "0",  # at Ray's own 15 the workers would starve beside the other lane of `make test`
    # A training here lasts seconds: an actor less to start, and news of the workers at once.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
}


def start(arguments, **environment):
    """Starts `python ARGUMENTS` in a process group of its own."""
    env = {**os.environ, "RAY_ADDRESS": "", **RAY_ENVIRONMENT, **environment}
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(arguments, timeout_s=1200, **environment):
    """Runs a command to its end: (exit code, standard output, standard error)."""
    process = start(arguments, **environment)
    out, err = process.communicate(timeout=timeout_s)
    return process.returncode, out, err


def descendants(pid):
    """All processes below one, from /proc."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:
            parents[int(name)] = int(file.read().rpartition(")")[2].split()[1])
    found, known = [], {pid}
    while True:
        new = [child for child, parent in parents.items() if parent in known and child not in known]
        if not new:
            return found
        found += new
        known.update(new)


def kill_driver(process, workers_too=False):
    """SIGKILLs the driver, alone or with all below it, and clears away Ray's lingering agents.

    Where the driver dies alone, its workers go on until they notice, on the tests' Ray as on one of its own; this
    waits until they have.
    """
    below = descendants(process.pid)
    workers = [] if workers_too else [pid for pid in descendants(os.getpid()) if "TagStage" in command_of(pid)]
    process.kill()
    process.wait()
    wait_until(lambda: not any(alive(pid) for pid in workers))
    for pid in below:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def command_of(pid):
    """What a process calls itself."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline") as file:
        return file.read()
    return ""


def alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, timeout_s=600, process=None):
    """Waits for a condition; fails at once where the process it depends on has ended."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        if process is not None and process.poll() is not None:
            raise AssertionError(f"the process ended: {process.communicate()}")
        time.sleep(0.05)
