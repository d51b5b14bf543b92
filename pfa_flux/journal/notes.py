"""The shipper's notes in the spool's file: how a store accepts hits, and whether it refuses them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

_MOVED = """
-- Values of `sess` that the store has no room for, by measurement. Their hits are written with another tag.
CREATE TABLE IF NOT EXISTS moved (measurement TEXT NOT NULL, sess TEXT NOT NULL, UNIQUE (measurement, sess)) STRICT
"""
_OUTCOME = """
-- Outcome of the last points sent, if any was refused. `why` quotes no client.
CREATE TABLE IF NOT EXISTS outcome (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    time INTEGER NOT NULL, taken INTEGER NOT NULL, refused INTEGER NOT NULL, why TEXT NOT NULL
) STRICT
"""
_SEEN = """
-- Stores, by address and bucket, that passed the test: they keep points as sent.
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
        why: the reason in pfa-flux's own words; empty if none was refused.
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
        # `pfa-flux quarantine` needs these tables in older files, too.
        for table in TABLES:
            connection.execute(table)

    def moved(self) -> set[tuple[str, str]]:
        """Pairs of measurement and `sess` that the store has no room for, after removing those without waiting hits."""
        self._connection.execute("DELETE FROM moved WHERE sess NOT IN (SELECT sess FROM turn)")
        return set(self._connection.execute("SELECT measurement, sess FROM moved"))

    def record_moved(self, measurement: str, sess: str) -> None:
        """Record a pair before its first hit is written, because a hit must not be written both ways."""
        self._connection.execute("INSERT OR IGNORE INTO moved VALUES (?, ?)", (measurement, sess))

    def outcome(self) -> Outcome:
        """The recorded outcome of the last points."""
        row = self._connection.execute("SELECT time, taken, refused, why FROM outcome").fetchone()
        return Outcome(*row) if row else Outcome()

    def has_passed(self, store: str) -> bool:
        """A store has passed the test: it keeps points as sent."""
        return self._connection.execute("SELECT 1 FROM seen WHERE store = ?", (store,)).fetchone() is not None

    def record_passed(self, store: str) -> None:
        """Record that a store has passed the test."""
        self._connection.execute("INSERT OR IGNORE INTO seen VALUES (?)", (store,))

    def record_outcome(self, outcome: Outcome) -> None:
        """Record the outcome of the last points."""
        row = (outcome.time, outcome.taken, outcome.refused, outcome.why)
        self._connection.execute("INSERT OR REPLACE INTO outcome VALUES (1, ?, ?, ?, ?)", row)
