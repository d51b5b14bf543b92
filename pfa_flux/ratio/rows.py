"""Rows of an answer: figures with their status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pfa_flux import shown
from pfa_flux.ratio import phrasing
from pfa_flux.ratio.interval import newcombe

Status = Literal["ok", "no_js", "no_hits", "js_exceeds_hits", "no_data"]
Source = Literal["raw", "rollup", "raw+rollup"]


@dataclass(frozen=True, slots=True)
class RatioRow:
    """Hits, loads and their ratio for one key.

    Attributes:
        key: value of each key, in the order of `by`; `time` is the interval's start, RFC 3339.
        hits: page views that the pixel counted.
        js: page views that the JavaScript analytics counted.
        blocked: hits - js; negative if the analytics counted more than the pixel.
        ratio: blocked / hits, from 0 to 1; None if there is none.
        ratio_low: lower end of its 95% interval.
        ratio_high: upper end.
        status: ok; no_js: the analytics counted nothing, the ratio is 1; no_hits: the pixel counted nothing;
            js_exceeds_hits: the pixel counted less than the analytics; no_data: neither counted anything.
        before: the same for the previous period, if requested.
        start: start of its interval, nanoseconds; None without the key `time`.
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
    start: int | None = field(default=None, repr=False)

    @property
    def change(self) -> tuple[float, float, float] | None:
        """Ratio minus that of the previous period, and its 95% interval; None without both ratios."""
        return minus(self, self.before) if self.before else None

    def as_dict(self) -> dict[str, Any]:
        """Keys and figures, flat; then, if requested, the previous period and the change; then names for display."""
        figures = {**self.key, **{name: getattr(self, name) for name in FIGURES}}
        if self.before is None:
            return {**figures, **displayed(self.key)}
        change = self.change or (None, None, None)
        before = {f"before_{name}": getattr(self.before, name) for name in FIGURES}
        return {**figures, **before, **dict(zip(CHANGE, change, strict=True)), **displayed(self.key)}


def displayed(key: Mapping[str, str]) -> dict[str, str]:
    """Domain and page for display."""
    return {f"{name}_display": phrasing.plain(shown.value(name, key[name])) for name in shown.DISPLAYED if name in key}


def display_columns(by: Sequence[str]) -> tuple[str, ...]:
    """Columns with domain and page for display."""
    return tuple(f"{name}_display" for name in shown.DISPLAYED if name in by)


FIGURES = ("hits", "js", "blocked", "ratio", "ratio_low", "ratio_high", "status")
"""Figures of a row, in the order of its columns."""
CHANGE = ("change", "change_low", "change_high")
"""Figures of the change since the previous period."""


def minus(first: RatioRow, second: RatioRow) -> tuple[float, float, float] | None:
    """Ratio of the first minus that of the second, and its 95% interval; None without both ratios."""
    ends = []
    for row in (first, second):
        if row.ratio is None or row.ratio_low is None or row.ratio_high is None:
            return None
        ends.append((row.ratio, row.ratio_low, row.ratio_high))
    return newcombe(*ends)
