"""The quarantine: points that InfluxDB has refused, as line protocol with its words, kept for seven days.

A table of the spool's file. The process that serves imports this, and so no client at its head.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from pfa_flux.errors import QueryError, SettingsError
from pfa_flux.schema import BOTH
from pfa_flux.settings import Settings
from pfa_flux.times import NS

KEPT_SECONDS = 7 * 86400
"""How long refused points are kept."""
REFUSED = (400, 413, 422)
"""Statuses that say of the points, not of the server, that they are wrong."""
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
        reason: what the server said.
        lines: the points, as line protocol.
    """

    id: int
    time: int
    reason: str
    lines: Sequence[str]

    @property
    def until(self) -> int:
        """When they are removed, nanoseconds."""
        return self.time + KEPT_SECONDS * NS


class Quarantine:
    """The table, through a connection to the spool's file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute("PRAGMA secure_delete = ON")

    def put(self, now: int, reason: str, lines: Sequence[str]) -> None:
        """Put refused lines by."""
        self._connection.execute(
            "INSERT INTO quarantine (time, reason, count, lines) VALUES (?, ?, ?, ?)",
            (now, reason, len(lines), "\n".join(lines)),
        )

    def count(self, now: int) -> int:
        """Points that are put by; those that have been for seven days are removed first."""
        limit = now - KEPT_SECONDS * NS
        if self._connection.execute("SELECT 1 FROM quarantine WHERE time < ?", (limit,)).fetchone():
            self._connection.execute("DELETE FROM quarantine WHERE time < ?", (limit,))
        return int(self._connection.execute("SELECT coalesce(sum(count), 0) FROM quarantine").fetchone()[0])

    def all(self) -> list[Refused]:
        """All that is put by, the oldest first."""
        rows = self._connection.execute("SELECT id, time, reason, lines FROM quarantine ORDER BY time, id")
        return [Refused(number, moment, reason, lines.split("\n")) for number, moment, reason, lines in rows]

    def remove(self, each: Refused) -> None:
        """Remove points, for good."""
        self._connection.execute("DELETE FROM quarantine WHERE id = ?", (each.id,))

    def refused_again(self, each: Refused, reason: str) -> None:
        """Keep what the server says now."""
        self._connection.execute("UPDATE quarantine SET reason = ? WHERE id = ?", (reason, each.id))


def by_bucket(settings: Settings, lines: Sequence[str]) -> list[tuple[str, Sequence[str]]]:
    """Lines of hits and page loads with the bucket that they belong to."""
    if len(settings.raw_buckets) == 1:
        return [(settings.raw_bucket, lines)]
    from pfa_flux.engines.influxdb.lineprotocol import start_of

    mark = start_of(settings.schema.loads_measurement)
    parts = {
        settings.raw_bucket: [line for line in lines if not line.startswith(mark)],
        settings.loads_bucket: [line for line in lines if line.startswith(mark)],
    }
    return [(bucket, part) for bucket, part in parts.items() if part]


def retry(
    settings: Settings, quarantine: Quarantine, clock: Callable[[], int] = time.time_ns
) -> tuple[int, Sequence[Refused]]:
    """Write what is in quarantine again. What InfluxDB takes leaves it, and is noted for repair where it is late.

    Args:
        settings: where to write.
        quarantine: what to write.
        clock: the present, nanoseconds.

    Returns:
        Points written, and what was refused again.

    Raises:
        SettingsError: no InfluxDB is set.
        PfaFluxError: it cannot be reached, or refuses access; what it has taken until then has left.
    """
    from pfa_flux.engines import registry
    from pfa_flux.engines.influxdb.lineprotocol import start_of
    from pfa_flux.tasks.state import late_before, note_late
    from pfa_flux.windows.spec import TaskSpec

    if not settings.url:
        raise SettingsError("no InfluxDB is set", "Name it with --url or PFA_FLUX_URL.")
    specs = [TaskSpec.from_settings(settings, side) for side in BOTH]
    writer, written = registry.open_writer(settings), 0
    with closing(writer):
        for each in quarantine.all():
            try:
                for bucket, lines in by_bucket(settings, each.lines):
                    writer.write(bucket, lines)
            except QueryError as error:
                if error.status not in REFUSED:
                    raise
                quarantine.refused_again(each, error.message)
                continue
            late = {}
            for spec in specs:
                times = [int(line.rpartition(" ")[2]) for line in each.lines if line.startswith(start_of(spec.source))]
                late[spec] = {moment for moment in times if moment < late_before(spec, clock())}
            note_late(settings, late, patience=10)
            quarantine.remove(each)
            written += len(each.lines)
    return written, quarantine.all()
