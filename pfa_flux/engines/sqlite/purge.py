"""Removing raw rows for good: those that downsampled windows hold, and those that came too late for that."""

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
    """Rows of a measurement, field and action: their number, the sum of their values, the time of the first."""

    measurement: str
    field: str
    action: str
    rows: int
    total: float
    first: int


def census(store: Embedded, table: str, measurements: Sequence[str], start: int, stop: int) -> list[Counted]:
    """Count rows of measurements in another way than the one in which they are compared with downsampled rows."""
    sql = (
        f"SELECT measurement, field, action, count(*), total(value), min(time) FROM {table} JOIN series ON id = series "
        f"WHERE time >= ? AND time < ? AND measurement IN ({', '.join('?' * len(measurements))}) GROUP BY 1, 2, 3"
    )
    return [Counted(*row) for row in store.select(sql, (start, stop, *measurements))]


def remove_rows(
    store: Embedded, table: str, measurements: Sequence[str], until: int, proved: Sequence[Windows], at_once: int
) -> int:
    """Remove the oldest rows before an instant, in one transaction. Returns their number.

    `purged` follows what is removed, row by row: it never promises more than that, wherever a kill falls. With the last
    rows it goes on to the end of their window, so that whatever arrives there later is known to be late.
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
            # Whoever writes to a window takes its proof back, so it is as it was when it was compared.
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
    """After a removal that was broken off within a window: where rows came into it since, what is left is all late."""
    with store.transaction() as connection:
        until, width = purged_until(connection), proved[0].width
        edge = -(-until // width) * width
        if until < edge and any(store.unproved(windows, (edge - width, edge)) for windows in proved):
            note_removed(connection, table, edge)


def count_late(store: Embedded, rows: Rows) -> int:
    """Rows before the instant up to which rows were removed."""
    table = store.table(rows.bucket)
    condition, parameters = series_condition(rows, {})
    sql = (
        f"SELECT count(*) FROM {table} WHERE time < (SELECT until FROM purged WHERE bucket = ?) "
        f"AND series IN (SELECT id FROM series WHERE {condition})"
    )
    return sum(count for (count,) in store.select(sql, (table, *parameters)))


def drop_late(store: Embedded, rows: Rows, until: int, now: int, *, at_once: int = 2000) -> int:
    """Remove them, as far as they are before an instant too, and count them in the same transactions.

    Returns the number of those that are page views, which `Embedded.uncounted` tells of.
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
    """Remove numbers of prefetches before an instant, a few in each transaction."""
    oldest = f"SELECT time FROM {PREFETCHES} WHERE time < ? ORDER BY time LIMIT ?"
    sql = f"DELETE FROM {PREFETCHES} WHERE time <= (SELECT max(time) FROM ({oldest}))"
    removed = at_once
    while removed >= at_once:
        with store.transaction() as connection:
            connection.execute("PRAGMA secure_delete = ON")
            removed = connection.execute(sql, (until, at_once)).rowcount


def note_removed(connection: sqlite3.Connection, table: str, until: int) -> None:
    """Note up to which instant rows are gone."""
    sql = "INSERT INTO purged VALUES (?1, ?2) ON CONFLICT DO UPDATE SET until = max(until, ?2)"
    connection.execute(sql, (table, until))
