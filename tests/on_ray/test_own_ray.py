"""A Ray that raytagger starts itself: as quiet and as nice as the command."""

import json

from raytagger.doctor import RAY_TIMEOUT_S, examine
from tests.corpora import STATIC, write_texts
from tests.processes import run

SCRIPT = """
import os, sys
os.nice(3)
import ray
from raytagger.console import explained_errors
from raytagger.settings import ClusterSettings, RetagRun, RetagSettings
from raytagger.stream.cluster import connected
from raytagger.stream.output import tag_documents

bundle, documents, output = sys.argv[1:]
cluster = ClusterSettings(workers=1, small_bytes=0)
with explained_errors(), connected(cluster):
    print(ray.get(ray.remote(lambda: os.nice(0)).remote()) == os.nice(0), flush=True)
    tag_documents(bundle, RetagRun(RetagSettings(documents=documents), cluster=cluster), output, 3)
"""


def test_workers_are_as_nice_as_the_command_and_an_error_of_theirs_is_one_line(bundle, tmp_path):
    write_texts(tmp_path / "docs.parquet", ["bread"]).rename(tmp_path / "docs.weird")
    words = [bundle, str(tmp_path / "docs.weird"), str(tmp_path / "tags.parquet")]
    code, out, err = run(["-c", SCRIPT, *words])
    assert (code, out.split()) == (1, ["True"]), err
    line = err.splitlines()[-1]
    assert line.startswith("error: ")
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 2  # Ray's C++ may tell of an actor's arguments
    assert "docs.weird" in line


def test_all_that_is_needed_works_here():
    findings = {finding.part: finding for finding in examine(encoder=STATIC, ray_timeout_s=10 * RAY_TIMEOUT_S)}
    assert not [finding for finding in findings.values() if not (finding.works or finding.optional)]
    assert {"ray", "encoder", "device", "memory", "disk of the cache", "disk of Ray"} <= set(findings)
    assert "starts in" in findings["ray"].detail
    assert "ms a sentence" in findings["encoder"].detail
    assert json.dumps([vars(finding) for finding in findings.values()])
