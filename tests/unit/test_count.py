"""Terms counted unit by unit: equal to all texts at once."""

import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raytagger.corpus.splits import held_out
from raytagger.errors import CorpusError
from raytagger.settings import ClusterSettings, FitRun, SourceSettings, TermSettings
from raytagger.stream.count import count_terms
from raytagger.vectors import TermCounts, Vocabulary

TEXTS = [
    f"The {number % 7} red-{number} boats of Zürich, row {number % 3}; 東京 {number % 11}" for number in range(230)
]
SPLITS = [("train", "val", "train", "test")[number % 4] for number in range(230)]


def write_corpus(folder, files):
    """Each file a list of texts and a list of splits, or None."""
    folder.mkdir()
    row = 0
    for name, (texts, splits) in files.items():
        table = pa.table({"doc_id": [f"d{row + place}" for place in range(len(texts))], "text": texts})
        if splits is not None:
            table = table.append_column("split", pa.array(splits, pa.string()))
        pq.write_table(table, folder / name)
        row += len(texts)
    return FitRun(
        source=SourceSettings(documents=str(folder)),
        terms=TermSettings(ngrams=2),
        cluster=ClusterSettings(chunk_documents=10),
    )


def alone(texts, ngrams=2):
    counts = TermCounts(ngrams)
    counts.add(texts)
    return Vocabulary.from_counts(counts)


def assert_equal(counts, expected):
    found = Vocabulary.from_counts(counts)
    assert (found.terms, found.texts) == (expected.terms, expected.texts)
    assert found.frequency_V.tolist() == expected.frequency_V.tolist()


def test_units_are_counted_as_the_texts_at_once(tmp_path):
    run = write_corpus(
        tmp_path / "corpus",
        {"a.parquet": (TEXTS[:150], SPLITS[:150]), "b.parquet": (TEXTS[150:], SPLITS[150:])},
    )
    told = []
    training = [text for text, split in zip(TEXTS, SPLITS, strict=True) if split == "train"]
    assert_equal(count_terms(run, lambda *what: told.append(what)), alone(training))
    assert told[-1] == ("counting", len(training))
    words = dataclasses.replace(run, terms=TermSettings(ngrams=1))
    assert_equal(count_terms(words), alone(training, 1))


def test_without_splits_all_documents_count_but_those_that_are_held_out(tmp_path):
    run = write_corpus(tmp_path / "corpus", {"a.parquet": (TEXTS[:40], None)})
    held = held_out([f"d{row}" for row in range(40)], run.source.holdout)
    assert 0 < held.sum() < 40
    assert_equal(count_terms(run), alone([text for text, out in zip(TEXTS[:40], held, strict=True) if not out]))
    every = dataclasses.replace(run, source=dataclasses.replace(run.source, holdout=0.0))
    assert_equal(count_terms(every), alone(TEXTS[:40]))


def test_documents_without_a_split_do_not_count_where_others_have_one(tmp_path):
    files = {
        "a.parquet": (TEXTS[:100], None),
        "b.parquet": (TEXTS[100:110], ["train"] * 9 + [None]),
        "c.parquet": (TEXTS[110:170], None),
    }
    run = write_corpus(tmp_path / "corpus", files)
    assert_equal(count_terms(run), alone(TEXTS[100:109]))


def test_a_corpus_without_training_documents_is_refused(tmp_path):
    run = write_corpus(tmp_path / "corpus", {"a.parquet": (TEXTS[:30], ["test"] * 30)})
    with pytest.raises(CorpusError, match="no document to count"):
        count_terms(run)


def test_a_damaged_file_is_named(tmp_path):
    run = write_corpus(tmp_path / "corpus", {"a.parquet": (TEXTS[:30], None)})
    (tmp_path / "corpus" / "b.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(CorpusError, match=r"b\.parquet"):
        count_terms(run)
