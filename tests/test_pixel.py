"""The pixel: what it answers, and what it counts."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from pfa_flux.pixel.counter import GIF
from tests.asking import GET, HEAD, POST, ask, site, why
from tests.conftest import DATE
from tests.socketless import HIT, SECOND, VIEW, Site, request


def test_the_gif_is_a_transparent_dot() -> None:
    assert len(GIF) == 43
    assert (GIF[:6], GIF[-1:]) == (b"GIF89a", b";")
    # Logical screen, then the colours; a graphic control extension that names the transparent one; the image.
    assert struct.unpack("<HHBBB", GIF[6:13]) == (1, 1, 0x80, 0, 0)
    assert GIF[19:27] == b"\x21\xf9\x04\x01\x00\x00\x00\x00"
    assert struct.unpack("<cHHHHB", GIF[27:37]) == (b",", 0, 0, 1, 1, 0)
    # Clear, colour 0, end: three codes of three bits.
    assert GIF[37:] == b"\x02\x02\x44\x01\x00;"


def test_a_hit_is_answered_with_the_gif_and_nothing_but_what_it_needs() -> None:
    (answer,) = Site().client().send(HIT)
    assert answer == (
        200,
        {
            "Date": DATE,
            "Content-Type": "image/gif",
            "Cache-Control": "no-store",
            "Cross-Origin-Resource-Policy": "cross-origin",
            "Content-Length": "43",
            "Connection": "keep-alive",
        },
        GIF,
    )


def test_a_hit_is_committed_before_it_is_answered() -> None:
    site = Site()
    client = site.client()
    client.feed(HIT)
    assert (client.transport.written, site.counted) == (b"", 0)
    site.loop.run()
    assert (client.statuses, site.journal.views, site.journal.times) == ([200], [VIEW], [7 * SECOND])
    assert site.pixel.counted == {"hit": 1, "load": 0}


def test_hits_of_several_connections_are_committed_together() -> None:
    site = Site()
    clients = [site.client() for _ in range(10)]
    for client in clients:
        client.feed(HIT * 2)
    site.loop.run()
    assert (site.counted, site.journal.commits) == (20, 1)
    assert all(client.statuses == [200, 200] for client in clients)


def test_a_commit_waits_while_more_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pfa_flux.pixel.counter.time.monotonic", lambda: 5.0)
    site = Site()
    client = site.client()
    client.feed(HIT)
    site.loop.turn()
    client.feed(HIT)
    site.loop.turn()
    assert site.journal.commits == 0
    site.loop.run()
    assert (site.journal.commits, site.counted) == (1, 2)


def test_a_commit_waits_no_longer_than_a_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 5.0
    monkeypatch.setattr("pfa_flux.pixel.counter.time.monotonic", lambda: now)
    site = Site()
    client = site.client()
    client.feed(HIT)
    now += 0.001
    site.loop.turn()
    assert site.counted == 1


def test_nothing_is_put_off_when_there_is_nothing_to_do() -> None:
    site = Site()
    site.client().send(HIT)
    assert site.loop.calls == []
    site.pixel.flush()
    assert (site.loop.calls, site.journal.commits) == ([], 1)


def test_the_query_of_the_pixel_is_of_no_matter() -> None:
    site = Site()
    site.client().send(ask("/count.gif?r=1"))
    assert site.journal.views == [VIEW]


def test_head_is_answered_as_get_without_the_gif_and_not_counted() -> None:
    site = Site()
    (head,) = site.client().send(ask(method=HEAD))
    (get,) = site.client().send(ask())
    assert (head.status, head.headers, head.body) == (get.status, get.headers, b"")
    assert (site.counted, site.pixel.heads) == (1, 1)


@pytest.mark.parametrize("method", [POST, b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"get", b"PROPFIND"])
def test_other_methods_are_told_which_there_are(method: bytes) -> None:
    site = Site()
    (answer,) = site.client().send(ask(method=method))
    assert (answer.status, answer.headers["Allow"], answer.body) == (405, "GET, HEAD", b"")
    assert (site.counted, site.pixel.bad_methods) == (0, 1)


@pytest.mark.parametrize("path", ["/", "/count.gi", "/count.gif/", "/Count.gif", "/x/count.gif", "/load.gif"])
@pytest.mark.parametrize("method", [GET, HEAD, POST])
def test_other_paths_are_not_there(path: str, method: bytes) -> None:
    site = Site()
    assert why(site, ask(path, method=method)) == (404, None)
    assert (site.counted, site.pixel.not_found) == (0, 1)


@pytest.mark.parametrize("path", ["/", "/p.gif", "/a.b/c+d/(e)*"])
def test_the_path_can_be_set(path: str) -> None:
    own = site(path=path)
    assert why(own, ask(path)) == (200, None)
    assert why(own, ask("/count.gif")) == (404, None)
    assert own.counted == 1


def test_the_twin_counts_loads_and_each_keeps_its_kind() -> None:
    both = site(load_path="/load.gif")
    both.client().send(ask() + ask("/load.gif") + ask("/load.gif") + ask())
    assert [view.kind for view in both.journal.views] == ["hit", "load", "load", "hit"]
    assert {view[1:] for view in both.journal.views} == {VIEW[1:]}
    assert both.pixel.counted == {"hit": 2, "load": 2}
    assert both.pixel.paths == ("/count.gif", "/load.gif")


@pytest.mark.parametrize(
    ("data", "settings", "reason"),
    [
        (ask("/count.gif", None), {"no_referer": "reject"}, "no_referer"),
        (ask(referer="about:blank"), {}, "malformed_referer"),
        (ask(referer="https://[::1%x]/"), {}, "malformed_referer"),
        (ask(referer="ftp://a.example/"), {}, "scheme"),
        (ask(), {"domains": ("b.example",)}, "domain_not_allowed"),
        (request(b"Sec-Purpose: prefetch;prerender"), {}, "prefetch"),
        (request(b"Purpose: prefetch"), {}, "prefetch"),
        (request(b"X-Moz: prefetch"), {}, "prefetch"),
        (request(b"X-Purpose: preview"), {}, "prefetch"),
        (request(b"Purpose: preview"), {}, "prefetch"),
        (request(b"Sec-Fetch-Dest: document"), {}, "destination"),
        (request(b"Sec-Fetch-Dest: iframe"), {}, "destination"),
        (request(b"Sec-GPC: 1"), {"opt_out": ("gpc",)}, "opt_out"),
        (request(b"DNT: 1"), {"opt_out": ("dnt",)}, "opt_out"),
    ],
)
def test_a_hit_that_does_not_count_gets_its_gif_and_the_reason(
    data: bytes, settings: dict[str, Any], reason: str
) -> None:
    own = site(**settings)
    (answer,) = own.client().send(data)
    assert (answer.status, answer.body, answer.headers["X-Pfa-Flux"]) == (200, GIF, reason)
    assert answer.headers["Cache-Control"] == "no-store"
    assert (own.counted, dict(own.pixel.rejected)) == (0, {reason: 1})


@pytest.mark.parametrize("path", ["/count.gif", "/load.gif"])
@pytest.mark.parametrize(
    ("said", "reason"),
    [(b"own", "own"), (b"bot", "bot"), (b"preview", "preview"), (b"Own", "own"), (b"owner", "other"), (b"1", "other"),
     (b"own, bot", "other")],
)  # fmt: skip
def test_what_the_front_asks_to_skip_gets_its_gif_and_is_counted_by_its_reason(
    path: str, said: bytes, reason: str
) -> None:
    own = site(load_path="/load.gif")
    client = own.client()
    # A view that was seen before is not taken for one either.
    client.send(ask(path))
    answer = client.send(ask(path, "https://a.example/x", b"X-Pfa-Skip: " + said))[-1]
    assert (answer.status, answer.body, answer.headers["X-Pfa-Flux"]) == (200, GIF, f"skipped_{reason}")
    assert answer.headers["Cache-Control"] == "no-store"
    assert (own.counted, {why.skipped: count for why, count in own.pixel.rejected.items()}) == (1, {reason: 1})


def test_a_front_that_asks_for_nothing_changes_nothing() -> None:
    own = site()
    assert why(own, request(b"X-Pfa-Skip:")) == (200, None)
    assert (own.counted, own.pixel.rejected) == (1, {})


def test_what_the_front_says_comes_before_all_other_reasons() -> None:
    own = site(opt_out=("dnt",))
    data = request(b"X-Pfa-Skip: bot", b"Sec-Fetch-Dest: document", b"Purpose: preview", b"DNT: 1")
    assert why(own, data) == (200, "skipped_bot")


@pytest.mark.parametrize("dest", [b"image", b"empty"])
def test_an_image_and_a_scripts_request_count(dest: bytes) -> None:
    own = site()
    assert why(own, request(b"Sec-Fetch-Dest: " + dest)) == (200, None)
    assert own.counted == 1


def test_a_hit_that_does_not_count_may_end_its_connection() -> None:
    client = Site().client()
    (answer,) = client.send(request(b"Purpose: prefetch", b"Connection: close"))
    assert (answer.headers["Connection"], client.ended) == ("close", True)


def test_refused_requests_are_counted_by_status() -> None:
    site = Site()
    for data in (b"x\n", b"x\n", b"x" * 10_000):
        site.client().send(data)
    assert site.pixel.refused_requests == {400: 2, 414: 1}


def test_no_answer_sets_a_cookie() -> None:
    site = Site()
    client = site.client()
    client.send(HIT + ask("/other") + ask(method=POST) + ask(method=HEAD) + request(b"Purpose: prefetch"))
    assert len(client.answers) == 5
    assert b"cookie" not in client.transport.written.lower()


MARK = b"Sec-Purpose: prefetch;pfa-flux-check"


@pytest.mark.parametrize(
    ("path", "referer", "fields", "said"),
    [
        ("/count.gif", "https://a.example/x?q#f", (), "hit https a.example /x"),
        ("/load.gif", "https://a.example/", (), "load https a.example /"),
        ("/count.gif", None, (), "no_referer"),
        ("/count.gif", "https://b.example/x", (), "domain_not_allowed"),
        ("/count.gif", "https://a.example/x", (b"X-Pfa-Skip: own",), "skipped_own hit https a.example /x"),
        ("/count.gif", None, (b"X-Pfa-Skip: x",), "skipped_other no_referer"),
        ("/count.gif", "https://a.example/x", (b"Sec-Fetch-Dest: document",), "destination"),
        ("/count.gif", "https://a.example/ä/secret", (), "hit https a.example /%C3%A4/*"),
    ],
)
@pytest.mark.parametrize("method", [GET, HEAD])
def test_a_check_counts_for_nothing_and_is_told_what_it_would_have_counted_as(
    method: bytes, path: str, referer: str | None, fields: tuple[bytes, ...], said: str
) -> None:
    own = site(load_path="/load.gif", domains=("a.example",), masks=("/ä/*",))
    (answer,) = own.client().send(ask(path, referer, *fields, MARK, method=method))
    assert (answer.status, answer.body) == (200, GIF if method == GET else b"")
    assert (answer.headers["X-Pfa-Flux"], answer.headers["X-Pfa-Flux-View"]) == ("check", said)
    assert (own.counted, own.pixel.rejected) == (0, {"check": 1} if method == GET else {})


def test_a_check_does_not_tell_whether_others_have_seen_the_page() -> None:
    own = site(max_pages=1)
    client = own.client()
    for number in range(3):
        client.send(ask("/count.gif", f"https://a.example/{number}"))
    answer = client.send(ask("/count.gif", "https://a.example/2", MARK))[-1]
    # Its hits are on (other) by now.
    assert answer.headers["X-Pfa-Flux-View"] == "hit https a.example /2"


def test_only_the_mark_itself_gets_an_answer_of_its_own() -> None:
    own = site()
    (answer,) = own.client().send(ask("/count.gif", "https://a.example/2", b"Sec-Purpose: prefetch;prerender"))
    assert (answer.headers["X-Pfa-Flux"], answer.headers.get("X-Pfa-Flux-View")) == ("prefetch", None)
