"""What is proved of downsampled rows, and the sums of days that are made from them.

A day (UTC) is proved up to an instant: until then its downsampled rows are what the raw rows say. Whatever is written
or removed later takes the proof back in the same transaction. A day that is proved to its end has its sums in `day`,
from which long ranges are answered.
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
"""Takes back what was proved of a day after the time of a raw row, whosever it is. For the pixel's journal."""


def take_back(connection: sqlite3.Connection, table: str, measurement: str, start: int, stop: int) -> None:
    """Take back what was proved of rows of [start, stop), which have changed; of downsampled ones, by their labels."""
    if table == "raw":
        # What has expired was proved before, and says nothing any more.
        start = max(start, purged_until(connection))
        column = "source"
    else:
        # The label of a downsampled row is the end of its window, which begins before it.
        start, stop, column = start - 1, stop - 1, "measurement"
    connection.execute(_BACK.format(column=column), (start, start // DAY * DAY, stop, measurement))


def purged_until(connection: sqlite3.Connection) -> int:
    """Instant before which raw rows were removed, nanoseconds."""
    found = connection.execute("SELECT until FROM purged WHERE bucket = 'raw'").fetchone()
    return found[0] if found else 0


class Changes:
    """Rows that a transaction writes: of each measurement and day the earliest."""

    def __init__(self, table: str) -> None:
        self._table = table
        # A downsampled row that is labelled with midnight belongs to the day before.
        self._shift = int(table == "rollup")
        self._first: dict[tuple[str, int], int] = {}

    def add(self, measurement: str, time: int) -> None:
        """A row."""
        place = measurement, (time - self._shift) // DAY
        if time < self._first.get(place, time + 1):
            self._first[place] = time

    def apply(self, connection: sqlite3.Connection) -> None:
        """Take back what was proved of them."""
        for (measurement, day), time in self._first.items():
            take_back(connection, self._table, measurement, time, (day + 1) * DAY)


def prove(connection: sqlite3.Connection, windows: Windows, span: Span, sums: Mapping[int, Sequence[DayRow]]) -> None:
    """Note that a span is proved, as far as it goes on where the proof of a day ends; with the sums of whole days.

    Args:
        connection: within a transaction.
        windows: which rows.
        span: edges of windows, nanoseconds.
        sums: rows of the table `day`, by day.
    """
    for day in range(span[0] // DAY * DAY, span[1], DAY):
        low, high = max(day, span[0]), min(day + DAY, span[1])
        there = connection.execute(
            "SELECT upto FROM proved WHERE day = ? AND measurement = ? AND windows = ?",
            (day, windows.rollup.measurement, windows.key),
        ).fetchone()
        if not low <= (there[0] if there else day) < high:
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
    """Put other sums in place of a day's."""
    connection.execute(f"DELETE {_OF_DAY}", (day, windows.rollup.measurement, windows.rollup.field))
    connection.executemany("INSERT INTO day VALUES (?, ?, ?, ?, ?)", rows)


DayRow = tuple[int, int, int, str | None, str]
"""A row of the table `day`."""


def day_rows(rows: Iterable[tuple[int, int, int]], windows: Windows) -> dict[int, list[DayRow]]:
    """Rows of the table `day` by day, of downsampled rows (series, time, value); none where windows make up no day."""
    found: dict[int, list[DayRow]] = {}
    if DAY % windows.width:
        return found
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
            found.setdefault(day, []).append(row)
    return found


def _run(values: Sequence[int]) -> str:
    """The number of the first value that is not 0, and the values from there to the last such, as JSON."""
    filled = [number for number, value in enumerate(values) if value]
    return json.dumps([filled[0], *values[filled[0] : filled[-1] + 1]], separators=(",", ":"))
