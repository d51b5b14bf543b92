"""Instants and durations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfa_flux import InvalidValueError
from pfa_flux.times import NS, format_duration, format_instant, parse_duration, parse_instant

NOW = 1_800_000_000 * NS


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
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-02-30T12:00:00Z",
        "2026-01-31T25:00:00Z",
        "1677-12-31T23:59:59Z",
        "2300-01-01T00:00:00Z",
        "yesterday",
        "",
    ],
)
def test_an_instant_without_offset_or_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError):
        parse_instant(text, NOW)


def test_a_naive_datetime_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="no time zone"):
        parse_instant(datetime(2026, 1, 31), NOW)  # noqa: DTZ001


@given(st.integers(min_value=-9_214_560_000 * NS, max_value=9_214_646_399 * NS))
def test_formatting_and_parsing_an_instant_are_inverse(ns: int) -> None:
    assert parse_instant(format_instant(ns), NOW) == ns
    assert datetime.fromisoformat(format_instant(ns // NS * NS)).astimezone(UTC).timestamp() == ns // NS


@given(st.integers(min_value=1, max_value=10**9 - 1))
def test_formatting_and_parsing_a_duration_are_inverse(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds
