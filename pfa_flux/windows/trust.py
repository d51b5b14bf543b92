"""Which downsampled rows of a range can be trusted, without reading raw data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pfa_flux.engines.base import Span
from pfa_flux.windows.ranges import length, merged
from pfa_flux.windows.rollup import Rollup


@dataclass(frozen=True, slots=True)
class Trust:
    """What is known about the windows of a range.

    Attributes:
        unproved: spans of windows that were not compared with raw data, or changed since.
        mixed: spans of windows that may have rows of other writers, so must be read row by row (`Rollup.own`).
    """

    unproved: tuple[Span, ...] = ()
    mixed: tuple[Span, ...] = ()


def trust(rollup: Rollup, start: int, stop: int) -> Trust:
    """Read the records of the windows of [start, stop), edges of windows in nanoseconds."""
    log, width = rollup.log, rollup.spec.width
    if log is None:
        own = tuple(rollup.engine.unproved(rollup.spec.windows, (start, stop)) or ())
        return Trust(own, own)
    unproved: list[Span] = []
    mixed: list[Span] = []
    look: list[Span] = []
    for span, each in log.days_to_look_at(start, stop):
        if each and each.proved:
            look.append(span)
        elif each is None or not each.windows:
            unproved.append(span)
            mixed += [span] if each else []
        elif each.plain and each.windows * width == span[1] - span[0]:
            # Raw data expired before anything compared them, and nothing has changed since.
            unproved.append(span)
        else:
            look.append(span)
    unproved_ends: list[int] = []
    mixed_ends: list[int] = []
    # Proved windows with rows of other writers: they are unchanged if our rows are.
    totals: dict[int, tuple[int, int]] = {}
    for end, each in log.windows_of(look):
        # Compare with the proved rows without rows of other writers.
        if each and each.proved and not each.plain:
            totals[end] = each.total, each.rows
        elif not (each and each.proved):
            unproved_ends.append(end)
        if each and not (each.windows and each.plain) and (each.windows or each.there_rows):
            mixed_ends.append(end)
    unproved_ends += _changed(rollup, totals)
    unproved += _spans(unproved_ends, width)
    return Trust(tuple(merged(unproved)), _with_others(rollup, merged([*mixed, *_spans(mixed_ends, width)])))


FEW_WINDOWS = 672
"""Up to this many uncompared windows, a week of 15 minutes, an answer checks them one by one."""


def _with_others(rollup: Rollup, spans: list[Span]) -> tuple[Span, ...]:
    """The uncompared spans that must be read row by row."""
    if length(spans) <= FEW_WINDOWS * rollup.spec.width:
        return tuple(spans)
    may = rollup.engine.may_hold_others(rollup.spec.windows, (spans[0][0], spans[-1][1]))
    return tuple(spans) if may else ()


def _changed(rollup: Rollup, proved: dict[int, tuple[int, int]]) -> Iterator[int]:
    """Ends of windows with rows, ignoring other writers, that differ from the proved ones."""
    for low, high in _spans(list(proved), rollup.spec.width):
        own: dict[int, tuple[int, int]] = {}
        for cell, value, _ in rollup.own(low, high):
            total, rows = own.get(cell.end, (0, 0))
            own[cell.end] = total + value, rows + 1
        ends = range(low + rollup.spec.width, high + 1, rollup.spec.width)
        yield from (end for end in ends if own.get(end, (0, 0)) != proved[end])


def _spans(ends: list[int], width: int) -> list[Span]:
    return merged((end - width, end) for end in ends)


def raw_begins(rollup: Rollup, stop: int, now: int) -> int:
    """Edge of windows from which raw data decides: it exists and has not expired.

    Earlier rows were downsampled from data that no longer exists, such as another raw bucket.
    """
    known = rollup.known_from(now)
    if rollup.log is None:
        return known
    oldest = rollup.oldest_raw(stop)
    return max(known, stop if oldest is None else rollup.spec.floor(oldest))
