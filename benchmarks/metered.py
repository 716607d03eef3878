"""A command's wall seconds and CPU seconds, those of all processes below it included, as JSON; Linux alone.

A process that nobody waits for, as Ray's workers, is in no parent's account. So all below the command are looked at
every fifth of a second, and again as zombies: of a worker that Ray buries itself the last moments are missing.

Example: python benchmarks/metered.py raytagger tag models/frozen --documents docs.parquet --output tags.parquet
"""

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

PR_SET_CHILD_SUBREAPER = 36
EVERY_S, PATIENCE_S = 0.2, 10.0
TICKS = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    pid: int
    parent: int
    started: int  # with the pid a name that is not given twice
    ended: bool
    cpu_s: float  # without its children's


def meter(command: list[str]) -> dict[str, float]:
    """Runs a command to its end; the seconds of what outlives it count, but are not waited for in `wall_s`.

    What is still there ten seconds later, as a worker that hangs where it exits, is killed and counted in `left`.

    Raises:
        CalledProcessError: the command failed.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "orphans cannot be had as children (prctl)")
    cpu_s: dict[tuple[int, int], float] = {}
    left: set[tuple[int, int]] = set()
    started = time.perf_counter()
    command_pid = os.posix_spawnp(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
    handle = os.pidfd_open(command_pid)
    while not select.select([handle], [], [], EVERY_S)[0]:
        cpu_s |= {(each.pid, each.started): each.cpu_s for each in below(os.getpid())}
    wall_s, deadline = time.perf_counter() - started, time.monotonic() + PATIENCE_S
    while found := list(below(os.getpid())):
        cpu_s |= {(each.pid, each.started): each.cpu_s for each in found}
        for each in found:
            if each.ended and each.parent == os.getpid():
                code = os.waitstatus_to_exitcode(os.waitpid(each.pid, 0)[1])
                if code and each.pid == command_pid:
                    raise subprocess.CalledProcessError(code, command)
            elif time.monotonic() > deadline:
                os.kill(each.pid, signal.SIGKILL)
                left.add((each.pid, each.started))
        time.sleep(0.01)
    return {"wall_s": wall_s, "cpu_s": sum(cpu_s.values()), "left": len(left)}


def below(ancestor: int) -> Iterator[Process]:
    """All processes that descend from one."""
    children: dict[int, list[Process]] = {}
    for process in processes():
        children.setdefault(process.parent, []).append(process)
    wanted = [ancestor]
    for pid in wanted:
        for process in children.get(pid, ()):
            wanted.append(process.pid)
            yield process


def processes() -> Iterator[Process]:
    """All there are; fields of `stat` as proc(5) numbers them, from the third on."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        cpu_s = (int(fields[11]) + int(fields[12])) / TICKS
        yield Process(int(name), int(fields[1]), int(fields[19]), fields[0] in "ZX", cpu_s)


if __name__ == "__main__":
    print(json.dumps(meter(sys.argv[1:])))
