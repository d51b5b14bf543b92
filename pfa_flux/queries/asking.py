"""Asking an engine for counts: which dialect, and when it would answer wrongly."""

from __future__ import annotations

from typing import Literal, get_args

from pfa_flux.engines.base import Engine
from pfa_flux.engines.embedded import Embedded
from pfa_flux.errors import BucketNotFoundError, CapabilityError, InvalidValueError, QueryError
from pfa_flux.influxql import identifier
from pfa_flux.queries.result import Caveat, Dialect
from pfa_flux.queries.selection import Counts, Selection
from pfa_flux.schema import Schema

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
    """One engine's raw bucket, and the dialects chosen for the totals and for the blocks of time.

    Raises:
        CapabilityError: the engine has not the dialect asked for, or the dialect would miscount.
    """

    def __init__(self, engine: Engine, bucket: str, schema: Schema, choice: DialectChoice, *, by_time: bool) -> None:
        self._engine, self._bucket, self._schema = engine, bucket, schema
        self.caveats: tuple[Caveat, ...] = ()
        self.dialect: Dialect = _choose(engine, choice, by_time=by_time)
        # Measured, 1.8 and 2.7: by window and page, InfluxQL is six times as fast as the same in Flux.
        self._fast: Dialect = "sqlite" if self.dialect == "sqlite" else "influxql"
        if self.dialect in {"join", "union"}:
            self._check_types(forced=choice != "auto")

    @property
    def one_pass(self) -> bool:
        """Blocks come in the dialect of the totals, which are their sums: the data need be read only once."""
        return self.dialect == self._fast

    def counts(self, selection: Selection) -> Counts:
        """Counts in the dialect chosen."""
        return self._ask(self.dialect, selection)

    def blocks(self, selection: Selection) -> Counts:
        """Counts by window, in the fastest dialect at hand."""
        return self._ask(self._fast, selection)

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


def _choose(engine: Engine, choice: DialectChoice, *, by_time: bool) -> Dialect:
    able = _dialects(engine)
    if choice == "auto":
        slow_by_time = by_time and engine.capabilities.engine == "influxdb1"
        # Measured: by time, the Flux of 1.8 is 50 times slower than its InfluxQL.
        return "influxql" if slow_by_time else able[0]
    if choice not in get_args(DialectChoice):
        raise InvalidValueError(f"no dialect {choice!r}", f"Use one of {', '.join(get_args(DialectChoice))}.")
    if choice not in able:
        raise CapabilityError(
            f"{_name(engine)} has no dialect {choice!r} ({_why_not(choice)})",
            f"It has: auto, {', '.join(able)}.",
        )
    return choice


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
