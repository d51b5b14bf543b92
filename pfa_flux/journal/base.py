"""Journals: SQLite files to which hits are committed before they are answered.

There are two kinds: the spool, where hits wait for InfluxDB, and the embedded store itself. This module has what they
share: one writing process, a write-ahead log with checkpoints outside the event loop, and the handling of damaged
files. https://www.sqlite.org/wal.html
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
from pfa_flux.journal.epoch import Epoch
from pfa_flux.journal.order import Order
from pfa_flux.pixel.keeping import Busy
from pfa_flux.pixel.pages import Page
from pfa_flux.settings import Settings

log = logging.getLogger("pfa_flux")

CHECKPOINT_BYTES = 16 * 1024 * 1024
"""Size from which the write-ahead log is written back."""
RESERVE = 4 * 1024 * 1024
"""Free disk space below which hits are shed, because removing shipped hits needs a little space."""
_CHECKED_WHOLE = 256 * 1024 * 1024
"""Maximum size of a file that is checked at the start."""


class JournalFile(ABC):
    """A journal. The event loop's thread calls all methods except `checkpoint`."""

    known_by_sess = False
    """Ids of pages are valid for only one `sess`."""
    ships = False
    """Hits wait in the journal until the helper process ships them."""

    def __init__(self, path: Path, synchronous: str) -> None:
        self.path = path
        self._synchronous = synchronous
        self._epoch = Epoch()
        self._file = object()
        """Identifies the current file. Ids of pages belong to one file."""
        self._sess = ""
        self._inode = self._log_inode = 0
        self.opened = 0
        """Number of files opened. Reports about an earlier file do not apply to the current one."""
        self.full = ""
        """Why hits are shed at the moment; empty if they are not."""
        self.failing = ""
        """Error of the last commit; empty without one."""
        self.waiting = 0
        """Number of hits waiting to be shipped."""
        self.oldest: int | None = None
        """Time of the oldest waiting hit at the last tick, nanoseconds."""
        self.room_for_pages = True
        """There was room for new pages at the last tick."""
        self.set_aside = 0
        """Number of damaged files renamed since the start."""
        self._connection = self._open_sound()

    @abstractmethod
    def order(self, settings: Settings) -> Order:
        """The helper process's work."""

    def taken_over(self, seq: int) -> None:  # noqa: B027 - a journal that does not ship needs nothing here
        """The rows up to `seq` are safe in InfluxDB or in quarantine."""

    @abstractmethod
    def _open(self) -> sqlite3.Connection:
        """Connection to the file, created or upgraded if necessary."""

    @abstractmethod
    def _write(self, connection: sqlite3.Connection, pages: Sequence[Page], sess: str, first: int) -> None:
        """Write hits within a transaction."""

    def _committed(self) -> None:  # noqa: B027 - not every journal needs it
        """Called when the written hits are on disk."""

    def _checked(self, connection: sqlite3.Connection) -> None:  # noqa: B027 - the same
        """Read the state that a newly opened file contains."""

    def commit(self, pages: Sequence[Page], now: int) -> None:
        """Store one hit for each page, durably.

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
            # A full disk may already have ended the transaction; then rollback fails.
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            # The rollback may have removed new pages.
            self._forget()
            raise
        self._committed()

    def _forget(self) -> None:
        """Invalidate the ids of pages."""
        self._file = object()

    def tidy(self, pages: Iterable[Page]) -> None:  # noqa: B027 - not every journal has pages to remove
        """Called every minute: remove pages that are no longer known."""

    def tick(self) -> None:
        """Called every second: check the free space, and that the file is still the opened one."""
        try:
            if self.path.stat().st_ino != self._inode:
                raise FileNotFoundError
        except OSError:
            self._replace(OSError("it was removed or replaced"))
        self._check_log()
        room = os.statvfs(self.path.parent)
        free = room.f_bavail * room.f_frsize
        self.full = f"the disk of {self.path.parent} has {free:,} bytes left" if free < RESERVE else ""
        if self.failing and not self.full:
            # There may be no requests at the moment, so write an unchanged page to check the file.
            connection = self._connection
            with contextlib.suppress(sqlite3.Error):
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                connection.execute(f"PRAGMA user_version = {version}")
                self.failing = ""

    def _check_log(self) -> None:
        """Check that the write-ahead log is still the one with the hits. If not, save them to the file."""
        try:
            inode = self._log.stat().st_ino
        except FileNotFoundError:
            inode = 0
        if self._log_inode in (0, inode):
            self._log_inode = inode
            return
        log.error("the log %s was removed or replaced; its content was saved to %s", self._log, self.path)
        # This process still has the log open, and no other process can.
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()
        self._forget()
        self._connection = self._opened()

    @property
    def _log(self) -> Path:
        return self.path.with_name(f"{self.path.name}-wal")

    @property
    def trouble(self) -> str:
        """Why hits are shed at the moment; empty if they are not."""
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
        """Used bytes of the file."""
        pages, free, size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def checkpoint(self) -> None:
        """Write the log back into the file, as far as readers allow. Any thread may call it. It delays no commits."""
        try:
            with contextlib.closing(connect(self.path, timeout=0)) as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error as error:
            log.warning("the journal's log could not be written back: %s", error)

    def close(self) -> None:
        """Close the file, which writes back its log."""
        self._connection.close()

    def _open_sound(self) -> sqlite3.Connection:
        """Open the file. If it is damaged, rename it and create a new one."""
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
            # Done in a separate thread (`checkpoint`), never during a commit.
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            # Truncate a restarted log, so that its size shows how much to write back.
            connection.execute("PRAGMA journal_size_limit = 0")
            if self.path.stat().st_size <= _CHECKED_WHOLE:
                (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                if result != "ok":
                    raise _Damaged(result)
            self._checked(connection)
            # Write back what a dead process left in the log. SQLite must not close a file with locks, so it keeps each
            # checkpoint's handle for the next one. This opens that handle at the start.
            self.checkpoint()
        except BaseException:
            connection.close()
            raise
        self._inode, self._log_inode = self.path.stat().st_ino, self._log.stat().st_ino if self._log.exists() else 0
        self.opened += 1
        return connection

    @property
    def progress(self) -> Hashable:
        """Progress of the waiting hits at the last tick; None if no hits wait."""
        return None

    def give_up(self, why: str) -> None:
        """Continue with a new file, because another process found this one damaged."""
        self._replace(_Damaged(why))

    def _replace(self, error: BaseException) -> None:
        """Continue with a new file."""
        self._connection.close()
        self._put_away(error)
        self._forget()
        self._connection = self._opened()

    def _put_away(self, error: BaseException) -> None:
        """Rename a damaged file and its log. Nothing is ever deleted."""
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
