"""Proofs of downsampled rows, and the sums of proved days.

A day (UTC) is proved up to an instant: before it, the downsampled rows match the raw rows. A transaction that writes or
removes rows also takes the proof back to the time of these rows. The table `day` has the sums of each day that is
proved to its end, and they answer long ranges.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from pfa_flux.engines.ask import Windows
from pfa_flux.engines.base import Span
from pfa_flux.times import NS

HOUR = 3600 * NS
DAY = 24 * HOUR

_BACK = """
UPDATE proved SET upto = max(day, ?1)
WHERE day >= ?2 AND day < ?3 AND {column} = ?4 AND upto > ?1
"""
BACK_FOR_HITS = "UPDATE proved SET upto = ?1 WHERE day = ?1 / 86400000000000 * 86400000000000 AND upto > ?1"
"""Takes back the proofs of a day from the time of a raw row, whatever its measurement. For the pixel's journal."""


def take_back(connection: sqlite3.Connection, table: str, measurement: str, start: int, stop: int) -> None:
    """Take back the proofs of rows that changed, with stored times in [start, stop)."""
    if table == "raw":
        # Proofs of expired raw rows stay: those rows were compared before they were removed.
        start = max(start, purged_until(connection))
        column = "source"
    else:
        # The time of a downsampled row is the end of its window.
        start, stop, column = start - 1, stop - 1, "measurement"
    connection.execute(_BACK.format(column=column), (start, start // DAY * DAY, stop, measurement))


def purged_until(connection: sqlite3.Connection) -> int:
    """Instant before which raw rows were removed, nanoseconds. 0 if none were."""
    row = connection.execute("SELECT until FROM purged WHERE bucket = 'raw'").fetchone()
    return row[0] if row else 0


class Changes:
    """The rows of a transaction: for each measurement and day, the time of the earliest."""

    def __init__(self, table: str) -> None:
        self._table = table
        # A downsampled row with the time midnight belongs to the day before.
        self._shift = int(table == "rollup")
        self._first: dict[tuple[str, int], int] = {}

    def add(self, measurement: str, time: int) -> None:
        """Note a row."""
        place = measurement, (time - self._shift) // DAY
        if time < self._first.get(place, time + 1):
            self._first[place] = time

    def apply(self, connection: sqlite3.Connection) -> None:
        """Take back the proofs of these rows."""
        for (measurement, day), time in self._first.items():
            take_back(connection, self._table, measurement, time, (day + 1) * DAY)


def prove(connection: sqlite3.Connection, windows: Windows, span: Span, sums: Mapping[int, Sequence[DayRow]]) -> None:
    """Store the proof of a span, and the sums of days that are now complete.

    For each day, the span must continue where the proof of the day ends. Otherwise that day does not change.

    Args:
        connection: connection in a transaction.
        windows: which rows.
        span: range of whole windows, nanoseconds.
        sums: rows of the table `day`, by day.
    """
    for day in range(span[0] // DAY * DAY, span[1], DAY):
        low, high = max(day, span[0]), min(day + DAY, span[1])
        stored = connection.execute(
            "SELECT upto FROM proved WHERE day = ? AND measurement = ? AND windows = ?",
            (day, windows.rollup.measurement, windows.key),
        ).fetchone()
        if not low <= (stored[0] if stored else day) < high:
            continue
        connection.execute(
            "INSERT OR REPLACE INTO proved VALUES (?, ?, ?, ?, ?, ?)",
            (day, windows.rollup.measurement, windows.raw.measurement, windows.key, windows.width, high),
        )
        if high == day + DAY:
            replace_day(connection, windows, day, sums.get(day, ()))


_OF_DAY = "FROM day WHERE day = ? AND series IN (SELECT id FROM series WHERE measurement = ? AND field = ?)"
DAY_ROWS = f"SELECT day, series, n, hours, windows {_OF_DAY}"


def replace_day(connection: sqlite3.Connection, windows: Windows, day: int, rows: Sequence[DayRow]) -> None:
    """Replace the sums of a day."""
    connection.execute(f"DELETE {_OF_DAY}", (day, windows.rollup.measurement, windows.rollup.field))
    connection.executemany("INSERT INTO day VALUES (?, ?, ?, ?, ?)", rows)


DayRow = tuple[int, int, int, str | None, str]
"""A row of the table `day`."""


def day_rows(rows: Iterable[tuple[int, int, int]], windows: Windows) -> dict[int, list[DayRow]]:
    """Rows of the table `day`, by day, from downsampled rows (series, time, value).

    Empty if a day does not consist of whole windows.
    """
    rows_of: dict[int, list[DayRow]] = {}
    if DAY % windows.width:
        return rows_of
    count = DAY // windows.width
    by_day: dict[tuple[int, int], list[int]] = {}
    for series, time, value in rows:
        day, within = divmod(time - 1, DAY)
        values = by_day.setdefault((day * DAY, series), [0] * count)
        values[within // windows.width] += int(value)
    per_hour = HOUR // windows.width if HOUR % windows.width == 0 else 0
    for (day, series), values in by_day.items():
        if any(values):
            hours = [sum(values[n : n + per_hour]) for n in range(0, count, per_hour)] if per_hour else []
            row = day, series, sum(values), _run(hours) if hours else None, _run(values)
            rows_of.setdefault(day, []).append(row)
    return rows_of


def _run(values: Sequence[int]) -> str:
    """JSON with the index of the first value that is not 0, then the values from it to the last that is not 0."""
    filled = [number for number, value in enumerate(values) if value]
    return json.dumps([filled[0], *values[filled[0] : filled[-1] + 1]], separators=(",", ":"))
