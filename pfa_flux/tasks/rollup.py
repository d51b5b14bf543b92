"""Hits per window of 15 minutes, raw and downsampled, to make the one from the other and to hold them together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pfa_flux import flux
from pfa_flux.engines.base import Engine, Point
from pfa_flux.engines.embedded import Embedded
from pfa_flux.influxql import identifier
from pfa_flux.schema import ROLLUP_TAGS, WINDOW_SECONDS
from pfa_flux.tasks.spec import TaskSpec
from pfa_flux.times import NS, from_datetime

if TYPE_CHECKING:
    from pfa_flux.engines.server import Server

WINDOW = WINDOW_SECONDS * NS
"""Width of a window in nanoseconds."""


class RollupKey(NamedTuple):
    """Place of a downsampled row: the end of its window in nanoseconds, and its tags, '' where there is none."""

    window_end: int
    domain: str
    page: str
    scheme: str


Sums = dict[RollupKey, int]


def window_end(instant: int) -> int:
    """End of the last window that is closed at an instant, nanoseconds."""
    return instant // WINDOW * WINDOW


def raw_sums(engine: Engine, spec: TaskSpec, start: int, stop: int) -> Sums:
    """Hits per window and tags from raw data. `start`, `stop`: edges of windows, nanoseconds."""
    names = (spec.schema.hits_measurement, spec.schema.hits_field)
    if isinstance(engine, Embedded):
        sql = _SQL.format(time=f"(time / {WINDOW} + 1) * {WINDOW}", table=engine.table(spec.raw_bucket))
        return _summed(engine.select(sql, (*names, start, stop)))
    return _summed(_flux_rows(engine, "raw", spec.raw_bucket, names, start, stop))


def rollup_sums(engine: Engine, spec: TaskSpec, start: int, stop: int) -> Sums:
    """Hits per window and tags from downsampled data, of the same windows as `raw_sums` gives."""
    names = (spec.schema.rollup_hits_measurement, spec.schema.rollup_hits_field)
    # Labels are windows' ends: that of the first window comes after the start, that of the last is the stop.
    first, after = start + 1, stop + 1
    if isinstance(engine, Embedded):
        sql = _SQL.format(time="time", table=engine.table(spec.rollup_bucket))
        return _summed(engine.select(sql, (*names, first, after)))
    return _summed(_flux_rows(engine, "rollup", spec.rollup_bucket, names, first, after))


def newest_hit(engine: Engine, spec: TaskSpec, start: int, stop: int) -> int | None:
    """Time of the newest raw hit of a range, nanoseconds; None without any."""
    names = (spec.schema.hits_measurement, spec.schema.hits_field)
    if isinstance(engine, Embedded):
        sql = (
            f"SELECT max(time) FROM {engine.table(spec.raw_bucket)} JOIN series ON series.id = series "
            "WHERE measurement = ? AND field = ? AND time >= ? AND time < ?"
        )
        return next((time for (time,) in engine.select(sql, (*names, start, stop))), None)
    server = _server(engine)
    if engine.capabilities.flux:
        rows = server.flux(_bound("queries/newest_hit.flux", names, server.v(spec.raw_bucket, start, stop)))
        return next((from_datetime(row["_time"]) for row in rows), None)
    where = f"time >= {start} AND time < {stop}"
    text = f"SELECT last({identifier(names[1])}) FROM {identifier(names[0])} WHERE {where}"
    return next((int(row["time"]) for row in server.influxql(text, spec.raw_bucket)), None)


def rollup_point(spec: TaskSpec, key: RollupKey, hits: int) -> Point:
    """The downsampled row as a point, labelled by the window's end."""
    tags = dict(zip(ROLLUP_TAGS, key[1:], strict=True))
    return Point(spec.schema.rollup_hits_measurement, tags, spec.schema.rollup_hits_field, hits, key.window_end)


_SQL = (
    "SELECT {time}, domain, page, scheme, sum(value) FROM {table} JOIN series ON series.id = series "
    "WHERE measurement = ? AND field = ? AND time >= ? AND time < ? GROUP BY 1, 2, 3, 4"
)


def _summed(rows: Iterable[Sequence[Any]]) -> Sums:
    """Sums of rows by key: two series with equal tags show as one, twice as large."""
    sums: Sums = {}
    for time, domain, page, scheme, hits in rows:
        key = RollupKey(time, domain or "", page or "", scheme or "")
        sums[key] = sums.get(key, 0) + int(hits)
    return sums


def _flux_rows(
    engine: Engine, kind: str, bucket: str, names: tuple[str, str], start: int, stop: int
) -> Iterable[Sequence[Any]]:
    server = _server(engine)
    text = _bound(f"queries/hits_by_window.{kind}.flux", names, server.v(bucket, start, stop))
    for row in server.flux(text):
        yield from_datetime(row["_time"]), *(row.get(tag) for tag in ROLLUP_TAGS), row["_value"]


def _bound(name: str, names: tuple[str, str], v: Mapping[str, flux.Expression]) -> str:
    hits = flux.predicate(flux.any_of("_measurement", names[:1]), flux.any_of("_field", names[1:]))
    return flux.bind(flux.load(name), {"hits": hits}, v)


def _server(engine: Engine) -> Server:
    from pfa_flux.engines.server import Server

    assert isinstance(engine, Server)
    return engine
