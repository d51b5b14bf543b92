"""Answers from the sums of days: long ranges without a look at their windows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from operator import add
from typing import TYPE_CHECKING, Any

from pfa_flux.engines.ask import Ask, ByWindow
from pfa_flux.engines.base import Span
from pfa_flux.engines.sqlite.proofs import DAY, HOUR
from pfa_flux.engines.sqlite.targets import Targets
from pfa_flux.times import NS

if TYPE_CHECKING:
    from pfa_flux.engines.sqlite.store import Store

_AT_ONCE = 5_000
"""Rows that are decoded together."""
_DAYS_TOGETHER = 10
"""Days that are put together at once: more are faster, and take more memory."""


class DayReader:
    """Reads days for one range and width of windows."""

    def __init__(self, store: Store, ask: Ask, targets: Targets) -> None:
        self._store, self._ask, self._targets = store, ask, targets
        self._width = (ask.every or 0) * NS

    @staticmethod
    def can(ask: Ask) -> bool:
        """Days and windows of the question are made of each other."""
        width = (ask.every or 0) * NS
        return not width or width % DAY == 0 or (DAY % width == 0 and width % (ask.rows.every * NS) == 0)

    def read(self, days: Sequence[int]) -> list[Span]:
        """Add the sums of days. Returns what of the range is not among them."""
        left, at = [], self._ask.start
        for start, stop in _runs(days):
            if at < start:
                left.append((at, start))
            at = stop
            if not self._width or self._width % DAY == 0:
                self._read_totals(start, stop)
            else:
                self._read_parts(start, stop)
        if at < self._ask.stop:
            left.append((at, self._ask.stop))
        return left

    def _select(self, column: str, start: int, stop: int) -> Iterator[list[tuple[int, int, Any]]]:
        only, parameters = self._targets.condition()
        sql = f"SELECT day, series, {column} FROM day WHERE day >= ? AND day < ?{only}"
        yield from self._store.pages(sql, (start, stop, *parameters), _AT_ONCE)

    def _read_totals(self, start: int, stop: int) -> None:
        width, whole = self._width, self._ask.start
        for page in self._select("n", start, stop):
            for day, series, value in page:
                window = day // width * width if width else whole
                for windows, _ in self._targets.of(series):
                    windows[window] += value

    def _read_parts(self, start: int, stop: int) -> None:
        hours = self._width % HOUR == 0 and HOUR % (self._ask.rows.every * NS) == 0
        unit, column = (HOUR, "hours") if hours else (self._ask.rows.every * NS, "windows")
        for low in range(start, stop, _DAYS_TOGETHER * DAY):
            high = min(stop, low + _DAYS_TOGETHER * DAY)
            starts = list(range(low, high, self._width))
            self._put(self._lines(column, low, high, DAY // unit), starts, self._width // unit)

    def _lines(self, column: str, start: int, stop: int, count: int) -> dict[int, list[int]]:
        """Hours or windows one after the other, from the start of the first day on, by series."""
        lines: dict[int, list[int]] = {}
        for page in self._select(column, start, stop):
            # Decoded together: a call for each row takes longer than its numbers.
            runs = json.loads(f"[{','.join([text for _, _, text in page])}]")
            for (day, series, _), run in zip(page, runs, strict=True):
                begin = (day - start) // DAY * count + run.pop(0)
                line = lines.get(series)
                if line is None:
                    lines[series] = line = []
                if len(line) < begin:
                    line += [0] * (begin - len(line))
                line += run
        return lines

    def _put(self, lines: dict[int, list[int]], starts: Sequence[int], step: int) -> None:
        """Sum lines to the windows asked for, each of which is so many of their parts."""
        together: dict[int, tuple[ByWindow, list[int]]] = {}
        for series, line in lines.items():
            sums = _summed(line, len(starts), step)
            for windows, _ in self._targets.of(series):
                there = together.get(id(windows))
                together[id(windows)] = windows, (list(map(add, there[1], sums)) if there else sums)
        for windows, sums in together.values():
            if sums.count(0) * 2 < len(sums):
                windows.update(zip(starts, sums, strict=True))
            else:
                windows.update({start: value for start, value in zip(starts, sums, strict=True) if value})


def _summed(line: list[int], count: int, step: int) -> list[int]:
    """Sums of `step` parts each; parts that are missing at the end are 0."""
    line = line + [0] * (count * step - len(line))
    if step == 1:
        return line
    parts = [line[n::step] for n in range(step)]
    return list(map(add, *parts)) if len(parts) == 2 else list(map(sum, zip(*parts, strict=True)))


def _runs(days: Sequence[int]) -> Iterator[Span]:
    """Days that follow on one another, as spans."""
    start = stop = days[0]
    for day in days:
        if day != stop:
            yield start, stop
            start = day
        stop = day + DAY
    yield start, stop
