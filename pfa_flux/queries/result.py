"""The result: rows with what each is worth, as objects, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pfa_flux.engines.base import EngineName
from pfa_flux.times import format_instant

Status = Literal["ok", "no_js", "no_hits", "js_exceeds_hits", "no_data"]
Dialect = Literal["join", "union", "influxql", "sqlite"]
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
    """

    key: Mapping[str, str]
    hits: int
    js: int
    blocked: int
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    status: Status

    def as_dict(self) -> dict[str, Any]:
        """Keys and figures, flat."""
        figures = {name: getattr(self, name) for name in FIGURES}
        return {**self.key, **figures}


FIGURES = ("hits", "js", "blocked", "ratio", "ratio_low", "ratio_high", "status")


@dataclass(frozen=True, slots=True)
class BlockedRatio:
    """Answer to the question which share of page views comes without the JavaScript analytics.

    Attributes:
        start: first instant of the range, nanoseconds since the epoch.
        stop: first instant after it.
        by: keys of the rows, in order.
        engine: where the data is.
        dialect: in what the figures were asked for.
        source: from which bucket they come.
        rows: sorted by key.
        warnings: what the reader has to know.
    """

    start: int
    stop: int
    by: tuple[str, ...]
    engine: EngineName
    dialect: Dialect
    source: Source
    rows: tuple[RatioRow, ...]
    warnings: tuple[Caveat, ...] = ()

    def __iter__(self) -> Iterator[RatioRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def has_data(self) -> bool:
        """Any row has a hit or a load."""
        return any(row.status != "no_data" for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """All of it, as the JSON has it."""
        return {
            "start": format_instant(self.start),
            "stop": format_instant(self.stop),
            "engine": self.engine,
            "dialect": self.dialect,
            "source": self.source,
            "warnings": [{"code": caveat.code, "message": caveat.message} for caveat in self.warnings],
            "rows": [row.as_dict() for row in self.rows],
        }

    def to_json(self) -> str:
        """JSON text, ratios unrounded or null."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)

    def to_csv(self) -> str:
        """CSV text with a header; a ratio that cannot be said is empty."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow((*self.by, *FIGURES))
        for row in self.rows:
            writer.writerow(row.as_dict().values())
        return out.getvalue()
