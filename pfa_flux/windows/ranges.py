"""Ranges of time, [start, stop) in nanoseconds, and how to cut long ranges into pieces of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pfa_flux.engines.base import Span

_FIRST, _MOST = 672, 2880
"""How many windows the first and the largest piece have: a week and a month of 15 minutes."""

_MANY, _FEW = 60_000, 15_000
"""If a piece has more or fewer rows than this, the next piece is smaller or larger."""


def merged(ranges: Iterable[Span]) -> list[Span]:
    """Ranges in order. Adjacent and overlapping ranges are joined, and empty ranges are left out."""
    joined: list[Span] = []
    for start, stop in sorted(ranges):
        if start >= stop:
            continue
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
        else:
            joined.append((start, stop))
    return joined


def covered(ranges: Iterable[Span], by: Iterable[Span]) -> list[Span]:
    """The parts of ranges that other ranges cover, in order."""
    others = merged(by)
    return merged((max(start, low), min(stop, high)) for start, stop in ranges for low, high in others)


def without(ranges: Iterable[Span], holes: Iterable[Span]) -> list[Span]:
    """The parts of ranges that no hole covers, in order."""
    parts, gaps = [], merged(holes)
    for start, stop in merged(ranges):
        at = start
        for low, high in gaps:
            if low < stop and high > at:
                parts.append((at, low))
                at = max(at, high)
        parts.append((at, stop))
    return merged(parts)


def length(ranges: Iterable[Span]) -> int:
    """Total length of ranges, nanoseconds."""
    return sum(stop - start for start, stop in ranges)


class Pieces:
    """Ranges cut into pieces. The rows of a piece determine the size of the next, so memory stays bounded."""

    def __init__(self, ranges: Iterable[Span], width: int) -> None:
        self._ranges, self._width = list(ranges), width
        self._windows = _FIRST

    def __iter__(self) -> Iterator[Span]:
        for start, stop in self._ranges:
            low = start
            while low < stop:
                high = min(stop, low + self._windows * self._width)
                yield low, high
                low = high

    def resize(self, rows: int) -> None:
        """Make the next piece smaller or larger, depending on the rows of the last one."""
        if rows > _MANY:
            self._windows = max(1, self._windows // 2)
        elif rows < _FEW:
            self._windows = min(_MOST, self._windows * 2)
