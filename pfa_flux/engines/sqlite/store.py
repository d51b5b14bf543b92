"""The file of the embedded engine: a small store of points in SQLite, without a server.

It follows InfluxDB's rules, so the same analysis gives the same figures: a point belongs to a series (measurement,
tags, field), and a point replaces an earlier one of the same series and time. A lock allows only one process at a time
to write. Readers see the last commit (WAL).
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from pfa_flux.engines.base import Point
from pfa_flux.engines.directory import connect, private_directory, take_lock
from pfa_flux.engines.sqlite import proofs
from pfa_flux.engines.sqlite.file import check_format, committed, format_of, translated
from pfa_flux.engines.sqlite.schema import FORMAT, MIGRATIONS, PREFETCHES, TAG_COLUMNS
from pfa_flux.errors import StoreError
from pfa_flux.settings import Settings

STORE_NAME = "pfa-flux.sqlite3"
LOCK_NAME = "lock"

_MOST_KNOWN = 20_000
"""How many ids of series to cache."""


class Store:
    """Points in `data_dir`/pfa-flux.sqlite3. The first use opens the file; the first write takes the lock."""

    def __init__(self, settings: Settings, *, lock: int | None = None, patience: float = 0.0) -> None:
        """Create it, without opening the file.

        Args:
            settings: data directory, and names of the buckets.
            lock: handle of a lock that another process shares with this one.
            patience: seconds to wait if another process has the lock.
        """
        self.directory = settings.data_dir
        self.path = settings.data_dir / STORE_NAME
        self._tables = {**dict.fromkeys(settings.raw_buckets, "raw"), settings.rollup_bucket: "rollup"}
        self._prefetches = settings.schema.prefetches_measurement
        self._series: dict[tuple[str, str, str], int] = {}
        self._lock = threading.RLock()
        self._inside = False
        self._lock_file, self._shared, self._patience = lock, lock is not None, patience
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None

    def table(self, bucket: str, measurement: str = "") -> str:
        """The table of a bucket. Prefetches have their own table.

        Raises:
            StoreError: there is no such bucket.
        """
        if bucket not in self._tables:
            raise StoreError(
                f"the embedded store has no bucket {bucket!r}",
                f"Its buckets are {' and '.join(map(repr, self._tables))}.",
            )
        table = self._tables[bucket]
        return PREFETCHES if table == "raw" and measurement == self._prefetches else table

    def remove_unused_series(self, upto: int) -> int:
        """Remove series without points, up to an id. Returns the number of removed series."""
        used = {
            row[0]
            for table in ("raw", "rollup", "day", PREFETCHES)
            for row in self.select(f"SELECT DISTINCT series FROM {table}")
        }
        ids = [row for row in self.select("SELECT id FROM series WHERE id <= ?", (upto,)) if row[0] not in used]
        with self.transaction() as connection:
            connection.executemany("DELETE FROM series WHERE id = ?", ids)
            self._series.clear()
        return len(ids)

    def exists(self) -> bool:
        """Whether the data directory has a store."""
        return self.path.exists()

    def select(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query. Empty if there is no store yet.

        Raises:
            StoreError: the file cannot be read.
        """
        with self._lock, self._translated():
            if self._writer is None and not self.exists():
                return []
            return self._connection().execute(sql, parameters).fetchall()

    def pages(self, sql: str, parameters: Sequence[Any], at_once: int) -> Iterator[list[tuple[Any, ...]]]:
        """Rows of a query, up to `at_once` at a time. Call it only in a snapshot.

        Raises:
            StoreError: the file cannot be read.
        """
        with self._lock, self._translated():
            cursor = self._connection().execute(sql, parameters)
            while page := cursor.fetchmany(at_once):
                yield page

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """A context in which all reads see the same state of the file.

        Raises:
            StoreError: the file cannot be read.
        """
        with self._lock, self._translated():
            if self._inside or (self._writer is None and not self.exists()):
                yield
                return
            connection = self._connection()
            connection.execute("BEGIN")
            self._inside = True
            try:
                yield
            finally:
                self._inside = False
                connection.execute("COMMIT")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection for writes. The block is one transaction.

        Raises:
            StoreError: another process writes, or the file cannot be written.
        """
        with self._lock, self._translated():
            connection = self.open_writer()
            try:
                with committed(connection):
                    yield connection
            except BaseException:
                # The rollback may have removed new series.
                self._series.clear()
                raise

    def write(self, bucket: str, points: Iterable[Point]) -> int:
        """Write points in one transaction. Returns the number of points.

        Raises:
            StoreError: another process writes, or the file cannot be written.
        """
        with self.transaction() as connection:
            return self.insert(connection, bucket, points)

    def insert(self, connection: sqlite3.Connection, bucket: str, points: Iterable[Point]) -> int:
        """Write points in the transaction of a connection. Returns the number of points."""
        table, written = self.table(bucket), 0
        changed = proofs.Changes(table)
        for point in points:
            into = self.table(bucket, point.measurement)
            statement = f"INSERT OR REPLACE INTO {into} VALUES (?, ?, ?)"
            connection.execute(statement, (point.time, self.series_id(connection, point), point.value))
            if into == table:
                changed.add(point.measurement, point.time)
            written += 1
        changed.apply(connection)
        return written

    def forget_series(self) -> None:
        """Clear the cached ids of series, after a rollback that may have removed series."""
        self._series.clear()

    @property
    def lock(self) -> int:
        """Handle of the lock, to share with a helper process. It takes the lock if necessary."""
        private_directory(self.directory)
        self._take_lock()
        assert self._lock_file is not None
        return self._lock_file

    def release_connections(self) -> None:
        """Close the file but keep the lock."""
        with self._lock:
            for connection in (self._reader, self._writer):
                if connection is not None:
                    connection.close()
            self._reader = self._writer = None
            self._series.clear()

    def close(self) -> None:
        """Close the file and release the lock."""
        with self._lock:
            self.release_connections()
            if self._lock_file is not None and not self._shared:
                os.close(self._lock_file)
                self._lock_file = None

    def _connection(self) -> sqlite3.Connection:
        if self._writer is not None:
            return self._writer
        if self._reader is None:
            self._reader = _matching(connect(self.path, "ro", check_same_thread=False, isolation_level=None))
            # An older format can be read. Only a writer upgrades it.
            check_format(self._reader, self.path, 1, FORMAT)
        return self._reader

    def open_writer(self) -> sqlite3.Connection:
        """The connection for writes. It takes the lock.

        Raises:
            StoreError: another process writes, or pfa-flux must not use the directory.
            sqlite3.Error: the file is damaged.
        """
        if self._writer is None:
            private_directory(self.directory)
            self._take_lock()
            writer = _matching(connect(self.path, check_same_thread=False, isolation_level=None))
            try:
                writer.execute("PRAGMA journal_mode = WAL")
                writer.execute("PRAGMA synchronous = NORMAL")
                self._upgrade(writer)
            except BaseException:
                writer.close()
                raise
            self._writer = writer
        return self._writer

    def _upgrade(self, writer: sqlite3.Connection) -> None:
        number = format_of(writer)
        if number in MIGRATIONS:
            writer.executescript(f"BEGIN; {MIGRATIONS[number]} PRAGMA user_version = {FORMAT}; COMMIT")
        check_format(writer, self.path, FORMAT, FORMAT)

    @property
    def format(self) -> int:
        """Format of the file, which readers do not upgrade. 0 if there is no file."""
        rows = self.select("PRAGMA user_version")
        return int(rows[0][0]) if rows else 0

    def _take_lock(self) -> None:
        if self._lock_file is None:
            self._lock_file = take_lock(self.directory / LOCK_NAME, self._patience)

    def series_id(self, connection: sqlite3.Connection, point: Point) -> int:
        """Id of a point's series. It creates the series in the transaction if necessary."""
        # As in InfluxDB, an empty value of a tag means no tag.
        tags = {name: point.tags[name] for name in sorted(point.tags) if point.tags[name]}
        key = (point.measurement, point.field, json.dumps(tags, ensure_ascii=False))
        if key not in self._series:
            if len(self._series) >= _MOST_KNOWN:
                self._series.clear()
            connection.execute(
                "INSERT OR IGNORE INTO series (measurement, field, tags, domain, page, scheme, action) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*key, *(tags.get(name, "") for name in TAG_COLUMNS)),
            )
            where = "measurement = ? AND field = ? AND tags = ?"
            self._series[key] = connection.execute(f"SELECT id FROM series WHERE {where}", key).fetchone()[0]
        return self._series[key]

    def _translated(self) -> AbstractContextManager[None]:
        return translated(f"the store {self.path}")


def _matching(connection: sqlite3.Connection) -> sqlite3.Connection:
    """A connection with REGEXP, which SQLite itself does not implement."""
    connection.create_function("regexp", 2, _is_found, deterministic=True)
    return connection


def _is_found(regex: str, value: str) -> bool:
    return re.search(regex, value) is not None
