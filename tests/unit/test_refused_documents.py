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
    "xml0": {},  # over a linear base without an encoder
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
    assert 1 <= fitted.report.rejects["tagging_failed"] <= 2
    assert any(line.startswith("rejected, tagging_failed: ") for line in fitted.report.lines())
    if method == "xrlinear":
        assert not are_among(trained_hashes(load(run.output.bundle)), list(refused.values())).any()
        assert fit(run).report.rejects["tagging_failed"] == 2, "a second fit says nothing of them"


@pytest.mark.parametrize("method", sorted(PARTS))
def test_too_many_of_them_end_the_fit(make_run, method):
    run, _ = make_run(method, 0.0001)
    with pytest.raises(RejectsError, match=r"tagging_failed.*RAISE .*ValueError: the tokenizer.*max_reject_share"):
        fit(run)
