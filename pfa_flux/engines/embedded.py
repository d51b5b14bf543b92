"""The embedded engine: a small store of points in one SQLite file, with no server at all.

It keeps InfluxDB's rules, so that the same analysis gives the same figures: a point belongs to a series
(measurement, tags, field), and a point of the same series and time replaces an earlier one. One process at a time
writes, held by a lock; readers beside it see the last commit (WAL).
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pfa_flux.engines.base import Capabilities, Point
from pfa_flux.engines.directory import private_directory, take_lock
from pfa_flux.errors import StoreError
from pfa_flux.settings import Settings

STORE_NAME = "pfa-flux.sqlite3"
LOCK_NAME = "lock"
_FORMAT = 3
_TAG_COLUMNS = ("domain", "page", "scheme", "action")

_CREATE = """
CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    measurement TEXT NOT NULL,
    field TEXT NOT NULL,
    tags TEXT NOT NULL,       -- all tags as JSON, sorted: what makes a series itself
    domain TEXT NOT NULL,     -- the tags that queries ask for; '' where a series has not the tag
    page TEXT NOT NULL,
    scheme TEXT NOT NULL,
    action TEXT NOT NULL,
    UNIQUE (measurement, field, tags)
) STRICT;
-- time is nanoseconds since the epoch; value is an integer or a float, as it came.
CREATE TABLE raw (
    time INTEGER NOT NULL, series INTEGER NOT NULL REFERENCES series, value NOT NULL,
    PRIMARY KEY (time, series)
) WITHOUT ROWID;
CREATE TABLE rollup (
    time INTEGER NOT NULL, series INTEGER NOT NULL REFERENCES series, value NOT NULL,
    PRIMARY KEY (time, series)
) WITHOUT ROWID;
"""
_CREATE_TASKS = """
-- Tasks that pfa-flux runs itself, on this store or on a server.
CREATE TABLE task (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    spec TEXT NOT NULL,
    active INTEGER NOT NULL,
    done_until INTEGER        -- end of the last window that was put together, nanoseconds
) STRICT;
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    task TEXT NOT NULL,
    scheduled_for INTEGER NOT NULL,     -- nanoseconds, as all times here
    started INTEGER NOT NULL,
    finished INTEGER,                   -- NULL while it runs, or where it was killed
    error TEXT NOT NULL,
    log TEXT NOT NULL
) STRICT;
-- Minutes of raw points that came in after their window had been put together.
CREATE TABLE touched (
    bucket TEXT NOT NULL, measurement TEXT NOT NULL, minute INTEGER NOT NULL,
    PRIMARY KEY (bucket, measurement, minute)
) WITHOUT ROWID, STRICT;
"""
_CREATE_PURGED = """
-- Raw points before `until`, nanoseconds, were removed from a bucket after their windows had been verified.
CREATE TABLE purged (bucket TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID, STRICT;
"""
_MIGRATIONS = {1: f"DROP TABLE task; {_CREATE_TASKS}", 2: _CREATE_PURGED}
"""What brings a store of a format to the next. Format 1 knew a task that has to be installed again."""


class Embedded:
    """Points in `data_dir`/pfa-flux.sqlite3. Opens the file when first needed; takes the lock when it first writes."""

    def __init__(self, settings: Settings, *, lock: int | None = None, patience: float = 0.0) -> None:
        """Make it.

        Args:
            settings: where it is, and what its buckets are called.
            lock: handle of a lock that another process holds and shares with us.
            patience: seconds to wait for a lock that is held by another.
        """
        self.directory = settings.data_dir
        self.path = settings.data_dir / STORE_NAME
        self._tables = {settings.raw_bucket: "raw", settings.rollup_bucket: "rollup"}
        self._series: dict[tuple[str, str, str], int] = {}
        self._lock = threading.RLock()
        self._lock_file, self._shared, self._patience = lock, lock is not None, patience
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None

    @property
    def capabilities(self) -> Capabilities:
        """SQL; SQLite's version."""
        return Capabilities("embedded", f"SQLite {sqlite3.sqlite_version}")

    def table(self, bucket: str) -> str:
        """Table that stands for a bucket.

        Raises:
            StoreError: there is none of this name.
        """
        if bucket not in self._tables:
            raise StoreError(
                f"the embedded store has no bucket {bucket!r}",
                f"It has {' and '.join(map(repr, self._tables))}.",
            )
        return self._tables[bucket]

    def has_bucket(self, bucket: str) -> bool:
        """The bucket is one of the two it has."""
        return bucket in self._tables

    def create_bucket(self, bucket: str) -> None:
        """Nothing to do: both buckets are tables of the file."""
        self.table(bucket)

    def drop_bucket(self, bucket: str) -> None:
        """Remove all that is in the bucket."""
        with self.transaction() as connection:
            connection.execute(f"DELETE FROM {self.table(bucket)}")

    def now(self) -> int:
        """The present, nanoseconds: there is no other clock than ours."""
        return time.time_ns()

    def kept_since(self, bucket: str, now: int) -> int:
        """Instant since which all points of the bucket are kept, nanoseconds; 0: nothing was ever removed."""
        del now
        rows = self.select("SELECT until FROM purged WHERE bucket = ?", (self.table(bucket),))
        return int(rows[0][0]) if rows else 0

    def purge(self, bucket: str, measurements: Sequence[str], until: int, *, at_once: int = 2000) -> int:
        """Remove the points of measurements before `until`, nanoseconds, for good. Returns their number.

        A few at a time, so that nobody who writes beside it waits for long.
        """
        table, gone = self.table(bucket), 0
        with self.transaction() as connection:
            sql = "INSERT INTO purged VALUES (?1, ?2) ON CONFLICT DO UPDATE SET until = max(until, ?2)"
            connection.execute(sql, (table, until))
        names = ", ".join("?" * len(measurements))
        rows = (
            f"SELECT time, series FROM {table} JOIN series ON series.id = series "
            f"WHERE time < ? AND measurement IN ({names}) ORDER BY time LIMIT ?"
        )
        while True:
            with self.transaction() as connection:
                connection.execute("PRAGMA secure_delete = ON")
                found = connection.execute(rows, (until, *measurements, at_once)).fetchall()
                connection.executemany(f"DELETE FROM {table} WHERE time = ? AND series = ?", found)
            gone += len(found)
            if len(found) < at_once:
                return gone

    def remove_unused_series(self, upto: int) -> int:
        """Remove series up to an id that have no point left. Returns their number."""
        used = {row[0] for table in ("raw", "rollup") for row in self.select(f"SELECT DISTINCT series FROM {table}")}
        ids = [row for row in self.select("SELECT id FROM series WHERE id <= ?", (upto,)) if row[0] not in used]
        with self.transaction() as connection:
            connection.executemany("DELETE FROM series WHERE id = ?", ids)
            self._series.clear()
        return len(ids)

    def delete(self, bucket: str, measurement: str, start: int, stop: int) -> None:
        """Remove a measurement's points of [start, stop), nanoseconds."""
        with self.transaction() as connection:
            connection.execute(
                f"DELETE FROM {self.table(bucket)} WHERE time >= ? AND time < ? AND series IN "
                "(SELECT id FROM series WHERE measurement = ?)",
                (start, stop, measurement),
            )

    def points(
        self, bucket: str, measurement: str, field: str, start: int, stop: int
    ) -> Iterator[tuple[int, dict[str, str], int | float]]:
        """Time, tags and value of the points of [start, stop), nanoseconds."""
        sql = (
            f"SELECT time, tags, value FROM {self.table(bucket)} JOIN series ON series.id = series "
            "WHERE measurement = ? AND field = ? AND time >= ? AND time < ?"
        )
        for moment, tags, value in self.select(sql, (measurement, field, start, stop)):
            yield moment, json.loads(tags), value

    @staticmethod
    def tag(name: str) -> str:
        """SQL expression of a tag's value, '' where a point has not the tag."""
        if name in _TAG_COLUMNS:
            return name
        path = '$."' + name.replace('"', '""') + '"'
        return "coalesce(json_extract(tags, '" + path.replace("'", "''") + "'), '')"

    def exists(self) -> bool:
        """There is a store in the data directory."""
        return self.path.exists()

    def select(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query; none where there is no store yet.

        Raises:
            StoreError: the file cannot be read.
        """
        with self._lock, self._translated():
            if self._writer is None and not self.exists():
                return []
            return self._connection().execute(sql, parameters).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Connection to write with; committed at the end of the block, or not at all.

        Raises:
            StoreError: another process writes, or the file cannot be written.
        """
        with self._lock, self._translated():
            connection = self.open_writer()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                # What was rolled back may have taken new series with it.
                self._series.clear()
                raise
            connection.execute("COMMIT")

    def write(self, bucket: str, points: Iterable[Point]) -> int:
        """Write points in one transaction. Returns their number.

        Raises:
            StoreError: another process writes, or the file cannot be written.
        """
        with self.transaction() as connection:
            return self.insert(connection, bucket, points)

    def insert(self, connection: sqlite3.Connection, bucket: str, points: Iterable[Point]) -> int:
        """Write points within a transaction. Returns their number."""
        statement, written = f"INSERT OR REPLACE INTO {self.table(bucket)} VALUES (?, ?, ?)", 0
        for point in points:
            connection.execute(statement, (point.time, self.series_id(connection, point), point.value))
            written += 1
        return written

    def forget_series(self) -> None:
        """Forget ids of series, which a transaction that was rolled back may have taken with it."""
        self._series.clear()

    @property
    def lock(self) -> int:
        """Handle of the lock, taken now if need be, to be shared with a helper process."""
        private_directory(self.directory)
        self._take_lock()
        assert self._lock_file is not None
        return self._lock_file

    def release_connections(self) -> None:
        """Close the file, and keep the lock."""
        with self._lock:
            for connection in (self._reader, self._writer):
                if connection is not None:
                    connection.close()
            self._reader = self._writer = None
            self._series.clear()

    def close(self) -> None:
        """Close the file and let go of the lock."""
        with self._lock:
            self.release_connections()
            if self._lock_file is not None and not self._shared:
                os.close(self._lock_file)
                self._lock_file = None

    def _connection(self) -> sqlite3.Connection:
        if self._writer is not None:
            return self._writer
        if self._reader is None:
            self._reader = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=ro",
                uri=True,
                check_same_thread=False,
                isolation_level=None,
            )
            self._check_format(self._reader)
        return self._reader

    def open_writer(self) -> sqlite3.Connection:
        """Connection to write with; takes the lock.

        Raises:
            StoreError: another process writes, or the directory is not ours. sqlite3.Error: the file is damaged.
        """
        if self._writer is None:
            private_directory(self.directory)
            self._take_lock()
            # Made before SQLite opens it, so that it is never readable for others, not even for a moment.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            writer = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
            try:
                writer.execute("PRAGMA journal_mode = WAL")
                writer.execute("PRAGMA synchronous = NORMAL")
                self._bring_up_to_date(writer)
            except BaseException:
                writer.close()
                raise
            self._writer = writer
        return self._writer

    def _bring_up_to_date(self, writer: sqlite3.Connection) -> None:
        found = writer.execute("PRAGMA user_version").fetchone()[0]
        steps = (
            [_CREATE, _CREATE_TASKS, _CREATE_PURGED] if found == 0 else [_MIGRATIONS[n] for n in range(found, _FORMAT)]
        )
        if steps:
            writer.executescript(f"BEGIN; {' '.join(steps)} PRAGMA user_version = {_FORMAT}; COMMIT")
        self._check_format(writer)

    def _check_format(self, connection: sqlite3.Connection) -> None:
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found != _FORMAT:
            raise StoreError(
                f"{self.path} has format {found}, this version of pfa-flux reads format {_FORMAT}",
                "Use the version of pfa-flux that wrote it, or another data directory.",
            )

    def _take_lock(self) -> None:
        if self._lock_file is None:
            self._lock_file = take_lock(self.directory / LOCK_NAME, self._patience)

    def series_id(self, connection: sqlite3.Connection, point: Point) -> int:
        """Id of the series of a point, made within a transaction if need be."""
        # An empty tag value is no tag at all, as in InfluxDB.
        tags = {name: point.tags[name] for name in sorted(point.tags) if point.tags[name]}
        key = (point.measurement, point.field, json.dumps(tags, ensure_ascii=False))
        if key not in self._series:
            connection.execute(
                "INSERT OR IGNORE INTO series (measurement, field, tags, domain, page, scheme, action) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*key, *(tags.get(name, "") for name in _TAG_COLUMNS)),
            )
            where = "measurement = ? AND field = ? AND tags = ?"
            self._series[key] = connection.execute(f"SELECT id FROM series WHERE {where}", key).fetchone()[0]
        return self._series[key]

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeEncodeError) as error:
            raise StoreError(
                f"the store {self.path} cannot be used: {error}",
                "Check the directory's owner, rights and free space (PFA_FLUX_DATA_DIR).",
            ) from error
