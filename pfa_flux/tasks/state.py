"""Records of tasks and late rows, in a small file of its own in the data directory.

Version 0.1 kept these records in the file of the embedded engine. The first write copies them from there.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pfa_flux.engines.base import Span
from pfa_flux.engines.directory import connect, give, private_directory, take_lock
from pfa_flux.engines.sqlite.file import check_format, committed, format_of, translated
from pfa_flux.engines.sqlite.schema import PROVED_SINCE
from pfa_flux.engines.sqlite.store import LOCK_NAME, STORE_NAME
from pfa_flux.settings import Settings
from pfa_flux.times import NS
from pfa_flux.windows.ranges import length
from pfa_flux.windows.spec import TaskSpec

STATE_NAME = "state.sqlite3"
_LOCK_NAME = "state.lock"
_FORMAT = 3
_MINUTE = 60 * NS
_PATIENCE = 10.0
_ABANDONED = 60.0
"""Seconds after which an unfinished file counts as abandoned."""

_CLOCK = """
-- The clock by which the embedded store removes raw rows (pfa_flux.tasks.clock). Times are by this clock.
CREATE TABLE clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    trusted INTEGER NOT NULL,   -- last time that was trusted
    seen INTEGER NOT NULL,      -- last check
    doubted INTEGER,            -- start of the doubt, during which nothing is removed; NULL without doubt
    accepted INTEGER            -- last use of --accept-clock; NULL if it may be used
) STRICT;
"""
_UPKEEP = """
-- Results of comparing downsampled windows with raw data, by the measurement of the windows.
CREATE TABLE upkeep (
    bucket TEXT NOT NULL, measurement TEXT NOT NULL,
    at INTEGER NOT NULL,        -- last comparison of windows, nanoseconds
    mended INTEGER NOT NULL,    -- number of windows that were wrong and were repaired, in total
    mended_at INTEGER NOT NULL, -- last repair; 0 without any
    kept INTEGER NOT NULL,      -- windows that the last pass left as they were, because raw data has lost rows
    PRIMARY KEY (bucket, measurement)
) WITHOUT ROWID, STRICT;
"""
_CREATE = f"""
{_CLOCK} {_UPKEEP}
-- Tasks that pfa-flux runs itself, on the embedded store or on a server.
CREATE TABLE task (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    spec TEXT NOT NULL,
    active INTEGER NOT NULL,
    done_until INTEGER        -- of an older version; now the windows themselves show which ones are due
) STRICT;
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    task TEXT NOT NULL,
    scheduled_for INTEGER NOT NULL,     -- nanoseconds, like all times here
    started INTEGER NOT NULL,
    finished INTEGER,                   -- NULL while it runs, or where it was killed
    error TEXT NOT NULL,
    log TEXT NOT NULL
) STRICT;
-- Minutes of raw rows that arrived after their window was recomputed. Each note is a separate row, so that a repair of
-- the window removes only the notes from before the repair.
CREATE TABLE late (
    id INTEGER PRIMARY KEY AUTOINCREMENT, bucket TEXT NOT NULL, measurement TEXT NOT NULL, minute INTEGER NOT NULL
) STRICT;
"""
_TAKE_OVER = """
INSERT INTO task SELECT id, name, spec, active, done_until FROM old.task;
INSERT INTO run SELECT id, task, scheduled_for, started, finished, error, log FROM old.run;
INSERT INTO late SELECT -row_number() OVER (ORDER BY minute), bucket, measurement, minute FROM old.touched;
"""
_AS_NOW = "CREATE TEMP VIEW late AS SELECT -1 AS id, bucket, measurement, minute FROM touched"
"""Makes the tables of 0.1 readable as today's tables."""
_ABSENT = (_CLOCK + _UPKEEP).replace("CREATE TABLE", "CREATE TEMP TABLE IF NOT EXISTS")
"""Replaces tables that older files lack."""


@dataclass(frozen=True, slots=True)
class LateWindows:
    """Windows that received late rows.

    Attributes:
        ends: ends of the windows, nanoseconds, in order.
        upto: number of the newest note. Later notes have higher numbers.
    """

    ends: Sequence[int]
    upto: int


@dataclass(frozen=True, slots=True)
class UpkeepNote:
    """Results of comparing windows with raw data from this machine. Times are nanoseconds.

    Attributes:
        at: when windows were last compared.
        mended: total number of repaired windows.
        mended_at: when windows were last repaired; 0 if none were.
        kept: wrong windows that the last pass left unchanged, because raw data has fewer rows than when they were
            proved.
    """

    at: int
    mended: int
    mended_at: int
    kept: int


class State:
    """The records of one data directory. Several processes may use them at the same time."""

    def __init__(self, settings: Settings, *, patience: float = _PATIENCE) -> None:
        """Create it. The first use opens the file.

        Args:
            settings: settings with the data directory.
            patience: seconds to wait while another process writes to the file.
        """
        self.path = settings.data_dir / STATE_NAME
        self._old = settings.data_dir / STORE_NAME
        self._patience = patience
        self._lock = threading.RLock()
        self._writer: sqlite3.Connection | None = None

    def select(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query. Empty if there are no records.

        Raises:
            StoreError: the file cannot be read.
        """
        with self._lock, self._translated():
            if self._writer is not None:
                return self._writer.execute(sql, parameters).fetchall()
            with self._reader() as reader:
                return reader.execute(sql, parameters).fetchall() if reader else []

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection | None]:
        """The file or, if it does not exist yet, the tables of 0.1. None if there are neither."""
        for path in (self.path, self._old):
            if path.exists():
                with closing(connect(path, "ro", timeout=self._patience)) as reader:
                    if path == self.path:
                        # An older format can be read. Only a writer upgrades it.
                        if self._check(reader) < _FORMAT:
                            reader.executescript(_UPKEEP.replace("CREATE TABLE", "CREATE TEMP TABLE"))
                        yield reader
                        return
                    if _has_old_tables(reader):
                        reader.executescript(f"{_AS_NOW}; {_ABSENT}")
                        yield reader
                        return
        yield None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection for writes. The block is one transaction.

        Raises:
            StoreError: the file cannot be written.
        """
        with self._lock, self._translated():
            connection = self._open()
            with committed(connection):
                yield connection

    @contextmanager
    def running(self) -> Iterator[None]:
        """A context in which only this process runs tasks of this directory.

        Raises:
            StoreError: another process runs tasks.
        """
        with self._translated():
            self._open()
            lock = take_lock(self.path.with_name(_LOCK_NAME))
        try:
            yield
        finally:
            os.close(lock)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _open(self) -> sqlite3.Connection:
        if self._writer is None:
            private_directory(self.path.parent)
            if not self.path.exists():
                self._create()
            writer = connect(self.path, "rw", timeout=self._patience, check_same_thread=False, isolation_level=None)
            try:
                writer.execute("PRAGMA synchronous = NORMAL")
                if self._check(writer) < _FORMAT:
                    self._upgrade(writer)
            except BaseException:
                writer.close()
                raise
            self._writer = writer
        return self._writer

    def _create(self) -> None:
        """Create the file with the records of 0.1. It has another name until it is complete.

        Raises:
            StoreError: a process of 0.1 is writing to its file.
        """
        with self._old_locked() as old:
            handle, name = tempfile.mkstemp(prefix="state.", suffix=".new", dir=self.path.parent)
            os.close(handle)
            try:
                give(Path(name))
                with closing(connect(Path(name), "rw", isolation_level=None)) as made:
                    made.execute("PRAGMA journal_mode = WAL")
                    if old:
                        made.execute("ATTACH ? AS old", (_uri(self._old),))
                    made.executescript(
                        f"BEGIN; {_CREATE} {_TAKE_OVER if old else ''} PRAGMA main.user_version = {_FORMAT}; COMMIT"
                    )
                # Another process may have been faster. Its file has the same content.
                with suppress(FileExistsError):
                    os.link(name, self.path)
            finally:
                for path in self.path.parent.glob("state.*.new*"):
                    # This file, and files of processes that were killed.
                    if path.name.startswith(Path(name).name) or time.time() - path.stat().st_mtime > _ABANDONED:
                        path.unlink(missing_ok=True)

    @contextmanager
    def _old_locked(self) -> Iterator[bool]:
        """A context that tells whether there are tables of 0.1, and in which no process of 0.1 writes to them."""
        if not self._old.exists():
            yield False
            return
        with closing(connect(self._old, "ro", timeout=self._patience)) as reader:
            exists = _has_old_tables(reader)
            version = format_of(reader)
        # After an upgrade, 0.1 cannot open the file.
        lock = take_lock(self._old.with_name(LOCK_NAME)) if exists and version < PROVED_SINCE else None
        try:
            yield exists
        finally:
            if lock is not None:
                os.close(lock)

    def _upgrade(self, writer: sqlite3.Connection) -> None:
        with committed(writer):
            # Another process may have been faster.
            if self._check(writer) < _FORMAT:
                writer.execute(_UPKEEP)
                writer.execute(f"PRAGMA main.user_version = {_FORMAT}")

    def _check(self, connection: sqlite3.Connection) -> int:
        return check_format(connection, self.path, 2, _FORMAT)

    def _translated(self) -> AbstractContextManager[None]:
        return translated(str(self.path))

    def note_late(self, bucket: str, measurement: str, times: Iterable[int]) -> int:
        """Note the times (nanoseconds) of late raw rows, by minute: every window is whole minutes.

        Returns:
            Number of noted minutes.

        Raises:
            StoreError: the file cannot be written.
        """
        minutes = {time // _MINUTE * _MINUTE for time in times}
        if minutes:
            with self.transaction() as connection:
                rows = [(bucket, measurement, minute) for minute in sorted(minutes)]
                connection.executemany("INSERT INTO late (bucket, measurement, minute) VALUES (?, ?, ?)", rows)
        return len(minutes)

    def late_windows(self, spec: TaskSpec) -> LateWindows:
        """The windows that received late rows."""
        where = "bucket = ? AND measurement = ?"
        rows = self.select(f"SELECT minute, id FROM late WHERE {where}", (spec.raw_bucket, spec.source))
        ends = sorted({spec.floor(minute) + spec.width for minute, _ in rows})
        return LateWindows(ends, max((number for _, number in rows), default=0))

    def note_upkeep(self, spec: TaskSpec, mended: Sequence[Span], kept: Sequence[Span], now: int) -> None:
        """Record the result of comparing windows with raw data.

        Args:
            spec: task of the windows.
            mended: ranges of repaired windows.
            kept: ranges of wrong windows that stayed unchanged.
            now: the present, nanoseconds.
        """
        mended_count, kept_count = (length(ranges) // spec.width for ranges in (mended, kept))
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO upkeep VALUES (?1, ?2, ?3, ?4, iif(?4, ?3, 0), ?5) ON CONFLICT DO UPDATE SET at = ?3, "
                "mended = mended + ?4, mended_at = iif(?4, ?3, mended_at), kept = ?5",
                (spec.rollup_bucket, spec.measurement, now, mended_count, kept_count),
            )

    def upkeep(self, spec: TaskSpec) -> UpkeepNote | None:
        """The recorded result for a task's windows. None if this machine never compared them."""
        sql = "SELECT at, mended, mended_at, kept FROM upkeep WHERE bucket = ? AND measurement = ?"
        rows = self.select(sql, (spec.rollup_bucket, spec.measurement))
        return UpkeepNote(*rows[0]) if rows else None

    def forget_late(self, spec: TaskSpec, ranges: Sequence[Span], upto: int) -> None:
        """Remove notes up to a number in recomputed ranges."""
        if not self.late_windows(spec).ends:
            return
        with self.transaction() as connection:
            for start, stop in ranges:
                connection.execute(
                    "DELETE FROM late WHERE bucket = ? AND measurement = ? AND minute >= ? AND minute < ? AND id <= ?",
                    (spec.raw_bucket, spec.source, start, stop, upto),
                )


def late_before(spec: TaskSpec, now: int) -> int:
    """Raw rows before this time are late at `now`: the next run of the task does not recompute their windows."""
    return spec.due(now) + spec.width - spec.reach


def note_late(settings: Settings, late: Mapping[TaskSpec, Iterable[int]], *, patience: float) -> int:
    """Note the times (nanoseconds) of late rows of several tasks.

    Args:
        settings: settings with the data directory.
        late: times by task.
        patience: seconds to wait while another process writes to the file.
    """
    with closing(State(settings, patience=patience)) as state:
        return sum(state.note_late(spec.raw_bucket, spec.source, times) for spec, times in late.items())


def _uri(path: Path) -> str:
    return f"{path.absolute().as_uri()}?mode=ro"


def _has_old_tables(connection: sqlite3.Connection) -> bool:
    """Whether the tables of 0.1 exist. Formats before 2 did not have them."""
    return bool(connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'touched'").fetchone()[0])
