"""Remove raw rows: those that downsampled windows include, and late rows of windows that are already removed."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pfa_flux.engines.ask import Rows, Windows
from pfa_flux.engines.sqlite.proofs import purged_until
from pfa_flux.engines.sqlite.schema import PREFETCHES
from pfa_flux.engines.sqlite.targets import series_condition

if TYPE_CHECKING:
    from pfa_flux.engines.sqlite.engine import Embedded


class Counted(NamedTuple):
    """Rows of a measurement, field and action: their number, the sum of their values, and the time of the first."""

    measurement: str
    field: str
    action: str
    rows: int
    total: float
    first: int


def census(store: Embedded, table: str, measurements: Sequence[str], start: int, stop: int) -> list[Counted]:
    """Count rows of measurements, independently of the comparison with downsampled rows."""
    sql = (
        f"SELECT measurement, field, action, count(*), total(value), min(time) FROM {table} JOIN series ON id = series "
        f"WHERE time >= ? AND time < ? AND measurement IN ({', '.join('?' * len(measurements))}) GROUP BY 1, 2, 3"
    )
    return [Counted(*row) for row in store.select(sql, (start, stop, *measurements))]


def remove_rows(
    store: Embedded, table: str, measurements: Sequence[str], until: int, proved: Sequence[Windows], at_once: int
) -> int:
    """Remove the oldest rows before an instant, in one transaction. Returns their number.

    `purged` advances only with removed rows, so a kill at any moment leaves it right. After the last rows it advances
    to the end of their window, so that rows that arrive there later are known to be late.
    """
    names = ", ".join("?" * len(measurements))
    with store.transaction() as connection:
        connection.execute("PRAGMA secure_delete = ON")
        sql = (
            f"SELECT time FROM {table} JOIN series ON id = series "
            f"WHERE time >= ? AND time < ? AND measurement IN ({names}) ORDER BY time LIMIT ?"
        )
        times = connection.execute(sql, (purged_until(connection), until, *measurements, at_once)).fetchall()
        if not times:
            return 0
        (first,), (last,) = times[0], times[-1]
        for windows in proved:
            # A write to a window takes its proof back. So a proved window has not changed since it was compared.
            width = windows.width
            if store.unproved(windows, (first // width * width, (last // width + 1) * width)):
                return 0
        connection.execute(
            f"DELETE FROM {table} WHERE time >= ? AND time <= ? AND series IN "
            f"(SELECT id FROM series WHERE measurement IN ({names}))",
            (first, last, *measurements),
        )
        (removed,) = connection.execute("SELECT changes()").fetchone()
        stop = last + 1
        if len(times) < at_once and proved:
            stop = min(until, (last // proved[0].width + 1) * proved[0].width)
        note_removed(connection, table, stop)
    return int(removed)


def close_window(store: Embedded, table: str, proved: Sequence[Windows]) -> None:
    """Finish a removal that was interrupted in a window. If the window changed since, its remaining rows are late."""
    with store.transaction() as connection:
        until, width = purged_until(connection), proved[0].width
        edge = -(-until // width) * width
        if until < edge and any(store.unproved(windows, (edge - width, edge)) for windows in proved):
            note_removed(connection, table, edge)


def count_late(store: Embedded, rows: Rows) -> int:
    """How many rows are older than the instant up to which rows were removed."""
    table = store.table(rows.bucket)
    condition, parameters = series_condition(rows, {})
    sql = (
        f"SELECT count(*) FROM {table} WHERE time < (SELECT until FROM purged WHERE bucket = ?) "
        f"AND series IN (SELECT id FROM series WHERE {condition})"
    )
    return sum(count for (count,) in store.select(sql, (table, *parameters)))


def drop_late(store: Embedded, rows: Rows, until: int, now: int, *, at_once: int = 2000) -> int:
    """Remove late rows before an instant, and count them in the same transactions.

    Returns the number of page views among them, which `Embedded.uncounted` reports.
    """
    table = store.table(rows.bucket)
    condition, parameters = series_condition(rows, {})
    of_measurement = "series IN (SELECT id FROM series WHERE measurement = ?)"
    dropped = 0
    while True:
        with store.transaction() as connection:
            connection.execute("PRAGMA secure_delete = ON")
            stop = min(until, purged_until(connection))
            sql = f"SELECT time FROM {table} WHERE time < ? AND {of_measurement} ORDER BY time LIMIT ?"
            times = connection.execute(sql, (stop, rows.measurement, at_once)).fetchall()
            if not times:
                return dropped
            (last,) = times[-1]
            sql = (
                f"SELECT count(*) FROM {table} WHERE time <= ? AND series IN (SELECT id FROM series WHERE {condition})"
            )
            (count,) = connection.execute(sql, (last, *parameters)).fetchone()
            connection.execute(f"DELETE FROM {table} WHERE time <= ? AND {of_measurement}", (last, rows.measurement))
            if count:
                connection.execute(
                    "INSERT INTO dropped VALUES (?, ?, ?, ?) "
                    "ON CONFLICT DO UPDATE SET n = n + excluded.n, at = excluded.at",
                    (table, rows.measurement, count, now),
                )
        dropped += count


def remove_prefetches(store: Embedded, until: int, *, at_once: int = 2000) -> None:
    """Remove the rows of prefetches before an instant, some in each transaction."""
    oldest = f"SELECT time FROM {PREFETCHES} WHERE time < ? ORDER BY time LIMIT ?"
    sql = f"DELETE FROM {PREFETCHES} WHERE time <= (SELECT max(time) FROM ({oldest}))"
    removed = at_once
    while removed >= at_once:
        with store.transaction() as connection:
            connection.execute("PRAGMA secure_delete = ON")
            removed = connection.execute(sql, (until, at_once)).rowcount


def note_removed(connection: sqlite3.Connection, table: str, until: int) -> None:
    """Store the instant up to which rows were removed."""
    sql = "INSERT INTO purged VALUES (?1, ?2) ON CONFLICT DO UPDATE SET until = max(until, ?2)"
    connection.execute(sql, (table, until))
