"""The spool's file: its tables, pages, checksums of rows, and the upgrade of older files."""

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
-- crc: checksum of id and texts, `page_crc`. A damaged row stays, so the same page may exist twice. No id is ever
-- reused, because the shipper identifies pages by their ids.
CREATE TABLE page (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL, scheme TEXT NOT NULL, domain TEXT NOT NULL, page TEXT NOT NULL,
    crc INTEGER NOT NULL, digest INTEGER NOT NULL
) STRICT;
"""
# An index of the texts would be several times as large as the texts themselves.
_PAGE_INDEX = "CREATE INDEX page_digest ON page (digest);"
_TURN = """
-- time: of the first hit, nanoseconds; pages: ids of `page`, four bytes each, little-endian; crc: of the whole row.
CREATE TABLE turn (
    seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, sess TEXT NOT NULL, pages BLOB NOT NULL, crc INTEGER NOT NULL
) STRICT;
"""
_CREATE = f"{_PAGE} {_PAGE_INDEX} {_TURN} {TABLE} {';'.join(TABLES)}; PRAGMA user_version = {FORMAT};"


def turn_crc(seq: int, time: int, sess: bytes, pages: bytes) -> int:
    """Checksum of a row of `turn`. It starts with the row's numbers, because encoding them as text would be slow."""
    both = seq * 31 + time
    return crc32(pages, crc32(sess, (both ^ both >> 32) & 0xFFFFFFFF))


def page_crc(number: int, view: View) -> int:
    """Checksum of a row of `page`."""
    return crc32("\0".join(view).encode(), number)


def digest(view: View) -> int:
    """Key for finding a page. Nobody can construct many pages with the same key."""
    return _digest(*(text.encode() for text in view))


def _digest(*texts: bytes) -> int:
    return int.from_bytes(sha256(b"\0".join(texts)).digest()[:8], "big", signed=True)


def page_of(connection: sqlite3.Connection, number: int) -> View | None:
    """The page of an id; None if it does not exist, or if its row is damaged."""
    columns = ", ".join(f"CAST({name} AS BLOB)" for name in View._fields)
    try:
        row = connection.execute(f"SELECT {columns}, crc FROM page WHERE id = ?", (number,)).fetchone()
        *texts, crc = row or (None,)
        view = View(*(text.decode() for text in texts))
    except (AttributeError, TypeError, ValueError):
        return None
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return None
    return view if page_crc(number, view) == crc and _can_be_stored(view) else None


def _can_be_stored(view: View) -> bool:
    """The pixel could have stored this view. In upgraded files, damaged rows have valid checksums, too."""
    if view.kind == "prefetch" and not view.page.isdecimal():
        return False
    # If pages are off in the settings, they are empty.
    return view.kind in KINDS and all(
        text and text[-1] != "\\" and min(text) >= " " and "\x7f" not in text for text in (*view[:-1], view.page or "/")
    )


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Part of the file is damaged; neither the statement nor the disk is at fault."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT


def create(connection: sqlite3.Connection) -> None:
    """Create the tables in an empty file."""
    connection.executescript(f"BEGIN; {_CREATE} COMMIT")


def upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Upgrade a file of an older format, in one transaction. Hits and quarantine stay the same."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in _STEPS[version - 1 :]:
            step(connection)
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _add_checksums(connection: sqlite3.Connection) -> None:
    """Format 1 to 2. Rows that are already damaged get checksums, too, so their content is checked when it is read."""
    connection.create_function("turn_crc", 4, _crc_of_turn, deterministic=True)
    connection.create_function("page_crc", 5, _crc_of_page, deterministic=True)
    connection.create_function("digest", 4, _digest, deterministic=True)
    texts = ", ".join(f"CAST({name} AS BLOB)" for name in View._fields)
    for name, table, sums in (
        ("turn", _TURN, "turn_crc(seq, time, CAST(sess AS BLOB), pages)"),
        ("page", _PAGE, f"page_crc(id, {texts}), digest({texts})"),
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


def _crc_of_page(number: int, *texts: bytes) -> int:
    try:
        return page_crc(number, View(*(text.decode() for text in texts)))  # type: ignore[arg-type]
    except (ValueError, AttributeError):
        return -1


_STEPS: tuple[Callable[[sqlite3.Connection], None], ...] = (_add_checksums,)
"""Steps that upgrade each format to the next, starting with format 1."""
