"""Intervals of time in time zones, also where the clock is changed."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfa_flux import InvalidValueError
from pfa_flux.ratio.grid import make_grid
from pfa_flux.times import NS, parse_instant
from tests import oracle


def at(text: str) -> int:
    return parse_instant(text, 0)


def labels(start: str, stop: str, every: str, zone: str) -> list[str]:
    grid = make_grid(at(start), at(stop), every, ZoneInfo(zone))
    return [grid.label(edge) for edge in grid.starts]


def test_hours_cover_an_unaligned_range() -> None:
    assert labels("2026-01-12T10:30:00Z", "2026-01-12T12:00:00Z", "1h", "UTC") == [
        "2026-01-12T10:00:00Z",
        "2026-01-12T11:00:00Z",
    ]


def test_days_begin_at_the_zones_midnight_also_when_the_clock_is_changed() -> None:
    assert labels("2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z", "1d", "Europe/Berlin") == [
        "2026-03-28T00:00:00+01:00",
        "2026-03-29T00:00:00+01:00",
        "2026-03-30T00:00:00+02:00",
    ]


def test_the_hour_that_comes_twice_is_two_intervals() -> None:
    assert labels("2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z", "1h", "Europe/Berlin") == [
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:00:00+01:00",
    ]


def test_a_midnight_that_is_skipped_leaves_the_day_beginning_at_one() -> None:
    assert labels("2026-04-24T12:00:00Z", "2026-04-25T00:00:00Z", "1d", "Africa/Cairo") == [
        "2026-04-24T01:00:00+03:00",
        "2026-04-25T00:00:00+03:00",
    ]


def test_weeks_begin_on_monday() -> None:
    assert labels("2026-01-14T00:00:00Z", "2026-01-20T00:00:00Z", "1w", "UTC") == [
        "2026-01-12T00:00:00Z",
        "2026-01-19T00:00:00Z",
    ]


def test_hours_of_a_zone_off_by_half_an_hour_are_made_of_half_hours() -> None:
    grid = make_grid(at("2026-01-12T00:00:00Z"), at("2026-01-12T02:00:00Z"), "1h", ZoneInfo("Asia/Kolkata"))
    assert grid.label(grid.edges[0]) == "2026-01-12T05:00:00+05:30"
    assert grid.granularity() == 1800


def test_an_unknown_width_and_too_many_intervals_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="`every='2h'` is unknown"):
        make_grid(0, NS, "2h", ZoneInfo("UTC"))
    with pytest.raises(InvalidValueError, match="more than 200,000"):
        make_grid(0, 10 * 365 * 86400 * NS, "15m", ZoneInfo("UTC"))


@settings(max_examples=200)
@given(
    st.integers(at("2025-01-01T00:00:00Z") // NS, at("2027-12-01T00:00:00Z") // NS),
    st.integers(1, 20 * 86400),
    st.sampled_from(["15m", "1h", "1d", "1w"]),
    st.sampled_from(
        ["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns", "Africa/Cairo"]
    ),
    st.data(),
)
def test_every_instant_lies_in_the_interval_of_its_clock(
    start: int, length: int, every: str, zone: str, data: st.DataObject
) -> None:
    grid = make_grid(start * NS, (start + length) * NS, every, ZoneInfo(zone))
    instant = (start + data.draw(st.integers(0, length - 1))) * NS
    # Half an hour that comes twice, in Lord Howe, is two parts of one hour of the clock.
    if not (zone == "Australia/Lord_Howe" and every == "1h"):
        assert grid.start_of(instant) == oracle.interval_start(instant, every, ZoneInfo(zone))
    assert grid.edges[0] <= start * NS
    assert grid.edges[-2] < (start + length) * NS <= grid.edges[-1]
    assert all(edge // NS % grid.granularity() == 0 for edge in grid.edges)
