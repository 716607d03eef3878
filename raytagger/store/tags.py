"""The tag table: a Delta Lake table of one row a document, in which every run is one version.

    TABLE/_delta_log/                     the log; a run is one commit
    TABLE/data/<run>/outcome=tagged/…     data files; `outcome=stale` for rows of documents quarantined since
    TABLE/_runs/<run>/                    markers of finished units
    TABLE/_quarantine/<run>.parquet       documents that could not be tagged

Names that begin with `_` are never vacuumed. A data file that no commit names is read by nobody.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote, unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction
from pandas.util import hash_array

from raytagger.errors import StoreError
from raytagger.schema import TAG_SCHEMA
from raytagger.store.files import Store, at_once, explained, is_s3, join, split_s3
from raytagger.store.writable import check_writable

pc: Any = pyarrow.compute  # makes its functions at import, where no type checker sees them

APPLICATION = "raytagger"
OURS = {"_delta_log", "_lock", "_runs", "_quarantine", "data"}
BEGUN = {"_lock", "_runs"}  # what a run makes first, and leaves where it is killed
MARKS = {"doc_id", "label_ids", "scores", "run_id", "bundle_id", "outcome"}
# Paths at which deltalake 1.6 ends the process, or writes to one place and reads from another.
REFUSED_LOCAL = re.compile(r"[\[\]^|\\\x00-\x1f]|%[0-9a-fA-F]{2}")
REFUSED_REMOTE = re.compile(r"[\\\x00-\x1f]|%[0-9a-fA-F]{2}")
TRIES = 5
LATER_COLUMNS = ("blank",)  # that tables of older versions do not have; null in their rows


@dataclass(frozen=True)
class DataFile:
    """A data file of a run: its path below the table, bytes, rows and outcome."""

    path: str
    size: int
    rows: int
    outcome: str


@dataclass(frozen=True)
class TagTable:
    """A tag table at a URI.

    Raises:
        StoreError: by every method, where the storage refuses.
    """

    store: Store
    uri: str

    def check(self) -> None:
        """Checks, before anything is written, that a tag table is there or can be made.

        Raises:
            StoreError: another table or other files are there, deltalake cannot use such a path, or it cannot be
                written.
        """
        self._address()
        check_writable(self.store, self.uri, folder=True)
        names = {name for name in self.store.names(self.uri) if not name.startswith(".")}
        if "_delta_log" in names:
            self.open()
        elif names - OURS or ("data" in names and not names & BEGUN):
            raise StoreError(
                "the tag table's folder holds other files",
                got=[self.uri, *sorted(names - OURS)[:3]],
                expected="a new folder, or a tag table",
                remedy="Name another retag.table.",
            )

    def open(self, version: int | None = None) -> DeltaTable | None:
        """The Delta table, or None where there is none yet.

        Raises:
            StoreError: it is a table of something else.
        """
        try:
            with explained(self.uri):
                options = self.store.delta_options(self.uri)
                table = DeltaTable(self._address(), version=version, storage_options=options)
        except TableNotFoundError:
            return None
        columns = [field.name for field in table.schema().fields]
        if not set(columns) >= MARKS or table.metadata().partition_columns != ["outcome"]:
            raise StoreError(
                f"{self.uri} is a table of something else",
                got=columns[:8],
                expected=f"a tag table, with {', '.join(sorted(MARKS))}",
                remedy="Name another table.",
            )
        return table

    def create(self) -> DeltaTable:
        """The table, made empty where it is not there."""
        found = self.open()
        if found is not None:
            return found
        with explained(self.uri):
            return DeltaTable.create(
                self._address(),
                schema=Schema.from_arrow(TAG_SCHEMA),
                partition_by=["outcome"],
                mode="ignore",
                storage_options=self.store.delta_options(self.uri),
            )

    def there(self) -> DeltaTable:
        """The newest version.

        Raises:
            StoreError: there is no table.
        """
        table = self.open()
        if table is None:
            raise StoreError("no tag table there", got=self.uri, remedy="`raytagger retag` makes one.")
        return table

    def history(self) -> list[dict[str, Any]]:
        """Commits, newest first, each with `version`, `timestamp` and what its run wrote."""
        table = self.open()
        return [] if table is None else table.history()

    def last_run(self) -> dict[str, Any]:
        """What the newest run wrote into its commit; {} where there is none."""
        return next((commit for commit in self.history() if "inputs_id" in commit), {})

    def files(self, table: DeltaTable) -> list[DataFile]:
        """The live data files of a version."""
        rows = pa.table(table.get_add_actions(flatten=True)).to_pylist()
        return [
            DataFile(unquote(row["path"]), row["size_bytes"], row["num_records"] or 0, row["partition.outcome"])
            for row in rows
        ]

    def read(self, table: DeltaTable, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """A version's rows, file by file."""
        # Not by to_pyarrow_dataset: it can abort the process at exit after all work is done (design, tag table).
        for file in self.files(table):
            with self.store.open(join(self.uri, file.path)) as source:
                wanted = None if columns is None else [name for name in columns if name != "outcome"]
                rows = pq.ParquetFile(source).read(wanted)  # passes over columns that are not there
            for name in LATER_COLUMNS:
                if name not in rows.column_names and (wanted is None or name in wanted):
                    rows = rows.append_column(name, pa.nulls(len(rows), TAG_SCHEMA.field(name).type))
            if columns is None or "outcome" in columns:
                rows = rows.append_column("outcome", pa.array([file.outcome] * len(rows), pa.string()))
            yield rows

    def find(self, doc_id: str) -> dict[str, Any]:
        """One document's row.

        Raises:
            StoreError: there is no table, or no such document in it.
        """
        for rows in self.read(self.there()):
            found = rows.filter(pc.equal(rows["doc_id"], doc_id))
            if len(found):
                return found.to_pylist()[0]
        raise StoreError(f"{self.uri} has no such document", got=doc_id)

    def quarantine_uri(self, run_id: str) -> str:
        """Where a run's quarantine lies."""
        return join(self.uri, "_quarantine", f"{run_id}.parquet")

    def quarantine(self) -> pa.Table:
        """The documents that the newest run could not tag."""
        last = self.last_run()
        if not last:
            raise StoreError("no run has been committed there", got=self.uri, remedy="`raytagger retag` makes one.")
        with self.store.open(self.quarantine_uri(last["run_id"])) as file:
            return pq.read_table(file)

    def commit(self, files: Sequence[DataFile], inputs_id: str, facts: dict[str, Any]) -> int:
        """Replaces the table's rows by those of `files`, in one version.

        A commit that lost a race is decided anew on the newest version: a stale snapshot would add rows without
        removing those that were rewritten meanwhile.

        Returns:
            The version; the present one where this very run was committed already.

        Raises:
            StoreError: the race is lost too often, or a file is missing.
        """
        uris = [join(self.uri, file.path) for file in files]
        missing = [uri for uri, there in zip(uris, at_once(self.store.exists, uris), strict=True) if not there]
        if missing:
            raise StoreError(f"{missing[0]} is missing", remedy="Start the run again.")
        self.create()
        for _ in range(TRIES):
            table = self.open()
            if table is None:
                raise StoreError("the tag table vanished", got=self.uri)
            if self.last_run().get("run_id") == facts["run_id"]:
                return table.version()
            try:
                with explained(self.uri):
                    _add_later_columns(table)
                    self._transact(table, files, {**facts, "inputs_id": inputs_id})
            except CommitFailedError:
                continue
            table.update_incremental()
            return table.version()
        raise StoreError(f"another writer keeps changing {self.uri}", remedy="Start the run again.")

    def _transact(self, table: DeltaTable, files: Sequence[DataFile], facts: dict[str, Any]) -> None:
        now_ms = int(time.time() * 1000)
        adds = [
            AddAction(
                file.path,
                file.size,
                {"outcome": file.outcome},
                now_ms,
                True,
                json.dumps({"numRecords": file.rows}),
            )
            for file in files
        ]
        removes = [
            RemoveAction(file.path, True, now_ms, file.size, {"outcome": file.outcome})
            for file in self.files(table)
        ]
        properties = CommitProperties(
            custom_metadata={name: str(value) for name, value in facts.items()},
            app_transactions=[Transaction(APPLICATION, table.version() + 1)],
            max_commit_retries=0,
        )
        table.create_write_transaction(
            [*adds, *removes],
            mode="append",
            schema=Schema.from_arrow(TAG_SCHEMA),
            partition_by=["outcome"],
            commit_properties=properties,
        )

    def _address(self) -> str:
        """The table's place as deltalake wants it, which takes `%` and more in object storage for its own."""
        remote = is_s3(self.uri)
        path = "/".join(split_s3(self.uri)) if remote else self.store.arrow(self.uri)[1]
        refused = (REFUSED_REMOTE if remote else REFUSED_LOCAL).search(path)
        if refused:
            raise StoreError(
                f"deltalake cannot keep a table whose path has {refused[0]!r}",
                got=self.uri,
                remedy="Name another retag.table.",
            )
        return f"s3://{quote(path)}" if remote else path


def _add_later_columns(table: DeltaTable) -> None:
    """Brings an older table's schema up to date, in a version of its own: a commit that adds files cannot."""
    fields = Schema.from_arrow(TAG_SCHEMA).fields
    there = {field.name for field in table.schema().fields}
    missing = [field for field in fields if field.name in LATER_COLUMNS and field.name not in there]
    if missing:
        table.alter.add_columns(missing, commit_properties=CommitProperties(max_commit_retries=0))


def hashed_ids(doc_ids: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Eight bytes a document id, for counting and comparing millions of them: uint64 (N,)."""
    return cast(Any, hash_array)(doc_ids.to_pandas().to_numpy(object), categorize=False)
