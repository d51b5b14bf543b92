"""Answers to long ranges from the sums of days, without reading every window."""

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
"""How many rows to decode together."""
_DAYS_TOGETHER = 10
"""How many days to process at once. More days are faster, but take more memory."""


class DayReader:
    """Reads the sums of days, for one range and width of windows."""

    def __init__(self, store: Store, ask: Ask, targets: Targets) -> None:
        self._store, self._ask, self._targets = store, ask, targets
        self._width = (ask.every or 0) * NS

    @staticmethod
    def can(ask: Ask) -> bool:
        """Whether the windows of the question consist of whole days, or days consist of whole windows."""
        width = (ask.every or 0) * NS
        return not width or width % DAY == 0 or (DAY % width == 0 and width % (ask.rows.every * NS) == 0)

    def read(self, days: Sequence[int]) -> list[Span]:
        """Add the sums of days. Returns the parts of the range without these days."""
        remaining, at = [], self._ask.start
        for start, stop in _runs(days):
            if at < start:
                remaining.append((at, start))
            at = stop
            if not self._width or self._width % DAY == 0:
                self._read_totals(start, stop)
            else:
                self._read_parts(start, stop)
        if at < self._ask.stop:
            remaining.append((at, self._ask.stop))
        return remaining

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
        """Values of consecutive hours or windows from the start of the first day, by series."""
        lines: dict[int, list[int]] = {}
        for page in self._select(column, start, stop):
            # One call decodes all rows: a call for each row would take longer than the decoding.
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
        """Add lines to the windows of the question. Each window has `step` values of a line."""
        totals: dict[int, tuple[ByWindow, list[int]]] = {}
        for series, line in lines.items():
            sums = _summed(line, len(starts), step)
            for windows, _ in self._targets.of(series):
                total = totals.get(id(windows))
                totals[id(windows)] = windows, (list(map(add, total[1], sums)) if total else sums)
        for windows, sums in totals.values():
            if sums.count(0) * 2 < len(sums):
                windows.update(zip(starts, sums, strict=True))
            else:
                windows.update({start: value for start, value in zip(starts, sums, strict=True) if value})


def _summed(line: list[int], count: int, step: int) -> list[int]:
    """Sums of `step` values each. Missing values at the end count as 0."""
    line = line + [0] * (count * step - len(line))
    if step == 1:
        return line
    parts = [line[n::step] for n in range(step)]
    return list(map(add, *parts)) if len(parts) == 2 else list(map(sum, zip(*parts, strict=True)))


def _runs(days: Sequence[int]) -> Iterator[Span]:
    """Consecutive days as ranges."""
    start = stop = days[0]
    for day in days:
        if day != stop:
            yield start, stop
            start = day
        stop = day + DAY
    yield start, stop
