"""`sess` and time of hits, whatever the clock does."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfa_flux.journal.epoch import Epoch
from pfa_flux.times import NS

T = 1_700_000_000 * NS
_READINGS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 5 * NS), st.sampled_from([-NS, -NS - 1, -1, 0, 1, NS]), st.integers(-(10**4) * NS, 0)),
        st.integers(1, 5000),
    ),
    min_size=1,
    max_size=30,
)
"""Steps of the clock, and hits at each."""


def stamps(steps: list[tuple[int, int]]) -> list[tuple[int, int, str, int]]:
    """Clock, count, `sess` and time of each."""
    epoch, now, found = Epoch(), T, []
    for step, count in steps:
        now += step
        time = epoch.stamp(now, count)
        found.append((now, count, epoch.sess, time))
    return found


def test_a_sess_is_sixteen_hex_digits() -> None:
    assert len(Epoch().sess) == 16
    assert int(Epoch().sess, 16) >= 0


def test_every_process_has_a_sess_of_its_own() -> None:
    assert len({Epoch().sess for _ in range(100)}) == 100


def test_the_time_is_the_second_and_no_more() -> None:
    assert Epoch().stamp(T + 123_456_789, 1) == T


def test_hits_of_one_second_are_a_nanosecond_apart() -> None:
    epoch = Epoch()
    assert [epoch.stamp(T, 3), epoch.stamp(T + 999_999_999, 2), epoch.stamp(T, 1)] == [T, T + 3, T + 5]


def test_the_next_second_begins_anew() -> None:
    epoch = Epoch()
    assert [epoch.stamp(T, 3), epoch.stamp(T + NS, 1)] == [T, T + NS]


@pytest.mark.parametrize(
    ("back", "same"), [(0, True), (NS, True), (NS + 1, False), (2 * NS, False), (3600 * NS, False)]
)
def test_only_a_step_back_of_more_than_a_second_begins_a_new_sess(back: int, same: bool) -> None:
    epoch = Epoch()
    first = epoch.stamp(T, 1)
    before = epoch.sess
    again = epoch.stamp(T - back, 1)
    assert (epoch.sess == before) is same
    assert again == (first + 1 if same else (T - back) // NS * NS)


def test_a_step_forward_keeps_the_sess() -> None:
    epoch = Epoch()
    before = epoch.sess
    epoch.stamp(T, 1)
    assert epoch.stamp(T + 10**6 * NS, 1) == T + 10**6 * NS
    assert epoch.sess == before


@given(_READINGS)
def test_no_two_hits_have_one_sess_and_time(steps: list[tuple[int, int]]) -> None:
    spans = [(sess, time, time + count) for _, count, sess, time in stamps(steps)]
    assert all(one[2] <= two[1] for one, two in pairwise(sorted(spans)) if one[0] == two[0])


@given(_READINGS)
def test_times_of_a_sess_only_rise(steps: list[tuple[int, int]]) -> None:
    for (_, count, sess, time), (_, _, later_sess, later_time) in pairwise(stamps(steps)):
        assert later_sess != sess or later_time >= time + count


@given(_READINGS)
def test_a_sess_that_was_left_never_comes_back(steps: list[tuple[int, int]]) -> None:
    seen = [sess for _, _, sess, _ in stamps(steps)]
    changes = sum(one != two for one, two in pairwise(seen))
    assert len(set(seen)) == changes + 1


@given(_READINGS)
def test_the_time_is_the_hits_second_or_the_one_after_the_last(steps: list[tuple[int, int]]) -> None:
    last: dict[str, int] = {}
    for now, count, sess, time in stamps(steps):
        assert time == max(now // NS * NS, last.get(sess, 0) + 1)
        last[sess] = time + count - 1
