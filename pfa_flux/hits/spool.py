"""The spool: hits that wait for InfluxDB, in `data_dir`/spool.sqlite3.

A row holds the hits of one turn of the event loop: their `sess`, the time of the first, each further one a
nanosecond later, and the pages they are of, four bytes each. The process that serves writes; the shipper reads, and
says up to where the rows have been taken over.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import sys
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pfa_flux.engines.directory import locked_directory
from pfa_flux.errors import StoreError
from pfa_flux.hits.hit import View
from pfa_flux.hits.journal import JournalFile
from pfa_flux.hits.order import Order
from pfa_flux.hits.pixel import Page
from pfa_flux.hits.quarantine import TABLE, Quarantine
from pfa_flux.settings import Settings

SPOOL_NAME = "spool.sqlite3"
SPOOL_LOCK = "spool.lock"

_FORMAT = 1
_MOST_AT_ONCE = 4096
"""Hits of a row."""
_DELETED_AT_ONCE = 200
_CREATE = f"""
CREATE TABLE page (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL, scheme TEXT NOT NULL, domain TEXT NOT NULL, page TEXT NOT NULL,
    UNIQUE (kind, scheme, domain, page)
) STRICT;
-- time: of the first hit, nanoseconds; pages: ids of `page`, four bytes each, little-endian.
CREATE TABLE turn (seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, sess TEXT NOT NULL, pages BLOB NOT NULL) STRICT;
{TABLE}
PRAGMA user_version = {_FORMAT};
"""
assert array("I").itemsize == 4


class Spool(JournalFile):
    """The journal of a pixel that has an InfluxDB. Held by one process, through a lock."""

    ships = True

    def __init__(self, directory: Path, synchronous: str, max_bytes: int, *, patience: float = 0.0) -> None:
        self._lock = locked_directory(directory, SPOOL_LOCK, patience)
        self._max_bytes = max_bytes
        self._next = 1
        self._done = 0
        self._deleted = 0
        self._after = 1, 0, 0
        super().__init__(directory / SPOOL_NAME, synchronous)

    def _open(self) -> sqlite3.Connection:
        # Made before SQLite opens it, so that it is never readable for others, not even for a moment.
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found == 0:
            connection.executescript(f"BEGIN; {_CREATE} COMMIT")
        elif found != _FORMAT:
            connection.close()
            raise StoreError(
                f"{self.path} has format {found}, this version of pfa-flux reads format {_FORMAT}",
                "Use the version of pfa-flux that wrote it until it is empty, or another data directory.",
            )
        return connection

    def _checked(self, connection: sqlite3.Connection) -> None:
        newest, self.waiting = connection.execute(
            "SELECT coalesce(max(seq), 0), coalesce(sum(length(pages)), 0) / 4 FROM turn"
        ).fetchone()
        # Of a later file by the clock, too: a word of the shipper on an earlier one never fits its rows.
        self._next = max(newest + 1, time.time_ns() // 1000)
        self._done = self._deleted = 0
        if not newest:
            # Pages are remembered only while hits of them wait.
            connection.execute("DELETE FROM page")

    def _write(self, connection: sqlite3.Connection, pages: Sequence[Page], sess: str, first: int) -> None:
        for page in pages:
            if not page.id:
                page.id = self._intern(connection, page.view)
                self._known.append(page)
        seq = self._next
        for low in range(0, len(pages), _MOST_AT_ONCE):
            ids = array("I", [page.id for page in pages[low : low + _MOST_AT_ONCE]])
            if sys.byteorder == "big":
                ids.byteswap()
            connection.execute("INSERT INTO turn VALUES (?, ?, ?, ?)", (seq, first + low, sess, ids.tobytes()))
            seq += 1
        deleted, gone = self._remove(connection) if self._done > self._deleted else (self._deleted, 0)
        self._after = seq, deleted, len(pages) - gone

    def _committed(self) -> None:
        self._next, self._deleted, more = self._after
        self.waiting += more

    def _intern(self, connection: sqlite3.Connection, view: View) -> int:
        connection.execute("INSERT OR IGNORE INTO page (kind, scheme, domain, page) VALUES (?, ?, ?, ?)", view)
        where = "kind = ? AND scheme = ? AND domain = ? AND page = ?"
        return int(connection.execute(f"SELECT id FROM page WHERE {where}", view).fetchone()[0])

    def _remove(self, connection: sqlite3.Connection) -> tuple[int, int]:
        """Remove some of the rows that were taken over. Returns the last of them, and how many hits they were."""
        upto = connection.execute(
            "SELECT max(seq) FROM (SELECT seq FROM turn WHERE seq <= ? ORDER BY seq LIMIT ?)",
            (self._done, _DELETED_AT_ONCE),
        ).fetchone()[0]
        if upto is None:
            return self._done, 0
        gone = connection.execute("SELECT sum(length(pages)) / 4 FROM turn WHERE seq <= ?", (upto,)).fetchone()[0]
        connection.execute("DELETE FROM turn WHERE seq <= ?", (upto,))
        return upto, gone

    def order(self, settings: Settings) -> Order:
        """What the helper process is to do: it ships."""
        return Order(settings)

    def taken_over(self, seq: int) -> None:
        """The rows up to `seq` are safe in InfluxDB. They leave with the next commits, a few at a time."""
        self._done = max(self._done, seq)

    def tick(self) -> None:
        """Remove what was taken over, and see whether there is room."""
        super().tick()
        try:
            for _ in range(5):
                if self._deleted >= self._done:
                    break
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    self._deleted, gone = self._remove(self._connection)
                    self._connection.execute("COMMIT")
                    self.waiting -= gone
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
            oldest = self._connection.execute("SELECT time FROM turn ORDER BY seq LIMIT 1").fetchone()
            self.oldest = oldest[0] if oldest else None
            if not self.full and self.used_bytes > self._max_bytes:
                self.full = f"the spool has its {self._max_bytes:,} bytes (spool_mib in [pixel])"
        except sqlite3.OperationalError:
            # Busy, or the disk is full: then in a second.
            return

    def close(self) -> None:
        """Close the file and let go of the lock."""
        while self._deleted < self._done and not self.full:
            before = self._deleted
            self.tick()
            if self._deleted == before:
                break
        super().close()
        os.close(self._lock)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Hits of one page view each, as the shipper reads them.

    Attributes:
        seq: row they are in.
        sess: their `sess`.
        time: time of the first, nanoseconds; each further one is a nanosecond later.
        views: their page views.
    """

    seq: int
    sess: str
    time: int
    views: Sequence[View]


class SpoolReader:
    """The shipper's side of the spool, in another process.

    Attributes:
        quarantine: what the server has refused.
    """

    def __init__(self, directory: Path) -> None:
        self._connection = sqlite3.connect(directory / SPOOL_NAME, timeout=10, isolation_level=None)
        self._views: dict[int, View] = {}
        self.quarantine = Quarantine(self._connection)

    def after(self, seq: int, most: int) -> list[Waiting]:
        """Rows after `seq`, in order, of `most` hits together or a little more."""
        rows: list[tuple[int, str, int, tuple[int, ...]]] = []
        found = 0
        with closing(
            self._connection.execute("SELECT seq, sess, time, pages FROM turn WHERE seq > ? ORDER BY seq", (seq,))
        ) as cursor:
            for number, sess, moment, pages in cursor:
                ids = struct.unpack(f"<{len(pages) // 4}I", pages)
                rows.append((number, sess, moment, ids))
                found += len(ids)
                if found >= most:
                    break
        # After the rows: a page is there before its first hit is.
        return [Waiting(number, sess, moment, [self._view(page) for page in ids]) for number, sess, moment, ids in rows]

    def _view(self, page: int) -> View:
        if page not in self._views:
            sql = "SELECT kind, scheme, domain, page FROM page WHERE id = ?"
            self._views[page] = View(*self._connection.execute(sql, (page,)).fetchone())
        return self._views[page]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


@contextmanager
def quarantine_of(settings: Settings) -> Iterator[Quarantine]:
    """The quarantine of the pixel in a data directory, while it serves or while it does not.

    Raises:
        StoreError: no pixel that ships to an InfluxDB has run there, or its spool cannot be opened.
    """
    path = settings.data_dir / SPOOL_NAME
    hint = "Name the pixel's data directory (PFA_FLUX_DATA_DIR), and be root or the user that pfa-flux serve has."
    try:
        if not path.exists():
            raise StoreError(f"{path} does not exist: no pixel has shipped to an InfluxDB from there", hint)
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=10, isolation_level=None)) as connection:
            yield Quarantine(connection)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path} cannot be used: {error}", hint) from error
