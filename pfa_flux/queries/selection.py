"""What a query selects, and what it gives: counts of both sides by domain, page and window of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from pfa_flux.times import NS

WhichSides = Literal["both", "hits", "js"]


@dataclass(frozen=True, slots=True)
class Selection:
    """The points that count.

    Attributes:
        start: first nanosecond that counts.
        stop: first nanosecond that does not.
        domains: exact domains, empty for all.
        pages: exact pages, empty for all.
        by_page: keep pages apart; they are summed otherwise.
        every: width of windows in seconds, aligned to the epoch; None for one sum over the whole range.
        sides: both, or hits or page loads alone.
    """

    start: int
    stop: int
    domains: tuple[str, ...] = ()
    pages: tuple[str, ...] = ()
    by_page: bool = False
    every: int | None = None
    sides: WhichSides = "both"

    def has(self, side: Literal["hits", "js"]) -> bool:
        """A side is asked for."""
        return self.sides in ("both", side)

    @property
    def keys(self) -> tuple[str, ...]:
        """Tags that are kept apart, sorted."""
        return ("domain", "page") if self.by_page else ("domain",)

    def window_of(self, time: int) -> int:
        """Start of the window `time` lies in, nanoseconds; 0 where there are no windows.

        The first window of a range begins before the range where the range is not aligned; engines label it with
        the one or the other, and this makes them agree.
        """
        width = (self.every or 0) * NS
        return time // width * width if width else 0


class Cell(NamedTuple):
    """Where a count belongs. A point without a domain or page has '' there."""

    window: int
    domain: str
    page: str


class Sides(NamedTuple):
    """Hits and page loads with JavaScript."""

    hits: int
    js: int


Counts = dict[Cell, Sides]


def add(counts: Counts, cell: Cell, hits: int, js: int) -> None:
    """Add to a cell's counts; a cell of nothing is not made."""
    if hits or js:
        before = counts.get(cell, Sides(0, 0))
        counts[cell] = Sides(before.hits + hits, before.js + js)
