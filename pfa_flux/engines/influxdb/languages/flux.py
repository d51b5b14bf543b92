"""Flux: queries for questions, from the files in `flux/queries`, and readers for their answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from pfa_flux.engines.ask import Ask, Pattern, Rows, Stored, Sums, Where, summed
from pfa_flux.engines.base import Capabilities, Row
from pfa_flux.engines.influxdb import flux
from pfa_flux.schema import Side
from pfa_flux.times import from_datetime

_NOTHING = flux.Expression('(r) => r._measurement == "" and r._field == ""')
"""A predicate for no rows. The storage answers it from its index."""


def delta(hits: Ask | None, loads: Ask | None, dialect: str, can: Capabilities) -> str:
    """The delta query for hits and loads of the same shape, or for one side."""
    ask = hits or loads
    assert ask is not None
    values = {
        "bucket": flux.literal((hits or ask).rows.bucket),
        "loadsBucket": flux.literal((loads or ask).rows.bucket),
        "hits": predicate(hits.rows) if hits else _NOTHING,
        "loads": predicate(loads.rows) if loads else _NOTHING,
        "selected": flux.predicate(*_conditions(ask.where)),
        "keys": flux.literal(ask.tags or ("_field",)),
        "byTime": flux.literal(ask.every is not None),
        "every": flux.duration(ask.every or 1),
    }
    return flux.bind(flux.load(f"queries/blocked_ratio.{dialect}.flux"), values, _v(ask.rows, ask.start, ask.stop, can))


def read_delta(answer: Iterable[Row], hits: Ask | None, loads: Ask | None) -> tuple[Sums, Sums]:
    """Hits and loads in the answer to a delta query."""
    rows = list(answer)
    return _read(rows, hits, Side.HITS.column), _read(rows, loads, Side.LOADS.column)


def sums(ask: Ask, can: Capabilities) -> str:
    """The query for one question."""
    values = {
        "bucket": flux.literal(ask.rows.bucket),
        "rows": predicate(ask.rows, ask.where),
        # Flux refuses an empty array. All rows have the same measurement.
        "tags": flux.literal(ask.tags or ("_measurement",)),
        "aggregate": flux.Expression("count" if ask.rows.count else "sum"),
        "byTime": flux.literal(ask.every is not None),
        "every": flux.duration(ask.every or 1),
        "begun": begun(ask.rows),
    }
    return flux.bind(flux.load("queries/sums.flux"), values, _v(ask.rows, ask.start, ask.stop, can))


def begun(rows: Rows) -> flux.Expression:
    """A function that moves downsampled rows from the end of their window into the window. Raw rows stay."""
    return flux.Expression(f"(tables=<-) => tables{' |> timeShift(duration: -1ns)' if rows.every else ''}")


def read_sums(answer: Iterable[Row], ask: Ask) -> Sums:
    """The sums in the answer to a question."""
    return _read(answer, ask, "_value")


def rows(asked: Rows, start: int, stop: int, can: Capabilities) -> str:
    """The query for stored rows."""
    values = {"bucket": flux.literal(asked.bucket), "rows": predicate(asked)}
    return flux.bind(flux.load("queries/rows.flux"), values, _v(asked, start, stop, can))


def read_rows(answer: Iterable[Row]) -> list[Stored]:
    """The stored rows in an answer."""
    return [
        Stored(int(row["_ns"]), {k: v for k, v in row.items() if k[0] != "_" and v}, row["_value"]) for row in answer
    ]


def edge(asked: Rows, pick: Literal["first", "last"], start: int, stop: int, where: Where, can: Capabilities) -> str:
    """The query for the first or last row."""
    values = {
        "bucket": flux.literal(asked.bucket),
        "rows": predicate(asked, where),
        "pick": flux.Expression(pick),
        "newest": flux.literal(pick == "last"),
    }
    return flux.bind(flux.load("queries/edge.flux"), values, _v(asked, start, stop, can))


def read_time(answer: Iterable[Row]) -> int | None:
    """Time of the first row in an answer, or None."""
    return next((int(row["_ns"]) for row in answer), None)


def tag_values(asked: Rows, tag: str, start: int, stop: int, can: Capabilities) -> str:
    """The query for the values of a tag."""
    bound = {"bucket": flux.literal(asked.bucket), "rows": predicate(asked), "tag": flux.literal(tag)}
    return flux.bind(flux.load("queries/values.flux"), bound, _v(asked, start, stop, can))


def values_where(bucket: str, tag: str, has: Mapping[str, str | None], can: Capabilities) -> str:
    """The query for the values of a tag in all rows with the tags in `has`. None there means any value."""
    tests = [
        flux.Expression(f"exists r.{name}") if value is None else flux.any_of(name, [value])
        for name, value in has.items()
    ]
    bound = {"bucket": flux.literal(bucket), "rows": flux.predicate(*tests), "tag": flux.literal(tag)}
    every = Rows(bucket, "", "")
    return flux.bind(flux.load("queries/values.flux"), bound, _v(every, 0, _EVER, can))


_EVER = 2**62
"""An instant in the year 2116, nanoseconds."""


def predicate(rows: Rows, where: Where | None = None) -> flux.Expression:
    """The predicate for the rows."""
    actions = [flux.none_of("action", rows.excluded_actions)] if rows.excluded_actions else []
    return flux.predicate(
        flux.any_of("_measurement", [rows.measurement]),
        flux.any_of("_field", [rows.field]),
        *actions,
        *_conditions(where or {}),
    )


def _conditions(where: Where) -> Sequence[flux.Expression]:
    return [_is_any(column, values) for column, values in where.items() if values]


def _is_any(column: str, values: Sequence[str | Pattern]) -> flux.Expression:
    exact = [value for value in values if isinstance(value, str)]
    either = [flux.any_of(column, exact)] if exact else []
    if "" in exact:
        # When Flux filters in memory, a missing tag is not equal to "".
        either.append(flux.missing(column))
    either += [flux.matching(column, value.regex) for value in values if isinstance(value, Pattern)]
    return flux.Expression(f"({' or '.join(either)})")


def _v(rows: Rows, start: int, stop: int, can: Capabilities) -> dict[str, flux.Expression]:
    """The record `v` with the range."""
    first, after = rows.times(start, stop)
    last = after - 1 if can.range_takes_stop else after
    return {"timeRangeStart": flux.instant(first), "timeRangeStop": flux.instant(last)}


def _read(answer: Iterable[Row], ask: Ask | None, value: str) -> Sums:
    return summed(_counted(answer, ask, value)) if ask else {}


def _counted(answer: Iterable[Row], ask: Ask, value: str) -> Iterator[tuple[tuple[str, ...], int, int]]:
    for row in answer:
        number = int(row[value])
        if number:
            # `begun` has moved the time from the end of the window into the window.
            window = ask.start if ask.every is None else from_datetime(row["_time"])
            window = window if ask.every is None else window // (ask.every * 10**9) * (ask.every * 10**9)
            # Flux returns None for an empty tag.
            yield tuple([str(row.get(tag) or "") for tag in ask.tags]), window, number
