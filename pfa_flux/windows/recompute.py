"""Going through windows in pieces, to make them match raw data or only to compare."""

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
"""Number of windows whose records are read at once: a month of 15 minutes."""
_LONGEST_PAUSE = 60.0
_PATIENCE = 600.0
"""Maximum total wait for a busy server, seconds for one piece."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of the work.

    Attributes:
        done: windows finished.
        total: windows in all.
        rows: rows written so far, or compared if nothing is written.
        waiting: current wait for a busy server, seconds; 0 if there is none.
    """

    done: int
    total: int
    rows: int
    waiting: float = 0.0


Report = Callable[[Progress], None]


def nobody(_: Progress) -> None:
    """Ignore progress."""


def recompute(
    rollup: Rollup, spans: Iterable[Span], *, keep: Keep = shrunk, report: Report = nobody, waited: bool = False
) -> int:
    """Make the windows of spans match raw data; write only what differs.

    The work is done in pieces, in bounded memory. Repeating it changes nothing.

    Args:
        rollup: the windows.
        spans: edges of windows, nanoseconds, while raw data is kept.
        keep: says which of them stay as they are.
        report: called after every piece, and while the server is busy.
        waited: what was written before can be read by now.

    Returns:
        The number of rows written.

    Raises:
        BusyError: the server was too busy for ten minutes.
        PartialAnswerError: an answer of the server is partial; nothing from it is written.
        QueryError, AccessDeniedError, UnreachableError: the server refuses or is unreachable; finished pieces stay.
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
    """Compare the windows of spans piece by piece, and optionally correct them.

    Args:
        rollup: the windows.
        spans: edges of windows, nanoseconds.
        fix: correct the windows.
        keep: says which of them stay as they are.
        report: called after every piece, and while the server is busy.
        waited: what was written before can be read by now; else that is waited for.

    Yields:
        What was found in each piece, and the number of rows written. Errors are those of `recompute`.
    """
    wanted, width = merged(spans), rollup.spec.width
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

        found, written = patiently(partial(_piece, rollup, span, noted, keep if fix else None), waiting)
        cut.resize(max(len(found.raw), found.rows))
        done, rows = done + (span[1] - span[0]) // width, rows + (written if fix else len(found.raw))
        report(Progress(done, total, rows))
        yield found, written


def _piece(rollup: Rollup, span: Span, noted: _Noted, keep: Keep | None) -> tuple[Compared, int]:
    with whole(rollup.engine):
        found = rollup.compare(*span, noted.of(span))
    return found, rollup.fix(found, keep) if keep else 0


def patiently(act: Callable[[], T], waiting: Callable[[float], None]) -> T:
    """Do something, and wait for a busy server longer than a question does. `waiting` is told of each pause."""
    return patience.patiently(act, patience.Patience(_PATIENCE, waiting, _PATIENCE, _LONGEST_PAUSE))


class _Noted:
    """Records of windows, read for many short spans at once."""

    def __init__(self, rollup: Rollup, stop: int) -> None:
        self._rollup, self._stop = rollup, stop
        self._upto = -(2**63)
        self._found: dict[int, Noted] = {}

    def of(self, span: Span) -> dict[int, Noted]:
        """Records by the ends of the windows of a span. Ask for spans in order."""
        log, width = self._rollup.log, self._rollup.spec.width
        if log is None:
            return {}
        if span[1] > self._upto:
            self._upto = max(span[1], min(self._stop, span[0] + _AT_ONCE * width))
            self._found = log.noted(span[0], self._upto)
        ends = range(span[0] + width, span[1] + 1, width)
        return {end: self._found[end] for end in ends if end in self._found}
