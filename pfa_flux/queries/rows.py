"""What answers are made of: a row of figures with what it is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pfa_flux import shown
from pfa_flux.queries import words
from pfa_flux.queries.dates import short
from pfa_flux.queries.interval import newcombe
from pfa_flux.times import parse_instant

Status = Literal["ok", "no_js", "no_hits", "js_exceeds_hits", "no_data"]
Source = Literal["raw", "rollup", "raw+rollup"]


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
        return minus(self, self.before) if self.before else None

    def as_dict(self) -> dict[str, Any]:
        """Keys and figures, flat; with the period before its figures and the change; then names as they are shown."""
        figures = {**self.key, **{name: getattr(self, name) for name in FIGURES}}
        if self.before is None:
            return {**figures, **displayed(self.key)}
        change = self.change or (None, None, None)
        before = {f"before_{name}": getattr(self.before, name) for name in FIGURES}
        return {**figures, **before, **dict(zip(CHANGE, change, strict=True)), **displayed(self.key)}


def displayed(key: Mapping[str, str]) -> dict[str, str]:
    """Domain and page as they are shown."""
    return {f"{name}_display": words.plain(shown.value(name, key[name])) for name in shown.DISPLAYED if name in key}


def display_columns(by: Sequence[str]) -> tuple[str, ...]:
    """Columns that have domain and page as they are shown."""
    return tuple(f"{name}_display" for name in shown.DISPLAYED if name in by)


FIGURES = ("hits", "js", "blocked", "ratio", "ratio_low", "ratio_high", "status")
"""What a row says, in the order of its columns."""
CHANGE = ("change", "change_low", "change_high")
"""The same of the change since the period before."""


def minus(first: RatioRow, second: RatioRow) -> tuple[float, float, float] | None:
    """Ratio of the first minus that of the second, and its 95 % interval; None where either cannot be said."""
    ends = []
    for row in (first, second):
        if row.ratio is None or row.ratio_low is None or row.ratio_high is None:
            return None
        ends.append((row.ratio, row.ratio_low, row.ratio_high))
    return newcombe(*ends)


def names_of(keys: Sequence[Mapping[str, str]], tz: str) -> list[list[str]]:
    """Values of the keys of rows as cells of a table; times as people write them, in a time zone."""
    times = list(dict.fromkeys(key["time"] for key in keys if "time" in key))
    names = dict(zip(times, short([parse_instant(time, 0) for time in times], ZoneInfo(tz)), strict=True))
    return [
        [names[value] if name == "time" else words.name(name, value) for name, value in key.items()] for key in keys
    ]
