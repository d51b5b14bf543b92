"""The parts of a look at a page, each by itself: addresses, referrer policies, content security policies, markup."""

from __future__ import annotations

import time

import pytest

from pfa_flux.doctor.site.fetch import Browser
from pfa_flux.doctor.site.markup import read
from pfa_flux.doctor.site.page import address
from pfa_flux.doctor.site.policy import DEFAULT, POLICIES, forbids_image, of_page, referer
from pfa_flux.doctor.site.tags import images, loads
from pfa_flux.doctor.site.urls import as_sent, resolve
from pfa_flux.errors import InvalidValueError
from pfa_flux.pixel.hit import View, page_view
from pfa_flux.pixel.http import Request
from pfa_flux.settings.pixel import PixelSettings
from pfa_flux.settings.rules import Rules
from tests.test_browser import SITE, STATS, table

RULES = Rules(PixelSettings(domains=(SITE,)))


def words(policy: str, host: str) -> str:
    """What the pixel would count under a policy, as the table of docs/referrer-policies.md has it."""
    asked, page = Request(), f"https://{SITE}/a/b.html"
    asked.referer = referer(page, f"https://{host}/count.gif", policy).encode() or None
    asked.host = host.encode()
    found = page_view("hit", asked, RULES)
    if not isinstance(found, View):
        return "not counted"
    pages = {"/a/b.html": "domain and page", "/": "domain, page `/`", "(unknown)": "domain, page `(unknown)`"}
    return pages[found.page]


@pytest.mark.parametrize("policy", ["none", *POLICIES])
def test_the_referer_is_what_chromium_sends(policy: str) -> None:
    """tests/test_browser.py compares that table with what Chromium does."""
    own = DEFAULT if policy == "none" else policy
    columns = [(own, STATS), ("no-referrer-when-downgrade", STATS), (own, SITE), ("same-origin", SITE)]
    assert [words(*column) for column in columns] == table()[policy]


@pytest.mark.parametrize(
    ("policy", "sent"),
    [
        ("no-referrer-when-downgrade", ""), ("strict-origin", ""), (DEFAULT, ""), ("same-origin", ""),
        ("origin", "https://a.test/"), ("origin-when-cross-origin", "https://a.test/"),
        ("unsafe-url", "https://a.test/x?q"),
    ],
)  # fmt: skip
def test_the_referer_from_https_to_http(policy: str, sent: str) -> None:
    assert referer("https://a.test/x?q", "http://a.test/count.gif", policy) == sent


def test_the_policy_of_a_page() -> None:
    assert of_page("", "") == of_page("nonsense", "") == DEFAULT
    assert of_page("origin, unsafe-url, nonsense", "") == "unsafe-url"
    assert of_page("origin", "no-referrer") == "no-referrer"


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://Bücher.example:443/ä b?ö#x", "https://xn--bcher-kva.example/%C3%A4%20b?%C3%B6"),
        ("http://user:secret@a.test:80", "http://a.test/"),
        ("http://a.test:8080/count.gif?", "http://a.test:8080/count.gif?"),
        ("http://[::1]:80/", "http://[::1]/"),
        ("ftp://a.test/", ""), ("http://a.test:99999/", ""), ("http://[x/", ""), ("http:///x", ""), ("x", ""),
        ("http://a b/", ""),
    ],
)  # fmt: skip
def test_addresses_are_as_browsers_send_them(url: str, sent: str) -> None:
    assert as_sent(url) == sent


def test_what_leads_nowhere_is_no_address() -> None:
    assert resolve("http://a.test/b/", "//[x") == resolve("http://a.test/", "data:,x") == ""
    assert resolve("http://a.test/b/", " ../c ") == "http://a.test/c"


def test_an_address_that_is_asked_for_has_no_password_in_it() -> None:
    assert address("https://me:secret@example.com/x") == "https://example.com/x"


@pytest.mark.parametrize("proxy", ["127.0.0.1:4444", "socks5://127.0.0.1:9050", "x"])
def test_a_proxy_that_is_none_is_refused(proxy: str) -> None:
    with pytest.raises(InvalidValueError, match="is not an http or https address"):
        Browser(proxy)


@pytest.mark.parametrize(
    ("csp", "forbidden"),
    [
        ("", False), ("script-src 'none'", False), ("default-src 'self'", False), ("img-src *", False),
        ("img-src https:", False), ("img-src https://a.test", False), ("img-src *.test", False),
        ("img-src a.test:443/count.gif", False), ("img-src a.test/", False), ("IMG-SRC 'SELF'", False),
        ("img-src 'none'", True), ("img-src", True), ("default-src 'none'", True), ("img-src b.test", True),
        ("img-src a.test:444", True), ("img-src a.test/x/", True), ("img-src *, img-src 'none'", True),
        ("default-src *; img-src data:", True), ("img-src *.a.test", True),
    ],
)  # fmt: skip
def test_content_security_policies(csp: str, forbidden: bool) -> None:
    assert forbids_image([csp], "https://a.test/x", "https://a.test/count.gif") is forbidden


def test_markup_that_is_odd_breaks_nothing() -> None:
    html = (
        "<base href='//['><img><img src><img src='http://x:99999/count.gif'><img src=/count.gif src=/b></noscript>"
        "</template><script>let a = '<img src=/count.gif?>'</script><script type='application/json'>pfaViews</script>"
        "<meta http-equiv=Content-Security-Policy content=\"img-src 'self'\"><meta name=REFERRER content=' Origin '>"
    )
    found = read(html, "http://a.test/x")
    assert [image.url for image in found.images] == ["", "", "", "http://a.test/count.gif"]
    assert (found.scripts, found.policy) == (["let a = '<img src=/count.gif?>'"], "origin")
    assert found.csp == ["img-src 'self'"]
    assert images(found, PixelSettings())[1].status == "ok"


def test_a_page_that_is_made_to_take_long_does_not() -> None:
    began = time.monotonic()
    hostile = "pfaLoaded src='" * 100_000
    found = read(f"<script>{hostile}</script>{'<img src=/count.gif '}{'a=b ' * 100_000}>", "http://a.test/")
    assert loads(found, found.scripts, PixelSettings(load_path="/load.gif"))[1].status == "failed"
    assert images(found, PixelSettings())[1].status == "ok"
    assert time.monotonic() - began < 20
