"""Asking an engine for the counts of all parts of a range: which dialect, and when it would answer wrongly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, get_args

from pfa_flux.engines.base import Engine
from pfa_flux.engines.embedded import Embedded
from pfa_flux.errors import BucketNotFoundError, CapabilityError, InvalidValueError, QueryError
from pfa_flux.influxql import identifier
from pfa_flux.queries.dialects import rollup
from pfa_flux.queries.result import Caveat, Dialect
from pfa_flux.queries.selection import Cell, Counts, Selection, WhichSides, add
from pfa_flux.queries.sources import Sources
from pfa_flux.settings import Settings
from pfa_flux.tasks.spec import TaskSpec

DialectChoice = Literal["auto", "join", "union", "influxql", "sqlite"]

_UNCHECKED = Caveat(
    "types_unchecked",
    "InfluxQL cannot reach the raw bucket, so it was not checked whether a field changed its type over time; Flux "
    "would count only some of such rows. A DBRP mapping for the bucket mends it (pfa-flux doctor).",
)
_MIXED = Caveat(
    "mixed_types",
    "A field of the raw data is an integer in some shards and a float in others; Flux would count only some of the "
    "rows, so InfluxQL was used.",
)


class Asker:
    """One engine, where the parts of a range are, and the dialects for the totals and for the blocks of time.

    Raises:
        CapabilityError: the engine has not the dialect asked for, or the dialect would miscount.
    """

    def __init__(
        self, engine: Engine, settings: Settings, sources: Sources, choice: DialectChoice, *, by_time: bool
    ) -> None:
        self._engine, self._bucket, self._schema = engine, settings.raw_bucket, settings.schema
        self._specs = TaskSpec.from_settings(settings, "hits"), TaskSpec.from_settings(settings, "loads")
        self._parts = sources.parts
        self.caveats: tuple[Caveat, ...] = ()
        self.dialect: Dialect = _choose(engine, choice, settings.raw_bucket if by_time else None)
        # Measured, 1.8 and 2.7: by window and page, InfluxQL is six times as fast as the same in Flux.
        self._fast: Dialect = "sqlite" if self.dialect == "sqlite" else "influxql"
        if self.dialect in {"join", "union"} and any(part.source == "raw" for part in self._parts):
            self._check_types(forced=choice != "auto")

    def whole(self, selection: Selection, width: int) -> tuple[Counts, Counts]:
        """Totals, and counts by blocks of `width` seconds, which are asked for in the fastest dialect at hand."""
        by_block = replace(selection, every=width)
        blocks = self._rollup(by_block)
        if self.dialect == self._fast:
            # One language for both: the totals are the blocks' sums, and the data need be read only once.
            blocks = _merged((blocks, self._raw(self._fast, by_block)))
            return _totals(blocks), blocks
        raw = self._raw(self.dialect, selection)
        totals = _merged((_totals(blocks), raw))
        return totals, _merged((blocks, self._raw(self._fast, by_block))) if raw else blocks

    def windows(self, selection: Selection) -> Counts:
        """Counts by the selection's windows, in the dialect chosen."""
        return _merged((self._rollup(selection), self._raw(self.dialect, selection)))

    def hits_of_pages(self, selection: Selection, pages: tuple[str, ...]) -> dict[str, int]:
        """Hits of some pages by domain, in the fastest dialect at hand."""
        asked = replace(selection, pages=pages, by_page=False, every=None, sides="hits")
        found: dict[str, int] = {}
        for counts in (self._rollup(asked), self._raw(self._fast, asked)):
            for cell, sides in counts.items():
                found[cell.domain] = found.get(cell.domain, 0) + sides.hits
        return found

    def _raw(self, dialect: Dialect, selection: Selection) -> Counts:
        return _merged(self._ask(dialect, part) for part in self._selections("raw", selection))

    def _rollup(self, selection: Selection) -> Counts:
        return _merged(rollup.counts(self._engine, self._specs, part) for part in self._selections("rollup", selection))

    def _selections(self, source: str, selection: Selection) -> Iterable[Selection]:
        return [
            replace(selection, start=part.start, stop=part.stop, sides=sides)
            for part in self._parts
            if part.source == source and (sides := _common(selection.sides, part.sides))
        ]

    def _ask(self, dialect: Dialect, selection: Selection) -> Counts:
        # Imported here: each brings its own engine's client along.
        if isinstance(self._engine, Embedded):
            from pfa_flux.queries.dialects import sqlite

            return sqlite.counts(self._engine, self._bucket, self._schema, selection)
        from pfa_flux.engines.server import Server

        assert isinstance(self._engine, Server)
        if dialect == "influxql":
            from pfa_flux.queries.dialects import influxql

            return influxql.counts(self._engine, self._bucket, self._schema, selection)
        from pfa_flux.queries.dialects import flux

        return flux.counts(dialect, self._engine, self._bucket, self._schema, selection)

    def _check_types(self, *, forced: bool) -> None:
        """Flux reads a field whose type differs between shards in part only; then it must not be used."""
        try:
            mixed = self._mixed_fields()
        except (CapabilityError, BucketNotFoundError, QueryError):
            self.caveats = (_UNCHECKED,)
            self._fast = "union"
            return
        if mixed and forced:
            raise CapabilityError(
                f"Flux would miscount: {', '.join(mixed)} is an integer in some shards and a float in others",
                "Use --dialect influxql or auto.",
            )
        if mixed:
            self.dialect = "influxql"
            self.caveats = (_MIXED,)

    def _mixed_fields(self) -> list[str]:
        from pfa_flux.engines.server import Server

        assert isinstance(self._engine, Server)
        wanted = {
            self._schema.hits_measurement: self._schema.hits_field,
            self._schema.loads_measurement: self._schema.loads_field,
        }
        sources = ", ".join(map(identifier, wanted))
        types: dict[str, set[str]] = {}
        for row in self._engine.influxql(f"SHOW FIELD KEYS FROM {sources}", self._bucket):
            if row["fieldKey"] == wanted[row["measurement"]]:
                types.setdefault(f"{row['measurement']}.{row['fieldKey']}", set()).add(row["fieldType"])
        return sorted(field for field, found in types.items() if len(found) > 1)


def _common(asked: WhichSides, has: WhichSides) -> WhichSides | None:
    """Sides that are asked for of those that a part has; None without any."""
    if asked == "both" or asked == has:
        return has
    return asked if has == "both" else None


def _merged(found: Iterable[Counts]) -> Counts:
    """Counts of disjoint parts as one."""
    merged: Counts = {}
    for counts in found:
        for cell, sides in counts.items():
            add(merged, cell, *sides)
    return merged


def _totals(blocks: Counts) -> Counts:
    return _merged({Cell(0, cell.domain, cell.page): sides} for cell, sides in blocks.items())


def _choose(engine: Engine, choice: DialectChoice, by_time_from: str | None) -> Dialect:
    """The dialect; `by_time_from` is the bucket of a question by time."""
    able = _dialects(engine)
    if choice == "auto":
        # Measured, by time: InfluxQL is 50 times as fast as the Flux of 1.8, and ten times as fast as that of 2.7.
        fast = by_time_from is not None and "influxql" in able and _reaches(engine, by_time_from)
        return "influxql" if fast else able[0]
    if choice not in get_args(DialectChoice):
        raise InvalidValueError(f"no dialect {choice!r}", f"Use one of {', '.join(get_args(DialectChoice))}.")
    if choice not in able:
        raise CapabilityError(
            f"{_name(engine)} has no dialect {choice!r} ({_why_not(choice)})",
            f"It has: auto, {', '.join(able)}.",
        )
    return choice


def _reaches(engine: Engine, bucket: str) -> bool:
    """InfluxQL knows the bucket by a name."""
    from pfa_flux.engines.server import Server

    assert isinstance(engine, Server)
    try:
        engine.database_of(bucket)
    except (CapabilityError, BucketNotFoundError):
        return False
    return True


def _dialects(engine: Engine) -> list[Dialect]:
    """Dialects that an engine has, the preferred first."""
    can = engine.capabilities
    if can.engine == "embedded":
        return ["sqlite"]
    flux: list[Dialect] = (["join", "union"] if can.join else ["union"]) if can.flux else []
    return [*flux, "influxql"] if can.influxql else flux


def _name(engine: Engine) -> str:
    can = engine.capabilities
    return "the embedded engine" if can.engine == "embedded" else f"InfluxDB {can.version}"


def _why_not(choice: str) -> str:
    return {
        "join": "it needs Flux 0.172 or newer",
        "union": "it needs Flux, which is off or absent",
        "influxql": "it needs an InfluxDB",
        "sqlite": "it is the embedded engine's",
    }[choice]
