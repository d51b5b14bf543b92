"""Intervals of time in a time zone, correct across clock changes."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from pfa_flux.arguments import named, one_of
from pfa_flux.errors import InvalidValueError
from pfa_flux.times import NS, format_instant, from_datetime, to_datetime

EVERY = {"15m": 900, "1h": 3600, "1d": 86400, "1w": 7 * 86400}
"""Widths of an interval, seconds. A clock change makes a day or week longer or shorter."""

_MOST = 200_000
_QUARTER = 900 * NS


@dataclass(frozen=True, slots=True)
class Grid:
    """Intervals [edges[i], edges[i + 1]) that cover a range; the first and last may reach beyond it.

    Attributes:
        edges: starts of the intervals and the end of the last, nanoseconds.
        zone: time zone they are aligned in. Days begin at its midnight, weeks on its Monday.
    """

    edges: tuple[int, ...]
    zone: ZoneInfo

    @property
    def starts(self) -> tuple[int, ...]:
        """Start of each interval."""
        return self.edges[:-1]

    def granularity(self, at_most: int = 3600) -> int:
        """Widest window in seconds that divides `at_most` and every interval."""
        return math.gcd(at_most, *(edge // NS % at_most for edge in self.edges))

    def start_of(self, instant: int) -> int:
        """Start of the interval that contains an instant."""
        return self.edges[bisect_right(self.edges, instant) - 1]

    def label(self, start: int) -> str:
        """RFC 3339 text of an interval's start in the zone, `Z` for UTC."""
        return to_datetime(start).astimezone(self.zone).isoformat().replace("+00:00", "Z")


def make_grid(start: int, stop: int, every: str, zone: ZoneInfo) -> Grid:
    """Intervals that cover [start, stop), with a width from `EVERY`.

    Raises:
        InvalidValueError: the width is not in `EVERY`, there would be more than 200,000 intervals, or the zone's clock
            was not whole quarters of an hour from UTC, as in the 19th century.
    """
    one_of("every", every, tuple(EVERY))
    if (stop - start) // NS // EVERY[every] > _MOST:
        raise InvalidValueError(
            f"the range has more than {_MOST:,} intervals of {every}", f"Use a wider {named('every')}."
        )
    edges = _within_day(start, stop, EVERY[every], zone) if EVERY[every] < 86400 else _days(start, stop, every, zone)
    return Grid(tuple(edges), zone)


def _within_day(start: int, stop: int, every: int, zone: ZoneInfo) -> list[int]:
    """Edges at which the zone's clock shows a multiple of `every`.

    Time zones differ from UTC by quarters of an hour.
    """

    def is_edge(instant: int) -> bool:
        offset = int((to_datetime(instant).astimezone(zone).utcoffset() or timedelta()).total_seconds())
        if offset * NS % _QUARTER:
            # Local mean time, as used in the 19th century.
            raise InvalidValueError(
                f"in {format_instant(instant)[:4]} the clocks of {zone} were not whole quarters of an hour from UTC",
                f"Use {named('tz', 'UTC')}, or {named('every', '1d')}.",
            )
        return (instant // NS + offset) % every == 0

    first = start // _QUARTER * _QUARTER
    while not is_edge(first):
        first -= _QUARTER
    edges = [first]
    while edges[-1] < stop:
        candidate = edges[-1] + _QUARTER
        while not is_edge(candidate):
            candidate += _QUARTER
        edges.append(candidate)
    return edges


def _days(start: int, stop: int, every: str, zone: ZoneInfo) -> list[int]:
    day = to_datetime(start).astimezone(zone).date()
    step = timedelta(days=7 if every == "1w" else 1)
    if every == "1w":
        day -= timedelta(days=day.weekday())
    edges: list[int] = []
    while not edges or edges[-1] < stop:
        # If the clock skips midnight, the offset before it gives the day's first instant.
        edges.append(from_datetime(datetime.combine(day, time(), zone)))
        day += step
    return edges
