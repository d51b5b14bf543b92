"""Journals: SQLite files that hits are committed to before they are answered.

Of two kinds: the spool, where hits wait for InfluxDB, and the embedded store itself. What both have in common is here:
a file of their own that one process writes, a write-ahead log whose checkpoints run beside the event loop, and what
becomes of a file that is damaged.
https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path

from pfa_flux.engines.directory import connect
from pfa_flux.hits.epoch import Epoch
from pfa_flux.hits.order import Order
from pfa_flux.hits.pages import Page
from pfa_flux.hits.pixel import Busy
from pfa_flux.settings import Settings

log = logging.getLogger("pfa_flux")

CHECKPOINT_BYTES = 16 * 1024 * 1024
"""Size of the write-ahead log at which it is written back."""
RESERVE = 4 * 1024 * 1024
"""Free bytes of the disk below which nothing is taken in: removing what was shipped needs a little."""
_CHECKED_WHOLE = 256 * 1024 * 1024
"""Size up to which a file is checked at the start."""


class JournalFile(ABC):
    """One journal. All methods but `checkpoint` are called by the event loop's thread."""

    known_by_sess = False
    """What the journal knows a page by holds for one `sess` alone."""
    ships = False
    """Hits wait in it for a helper process that ships them."""

    def __init__(self, path: Path, synchronous: str) -> None:
        self.path = path
        self._synchronous = synchronous
        self._epoch = Epoch()
        self._file = object()
        """Stands for the file that ids of pages belong to, as it is."""
        self._sess = ""
        self._inode = self._log_inode = 0
        self.opened = 0
        """Times that a file was opened: what was said of the one before is not about this one."""
        self.full = ""
        """Why nothing is taken in just now, empty where it is."""
        self.failing = ""
        """What the last commit failed with, empty where it did not."""
        self.waiting = 0
        """Hits that wait to be shipped."""
        self.oldest: int | None = None
        """Time of the oldest of them, nanoseconds, at the last tick."""
        self.room_for_pages = True
        """New pages can be told apart; at the last tick."""
        self.set_aside = 0
        """Damaged files that were set aside since the start."""
        self._connection = self._open_sound()

    @abstractmethod
    def order(self, settings: Settings) -> Order:
        """What the helper process is to do."""

    def taken_over(self, seq: int) -> None:  # noqa: B027 - where nothing is shipped, nothing is
        """The rows up to `seq` are safe elsewhere."""

    @abstractmethod
    def _open(self) -> sqlite3.Connection:
        """Connection to the file, made and brought up to date if need be."""

    @abstractmethod
    def _write(self, connection: sqlite3.Connection, pages: Sequence[Page], sess: str, first: int) -> None:
        """Write hits within a transaction."""

    def _committed(self) -> None:  # noqa: B027 - not every journal has to know
        """What was written is on disk."""

    def _checked(self, connection: sqlite3.Connection) -> None:  # noqa: B027 - the same
        """Read what the journal has to know of a file that was just opened."""

    def commit(self, pages: Sequence[Page], now: int) -> None:
        """Keep a hit of each page, for good.

        Raises:
            Busy: another process is writing. OSError: the disk is full or fails.
        """
        if self.full:
            raise OSError(self.full)
        try:
            self._commit(pages, now)
        except OSError as error:
            self.failing = str(error)
            raise
        self.failing = ""

    def _commit(self, pages: Sequence[Page], now: int) -> None:
        first = self._epoch.stamp(now, len(pages))
        if self._sess != self._epoch.sess:
            self._sess = self._epoch.sess
            if self.known_by_sess:
                self._forget()
        try:
            self._transaction(pages, first)
        except sqlite3.DatabaseError as error:
            if _kind(error) not in _DAMAGED:
                raise _translated(error) from error
            self._replace(error)
            try:
                self._transaction(pages, first)
            except sqlite3.DatabaseError as again:
                raise _translated(again) from again

    def _transaction(self, pages: Sequence[Page], first: int) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._write(connection, pages, self._sess, first)
            connection.execute("COMMIT")
        except BaseException:
            # A transaction that a full disk has ended already cannot be rolled back again.
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            # What was rolled back may have taken new pages with it.
            self._forget()
            raise
        self._committed()

    def _forget(self) -> None:
        """Ids of pages are not what they were."""
        self._file = object()

    def tidy(self, pages: Iterable[Page]) -> None:  # noqa: B027 - where nothing is left behind, nothing is done
        """Called every minute: remove what was kept of pages that are not told apart any more."""

    def tick(self) -> None:
        """Called every second: whether there is room, and whether the file is still the one that was opened."""
        try:
            if self.path.stat().st_ino != self._inode:
                raise FileNotFoundError
        except OSError:
            self._replace(OSError("it was removed or replaced"))
        self._look_at_log()
        room = os.statvfs(self.path.parent)
        free = room.f_bavail * room.f_frsize
        self.full = f"the disk of {self.path.parent} has {free:,} bytes left" if free < RESERVE else ""
        if self.failing and not self.full:
            # Nobody may be asking for the pixel just now: a page that is written as it was says whether it is well.
            connection = self._connection
            with contextlib.suppress(sqlite3.Error):
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                connection.execute(f"PRAGMA user_version = {version}")
                self.failing = ""

    def _look_at_log(self) -> None:
        """See whether the write-ahead log is still the one that hits are in; if not, they are saved into the file."""
        try:
            inode = self._log.stat().st_ino
        except FileNotFoundError:
            inode = 0
        if self._log_inode in (0, inode):
            self._log_inode = inode
            return
        log.error("the log %s was removed or replaced; its content was saved to %s", self._log, self.path)
        # The log is still open here, and nobody else can have it.
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()
        self._forget()
        self._connection = self._opened()

    @property
    def _log(self) -> Path:
        return self.path.with_name(f"{self.path.name}-wal")

    @property
    def trouble(self) -> str:
        """Why hits are shed just now, empty where they are kept."""
        return self.full or self.failing

    @property
    def log_bytes(self) -> int:
        """Size of the write-ahead log."""
        try:
            return self._log.stat().st_size
        except OSError:
            return 0

    @property
    def used_bytes(self) -> int:
        """Bytes of the file that are in use."""
        pages, free, size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def checkpoint(self) -> None:
        """Write the log back into the file, as far as readers let it. In any thread, and without holding up commits."""
        try:
            with contextlib.closing(connect(self.path, timeout=0)) as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error as error:
            log.warning("the journal's log could not be written back: %s", error)

    def close(self) -> None:
        """Close the file; its log is written back."""
        self._connection.close()

    def _open_sound(self) -> sqlite3.Connection:
        """The file, opened; a damaged one is set aside, and a new one made."""
        try:
            return self._opened()
        except sqlite3.DatabaseError as error:
            if _kind(error) not in _DAMAGED:
                raise
            self._put_away(error)
            return self._opened()

    def _opened(self) -> sqlite3.Connection:
        connection = self._open()
        try:
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute("PRAGMA secure_delete = ON")
            # By a thread of its own (`checkpoint`), never in the middle of a commit.
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            # A log that is begun anew is cut, so that its size says how much of it is to be written back.
            connection.execute("PRAGMA journal_size_limit = 0")
            if self.path.stat().st_size <= _CHECKED_WHOLE:
                (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                if found != "ok":
                    raise _Damaged(found)
            self._checked(connection)
            # What a dead process left in the log is written back. And SQLite, which must not close a file that it has
            # locks on, keeps a handle of each checkpoint for the next: it is there from the start, and stays one.
            self.checkpoint()
        except BaseException:
            connection.close()
            raise
        self._inode, self._log_inode = self.path.stat().st_ino, self._log.stat().st_ino if self._log.exists() else 0
        self.opened += 1
        return connection

    @property
    def progress(self) -> Hashable:
        """How far what waits has come, at the last tick; None where nothing waits."""
        return None

    def give_up(self, why: str) -> None:
        """Go on with a new file: another process has found this one damaged."""
        self._replace(_Damaged(why))

    def _replace(self, error: BaseException) -> None:
        """Go on with a new file."""
        self._connection.close()
        self._put_away(error)
        self._forget()
        self._connection = self._opened()

    def _put_away(self, error: BaseException) -> None:
        """Rename a damaged file and its log; nothing is ever deleted."""
        mark = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        kept = ""
        for end in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + end)
            if part.exists():
                aside = self.path.with_name(f"{self.path.name}.damaged-{mark}-{self.set_aside}{end}")
                part.rename(aside)
                kept = kept or aside.name
        self.set_aside += 1
        log.error(
            "%s is damaged (%s) and was renamed to %s; use sqlite3's .recover to save its content",
            self.path,
            error,
            kept or "nothing: it no longer existed",
        )


class _Damaged(sqlite3.DatabaseError):
    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _kind(error: sqlite3.Error) -> int:
    """SQLite's primary result code (https://www.sqlite.org/rescode.html)."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _translated(error: sqlite3.Error) -> Busy | OSError:
    if _kind(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Busy()
    return OSError(f"the journal cannot be written to: {error}")
