"""Going through windows in pieces: to make them what the raw data says, or only to compare."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from pfa_flux.engines.base import Span
from pfa_flux.engines.patience import NONE, patience
from pfa_flux.errors import BusyError
from pfa_flux.windows.proofs import Noted
from pfa_flux.windows.rollup import Compared, Keep, Rollup, shrunk
from pfa_flux.windows.spans import Pieces, length, merged
from pfa_flux.windows.store_check import wait_until_visible
from pfa_flux.windows.whole import whole

T = TypeVar("T")

_AT_ONCE = 2880
"""Windows of which is read at once what is remembered of them: a month of 15 minutes."""
_LONGEST_PAUSE = 60.0
_PATIENCE = 600.0
"""Seconds that a busy server is waited for in all, for one piece."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is.

    Attributes:
        done: windows that are through.
        total: windows in all.
        rows: rows written so far; of a comparison those that were compared.
        waiting: seconds that a busy server is being waited for; 0 where it is not.
    """

    done: int
    total: int
    rows: int
    waiting: float = 0.0


Report = Callable[[Progress], None]


def nobody(_: Progress) -> None:
    """A report to nobody."""


def recompute(
    rollup: Rollup, spans: Iterable[Span], *, keep: Keep = shrunk, report: Report = nobody, waited: bool = False
) -> int:
    """Make the windows of spans what the raw data says, and write only what is not so already.

    In pieces of many windows and bounded memory; done again it changes nothing.

    Args:
        rollup: the windows.
        spans: edges of windows, nanoseconds, within what raw data is kept of.
        keep: says which of them stay as they are.
        report: called after every piece, and while the server is busy.
        waited: what was written before can be read by now.

    Returns:
        Number of rows written.

    Raises:
        BusyError: the server was too busy for ten minutes.
        PartialAnswerError: the server answers in part; of what was read so nothing is written.
        QueryError, AccessDeniedError, UnreachableError: the server refuses or is gone; what was done stays done.
    """
    return sum(written for _, written in pieces(rollup, spans, fix=True, keep=keep, report=report, waited=waited))


def pieces(
    rollup: Rollup,
    spans: Iterable[Span],
    *,
    fix: bool,
    keep: Keep = shrunk,
    report: Report = nobody,
    waited: bool = False,
) -> Iterator[tuple[Compared, int]]:
    """Compare the windows of spans piece by piece, and make them right if asked for.

    Args:
        rollup: the windows.
        spans: edges of windows, nanoseconds.
        fix: make them right.
        keep: says which of them stay as they are.
        report: called after every piece, and while the server is busy.
        waited: what was written before can be read by now; else that is waited for.

    Yields:
        What was found in each piece, and the number of rows that were written. Errors as of `recompute`.
    """
    wanted, width = merged(spans), rollup.spec.width
    total = length(wanted) // width
    cut, done, rows = Pieces(wanted, width), 0, 0
    noted = _Noted(rollup, wanted[-1][1] if wanted else 0)
    if wanted and not waited:
        _patiently(
            lambda: wait_until_visible(rollup.engine, rollup.spec.rollup_bucket),
            lambda seconds: report(Progress(0, total, 0, seconds)),
        )
    for span in cut:

        def waiting(seconds: float, done: int = done, rows: int = rows) -> None:
            report(Progress(done, total, rows, seconds))

        found, written = _patiently(partial(_piece, rollup, span, noted, keep if fix else None), waiting)
        cut.resize(max(len(found.raw), found.rows))
        done, rows = done + (span[1] - span[0]) // width, rows + (written if fix else len(found.raw))
        report(Progress(done, total, rows))
        yield found, written


def _piece(rollup: Rollup, span: Span, noted: _Noted, keep: Keep | None) -> tuple[Compared, int]:
    with whole(rollup.engine):
        found = rollup.compare(*span, noted.of(span))
    return found, rollup.fix(found, keep) if keep else 0


def _patiently(act: Callable[[], T], waiting: Callable[[float], None]) -> T:
    """Do something, again and again while the server is too busy, with pauses as long as it asks for."""
    pause, waited = 1.0, 0.0
    while True:
        try:
            # Whoever waits here tells of it, and waits for a write as for a question.
            with patience(NONE):
                return act()
        except BusyError as error:
            seconds = min(error.retry_after or pause, _LONGEST_PAUSE)
            if waited + seconds > _PATIENCE:
                raise
            waiting(seconds)
            time.sleep(seconds)
            pause, waited = pause * 2, waited + seconds


class _Noted:
    """What is remembered of windows, read for many short spans at once."""

    def __init__(self, rollup: Rollup, stop: int) -> None:
        self._rollup, self._stop = rollup, stop
        self._upto = -(2**63)
        self._found: dict[int, Noted] = {}

    def of(self, span: Span) -> dict[int, Noted]:
        """By the ends of the windows of a span; spans are asked for in order."""
        log, width = self._rollup.log, self._rollup.spec.width
        if log is None:
            return {}
        if span[1] > self._upto:
            self._upto = max(span[1], min(self._stop, span[0] + _AT_ONCE * width))
            self._found = log.noted(span[0], self._upto)
        ends = range(span[0] + width, span[1] + 1, width)
        return {end: self._found[end] for end in ends if end in self._found}
