"""Copy the records of windows from one store to another store with the same rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pfa_flux.engines.base import Span
from pfa_flux.windows.proofs import Noted
from pfa_flux.windows.ranges import merged
from pfa_flux.windows.rollup import Rollup
from pfa_flux.windows.trust import raw_begins

_FAR = 2**62
"""An instant after all points: the year 2116."""
_AT_ONCE = 2880
"""How many windows' records to read at once: a month of 15 minutes."""


def carry_proofs(here: Rollup, there: Rollup, span: Span, unlike: Collection[int]) -> int:
    """Copy the records of windows to another store. Returns the number of copied records.

    Args:
        here: the windows in the source.
        there: the same windows in the target.
        span: range of whole windows, nanoseconds.
        unlike: ends of windows that differ between both stores. Their records are not copied.
    """
    width, carried = here.spec.width, 0
    for low in range(span[0], span[1], _AT_ONCE * width):
        high = min(span[1], low + _AT_ONCE * width)
        known = {end: noted for end, noted in _known(here, low, high).items() if end not in unlike}
        if there.log is None:
            for proved in merged((end - width, end) for end, noted in known.items() if noted.proved):
                there.engine.prove(there.spec.windows, proved, None)
            carried += sum(noted.proved for noted in known.values())
            continue
        before = there.log.noted(low, high)
        new = {
            end: noted for end, noted in known.items() if end not in before or (noted.proved and before[end] != noted)
        }
        there.log.note(new)
        carried += len(new)
    return carried


def _known(rollup: Rollup, low: int, high: int) -> dict[int, Noted]:
    """The records of windows, by their ends."""
    if rollup.log is not None:
        return rollup.log.noted(low, high)
    width = rollup.spec.width
    unproved = {
        end
        for start, stop in rollup.engine.unproved(rollup.spec.windows, (low, high)) or ()
        for end in range(start + width, stop + width, width)
    }
    totals, rows = rollup.totals(low, high), rollup.counts(low, high)
    ends = range(low + width, high + 1, width)
    return {end: Noted(totals.get(end, 0), rows.get(end, 0), proved=True) for end in ends if end not in unproved}


def note_removed(here: Iterable[Rollup], there: Collection[Rollup], start: int, stop: int) -> None:
    """Record in the target that older windows have no raw rows, if only downsampled rows were copied for them.

    Otherwise a store that removes raw rows itself would treat those windows as wrong.

    Args:
        here: the windows of both sides in the source.
        there: the same windows in the target.
        start: first copied instant, nanoseconds.
        stop: first instant that was not copied.
    """
    begins = [raw_begins(rollup, stop, rollup.engine.now()) for rollup in here]
    first = [rollup.spec.floor(oldest) for rollup in there if (oldest := rollup.oldest_raw(_FAR)) is not None]
    until = min([*begins, *first])
    downsampled = [oldest for rollup in there if (oldest := rollup.oldest(_FAR)) is not None]
    if start < until and any(oldest < until for oldest in downsampled):
        for bucket in {rollup.spec.raw_bucket: rollup.engine for rollup in there}.items():
            bucket[1].note_removed(bucket[0], until)
