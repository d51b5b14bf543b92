"""The blocked ratio's counts in InfluxQL: one statement for each side, for servers whose Flux is off or slow."""

from __future__ import annotations

from collections.abc import Sequence

from pfa_flux.engines.server import Server
from pfa_flux.influxql import any_of, identifier, none_of
from pfa_flux.queries.selection import Cell, Counts, Selection, add
from pfa_flux.schema import Schema


def counts(server: Server, bucket: str, schema: Schema, selection: Selection) -> Counts:
    """Counts from a raw bucket.

    Raises:
        CapabilityError: InfluxQL cannot reach the bucket. QueryError: the server refuses the query.
    """
    source = ".".join(identifier(part) for part in server.database_of(bucket))
    hits = _statement(
        f"sum({identifier(schema.hits_field)})",
        f"{source}.{identifier(schema.hits_measurement)}",
        selection,
        [],
    )
    loads = _statement(
        f"count({identifier(schema.loads_field)})",
        f"{source}.{identifier(schema.loads_measurement)}",
        selection,
        none_of("action", schema.excluded_actions),
    )
    found: Counts = {}
    hit_rows, load_rows = server.influxql_each([hits, loads], bucket)
    for row in hit_rows:
        add(found, _cell(row, selection), int(row["n"]), 0)
    for row in load_rows:
        add(found, _cell(row, selection), 0, int(row["n"]))
    return found


def _statement(value: str, source: str, selection: Selection, conditions: Sequence[str]) -> str:
    where = [f"time >= {selection.start}", f"time < {selection.stop}", *conditions]
    for column, values in (("domain", selection.domains), ("page", selection.pages)):
        if values:
            where.append(any_of(column, values))
    groups = [identifier(key) for key in selection.keys]
    if selection.every:
        groups.append(f"time({selection.every}s)")
    return f"SELECT {value} AS n FROM {source} WHERE {' AND '.join(where)} GROUP BY {', '.join(groups)} fill(none)"


def _cell(row: object, selection: Selection) -> Cell:
    assert isinstance(row, dict)
    window = selection.window_of(row["time"]) if selection.every else 0
    return Cell(window, row["domain"], row["page"] if selection.by_page else "")
