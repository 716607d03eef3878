"""Where a run works: in this process where the work is small, on Ray where it is not or a cluster is named.

Both call the same stage functions and leave the same files, so that one takes up what the other began.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from raytagger.settings import ClusterSettings


def needs_ray(cluster: ClusterSettings, size: int) -> bool:
    """Whether Ray does the work.

    It does where it runs already or is named, where more than one worker or a GPU is asked for, and where the input
    is larger than `cluster.small_bytes`.

    Args:
        cluster: of the run.
        size: bytes of the document files.
    """
    named = cluster.address or os.environ.get("RAY_ADDRESS")
    asked = cluster.workers > 1 or cluster.use_gpu or not cluster.small_bytes
    return bool(named) or asked or ray_is_up() or size > cluster.small_bytes


def ray_is_up() -> bool:
    """Whether this process is connected to Ray; without importing it, which takes seconds."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


@contextmanager
def at_work(cluster: ClusterSettings, size: int) -> Iterator[None]:
    """A connection to Ray where the work needs it; within the block `ray_is_up` says which of the two it is."""
    if not needs_ray(cluster, size):
        yield
        return
    from raytagger.stream.cluster import connected

    with connected(cluster):
        yield
