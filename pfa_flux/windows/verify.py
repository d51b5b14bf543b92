"""Compare downsampled data with raw data by window and page, and repair differences."""

from __future__ import annotations

from dataclasses import dataclass, field

from pfa_flux.deprecated import renamed
from pfa_flux.engines.base import Span
from pfa_flux.times import format_instant
from pfa_flux.windows.partial import whole
from pfa_flux.windows.ranges import merged
from pfa_flux.windows.recompute import Report, ignore_progress, pieces
from pfa_flux.windows.rollup import Compared, Difference, Rollup, nothing, shrunk
from pfa_flux.windows.trust import raw_begins

_SHOWN = 1000
"""How many differences to list. All are counted."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Result of `verify`. Times are nanoseconds.

    Attributes:
        start: start of the first compared window.
        stop: end of the last compared window.
        unknown: number of earlier windows that were not compared, because their raw data has expired.
        windows: number of compared windows.
        rows: number of rows in these windows according to raw data.
        count: number of places that differ.
        differences: the first 1,000 differences.
        ranges: ranges of windows with differences.
        counted: page views in the compared raw rows.
    """

    start: int
    stop: int
    unknown: int
    windows: int
    rows: int
    count: int
    differences: tuple[Difference, ...]
    ranges: tuple[Span, ...]
    counted: int = 0
    spans = renamed("Verification", "spans", "ranges")

    @property
    def clean(self) -> bool:
        """Whether nothing differs."""
        return self.count == 0


def verify(
    rollup: Rollup,
    start: int,
    stop: int,
    now: int,
    *,
    fix: bool = False,
    lower: bool = False,
    report: Report = ignore_progress,
    waited: bool = False,
) -> Verification:
    """Compare downsampled with raw data in pieces, in bounded memory.

    Args:
        rollup: the windows.
        start: start of the range, nanoseconds. It moves back to the start of a window, or forward to the first raw
            data.
        stop: end of the range. It moves back to the end of the newest due window.
        now: the present, nanoseconds. It decides which raw data has expired.
        fix: repair differences.
        lower: also repair windows that now have fewer raw rows than when they were proved.
        report: called after every piece.
        waited: whether earlier writes are already visible. Otherwise, wait until they are.

    Raises:
        PartialAnswerError: an answer of the engine is partial.
    """
    spec = rollup.spec
    wanted, stop = spec.floor(start), min(spec.floor(stop), spec.due(now))
    with whole(rollup.engine):
        start = min(max(wanted, raw_begins(rollup, stop, now)), max(wanted, stop))
    result = _Result(spec.width)
    keep = nothing if lower else shrunk
    for piece, _ in pieces(rollup, [(start, stop)], fix=fix, keep=keep, report=report, waited=waited):
        result.take(piece)
    # The sums of days are made from downsampled rows, so they can be checked after raw rows have expired.
    for low, high in rollup.engine.check_sums(spec.windows, (wanted, stop), fix=fix):
        result.add(_of_day(low), (low, high))
    return Verification(
        start=start,
        stop=max(start, stop),
        unknown=(start - wanted) // spec.width,
        windows=max(0, stop - start) // spec.width,
        rows=result.rows,
        count=result.count,
        differences=tuple(result.differences),
        ranges=tuple(merged(result.ranges)),
        counted=result.counted,
    )


def _of_day(day: int) -> Difference:
    reason = f"the sums of the day {format_instant(day)[:10]} differ from those of its windows"
    return Difference(day, {}, 0, None, reason)


@dataclass
class _Result:
    width: int
    rows: int = 0
    counted: int = 0
    count: int = 0
    differences: list[Difference] = field(default_factory=list)
    ranges: set[Span] = field(default_factory=set)

    def take(self, piece: Compared) -> None:
        """Add a piece."""
        self.rows += len(piece.raw)
        self.counted += sum(piece.raw.values())
        for difference in piece.differences:
            self.add(difference, (difference.end - self.width, difference.end))

    def add(self, difference: Difference, span: Span) -> None:
        """Add a difference."""
        self.count += 1
        self.ranges.add(span)
        if len(self.differences) < _SHOWN:
            self.differences.append(difference)
