"""What the pixel remembers, how much, and what becomes of hits that the journal cannot keep."""

from __future__ import annotations

import pytest

from pfa_flux.pixel import counter as module
from pfa_flux.pixel.counter import GIF
from pfa_flux.pixel.hit import View
from pfa_flux.pixel.keeping import Busy
from pfa_flux.pixel.pages import Bucket
from tests.asking import ask, site, why
from tests.socketless import HIT, VIEW, Site, request


class TestWhatIsRemembered:
    """A Referer that was seen gives its page view at once: only where nothing else can matter."""

    def test_a_hit_that_was_seen_before_counts_the_same(self) -> None:
        site = Site()
        client = site.client()
        for _ in range(3):
            client.send(HIT)
        assert site.journal.views == [VIEW] * 3
        assert len(site.pixel.pages) == 1

    @pytest.mark.parametrize(
        "field", [b"Purpose: prefetch", b"Sec-GPC: 1", b"DNT: 1", b"SEC-PURPOSE: x prefetch", b"x-moz: prefetch"]
    )
    def test_a_header_that_matters_matters_after_it_too(self, field: bytes) -> None:
        own = site(opt_out=("gpc", "dnt"))
        assert why(own, HIT) == (200, None)
        assert why(own, request(field))[1] in ("prefetch", "opt_out")
        assert own.counted == 1

    def test_hosts_of_relative_referers_are_kept_apart(self) -> None:
        site = Site()
        for host in (b"a.i2p", b"b.i2p", b"a.i2p"):
            site.client().send(b"GET /count.gif HTTP/1.1\r\nHost: " + host + b"\r\nReferer: /x\r\n\r\n")
        assert [view.domain for view in site.journal.views] == ["a.i2p", "b.i2p", "a.i2p"]

    def test_nothing_is_kept_of_query_fragment_or_user(self) -> None:
        site = Site()
        for secret in ("https://a.example/x?secret", "https://a.example/x#secret", "https://secret@a.example/x"):
            site.client().send(ask(referer=secret))
        assert site.journal.views == [VIEW] * 3
        assert b"secret" not in b"".join(known for each in site.pixel._known.values() for known in each)

    def test_nothing_is_kept_that_a_mask_hides(self) -> None:
        own = site(masks=("/reset/*",), trailing_slash="strip")
        for page in ("/reset/secret", "/%72eset/secret", "/a/../reset/secret", "/open/"):
            own.client().send(ask(referer=f"https://a.example{page}"))
        assert [view.page for view in own.journal.views] == ["/reset/*"] * 3 + ["/open"]
        assert [known for each in own.pixel._known.values() for known in each] == []

    def test_a_page_that_was_other_has_its_name_once_there_is_room(self) -> None:
        own = site(max_pages=1)
        for page in ("/1", "/2", "/2"):
            own.client().send(ask(referer=f"https://a.example{page}"))
        own.pixel.pages._places["hit", "a.example"].bucket = Bucket(1, 0.0)
        own.client().send(ask(referer="https://a.example/2"))
        assert [view.page for view in own.journal.views] == ["/1", "(other)", "(other)", "/2"]

    def test_long_referers_are_not_kept(self) -> None:
        site = Site()
        client = site.client()
        for number in range(50):
            client.send(ask(referer=f"https://a.example/{number}{'x' * 8000}"))
        assert site.journal.views == [View("hit", "https", "a.example", "(other)")] * 50
        assert sum(len(known) for each in site.pixel._known.values() for known in each) < 1000

    def test_their_number_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_MOST_KNOWN", 10)
        own = site(max_pages=3)
        client = own.client()
        for number in range(95):
            client.send(ask(referer=f"https://a.example/{number}"))
        assert max(len(each) for each in own.pixel._known.values()) <= 10
        assert own.counted == 95


class TestBounds:
    def test_domains_beyond_the_bound_are_rejected_and_the_others_go_on(self) -> None:
        own = site(max_domains=2)
        got = [why(own, ask(referer=f"https://{name}.example/"))[1] for name in "abcab"]
        assert got == [None, None, "too_many_domains", None, None]
        assert (own.counted, own.pixel.pages.domains) == (4, 2)

    def test_schemes_of_a_domain_are_one_domain(self) -> None:
        own = site(max_domains=1)
        assert [why(own, ask(referer=f"{scheme}://a.example/"))[1] for scheme in ("http", "https")] == [None, None]

    def test_loads_have_a_bound_of_their_own(self) -> None:
        own = site(max_domains=1, load_path="/load")
        got = [why(own, ask(path, f"https://{name}/"))[1] for path in ("/count.gif", "/load") for name in "ab"]
        assert got == [None, "too_many_domains"] * 2

    def test_domains_that_are_named_are_not_bounded(self) -> None:
        own = site(domains=tuple(f"{name}.example" for name in "abc"), max_domains=1)
        assert [why(own, ask(referer=f"https://{name}.example/"))[1] for name in "abc"] == [None] * 3

    def test_domains_of_a_wildcard_are(self) -> None:
        own = site(domains=("a.example", "*.a.example"), max_domains=2)
        names = ("a.example", "1.a.example", "2.a.example", "3.a.example", "1.a.example", "a.example")
        got = [why(own, ask(referer=f"https://{name}/"))[1] for name in names]
        assert got == [None, None, None, "too_many_domains", None, None]

    def test_ports_of_a_domain_that_is_named_without_one_make_no_domains_and_pages(self) -> None:
        own = site(domains=("a.example",), max_domains=1)
        got = [why(own, ask(referer=f"https://a.example:{port}/"))[1] for port in (1, 443, 2, 3)]
        assert got == [None] * 4
        assert (own.pixel.pages.domains, len(own.pixel.pages)) == (1, 1)

    def test_pages_beyond_the_bound_are_one_and_count(self) -> None:
        own = site(max_pages=2)
        for path in ("/1", "/2", "/3", "/4", "/1", "/3"):
            assert why(own, ask(referer=f"https://a.example{path}")) == (200, None)
        assert [view.page for view in own.journal.views] == ["/1", "/2", "(other)", "(other)", "/1", "(other)"]
        assert (len(own.pixel.pages), own.pixel.pages.folded) == (3, 3)

    def test_each_domain_has_its_own_bound_of_pages(self) -> None:
        own = site(max_pages=1)
        for name in "ab":
            for path in ("/1", "/2"):
                own.client().send(ask(referer=f"https://{name}.example{path}"))
        assert [view.page for view in own.journal.views] == ["/1", "(other)"] * 2

    def test_made_up_pages_do_not_pile_up(self) -> None:
        own = site(max_pages=10, max_domains=3)
        client = own.client()
        for number in range(500):
            client.send(ask(referer=f"https://{number % 7}.example/{number}"))
        assert (own.pixel.pages.domains, len(own.pixel.pages)) == (3, 33)


class TestTheJournalFails:
    def test_a_hit_that_cannot_be_kept_gets_its_gif_and_the_reason(self) -> None:
        site = Site()
        site.journal.failure = OSError("the disk is full")
        (answer,) = site.client().send(HIT)
        assert (answer.status, answer.body, answer.headers["X-Pfa-Flux"]) == (200, GIF, "shed")
        assert (site.counted, site.pixel.shed, site.pixel.shed_why) == (0, 1, "the disk is full")

    def test_the_last_one_of_a_connection_too(self) -> None:
        site = Site()
        site.journal.failure = OSError("x")
        client = site.client()
        client.send(HIT + request(b"Connection: close"))
        assert [(each.headers["X-Pfa-Flux"], each.headers["Connection"]) for each in client.answers] == [
            ("shed", "keep-alive"),
            ("shed", "close"),
        ]
        assert client.ended

    def test_hits_are_counted_again_when_it_works_again(self) -> None:
        site = Site()
        client = site.client()
        site.journal.failure = OSError("x")
        client.send(HIT)
        site.journal.failure = None
        client.send(HIT)
        assert [each.headers.get("X-Pfa-Flux") for each in client.answers] == ["shed", None]
        assert (site.counted, site.pixel.shed) == (1, 1)

    def test_hits_wait_while_another_process_writes(self) -> None:
        site = Site()
        client = site.client()
        site.journal.failure = Busy()
        client.feed(HIT)
        for _ in range(20):
            site.loop.turn()
        assert client.transport.written == b""
        assert len(site.loop.calls) == 1
        client.feed(HIT)
        site.journal.failure = None
        site.loop.run()
        assert (client.statuses, site.counted, site.pixel.shed) == ([200, 200], 2, 0)

    def test_they_are_shed_when_it_takes_too_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 5.0
        monkeypatch.setattr("pfa_flux.pixel.counter.time.monotonic", lambda: now)
        site = Site()
        client = site.client()
        site.journal.failure = Busy()
        client.feed(HIT)
        now += 4.9
        site.loop.turn()
        assert client.transport.written == b""
        now += 0.1
        site.loop.run()
        assert client.answers[0].headers["X-Pfa-Flux"] == "shed"
        assert (site.counted, site.pixel.shed) == (0, 1)

    def test_nothing_is_committed_while_it_is_on_hold(self) -> None:
        site = Site()
        client = site.client()
        site.pixel.on_hold = True
        client.feed(HIT)
        for _ in range(3):
            site.loop.turn()
        assert site.journal.commits == 0
        site.pixel.on_hold = False
        site.loop.run()
        assert (client.statuses, site.counted) == ([200], 1)

    def test_answers_keep_their_order_while_hits_wait(self) -> None:
        site = Site()
        client = site.client()
        site.journal.failure = Busy()
        client.feed(HIT + ask("/other") + HIT + request(b"Purpose: prefetch") + request(b"Connection: close"))
        site.loop.turn()
        assert client.transport.written == b""
        site.journal.failure = None
        site.loop.run()
        assert [(each.status, each.headers.get("X-Pfa-Flux")) for each in client.answers] == [
            (200, None), (404, None), (200, None), (200, "prefetch"), (200, None),
        ]  # fmt: skip
        assert (site.counted, client.ended) == (3, True)
