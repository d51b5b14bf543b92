"""Turn a field from floats into integers. In a shard, a field keeps its type as long as it has a row."""

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
"""1 January of the year 1. Shards are aligned to it, because Go's time.Truncate is."""


def shard_start(time: int, width: int) -> int:
    """Start of the shard with a time, nanoseconds."""
    return (time - _YEAR_ONE) // width * width + _YEAR_ONE


def make_integers(server: Server, rows: Rows, start: int, stop: int) -> None:
    """Turn all values in the shards of [start, stop) into integers.

    Raises:
        TaskError: a value is not a whole number.
    """
    width = server.shard_width(rows.bucket)
    first, after = rows.times(start, stop)
    low = shard_start(first, width)
    while low < after:
        # A shard is a range of row times. The windows of these rows begin earlier.
        begin = low - rows.shift
        stored = server.rows(rows, begin, begin + width)
        odd = next((row for row in stored if row.value != int(row.value)), None)
        if odd is not None:
            raise TaskError(
                f"the row at {format_instant(odd.time)} has the value {odd.value}, which is not a whole number, so "
                f"{rows.field!r} cannot be an integer",
                "Another program wrote this row. Remove it, or set another rollup bucket.",
            )
        _rewrite(server, rows, begin, begin + width, stored)
        low += width


def _rewrite(server: Server, rows: Rows, start: int, stop: int, stored: Sequence[Stored]) -> None:
    """Remove the rows of [start, stop) and write them again as integers. A file keeps them until then.

    Raises:
        CapabilityError: the server cannot remove rows.
        TaskError: the rows could not be written again. The error names the file.
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
            f"the rows from {format_instant(start)} to {format_instant(stop)} could not be written again: "
            f"{error.message}",
            f"They are in {file.name}, as line protocol. Write them to {rows.bucket} when the server works again.",
        ) from error
    Path(file.name).unlink()
