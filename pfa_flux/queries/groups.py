"""Counts of a question by its keys, each with the blocks of time that its interval is judged by."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pfa_flux.engines.base import Engine
from pfa_flux.errors import InvalidValueError
from pfa_flux.queries.asking import Asker, DialectChoice
from pfa_flux.queries.grid import EVERY, Grid, make_grid
from pfa_flux.queries.interval import block_hours, block_starts
from pfa_flux.queries.question import NOTHING, Question, asked_for, fold, named
from pfa_flux.queries.selection import Counts, Sides
from pfa_flux.queries.sources import SourceChoice, Sources, choose
from pfa_flux.settings import Settings
from pfa_flux.times import NS

_MOST_ROWS = 1_000_000
_DAY = 86400
_BLOCK_OF_A_DAY = 7200
"""Seconds: twelve blocks of a day are enough for its interval (benchmarks/coverage.py), and half the windows."""


@dataclass(frozen=True, slots=True)
class Group:
    """Counts of one row.

    Attributes:
        key: value of each key asked for.
        total: hits and loads.
        blocks: the same by blocks of time, empty ones included.
    """

    key: Mapping[str, str]
    total: Sides
    blocks: Sequence[Sides]


@dataclass(frozen=True, slots=True)
class Grouped:
    """All rows' counts, and where they are from.

    Attributes:
        groups: sorted by key.
        sources: the parts they are from.
        asker: who asked for them.
        width: width of the windows that were asked for, nanoseconds.
        first_hits: start of the first window that has hits, nanoseconds; None without any.
    """

    groups: Sequence[Group]
    sources: Sources
    asker: Asker
    width: int
    first_hits: int | None


def grouped(
    engine: Engine, settings: Settings, question: Question, now: int, dialect: DialectChoice, source: SourceChoice
) -> Grouped:
    """Count what a question asks for; arguments and errors as of `blocked_ratio`."""
    by_day = "time" in question.by and EVERY.get(question.every, 0) >= _DAY
    step = math.lcm(_BLOCK_OF_A_DAY if by_day else 3600, settings.task.every)
    grid = make_grid(question.start, question.stop, question.every, question.zone) if "time" in question.by else None
    width = grid.granularity(step) if grid else block_hours(question.start, question.stop, step // 3600) * 3600
    sources = choose(engine, settings, question.selection, width, source, now)
    asker = Asker(engine, settings, sources, dialect, by_time=grid is not None)
    if question.selects_nothing:
        totals, windows = Counts(), Counts()
    elif grid:
        totals, windows = Counts(), asker.windows(replace(question.selection, every=width))
    else:
        totals, windows = asker.whole(question.selection, width)
    groups = (
        _by_time(windows, question, sources, grid, step // 3600)
        if grid
        else _whole(totals, windows, question, sources, width)
    )
    first = min((cell.window for cell, sides in windows.items() if sides.hits), default=None)
    return Grouped(groups, sources, asker, width * NS, first)


def _whole(totals: Counts, windows: Counts, question: Question, sources: Sources, width: int) -> list[Group]:
    """Rows for the whole range, and blocks of an hour or more for their intervals."""
    sums, blocks = fold(totals, question), fold(windows, question)
    starts = block_starts(sources.start, sources.stop, width // 3600)
    return [
        Group(
            named(question, values),
            sums.get(values, {}).get(0, NOTHING),
            [blocks.get(values, {}).get(start, NOTHING) for start in starts],
        )
        for values in sorted({*sums, *asked_for(question)})
    ]


def _total(blocks: Iterable[Sides]) -> Sides:
    return Sides(*map(sum, zip(*blocks, strict=True)))


def _by_time(counts: Counts, question: Question, sources: Sources, grid: Grid, step: int) -> list[Group]:
    """Rows for each interval of time, empty ones included; the blocks are parts of the interval."""
    windows = fold(counts, question)
    keys = {*windows, *asked_for(question)}
    if len(keys) * len(grid.starts) > _MOST_ROWS:
        raise InvalidValueError(
            f"the answer would have {len(keys) * len(grid.starts):,} rows",
            "Use a wider --every, a shorter range, or filters.",
        )
    found = []
    place = question.by.index("time")
    for values in keys:
        for start, blocks in _parts(grid, sources, step, windows.get(values, {})):
            order = (*values[:place], start, *values[place:])
            labelled = (*values[:place], grid.label(start), *values[place:])
            found.append((order, named(question, labelled), blocks))
    found.sort(key=lambda item: item[0])
    return [Group(key, _total(blocks), blocks) for _, key, blocks in found]


def _parts(grid: Grid, sources: Sources, step: int, windows: Mapping[int, Sides]) -> Iterator[tuple[int, list[Sides]]]:
    """Each interval's start and its blocks, as far as the figures reach."""
    inside: dict[int, dict[int, Sides]] = {}
    for window, sides in windows.items():
        inside.setdefault(grid.start_of(window), {})[window] = sides
    for start, end in itertools.pairwise(grid.edges):
        width = block_hours(0, end - start, step) * 3600 * NS
        first = (max(start, sources.start) - start) // width
        last = (min(end, sources.stop) - 1 - start) // width
        # None at all where the interval lies in a past that is not known.
        blocks = [NOTHING] * max(1, last - first + 1)
        for window, (hits, js) in inside.get(start, {}).items():
            block = max((window - start) // width, first) - first
            blocks[block] = Sides(blocks[block].hits + hits, blocks[block].js + js)
        yield start, blocks
