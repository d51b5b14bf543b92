"""Cut a range into stretches by the number of rows in two stores, so that each stretch fits into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from pfa_flux.engines.ask import Ask, Rows
from pfa_flux.engines.base import Engine, Span
from pfa_flux.times import NS

MOST = 20_000
"""Maximum number of rows in a stretch, in both stores together."""
_DAY = 86400 * NS
_DAYS_AT_ONCE = 366 * 3

Place = tuple[Engine, Rows]
"""A store and the rows in it."""


class Stretch(NamedTuple):
    """Part of a range: [start, stop) in nanoseconds, and its number of rows in each store."""

    start: int
    stop: int
    source: int
    target: int

    @property
    def rows(self) -> int:
        """Number of rows in both stores."""
        return self.source + self.target


def stretches(places: Sequence[Place], start: int, stop: int, most: int = MOST) -> Iterator[Stretch]:
    """Cut [start, stop) into stretches with rows, in order.

    A stretch has at most `most` rows, unless all its rows have the same time.

    Args:
        places: the source and the target.
        start: start of the range, nanoseconds.
        stop: end of the range, nanoseconds.
        most: maximum number of rows in a stretch.
    """
    begun: Stretch | None = None
    for day in _days(places, start, stop):
        if begun and begun.rows + day.rows > most:
            yield begun
            begun = None
        if day.rows > most:
            yield from _halves(places, day, most)
        elif begun:
            begun = Stretch(begun.start, day.stop, begun.source + day.source, begun.target + day.target)
        else:
            begun = day
    if begun:
        yield begun


def count(place: Place, start: int, stop: int) -> int:
    """Number of rows in [start, stop), nanoseconds."""
    return sum(_counts(place, start, stop, None).values())


def _days(places: Sequence[Place], start: int, stop: int) -> Iterator[Stretch]:
    for low in range(start // _DAY * _DAY, stop, _DAYS_AT_ONCE * _DAY):
        span = max(start, low), min(stop, low + _DAYS_AT_ONCE * _DAY)
        source, target = (_counts(place, *span, _DAY // NS) for place in places)
        for day in sorted(source.keys() | target.keys()):
            yield Stretch(max(span[0], day), min(span[1], day + _DAY), source.get(day, 0), target.get(day, 0))


def _halves(places: Sequence[Place], whole: Stretch, most: int) -> Iterator[Stretch]:
    """The parts of a stretch, halved until no part has too many rows."""
    if not whole.rows:
        return
    if whole.rows <= most or whole.stop - whole.start < 2:
        yield whole
        return
    middle = (whole.start + whole.stop) // 2
    for span in ((whole.start, middle), (middle, whole.stop)):
        yield from _halves(places, Stretch(*span, *(count(place, *span) for place in places)), most)


def _counts(place: Place, start: int, stop: int, every: int | None) -> dict[int, int]:
    if start >= stop:
        return {}
    engine, rows = place
    (sums,) = engine.aggregate([Ask(replace(rows, count=True), start, stop, every=every)])
    return {begin: n for windows in sums.values() for begin, n in windows.items() if n}


def ends_of(place: Place, span: Span, every: int) -> set[int]:
    """Ends of the windows with a width (seconds) that have rows in a range."""
    return {begin + every * NS for begin in _counts(place, *span, every)}
