"""The quarantine: points that InfluxDB refused, as line protocol with the reason. They are kept for seven days.

It is a table in the spool's file. The serving process imports this module, so it imports no client at the top.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pfa_flux.journal.notes import Notes
from pfa_flux.times import NS

KEPT_SECONDS = 7 * 86400
"""Retention of refused points."""
TABLE = """
-- Points that the server refused, as line protocol with its message. Kept for seven days.
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY, time INTEGER NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL, lines TEXT NOT NULL
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Refused:
    """Points that were refused together.

    Attributes:
        id: id of the row.
        time: time of the refusal, nanoseconds.
        reason: the server's message, which may quote the points.
        lines: the points as line protocol; a comment if they could not be read.
        count: number of points.
    """

    id: int
    time: int
    reason: str
    lines: Sequence[str]
    count: int

    @property
    def damaged(self) -> bool:
        """The points could not be read from the spool. Only their bytes remain, which InfluxDB cannot accept."""
        return self.lines[0].startswith("#")

    @property
    def until(self) -> int:
        """Time of their removal, nanoseconds."""
        return self.time + KEPT_SECONDS * NS


class Quarantine:
    """The table, through a connection to the spool's file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute("PRAGMA secure_delete = ON")

    def put(self, now: int, reason: str, lines: Sequence[str]) -> None:
        """Store refused lines."""
        self.put_all(now, [(reason, lines)])

    def put_all(self, now: int, refused: Iterable[tuple[str, Sequence[str]]]) -> None:
        """Store lines that were refused for several reasons. If that fails, store none of them."""
        rows = [(now, reason, len(lines), "\n".join(lines)) for reason, lines in refused]
        if not rows:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            insert = "INSERT INTO quarantine (time, reason, count, lines) VALUES (?, ?, ?, ?)"
            self._connection.executemany(insert, rows)
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise

    def put_bytes(self, now: int, reason: str, count: int, content: bytes) -> None:
        """Store unreadable hits once, as a comment in line protocol with their bytes."""
        comment = f"# {content.hex()}"
        self._connection.execute(
            "INSERT INTO quarantine (time, reason, count, lines) SELECT ?1, ?2, ?3, ?4 "
            "WHERE NOT EXISTS (SELECT 1 FROM quarantine WHERE lines = ?4)",
            (now, reason, count, comment),
        )

    def count(self, now: int, *, expire: bool = True) -> int:
        """Number of quarantined points, by default after expiring those older than seven days."""
        limit = now - KEPT_SECONDS * NS
        if expire and self._connection.execute("SELECT 1 FROM quarantine WHERE time < ?", (limit,)).fetchone():
            self._connection.execute("DELETE FROM quarantine WHERE time < ?", (limit,))
        return int(self._connection.execute("SELECT coalesce(sum(count), 0) FROM quarantine").fetchone()[0])

    def all(self) -> list[Refused]:
        """All stored points, oldest first."""
        rows = self._connection.execute("SELECT id, time, reason, lines, count FROM quarantine ORDER BY time, id")
        return [Refused(number, moment, why, lines.split("\n"), count) for number, moment, why, lines, count in rows]

    def remove(self, each: Refused) -> None:
        """Remove points permanently."""
        self._connection.execute("DELETE FROM quarantine WHERE id = ?", (each.id,))

    def refused_again(self, each: Refused, reason: str, lines: Sequence[str]) -> None:
        """Keep the points that are still refused, with the server's new reason."""
        self._connection.execute(
            "UPDATE quarantine SET reason = ?, count = ?, lines = ? WHERE id = ?",
            (reason, len(lines), "\n".join(lines), each.id),
        )

    @property
    def notes(self) -> Notes:
        """The shipper's notes in the same file."""
        return Notes(self._connection)
