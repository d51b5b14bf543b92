"""Turning a field from floats to integers: within a shard it has one type until it has no row."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pfa_flux.engines.ask import Rows, Stored
from pfa_flux.engines.base import Point
from pfa_flux.engines.influxdb.lineprotocol import line
from pfa_flux.errors import CapabilityError, PfaFluxError, TaskError
from pfa_flux.times import NS, format_instant

if TYPE_CHECKING:
    from pfa_flux.engines.influxdb.server import Server

_YEAR_ONE = -62_135_596_800 * NS
"""1 January of the year 1, which shards are aligned to, as Go's time.Truncate does."""


def shard_start(time: int, width: int) -> int:
    """Start of the shard of a width that a time lies in, nanoseconds."""
    return (time - _YEAR_ONE) // width * width + _YEAR_ONE


def make_integers(server: Server, rows: Rows, start: int, stop: int) -> None:
    """Make integers of the values of all rows in the shards that [start, stop) lies in.

    Raises:
        TaskError: a value is no whole number.
    """
    width = server.shard_width(rows.bucket)
    first, after = rows.times(start, stop)
    low = shard_start(first, width)
    while low < after:
        # A shard holds times; the windows that rows with these times are of begin earlier.
        begin = low - rows.shift
        stored = server.rows(rows, begin, begin + width)
        odd = next((row for row in stored if row.value != int(row.value)), None)
        if odd is not None:
            raise TaskError(
                f"the row at {format_instant(odd.time)} is {odd.value}, no whole number, and keeps "
                f"{rows.field!r} from being an integer",
                "It is none of ours: remove it, or name another rollup bucket.",
            )
        _rewrite(server, rows, begin, begin + width, stored)
        low += width


def _rewrite(server: Server, rows: Rows, start: int, stop: int, stored: Sequence[Stored]) -> None:
    """Remove the rows of [start, stop) and write them anew as integers. In between they lie in a file.

    Raises:
        CapabilityError: nothing can be removed. TaskError: they could not be written again; names the file.
    """
    points = [Point(rows.measurement, row.tags, rows.field, int(row.value), row.time) for row in stored]
    with tempfile.NamedTemporaryFile("w", prefix="pfa-flux-rows-", suffix=".lp", delete=False) as file:
        file.writelines(f"{line(point)}\n" for point in points)
    try:
        server.delete(rows, start, stop)
        server.write(rows.bucket, points)
    except CapabilityError:
        # Nothing was removed.
        Path(file.name).unlink()
        raise
    except PfaFluxError as error:
        raise TaskError(
            f"rows of {format_instant(start)} to {format_instant(stop)} could not be written again: {error.message}",
            f"They are in {file.name}, as line protocol: write them to {rows.bucket} when the server is well.",
        ) from error
    Path(file.name).unlink()
