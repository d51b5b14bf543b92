"""The live page as an application: what is chosen is shown, and what is wrong is said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, quote

import pytest

from pfa_flux import Analytics, Settings
from pfa_flux.engines.ask import Ask, Sums
from pfa_flux.engines.sqlite import Embedded
from pfa_flux.view import page as live_page
from pfa_flux.view.page import Answer, LivePage
from pfa_flux.view.selection import Selection
from tests.data import DAY, HOUR, T0, hit
from tests.live_page import NOW, ONION, SITES, WEEK, ask, headings, problems, two_sites, viewed
from tests.test_analysis import HOSTILE
from tests.test_report import Page, shown


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return two_sites(tmp_path_factory.mktemp("store"))


@pytest.fixture
def page(own: Settings) -> LivePage:
    return LivePage(own, clock=lambda: NOW)


def test_an_overview_is_the_report_of_seven_days(page: LivePage) -> None:
    answer = ask(page)
    assert answer.status == 200
    assert headings(answer) == ["By network", "By domain", "Over time", "By page", "Data quality", "How it was made"]
    assert viewed(WEEK) in answer.body
    assert "14 January 2026, 05:00 to 21 January 2026, 05:00 UTC" in answer.body


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("of=blog", viewed(WEEK, domains=SITES["blog"])),
        ("of=shop", viewed(WEEK, domains=SITES["shop"])),
        ("of=example.com", viewed(WEEK, domains=["example.com"])),
        ("of=Example.COM", viewed(WEEK, domains=["example.com"])),
        ("of=example.com&page=/1", viewed(WEEK, domains=["example.com"], page="/1")),
        ("range=24h", viewed(NOW - DAY)),
        ("range=90d", viewed(0)),
        ("from=2026-01-12&to=2026-01-12", viewed(T0, T0 + DAY)),
        ("from=2026-01-20", viewed(T0 + 8 * DAY)),
    ],
)
def test_site_domain_page_and_range_are_chosen_by_parameters(page: LivePage, query: str, expected: str) -> None:
    answer = ask(page, query)
    assert answer.status == 200
    assert expected in answer.body


@pytest.mark.parametrize("flag", [True, False])
def test_days_are_those_of_the_time_zone(own: Settings, flag: bool) -> None:
    # That of the flag, or else of the settings.
    settings, zone = (own, "Asia/Kolkata") if flag else (replace(own, tz="Asia/Kolkata"), None)
    answer = ask(LivePage(settings, tz=zone, clock=lambda: NOW), "from=2026-01-13&to=2026-01-14")
    assert "13 January 2026, 00:00 to 15 January 2026, 00:00 Asia/Kolkata" in answer.body
    assert viewed(T0 + DAY - 11 * HOUR // 2, T0 + 3 * DAY - 11 * HOUR // 2) in answer.body


@pytest.mark.parametrize(
    ("by", "heading", "names"),
    [
        ("network", "By network", ["clearnet", "Tor"]),
        ("domain", "By domain", ["example.com", ONION, "shop.example"]),
        ("page", "By page", ["/", "/0", "/1", "/2"]),
        ("time&every=1d", "Over time", ["20 Jan", "21 Jan"]),
    ],
)
def test_a_key_is_shown_with_its_rows_and_their_change_where_that_is_asked_for(
    page: LivePage, by: str, heading: str, names: list[str]
) -> None:
    plain, compared = (ask(page, f"by={by}&from=2026-01-20{more}") for more in ("", "&compare=1"))
    for answer in (plain, compared):
        assert answer.status == 200
        assert headings(answer) == [heading, "Data quality", "How it was made"]
        rows = re.findall(r'<th scope="row" class="key">(?:<a [^>]+>)?(.*?)<', answer.body)
        assert sorted(rows) == sorted(names)
    assert "change in points" not in plain.body
    assert "The share of the previous period was" not in plain.body
    assert plain.body.count('class="change"') == 0
    assert compared.body.count('<td class="change">') == len(names)


def test_the_interval_of_time_is_chosen(page: LivePage) -> None:
    days, hours = (ask(page, f"by=time&range=24h&every={every}") for every in ("1d", "1h"))
    assert re.findall(r'class="key">(.*?)<', days.body)[1:] == ["20 Jan", "21 Jan"]
    assert len(re.findall(r'<th scope="row"', hours.body)) == 24
    assert "20 Jan, 05:00" in hours.body


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("of=%C3%BC%E2%80%AE.de", r"Whose page views: 'ü\u202e.de' is not a domain: "),
        ("range=7", "Range: Choose one of the ranges shown, or enter a duration of at most ten years, such as 14d."),
        (
            "range=11000d",
            "Range: Choose one of the ranges shown, or enter a duration of at most ten years, such as 14d.",
        ),
        ("from=2026-02-30", "From: It is not a day. Enter for example 2026-01-31."),
        ("from=20260101", "From: It is not a day. Enter for example 2026-01-31."),
        ("from=0001-01-01", "From: It is not a day. Enter for example 2026-01-31."),
        ("from=2026-01-20&to=soon", "To: It is not a day. Enter for example 2026-01-31."),
        ("to=2026-01-20", "From: Enter the first day, too."),
        ("from=2026-01-22", "From: It is in the future."),
        ("from=2026-01-20&to=2026-01-19", "To: It is before the first day."),
        ("from=2001-01-20", "From: The range is longer than ten years."),
        ("by=weather", "View: 'weather' is not available. Choose one of the values shown."),
        ("every=7m", "Interval: '7m' is not available. Choose one of the values shown."),
        ("by=time&range=90d&every=15m", "Interval: That makes more than 1,000 intervals. Choose longer ones"),
        ("compare=yes", "Compare: 'yes' is not available. Choose one of the values shown."),
        ("by=page&by=time", "View: It occurs twice."),
        ("weather=1", "Address: It has an unknown parameter. Choose again."),
        ("of=%FF", "Address: It cannot be read. Choose again."),
    ],
)
def test_what_is_wrong_is_said_in_plain_words_and_nothing_is_asked(
    page: LivePage, query: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_page, "Analytics", None)
    answer = ask(page, query)
    assert answer.status == 400
    (found,) = problems(answer)
    assert found.startswith(said)
    assert "--" not in found
    assert "headline" not in re.sub("<style>.*</style>", "", answer.body, flags=re.DOTALL)


def test_a_form_shows_what_was_typed_and_names_its_problem(page: LivePage) -> None:
    answer = ask(page, "from=yesterday&to=%22%3E%3Cscript%3E")
    assert '<input name="from" value="yesterday" type="date" autocomplete="off" aria-invalid="true"' in answer.body
    assert 'aria-describedby="from-problem"' in answer.body
    assert 'value="&quot;&gt;&lt;script&gt;"' in answer.body
    assert "script" not in Page(answer.body).tags


def test_names_from_data_do_nothing_and_lead_to_themselves(tmp_path: Path) -> None:
    own = Settings(data_dir=tmp_path)
    with Analytics(own, clock=lambda: NOW) as analytics:
        analytics.write(
            [hit(T0 + 8 * DAY, '"><script>.example', HOSTILE), hit(T0 + 8 * DAY + 1, "&of=b.example", "/é&by=time")]
        )
    page = LivePage(own, clock=lambda: NOW)
    body = ask(page).body
    assert "script" not in Page(body).tags
    links = [value for name, value in Page(body).attributes if name == "href" and "page=" in value]
    assert len(links) == 2
    for link in links:
        found = ask(page, link.removeprefix("?"))
        assert found.status == 200
        assert "<b>1</b><span>page views, by the pixel</span>" in found.body
        assert parse_qs(link.removeprefix("?"))["page"][0] in {HOSTILE, "/é&by=time", "/%C3%A9&by=time"}


@pytest.mark.parametrize("query", ["", "by=page&compare=1&of=blog", "by=time&range=24h", "from=x", "page=/1"])
def test_the_page_has_no_script_asks_for_nothing_and_can_stand_under_any_path(page: LivePage, query: str) -> None:
    found = Page(ask(page, query).body)
    assert not {"script", "img", "link", "iframe", "object", "embed"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name in {"src", "style", "action"} or name.startswith("on")]
    assert {value[0] for name, value in found.attributes if name == "href"} == {"?", "#"}
    assert found.tags.count("h1") == 1
    assert found.tags.count("main") == 1


def test_answers_have_strict_headers(page: LivePage) -> None:
    for answer in (ask(page), ask(page, "from=x"), ask(page, host="evil.example"), ask(page, target="/other")):
        headers = answer.all_headers()
        policy = headers.pop("Content-Security-Policy")
        assert re.fullmatch(
            r"default-src 'none'; style-src 'sha256-[\w+/=]+'; form-action 'self'; base-uri 'none'; "
            "frame-ancestors 'none'",
            policy,
        )
        assert f'content="{policy.rpartition(";")[0]}"' in unescape(answer.body)
        assert headers == {
            "Content-Type": "text/html; charset=utf-8",
            "Cache-Control": "no-store",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Content-Length": str(len(answer.body.encode())),
        }


def spans(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int, bool]]:
    """Measurement, start and stop of all that is asked of raw data from now on, and whether of some pages alone."""
    asked: list[tuple[str, int, int, bool]] = []
    aggregate = Embedded.aggregate

    def watched(engine: Embedded, asks: Sequence[Ask], dialect: str = "") -> list[Sums]:
        asked.extend((a.rows.measurement, a.start, a.stop, bool(a.where.get("page"))) for a in asks)
        return aggregate(engine, asks, dialect)

    monkeypatch.setattr(Embedded, "aggregate", watched)
    return asked


@pytest.mark.parametrize("by", ["", "network", "domain", "page", "time"])
def test_each_span_is_read_once_and_the_previous_period_only_when_asked_for(
    page: LivePage, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = spans(monkeypatch)
    now, before = (NOW - 2 * DAY, NOW), (NOW - 4 * DAY, NOW - 2 * DAY)
    ask(page, f"range=2d&by={by}")
    assert sorted(asked) == sorted(set(asked))
    assert {(start, stop) for _, start, stop, _ in asked} == {now}
    asked.clear()
    ask(page, f"range=2d&by={by}&compare=1")
    assert sorted(asked) == sorted(set(asked))
    assert {(start, stop) for _, start, stop, _ in asked} == {now, before}


def test_an_address_has_only_what_is_not_the_default() -> None:
    assert Selection().query() == "?"
    assert Selection(range="30d", by="page").query(compare="1") == "?range=30d&by=page&compare=1"
    assert Selection(first="2026-01-01", last="2026-01-02").query() == "?from=2026-01-01&to=2026-01-02"
    assert Selection(first="2026-01-01").query(first="", range="24h") == "?range=24h"
    assert Selection(page="/ü&x").query() == f"?page={quote('/ü&x', safe='')}"


def test_a_name_that_no_encoding_has_is_shown_and_linked_all_the_same() -> None:
    assert Selection(of="a\ud800.example").query() == "?of=a%3F.example"
    answer = Answer(200, "a\ud800.example")
    assert (answer.content, answer.all_headers()["Content-Length"]) == (b"a?.example", "10")


def test_the_headline_of_a_vague_selection_is_its_interval(page: LivePage) -> None:
    assert shown(ask(page, "of=example.com&range=6h").body, "headline vague") == ["4–62%"]
