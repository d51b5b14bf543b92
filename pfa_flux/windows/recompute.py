"""Going through windows in pieces: to make them what the raw data says, or only to compare."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pfa_flux.engines.base import Span
from pfa_flux.errors import BusyError
from pfa_flux.times import NS
from pfa_flux.windows.rollup import Compared, Rollup
from pfa_flux.windows.spans import Pieces, merged

_DAY = 86400 * NS
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


def recompute(rollup: Rollup, spans: Iterable[Span], *, report: Report = nobody) -> int:
    """Make the windows of spans what the raw data says, and write only what is not so already.

    In pieces of many windows and bounded memory; done again it changes nothing.

    Args:
        rollup: the windows.
        spans: edges of windows, nanoseconds, within what raw data is kept of.
        report: called after every piece, and while the server is busy.

    Returns:
        Number of rows written.

    Raises:
        BusyError: the server was too busy for ten minutes.
        QueryError, AccessDeniedError, UnreachableError: the server refuses or is gone; what was done stays done.
    """
    return sum(written for _, written in pieces(rollup, spans, fix=True, report=report))


def pieces(
    rollup: Rollup, spans: Iterable[Span], *, fix: bool, report: Report = nobody
) -> Iterator[tuple[Compared, int]]:
    """Compare the windows of spans piece by piece, and make them right if asked for.

    Args:
        rollup: the windows.
        spans: edges of windows, nanoseconds.
        fix: make them right.
        report: called after every piece, and while the server is busy.

    Yields:
        What was found in each piece, and the number of rows that were written. Errors as of `recompute`.
    """
    wanted, width = merged(spans), rollup.spec.width
    total = sum(stop - start for start, stop in wanted) // width
    cut, done, rows = Pieces(wanted, width), 0, 0
    for span in cut:

        def waiting(seconds: float, done: int = done, rows: int = rows) -> None:
            report(Progress(done, total, rows, seconds))

        found, written = _patiently(rollup, span, waiting, fix=fix)
        cut.resize(max(len(found.raw), found.rows))
        done, rows = done + (span[1] - span[0]) // width, rows + (written if fix else len(found.raw))
        report(Progress(done, total, rows))
        yield found, written


def _patiently(rollup: Rollup, span: Span, waiting: Callable[[float], None], *, fix: bool) -> tuple[Compared, int]:
    """Do a piece, again and again while the server is too busy, with pauses as long as it asks for."""
    pause, waited = 1.0, 0.0
    while True:
        try:
            found = rollup.compare(*span)
            return found, rollup.fix(found) if fix else 0
        except BusyError as error:
            seconds = min(error.retry_after or pause, _LONGEST_PAUSE)
            if waited + seconds > _PATIENCE:
                raise
            waiting(seconds)
            time.sleep(seconds)
            pause, waited = pause * 2, waited + seconds


def settle(rollup: Rollup, start: int, stop: int, now: int) -> None:
    """Prove what is not proved yet of the windows of [start, stop), where the engine remembers proofs.

    Windows that are wrong are made right on the way. Those whose raw rows have expired were compared before that.
    """
    engine, spec = rollup.engine, rollup.spec
    stop = min(spec.floor(stop), spec.due(now))
    if engine.unproved(spec.windows, (start, stop)) is None:
        return
    begins = [time for time in (rollup.oldest(stop), rollup.oldest_raw(stop)) if time is not None]
    # Proofs begin with days.
    start = max(-(-start // _DAY) * _DAY, min(begins, default=stop) // _DAY * _DAY)
    prove_days(rollup, start, stop, now)


def prove_days(rollup: Rollup, start: int, stop: int, now: int) -> None:
    """Prove what is not proved yet of the windows from the start of a day on, as `settle` does."""
    engine, spec = rollup.engine, rollup.spec
    known = min(max(rollup.known_from(now), start), max(start, stop))
    for low, high in engine.unproved(spec.windows, (start, known)) or ():
        # A raw row where there should be none says that something is wrong here.
        if engine.edge(spec.raw, "first", low, high, {}) is None:
            engine.prove(spec.windows, (low, high), None)
    recompute(rollup, engine.unproved(spec.windows, (known, stop)) or ())
