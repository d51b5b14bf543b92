"""Compare windows with raw data piece by piece, and optionally repair them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from pfa_flux.engines import patience
from pfa_flux.engines.base import Span
from pfa_flux.windows.partial import whole
from pfa_flux.windows.proofs import Noted
from pfa_flux.windows.ranges import Pieces, length, merged
from pfa_flux.windows.rollup import Compared, Keep, Rollup, shrunk
from pfa_flux.windows.store_check import wait_until_visible

T = TypeVar("T")

_AT_ONCE = 2880
"""How many windows' records to read at once: a month of 15 minutes."""
_LONGEST_PAUSE = 60.0
_PATIENCE = 600.0
"""Longest total wait for a busy server during one piece, seconds."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of the work.

    Attributes:
        done: number of finished windows.
        total: number of all windows.
        rows: number of rows written so far, or of rows compared if nothing is written.
        waiting: current wait for a busy server, seconds; 0 if the server is not busy.
    """

    done: int
    total: int
    rows: int
    waiting: float = 0.0


Report = Callable[[Progress], None]


def ignore_progress(_: Progress) -> None:
    """Ignore progress."""


def recompute(
    rollup: Rollup,
    ranges: Iterable[Span],
    *,
    keep: Keep = shrunk,
    report: Report = ignore_progress,
    waited: bool = False,
) -> int:
    """Make windows match raw data. It writes only rows that differ.

    It works in pieces, in bounded memory. Repeating it changes nothing.

    Args:
        rollup: the windows.
        ranges: ranges of whole windows, nanoseconds, whose raw data is still kept.
        keep: chooses windows to leave unchanged.
        report: called after every piece, and while the server is busy.
        waited: whether earlier writes are already visible.

    Returns:
        The number of written rows.

    Raises:
        BusyError: the server was too busy for ten minutes.
        PartialAnswerError: an answer is partial. Nothing from it is written.
        QueryError, AccessDeniedError, UnreachableError: the server refuses or is unreachable. Finished pieces stay.
    """
    return sum(written for _, written in pieces(rollup, ranges, fix=True, keep=keep, report=report, waited=waited))


def pieces(
    rollup: Rollup,
    ranges: Iterable[Span],
    *,
    fix: bool,
    keep: Keep = shrunk,
    report: Report = ignore_progress,
    waited: bool = False,
) -> Iterator[tuple[Compared, int]]:
    """Compare windows piece by piece, and optionally repair them.

    Args:
        rollup: the windows.
        ranges: ranges of whole windows, nanoseconds.
        fix: repair the windows.
        keep: chooses windows to leave unchanged.
        report: called after every piece, and while the server is busy.
        waited: whether earlier writes are already visible. Otherwise, wait until they are.

    Yields:
        Each compared piece, and the number of written rows. The errors are those of `recompute`.
    """
    wanted, width = merged(ranges), rollup.spec.width
    total = length(wanted) // width
    cut, done, rows = Pieces(wanted, width), 0, 0
    noted = _Noted(rollup, wanted[-1][1] if wanted else 0)
    if wanted and not waited:
        patiently(
            lambda: wait_until_visible(rollup.engine, rollup.spec.rollup_bucket),
            lambda seconds: report(Progress(0, total, 0, seconds)),
        )
    for span in cut:

        def waiting(seconds: float, done: int = done, rows: int = rows) -> None:
            report(Progress(done, total, rows, seconds))

        compared, written = patiently(partial(_piece, rollup, span, noted, keep if fix else None), waiting)
        cut.resize(max(len(compared.raw), compared.rows))
        done, rows = done + (span[1] - span[0]) // width, rows + (written if fix else len(compared.raw))
        report(Progress(done, total, rows))
        yield compared, written


def _piece(rollup: Rollup, span: Span, noted: _Noted, keep: Keep | None) -> tuple[Compared, int]:
    with whole(rollup.engine):
        compared = rollup.compare(*span, noted.of(span))
    return compared, rollup.fix(compared, keep) if keep else 0


def patiently(act: Callable[[], T], waiting: Callable[[float], None]) -> T:
    """Call `act`, and wait longer for a busy server than a question does. `waiting` gets the seconds of each pause."""
    return patience.patiently(act, patience.Patience(_PATIENCE, waiting, _PATIENCE, _LONGEST_PAUSE))


class _Noted:
    """The records of windows, read for many short ranges at once."""

    def __init__(self, rollup: Rollup, stop: int) -> None:
        self._rollup, self._stop = rollup, stop
        self._upto = -(2**63)
        self._records: dict[int, Noted] = {}

    def of(self, span: Span) -> dict[int, Noted]:
        """The records of the windows in a range, by their ends. Call it with ranges in order."""
        log, width = self._rollup.log, self._rollup.spec.width
        if log is None:
            return {}
        if span[1] > self._upto:
            self._upto = max(span[1], min(self._stop, span[0] + _AT_ONCE * width))
            self._records = log.noted(span[0], self._upto)
        ends = range(span[0] + width, span[1] + 1, width)
        return {end: self._records[end] for end in ends if end in self._records}
