"""The quarantine: points that InfluxDB refused, as line protocol with the reason, kept for seven days.

A table of the spool's file. The process that serves imports this, and so no client at its head.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from pfa_flux.errors import SettingsError
from pfa_flux.hits.notes import Notes
from pfa_flux.schema import BOTH
from pfa_flux.settings import Settings
from pfa_flux.times import NS

KEPT_SECONDS = 7 * 86400
"""Retention of refused points."""
TABLE = """
-- Lines that the server has refused, as line protocol, with its words; kept for seven days.
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY, time INTEGER NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL, lines TEXT NOT NULL
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Refused:
    """Points that were refused together.

    Attributes:
        id: of the row.
        time: when, nanoseconds.
        reason: what the server said, which may quote the points.
        lines: the points, as line protocol; one comment where they could not be read.
        count: how many they are.
    """

    id: int
    time: int
    reason: str
    lines: Sequence[str]
    count: int

    @property
    def damaged(self) -> bool:
        """They could not be read from the spool: only their bytes remain, and nothing can be written."""
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
        """Store lines refused for several reasons: all of them, or none if that fails."""
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
        """Store unreadable hits, each once, as a comment in line protocol with their bytes."""
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


def retry(
    settings: Settings, quarantine: Quarantine, clock: Callable[[], int] = time.time_ns
) -> tuple[int, Sequence[Refused]]:
    """Write quarantined points again. Those that InfluxDB accepts leave the quarantine; late ones are noted for repair.

    Args:
        settings: where to write.
        quarantine: what to write.
        clock: the present, nanoseconds.

    Returns:
        The number of points written, and the points refused again.

    Raises:
        SettingsError: no InfluxDB is set.
        PfaFluxError: it is unreachable or denies access; points accepted until then have left the quarantine.
    """
    from pfa_flux.engines import registry
    from pfa_flux.engines.influxdb.lineprotocol import start_of
    from pfa_flux.hits.delivery import Delivery
    from pfa_flux.tasks.state import late_before, note_late
    from pfa_flux.windows.spec import TaskSpec

    if not settings.url:
        raise SettingsError("no InfluxDB is set", "Set its address with --url or PFA_FLUX_URL.")
    specs = [TaskSpec.from_settings(settings, side) for side in BOTH]
    writer, written = registry.open_writer(settings), 0
    with closing(writer):
        delivery = Delivery(settings, writer, quarantine.notes)
        for each in quarantine.all():
            if each.damaged:
                continue
            refused = delivery.write(each.lines)
            left = {line for one in refused for line in one.lines}
            done = [line for line in each.lines if line not in left]
            late = {}
            for spec in specs:
                times = [int(line.rpartition(" ")[2]) for line in done if line.startswith(start_of(spec.source))]
                late[spec] = {moment for moment in times if moment < late_before(spec, clock())}
            note_late(settings, late, patience=10)
            if refused:
                quarantine.refused_again(each, refused[-1].message, [line for line in each.lines if line in left])
            else:
                quarantine.remove(each)
            written += len(done)
    return written, quarantine.all()
