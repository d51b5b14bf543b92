"""A pass over the windows of a task: it uses the notes of late rows, and records the result."""

from __future__ import annotations

from collections.abc import Sequence

from pfa_flux.engines.base import Span
from pfa_flux.tasks.state import State
from pfa_flux.windows.recompute import Report, ignore_progress
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
    report: Report = ignore_progress,
) -> Upkeep:
    """Compare windows with raw data and repair them, including windows with noted late rows.

    Args:
        rollup: the windows.
        state: the notes of late rows; it also records the result.
        stop: end of the newest window to compare, nanoseconds.
        now: the present, nanoseconds.
        known_at: the present by the clock that expires raw data, if it differs from `now`.
        recent: ranges to compare row by row in any case.
        everything: compare all windows row by row.
        lower: also repair windows that now have fewer raw rows than when they were proved.
        report: called after every piece.
    """
    spec = rollup.spec
    late = state.late_windows(spec)
    late_ranges = [(end - spec.width, end) for end in late.ends if end <= stop]
    done = keep_up(
        rollup,
        stop,
        now if known_at is None else known_at,
        late=(*recent, *late_ranges),
        everything=everything,
        lower=lower,
        report=report,
    )
    state.note_upkeep(spec, done.mended, done.kept, now)
    # Notes about expired rows go, too: their windows can never be recomputed.
    state.forget_late(spec, late_ranges, late.upto)
    return done
