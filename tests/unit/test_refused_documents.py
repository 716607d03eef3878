"""Documents that the encoder refuses, in every recipe that encodes documents: rejects, and no end of the fit."""

import dataclasses
import json

import pytest

from raytagger.bundle import load
from raytagger.bundle.trained import are_among, trained_hashes
from raytagger.corpus.output import SMALL
from raytagger.errors import RejectsError
from raytagger.recipes.fit import fit
from raytagger.settings import (
    BlendSettings,
    FitRun,
    OutputSettings,
    SearchSettings,
    SourceSettings,
    TreeSettings,
)
from tests.corpora import STATIC

PARTS = {
    "xrlinear": {"tree": TreeSettings(dense_weight=0.5)},
    "xml0": {"tree": TreeSettings(dense_weight=0.5)},  # the base refuses training documents
    "blend": {"blend": BlendSettings(methods=("frozen",)), "search": SearchSettings(kind="dense")},
}


@pytest.fixture
def make_run(tmp_path):
    def make(method, share) -> tuple[FitRun, dict[str, str]]:
        """A run over the small corpus, and the refused documents by split: one of each."""
        rows = [json.loads(line) for line in (SMALL / "docs.jsonl").read_text().splitlines()]
        refused = {row["split"]: row for row in reversed(rows)}
        for row in refused.values():
            row["text"] = f"RAISE {row['text']}"
        (tmp_path / "docs.jsonl").write_text("\n".join(map(json.dumps, rows)))
        run = FitRun(
            method=method,
            source=SourceSettings(
                str(tmp_path / "docs.jsonl"), str(SMALL / "labels.jsonl"), max_reject_share=share
            ),
            encoder=dataclasses.replace(STATIC, kind="faulty"),
            output=OutputSettings(str(tmp_path / "bundle")),
        )
        return dataclasses.replace(run, **PARTS[method]), {split: row["doc_id"] for split, row in refused.items()}

    return make


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(PARTS))
def test_a_fit_leaves_them_out_and_counts_them(make_run, method):
    run, refused = make_run(method, 0.1)
    fitted = fit(run)
    assert fitted.report.rejects["tagging_failed"] == 2
    assert any(line.startswith("rejected, tagging_failed: ") for line in fitted.report.lines())
    if method == "xrlinear":
        assert not are_among(trained_hashes(load(run.output.bundle)), list(refused.values())).any()
        assert fit(run).report.rejects["tagging_failed"] == 2, "a second fit says nothing of them"


@pytest.mark.parametrize("method", sorted(PARTS))
def test_too_many_of_them_end_the_fit(make_run, method):
    run, refused = make_run(method, 0.0001)
    some_id = "|".join(refused.values())
    with pytest.raises(RejectsError, match=rf"such as ({some_id}): ValueError: the tokenizer.*max_reject_share"):
        fit(run)


@pytest.mark.slow
def test_a_document_that_a_blend_refuses_costs_no_second_encoding(make_run, tmp_path, monkeypatch):
    """Half of the documents are clean: they are encoded with the others and then in halves, and not again."""
    run, refused = make_run("blend", 0.1)
    monkeypatch.setenv("RAYTAGGER_FAULT_LOG", str(tmp_path / "log"))
    fit(run)
    rows = [json.loads(line) for line in (tmp_path / "docs.jsonl").read_text().splitlines()]
    log = (tmp_path / "log").read_text().splitlines()
    counts = [log.count(row["text"]) for row in rows if row["split"] == "val" and row["doc_id"] != refused["val"]]
    assert min(counts) == 2
