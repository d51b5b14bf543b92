"""Proofs: records of windows that were compared with raw data, for engines without records of their own.

A separate measurement in the rollup bucket has three integer fields for each window, with the window's label. `total`
and `rows` are the sum and number of the window's rows according to raw data; `rows` also counts rows of 0. `proved` is
1
if the downsampled rows were equal. It is 0 if they cannot be trusted, because raw data expired before a comparison, or
lost rows since. So a reader of the rollup bucket can trust a window without reading raw data: if the sum and number of
the downsampled rows equal the proved ones, no row was added, removed or overwritten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from pfa_flux.engines.ask import Ask, ByWindow, Rows, Where, Windows
from pfa_flux.engines.base import Engine, Point, Span
from pfa_flux.times import NS
from pfa_flux.windows.ranges import merged

MEASUREMENT = "pfa_flux_proved"
_OF = "of"
_FIELDS = ("total", "rows", "proved")
DAY = 86400 * NS


class Noted(NamedTuple):
    """The record of a window.

    Attributes:
        total: sum of the window's rows.
        rows: number of pfa-flux's rows. If raw data expired before a comparison, number of all rows.
        proved: whether the window matched raw data.
    """

    total: int
    rows: int
    proved: bool


class Summed(NamedTuple):
    """Recorded and downsampled sums over several windows.

    Attributes:
        windows: number of recorded windows.
        proved: number of proved windows.
        total: recorded sum.
        rows: recorded number of rows.
        there_total: sum of the downsampled rows.
        there_rows: number of the downsampled rows.
    """

    windows: int
    proved: int
    total: int
    rows: int
    there_total: int = 0
    there_rows: int = 0

    @property
    def unchanged(self) -> bool:
        """Whether the sums of the downsampled rows equal the recorded ones."""
        return (self.total, self.rows) == (self.there_total, self.there_rows)


class ProofLog:
    """The records of one measurement's windows."""

    def __init__(self, engine: Engine, windows: Windows) -> None:
        self._engine, self._windows = engine, windows
        self._key = hashlib.sha256(windows.key.encode()).hexdigest()[:16]
        self._where = {_OF: (self._key,)}
        rollup = windows.rollup
        self._rows = {name: Rows(rollup.bucket, MEASUREMENT, name, every=rollup.every) for name in _FIELDS}

    def summed(self, start: int, stop: int, width: int) -> dict[int, Summed]:
        """Sums over stretches of [start, stop) with this width (nanoseconds), by their starts, without empty ones."""
        rollup = self._windows.rollup
        return self._asked(start, stop, width, [(rollup, {}), (replace(rollup, count=True), {})])

    def noted(self, start: int, stop: int) -> dict[int, Noted]:
        """Records of the windows of [start, stop), by their ends."""
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
        by_field = [sums.get((), ByWindow()) for sums in answers]
        begins = sorted({begin for sums in by_field for begin in sums})
        return {begin: Summed(*(sums[begin] for sums in by_field)) for begin in begins}

    def note(self, records: Mapping[int, Noted]) -> None:
        """Record windows, by their ends."""
        self._engine.write(self._windows.rollup.bucket, self._points(records))

    def _points(self, records: Mapping[int, Noted]) -> Iterable[Point]:
        for end, noted in sorted(records.items()):
            for name, value in zip(_FIELDS, noted, strict=True):
                yield Point(MEASUREMENT, {_OF: self._key}, name, int(value), end)

    def newest(self, stop: int) -> int | None:
        """End of the newest recorded window before an instant, or None."""
        return self._engine.edge(self._rows["proved"], "last", 0, stop, self._where)

    def windows_to_check(self, start: int, stop: int) -> Iterator[tuple[int, Summed | None]]:
        """The windows in days of [start, stop) that are not fully proved or have changed.

        Yields:
            The end of each window and its sums, or None if it has neither a record nor rows.
        """
        return self.windows_of(span for span, _ in self.days_to_check(start, stop))

    def windows_of(self, ranges: Iterable[Span]) -> Iterator[tuple[int, Summed | None]]:
        """The end of each window in the ranges and its sums, or None if it has neither a record nor rows."""
        width = self._windows.width
        for low, high in merged(ranges):
            sums = self.summed(low, high, width)
            for end in range(low + width, high + 1, width):
                yield end, sums.get(end - width)

    def days_to_check(self, start: int, stop: int) -> list[tuple[Span, Summed | None]]:
        """The days, or parts of days, of [start, stop) that are not fully proved or have changed.

        Returns:
            Each range and its sums, or None if it has neither a record nor rows.
        """
        width, by_day = self._windows.width, self.summed(start, stop, DAY)
        days: list[tuple[Span, Summed | None]] = []
        for day in range(start // DAY * DAY, stop, DAY):
            # A window belongs to the day of its end.
            low, high = max(start, day // width * width), min(stop, (day + DAY) // width * width)
            count, each = (high - low) // width, by_day.get(day)
            if count > 0 and not (each and each.unchanged and each.windows == each.proved == count):
                days.append(((low, high), each))
        return days
