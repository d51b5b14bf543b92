"""Who may not ask the live page gets nothing, and what fails is told without secrets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from pfa_flux import Analytics, Settings, settings
from pfa_flux.engines.sqlite import STORE_NAME
from pfa_flux.settings import Secret
from pfa_flux.view import page as live_page
from pfa_flux.view.page import AT_ONCE, LivePage, Request
from tests.contract import ENGINES_ONCE, Target, fill, ordinarily, workspace_of
from tests.data import HOUR, hit
from tests.engines.plugin import MakeWorkspace
from tests.live_page import NOW, POINTS, SITES, WEEK, ask, two_sites, viewed


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return two_sites(tmp_path_factory.mktemp("store"))


@pytest.fixture
def page(own: Settings) -> LivePage:
    return LivePage(own, clock=lambda: NOW)


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
    assert "no figures: ZeroDivisionError at test_live_page_refusals.py:" in caplog.text


def test_too_many_at_the_same_time_are_told_to_wait(page: LivePage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_page, "PATIENCE", 0.01)
    with ExitStack() as places:
        for _ in range(AT_ONCE):
            places.enter_context(page._places)
        answer = ask(page)
    assert (answer.status, "Too many requests at the moment." in answer.body) == (503, True)
    assert ask(page).status == 200
