"""Rows of each window, raw and downsampled: to make the one from the other, and to hold them together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pfa_flux import flux
from pfa_flux.engines.base import Engine, Point
from pfa_flux.engines.embedded import Embedded
from pfa_flux.errors import AccessDeniedError, BucketNotFoundError, CapabilityError
from pfa_flux.influxql import any_of, identifier, none_of
from pfa_flux.tasks.spec import TaskSpec
from pfa_flux.times import from_datetime

if TYPE_CHECKING:
    from pfa_flux.engines.server import Server


class Cell(NamedTuple):
    """Place of a downsampled row: the end of its window in nanoseconds, and the spec's tags, '' where there is none."""

    end: int
    tags: tuple[str, ...]


Sums = dict[Cell, int]


@dataclass(frozen=True, slots=True)
class Stored:
    """A downsampled row as it is stored.

    Attributes:
        time: its label, nanoseconds; the end of its window, if all is well.
        tags: all its tags.
        value: its value.
    """

    time: int
    tags: Mapping[str, str]
    value: int | float


def raw_sums(engine: Engine, spec: TaskSpec, start: int, stop: int) -> Sums:
    """What the windows of [start, stop), edges of windows in nanoseconds, are by the raw data."""
    return _summed((time, tags, value) for time, tags, value in _raw(engine, spec, start, stop, spec.tags))


def raw_totals(engine: Engine, spec: TaskSpec, start: int, stop: int) -> dict[int, int]:
    """The same without tags, by the windows' ends: much less to read."""
    return {cell.end: value for cell, value in _summed(_raw(engine, spec, start, stop, ())).items()}


def rollup_sums(engine: Engine, spec: TaskSpec, start: int, stop: int) -> Sums:
    """What the same windows are by the downsampled data. Rows with further tags add up, as in every query."""
    return sums_of(spec, stored_rows(engine, spec, start, stop))


def sums_of(spec: TaskSpec, rows: Iterable[Stored]) -> Sums:
    """Sums of stored rows by window and the spec's tags."""
    return _summed(
        (spec.ceiling(row.time), tuple(row.tags.get(tag, "") for tag in spec.tags), row.value) for row in rows
    )


def rollup_totals(engine: Engine, spec: TaskSpec, start: int, stop: int, *, whole: bool = False) -> dict[int, int]:
    """Downsampled sums by the windows' ends, without tags; `whole`: one sum over the range, under its stop."""
    # Labels are windows' ends: that of the first window comes after the start, that of the last is the stop.
    first, after = start + 1, stop + 1
    if isinstance(engine, Embedded):
        end = str(stop) if whole else f"(time + {spec.width - 1}) / {spec.width} * {spec.width}"
        sql = _SQL.format(value="sum(value)", time=end, tags="", table=engine.table(spec.rollup_bucket))
        found = engine.select(sql + " GROUP BY 2", (spec.measurement, spec.field, first, after))
        return {end: int(value) for value, end in found}
    server = _server(engine)
    source = _from(server, spec.rollup_bucket, spec.measurement)
    if source is None:
        ends = ((stop if whole else end, tags, value) for end, tags, value in _ends(engine, spec, start, stop))
        return {cell.end: value for cell, value in _summed(ends).items()}
    # 1 ns on, because InfluxQL's windows are [t, t + every) and labels are ends: (t, t + every].
    text = f"SELECT sum({identifier(spec.field)}) AS n FROM {source} WHERE time >= {first} AND time < {after}"
    if whole:
        sums = server.influxql(text, spec.rollup_bucket)
        return {stop: int(sums[0]["n"])} if sums else {}
    rows = server.influxql(f"{text} GROUP BY time({spec.every}s, 1ns) fill(none)", spec.rollup_bucket)
    return {spec.floor(int(row["time"])) + spec.width: int(row["n"]) for row in rows}


def _ends(engine: Engine, spec: TaskSpec, start: int, stop: int) -> Iterator[tuple[int, tuple[str, ...], Any]]:
    for row in stored_rows(engine, spec, start, stop):
        yield spec.ceiling(row.time), (), row.value


def stored_rows(engine: Engine, spec: TaskSpec, start: int, stop: int) -> list[Stored]:
    """The downsampled rows of the windows of [start, stop), with all their tags."""
    first, after = start + 1, stop + 1
    if isinstance(engine, Embedded):
        return [Stored(*row) for row in engine.points(spec.rollup_bucket, spec.measurement, spec.field, first, after)]
    server = _server(engine)
    source = _from(server, spec.rollup_bucket, spec.measurement)
    if source is None:
        values = {"rows": _named(spec.measurement, spec.field)}
        text = flux.bind(flux.load("queries/windows.rollup.flux"), values, server.v(spec.rollup_bucket, first, after))
        return [
            Stored(from_datetime(row["_time"]), {k: v for k, v in row.items() if k[0] != "_" and v}, row["_value"])
            for row in server.flux(text)
        ]
    text = (
        f"SELECT {identifier(spec.field)} AS _value FROM {source} WHERE time >= {first} AND time < {after} GROUP BY *"
    )
    own = {"time", "_value", "measurement"}
    return [
        Stored(int(row["time"]), {k: v for k, v in row.items() if k not in own and v}, row["_value"])
        for row in server.influxql(text, spec.rollup_bucket)
    ]


def write_sums(engine: Engine, spec: TaskSpec, sums: Sums) -> int:
    """Write windows, in order of time; a row that is there is overwritten. Returns the number of rows.

    In order of time, so that what a kill leaves unfinished lies in few windows.
    """
    return engine.write(
        spec.rollup_bucket,
        (
            Point(spec.measurement, dict(zip(spec.tags, cell.tags, strict=True)), spec.field, sums[cell], cell.end)
            for cell in sorted(sums)
        ),
    )


def newest_raw(engine: Engine, spec: TaskSpec, start: int, stop: int) -> int | None:
    """Time of the newest raw row of a range, nanoseconds; None without any."""
    return _edge(engine, _Place.raw(spec), "last", start, stop)


def oldest_raw(engine: Engine, spec: TaskSpec, stop: int) -> int | None:
    """Time of the oldest raw row before an instant, nanoseconds; None without any."""
    return _edge(engine, _Place.raw(spec), "first", 0, stop)


def oldest_rollup(engine: Engine, spec: TaskSpec, stop: int) -> int | None:
    """Label of the oldest downsampled row before an instant, nanoseconds; None without any."""
    return _edge(engine, _Place(spec.rollup_bucket, spec.measurement, spec.field), "first", 0, stop)


def has_before(engine: Engine, spec: TaskSpec, stop: int, domains: Sequence[str] = ()) -> bool:
    """There is any row of the domains (of all without any named) before an instant, raw or downsampled."""
    places = (_Place.raw(spec), _Place(spec.rollup_bucket, spec.measurement, spec.field))
    for place in places:
        try:
            if _edge(engine, place, "last", 0, stop, domains) is not None:
                return True
        except (BucketNotFoundError, AccessDeniedError):
            continue
    return False


class _Place(NamedTuple):
    """Where rows are."""

    bucket: str
    measurement: str
    field: str

    @classmethod
    def raw(cls, spec: TaskSpec) -> _Place:
        return cls(spec.raw_bucket, spec.source, spec.source_field)


def _edge(
    engine: Engine, place: _Place, pick: Literal["first", "last"], start: int, stop: int, domains: Sequence[str] = ()
) -> int | None:
    """Time of the first or last row of a range, of the domains named."""
    if isinstance(engine, Embedded):
        found = engine.select(
            f"SELECT {'min' if pick == 'first' else 'max'}(time) FROM {engine.table(place.bucket)} "
            "JOIN series ON series.id = series WHERE measurement = ? AND field = ? AND time >= ? AND time < ?"
            + (f" AND domain IN ({', '.join('?' * len(domains))})" if domains else ""),
            (place.measurement, place.field, start, stop, *domains),
        )
        return next((time for (time,) in found), None)
    server = _server(engine)
    source = _from(server, place.bucket, place.measurement)
    if source is None:
        values = {
            "rows": _named(place.measurement, place.field, domains),
            "pick": flux.Expression(pick),
            "newest": flux.literal(pick == "last"),
        }
        text = flux.bind(flux.load("queries/edge.flux"), values, server.v(place.bucket, start, stop))
        return next((from_datetime(row["_time"]) for row in server.flux(text)), None)
    where = f"time >= {start} AND time < {stop}" + (f" AND {any_of('domain', domains)}" if domains else "")
    text = f"SELECT {pick}({identifier(place.field)}) FROM {source} WHERE {where}"
    return next((int(row["time"]) for row in server.influxql(text, place.bucket)), None)


Counted = tuple[int, tuple[str, ...], Any]
"""End of a window, tags, value."""


def _raw(engine: Engine, spec: TaskSpec, start: int, stop: int, tags: tuple[str, ...]) -> Iterable[Counted]:
    if isinstance(engine, Embedded):
        return _raw_sql(engine, spec, start, stop, tags)
    server = _server(engine)
    source = _from(server, spec.raw_bucket, spec.source)
    if source is None:
        return _raw_flux(server, spec, start, stop, tags)
    # InfluxQL wherever it reaches the bucket: several times as fast as Flux by window, and right where a field's
    # type differs between shards.
    where = [f"time >= {start}", f"time < {stop}", *none_of("action", spec.excluded_actions)]
    groups = [*map(identifier, tags), f"time({spec.every}s)"]
    text = (
        f"SELECT {spec.aggregate}({identifier(spec.source_field)}) AS _value FROM {source} "
        f"WHERE {' AND '.join(where)} GROUP BY {', '.join(groups)} fill(none)"
    )
    return (
        (row["time"] + spec.width, tuple(row[tag] for tag in tags), row["_value"])
        for row in server.influxql(text, spec.raw_bucket)
    )


def _raw_flux(server: Server, spec: TaskSpec, start: int, stop: int, tags: tuple[str, ...]) -> Iterator[Counted]:
    values = {
        "rows": spec.rows(),
        # Flux refuses an empty array; all rows are of one measurement.
        "tags": flux.literal(tags or ("_measurement",)),
        "aggregate": spec.aggregate,
        "every": flux.duration(spec.every),
    }
    text = flux.bind(flux.load("queries/windows.raw.flux"), values, server.v(spec.raw_bucket, start, stop))
    for row in server.flux(text):
        yield from_datetime(row["_time"]), tuple(row.get(tag) or "" for tag in tags), row["_value"]


def _raw_sql(store: Embedded, spec: TaskSpec, start: int, stop: int, tags: tuple[str, ...]) -> Iterator[Counted]:
    columns = "".join(f", {store.tag(tag)}" for tag in tags)
    sql = _SQL.format(
        value="sum(value)" if spec.what == "hits" else "count(*)",
        time=f"(time / {spec.width} + 1) * {spec.width}",
        tags=columns,
        table=store.table(spec.raw_bucket),
    )
    if spec.excluded_actions:
        sql += f" AND action NOT IN ({', '.join('?' * len(spec.excluded_actions))})"
    groups = ", ".join(str(n + 2) for n in range(len(tags) + 1))
    parameters = (spec.source, spec.source_field, start, stop, *spec.excluded_actions)
    for value, end, *found in store.select(f"{sql} GROUP BY {groups}", parameters):
        yield end, tuple(found), value


_SQL = (
    "SELECT {value}, {time}{tags} FROM {table} JOIN series ON series.id = series "
    "WHERE measurement = ? AND field = ? AND time >= ? AND time < ?"
)


def _summed(rows: Iterable[Counted]) -> Sums:
    """Sums of rows by cell: two series with equal tags show as one, twice as large."""
    sums: Sums = {}
    for end, tags, value in rows:
        cell = Cell(end, tags)
        sums[cell] = sums.get(cell, 0) + int(value)
    return sums


def _named(measurement: str, field: str, domains: Sequence[str] = ()) -> flux.Expression:
    more = [flux.any_of("domain", domains)] if domains else []
    return flux.predicate(flux.any_of("_measurement", [measurement]), flux.any_of("_field", [field]), *more)


def _from(server: Server, bucket: str, measurement: str) -> str | None:
    """InfluxQL's source of a measurement; None where InfluxQL does not reach the bucket."""
    try:
        parts: Sequence[str] = (*server.database_of(bucket), measurement)
    except CapabilityError:
        return None
    return ".".join(map(identifier, parts))


def _server(engine: Engine) -> Server:
    from pfa_flux.engines.server import Server

    assert isinstance(engine, Server)
    return engine
