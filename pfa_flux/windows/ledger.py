"""Which windows are due and which are there: the destination is the ledger, whatever a task remembers of its runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from pfa_flux.engines.base import Span
from pfa_flux.windows.rollup import Rollup
from pfa_flux.windows.spans import merged

_AT_ONCE = 8640
"""Windows asked for in one query: 90 days of 15 minutes."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Windows of a range, raw data held against downsampled data. Times are nanoseconds.

    Attributes:
        start: an edge of windows.
        stop: another.
        known_from: raw data is kept from here on; what was before can only be taken on trust.
        raw_windows: windows since then that have raw rows.
        missing: of them those without any downsampled row, as spans.
        short: those whose downsampled sum is less than the raw one: a write that was broken off, or late rows.
        newest: end of the newest window that is there, None without any.
        unknown: windows before `known_from` that have no downsampled row: nobody can say whether they should.
    """

    start: int
    stop: int
    known_from: int
    raw_windows: int = 0
    missing: tuple[Span, ...] = ()
    short: tuple[Span, ...] = ()
    newest: int | None = None
    unknown: int = 0

    @property
    def state(self) -> Literal["complete", "gaps", "unknown"]:
        """Gaps: windows are missing or short. Unknown: some lie where raw data has expired. Complete: neither."""
        if self.missing or self.short:
            return "gaps"
        return "unknown" if self.unknown else "complete"

    @property
    def to_fill(self) -> list[Span]:
        """Spans of windows that are missing or short, in order."""
        return merged((*self.missing, *self.short))

    @property
    def since(self) -> int | None:
        """Start of the first window that is missing or short."""
        return self.to_fill[0][0] if self.to_fill else None


def find_gaps(rollup: Rollup, start: int, stop: int, now: int) -> Ledger:
    """Compare the sums of a range's windows with those of the raw data.

    Args:
        rollup: the windows.
        start: widened to an edge of windows; nanoseconds.
        stop: cut to the newest window that is due.
        now: the present, nanoseconds, by which raw data expires.
    """
    spec = rollup.spec
    start, stop = spec.floor(start), min(spec.floor(stop), spec.due(now))
    found = _Found(spec.width)
    horizon = rollup.known_from(now)
    for low in range(start, stop, _AT_ONCE * spec.width):
        high = min(stop, low + _AT_ONCE * spec.width)
        there = rollup.totals(low, high)
        raw = rollup.raw_totals(max(low, horizon), high) if horizon < high else {}
        found.add(low, min(high, horizon), raw, there)
    return Ledger(
        start,
        stop,
        horizon,
        found.raw_windows,
        tuple(merged(found.missing)),
        tuple(merged(found.short)),
        found.newest,
        found.unknown,
    )


@dataclass
class _Found:
    width: int
    raw_windows: int = 0
    missing: list[Span] = field(default_factory=list)
    short: list[Span] = field(default_factory=list)
    newest: int | None = None
    unknown: int = 0

    def add(self, low: int, horizon: int, raw: dict[int, int], there: dict[int, int]) -> None:
        """Take up a part of the range: `raw` and `there` by the ends of windows; what ends by `horizon` is unknown."""
        self.raw_windows += len(raw)
        self.newest = max(there, default=self.newest)
        for end, total in raw.items():
            if end not in there:
                self.missing.append((end - self.width, end))
            elif there[end] < total:
                self.short.append((end - self.width, end))
        self.unknown += sum(end not in there for end in self._ends(low, horizon))

    def _ends(self, low: int, high: int) -> Iterator[int]:
        return iter(range(low + self.width, high + 1, self.width))
