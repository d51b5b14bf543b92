"""The quarantine: points that InfluxDB has refused, as line protocol with its words, kept for seven days.

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
"""How long refused points are kept."""
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
        """They could not be read in the spool: there are bytes, and nothing that could be written."""
        return self.lines[0].startswith("#")

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
        self.put_all(now, [(reason, lines)])

    def put_all(self, now: int, refused: Iterable[tuple[str, Sequence[str]]]) -> None:
        """Put lines by that were refused for several reasons: all of them, or none where that fails."""
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
        """Put hits by that cannot be read: as a comment of line protocol that holds their bytes. Each once."""
        comment = f"# {content.hex()}"
        self._connection.execute(
            "INSERT INTO quarantine (time, reason, count, lines) SELECT ?1, ?2, ?3, ?4 "
            "WHERE NOT EXISTS (SELECT 1 FROM quarantine WHERE lines = ?4)",
            (now, reason, count, comment),
        )

    def count(self, now: int, *, expire: bool = True) -> int:
        """Points that are put by; those that have been for seven days are removed first, unless told not to."""
        limit = now - KEPT_SECONDS * NS
        if expire and self._connection.execute("SELECT 1 FROM quarantine WHERE time < ?", (limit,)).fetchone():
            self._connection.execute("DELETE FROM quarantine WHERE time < ?", (limit,))
        return int(self._connection.execute("SELECT coalesce(sum(count), 0) FROM quarantine").fetchone()[0])

    def all(self) -> list[Refused]:
        """All that is put by, the oldest first."""
        rows = self._connection.execute("SELECT id, time, reason, lines, count FROM quarantine ORDER BY time, id")
        return [Refused(number, moment, why, lines.split("\n"), count) for number, moment, why, lines, count in rows]

    def remove(self, each: Refused) -> None:
        """Remove points, for good."""
        self._connection.execute("DELETE FROM quarantine WHERE id = ?", (each.id,))

    def refused_again(self, each: Refused, reason: str, lines: Sequence[str]) -> None:
        """Keep those of the points that are still refused, with what the server says now."""
        self._connection.execute(
            "UPDATE quarantine SET reason = ?, count = ?, lines = ? WHERE id = ?",
            (reason, len(lines), "\n".join(lines), each.id),
        )

    @property
    def notes(self) -> Notes:
        """What the shipper remembers in the same file."""
        return Notes(self._connection)


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
    from pfa_flux.hits.delivery import Delivery
    from pfa_flux.tasks.state import late_before, note_late
    from pfa_flux.windows.spec import TaskSpec

    if not settings.url:
        raise SettingsError("no InfluxDB is set", "Name it with --url or PFA_FLUX_URL.")
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
