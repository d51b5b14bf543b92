"""Warnings at the very limit from which they are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pfa_flux import Analytics, Point, Settings
from pfa_flux.ratio.question import Question
from pfa_flux.ratio.rows import RatioRow
from pfa_flux.ratio.warnings import _wide
from tests.data import DAY, HOUR, T0, hit, load

Warned = Callable[..., dict[str, str]]


@pytest.fixture
def warned(tmp_path: Path) -> Iterator[Warned]:
    """Writes points, and gives the warnings of an answer about them by their codes."""
    with Analytics(Settings(data_dir=tmp_path), clock=lambda: T0 + DAY) as opened:

        def ask(points: list[Point], *by: str) -> dict[str, str]:
            opened.write(points)
            answer = opened.blocked_ratio(by=by or ("domain",), start=T0, stop=T0 + DAY)
            return {warning.code: warning.message for warning in answer.warnings}

        yield ask


def hits(count: int, at: int = T0, page: str = "/") -> list[Point]:
    return [hit(at + n, page=page) for n in range(count)]


def loads(count: int, at: int = T0, page: str = "/") -> list[Point]:
    return [load(at + n, page=page) for n in range(count)]


def test_a_tenth_of_the_hits_may_say_no_page(warned: Warned) -> None:
    assert "no_page" not in warned([*hits(9), *hits(1, page="(unknown)")])
    assert "18%" in warned(hits(1, T0 + 5, page="(other)"))["no_page"]


def test_a_tenth_of_the_hits_may_say_no_page_where_rows_are_of_pages(warned: Warned) -> None:
    assert "no_page" not in warned([*hits(9), *hits(1, page="(unknown)")], "page")
    assert "18%" in warned(hits(1, T0 + 5, page="(other)"), "page")["no_page"]


def test_a_tenth_of_the_loads_may_be_on_pages_without_hits(warned: Warned) -> None:
    assert "loads_without_hits" not in warned([*hits(30), *loads(9), *loads(1, page="/new")], "page")
    found = warned(loads(1, T0 + 5, page="/new"), "page")["loads_without_hits"]
    assert all(words in found for words in ("18%", "example.com", "/new"))


def hours(*counts: tuple[int, int]) -> list[Point]:
    """Hits and loads of each hour."""
    of_hour = (
        (*hits(count, T0 + n * HOUR), *loads(js, T0 + n * HOUR)) for n, (count, js) in enumerate(counts)
    )  # fmt: skip
    return [point for points in of_hour for point in points]


def test_an_excess_of_loads_of_three_deviations_may_be_chance(warned: Warned) -> None:
    # 90 - 54 = 36 is three times the root of 90 + 54 = 144.
    before, since = [(10, 0)] * 3, [(18, 30)] * 3
    assert "js_exceeds_since" not in warned(hours(*before, *since))
    found = warned(loads(1, T0 + 5 * HOUR + 50))["js_exceeds_since"]
    assert all(words in found for words in ("2026-01-12T03:00:00Z", "91", "54"))


@pytest.mark.parametrize(("before", "since", "is_told"), [(3, 3, True), (2, 3, False), (3, 2, False)])
def test_an_instant_has_three_hours_on_either_side(warned: Warned, before: int, since: int, is_told: bool) -> None:
    assert ("js_exceeds_since" in warned(hours(*[(60, 5)] * before, *[(5, 60)] * since))) == is_told


@pytest.mark.parametrize(("before", "since", "is_told"), [(1, 1, True), (2, 1, False), (1, 2, False)])
def test_a_tenth_of_the_hours_may_be_otherwise(warned: Warned, before: int, since: int, is_told: bool) -> None:
    usual, other = (30, 5), (5, 30)
    counts = [usual, *[other] * before, *[usual] * (9 - before), other, *[usual] * since, *[other] * (9 - since)]
    assert ("js_exceeds_since" in warned(hours(*counts))) == is_told


def test_an_interval_may_be_as_wide_as_its_ratio() -> None:
    def row(high: float) -> RatioRow:
        return RatioRow({"domain": "a.example"}, 8, 6, 2, 0.25, 0.125, high, "ok")

    question = Question(T0, T0 + DAY)
    assert _wide(question, [row(0.375)]) is None
    found = _wide(question, [row(0.376)])
    assert found is not None
    assert (found.code, found.found.split()[0]) == ("interval_wide", "a.example")


def test_a_pixel_is_late_whose_first_hit_is_an_hour_after_the_start(warned: Warned) -> None:
    assert "2026-01-12T01:00:00Z" in warned([*loads(1), *hits(3, T0 + HOUR)])["pixel_late"]
    assert "pixel_late" not in warned(hits(1, T0 + HOUR - 1))
