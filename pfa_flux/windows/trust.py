"""Which downsampled rows of a range can be trusted, without reading raw data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pfa_flux.engines.base import Span
from pfa_flux.windows.ranges import length, merged
from pfa_flux.windows.rollup import Rollup


@dataclass(frozen=True, slots=True)
class Trust:
    """Which windows of a range cannot be trusted.

    Attributes:
        unproved: ranges of windows that were not compared with raw data, or changed since.
        mixed: ranges of windows that may have rows of other writers. Read them row by row (`Rollup.own`).
    """

    unproved: tuple[Span, ...] = ()
    mixed: tuple[Span, ...] = ()


def trust(rollup: Rollup, start: int, stop: int) -> Trust:
    """Read the records of the windows of [start, stop), a range of whole windows in nanoseconds."""
    log, width = rollup.log, rollup.spec.width
    if log is None:
        own = tuple(rollup.engine.unproved(rollup.spec.windows, (start, stop)) or ())
        return Trust(own, own)
    unproved: list[Span] = []
    mixed: list[Span] = []
    suspects: list[Span] = []
    for span, each in log.days_to_check(start, stop):
        if each and each.proved:
            suspects.append(span)
        elif each is None or not each.windows:
            unproved.append(span)
            mixed += [span] if each else []
        elif each.unchanged and each.windows * width == span[1] - span[0]:
            # Raw data expired before a comparison, and nothing has changed since.
            unproved.append(span)
        else:
            suspects.append(span)
    unproved_ends: list[int] = []
    mixed_ends: list[int] = []
    # Proved windows with rows of other writers. They are unchanged if pfa-flux's rows are.
    totals: dict[int, tuple[int, int]] = {}
    for end, each in log.windows_of(suspects):
        # Compare the proved rows without rows of other writers.
        if each and each.proved and not each.unchanged:
            totals[end] = each.total, each.rows
        elif not (each and each.proved):
            unproved_ends.append(end)
        if each and not (each.windows and each.unchanged) and (each.windows or each.there_rows):
            mixed_ends.append(end)
    unproved_ends += _changed(rollup, totals)
    unproved += _ranges(unproved_ends, width)
    return Trust(tuple(merged(unproved)), _with_others(rollup, merged([*mixed, *_ranges(mixed_ends, width)])))


FEW_WINDOWS = 672
"""Up to this many unproved windows, an answer checks them one by one: a week of 15 minutes."""


def _with_others(rollup: Rollup, ranges: list[Span]) -> tuple[Span, ...]:
    """The unproved ranges that must be read row by row."""
    if length(ranges) <= FEW_WINDOWS * rollup.spec.width:
        return tuple(ranges)
    may = rollup.engine.may_hold_others(rollup.spec.windows, (ranges[0][0], ranges[-1][1]))
    return tuple(ranges) if may else ()


def _changed(rollup: Rollup, proved: dict[int, tuple[int, int]]) -> Iterator[int]:
    """Ends of windows whose rows, without those of other writers, differ from the proved ones."""
    for low, high in _ranges(list(proved), rollup.spec.width):
        own: dict[int, tuple[int, int]] = {}
        for cell, value, _ in rollup.own(low, high):
            total, rows = own.get(cell.end, (0, 0))
            own[cell.end] = total + value, rows + 1
        ends = range(low + rollup.spec.width, high + 1, rollup.spec.width)
        yield from (end for end in ends if own.get(end, (0, 0)) != proved[end])


def _ranges(ends: list[int], width: int) -> list[Span]:
    return merged((end - width, end) for end in ends)


def raw_begins(rollup: Rollup, stop: int, now: int) -> int:
    """Start of the first window that raw data can prove or disprove: raw rows exist and have not expired.

    Earlier rows were downsampled from data that no longer exists, such as another raw bucket.
    """
    kept_from = rollup.raw_kept_from(now)
    if rollup.log is None:
        return kept_from
    oldest = rollup.oldest_raw(stop)
    return max(kept_from, stop if oldest is None else rollup.spec.floor(oldest))
