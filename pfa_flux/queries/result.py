"""The blocked ratio: rows with their status and a total, as objects, tables, JSON, CSV and plots."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pfa_flux.errors import InvalidValueError
from pfa_flux.queries import words
from pfa_flux.queries.caveat import Caveat
from pfa_flux.queries.comparison import Comparison, Contrast
from pfa_flux.queries.rows import CHANGE, FIGURES, RatioRow, Source, display_columns, minus, names_of
from pfa_flux.queries.table import Column, Sheet, Table
from pfa_flux.times import format_instant

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Store:
    """The store that figures come from.

    Attributes:
        engine: influxdb2, influxdb1 or embedded.
        version: its version as reported.
        address: URL without user, password or query, or the file's path.
    """

    engine: str
    version: str
    address: str

    @property
    def title(self) -> str:
        """Name for people."""
        if not self.engine.startswith("influxdb"):
            return f"{self.engine} store"
        return f"InfluxDB {self.version or f'{self.engine[-1]}.x'}"


@dataclass(frozen=True, slots=True)
class BlockedRatio(Table):
    """The share of page views that the JavaScript analytics did not report.

    Attributes:
        start: first instant of the range, nanoseconds since the epoch.
        stop: first instant after it.
        by: keys of the rows, in order.
        engine: influxdb2, influxdb1 or embedded.
        dialect: query language that was used.
        source: raw data, downsampled data, or both.
        rows: sorted by key.
        warnings: warnings about the figures.
        tz: time zone of the intervals.
        before: start and stop of the previous period, if requested.
        total: the figures of all rows together, without a key: the only row of the same question with `by=()`.
        subject: whose page views these are, as text.
        covers: first instant that the figures cover and first instant after it; less than the range if the rest is not
            known.
        doubts: codes of the warnings that make the total doubtful, not just single rows.
        store: engine, version and address.
        config: settings file that was read; None without one.
    """

    start: int
    stop: int
    by: tuple[str, ...]
    engine: str
    dialect: str
    source: Source
    rows: tuple[RatioRow, ...]
    warnings: tuple[Caveat, ...] = ()
    tz: str = "UTC"
    before: tuple[int, int] | None = None
    total: RatioRow = field(kw_only=True, repr=False)
    subject: str = field(kw_only=True, repr=False)
    covers: tuple[int, int] = field(kw_only=True, repr=False)
    doubts: tuple[str, ...] = field(kw_only=True, repr=False)
    store: Store = field(kw_only=True, repr=False)
    config: Path | None = field(kw_only=True, repr=False)

    def __iter__(self) -> Iterator[RatioRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def has_data(self) -> bool:
        """There is at least one hit or load."""
        return self.total.status != "no_data"

    @property
    def sentence(self) -> str:
        """The answer as a sentence: page views, range, share with its interval, and source of the figures."""
        from pfa_flux.queries.sentence import sentence

        return sentence(self)

    @property
    def columns(self) -> tuple[str, ...]:
        """Keys and figures; then, if requested, the previous period and the change; then names for display."""
        before = (*(f"before_{name}" for name in FIGURES), *CHANGE) if self.before else ()
        return (*self.by, *FIGURES, *before, *display_columns(self.by))

    @property
    def zone_name(self) -> str:
        """Time zone of the intervals."""
        return self.tz

    def records(self) -> list[dict[str, Any]]:
        """Rows as dictionaries by column."""
        return [row.as_dict() for row in self.rows]

    def as_dict(self) -> dict[str, Any]:
        """The whole result, as in its JSON; with `differences` if the rows are networks."""
        more: dict[str, Any] = {}
        if self.before:
            more["before"] = dict(zip(("start", "stop"), map(format_instant, self.before), strict=True))
        if self.by == ("network",):
            more["differences"] = self.differences().records()
        return {
            "start": format_instant(self.start),
            "stop": format_instant(self.stop),
            "engine": self.engine,
            "dialect": self.dialect,
            "source": self.source,
            "store": {name: getattr(self.store, name) for name in ("engine", "version", "address")},
            "config": None if self.config is None else str(self.config),
            "total": self.total.as_dict(),
            "warnings": [{"code": caveat.code, "message": caveat.message} for caveat in self.warnings],
            "rows": self.records(),
            **more,
        }

    def differences(self) -> Comparison:
        """Differences between every two rows. The result must have one key other than time.

        Raises:
            InvalidValueError: the rows have several keys, or the key is time.
        """
        if len(self.by) != 1 or self.by == ("time",):
            raise InvalidValueError(
                f"rows by {', '.join(self.by)} cannot be compared with each other",
                "Use one key: network, domain or page.",
            )
        (key,) = self.by
        found = []
        for second, first in itertools.combinations(self.rows, 2):
            less = minus(first, second)
            if less:
                names = first.key[key], second.key[key]
                found.append(Contrast(*names, *less, words.difference(key, *names, *less[1:])))
        return Comparison(self.start, self.stop, key, tuple(found), self.warnings)

    def sheet(self) -> Sheet:
        """Rows for display, and their total."""
        before = (Column("previous", "ratio", 3), Column("change", "ratio"), Column("points, 95%", "interval", 2))
        columns = (
            *(Column(key, "key") for key in self.by),
            Column("hits", "number"),
            Column("JS loads", "number", 4),
            Column("blocked", "number", 5),
            Column("ratio", "ratio"),
            Column("95% interval", "interval", 1),
            *(before if self.before else ()),
            Column("", "bar", 6),
            Column("", "note"),
        )
        named = zip(names_of([row.key for row in self.rows], self.tz), self.rows, strict=True)
        rows = [[*names, *_cells(row)] for names, row in named]
        total = ("total", *[""] * (len(self.by) - 1), *_cells(self.total)) if self.by else ()
        return Sheet(columns, rows, total)

    def plot(self) -> Figure:
        """A plot: a line over time with the interval as a band if `time` is a key, else a bar for each row.

        Raises:
            CapabilityError: matplotlib is not installed.
        """
        from pfa_flux.views.plots import plot

        return plot(self)


def _cells(row: RatioRow) -> list[str]:
    """The figures of a row."""
    before = []
    if row.before is not None:
        difference, *ends = row.change or (None, None, None)
        before = [words.percent(row.before.ratio), words.points(difference), words.points_range(*ends)]
    return [
        f"{row.hits:,}",
        f"{row.js:,}",
        f"{row.blocked:,}",
        words.percent(row.ratio),
        words.percent_range(row.ratio_low, row.ratio_high),
        *before,
        "" if row.ratio is None else str(row.ratio),
        words.STATUS[row.status],
    ]
