"""The blocked ratio's counts in InfluxQL: one statement for each side, for servers whose Flux is off or slow."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

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
    sides: tuple[tuple[Literal["hits", "js"], str], ...] = (("hits", hits), ("js", loads))
    asked = {side: text for side, text in sides if selection.has(side)}
    # A server works on the statements of one request one after the other, on those of two side by side.
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda text: server.influxql(text, bucket), asked.values()))
    for side, rows in zip(asked, answers, strict=True):
        for row in rows:
            n = int(row["n"])
            add(found, _cell(row, selection), *((n, 0) if side == "hits" else (0, n)))
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
