"""The cluster's files, as far as they can be checked without a cloud."""

import json
import re

import botocore.session
import botocore.validate
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from raytagger.corpus import read_documents, read_labels
from raytagger.settings import FitRun, RetagRun, SourceSettings, read_run
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "cluster.md").read_text()
WORKED_ON = "/home/ray/raytagger/"  # where the image has the project


def load(name):
    return yaml.safe_load((ROOT / name).read_text())


def locked(package):
    return re.search(rf"^{package}==(.+)$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)[1]


def test_ray_accepts_the_cluster():
    prepared = prepare_config(load("cluster.yaml"))
    validate_config(prepared)
    head, workers = (prepared["available_node_types"][name] for name in ("head", "gpu8"))
    assert prepared["head_node_type"] == "head"
    assert head["resources"] == {"CPU": 0}
    assert (workers["min_workers"], workers["max_workers"]) == (0, prepared["max_workers"])


@pytest.mark.parametrize("name", ["head", "gpu8"])
def test_aws_knows_every_parameter_of_a_machine(name):
    session = botocore.session.get_session()
    shape = session.get_service_model("ec2").operation_model("RunInstances").input_shape
    asked = {**load("cluster.yaml")["available_node_types"][name]["node_config"], "MinCount": 1, "MaxCount": 1}
    report = botocore.validate.ParamValidator().validate(asked, shape)
    assert not report.has_errors(), report.generate_report()


def test_the_cluster_is_the_locked_one_and_closed():
    cluster = load("cluster.yaml")
    options = " ".join(cluster["docker"]["run_options"])
    assert f":{locked('ray')}-py311" in cluster["docker"]["image"]
    assert "RAY_AUTH_MODE=token" in options
    assert "RAY_USAGE_STATS_ENABLED=0" in options
    token = re.search(r"RAY_AUTH_TOKEN_PATH=(\S+)", options)[1]
    assert cluster["file_mounts"][token] == "~/.ray/auth_token"
    for here in cluster["file_mounts"].values():
        assert here.startswith("~") or (ROOT / here).is_file()
    assert any("requirements.lock" in command for command in cluster["setup_commands"])
    assert "--dashboard-host=127.0.0.1" in cluster["head_start_ray_commands"][-1]
    commands = cluster["head_start_ray_commands"][-1:] + cluster["worker_start_ray_commands"][-1:]
    assert all("--disable-usage-stats" in command for command in commands)


@pytest.mark.parametrize(("name", "run"), [("rayjob", FitRun), ("raycronjob", RetagRun)])
def test_the_manifests_name_what_exists(name, run):
    manifest = load(f"docs/{name}.yaml")
    assert (manifest["apiVersion"], manifest["kind"].lower()) == ("ray.io/v1", name)
    job = manifest["spec"].get("jobTemplate", manifest["spec"])
    python, script, run_file, *sets = job["entrypoint"].split()
    assert python == "python"
    assert (ROOT / script.removeprefix(WORKED_ON)).is_file()
    read_run(ROOT / run_file.removeprefix(WORKED_ON), run, [part for part in sets if part != "--set"])
    cluster = job["rayClusterSpec"]
    assert cluster["rayVersion"] == locked("ray")
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert job["shutdownAfterJobFinishes"] is True


def test_the_gpus_of_a_worker_are_those_that_the_training_asks_for():
    (group,) = load("docs/rayjob.yaml")["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    gpus = int(container["resources"]["limits"]["nvidia.com/gpu"])
    for name in ("ofde-eurlex57k", "ofde-amazoncat13k", "embed-labels"):
        run = read_run(ROOT / "jobs" / f"{name}.toml", FitRun)
        assert (run.cluster.workers, run.cluster.use_gpu) == (gpus, True)
        assert (run.label_encoder.kind, run.label_encoder.path) == ("causal", "intfloat/e5-mistral-7b-instruct")


def test_the_page_names_what_exists():
    files = re.findall(r"(?:jobs|docs|tests)/[\w/-]+\.\w+", PAGE)
    assert {"jobs/embed_labels.py", "jobs/train_ofde.py", "docs/rayjob.yaml"} <= set(files)
    assert [name for name in files if not (ROOT / name).exists()] == []
    assert [name for name in re.findall(r"\]\((\S+?)\)", PAGE) if not (ROOT / "docs" / name).exists()] == []
    assert f"rayproject/ray:{locked('ray')}" in PAGE


def test_the_papers_corpora_are_read_after_the_pages_conversion(tmp_path, monkeypatch, store):
    amazon, eurlex = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Yf.txt").write_text("books\ngarden tools\n")
    exec(compile(amazon, "amazoncat", "exec"), {})
    assert read_labels(store, "labels.jsonl").full_texts == ["books", "garden tools"]
    law = {"header": "Regulation", "recitals": "Whereas", "main_body": ["One", "Two"], "concepts": ["100"]}
    for folder in ("train", "dev"):
        (tmp_path / "dataset" / folder).mkdir(parents=True)
        (tmp_path / "dataset" / folder / f"{folder}1.json").write_text(json.dumps(law))
    (tmp_path / "EURLEX57K.json").write_text(json.dumps({"100": {"label": "fish"}, "200": {"label": "unused"}}))
    exec(compile(eurlex, "eurlex57k", "exec"), {})
    labels = read_labels(store, "labels.jsonl")
    (chunk,) = read_documents(store, SourceSettings(documents="docs.jsonl"))
    assert (*labels.ids, *labels.full_texts) == ("100", "fish")
    assert chunk.documents["split"].to_pylist() == ["train", "val"]
    assert chunk.documents["labels"].to_pylist() == [["100"], ["100"]]
