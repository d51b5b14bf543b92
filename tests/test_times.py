"""Instants and durations."""

from __future__ import annotations

from calendar import timegm
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfa_flux import InvalidValueError
from pfa_flux.times import NS, format_duration, format_instant, parse_duration, parse_instant

NOW = 1_800_000_000 * NS
"""2027-01-15T08:00:00Z."""
ZONES = [ZoneInfo(name) for name in ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("24h", 86400), ("7d", 604800), ("2w", 1209600), ("1d12h", 129600)],
)
def test_a_duration_is_the_sum_of_its_parts(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "h", "1.5h", "-1h", "1y", "1h ", "1 h", "0s", "٣h", "999999999w"])
def test_a_malformed_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-01-31T12:00:00+01:00", 1769857200 * NS),
        ("2026-01-31t11:00:00z", 1769857200 * NS),
        ("2026-01-31 11:00:00.000000001Z", 1769857200 * NS + 1),
        ("2026-01-31T11:00:00.25Z", 1769857200 * NS + 250_000_000),
        ("24h", NOW - 86400 * NS),
    ],
)
def test_an_instant_is_read_to_the_nanosecond(text: str, ns: int) -> None:
    assert parse_instant(text, NOW) == ns


def test_an_instant_may_be_a_datetime_a_timedelta_or_nanoseconds() -> None:
    berlin = datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=1)))
    assert parse_instant(berlin, NOW) == 1769857200 * NS
    assert parse_instant(timedelta(hours=1), NOW) == NOW - 3600 * NS
    assert parse_instant(5, NOW) == 5


@pytest.mark.parametrize(
    "text",
    [
        "2026-1-31",
        "2026-13",
        "2026",
        "2026-02-30",
        "2026-02-30T12:00:00Z",
        "2026-01-31T12",
        "2026-01-31T12:00.5",
        "２026-01-31",
        "tomorrow",
        "0mo",
        "0s",
        "7d1y",
        "1.5y",
        "3000y",
        "2026-01-31T25:00:00Z",
        "1677-12-31T23:59:59Z",
        "2300-01-01T00:00:00Z",
        "",
        None,
        1.5,
        True,
        b"2026-01-31",
        ["2026-01-31"],
    ],
)
def test_what_is_no_instant_or_out_of_range_is_refused(text: Any) -> None:
    with pytest.raises(InvalidValueError):
        parse_instant(text, NOW)


def test_a_refusal_begins_with_what_was_tried_and_names_the_argument() -> None:
    with pytest.raises(InvalidValueError) as caught:
        parse_instant("2026-02-30", NOW, name="start")
    assert caught.value.message == "`start='2026-02-30'` is not a time: day is out of range for month"
    with pytest.raises(InvalidValueError) as caught:
        parse_instant("3x", NOW)
    assert caught.value.message == "'3x' is not a time"
    assert caught.value.hint == (
        "Write a date (2026-01-31), a month (2026-01), a time (2026-01-31T12:00:00Z), today, yesterday, now, or a "
        "duration back from now (24h, 7d, 3mo, 1y)."
    )


@pytest.mark.parametrize(
    ("value", "zone", "text"),
    [
        ("now", "Europe/Berlin", "2027-01-15T08:00:00Z"),
        ("today", "UTC", "2027-01-15T00:00:00Z"),
        (" Today ", "Europe/Berlin", "2027-01-14T23:00:00Z"),
        ("yesterday", "UTC", "2027-01-14T00:00:00Z"),
        # There it is still the day before.
        ("today", "Pacific/Honolulu", "2027-01-14T10:00:00Z"),
        ("2024-12-01", "UTC", "2024-12-01T00:00:00Z"),
        ("2024-07", "Europe/Berlin", "2024-06-30T22:00:00Z"),
        ("2024-12-01 12:30", "Europe/Berlin", "2024-12-01T11:30:00Z"),
        ("2024-12-01T12:30:15.5", "America/New_York", "2024-12-01T17:30:15.5Z"),
        ("2024-12-01T12:30:15+01:00", "America/New_York", "2024-12-01T11:30:15Z"),
        # The hour that the clock skips, with the offset before it; of the one it repeats the first.
        ("2026-03-29T02:30", "Europe/Berlin", "2026-03-29T01:30:00Z"),
        ("2026-10-25T02:30", "Europe/Berlin", "2026-10-25T00:30:00Z"),
        ("1y", "UTC", "2026-01-15T08:00:00Z"),
        ("12mo", "UTC", "2026-01-15T08:00:00Z"),
        ("1y1mo1d12h", "UTC", "2025-12-13T20:00:00Z"),
        # Months are those of the zone's calendar, whose clock is an hour ahead in summer.
        ("6mo", "Europe/Berlin", "2026-07-15T07:00:00Z"),
        ("3m", "UTC", "2027-01-15T07:57:00Z"),
        (date(2024, 1, 1), "Europe/Berlin", "2023-12-31T23:00:00Z"),
        (datetime(2024, 1, 1, 12), "Europe/Berlin", "2024-01-01T11:00:00Z"),  # noqa: DTZ001
    ],
)  # fmt: skip
def test_an_instant_is_what_people_type(value: Any, zone: str, text: str) -> None:
    assert format_instant(parse_instant(value, NOW, ZoneInfo(zone))) == text


_DATETIMES = st.datetimes(datetime(1700, 1, 2), datetime(2260, 1, 1))  # noqa: DTZ001


@given(_DATETIMES, st.sampled_from(ZONES))
def test_naive_times_are_those_of_the_zones_clock(naive: datetime, zone: ZoneInfo) -> None:
    local = naive.replace(tzinfo=zone)
    expected = timegm(local.utctimetuple()) * NS + naive.microsecond * 1000
    assert parse_instant(naive, NOW, zone) == expected
    assert parse_instant(naive.isoformat(), NOW, zone) == expected
    midnight = timegm(datetime(naive.year, naive.month, naive.day, tzinfo=zone).utctimetuple()) * NS
    assert parse_instant(naive.date(), NOW, zone) == parse_instant(f"{naive:%Y-%m-%d}", NOW, zone) == midnight
    first = timegm(datetime(naive.year, naive.month, 1, tzinfo=zone).utctimetuple()) * NS
    assert parse_instant(f"{naive:%Y-%m}", NOW, zone) == first


@given(st.integers(0, 4_000_000_000), st.integers(1, 300), st.sampled_from(["UTC", "Asia/Kolkata"]))
def test_months_back_are_those_of_the_calendar(seconds: int, months: int, zone: str) -> None:
    then = pd.Timestamp(seconds, unit="s", tz=zone) - pd.DateOffset(months=months)
    assert parse_instant(f"{months}mo", seconds * NS, ZoneInfo(zone)) == int(then.timestamp()) * NS
    years, rest = divmod(months, 12)
    text = (f"{years}y" if years else "") + (f"{rest}mo" if rest else "")
    assert parse_instant(text, seconds * NS, ZoneInfo(zone)) == int(then.timestamp()) * NS


@pytest.mark.parametrize(
    ("months", "found"),
    [(1, "2026-04-30"), (2, "2026-03-31"), (3, "2026-02-28"), (12, "2025-05-31"), (27, "2024-02-29")],
)
def test_months_back_from_the_31st_end_with_the_last_day_of_a_shorter_month(months: int, found: str) -> None:
    now = parse_instant("2026-05-31", 0)
    assert parse_instant(f"{months}mo", now) == parse_instant(found, 0)


@given(st.integers(min_value=-9_214_560_000 * NS, max_value=9_214_646_399 * NS))
def test_formatting_and_parsing_an_instant_are_inverse(ns: int) -> None:
    assert parse_instant(format_instant(ns), NOW) == ns
    assert datetime.fromisoformat(format_instant(ns // NS * NS)).astimezone(UTC).timestamp() == ns // NS


@given(st.integers(min_value=1, max_value=10**9 - 1))
def test_formatting_and_parsing_a_duration_are_inverse(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds
