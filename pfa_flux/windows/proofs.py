"""What is remembered of windows that were compared with raw data, on engines that remember nothing themselves.

A measurement of its own beside the downsampled rows has three integer fields for each window, labelled as that is:
`total` and `rows`, the sum and the number of the rows that the window has by the raw data (with rows of 0, which stand
for none), and `proved`: 1 where the downsampled rows were the same. 0 says that they cannot be trusted: raw data has
expired uncompared, or has lost rows since. Every reader of the rollup bucket sees it, and need not read raw data to
trust what is there: as long as sum and number of the downsampled rows are those that were proved, nothing has been
added, removed or overwritten since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from pfa_flux.engines.ask import Ask, ByWindow, Rows, Where, Windows
from pfa_flux.engines.base import Engine, Point, Span
from pfa_flux.times import NS
from pfa_flux.windows.spans import merged

MEASUREMENT = "pfa_flux_proved"
_OF = "of"
_FIELDS = ("total", "rows", "proved")
DAY = 86400 * NS


class Noted(NamedTuple):
    """What is remembered of a window.

    Attributes:
        total: sum of its rows.
        rows: their number; where the raw data expired uncompared, of all that are there, otherwise of ours.
        proved: it was what raw data said.
    """

    total: int
    rows: int
    proved: bool


class Summed(NamedTuple):
    """Windows of a stretch of time, remembered and downsampled, as sums.

    Attributes:
        windows: number of windows that are remembered.
        proved: number of those that were proved.
        total: sum of the rows that are remembered.
        rows: their number.
        there_total: sum of the downsampled rows.
        there_rows: their number.
    """

    windows: int
    proved: int
    total: int
    rows: int
    there_total: int = 0
    there_rows: int = 0

    @property
    def plain(self) -> bool:
        """The downsampled rows are those that are remembered, as far as sums say."""
        return (self.total, self.rows) == (self.there_total, self.there_rows)


class ProofLog:
    """What is remembered of the windows of one measurement."""

    def __init__(self, engine: Engine, windows: Windows) -> None:
        self._engine, self._windows = engine, windows
        self._key = hashlib.sha256(windows.key.encode()).hexdigest()[:16]
        self._where = {_OF: (self._key,)}
        rollup = windows.rollup
        self._rows = {name: Rows(rollup.bucket, MEASUREMENT, name, every=rollup.every) for name in _FIELDS}

    def summed(self, start: int, stop: int, width: int) -> dict[int, Summed]:
        """Sums of stretches of a width (nanoseconds) by their starts, of [start, stop); those without any left out."""
        rollup = self._windows.rollup
        return self._asked(start, stop, width, [(rollup, {}), (replace(rollup, count=True), {})])

    def noted(self, start: int, stop: int) -> dict[int, Noted]:
        """What is remembered of the windows of [start, stop), by their ends."""
        width = self._windows.width
        return {
            begin + width: Noted(each.total, each.rows, each.proved == each.windows)
            for begin, each in self._asked(start, stop, width, []).items()
            if each.windows
        }

    def _asked(self, start: int, stop: int, width: int, there: list[tuple[Rows, Where]]) -> dict[int, Summed]:
        if start >= stop:
            return {}
        asked = [
            (replace(self._rows["proved"], count=True), self._where),
            *((self._rows[name], self._where) for name in ("proved", "total", "rows")),
            *there,
        ]
        answers = self._engine.aggregate([Ask(rows, start, stop, (), where, width // NS) for rows, where in asked])
        found = [sums.get((), ByWindow()) for sums in answers]
        begins = sorted({begin for sums in found for begin in sums})
        return {begin: Summed(*(sums[begin] for sums in found)) for begin in begins}

    def note(self, found: Mapping[int, Noted]) -> None:
        """Remember windows, by their ends."""
        self._engine.write(self._windows.rollup.bucket, self._points(found))

    def _points(self, found: Mapping[int, Noted]) -> Iterable[Point]:
        for end, noted in sorted(found.items()):
            for name, value in zip(_FIELDS, noted, strict=True):
                yield Point(MEASUREMENT, {_OF: self._key}, name, int(value), end)

    def newest(self, stop: int) -> int | None:
        """End of the newest window before an instant that is remembered; None without any."""
        return self._engine.edge(self._rows["proved"], "last", 0, stop, self._where)

    def windows_to_look_at(self, start: int, stop: int) -> Iterator[tuple[int, Summed | None]]:
        """Windows of the days of [start, stop) that are not proved throughout, or not what they were.

        Yields:
            The end of each, and its sums; None where nothing is remembered or there.
        """
        return self.windows_of(span for span, _ in self.days_to_look_at(start, stop))

    def windows_of(self, spans: Iterable[Span]) -> Iterator[tuple[int, Summed | None]]:
        """The end of each window of spans, and its sums; None where nothing is remembered or there."""
        width = self._windows.width
        for low, high in merged(spans):
            found = self.summed(low, high, width)
            for end in range(low + width, high + 1, width):
                yield end, found.get(end - width)

    def days_to_look_at(self, start: int, stop: int) -> list[tuple[Span, Summed | None]]:
        """Stretches of [start, stop), each within a day, that are not proved throughout, or not what they were.

        Returns:
            Each with its sums; None where nothing is remembered or there.
        """
        width, found = self._windows.width, self.summed(start, stop, DAY)
        left: list[tuple[Span, Summed | None]] = []
        for day in range(start // DAY * DAY, stop, DAY):
            # A window belongs to the day that it ends in.
            low, high = max(start, day // width * width), min(stop, (day + DAY) // width * width)
            count, each = (high - low) // width, found.get(day)
            if count > 0 and not (each and each.plain and each.windows == each.proved == count):
                left.append(((low, high), each))
        return left
