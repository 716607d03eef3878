"""The demo: everything a user does, once, on real packages and with embedded defaults.

corpus     the Debian archive's packages and their tags; the small corpus where apt cannot give them
train      linear rankers over word features for labels that are known, a frozen encoder for those that are not,
           and the blend of the two: one probability, one threshold
tag        the packages that nobody has tagged, streamed into a tag table
report     the blend and the frozen tagger on packages that people have tagged
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute

from raytagger.cache import cache_folder
from raytagger.compare import evaluate_beside
from raytagger.corpus.debian import build_debian
from raytagger.corpus.output import small_corpus, write_corpus
from raytagger.errors import CorpusError
from raytagger.evaluate import Asked
from raytagger.progress import Progress
from raytagger.recipes.fit import fit
from raytagger.retag.run import retag
from raytagger.settings import (
    ClusterSettings,
    EncoderSettings,
    FitRun,
    OutputSettings,
    RetagRun,
    RetagSettings,
    SourceSettings,
)
from raytagger.store import Store, check_writable, join
from raytagger.store.tags import TagTable
from raytagger.stream.executor import at_work
from raytagger.tables import figure_lines

pc: Any = pyarrow.compute  # makes its functions at import, where no type checker sees them

EXAMPLES = 10
TRAIN_SAMPLE = 100  # training documents of a sample, for each document of another split
MAX_TOKENS = 64  # twice as fast as 128 on a CPU, and enough for a package's description


@dataclass(frozen=True)
class DemoCorpus:
    """Where the demo's documents come from, and which split nobody has tagged."""

    name: str
    documents: pa.Table
    labels: pa.Table
    source: dict[str, object]
    untagged: str


def run_demo(output: str, sample: int, say: Callable[[str], None], progress: Progress) -> None:
    """Runs all stages into a folder.

    Args:
        output: corpus, models, tag table and label bank go there.
        sample: at most so many documents of each split, of `train` a hundred times as many; 0 for all.
        say: gets a line of the story at a time.
        progress: told within stages.
    """
    store = Store()
    check_writable(store, output, folder=True)
    corpus_uri, table_uri = join(output, "corpus"), join(output, "tags")
    bundle_uri = join(output, "models/blend")
    frozen_uri = join(bundle_uri, "members/frozen")
    with _timed("corpus", say):
        corpus = _find_corpus(say)
        documents = _sampled(corpus.documents, sample)
        write_corpus(store, corpus_uri, documents, corpus.labels, corpus.source)
    say(f"  {corpus.name}: {len(documents):,} documents, {len(corpus.labels):,} labels")
    source = SourceSettings(documents=join(corpus_uri, "docs.parquet"), labels=join(corpus_uri, "labels.parquet"))
    with at_work(ClusterSettings(), sum(entry.size for entry in store.list(source.documents))):
        with _timed("train", say):
            encoder, place = EncoderSettings(max_tokens=MAX_TOKENS), OutputSettings(bundle_uri)
            run = FitRun("blend", source, encoder, output=place)
            fitted = fit(run, progress, lambda line: say(f"  {line}"))
        say(f"  {fitted.line()}")
        with _timed("tag", say):
            asked_night = RetagSettings(source.documents, "", bundle_uri, table_uri, (corpus.untagged,))
            night = retag(RetagRun(asked_night), progress)
    for line in night.line().splitlines():
        say(f"  {line}")
    with _timed("report", say):
        asked = Asked(group="source", details=True)
        figures, page = evaluate_beside([bundle_uri, frozen_uri], "", source, asked, progress)
        store.write_bytes(join(output, "report.html"), page.encode())
    for line in figure_lines(figures):
        say(f"  {line}")
    _show_examples(store, table_uri, documents, say)
    say("")
    say(f"The report: {join(output, 'report.html')}")
    say(f"Serve it:  raytagger serve jobs/serve.toml --set serve.bundle={bundle_uri}")


def _find_corpus(say: Callable[[str], None]) -> DemoCorpus:
    try:
        found = build_debian(cache_folder() / "apt", progress=lambda line: say(f"  {line}"))
    except CorpusError as error:
        say(f"  The Debian corpus cannot be built here: {error}")
        say("  Using the small corpus that raytagger carries instead.")
        return DemoCorpus("small corpus", *small_corpus(Store()), "unlabeled")
    return DemoCorpus("Debian packages", found.documents, found.labels, found.source, "untagged")


def _sampled(documents: pa.Table, sample: int) -> pa.Table:
    if not sample:
        return documents
    parts = []
    for split in pc.unique(documents["split"]).to_pylist():
        rows = documents.filter(pc.equal(documents["split"], split))
        parts.append(rows.slice(0, sample * TRAIN_SAMPLE if split == "train" else sample))
    return pa.concat_tables(parts)


def _show_examples(store: Store, table_uri: str, documents: pa.Table, say: Callable[[str], None]) -> None:
    table = TagTable(store, table_uri)
    delta = table.open()
    if delta is None:
        return
    rows = (row for part in table.read(delta) for row in part.slice(0, EXAMPLES).to_pylist())
    say("")
    say(f"{EXAMPLES} of them, with their tags:")
    for row in islice(rows, EXAMPLES):
        text = documents["text"][pc.index(documents["doc_id"], row["doc_id"]).as_py()].as_py()
        tags = ", ".join(row["label_ids"])
        say(f"  {row['doc_id']}: {' '.join(text.split())[:70]}")
        say(f"      {tags}")


@contextmanager
def _timed(stage: str, say: Callable[[str], None]) -> Iterator[None]:
    started = time.perf_counter()
    say(f"{stage} …")
    yield
    say(f"{stage}: {time.perf_counter() - started:.1f} s")
