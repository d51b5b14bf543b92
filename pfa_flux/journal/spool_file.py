"""The layout of the spool's file: tables, pages, checksums of rows, and how older files are brought up to date."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from hashlib import sha256
from zlib import crc32

from pfa_flux.journal.notes import TABLES
from pfa_flux.journal.quarantine import TABLE
from pfa_flux.pixel.hit import KINDS, View

FORMAT = 2
_PAGE = """
-- crc: of id and texts, `page_crc`. A damaged row is left as it is, so that the same page may be here again. An id is
-- never used again: the shipper knows pages by it.
CREATE TABLE page (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL, scheme TEXT NOT NULL, domain TEXT NOT NULL, page TEXT NOT NULL,
    crc INTEGER NOT NULL, digest INTEGER NOT NULL
) STRICT;
"""
# An index of the texts would take several times what they do: those beyond a quarter of a block get one of their own.
_PAGE_INDEX = "CREATE INDEX page_digest ON page (digest);"
_TURN = """
-- time: of the first hit, nanoseconds; pages: ids of `page`, four bytes each, little-endian; crc: of all of it.
CREATE TABLE turn (
    seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, sess TEXT NOT NULL, pages BLOB NOT NULL, crc INTEGER NOT NULL
) STRICT;
"""
_CREATE = f"{_PAGE} {_PAGE_INDEX} {_TURN} {TABLE} {';'.join(TABLES)}; PRAGMA user_version = {FORMAT};"


def turn_crc(seq: int, time: int, sess: bytes, pages: bytes) -> int:
    """Checksum of a row of `turn`. Its numbers are where the sum begins: as texts they would cost as much as all."""
    both = seq * 31 + time
    return crc32(pages, crc32(sess, (both ^ both >> 32) & 0xFFFFFFFF))


def page_crc(number: int, view: View) -> int:
    """Checksum of a row of `page`."""
    return crc32("\0".join(view).encode(), number)


def digest(view: View) -> int:
    """By what a page is found: nobody can make up many that have the same."""
    return _digest(*(word.encode() for word in view))


def _digest(*words: bytes) -> int:
    return int.from_bytes(sha256(b"\0".join(words)).digest()[:8], "big", signed=True)


def page_of(connection: sqlite3.Connection, number: int) -> View | None:
    """The page of an id; None where there is none, or its row is not what was written."""
    columns = ", ".join(f"CAST({name} AS BLOB)" for name in View._fields)
    try:
        row = connection.execute(f"SELECT {columns}, crc FROM page WHERE id = ?", (number,)).fetchone()
        *words, crc = row or (None,)
        view = View(*(word.decode() for word in words))
    except (AttributeError, TypeError, ValueError):
        return None
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return None
    return view if page_crc(number, view) == crc and _can_be_stored(view) else None


def _can_be_stored(view: View) -> bool:
    """It is what the pixel makes of a request: a file of an older format has a checksum of whatever it held."""
    if view.kind == "prefetch" and not view.page.isdecimal():
        return False
    # Where pages are not kept, they are empty.
    return view.kind in KINDS and all(
        word and word[-1] != "\\" and min(word) >= " " and "\x7f" not in word for word in (*view[:-1], view.page or "/")
    )


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """A part of the file is damaged, and not the statement or the disk at fault."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of an empty file."""
    connection.executescript(f"BEGIN; {_CREATE} COMMIT")


def bring_up_to_date(connection: sqlite3.Connection, found: int) -> None:
    """Bring a file of an older format to today's, in one transaction; hits and quarantine stay what they are."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in _STEPS[found - 1 :]:
            step(connection)
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _add_checksums(connection: sqlite3.Connection) -> None:
    """Format 1 to 2. What is damaged by now gets no right checksum by it: it is told by what it says."""
    connection.create_function("turn_crc", 4, _crc_of_turn, deterministic=True)
    connection.create_function("page_crc", 5, _crc_of_page, deterministic=True)
    connection.create_function("digest", 4, _digest, deterministic=True)
    words = ", ".join(f"CAST({word} AS BLOB)" for word in View._fields)
    for name, table, sums in (
        ("turn", _TURN, "turn_crc(seq, time, CAST(sess AS BLOB), pages)"),
        ("page", _PAGE, f"page_crc(id, {words}), digest({words})"),
    ):
        connection.execute(f"ALTER TABLE {name} RENAME TO old_{name}")
        connection.execute(table)
        connection.execute(f"INSERT INTO {name} SELECT *, {sums} FROM old_{name}")
        connection.execute(f"DROP TABLE old_{name}")
    connection.execute(_PAGE_INDEX)
    for table in TABLES:
        connection.execute(table)


def _crc_of_turn(seq: int, time: object, sess: bytes, pages: bytes) -> int:
    try:
        return turn_crc(seq, time, sess, pages)  # type: ignore[arg-type]
    except TypeError:
        return -1


def _crc_of_page(number: int, *words: bytes) -> int:
    try:
        return page_crc(number, View(*(word.decode() for word in words)))  # type: ignore[arg-type]
    except (ValueError, AttributeError):
        return -1


_STEPS: tuple[Callable[[sqlite3.Connection], None], ...] = (_add_checksums,)
"""What brings each format to the next, from 1 on."""
