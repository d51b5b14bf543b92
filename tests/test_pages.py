"""Which pages are told apart: bounds that age, admission at a rate, and room for what was seen on earlier days."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from pfa_flux.pixel import pages as module
from pfa_flux.pixel import regulars
from pfa_flux.pixel.hit import OTHER, Reason, View
from pfa_flux.pixel.pages import Bucket, Page, Pages, Regular, size_of
from pfa_flux.settings.pixel import PixelSettings
from pfa_flux.settings.rules import Rules

TODAY = 20_000
OWN = "example.com"


class Clock:
    """The time as a test sets it: seconds that pass, and the day that it is."""

    def __init__(self) -> None:
        self.now, self.day = 60.0 * 1000, TODAY

    def seconds(self) -> float:
        return self.now

    def today(self) -> int:
        return self.day


class Told:
    """Pages with a clock of their own."""

    def __init__(self, known: list[Regular] | None = None, **settings: object) -> None:
        self.clock, self.gone = Clock(), 0
        given_too = {"domains": (OWN,), **settings}
        rules = Rules(PixelSettings(**given_too))  # type: ignore[arg-type]
        self.pages = Pages(rules, known or [], gone=self._gone, clock=self.clock.seconds, today=self.clock.today)

    def _gone(self) -> None:
        self.gone += 1

    def see(self, page: str, domain: str = OWN) -> str:
        """The page that a hit counts as; the reason why it does not."""
        found = self.pages.of(view(page, domain))
        if not isinstance(found, Page):
            return found.value
        found.seen = self.pages.minute
        return found.view.page

    def wait(self, seconds: float, days: int = 0) -> None:
        """Let time pass, with a look at each minute of it, or at its end where a day passes too."""
        self.clock.day += days
        for _ in range(int(seconds // 60)):
            self.clock.now += 60
            self.pages.update()
        self.clock.now += seconds % 60
        self.pages.update()


def view(page: str, domain: str = OWN) -> View:
    return View("hit", "https", domain, page)


def flood(told: Told, count: int, tag: str = "x", domain: str = OWN) -> int:
    """Forged pages; returns how many of them were told apart."""
    return sum(told.see(f"/{tag}{n}", domain) == f"/{tag}{n}" for n in range(count))


class TestAFloodOfPages:
    def test_as_many_are_told_apart_as_the_setting_says_and_the_rest_is_other(self) -> None:
        told = Told(max_pages=100)
        assert flood(told, 5000) == 100
        assert told.pages.folded == 4900
        assert len(told.pages) == 101

    def test_what_was_seen_before_it_keeps_its_name(self) -> None:
        told = Told(max_pages=100)
        for _ in range(2):
            own = [told.see(f"/own{n}") for n in range(50)]
            told.wait(3600)
        for minute in range(120):
            flood(told, 200, f"{minute}-")
            told.wait(60)
        assert [told.see(f"/own{n}") for n in range(50)] == own == [f"/own{n}" for n in range(50)]

    def test_a_new_page_has_its_name_a_minute_after_it(self) -> None:
        told = Told(max_pages=100)
        flood(told, 5000)
        assert told.see("/new") == OTHER
        told.wait(60)
        assert [told.see(f"/new{n}") for n in range(11)] == [*(f"/new{n}" for n in range(10)), OTHER]

    def test_ten_a_minute_are_admitted_while_it_lasts_and_no_more(self) -> None:
        told = Told(max_pages=100)
        admitted = 0
        for _ in range(60 * 24):
            admitted += flood(told, 30, f"{told.clock.now}-")
            told.wait(60)
        assert admitted == pytest.approx(100 + 24 * 60 * 10, abs=10)
        assert len(told.pages) <= 201

    def test_a_large_site_is_admitted_faster(self) -> None:
        told = Told(max_pages=100_000)
        assert flood(told, 101_000) > 100_000 - 1 or told.pages.bytes >= module.MOST_BYTES

    def test_pages_of_earlier_days_have_their_names_from_the_start(self) -> None:
        known = [Regular(view(f"/own{n}"), 3, 30, TODAY - 1) for n in range(80)]
        told = Told(known, max_pages=100)
        flood(told, 5000)
        assert [told.see(f"/own{n}") for n in range(80)] == [f"/own{n}" for n in range(80)]
        for _ in range(60 * 24):
            flood(told, 30, f"{told.clock.now}-")
            told.wait(60)
        assert [told.see(f"/own{n}") for n in range(80)] == [f"/own{n}" for n in range(80)]

    def test_the_day_after_the_sites_own_pages_are_the_regular_ones(self) -> None:
        told = Told(max_pages=100)
        for _ in range(30):
            for n in range(60):
                told.see(f"/own{n}")
            told.wait(60)
        flood(told, 5000)
        told.wait(120, days=1)
        found = {each.view.page for each in told.pages.regulars()}
        assert {f"/own{n}" for n in range(60)} <= found
        assert len(found) == 100
        assert sum(page.regular for page in told.pages) == 100

    def test_the_journal_can_do_without_new_pages(self) -> None:
        told = Told()
        told.see("/a")
        told.pages.closed = True
        assert [told.see("/a"), told.see("/b")] == ["/a", OTHER]


class TestTheyAge:
    def test_a_page_that_was_seen_once_is_gone_with_its_days(self) -> None:
        told = Told()
        told.see("/once")
        told.see("/often")
        for _ in range(module._REMEMBERED_DAYS + 1):
            told.wait(120, days=1)
            told.see("/often")
            told.wait(60)
        told.wait(120, days=1)
        assert [page.view.page for page in told.pages] == ["/often"]
        assert told.gone > 0

    def test_without_room_those_leave_that_were_not_seen_for_longest(self) -> None:
        told = Told(max_pages=10)
        for n in range(24):
            told.see(f"/{n}")
            told.wait(60)
        told.see("/0")
        told.wait(120)
        assert told.see("/new") == "/new"
        assert {page.view.page for page in told.pages} == {"/0", *(f"/{n}" for n in range(4, 24)), "/new"}

    def test_what_was_just_seen_makes_no_room(self) -> None:
        told = Told(max_pages=10)
        for n in range(24):
            told.see(f"/{n}")
            told.wait(60)
        for n in range(24):
            told.see(f"/{n}")
        assert told.see("/new") == OTHER
        told.wait(120)
        assert told.see("/new") == "/new"

    @pytest.mark.parametrize("days", [-400, -1, 1, 400])
    def test_a_clock_that_is_wrong_for_a_while_costs_no_page_that_is_seen(self, days: int) -> None:
        told = Told([Regular(view("/own"), 9, 90, TODAY - 1)])
        told.see("/own")
        for step in (days, -days):
            told.wait(60, days=step)
            assert told.see("/own") == "/own"
        assert told.see("/new") == "/new"


class TestDomainsThatNobodyNamed:
    def test_a_hundred_forged_ones_after_a_start_do_not_lock_out_the_sites_own(self) -> None:
        told = Told([Regular(view("/", "own.example"), 2, 9, TODAY - 1)], domains=())
        refused = [told.see("/", f"{n}.example") for n in range(500)].count(Reason.TOO_MANY_DOMAINS.value)
        assert refused == 400
        assert told.see("/new", "own.example") == "/new"

    def test_a_new_one_counts_again_when_the_flood_is_over(self) -> None:
        told = Told(domains=(), max_domains=10)
        for n in range(500):
            told.see("/", f"{n}.example")
        assert told.see("/", "new.example") == "too_many_domains"
        told.wait(121)
        assert told.see("/", "new.example") == "/"
        assert told.pages.domains == 10

    def test_those_that_come_and_go_make_no_more_pages_than_a_few_domains_may(self) -> None:
        told = Told(domains=("*.example.com",), max_domains=10, max_pages=50)
        admitted = 0
        for minute in range(60):
            for n in range(20):
                admitted += flood(told, 60, f"{minute}-", f"{minute}-{n}.example.com")
            told.wait(60)
        # The few that are there from the start, and what comes to all of them within an hour.
        assert admitted <= 4 * 50 + 60 * 4 * 10 + 60 * 20

    def test_a_listed_domain_is_never_refused(self) -> None:
        told = Told(domains=(OWN, "*.example.com"), max_domains=1)
        for n in range(100):
            told.see("/", f"{n}.example.com")
        assert told.see("/") == "/"


@budget(max_examples=60)
@given(st.lists(st.floats(0, 500, allow_subnormal=False), max_size=60), st.integers(1, 2000))
def test_a_bucket_gives_what_it_holds_and_what_has_come(waits: list[float], most: int) -> None:
    now, bucket = 0.0, Bucket(most, 0.0)
    level, rate = Fraction(most), Fraction(max(most / 86400, 1 / 6))
    for wait in waits:
        now += wait
        level = min(Fraction(most), level + Fraction(wait) * rate)
        taken = 0
        while bucket.has(now):
            bucket.take()
            taken += 1
        assert abs(taken - int(level)) <= (abs(level - round(level)) < Fraction(1, 10**6))
        level -= taken


def test_a_bucket_of_one_token_gives_that_and_the_next_when_it_is_whole() -> None:
    bucket = Bucket(1, 0.0)
    assert bucket.has(0.0)
    bucket.take()
    assert [bucket.has(seconds) for seconds in (0.0, 5.5, 6.0)] == [False, False, True]


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["see", "see", "see", "see", "minute", "minutes", "day", "back", "restart"]),
        st.integers(0, 6),
        st.integers(0, 40),
    ),
    max_size=150,
)


@budget(max_examples=150)
@given(_STEPS, st.booleans())
def test_the_books_are_right_and_within_their_bounds_whatever_comes(
    steps: list[tuple[str, int, int]], listed: bool
) -> None:
    given_too: dict[str, Any] = {"domains": ("0.example",) if listed else (), "max_pages": 5, "max_domains": 3}
    told = Told(**given_too)
    for what, place, number in steps:
        if what == "see":
            domain = f"{place if not listed else 0}.example"
            before = {(page.view, page.regular) for page in told.pages}
            found = told.see(f"/{number}", domain)
            if (view(f"/{number}", domain), True) in before:
                assert found == f"/{number}"
            assert found in (f"/{number}", OTHER, "too_many_domains")
        elif what == "restart":
            saved = told.pages.regulars()
            told, clock = Told(saved, **given_too), told.clock
            told.clock.now, told.clock.day = clock.now, clock.day
        else:
            told.wait(60 * (number if what == "minutes" else 1), {"day": 1, "back": -1}.get(what, 0))
        _check(told)


def _check(told: Told) -> None:
    pages = told.pages
    assert pages.bytes == sum(size_of(page.view) for page in pages)
    strange = 0
    for (_, domain), place in pages._places.items():
        assert place.pages
        assert place.strangers == sum(not page.regular for page in place.pages.values())
        assert place.strangers <= 2 * 5 + 4
        assert sum(page.regular for page in place.pages.values()) <= 5
        strange += not place.regular and domain not in pages._rules.exact
    assert strange <= 3 + 1


def test_bytes_are_bounded_and_what_is_regular_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 300_000)
    known = [Regular(view(f"/own{n}"), 3, 30, TODAY - 1) for n in range(50)]
    told = Told(known, domains=(), max_pages=1000)
    most = 0
    for minute in range(30):
        for n in range(5):
            flood(told, 100, f"{minute}{'y' * 900}", f"{n}.example")
            most = max(most, told.pages.bytes)
        told.wait(60)
    assert most <= 300_000 + 200 * 5000
    assert told.pages.bytes <= 300_000 + 5000
    # Of domains that are not named either.
    assert [told.see(f"/own{n}") for n in range(50)] == [f"/own{n}" for n in range(50)]


class TestTheFile:
    KNOWN = (
        Regular(view("/a"), 2, 7, TODAY),
        Regular(View("load", "http", "x.onion", "/%E4%BD%A0"), 1, 1, TODAY - 3),
    )

    def test_what_was_saved_is_loaded(self, tmp_path: Path) -> None:
        regulars.save(tmp_path, self.KNOWN)
        assert regulars.load(tmp_path) == list(self.KNOWN)
        assert (tmp_path / regulars.NAME).stat().st_mode & 0o777 == 0o600
        regulars.save(tmp_path, self.KNOWN[:1])
        assert regulars.load(tmp_path) == list(self.KNOWN[:1])
        assert [each.name for each in tmp_path.iterdir()] == [regulars.NAME]

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            "[]",
            "null",
            '{"format": 2, "pages": []}',
            '{"format": 1}',
            '{"format": 1, "pages": [1]}',
            '{"format": 1, "pages": [["hit", "https", "a", "/", 1, 1]]}',
            '{"format": 1, "pages": [["hit", "https", "a", "/", 1, 1, "1"]]}',
            '{"format": 1, "pages": [["hit", "https", "a", "/\\n", 1, 1, 1]]}',
            '{"format": 1, "pages": [["other", "https", "a", "/", 1, 1, 1]]}',
            '{"format": 1, "pages": [["hit", "https", "a", "/", 1, -1, 1]]}',
            "[" * 100_000,
        ],
    )
    def test_one_that_cannot_be_read_is_told_and_nothing_else(
        self, text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / regulars.NAME).write_text(text)
        assert regulars.load(tmp_path) == []
        assert "pages of earlier days are unknown" in caplog.text

    def test_a_link_is_not_followed(self, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        regulars.save(tmp_path, self.KNOWN)
        (tmp_path / regulars.NAME).rename(elsewhere)
        before = elsewhere.read_bytes()
        (tmp_path / regulars.NAME).symlink_to(elsewhere)
        assert regulars.load(tmp_path) == []
        regulars.save(tmp_path, [])
        assert (elsewhere.read_bytes(), (tmp_path / regulars.NAME).is_symlink()) == (before, False)

    def test_no_file_is_no_news(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        assert (regulars.load(tmp_path), caplog.text) == ([], "")

    def test_pages_that_count_no_longer_are_left_out(self) -> None:
        assert Told([Regular(view("/", "sold.example"), 9, 9, TODAY - 1)]).pages.domains == 0
