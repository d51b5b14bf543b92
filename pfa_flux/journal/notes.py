"""The shipper's persistent notes in the spool's file: how a store accepts hits, and whether it does."""

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
    """Outcome of the last points sent.

    Attributes:
        time: time of the last one, nanoseconds.
        taken: number of accepted points.
        refused: number of refused points.
        why: the reason as our own text; empty if none was refused.
    """

    time: int = 0
    taken: int = 0
    refused: int = 0
    why: str = ""

    @property
    def refusing(self) -> bool:
        """Most points were refused."""
        return self.refused > self.taken


class Notes:
    """The tables, through a connection to the spool's file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # `pfa-flux quarantine` needs the tables in a file of an older version that no pixel has opened since.
        for table in TABLES:
            connection.execute(table)

    def moved(self) -> set[tuple[str, str]]:
        """Measurements and values of `sess` without room, after forgetting those without waiting hits."""
        self._connection.execute("DELETE FROM moved WHERE sess NOT IN (SELECT sess FROM turn)")
        return set(self._connection.execute("SELECT measurement, sess FROM moved"))

    def move(self, measurement: str, sess: str) -> None:
        """Record one before its first hit is written: a hit must not be written both ways."""
        self._connection.execute("INSERT OR IGNORE INTO moved VALUES (?, ?)", (measurement, sess))

    def outcome(self) -> Outcome:
        """The recorded outcome of the last points."""
        found = self._connection.execute("SELECT time, taken, refused, why FROM outcome").fetchone()
        return Outcome(*found) if found else Outcome()

    def has_seen(self, store: str) -> bool:
        """A store has passed the test that it keeps what it is sent."""
        return self._connection.execute("SELECT 1 FROM seen WHERE store = ?", (store,)).fetchone() is not None

    def see(self, store: str) -> None:
        """Record that a store has passed."""
        self._connection.execute("INSERT OR IGNORE INTO seen VALUES (?)", (store,))

    def remember(self, found: Outcome) -> None:
        """Record the outcome of the last points."""
        values = (found.time, found.taken, found.refused, found.why)
        self._connection.execute("INSERT OR REPLACE INTO outcome VALUES (1, ?, ?, ?, ?)", values)
