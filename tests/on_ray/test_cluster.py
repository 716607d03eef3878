"""A cluster whose head has no CPU, and which grows when it has work: what cluster.yaml makes."""

import os

import pyarrow.parquet as pq

from tests.corpora import write_texts
from tests.head import joined_node, running_head
from tests.processes import command_of, descendants, start, wait_until

DOCUMENTS = 64
COUNT = """
import ray
from raytagger.fit.run import count_workers
from raytagger.settings import ClusterSettings
ray.init(log_to_driver=False)
print(*(count_workers(ClusterSettings(), size) for size in (60, 64)))
"""


def test_workers_come_with_the_machines(faulty, fault_gate, tmp_path, monkeypatch):
    path = write_texts(
        tmp_path / "docs.parquet", [f"GATED text about tides, number {row}" for row in range(DOCUMENTS)]
    )
    output = tmp_path / "tags.parquet"
    words = ["tag", faulty, "--documents", str(path), "--output", str(output), "--set", "cluster.chunk_documents=4"]
    fault_gate.write_text("0")
    monkeypatch.setenv("RAYTAGGER_FAULT_GATE", str(fault_gate))  # for the workers of both nodes
    with running_head(cpus=0) as head:
        process = start(["-m", "raytagger.cli", *words], RAY_ADDRESS=head.address)
        with joined_node(head, cpus=3):
            wait_until(lambda: len(taggers()) >= 2, process=process)
            counting = start(["-c", COUNT], RAY_ADDRESS=head.address)
            counted, _ = counting.communicate(timeout=600)
            assert counted.split() == ["3", "2"], "workers of a training whose step has 60 and 64 documents"
            fault_gate.unlink()
            _, error = process.communicate(timeout=1200)
    assert process.returncode == 0, error
    assert len(pq.read_table(output)) == DOCUMENTS


def taggers():
    return [pid for pid in descendants(os.getpid()) if "TagStage" in command_of(pid)]
