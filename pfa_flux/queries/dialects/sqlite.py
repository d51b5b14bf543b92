"""The blocked ratio's counts in SQL, from the embedded store."""

from __future__ import annotations

from collections.abc import Sequence

from pfa_flux.engines.embedded import Embedded
from pfa_flux.queries.selection import Cell, Counts, Selection, add
from pfa_flux.schema import Schema
from pfa_flux.times import NS


def counts(store: Embedded, bucket: str, schema: Schema, selection: Selection) -> Counts:
    """Counts from a raw bucket.

    Raises:
        StoreError: the file cannot be read.
    """
    found: Counts = {}
    hits = _select("CAST(sum(value) AS INTEGER)", store.table(bucket), selection, ())
    loads = _select("count(*)", store.table(bucket), selection, schema.excluded_actions)
    shared = [selection.start, selection.stop, *selection.domains, *selection.pages]
    if selection.has("hits"):
        for window, domain, page, n in store.select(hits, [schema.hits_measurement, schema.hits_field, *shared]):
            add(found, Cell(window, domain, page), n, 0)
    if selection.has("js"):
        parameters = [schema.loads_measurement, schema.loads_field, *shared, *schema.excluded_actions]
        for window, domain, page, n in store.select(loads, parameters):
            add(found, Cell(window, domain, page), 0, n)
    return found


def _select(value: str, table: str, selection: Selection, excluded: Sequence[str]) -> str:
    width = (selection.every or 0) * NS
    window = f"time / {width} * {width}" if width else "0"
    where = ["measurement = ?", "field = ?", "time >= ?", "time < ?"]
    for column, values in (("domain", selection.domains), ("page", selection.pages)):
        if values:
            where.append(f"{column} IN ({_marks(values)})")
    if excluded:
        # A series without the tag has '' there, and is a page load.
        where.append(f"action NOT IN ({_marks(excluded)})")
    page = "page" if selection.by_page else "''"
    return (
        f"SELECT {window}, domain, {page}, {value} FROM {table} JOIN series ON series.id = series "
        f"WHERE {' AND '.join(where)} GROUP BY 1, 2, 3"
    )


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))
