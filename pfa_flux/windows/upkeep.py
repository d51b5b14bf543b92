"""Keep windows right: find all windows that do not match raw data, and repair them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pfa_flux.engines.base import Span
from pfa_flux.times import NS
from pfa_flux.windows.partial import whole
from pfa_flux.windows.proofs import Noted, ProofLog
from pfa_flux.windows.ranges import merged
from pfa_flux.windows.recompute import Report, ignore_progress, pieces, recompute
from pfa_flux.windows.rollup import Rollup, lost, nothing, shrunk
from pfa_flux.windows.trust import raw_begins

_DAY = 86400 * NS
RECENT = 7 * _DAY
"""How far back each pass compares totals. Most buffered rows arrive within days."""


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Result of a pass.

    Attributes:
        ranges: ranges of windows that were compared row by row.
        mended: ranges of repaired windows that had been downsampled before and did not match raw data.
        kept: ranges of windows that stay unchanged, because raw data has fewer rows than when they were proved.
        rows: number of written rows.
    """

    ranges: tuple[Span, ...] = ()
    mended: tuple[Span, ...] = ()
    kept: tuple[Span, ...] = ()
    rows: int = 0


def keep_up(
    rollup: Rollup,
    stop: int,
    now: int,
    *,
    late: Iterable[Span] = (),
    everything: bool = False,
    lower: bool = False,
    report: Report = ignore_progress,
) -> Upkeep:
    """Run a pass: compare windows with raw data, and repair them.

    Each pass compares new windows row by row, and the totals of proved windows of the last seven days. It also compares
    one earlier day row by row, in turn, so that every window is checked again before raw data expires.

    Args:
        rollup: the windows.
        stop: end of the range, nanoseconds. It moves back to the end of the newest due window.
        now: the present, nanoseconds. It decides which raw data has expired.
        late: ranges of windows that received late rows.
        everything: compare all windows row by row.
        lower: also repair windows that now have fewer raw rows than when they were proved.
        report: called after every piece.

    Raises:
        Those of `recompute`.
    """
    spec = rollup.spec
    stop = min(spec.floor(stop), spec.due(now))
    begins = _begins(rollup, stop)
    if not begins:
        return Upkeep()
    start = min(spec.floor(min(begins)), stop)
    known = min(max(raw_begins(rollup, stop, now), start), stop)
    settle_expired(rollup, start, known)
    keep = nothing if lower else shrunk if everything or rollup.log is None else lost
    with whole(rollup.engine):
        # Windows after the newest one are new, so they do not count as repaired.
        newest = rollup.engine.edge(spec.rollup, "last", start, stop, {})
        wanted = [(known, stop)] if everything else [*late, *_suspects(rollup, known, stop)]
    ranges = merged((max(known, low), min(stop, high)) for low, high in wanted)
    mended: list[Span] = []
    kept: list[Span] = []
    rows = 0
    for compared, written in pieces(rollup, ranges, fix=True, keep=keep, report=report):
        rows += written
        unchanged = keep(compared)
        ends = {difference.end for difference in compared.differences}
        kept += [(end - spec.width, end) for end in ends & unchanged]
        mended += [(end - spec.width, end) for end in ends - unchanged if newest is not None and end <= newest]
    return Upkeep(tuple(ranges), tuple(merged(mended)), tuple(merged(kept)), rows)


def _begins(rollup: Rollup, stop: int) -> list[int]:
    with whole(rollup.engine):
        return [time for time in (rollup.oldest(stop), rollup.oldest_raw(stop)) if time is not None]


def _suspects(rollup: Rollup, known: int, stop: int) -> list[Span]:
    """Ranges of windows to compare row by row."""
    log = rollup.log
    if log is None:
        # Every write to a window takes its proof back, so proved windows have not changed.
        return rollup.engine.unproved(rollup.spec.windows, (known // _DAY * _DAY, stop)) or []
    recent = max(known, rollup.spec.floor(stop - RECENT))
    days = max(1, -(-(recent - known) // _DAY))
    turn = known + stop // rollup.spec.width % days * _DAY
    return [
        *_unproved(rollup, log, known, stop),
        *_changed(rollup, log, recent, stop),
        (rollup.spec.floor(turn), min(rollup.spec.ceiling(turn + _DAY), recent)),
    ]


def _unproved(rollup: Rollup, log: ProofLog, start: int, stop: int) -> Iterator[Span]:
    for end, each in log.windows_to_check(start, stop):
        if each is None or not (each.unchanged and each.proved):
            yield end - rollup.spec.width, end


def _changed(rollup: Rollup, log: ProofLog, start: int, stop: int) -> Iterator[Span]:
    """Windows whose raw total differs from the proved one."""
    raw, noted, width = rollup.raw_totals(start, stop), log.noted(start, stop), rollup.spec.width
    for end in range(start + width, stop + 1, width):
        if end in noted and raw.get(end, 0) != noted[end].total:
            yield end - width, end


def settle_expired(rollup: Rollup, start: int, known: int) -> None:
    """Record the windows of [start, known) that were not proved while their raw rows were kept."""
    log = rollup.log
    if log is None:
        _trust_removed(rollup, start // _DAY * _DAY, known)
        return
    width = rollup.spec.width
    for low, high in merged(span for span, _ in log.days_to_check(start, known)):
        ends = range(low + width, high + 1, width)
        noted = log.noted(low, high)
        if all(end in noted for end in ends):
            continue
        # The sum of pfa-flux's rows, and the number of all rows. While both stay equal, nobody must read the rows
        # again.
        with whole(rollup.engine):
            sums, rows = dict.fromkeys(ends, 0), rollup.counts(low, high)
            for cell, value, _ in rollup.own(low, high):
                sums[cell.end] = sums.get(cell.end, 0) + value
        log.note({end: Noted(sums[end], rows.get(end, 0), proved=False) for end in ends if end not in noted})


def _trust_removed(rollup: Rollup, start: int, known: int) -> None:
    """Prove windows whose raw rows the engine has removed: it removes only raw rows of proved windows."""
    engine, spec = rollup.engine, rollup.spec
    for low, high in engine.unproved(spec.windows, (start, known)) or ():
        # A raw row, or a row of another writer, means that something is wrong.
        with whole(engine):
            trusted = engine.edge(spec.raw, "first", low, high, {}) is None and not rollup.has_others(low, high)
        if trusted:
            engine.prove(spec.windows, (low, high), None)


def prove_days(rollup: Rollup, start: int, stop: int, now: int) -> None:
    """Prove unproved windows from the start of a day, and repair them."""
    engine, spec = rollup.engine, rollup.spec
    known = min(max(rollup.raw_kept_from(now), start), max(start, stop))
    _trust_removed(rollup, start, known)
    recompute(rollup, engine.unproved(spec.windows, (known, stop)) or ())


def prove_range(rollup: Rollup, start: int, stop: int, now: int) -> int:
    """Prove unproved windows in a range, and repair them. Returns the number of written rows."""
    spec = rollup.spec
    stop = min(spec.floor(stop), spec.due(now))
    begins = _begins(rollup, stop)
    if rollup.log is None:
        # Proofs start at the start of a day.
        prove_days(rollup, max(-(-start // _DAY) * _DAY, min(begins, default=stop) // _DAY * _DAY), stop, now)
        return 0
    start = max(spec.floor(start), spec.floor(min(begins, default=stop)))
    known = min(max(raw_begins(rollup, stop, now), start), max(start, stop))
    settle_expired(rollup, start, known)
    return recompute(rollup, list(_unproved(rollup, rollup.log, known, stop)), keep=lost)
