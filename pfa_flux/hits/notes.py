"""What the shipper remembers in the spool's file beyond its own life: how a store takes hits, and whether it does."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

_MOVED = """
-- Values of `sess` that the store has no room for, by measurement: their hits are written with a tag of another name.
CREATE TABLE IF NOT EXISTS moved (measurement TEXT NOT NULL, sess TEXT NOT NULL, UNIQUE (measurement, sess)) STRICT
"""
_OUTCOME = """
-- What became of the last points that were sent, where any was refused. `why` names nothing that a client sent.
CREATE TABLE IF NOT EXISTS outcome (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    time INTEGER NOT NULL, taken INTEGER NOT NULL, refused INTEGER NOT NULL, why TEXT NOT NULL
) STRICT
"""
_SEEN = """
-- Stores that were seen to keep what they are sent, by address and bucket.
CREATE TABLE IF NOT EXISTS seen (store TEXT PRIMARY KEY) STRICT
"""
TABLES = (_MOVED, _OUTCOME, _SEEN)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the last points that were sent.

    Attributes:
        time: of the last of them, nanoseconds.
        taken: points that the store has taken.
        refused: points that it refused.
        why: why, in words of our own; empty where none was.
    """

    time: int = 0
    taken: int = 0
    refused: int = 0
    why: str = ""

    @property
    def refusing(self) -> bool:
        """Most of them were refused."""
        return self.refused > self.taken


class Notes:
    """The tables, through a connection to the spool's file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # A file that an older version left, where no pixel has run since: `pfa-flux quarantine` needs them.
        for table in TABLES:
            connection.execute(table)

    def moved(self) -> set[tuple[str, str]]:
        """Measurements and values of `sess` without room, those whose hits wait no more being forgotten."""
        self._connection.execute("DELETE FROM moved WHERE sess NOT IN (SELECT sess FROM turn)")
        return set(self._connection.execute("SELECT measurement, sess FROM moved"))

    def move(self, measurement: str, sess: str) -> None:
        """Remember one, before the first of its hits is written: a hit must not be written both ways."""
        self._connection.execute("INSERT OR IGNORE INTO moved VALUES (?, ?)", (measurement, sess))

    def outcome(self) -> Outcome:
        """What is remembered of the last points."""
        found = self._connection.execute("SELECT time, taken, refused, why FROM outcome").fetchone()
        return Outcome(*found) if found else Outcome()

    def has_seen(self, store: str) -> bool:
        """A store was seen to keep what it is sent."""
        return self._connection.execute("SELECT 1 FROM seen WHERE store = ?", (store,)).fetchone() is not None

    def see(self, store: str) -> None:
        """Remember that it was."""
        self._connection.execute("INSERT OR IGNORE INTO seen VALUES (?)", (store,))

    def remember(self, found: Outcome) -> None:
        """Remember what became of the last points."""
        values = (found.time, found.taken, found.refused, found.why)
        self._connection.execute("INSERT OR REPLACE INTO outcome VALUES (1, ?, ?, ?, ?)", values)
