"""What one store remembers of windows, for another that has the same rows."""

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
"""Windows of which is read at once what is remembered of them: a month of 15 minutes."""


def carry_proofs(here: Rollup, there: Rollup, span: Span, unlike: Collection[int]) -> int:
    """Let a store remember of windows what the one does that its rows are from. Returns the number of windows.

    Args:
        here: the windows of the store that the rows are from.
        there: the same windows in the other one.
        span: edges of windows, nanoseconds.
        unlike: ends of windows that are not the same in both, of which nothing is carried over.
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
    """What a store remembers of windows, by their ends."""
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
    """Let a store know from when on it has raw rows, where older ones came to it downsampled alone.

    Otherwise one that removes raw rows itself would take those windows for wrong.

    Args:
        here: the windows of both sides in the store that the rows are from.
        there: the same windows in the other one.
        start: first instant that was copied, nanoseconds.
        stop: first that was not.
    """
    begins = [raw_begins(rollup, stop, rollup.engine.now()) for rollup in here]
    first = [rollup.spec.floor(oldest) for rollup in there if (oldest := rollup.oldest_raw(_FAR)) is not None]
    until = min([*begins, *first])
    downsampled = [oldest for rollup in there if (oldest := rollup.oldest(_FAR)) is not None]
    if start < until and any(oldest < until for oldest in downsampled):
        for bucket in {rollup.spec.raw_bucket: rollup.engine for rollup in there}.items():
            bucket[1].note_removed(bucket[0], until)
