"""The live page as an application: what is chosen is shown, what is wrong is said, and who may not ask gets nothing."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, quote

import pytest

from pfa_flux import Analytics, Settings, settings
from pfa_flux.engines.ask import Ask, Sums
from pfa_flux.engines.sqlite import STORE_NAME, Embedded
from pfa_flux.settings import Secret
from pfa_flux.view import page as live_page
from pfa_flux.view.page import AT_ONCE, Answer, LivePage, Request
from pfa_flux.view.selection import Selection
from tests.contract import ENGINES_ONCE, Target, fill, ordinarily, workspace_of
from tests.data import DAY, HOUR, T0, hit, load
from tests.engines.plugin import MakeWorkspace
from tests.test_analysis import HOSTILE
from tests.test_report import Page, shown

NOW = T0 + 9 * DAY + 5 * HOUR
WEEK = NOW - 7 * DAY
ONION = f"{'a' * 55}d.onion"
SITES = {"blog": ("example.com", ONION), "shop": ("shop.example",)}
POINTS = [
    *(hit(T0 + n * HOUR, page=f"/{n % 3}") for n in range(220)),
    *(load(T0 + n * HOUR, page=f"/{n % 3}") for n in range(220) if n % 4),
    *(hit(T0 + n * HOUR, ONION) for n in range(0, 220, 2)),
    *(hit(T0 + n * HOUR, "shop.example") for n in range(0, 220, 20)),
]


def ask(page: LivePage, query: str = "", **request: str) -> Answer:
    """The answer to a request of a browser on this machine."""
    given = {"method": "GET", "target": f"/?{query}" if query else "/", "host": "localhost:8482", **request}
    return page.answer(Request(hosts=[given.pop("host")], **given))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a store with two sites."""
    made = Settings(data_dir=tmp_path_factory.mktemp("store"), sites=SITES)
    with Analytics(made, clock=lambda: NOW) as analytics:
        analytics.write(POINTS)
    return made


@pytest.fixture
def page(own: Settings) -> LivePage:
    return LivePage(own, clock=lambda: NOW)


def viewed(start: int, stop: int = NOW, domains: Sequence[str] = (), page: str = "") -> str:
    """The line of a page that says how many page views there are."""
    hits = [point for point in POINTS if point.measurement == "pf_analytics_test_pixel" and start <= point.time < stop]
    of = [point for point in hits if not domains or point.tags["domain"] in domains]
    count = sum(not page or point.tags["page"] == page for point in of)
    return f"<b>{count}</b><span>page views, by the pixel</span>"


def headings(answer: Answer) -> list[str]:
    return re.findall("<h2>(.*?)</h2>", answer.body)


def problems(answer: Answer) -> list[str]:
    """What the page says is wrong, without markup."""
    found = re.findall(r'<span id="\w+-problem">(.*?)</span>', answer.body)
    return [unescape(re.sub("<[^>]+>", "", each)) for each in found]


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


LOCAL = ["localhost", "LOCALHOST:9000", "127.0.0.1:8482", "127.1.2.3", "[::1]:8482"]
OTHERS = ["192.0.2.7:8482", "[2001:db8::1]"]
NAMES = ["evil.example", "localhost.evil.example:8482", "127.0.0.1.nip.example", "", "a b", "[::1", "2130706433"]


@pytest.mark.parametrize(
    ("shared", "answered", "refused"),
    [(False, LOCAL, [*OTHERS, *NAMES, "stats.example"]), (True, [*LOCAL, *OTHERS, "Stats.example:80"], NAMES)],
    ids=["loopback", "shared, with a name"],
)
def test_hosts_that_may_be_anybodys_are_refused(
    own: Settings, shared: bool, answered: Sequence[str], refused: Sequence[str]
) -> None:
    page = LivePage(own, hosts=["stats.example"] if shared else [], shared=shared, clock=lambda: NOW)
    found = {host: ask(page, "from=x", host=host).status for host in (*answered, *refused)}
    assert found == {**dict.fromkeys(answered, 400), **dict.fromkeys(refused, 421)}
    for hosts in ([], ["localhost", "localhost"]):
        assert page.answer(Request("GET", "/", hosts)).status == 421


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"method": "POST"}, 405),
        ({"method": "OPTIONS"}, 405),
        ({"target": "/favicon.ico"}, 404),
        ({"target": "//"}, 404),
        ({"target": "http://localhost/"}, 404),
        ({"target": f"/?of={'a' * 5000}"}, 414),
        ({"fetch_site": "cross-site", "fetch_dest": "image"}, 403),
        ({"fetch_site": "same-site", "fetch_dest": "iframe"}, 403),
        ({"fetch_site": "cross-site", "fetch_dest": "document", "target": "/?from=x"}, 400),
        ({"fetch_site": "same-origin", "fetch_dest": "empty", "target": "/?from=x"}, 400),
        ({"fetch_site": "none", "fetch_dest": "document", "target": "/?from=x"}, 400),
        ({"method": "HEAD", "target": "/?from=x"}, 400),
    ],
    ids=str,
)
def test_what_is_not_for_the_page_is_refused_before_anything_is_asked(
    page: LivePage, request_: dict[str, str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_page, "Analytics", None)
    assert ask(page, **request_).status == status


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


@pytest.mark.parametrize("target", ordinarily(ENGINES_ONCE), ids=str)
def test_requests_at_the_same_time_get_the_same_answer(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    fill(workspace, NOW, POINTS)
    page = LivePage(settings.load(workspace.settings(), environ={}), clock=lambda: NOW)
    queries = ("", "by=page&compare=1", "by=time&every=1h", "by=network")
    expected = [ask(page, query) for query in queries]
    assert [answer.status for answer in expected] == [200] * 4
    assert viewed(WEEK) in expected[0].body
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda query: ask(page, query), queries * 4))
    assert [answer.body for answer in found] == [answer.body for answer in expected] * 4


SECRET = "s3cr3t-t0k3n"


def test_a_database_out_of_reach_gives_a_page_that_says_so_and_no_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = Settings(url="http://127.0.0.1:9/", token=Secret(SECRET), org="my-org", data_dir=tmp_path, sites=SITES)
    answer = ask(LivePage(own, clock=lambda: NOW), "of=blog")
    assert (answer.status, answer.headers) == (503, {"Retry-After": "10"})
    assert "<h1>No figures at the moment</h1>" in answer.body
    assert "The database cannot be reached at the moment." in answer.body
    assert '<a href="?of=blog">Try again</a>' in answer.body
    assert '<option value="blog" selected>' in answer.body
    said = f"{answer.body}{caplog.text}"
    assert "Traceback" not in said
    assert SECRET not in said
    for inside in ("127.0.0.1:9", "my-org", str(tmp_path)):
        assert inside not in answer.body
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "127.0.0.1:9" in caplog.text


def test_a_store_that_was_damaged_is_found_again_once_it_is_whole(tmp_path: Path) -> None:
    own = Settings(data_dir=tmp_path)
    page = LivePage(own, clock=lambda: NOW)
    assert "There is no share: no data." in ask(page).body
    store = tmp_path / STORE_NAME
    store.write_bytes(b"no database" * 1000)
    assert ask(page).status == 503
    store.unlink()
    with Analytics(own, clock=lambda: NOW) as analytics:
        analytics.write([hit(NOW - HOUR)])
    assert "<b>1</b><span>page views, by the pixel</span>" in ask(page).body


def test_what_was_not_foreseen_is_told_without_its_words(
    page: LivePage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError(SECRET)

    monkeypatch.setattr(Analytics, "content", broken)
    answer = ask(page)
    assert answer.status == 500
    assert "An unexpected error occurred." in answer.body
    assert SECRET not in answer.body + caplog.text
    assert "no figures: ZeroDivisionError at test_live_page.py:" in caplog.text


def test_too_many_at_the_same_time_are_told_to_wait(page: LivePage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_page, "PATIENCE", 0.01)
    with ExitStack() as places:
        for _ in range(AT_ONCE):
            places.enter_context(page._places)
        answer = ask(page)
    assert (answer.status, "Too many requests at the moment." in answer.body) == (503, True)
    assert ask(page).status == 200


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
