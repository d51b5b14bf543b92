"""Instants and durations: text to integer nanoseconds since the epoch, UTC, and back.

Integers, because the databases store nanoseconds, and datetime has only microseconds.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING

from pfa_flux.errors import InvalidValueError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

NS = 1_000_000_000
"""Nanoseconds in a second."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")
_BACK = re.compile(rf"(?:[0-9]{{1,4}}(?:mo|y))*(?:{_DURATION.pattern})*")
_MONTHS = re.compile(r"([0-9]{1,4})(mo|y)")
_INSTANT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?([Zz]|[+-]\d\d:\d\d)?)?", re.ASCII
)
_MONTH = re.compile(r"\d{4}-\d\d", re.ASCII)
# InfluxDB stores a signed 64-bit count of nanoseconds. Outside these years it wraps without an error.
_EARLIEST = datetime(1678, 1, 1, tzinfo=UTC)
_LATEST = datetime(2262, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Instant = str | date | timedelta | int
"""An instant as callers give it. `parse_instant` explains each form. A datetime is also a date."""

INSTANT_FORMS = (
    "a date (2026-01-31), a month (2026-01), a time (2026-01-31T12:00:00Z), today, yesterday, now, "
    "or a duration back from now (24h, 7d, 3mo, 1y)"
)


def time_zone(name: str) -> ZoneInfo:
    """The time zone with a name.

    Raises:
        InvalidValueError: there is no such time zone.
    """
    # The module is slow to import, and the process that answers requests does not need it.
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError, AttributeError) as error:
        raise InvalidValueError(f"unknown time zone {name!r}", "Use a name such as UTC or Europe/Berlin.") from error


def parse_duration(text: str) -> int:
    """Seconds in a duration such as `90s`, `15m`, `24h`, `7d` or `2w`. Several parts add up (`1d12h`).

    Raises:
        InvalidValueError: the text is malformed, or the duration is zero or longer than 400 years.
    """
    if not text or not re.fullmatch(rf"(?:{_DURATION.pattern})+", text):
        raise InvalidValueError(
            f"malformed duration {text!r}",
            "Write a whole number and a unit: s, m, h, d or w, for example 24h or 7d.",
        )
    seconds = sum(int(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))
    if not 0 < seconds <= 400 * 366 * 86400:
        raise InvalidValueError(f"duration {text!r} is out of range", "Use more than 0s and less than 400 years.")
    return seconds


def parse_instant(value: Instant, now: int, zone: tzinfo = UTC, name: str = "") -> int:
    """Nanoseconds from the epoch to an instant.

    A date, a month, `today` and `yesterday` mean the start of that day or month.

    Args:
        value: one of:
            - text in RFC 3339, with or without an offset; a date, a month, `now`, `today` or `yesterday`;
            - text with a duration back from `now`, with months and years of the calendar;
            - a datetime or a date;
            - a timedelta, as a duration back from `now`;
            - nanoseconds since the epoch.
        now: the present, nanoseconds since the epoch.
        zone: time zone of values without one.
        name: name of the argument, for errors.

    Raises:
        InvalidValueError: the value is malformed, or outside the years 1678 to 2261.
    """
    shown = f"`{name}={value!r}`" if name else repr(value)
    try:
        instant = _instant(value, now, zone)
    except (ValueError, OverflowError) as error:
        why = error.message if isinstance(error, InvalidValueError) else error
        raise InvalidValueError(f"{shown} is not a time: {why}", f"Write {INSTANT_FORMS}.") from error
    if instant is None:
        raise InvalidValueError(f"{shown} is not a time", f"Write {INSTANT_FORMS}.")
    if not from_datetime(_EARLIEST) <= instant < from_datetime(_LATEST):
        raise InvalidValueError(f"{shown} is out of range", "Use a time in the years 1678 to 2261.")
    return instant


def _instant(value: object, now: int, zone: tzinfo) -> int | None:
    """Nanoseconds of a value. None if it has no known form.

    Raises:
        ValueError, OverflowError: there is no such time.
    """
    if isinstance(value, str):
        return _from_text(value.strip(), now, zone)
    if isinstance(value, datetime):
        return from_datetime(value if value.tzinfo else value.replace(tzinfo=zone))
    if isinstance(value, date):
        return _midnight(value, zone)
    if isinstance(value, timedelta):
        return now - value // timedelta(microseconds=1) * 1000
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _from_text(text: str, now: int, zone: tzinfo) -> int | None:
    word = text.lower()
    if word == "now":
        return now
    if word in _DAYS_BACK:
        return _midnight(to_datetime(now).astimezone(zone).date() - timedelta(days=_DAYS_BACK[word]), zone)
    if text and _BACK.fullmatch(text):
        return _back(text, now, zone)
    if _MONTH.fullmatch(text):
        return _midnight(date.fromisoformat(f"{text}-01"), zone)
    match = _INSTANT.fullmatch(text)
    if match is None:
        return None
    day, clock, seconds, fraction, offset = match.groups()
    whole = datetime.fromisoformat(f"{day}T{clock or '00:00'}:{seconds or '00'}{(offset or '').upper()}")
    local = whole if whole.tzinfo else whole.replace(tzinfo=zone)
    return from_datetime(local) + int((fraction or "0").ljust(9, "0"))


_DAYS_BACK = {"today": 0, "yesterday": 1}


def _midnight(day: date, zone: tzinfo) -> int:
    # If the clock skips midnight, `combine` uses the offset before the change: that is the day's first instant.
    return from_datetime(datetime.combine(day, time(), zone))


def _back(text: str, now: int, zone: tzinfo) -> int:
    """An instant before `now`. Whole months go back first, by the zone's calendar, then the rest."""
    months = sum(int(number) * (12 if unit == "y" else 1) for number, unit in _MONTHS.findall(text))
    rest = _MONTHS.sub("", text)
    if not months and not rest:
        raise ValueError("the duration is zero")
    seconds = parse_duration(rest) if rest else 0
    if not months:
        return now - seconds * NS
    local = to_datetime(now).astimezone(zone)
    year, month = divmod(local.year * 12 + local.month - 1 - months, 12)
    # In a shorter month, the last day stands for the 31st.
    day = min(local.day, monthrange(year, month + 1)[1]) if year > 0 else 1
    return from_datetime(local.replace(year=year, month=month + 1, day=day, fold=0)) + now % 1000 - seconds * NS


def from_datetime(value: datetime) -> int:
    """Nanoseconds from the epoch to an aware datetime."""
    return (value - _EPOCH) // timedelta(microseconds=1) * 1000


def to_datetime(ns: int) -> datetime:
    """The UTC datetime of nanoseconds since the epoch, truncated to microseconds."""
    return _EPOCH + timedelta(microseconds=ns // 1000)


def format_instant(ns: int) -> str:
    """RFC 3339 text in UTC, without unnecessary fractional digits: `2026-01-31T12:00:00Z`."""
    seconds, fraction = divmod(ns, NS)
    text = to_datetime(seconds * NS).strftime("%Y-%m-%dT%H:%M:%S")
    digits = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{text}{digits}Z"


def format_duration(seconds: int) -> str:
    """Shortest exact text of a duration: 900 is `15m`, 86400 is `1d`."""
    for unit in ("w", "d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"
