"""The results: rows with what each is worth, as objects, tables, JSON, CSV, DataFrames and plots."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pfa_flux.errors import InvalidValueError
from pfa_flux.queries import words
from pfa_flux.queries.interval import newcombe
from pfa_flux.queries.table import Column, Sheet, Table
from pfa_flux.times import format_instant

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Status = Literal["ok", "no_js", "no_hits", "js_exceeds_hits", "no_data"]
Source = Literal["raw", "rollup", "raw+rollup"]


@dataclass(frozen=True, slots=True)
class Caveat:
    """Something that the reader of the figures has to know: a code to act on, a message to read."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class RatioRow:
    """Hits, page loads with JavaScript, and what they say, for one key.

    Attributes:
        key: value of each key asked for, in that order; `time` is the interval's start, RFC 3339.
        hits: page views that the pixel counted.
        js: page views that the JavaScript analytics counted.
        blocked: hits - js, negative where the analytics saw more than the pixel.
        ratio: blocked / hits, from 0 to 1; None where it cannot be said.
        ratio_low: lower end of its 95 % interval.
        ratio_high: upper end.
        status: ok; no_js: the analytics saw nothing, the ratio is 1; no_hits: the pixel saw nothing;
            js_exceeds_hits: the pixel saw less than the analytics; no_data: neither saw anything.
        before: the same of the period before, where that was asked for.
    """

    key: Mapping[str, str]
    hits: int
    js: int
    blocked: int
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    status: Status
    before: RatioRow | None = None

    @property
    def change(self) -> tuple[float, float, float] | None:
        """Ratio minus that of the period before, and its 95 % interval; None where either cannot be said."""
        return _minus(self, self.before) if self.before else None

    def as_dict(self) -> dict[str, Any]:
        """Keys and figures, flat; with the period before its figures and the change."""
        figures = {**self.key, **{name: getattr(self, name) for name in FIGURES}}
        if self.before is None:
            return figures
        change = self.change or (None, None, None)
        before = {f"before_{name}": getattr(self.before, name) for name in FIGURES}
        return {**figures, **before, **dict(zip(_CHANGE, change, strict=True))}


FIGURES = ("hits", "js", "blocked", "ratio", "ratio_low", "ratio_high", "status")
_CHANGE = ("change", "change_low", "change_high")


def _minus(first: RatioRow, second: RatioRow) -> tuple[float, float, float] | None:
    ends = []
    for row in (first, second):
        if row.ratio is None or row.ratio_low is None or row.ratio_high is None:
            return None
        ends.append((row.ratio, row.ratio_low, row.ratio_high))
    return newcombe(*ends)


@dataclass(frozen=True, slots=True)
class BlockedRatio(Table):
    """Answer to the question which share of page views comes without the JavaScript analytics.

    Attributes:
        start: first instant of the range, nanoseconds since the epoch.
        stop: first instant after it.
        by: keys of the rows, in order.
        engine: where the data is.
        dialect: in what the figures were asked for.
        source: from which data they come.
        rows: sorted by key.
        warnings: what the reader has to know.
        tz: time zone of the intervals.
        before: start and stop of the period before, where that was asked for.
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

    def __iter__(self) -> Iterator[RatioRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def has_data(self) -> bool:
        """Any row has a hit or a load."""
        return any(row.status != "no_data" for row in self.rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """Keys and figures; with the period before its figures and the change."""
        before = (*(f"before_{name}" for name in FIGURES), *_CHANGE) if self.before else ()
        return (*self.by, *FIGURES, *before)

    @property
    def zone_name(self) -> str:
        """Time zone of the intervals."""
        return self.tz

    def records(self) -> list[dict[str, Any]]:
        """Rows as dictionaries by column."""
        return [row.as_dict() for row in self.rows]

    def as_dict(self) -> dict[str, Any]:
        """All of it, as the JSON has it; `differences` where the rows are of networks."""
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
            "warnings": [{"code": caveat.code, "message": caveat.message} for caveat in self.warnings],
            "rows": self.records(),
            **more,
        }

    def differences(self) -> Comparison:
        """How the rows differ, each from each, where they are of one key other than time.

        Raises:
            InvalidValueError: they are of several keys, or of time.
        """
        if len(self.by) != 1 or self.by == ("time",):
            raise InvalidValueError(
                f"rows by {', '.join(self.by)} cannot be held against each other",
                "Use one key: network, domain or page.",
            )
        (key,) = self.by
        found = []
        for second, first in itertools.combinations(self.rows, 2):
            minus = _minus(first, second)
            if minus:
                names = first.key[key], second.key[key]
                found.append(Contrast(*names, *minus, words.difference(key, *names, *minus[1:])))
        return Comparison(self.start, self.stop, key, tuple(found), self.warnings)

    def sheet(self) -> Sheet:
        """Rows as they are shown."""
        before = (Column("before", "ratio", 3), Column("change", "ratio"), Column("points, 95 %", "interval", 2))
        columns = (
            *(Column(key, "key") for key in self.by),
            Column("hits", "number"),
            Column("JS loads", "number", 4),
            Column("blocked", "number", 5),
            Column("ratio", "ratio"),
            Column("95 % interval", "interval", 1),
            *(before if self.before else ()),
            Column("", "bar", 6),
            Column("", "note"),
        )
        return Sheet(columns, [_cells(row) for row in self.rows])

    def plot(self) -> Figure:
        """A plot: over time with the interval as a band where `time` is a key, else a bar for each row.

        Raises:
            CapabilityError: matplotlib is not installed.
        """
        from pfa_flux.views.plots import plot

        return plot(self)


def _cells(row: RatioRow) -> list[str]:
    before = []
    if row.before is not None:
        difference, *ends = row.change or (None, None, None)
        before = [words.percent(row.before.ratio), words.points(difference), words.points_range(*ends)]
    return [
        *(value or "(none)" for value in row.key.values()),
        f"{row.hits:,}",
        f"{row.js:,}",
        f"{row.blocked:,}",
        words.percent(row.ratio),
        words.percent_range(row.ratio_low, row.ratio_high),
        *before,
        "" if row.ratio is None else str(row.ratio),
        words.STATUS[row.status],
    ]


@dataclass(frozen=True, slots=True)
class Contrast:
    """How two shares differ.

    Attributes:
        first: value of the key.
        second: another.
        difference: ratio of the first minus that of the second, -1 to 1.
        difference_low: lower end of its 95 % interval.
        difference_high: upper end.
        sentence: the same in plain words.
    """

    first: str
    second: str
    difference: float
    difference_low: float
    difference_high: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Comparison(Table):
    """Differences between the blocked ratios of networks, domains or pages, each with each.

    Attributes:
        start: first instant of the range, nanoseconds since the epoch.
        stop: first instant after it.
        key: what is compared.
        rows: a pair each; those of which a ratio cannot be said are left out.
        warnings: what the reader has to know.
    """

    start: int
    stop: int
    key: str
    rows: tuple[Contrast, ...]
    warnings: tuple[Caveat, ...] = ()

    def __iter__(self) -> Iterator[Contrast]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """Both values, the difference with its interval, and the sentence."""
        return ("first", "second", "difference", "difference_low", "difference_high", "sentence")

    def records(self) -> list[dict[str, Any]]:
        """Rows as dictionaries by column."""
        return [{name: getattr(row, name) for name in self.columns} for row in self.rows]

    def as_dict(self) -> dict[str, Any]:
        """All of it."""
        return {
            "start": format_instant(self.start),
            "stop": format_instant(self.stop),
            "key": self.key,
            "warnings": [{"code": caveat.code, "message": caveat.message} for caveat in self.warnings],
            "rows": self.records(),
        }

    def sheet(self) -> Sheet:
        """Rows as they are shown."""
        columns = (
            Column(self.key, "key"),
            Column("minus", "key"),
            Column("points", "ratio"),
            Column("95 % interval", "interval"),
            Column("", "note"),
        )
        rows = [
            (
                row.first or "(none)",
                row.second or "(none)",
                words.points(row.difference),
                words.points_range(row.difference_low, row.difference_high),
                row.sentence,
            )
            for row in self.rows
        ]
        return Sheet(columns, rows)


@dataclass(frozen=True, slots=True)
class PageViewRow:
    """Page views of one key.

    Attributes:
        key: value of each key asked for, in that order.
        hits: what the pixel counted; None where it was not asked.
        js: what the JavaScript analytics counted; None where it was not asked.
    """

    key: Mapping[str, str]
    hits: int | None
    js: int | None


@dataclass(frozen=True, slots=True)
class PageViews(Table):
    """Page views counted by the pixel, by the JavaScript analytics, or both.

    Attributes:
        start: first instant of the range, nanoseconds since the epoch.
        stop: first instant after it.
        by: keys of the rows, in order.
        sides: of hits and js, what was asked for.
        source: from which data they come.
        rows: sorted by key.
        warnings: what the reader has to know.
        tz: time zone of the intervals.
    """

    start: int
    stop: int
    by: tuple[str, ...]
    sides: tuple[Literal["hits", "js"], ...]
    source: Source
    rows: tuple[PageViewRow, ...]
    warnings: tuple[Caveat, ...] = ()
    tz: str = "UTC"

    def __iter__(self) -> Iterator[PageViewRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """Keys and counts."""
        return (*self.by, *self.sides)

    @property
    def zone_name(self) -> str:
        """Time zone of the intervals."""
        return self.tz

    def records(self) -> list[dict[str, Any]]:
        """Rows as dictionaries by column."""
        return [{**row.key, **{side: getattr(row, side) for side in self.sides}} for row in self.rows]

    def as_dict(self) -> dict[str, Any]:
        """All of it."""
        return {
            "start": format_instant(self.start),
            "stop": format_instant(self.stop),
            "source": self.source,
            "warnings": [{"code": caveat.code, "message": caveat.message} for caveat in self.warnings],
            "rows": self.records(),
        }

    def sheet(self) -> Sheet:
        """Rows as they are shown."""
        names = {"hits": "hits", "js": "JS loads"}
        columns = (*(Column(key, "key") for key in self.by), *(Column(names[side], "number") for side in self.sides))
        rows = [
            (*(value or "(none)" for value in row.key.values()), *(f"{getattr(row, side):,}" for side in self.sides))
            for row in self.rows
        ]
        return Sheet(columns, rows)
