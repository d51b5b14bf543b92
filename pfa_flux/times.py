"""Instants and durations: text to integer nanoseconds since the epoch, UTC, and back.

Integers, because a store's times have nanoseconds and datetime has only microseconds.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from pfa_flux.errors import InvalidValueError

NS = 1_000_000_000
"""Nanoseconds in a second."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")
_INSTANT = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)",
)
# InfluxDB's time is a signed 64-bit count of nanoseconds; outside these years it wraps without a word.
_EARLIEST = datetime(1678, 1, 1, tzinfo=UTC)
_LATEST = datetime(2262, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

INSTANT_FORMS = "an RFC 3339 time with an offset (2026-01-31T12:00:00Z) or a duration back from now (24h, 7d)"


def parse_duration(text: str) -> int:
    """Seconds in a duration such as `90s`, `15m`, `24h`, `7d` or `2w`; several parts add up (`1d12h`).

    Raises:
        InvalidValueError: it is malformed, zero, or longer than 400 years.
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


def parse_instant(value: str | datetime | timedelta | int, now: int) -> int:
    """Nanoseconds since the epoch of an instant.

    Args:
        value: RFC 3339 text with an offset, a duration back from `now` as text or timedelta, an aware
            datetime, or nanoseconds since the epoch.
        now: the present, nanoseconds since the epoch.

    Raises:
        InvalidValueError: it is malformed, has no offset, or lies outside the years 1678 to 2261.
    """
    if isinstance(value, int):
        return _checked(value, str(value))
    if isinstance(value, timedelta):
        return _checked(now - value // timedelta(microseconds=1) * 1000, str(value))
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidValueError(f"{value!r} has no time zone", "Pass an aware datetime, in UTC for example.")
        return _checked(from_datetime(value), str(value))
    if _DURATION.match(value) and "-" not in value:
        return _checked(now - parse_duration(value) * NS, value)
    match = _INSTANT.fullmatch(value)
    if match is None:
        raise InvalidValueError(f"malformed time {value!r}", f"Write {INSTANT_FORMS}.")
    date, clock, fraction, offset = match.groups()
    try:
        whole = datetime.fromisoformat(f"{date}T{clock}{'+00:00' if offset in 'Zz' else offset}")
    except ValueError as error:
        raise InvalidValueError(f"no such time: {value!r} ({error})", f"Write {INSTANT_FORMS}.") from error
    return _checked(from_datetime(whole) + int((fraction or "0").ljust(9, "0")), value)


def _checked(ns: int, shown: str) -> int:
    if not from_datetime(_EARLIEST) <= ns < from_datetime(_LATEST):
        raise InvalidValueError(f"time {shown} is out of range", "InfluxDB holds the years 1678 to 2261.")
    return ns


def from_datetime(value: datetime) -> int:
    """Nanoseconds since the epoch of an aware datetime."""
    return (value - _EPOCH) // timedelta(microseconds=1) * 1000


def to_datetime(ns: int) -> datetime:
    """UTC datetime of nanoseconds since the epoch, cut to microseconds."""
    return _EPOCH + timedelta(microseconds=ns // 1000)


def format_instant(ns: int) -> str:
    """RFC 3339 text in UTC, with as many fractional digits as are needed: `2026-01-31T12:00:00Z`."""
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
