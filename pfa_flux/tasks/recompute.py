"""Putting windows together again from raw data: what backfill, repair, and pfa-flux as a runner do."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pfa_flux.engines.base import Engine, Point
from pfa_flux.engines.embedded import Embedded
from pfa_flux.engines.lineprotocol import line
from pfa_flux.errors import BusyError, PfaFluxError, QueryError, TaskError
from pfa_flux.tasks.rollup import Cell, Stored, Sums, raw_sums, stored_rows, write_sums
from pfa_flux.tasks.spans import Pieces, Span, merged
from pfa_flux.tasks.spec import TaskSpec
from pfa_flux.times import NS, format_instant

_LONGEST_PAUSE = 60.0
_PATIENCE = 600.0
"""Seconds that a busy server is waited for in all, for one piece."""

_YEAR_ONE = -62_135_596_800 * NS
"""1 January of the year 1, which shards are aligned to, as Go's time.Truncate does."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is.

    Attributes:
        done: windows that are through.
        total: windows in all.
        rows: rows written so far.
        waiting: seconds that a busy server is being waited for; 0 where it is not.
    """

    done: int
    total: int
    rows: int
    waiting: float = 0.0


Report = Callable[[Progress], None]


def recompute(engine: Engine, spec: TaskSpec, spans: Iterable[Span], *, report: Report = lambda _: None) -> int:
    """Make the windows of spans what the raw data says, and write only what is not so already.

    A window that holds a row which has no business there (other tags, an odd label, no raw rows) is emptied first, so
    that nothing counts twice. In pieces of many windows and bounded memory; done again it changes nothing.

    Args:
        engine: where raw and downsampled data are.
        spec: what the windows are.
        spans: edges of windows, nanoseconds, within what raw data is kept of.
        report: called after every piece, and while the server is busy.

    Returns:
        Number of rows written.

    Raises:
        BusyError: the server was too busy for ten minutes.
        QueryError, AccessDeniedError, UnreachableError: the server refuses or is gone; what was done stays done.
    """
    wanted = merged(spans)
    total = sum(stop - start for start, stop in wanted) // spec.width
    pieces, done, rows = Pieces(wanted, spec.width), 0, 0
    for low, high in pieces:

        def waiting(seconds: float, done: int = done, rows: int = rows) -> None:
            report(Progress(done, total, rows, seconds))

        read, written = _patiently(engine, spec, (low, high), waiting)
        pieces.had(read)
        done, rows = done + (high - low) // spec.width, rows + written
        report(Progress(done, total, rows))
    return rows


def _piece(engine: Engine, spec: TaskSpec, start: int, stop: int) -> tuple[int, int]:
    """Recompute one piece. Returns the rows that were read and those that were written."""
    raw = raw_sums(engine, spec, start, stop)
    there = stored_rows(engine, spec, start, stop)
    stale = {spec.ceiling(row.time) for row in there if not _belongs(spec, row, raw)}
    for low, high in merged((end - spec.width, end) for end in stale):
        engine.delete(spec.rollup_bucket, spec.measurement, low + 1, high + 1)
    right = {_cell(spec, row) for row in there if row.value == raw.get(_cell(spec, row))}
    todo = {cell: value for cell, value in raw.items() if cell not in right or cell.end in stale}
    try:
        written = write_sums(engine, spec, todo)
    except QueryError as error:
        if "field type conflict" not in error.message:
            raise
        _retype(engine, spec, start, stop)
        written = write_sums(engine, spec, todo)
    return max(len(raw), len(there)), written


def _cell(spec: TaskSpec, row: Stored) -> Cell:
    return Cell(row.time, tuple(row.tags.get(tag, "") for tag in spec.tags))


def _belongs(spec: TaskSpec, row: Stored, raw: Sums) -> bool:
    """The row has the place of one that the raw data makes, whatever its value."""
    return row.tags.keys() <= set(spec.tags) and _cell(spec, row) in raw and isinstance(row.value, int)


def _patiently(engine: Engine, spec: TaskSpec, piece: Span, waiting: Callable[[float], None]) -> tuple[int, int]:
    """Recompute a piece, again and again while the server is too busy, with pauses as long as it asks for."""
    pause, waited = 1.0, 0.0
    while True:
        try:
            return _piece(engine, spec, *piece)
        except BusyError as error:
            seconds = min(error.retry_after or pause, _LONGEST_PAUSE)
            if waited + seconds > _PATIENCE:
                raise
            waiting(seconds)
            time.sleep(seconds)
            pause, waited = pause * 2, waited + seconds


def _retype(engine: Engine, spec: TaskSpec, start: int, stop: int) -> None:
    """Turn the shards of a range from floats to integers: within a shard a field has one type, until it has no row.

    Raises:
        TaskError: a value is no whole number.
    """
    assert not isinstance(engine, Embedded)
    width = engine.shard_width(spec.rollup_bucket)  # type: ignore[attr-defined]
    low = (start + 1 - _YEAR_ONE) // width * width + _YEAR_ONE
    while low <= stop:
        rows = stored_rows(engine, spec, low - 1, low + width - 1)
        odd = next((row for row in rows if row.value != int(row.value)), None)
        if odd is not None:
            raise TaskError(
                f"the row at {format_instant(odd.time)} is {odd.value}, no whole number, and keeps "
                f"{spec.field!r} from being an integer",
                "It is none of ours: remove it, or name another rollup bucket.",
            )
        _rewrite(engine, spec, low, low + width, rows)
        low += width


def _rewrite(engine: Engine, spec: TaskSpec, start: int, stop: int, rows: list[Stored]) -> None:
    """Remove the rows of [start, stop) and write them anew as integers. In between they lie in a file.

    Raises:
        TaskError: they could not be written again; names the file.
    """
    points = [Point(spec.measurement, row.tags, spec.field, int(row.value), row.time) for row in rows]
    with tempfile.NamedTemporaryFile("w", prefix="pfa-flux-rows-", suffix=".lp", delete=False) as file:
        file.writelines(f"{line(point)}\n" for point in points)
    try:
        engine.delete(spec.rollup_bucket, spec.measurement, start, stop)
        engine.write(spec.rollup_bucket, points)
    except PfaFluxError as error:
        raise TaskError(
            f"rows of {format_instant(start)} to {format_instant(stop)} could not be written again: {error.message}",
            f"They are in {file.name}, as line protocol: write them to {spec.rollup_bucket} when the server is well.",
        ) from error
    Path(file.name).unlink()
