"""Dates and times for people, in the time zone of an answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from pfa_flux.times import NS, parse_instant, to_datetime

_BY_DAYS = 2 * 86400 * NS
"""Ranges of this length or more are written in days, shorter ones to the minute."""
_RFC_3339 = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z")


def day(instant: int, zone: tzinfo, *, clock: bool = False) -> str:
    """A day such as 12 January 2026, optionally with the time of day."""
    local = _local(instant, zone)
    return f"{local.day} {local:%B %Y}" + (f", {local:%H:%M}" if clock else "")


def short(instants: Sequence[int], zone: tzinfo) -> list[str]:
    """Starts of intervals such as 12 Jan, with year and time of day if they differ.

    The first may lie within an interval, because the range begins there.
    """
    local = [_local(instant, zone) for instant in instants]
    year = " %Y" if len({each.year for each in local}) > 1 else ""
    clock = ", %H:%M" if any(each.time() != time() for each in local[1:]) else ""
    names = [f"{each.day} {each.strftime(f'%b{year}{clock}')}" for each in local]
    if len(set(names)) == len(set(instants)):
        return names
    # When clocks are set back, an hour occurs twice.
    return [f"{name} {each:%Z}" for name, each in zip(names, local, strict=True)]


def tick(instant: int, zone: tzinfo, *, clock: bool) -> tuple[str, ...]:
    """Lines of a label: 12 Jan, optionally with the time of day below."""
    local = _local(instant, zone)
    return (f"{local.day} {local:%b}", f"{local:%H:%M}") if clock else (f"{local.day} {local:%b}",)


def dated(sentence: str, zone: tzinfo) -> str:
    """A sentence with its RFC 3339 instants rewritten for readers."""
    return _RFC_3339.sub(lambda match: day(parse_instant(match[0], 0), zone, clock=True), sentence)


def _local(instant: int, zone: tzinfo) -> datetime:
    return to_datetime(instant).astimezone(zone)


def span(start: int, stop: int, tz: str) -> str:
    """A range for people: in days if it consists of whole days or is at least two days long; otherwise to the minute.

    Args:
        start: first instant, nanoseconds.
        stop: first instant after it.
        tz: time zone to write it in.
    """
    low, high = (_local(instant, ZoneInfo(tz)) for instant in (start, stop))
    if stop - start >= _BY_DAYS or (_is_midnight(low) and _is_midnight(high)):
        # The stop itself is not part of the range.
        return f"{_days(low, high - timedelta(microseconds=1))} ({tz})"
    if low.date() == high.date():
        return f"{_day(low)}, {low:%H:%M}–{high:%H:%M} ({tz})"
    return f"{_day(low, of=high)}, {low:%H:%M} – {_day(high)}, {high:%H:%M} ({tz})"


def _is_midnight(moment: datetime) -> bool:
    return (moment.hour, moment.minute, moment.second, moment.microsecond) == (0, 0, 0, 0)


def _days(first: datetime, last: datetime) -> str:
    if first.date() == last.date():
        return _day(last)
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}–{_day(last)}"
    return f"{_day(first, of=last)} – {_day(last)}"


def _day(moment: datetime, of: datetime | None = None) -> str:
    """A day, without its year if `of` is in the same year."""
    year = "" if of is not None and of.year == moment.year else f" {moment.year}"
    return f"{moment.day} {moment:%b}{year}"
