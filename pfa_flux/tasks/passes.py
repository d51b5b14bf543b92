"""A pass over a task's windows: uses the notes of late rows, and records the result."""

from __future__ import annotations

from collections.abc import Sequence

from pfa_flux.engines.base import Span
from pfa_flux.tasks.state import State
from pfa_flux.windows.recompute import Report, nobody
from pfa_flux.windows.rollup import Rollup
from pfa_flux.windows.upkeep import Upkeep, keep_up


def make_pass(
    rollup: Rollup,
    state: State,
    stop: int,
    now: int,
    *,
    known_at: int | None = None,
    recent: Sequence[Span] = (),
    everything: bool = False,
    lower: bool = False,
    report: Report = nobody,
) -> Upkeep:
    """Compare windows with raw data and correct them, including windows with noted late rows.

    Args:
        rollup: the windows.
        state: where late rows are noted, and what is found.
        stop: end of the newest window that is looked at, nanoseconds.
        now: the present, nanoseconds.
        known_at: the present by which raw data expires, where that is another.
        recent: windows that are compared row by row in any case.
        everything: all windows are.
        lower: make right even windows whose raw rows are fewer than when they were proved.
        report: called after every piece.
    """
    spec = rollup.spec
    late = state.late_windows(spec)
    spans = [(end - spec.width, end) for end in late.ends if end <= stop]
    done = keep_up(
        rollup,
        stop,
        now if known_at is None else known_at,
        late=(*recent, *spans),
        everything=everything,
        lower=lower,
        report=report,
    )
    state.note_upkeep(spec, done.mended, done.kept, now)
    # Expired rows can never be recomputed, so their notes are removed.
    state.forget_late(spec, spans, late.upto)
    return done
