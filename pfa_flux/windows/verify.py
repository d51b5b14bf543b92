"""Comparing downsampled data with raw data, by window and page, and repairing differences."""

from __future__ import annotations

from dataclasses import dataclass, field

from pfa_flux.engines.base import Span
from pfa_flux.times import format_instant
from pfa_flux.windows.partial import whole
from pfa_flux.windows.ranges import merged
from pfa_flux.windows.recompute import Report, nobody, pieces
from pfa_flux.windows.rollup import Compared, Difference, Rollup, nothing, shrunk
from pfa_flux.windows.trust import raw_begins

_SHOWN = 1000
"""Number of differences to list; all are counted."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Result of `verify`. Times are nanoseconds.

    Attributes:
        start: start of the first compared window.
        stop: end of the last compared window.
        unknown: number of earlier windows that were not compared, because their raw data has expired.
        windows: number of compared windows.
        rows: number of their rows according to raw data.
        count: number of places that differ.
        differences: the first 1,000 of them.
        spans: spans of windows with differences.
        counted: page views in the compared raw rows.
    """

    start: int
    stop: int
    unknown: int
    windows: int
    rows: int
    count: int
    differences: tuple[Difference, ...]
    spans: tuple[Span, ...]
    counted: int = 0

    @property
    def clean(self) -> bool:
        """Nothing differs."""
        return self.count == 0


def verify(
    rollup: Rollup,
    start: int,
    stop: int,
    now: int,
    *,
    fix: bool = False,
    lower: bool = False,
    report: Report = nobody,
    waited: bool = False,
) -> Verification:
    """Compare downsampled with raw data in pieces, in bounded memory.

    Args:
        rollup: the windows.
        start: widened to an edge of windows, and limited to the start of raw data; nanoseconds.
        stop: cut to the newest window that is due.
        now: the current time, nanoseconds; it decides which raw data has expired.
        fix: correct differences with the rows just read.
        lower: also correct windows with fewer raw rows than when they were proved.
        report: called after every piece.
        waited: what was written before can be read by now; else that is waited for.

    Raises:
        PartialAnswerError: an answer of the engine is partial.
    """
    spec = rollup.spec
    asked, stop = spec.floor(start), min(spec.floor(stop), spec.due(now))
    with whole(rollup.engine):
        start = min(max(asked, raw_begins(rollup, stop, now)), max(asked, stop))
    found = _Found(spec.width)
    keep = nothing if lower else shrunk
    for piece, _ in pieces(rollup, [(start, stop)], fix=fix, keep=keep, report=report, waited=waited):
        found.take(piece)
    # Sums of longer windows come from the downsampled rows, including those with expired raw rows.
    for low, high in rollup.engine.check_sums(spec.windows, (asked, stop), fix=fix):
        found.add(_of_day(low), (low, high))
    return Verification(
        start=start,
        stop=max(start, stop),
        unknown=(start - asked) // spec.width,
        windows=max(0, stop - start) // spec.width,
        rows=found.rows,
        count=found.count,
        differences=tuple(found.differences),
        spans=tuple(merged(found.spans)),
        counted=found.counted,
    )


def _of_day(day: int) -> Difference:
    reason = f"the sums of the day {format_instant(day)[:10]} differ from those of its windows"
    return Difference(day, {}, 0, None, reason)


@dataclass
class _Found:
    width: int
    rows: int = 0
    counted: int = 0
    count: int = 0
    differences: list[Difference] = field(default_factory=list)
    spans: set[Span] = field(default_factory=set)

    def take(self, piece: Compared) -> None:
        """Add a piece."""
        self.rows += len(piece.raw)
        self.counted += sum(piece.raw.values())
        for difference in piece.differences:
            self.add(difference, (difference.end - self.width, difference.end))

    def add(self, difference: Difference, span: Span) -> None:
        """Add a difference."""
        self.count += 1
        self.spans.add(span)
        if len(self.differences) < _SHOWN:
            self.differences.append(difference)
