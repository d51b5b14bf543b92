"""Spans of time, [start, stop) in nanoseconds, and cutting long ones into pieces of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pfa_flux.engines.base import Span

_FIRST, _MOST = 672, 2880
"""Windows in the first piece and in the largest: a week and a month of 15 minutes."""

_MANY, _FEW = 60_000, 15_000
"""Rows of a piece above which the next is smaller, and below which it is larger."""


def merged(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, with adjacent and overlapping ones joined and empty ones left out."""
    found: list[Span] = []
    for start, stop in sorted(spans):
        if start >= stop:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        else:
            found.append((start, stop))
    return found


def covered(spans: Iterable[Span], by: Iterable[Span]) -> list[Span]:
    """The parts of spans that other spans cover, in order."""
    others = merged(by)
    return merged((max(start, low), min(stop, high)) for start, stop in spans for low, high in others)


def without(spans: Iterable[Span], holes: Iterable[Span]) -> list[Span]:
    """The parts of spans that holes do not cover, in order."""
    left, gaps = [], merged(holes)
    for start, stop in merged(spans):
        at = start
        for low, high in gaps:
            if low < stop and high > at:
                left.append((at, low))
                at = max(at, high)
        left.append((at, stop))
    return merged(left)


def length(spans: Iterable[Span]) -> int:
    """Total length of spans, nanoseconds."""
    return sum(stop - start for start, stop in spans)


class Pieces:
    """Spans cut into pieces. The rows found determine the size of the next piece, so memory stays bounded."""

    def __init__(self, spans: Iterable[Span], width: int) -> None:
        self._spans, self._width = list(spans), width
        self._windows = _FIRST

    def __iter__(self) -> Iterator[Span]:
        for start, stop in self._spans:
            low = start
            while low < stop:
                high = min(stop, low + self._windows * self._width)
                yield low, high
                low = high

    def resize(self, rows: int) -> None:
        """Make the next piece smaller or larger, according to the rows of the last one."""
        if rows > _MANY:
            self._windows = max(1, self._windows // 2)
        elif rows < _FEW:
            self._windows = min(_MOST, self._windows * 2)
