"""Counts by the keys of a question, with the blocks of time for their intervals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

from pfa_flux.arguments import named
from pfa_flux.engines.ask import ByWindow, Sums
from pfa_flux.errors import InvalidValueError
from pfa_flux.ratio.counts import Counts
from pfa_flux.ratio.grid import EVERY, Grid, make_grid
from pfa_flux.ratio.interval import block_hours, block_starts
from pfa_flux.ratio.question import Question, Values, asked_for, values_of
from pfa_flux.ratio.sources import Sources
from pfa_flux.schema import Side
from pfa_flux.settings import Settings
from pfa_flux.times import NS

_MOST_ROWS = 1_000_000
_DAY = 86400
_BLOCK_OF_A_DAY = 7200
"""Seconds. Twelve blocks a day are enough for the interval of a day (benchmarks/coverage.py). They need half as many
windows as 24."""


class Group(NamedTuple):
    """Counts of one row.

    Attributes:
        key: value of each key.
        hits: hits by blocks of time, including empty blocks.
        js: loads, by the same blocks.
        start: start of the interval, nanoseconds; None without the key `time`.
    """

    key: Mapping[str, str]
    hits: Sequence[int]
    js: Sequence[int]
    start: int | None


_NONE = ByWindow()


@dataclass(frozen=True)
class Layout:
    """How the rows of a question divide time.

    Attributes:
        question: the question.
        step: seconds; blocks are whole multiples of it.
        grid: intervals of the key `time`; None without that key.
        width: width of the windows that make up all blocks, seconds.
    """

    question: Question
    step: int
    grid: Grid | None
    width: int

    @classmethod
    def of(cls, question: Question, settings: Settings) -> Layout:
        """The layout of a question.

        Raises:
            InvalidValueError: there would be too many intervals.
        """
        by_time = "time" in question.by
        by_day = by_time and EVERY.get(question.every, 0) >= _DAY
        step = math.lcm(_BLOCK_OF_A_DAY if by_day else 3600, settings.task.every)
        if not by_time:
            return cls(question, step, None, block_hours(question.start, question.stop, step // 3600) * 3600)
        grid = make_grid(question.start, question.stop, question.every, question.zone)
        return cls(question, step, grid, grid.granularity(step))

    def groups(self, counts: Counts) -> Iterator[Group]:
        """Rows with their counts, sorted by key.

        Raises:
            InvalidValueError: there would be more than a million rows.
        """
        if "page" not in self.question.by:
            counts = counts.over_pages
        hits = self._folded(counts.sums.get(Side.HITS, {}), counts.tags)
        js = self._folded(counts.sums.get(Side.LOADS, {}), counts.tags)
        keys = sorted({*hits, *js, *asked_for(self.question)})
        pieces = self._pieces(counts.sources, counts.width)
        if len(keys) * len(pieces) > _MOST_ROWS:
            raise InvalidValueError(
                f"the answer would have {len(keys) * len(pieces):,} rows",
                f"Use a wider {named('every')}, a shorter range, or filters.",
            )
        if self.grid and self.question.by[-1] != "time":
            yield from self._in_order_of_time(keys, pieces, hits, js)
            return
        names = [str(name) for name in self.question.by if name != "time"]
        for values in keys:
            key, of_hits, of_js = dict(zip(names, values, strict=True)), hits.get(values, _NONE), js.get(values, _NONE)
            for label, start, take in pieces:
                yield Group({**key, "time": label} if label else key, take(of_hits), take(of_js), start)

    def _in_order_of_time(
        self,
        keys: Sequence[Values],
        pieces: Sequence[_Piece],
        hits: Mapping[Values, ByWindow],
        js: Mapping[Values, ByWindow],
    ) -> Iterator[Group]:
        """Rows if other keys follow the time."""
        names = tuple(map(str, self.question.by))
        place = names.index("time")
        # Rows with equal keys before the time are adjacent.
        for _, alike in itertools.groupby(keys, key=lambda values: values[:place]):
            for (label, start, take), values in itertools.product(pieces, list(alike)):
                key = dict(zip(names, (*values[:place], label, *values[place:]), strict=True))
                yield Group(key, take(hits.get(values, _NONE)), take(js.get(values, _NONE)), start)

    def _folded(self, sums: Sums, tags: tuple[str, ...]) -> dict[Values, ByWindow]:
        """Sums by the question's keys: domains are summed to networks, pages over domains."""
        folded: dict[Values, ByWindow] = {}
        own: set[Values] = set()
        by_page = "page" in tags
        for stored, windows in sums.items():
            domain, page = stored if by_page else (*stored, "")
            if not self.question.includes(domain):
                continue
            values = values_of(self.question, domain, page)
            there = folded.get(values)
            if there is None:
                # Copy it only when something is added to it.
                folded[values] = windows
                continue
            if values not in own:
                folded[values] = there = ByWindow(there)
                own.add(values)
            for window, value in windows.items():
                there[window] += value
        return folded

    def _pieces(self, sources: Sources, width: int) -> list[_Piece]:
        """Intervals with their blocks, as far as the figures reach. Without `time`, the whole range is one interval."""
        if self.grid is None:
            starts = block_starts(sources.start, sources.stop, self.width // 3600)
            return [_Piece("", None, _taker(starts, starts.start + len(starts) * starts.step, width * NS))]
        pieces = []
        for start, end in itertools.pairwise(self.grid.edges):
            block = block_hours(0, end - start, self.step // 3600) * 3600 * NS
            first = (max(start, sources.start) - start) // block
            last = (min(end, sources.stop) - 1 - start) // block
            # Empty if the interval has no known data.
            blocks = range(start + first * block, min(end, start + (last + 1) * block), block)
            pieces.append(_Piece(self.grid.label(start), start, _taker(blocks, min(end, blocks.stop), width * NS)))
        return pieces


class _Piece(NamedTuple):
    """One row in time.

    Attributes:
        label: the interval's start as text; empty if time is not a key.
        start: the same, nanoseconds; None if time is not a key.
        take: sums windows into the blocks of the interval.
    """

    label: str
    start: int | None
    take: Callable[[ByWindow], Sequence[int]]


def _taker(blocks: range, end: int, width: int) -> Callable[[ByWindow], Sequence[int]]:
    """A function that sums windows of a width (nanoseconds) into blocks. The last block may end early."""
    if blocks.step == width and len(blocks) > 1:
        return itemgetter(*blocks)
    windows_of = [range(low, min(low + blocks.step, end), width) for low in blocks]
    return lambda windows: [sum([windows[start] for start in block]) for block in windows_of]
