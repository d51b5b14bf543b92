"""The 95% interval: Wilson with the effective number of page views."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfa_flux.ratio.interval import (
    Sides,
    Z,
    block_hours,
    block_starts,
    effective_n,
    interval,
    newcombe,
    t_quantile,
    wilson,
)
from tests import oracle

HOUR = 3600 * 10**9


def columns(blocks: Sequence[Sides]) -> tuple[list[int], list[int], int, int]:
    """Hits and loads of blocks, and those of all of them."""
    hits, js = [block.hits for block in blocks], [block.js for block in blocks]
    return hits, js, sum(hits), sum(js)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe (1998), Statistics in Medicine 17, 857-872, Table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_values(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes / n, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10**6), st.data())
def test_wilson_equals_the_roots_of_its_equation_and_holds_the_ratio(n: int, data: st.DataObject) -> None:
    ratio = data.draw(st.integers(0, n)) / n
    low, high = wilson(ratio, n)
    assert (low, high) == pytest.approx(oracle.wilson(ratio, n), abs=1e-9)
    assert 0 <= low <= ratio <= high <= 1


def _blocks() -> st.SearchStrategy[list[Sides]]:
    block = st.integers(0, 500).flatmap(lambda h: st.builds(Sides, st.just(h), st.integers(0, h)))
    return st.lists(block, min_size=2, max_size=100).filter(lambda blocks: any(b.hits for b in blocks))


@given(_blocks())
def test_effective_n_equals_exact_arithmetic(blocks: list[Sides]) -> None:
    assert effective_n(*columns(blocks)) == pytest.approx(oracle.effective_n(blocks), rel=1e-9)


def test_blocks_that_vary_as_independent_views_do_leave_every_page_view_its_weight() -> None:
    blocks = [Sides(30, 21), Sides(30, 22), Sides(30, 20)] * 8
    assert effective_n(*columns(blocks)) == (720, Z)


def test_page_views_blocked_in_bunches_are_worth_fewer_draws() -> None:
    blocks = [Sides(10, 0), Sides(10, 10)] * 12
    # r = 1/2, var = 24/23 * 24 * 25 / 240^2, n = (1/4) / var = 23
    assert effective_n(*columns(blocks)) == pytest.approx((23, t_quantile(23)))


def test_a_variance_that_rests_on_one_block_has_few_degrees_of_freedom() -> None:
    blocks = [Sides(10, 0), *[Sides(10, 10)] * 23]
    # d = 10 - 10/24 once and -10/24 in the others: 4 * sum(d^2)^2 / sum(d^4) = 4.355
    n, quantile = effective_n(*columns(blocks))
    assert n == pytest.approx(23.0)
    assert quantile == pytest.approx(t_quantile(4.355), abs=1e-3)


@pytest.mark.parametrize(("df", "exact"), [(2, 4.30265), (3, 3.18245), (5, 2.57058), (10, 2.22814), (99, 1.98422)])
def test_the_t_quantile_is_near_the_tables(df: int, exact: float) -> None:
    assert t_quantile(df) == pytest.approx(exact, rel=0.01 if df == 2 else 3e-3 if df == 3 else 2e-4)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    # Newcombe (1998), Statistics in Medicine 17, 873-890, Table II, method 10.
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 20), 0.6791, 1.0),
    ],
)
def test_newcombes_interval_of_a_difference_is_the_published_one(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    (a, m), (b, n) = first, second
    difference, *ends = newcombe((a / m, *wilson(a / m, m)), (b / n, *wilson(b / n, n)))
    assert difference == pytest.approx(a / m - b / n)
    assert ends == pytest.approx([low, high], abs=5e-5)


def test_fewer_than_ten_blocks_take_page_views_as_independent_and_say_so() -> None:
    nine = [Sides(10, 0), Sides(10, 10), Sides(10, 5)] * 3
    assert interval(Sides(90, 45), nine) == (*wilson(0.5, 90), True)
    ten = [*nine, Sides(0, 0)]
    low, high, independent = interval(Sides(90, 45), ten)
    assert not independent
    assert low < wilson(0.5, 90)[0] < wilson(0.5, 90)[1] < high


def test_blocks_that_are_not_of_the_same_data_as_the_total_give_the_plain_interval_and_say_so() -> None:
    # Two reads of one span may see different data: an expiry, or a late batch, between them.
    for blocks in ([Sides(0, 0)] * 12, [Sides(1, 0)] * 12, [Sides(5, 3), *[Sides(0, 0)] * 11]):
        assert interval(Sides(5, 2), blocks) == (*wilson(0.6, 5), True)


def test_no_variance_is_not_certainty() -> None:
    # Ten blocks that agree may be ten visits: n = 10, with Student's t of 9.
    low, high, _ = interval(Sides(100, 0), [Sides(10, 0)] * 10)
    assert low == pytest.approx(1 / (1 + 2.2622**2 / 10), abs=5e-4)
    assert high == 1.0


@pytest.mark.parametrize(
    ("hours", "width"),
    [(1, 1), (24, 1), (100, 1), (101, 2), (168, 2), (500, 6), (30 * 24, 8), (90 * 24, 24), (365 * 24, 96)],
)
def test_blocks_are_an_hour_or_as_long_as_it_takes_to_have_a_hundred(hours: int, width: int) -> None:
    assert block_hours(0, hours * HOUR) == width


@given(st.integers(0, 10**18), st.integers(1, 10**17))
def test_there_are_never_more_than_a_hundred_blocks_and_they_cover_the_range(start: int, length: int) -> None:
    starts = block_starts(start, start + length, block_hours(start, start + length))
    assert 1 <= len(starts) <= 100
    assert starts[0] <= start
    assert starts[-1] < start + length <= starts[-1] + starts.step
