"""A training and a night as Ray jobs, submitted to a head, over object storage."""

import re
import subprocess

import pytest

from raytagger.bundle import load
from raytagger.corpus.output import SMALL
from raytagger.store import Store, join
from raytagger.store.tags import TagTable
from tests.conftest import ROOT
from tests.corpora import small_bundle, write_texts
from tests.head import RAY, environment
from tests.tiny import tiny_encoder

pytestmark = pytest.mark.s3


def submit(head, *arguments):
    command = [RAY, "job", "submit", "--address", head.jobs, "--working-dir", ".", "--", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=1200, check=False
    )


def test_a_night_is_submitted_as_a_job(head, bucket, tmp_path):
    store = Store()
    texts = [f"a text about sewing and quilts, number {row}" for row in range(60)]
    store.write_bytes(join(bucket, "docs.parquet"), write_texts(tmp_path / "docs.parquet", texts).read_bytes())
    bundle, table = small_bundle(join(bucket, "bundle")), join(bucket, "tags")
    sets = [f"retag.documents={bucket}/docs.parquet", f"retag.bundle={bundle}", f"retag.table={table}"]
    sets += ["retag.splits=[]", "cluster.workers=1"]
    options = [word for value in sets for word in ("--set", value)]
    done = submit(head, "python", "jobs/retag.py", "jobs/retag.toml", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"60 of 60 documents tagged", done.stdout), done.stdout
    delta = TagTable(store, table).open()
    assert delta is not None
    assert sum(len(part) for part in TagTable(store, table).read(delta)) == 60
    failed = submit(head, "python", "jobs/retag.py", "jobs/retag.toml", "--set", "retag.bundle=s3://nowhere/x")
    assert failed.returncode != 0
    assert "error:" in failed.stdout


def test_a_training_is_submitted_as_a_job(head, bucket, tmp_path):
    encoder, out = tiny_encoder(tmp_path), join(bucket, "ofde")
    sets = {
        "source.documents": SMALL / "docs.jsonl",
        "source.labels": SMALL / "labels.jsonl",
        "encoder.path": encoder.path,
        "encoder.max_tokens": 16,
        "train.max_steps": 4,
        "train.batch_size": 16,
        "train.frozen_layers": 1,
        "train.evaluations": 1,
        "cluster.workers": 1,
        "output.bundle": out,
    }
    options = [word for name, value in sets.items() for word in ("--set", f"{name}={value}")]
    done = submit(head, "python", "jobs/train_ofde.py", "jobs/ofde.toml", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"training: 4 steps of about .* on 1 worker", done.stdout), done.stdout
    assert "step 4 of 4: nDCG@5" in done.stdout
    tagger = load(out)
    assert tagger.manifest["kind"] == "dense"
    assert (tagger.tag(["sewing a quilt by hand"], 5).label_BK >= 0).all()
