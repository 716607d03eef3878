"""A driver that is killed or interrupted: the next one goes on, and does no work twice."""

import random
import signal
from operator import itemgetter

import pytest

from raytagger.bundle import load, named
from raytagger.retag.run import retag
from raytagger.settings import RetagRun, read_run
from raytagger.store import Store, join
from raytagger.store.tags import TagTable
from raytagger.stream.units import finished_units
from tests.corpora import write_texts
from tests.processes import kill_driver, start, wait_until

pytestmark = [pytest.mark.s3, pytest.mark.usefixtures("ray_head")]

DOCUMENTS, CHUNK = 240, 12  # 20 units


TEXTS = [f"GATED text about sailing and knots, number {row}" for row in range(DOCUMENTS)]


def retag_arguments(tmp_path, bundle, table, workers=1):
    path = tmp_path / "docs.parquet"
    if not path.exists():
        write_texts(path, TEXTS)
    run_file = tmp_path / "retag.toml"
    run_file.write_text(
        f'[retag]\ndocuments = "{path}"\nbundle = "{bundle}"\ntable = "{table}"\n'
        f"[cluster]\nworkers = {workers}\nchunk_documents = {CHUNK}\n"
    )
    return ["-m", "raytagger.cli", "retag", str(run_file)]


def night(arguments):
    """The same night in this process, on the Ray of the tests."""
    return retag(read_run(arguments[-1], RetagRun))


def units_of(table):
    store = Store()
    runs = join(table, "_runs")
    if not store.exists(runs):
        return {}
    names = {entry.uri.removeprefix(runs).split("/")[1] for entry in store.list(runs)}
    return {done.unit: done for name in names for done in finished_units(store, join(runs, name))}


def tags_of(table):
    tags = TagTable(Store(), table)
    delta = tags.open()
    assert delta is not None
    rows = [row for part in tags.read(delta) for row in part.to_pylist()]
    return {row["doc_id"]: row["label_ids"] for row in sorted(rows, key=itemgetter("doc_id"))}


@pytest.fixture
def gate(fault_gate):
    """Lets so many documents pass; the others wait, so that no run ends before it is killed."""
    yield lambda documents: fault_gate.write_text(str(documents))
    fault_gate.unlink(missing_ok=True)


def test_a_driver_killed_twice_at_random_is_resumed(
    faulty, bucket, tmp_path, ray_head, fault_log, fault_gate, gate
):
    """Alone, on a Ray that goes on; then with the Ray that it has started."""
    table, draw = join(bucket, "killed"), random.Random(0)
    arguments = retag_arguments(tmp_path, faulty, table, workers=2)
    finished = set()
    for attempt in range(2):
        fault_log.write_text("")
        gate((attempt + 1) * DOCUMENTS // 3)
        faults = {"RAYTAGGER_FAULT_LOG": str(fault_log), "RAYTAGGER_FAULT_GATE": str(fault_gate)}
        process = start(arguments, RAY_ADDRESS="" if attempt else ray_head.address, **faults)
        wanted = len(finished) + draw.randint(1, 3)
        wait_until(lambda wanted=wanted: len(units_of(table)) >= wanted, process=process)
        kill_driver(process, workers_too=attempt == 1)
        assert not numbers(fault_log) & documents_of(finished), "a finished document was encoded again"
        finished = set(units_of(table))
        assert 0 < len(finished) < DOCUMENTS // CHUNK
        assert TagTable(Store(), table).last_run() == {}, "nothing may be committed before the end"
    fault_log.write_text("")
    gate(DOCUMENTS)
    night(arguments)
    again = numbers(fault_log)
    assert not again & documents_of(finished), "a finished document was encoded again"
    assert again | documents_of(finished) == set(range(DOCUMENTS))
    tagger = load(faulty)
    undisturbed = named(tagger.keep(tagger.tag(TEXTS)), tagger.labels)
    assert list(tags_of(table).values()) == [[label for label, _ in tags] for tags in undisturbed]
    assert night(arguments).nothing_to_do


def numbers(log):
    """Which documents are noted; a worker that was killed may have left half a line."""
    whole = log.read_text().rpartition("\n")[0].splitlines()
    return {int(text.rsplit(" ", 1)[1]) for text in whole if text.startswith("GATED")}


def documents_of(units):
    starts = [int(unit.split("-")[1]) for unit in units]
    return {row for start_row in starts for row in range(start_row, start_row + CHUNK)}


@pytest.mark.parametrize("on_ray", [False, True])
def test_ctrl_c_leaves_a_state_that_the_same_command_takes_up(faulty, tmp_path, on_ray, ray_head, fault_gate, gate):
    table = str(tmp_path / "tags")
    arguments = retag_arguments(tmp_path, faulty, table)
    gate(DOCUMENTS // 2)
    address = ray_head.address if on_ray else ""
    process = start(arguments, RAY_ADDRESS=address, RAYTAGGER_FAULT_GATE=str(fault_gate))
    wait_until(lambda: len(units_of(table)) >= 2, process=process)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "the same command goes on" in error
    gate(DOCUMENTS)
    resumed = night(arguments)
    assert resumed.summary.resumed_units >= 2
    assert resumed.summary.tagged_now < DOCUMENTS
    assert len(tags_of(table)) == DOCUMENTS
