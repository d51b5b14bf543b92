"""The spool: hits waiting for InfluxDB, in `data_dir`/spool.sqlite3.

A row holds the hits that were committed together: their `sess`, the time of the first (each further hit is one
nanosecond later), the ids of their pages, four bytes each, and a checksum. The serving process writes the rows. The
shipper reads them, and reports which rows are safe in InfluxDB or in quarantine.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
import sys
import time
from array import array
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pfa_flux.engines.directory import connect, locked_directory
from pfa_flux.errors import StoreError
from pfa_flux.journal.base import JournalFile
from pfa_flux.journal.cache import Cache
from pfa_flux.journal.notes import Notes
from pfa_flux.journal.order import Order
from pfa_flux.journal.quarantine import Quarantine
from pfa_flux.journal.spool_file import FORMAT, create, digest, is_damage, page_crc, page_of, turn_crc, upgrade
from pfa_flux.pixel.hit import View
from pfa_flux.pixel.pages import Page, size_of
from pfa_flux.settings import Settings

SPOOL_NAME = "spool.sqlite3"
SPOOL_LOCK = "spool.lock"

_MOST_AT_ONCE = 4096
"""Maximum number of hits in a row."""
_DELETED_AT_ONCE = 200
MOST_PAGE_BYTES = 64 * 1024 * 1024
"""Maximum size of the waiting hits' pages in the file, in addition to `spool_mib`."""
_TIDIED_UPTO = 200_000
"""Number of waiting hits above which no pages are removed, because most of them have waiting hits."""
_TIDIED_AT_ONCE = 5_000
_PAGE_BYTES = "coalesce(sum(100 + (length(domain) + length(page)) * 3 / 2), 0)"
"""Estimated size of pages in the file, with their index. The estimate is high."""
_MOST_VIEW_BYTES = 16 * 1024 * 1024
_WAITING = "coalesce(sum(length(pages) / 4), 0)"
assert array("I").itemsize == 4


class Spool(JournalFile):
    """The journal of a pixel with InfluxDB. A lock ensures that only one process uses it."""

    ships = True

    def __init__(self, directory: Path, synchronous: str, max_bytes: int, *, patience: float = 0.0) -> None:
        self._lock = locked_directory(directory, SPOOL_LOCK, patience)
        self._max_bytes = max_bytes
        self._next = 1
        self._done = 0
        self._deleted = 0
        self._after = 1, 0, 0
        self._recount = False
        self._page_bytes = 0
        super().__init__(directory / SPOOL_NAME, synchronous)

    def _open(self) -> sqlite3.Connection:
        connection = connect(self.path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        try:
            if version == 0:
                create(connection)
            elif 0 < version < FORMAT:
                upgrade(connection, version)
            elif version != FORMAT:
                raise StoreError(
                    f"{self.path} has format {version}, this version of pfa-flux reads format {FORMAT}",
                    "Use the version of pfa-flux that wrote it until it is empty, or use another data directory.",
                )
        except BaseException:
            connection.close()
            raise
        return connection

    def _checked(self, connection: sqlite3.Connection) -> None:
        newest, self.waiting = connection.execute(f"SELECT coalesce(max(seq), 0), {_WAITING} FROM turn").fetchone()
        # Numbers of a new file are higher than those of an earlier one, so late reports about that file match no row.
        self._next = max(newest + 1, time.time_ns() // 1000)
        self._done = self._deleted = 0
        if not newest:
            # Pages are kept only while they are known or have waiting hits.
            connection.execute("DELETE FROM page")
        (self._page_bytes,) = connection.execute(f"SELECT {_PAGE_BYTES} FROM page").fetchone()

    def _write(self, connection: sqlite3.Connection, pages: Sequence[Page], sess: str, first: int) -> None:
        for page in pages:
            if page.file is not self._file:
                page.id, page.file = self._intern(connection, page.view), self._file
        seq, of = self._next, sess.encode()
        for low in range(0, len(pages), _MOST_AT_ONCE):
            ids = array("I", [page.id for page in pages[low : low + _MOST_AT_ONCE]])
            if sys.byteorder == "big":
                ids.byteswap()
            held, moment = ids.tobytes(), first + low
            row = seq, moment, sess, held, turn_crc(seq, moment, of, held)
            connection.execute("INSERT INTO turn VALUES (?, ?, ?, ?, ?)", row)
            seq += 1
        deleted, removed_hits = self._remove(connection) if self._done > self._deleted else (self._deleted, 0)
        self._after = seq, deleted, len(pages) - removed_hits

    def _committed(self) -> None:
        self._next, self._deleted, more = self._after
        self.waiting += more
        self._recount_if_needed()

    def _intern(self, connection: sqlite3.Connection, view: View) -> int:
        key = digest(view)
        for (known,) in connection.execute("SELECT id FROM page WHERE digest = ?", (key,)).fetchall():
            # The index may still point to a damaged row.
            if page_of(connection, known) == view:
                return int(known)
        last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'page'").fetchone()
        number = (int(last[0]) if last else 0) + 1
        row = number, *view, page_crc(number, view), key
        connection.execute("INSERT INTO page VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self._page_bytes += _bytes_of(view)
        return number

    def _remove(self, connection: sqlite3.Connection) -> tuple[int, int]:
        """Remove some of the shipped rows. Returns the last one, and their number of hits."""
        upto = connection.execute(
            "SELECT max(seq) FROM (SELECT seq FROM turn WHERE seq <= ? ORDER BY seq LIMIT ?)",
            (self._done, _DELETED_AT_ONCE),
        ).fetchone()[0]
        if upto is None:
            return self._done, 0
        try:
            hits = connection.execute(f"SELECT {_WAITING} FROM turn WHERE seq <= ?", (upto,)).fetchone()[0]
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            # The number of hits in a damaged row is unknown, so count the rest again.
            hits, self._recount = 0, True
        connection.execute("DELETE FROM turn WHERE seq <= ?", (upto,))
        return upto, hits

    def _recount_if_needed(self) -> None:
        if self._recount:
            (self.waiting,) = self._connection.execute(f"SELECT {_WAITING} FROM turn").fetchone()
            self._recount = False

    def order(self, settings: Settings) -> Order:
        """Work for the helper process: shipping."""
        return Order(settings)

    def taken_over(self, seq: int) -> None:
        """The rows up to `seq` are safe elsewhere. The next commits remove them, a few at a time."""
        self._done = max(self._done, min(seq, self._next - 1))

    @property
    def progress(self) -> Hashable:
        """The last row that is safe elsewhere, and the time of the oldest row here."""
        return None if self.oldest is None else (self._done, self.oldest)

    def tick(self) -> None:
        """Remove shipped rows, and check the free space."""
        super().tick()
        try:
            for _ in range(5):
                if self._deleted >= self._done:
                    break
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    self._deleted, removed_hits = self._remove(self._connection)
                    self._connection.execute("COMMIT")
                    self.waiting -= removed_hits
                    self._recount_if_needed()
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
            oldest = self._connection.execute("SELECT time FROM turn ORDER BY seq LIMIT 1").fetchone()
            self.oldest = oldest[0] if oldest else None
            self.room_for_pages = self._page_bytes < MOST_PAGE_BYTES
            if not self.full and self.used_bytes - self._page_bytes > self._max_bytes:
                self.full = f"the spool has reached {self._max_bytes:,} bytes (spool_mib in [pixel])"
        except sqlite3.OperationalError:
            # Busy, or the disk is full: try again in a second.
            return

    def tidy(self, pages: Iterable[Page]) -> None:
        """Remove pages that are no longer known and have no waiting hits."""
        if self.waiting > _TIDIED_UPTO:
            return
        used = {page.id for page in pages if page.file is self._file}
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return
        try:
            for (held,) in self._connection.execute("SELECT CAST(pages AS BLOB) FROM turn"):
                used.update(struct.unpack(f"<{len(held) // 4}I", held[: len(held) // 4 * 4]))
            stored = (row[0] for row in self._connection.execute("SELECT id FROM page"))
            unused = [(each,) for each in islice((each for each in stored if each not in used), _TIDIED_AT_ONCE)]
            self._connection.executemany("DELETE FROM page WHERE id = ?", unused)
            (page_bytes,) = self._connection.execute(f"SELECT {_PAGE_BYTES} FROM page").fetchone()
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise
        self._page_bytes = page_bytes

    def close(self) -> None:
        """Close the file and release the lock."""
        while self._deleted < self._done and not self.full:
            before = self._deleted
            self.tick()
            if self._deleted == before:
                break
        super().close()
        os.close(self._lock)


@dataclass(frozen=True, slots=True)
class Damaged:
    """Damaged hits of a row of the spool.

    Attributes:
        count: number of hits, as far as known.
        why: the fault in pfa-flux's own words.
        content: the stored bytes.
    """

    count: int
    why: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Waiting:
    """Hits of a row, as the shipper reads them. Each hit has one page view.

    Attributes:
        seq: number of the row.
        sess: `sess` of the hits.
        time: time of the first hit, nanoseconds. Each further hit is one nanosecond later.
        views: their page views; None for an unreadable one.
        damaged: the unreadable part of the row; None if there is none.
    """

    seq: int
    sess: str
    time: int
    views: Sequence[View | None]
    damaged: Damaged | None = None


_ROW = "SELECT seq, CAST(time AS INTEGER), CAST(sess AS BLOB), CAST(pages AS BLOB), CAST(crc AS INTEGER) FROM turn"
_Row = tuple[int, int | None, bytes | None, bytes | None, int]


class SpoolReader:
    """The shipper's side of the spool, in another process.

    Attributes:
        quarantine: refused and unreadable hits.
        notes: the shipper's notes.
    """

    def __init__(self, directory: Path) -> None:
        self._connection = connect(directory / SPOOL_NAME, timeout=10, isolation_level=None)
        self._views = Cache[int, View](_MOST_VIEW_BYTES)
        self.quarantine = Quarantine(self._connection)
        self.notes = Notes(self._connection)

    def after(self, seq: int, most: int) -> list[Waiting]:
        """Rows after `seq`, in order, with about `most` hits in total.

        Raises:
            sqlite3.DatabaseError: the file is damaged, not only single rows.
        """
        rows: list[_Row] = []
        hits = 0
        for row in self._rows(seq):
            rows.append(row)
            hits += len(row[3] or b"") // 4
            if hits >= most:
                break
        # Read the pages after the rows, because a page is written before its first hit.
        return [self._waiting(row) for row in rows]

    def _rows(self, seq: int) -> Iterator[_Row]:
        """Rows after `seq`. A row that SQLite cannot read is included without content."""
        while True:
            try:
                with closing(self._connection.execute(f"{_ROW} WHERE seq > ? ORDER BY seq", (seq,))) as cursor:
                    for row in cursor:
                        _check_order(seq, row[0])
                        yield row
                        seq = row[0]
                    return
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
            # Its key may be readable even if the rest is not.
            (following,) = self._connection.execute("SELECT min(seq) FROM turn WHERE seq > ?", (seq,)).fetchone()
            if following is None:
                return
            _check_order(seq, following)
            try:
                content = self._connection.execute(f"{_ROW} WHERE seq = ?", (following,)).fetchone()
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                content = None
            yield content or (following, 0, b"", b"", -1)
            seq = following

    def _waiting(self, row: _Row) -> Waiting:
        """The hits of a row. Anything that its checksum does not confirm is discarded."""
        seq, moment, sess, pages, crc = row
        moment, sess, pages = moment or 0, sess or b"", pages or b""
        content = b"%d %d %b %b" % (seq, moment, sess, pages)
        if not pages or len(pages) % 4 or turn_crc(seq, moment, sess, pages) != crc or not _is_sess(sess):
            return Waiting(seq, "", 0, (), Damaged(max(1, len(pages) // 4), "it differs from its checksum", content))
        views = [self._view(page) for page in struct.unpack(f"<{len(pages) // 4}I", pages)]
        lost = views.count(None)
        damaged = Damaged(lost, "its pages are damaged or missing", content) if lost else None
        return Waiting(seq, sess.decode(), moment, views, damaged)

    def _view(self, page: int) -> View | None:
        view = self._views.get(page)
        if view is None:
            view = page_of(self._connection, page)
            if view is not None:
                self._views.add(page, view, size_of(view))
        return view

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _bytes_of(view: View) -> int:
    """Size of a page in the file, as in `_PAGE_BYTES`."""
    return 100 + (len(view.domain) + len(view.page)) * 3 // 2


def _is_sess(sess: bytes) -> bool:
    """The text can be a tag. Upgraded files have valid checksums even for rows that were damaged before."""
    return sess.isalnum()


def _check_order(seq: int, following: int) -> None:
    if following <= seq:
        raise sqlite3.DatabaseError("its rows are out of order")


@contextmanager
def quarantine_of(settings: Settings) -> Iterator[Quarantine]:
    """The quarantine in a data directory, whether or not its pixel runs.

    Raises:
        StoreError: no pixel has shipped to InfluxDB from there, or its spool cannot be opened.
    """
    path = settings.data_dir / SPOOL_NAME
    hint = "Set the pixel's data directory (PFA_FLUX_DATA_DIR), and run as root or as the user of pfa-flux serve."
    try:
        if not path.exists():
            raise StoreError(f"{path} does not exist: no pixel has shipped to InfluxDB from there", hint)
        with closing(connect(path, "rw", timeout=10, isolation_level=None)) as connection:
            yield Quarantine(connection)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path} cannot be used: {error}", hint) from error
