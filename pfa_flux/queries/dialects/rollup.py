"""Counts from downsampled data, one side at a time, in the fastest language at hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pfa_flux import flux
from pfa_flux.engines.base import Engine
from pfa_flux.engines.embedded import Embedded
from pfa_flux.errors import CapabilityError
from pfa_flux.influxql import any_of, identifier
from pfa_flux.queries.selection import Cell, Counts, Selection, add
from pfa_flux.tasks.spec import TaskSpec
from pfa_flux.times import NS, from_datetime

if TYPE_CHECKING:
    from pfa_flux.engines.server import Server

# A window is labelled by its end, so that the labels of [start, stop) are (start, stop]: all is moved by 1 ns.


def counts(engine: Engine, specs: tuple[TaskSpec, TaskSpec], selection: Selection) -> Counts:
    """Counts of the windows of a selection, whose start and stop are edges of windows.

    Args:
        engine: where they are.
        specs: of hits, and of page loads.
        selection: which; the sides it does not ask for are 0.

    Raises:
        BucketNotFoundError, AccessDeniedError, QueryError, StoreError: the engine refuses.
    """
    found: Counts = {}
    for spec in specs:
        if selection.has("hits" if spec.what == "hits" else "js"):
            for cell, value in _side(engine, spec, selection):
                add(found, cell, *((value, 0) if spec.what == "hits" else (0, value)))
    return found


def _side(engine: Engine, spec: TaskSpec, selection: Selection) -> Iterator[tuple[Cell, int]]:
    if isinstance(engine, Embedded):
        return _sql(engine, spec, selection)
    from pfa_flux.engines.server import Server

    assert isinstance(engine, Server)
    try:
        source = ".".join(map(identifier, (*engine.database_of(spec.rollup_bucket), spec.measurement)))
    except CapabilityError:
        return _flux(engine, spec, selection)
    return _influxql(engine, spec, selection, source)


def _influxql(server: Server, spec: TaskSpec, selection: Selection, source: str) -> Iterator[tuple[Cell, int]]:
    where = [f"time > {selection.start}", f"time <= {selection.stop}"]
    for column, values in (("domain", selection.domains), ("page", selection.pages)):
        if values:
            where.append(any_of(column, values))
    groups = [identifier(key) for key in selection.keys]
    if selection.every:
        groups.append(f"time({selection.every}s, 1ns)")
    text = (
        f"SELECT sum({identifier(spec.field)}) AS n FROM {source} WHERE {' AND '.join(where)} "
        f"GROUP BY {', '.join(groups)} fill(none)"
    )
    for row in server.influxql(text, spec.rollup_bucket):
        window = selection.window_of(row["time"]) if selection.every else 0
        yield Cell(window, row["domain"], row["page"] if selection.by_page else ""), int(row["n"])


def _flux(server: Server, spec: TaskSpec, selection: Selection) -> Iterator[tuple[Cell, int]]:
    pairs = (("domain", selection.domains), ("page", selection.pages))
    values = {
        "rows": flux.predicate(
            flux.any_of("_measurement", [spec.measurement]),
            flux.any_of("_field", [spec.field]),
            *(flux.any_of(column, chosen) for column, chosen in pairs if chosen),
        ),
        "keys": flux.literal(selection.keys),
        "every": flux.duration(selection.every or spec.every),
    }
    v = server.v(spec.rollup_bucket, selection.start + 1, selection.stop + 1)
    for row in server.flux(flux.bind(flux.load("queries/counts.rollup.flux"), values, v)):
        window = selection.window_of(from_datetime(row["_time"]))
        page = str(row.get("page") or "") if selection.by_page else ""
        yield Cell(window, str(row.get("domain") or ""), page), int(row["_value"])


def _sql(store: Embedded, spec: TaskSpec, selection: Selection) -> Iterator[tuple[Cell, int]]:
    width = (selection.every or 0) * NS
    window = f"(time - 1) / {width} * {width}" if width else "0"
    where = ["measurement = ?", "field = ?", "time > ?", "time <= ?"]
    for column, values in (("domain", selection.domains), ("page", selection.pages)):
        if values:
            where.append(f"{column} IN ({', '.join('?' * len(values))})")
    page = "page" if selection.by_page else "''"
    sql = (
        f"SELECT {window}, domain, {page}, CAST(sum(value) AS INTEGER) FROM {store.table(spec.rollup_bucket)} "
        f"JOIN series ON series.id = series WHERE {' AND '.join(where)} GROUP BY 1, 2, 3"
    )
    parameters = (spec.measurement, spec.field, selection.start, selection.stop, *selection.domains, *selection.pages)
    for start, domain, found, value in store.select(sql, parameters):
        yield Cell(start, domain, found), value
