"""Comparing downsampled data with raw data, window by window and page by page, and repairing what differs."""

from __future__ import annotations

from dataclasses import dataclass, field

from pfa_flux.engines.base import Span
from pfa_flux.times import format_instant
from pfa_flux.windows.recompute import Report, nobody, pieces
from pfa_flux.windows.rollup import Compared, Difference, Rollup, nothing, shrunk
from pfa_flux.windows.spans import merged
from pfa_flux.windows.trust import raw_begins
from pfa_flux.windows.whole import whole

_SHOWN = 1000
"""Differences that are kept word for word; all are counted."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found. Times are nanoseconds.

    Attributes:
        start: first edge of windows that was looked at.
        stop: the last.
        unknown: windows before it, of which there is no raw data any more, and which were not looked at.
        windows: windows that were compared.
        rows: rows that raw data makes of them.
        count: places that differ.
        differences: the first 1,000 of them.
        spans: the windows that they lie in.
        counted: page views of the raw rows that were compared.
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
    """Compare raw and downsampled data, in pieces of bounded memory.

    Args:
        rollup: the windows.
        start: widened to an edge of windows, and cut to where raw data begins; nanoseconds.
        stop: cut to the newest window that is due.
        now: the present, nanoseconds, by which raw data expires.
        fix: make right what differs, with what was just read.
        lower: make right even windows whose raw rows are fewer than when they were proved.
        report: called after every piece.
        waited: what was written before can be read by now; else that is waited for.

    Raises:
        PartialAnswerError: the engine answers in part.
    """
    spec = rollup.spec
    asked, stop = spec.floor(start), min(spec.floor(stop), spec.due(now))
    with whole(rollup.engine):
        start = min(max(asked, raw_begins(rollup, stop, now)), max(asked, stop))
    found = _Found(spec.width)
    keep = nothing if lower else shrunk
    for piece, _ in pieces(rollup, [(start, stop)], fix=fix, keep=keep, report=report, waited=waited):
        found.take(piece)
    # Sums of longer windows are made from the downsampled rows, also of those whose raw rows have expired.
    for low, high in rollup.engine.check_sums(spec.windows, (asked, stop), fix=fix):
        found.add(_of_day(low), (low, high))
    return Verification(
        start,
        max(start, stop),
        (start - asked) // spec.width,
        max(0, stop - start) // spec.width,
        found.rows,
        found.count,
        tuple(found.differences),
        tuple(merged(found.spans)),
        found.counted,
    )


def _of_day(day: int) -> Difference:
    reason = f"the sums of the day {format_instant(day)[:10]} are not those of its windows"
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
        """Take up a piece."""
        self.rows += len(piece.raw)
        self.counted += sum(piece.raw.values())
        for difference in piece.differences:
            self.add(difference, (difference.end - self.width, difference.end))

    def add(self, difference: Difference, span: Span) -> None:
        """Take up a difference."""
        self.count += 1
        self.spans.add(span)
        if len(self.differences) < _SHOWN:
            self.differences.append(difference)
