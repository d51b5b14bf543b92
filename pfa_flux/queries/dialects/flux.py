"""The blocked ratio's counts in Flux, by `join` or by `union`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pfa_flux import flux
from pfa_flux.engines.base import Row
from pfa_flux.engines.server import Server
from pfa_flux.queries.selection import Cell, Counts, Selection, add
from pfa_flux.schema import Schema
from pfa_flux.times import from_datetime


def counts(dialect: str, server: Server, bucket: str, schema: Schema, selection: Selection) -> Counts:
    """Counts from a raw bucket. `dialect` is `join` or `union`.

    Raises:
        QueryError: the server refuses the query.
    """
    values = _values(schema, selection)
    v = server.v(bucket, selection.start, selection.stop)
    text = flux.bind(flux.load(f"queries/blocked_ratio.{dialect}.flux"), values, v)
    return _read(server.flux(text), selection)


def _values(schema: Schema, selection: Selection) -> dict[str, flux.Expression]:
    return {
        "hits": _of(schema.hits_measurement, schema.hits_field) if selection.has("hits") else _NOTHING,
        "loads": _of(schema.loads_measurement, schema.loads_field, flux.none_of("action", schema.excluded_actions))
        if selection.has("js")
        else _NOTHING,
        "selected": flux.predicate(*_filters(selection)),
        "keys": flux.literal(selection.keys),
        "byTime": flux.literal(selection.every is not None),
        "every": flux.duration(selection.every or 1),
    }


def _of(measurement: str, field: str, *more: flux.Expression) -> flux.Expression:
    return flux.predicate(flux.any_of("_measurement", [measurement]), flux.any_of("_field", [field]), *more)


_NOTHING = flux.Expression('(r) => r._measurement == "" and r._field == ""')
"""No row has an empty measurement, and the storage knows that without looking."""


def _filters(selection: Selection) -> list[flux.Expression]:
    pairs = (("domain", selection.domains), ("page", selection.pages))
    return [flux.any_of(column, values) for column, values in pairs if values]


def _read(rows: Iterable[Row], selection: Selection) -> Counts:
    """Counts of a query's rows. An empty tag comes back as None from either dialect."""
    found: Counts = {}
    for row in rows:
        window = selection.window_of(_time(row)) if selection.every else 0
        page = str(row.get("page") or "") if selection.by_page else ""
        add(found, Cell(window, str(row.get("domain") or ""), page), int(row["hits"]), int(row["js"]))
    return found


def _time(row: Row) -> int:
    value: Any = row["_time"]
    return from_datetime(value)
