"""From a request to the page view it stands for: domains, opt-outs, and reasons why it is none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pfa_flux.engines.base import Point
from pfa_flux.engines.influxdb.lineprotocol import line
from pfa_flux.pixel.hit import LONGEST_PAGE, Reason, View, page_view
from pfa_flux.schema import network_of, without_port
from pfa_flux.settings.pixel import PixelSettings
from pfa_flux.settings.rules import Rules
from tests.asked import Asked, page, rules, seen, view


@pytest.mark.parametrize(
    ("referer", "scheme", "domain", "path"),
    [
        ("https://a.example/x", "https", "a.example", "/x"),
        ("HTTP://A.Example/X", "http", "a.example", "/X"),
        ("http://a.example", "http", "a.example", "/"),
        ("http://a.example?q", "http", "a.example", "/"),
        ("http://a.example#f", "http", "a.example", "/"),
        ("https://a.example/x?q=/secret#f", "https", "a.example", "/x"),
        ("https://a.example/x#f?q", "https", "a.example", "/x"),
        ("https://a.example/x?", "https", "a.example", "/x"),
        ("https://user:secret@a.example/x", "https", "a.example", "/x"),
        ("https://a@b@c.example/x", "https", "c.example", "/x"),
        ("https://a.example/x@y", "https", "a.example", "/x@y"),
        ("https://a.example:443/", "https", "a.example", "/"),
        ("http://a.example:80/", "http", "a.example", "/"),
        ("http://a.example:443/", "http", "a.example:443", "/"),
        ("http://[2001:DB8::0:1]:8080/x", "http", "[2001:db8::1]:8080", "/x"),
        ("http://abcdefghij234567.onion/x", "http", "abcdefghij234567.onion", "/x"),
        ("http://a.i2p/", "http", "a.i2p", "/"),
        ("https://xn--bcher-kva.example/ü", "https", "xn--bcher-kva.example", "/%C3%BC"),
        ("https://foo-.site.test/", "https", "foo-.site.test", "/"),
        ("https://a.example/%C3%BC/%2f", "https", "a.example", "/%C3%BC/%2F"),
        ("https://a.example//x//", "https", "a.example", "//x//"),
        ("https://a.example/a/../b", "https", "a.example", "/b"),
    ],
)
def test_a_referer_gives_scheme_domain_and_page(referer: str, scheme: str, domain: str, path: str) -> None:
    assert seen(referer) == (scheme, domain, path)


@pytest.mark.parametrize(
    ("referer", "reason"),
    [
        ("about:blank", Reason.MALFORMED_REFERER),
        ("x", Reason.MALFORMED_REFERER),
        ("https:/a.example/x", Reason.MALFORMED_REFERER),
        ("https:///x", Reason.MALFORMED_REFERER),
        ("https://", Reason.MALFORMED_REFERER),
        ("https://user@/x", Reason.MALFORMED_REFERER),
        ("https://a b/x", Reason.MALFORMED_REFERER),
        ("https://a.example\\b.example/x", Reason.MALFORMED_REFERER),
        (b"https://\xff.example/x", Reason.NON_ASCII_HOST),
        ("https://bücher.example/x", Reason.NON_ASCII_HOST),
        ("https://a：80/x", Reason.NON_ASCII_HOST),
        ("https://ü@a b/x", Reason.NON_ASCII_HOST),
        ("https://1.2.3.400/x", Reason.MALFORMED_REFERER),
        ("https://[fe80::1%eth0]/x", Reason.MALFORMED_REFERER),
        ("https://[fe80::1%a b,c\\]/x", Reason.MALFORMED_REFERER),
        ("1https://a.example/", Reason.MALFORMED_REFERER),
        (" https://a.example/", Reason.MALFORMED_REFERER),
        ("ftp://a.example/x", Reason.SCHEME),
        ("android-app://com.example/", Reason.SCHEME),
        ("file:///etc/passwd", Reason.SCHEME),
        ("httpss://a.example/", Reason.SCHEME),
    ],
)
def test_what_names_no_page_of_the_web_is_rejected_with_a_reason(referer: str | bytes, reason: Reason) -> None:
    assert seen(referer) == reason


@pytest.mark.parametrize(
    ("allowed", "referer", "counts"),
    [
        ((), "https://anything.example/", True),
        (("a.example",), "https://a.example/", True),
        (("a.example",), "https://A.EXAMPLE./", True),
        (("a.example",), "https://a.example:8443/", True),
        (("a.example",), "https://b.a.example/", False),
        (("a.example",), "https://ba.example/", False),
        (("a.example",), "https://a.example.evil.example/", False),
        (("a.example",), "https://a.example@evil.example/", False),
        (("*.a.example",), "https://b.a.example/", True),
        (("*.a.example",), "https://c.b.a.example:81/", True),
        (("*.a.example",), "https://a.example/", False),
        (("*.a.example",), "https://ba.example/", False),
        (("*.a.example", "a.example"), "https://a.example/", True),
        (("a.example:8443",), "https://a.example:8443/", True),
        (("a.example:8443",), "https://a.example/", False),
        (("a.example:443",), "https://a.example/", True),
        (("a.example:80",), "http://a.example/", True),
        (("a.example.",), "http://a.example/", True),
        (("bücher.example",), "https://xn--bcher-kva.example/", True),
        (("*.bücher.example",), "https://a.xn--bcher-kva.example/", True),
        (("xn--bcher-kva.example",), "https://bücher.example/", False),
        (("straße.de",), "https://xn--strae-oqa.de/", True),
        (("straße.de",), "https://strasse.de/", False),
        (("*.a.example:81",), "https://b.a.example:81/", True),
        (("*.a.example:81",), "https://b.a.example/", False),
        (("[0:0::1]",), "http://[::1]:8080/", True),
        (("[::1]",), "http://[::2]/", False),
    ],
)
def test_the_list_of_domains_says_what_counts(allowed: tuple[str, ...], referer: str, counts: bool) -> None:
    found = seen(referer, domains=allowed)
    assert (found in {Reason.DOMAIN_NOT_ALLOWED, Reason.NON_ASCII_HOST}) is not counts
    assert isinstance(found, tuple) is counts


@pytest.mark.parametrize(
    ("allowed", "referer", "domain"),
    [
        ((), "https://a.example:8443/", "a.example:8443"),
        (("a.example",), "https://a.example:8443/", "a.example"),
        (("a.example",), "http://a.example:443/", "a.example"),
        (("a.example", "a.example:8443"), "https://a.example:8443/", "a.example:8443"),
        (("a.example", "a.example:8443"), "https://a.example:8444/", "a.example"),
        (("*.a.example",), "https://b.a.example:8443/", "b.a.example"),
        (("*.a.example", "*.a.example:81"), "https://b.a.example:81/", "b.a.example"),
        (("*.a.example:81",), "https://b.a.example:81/", "b.a.example:81"),
        (("[::1]",), "http://[0::1]:8080/", "[::1]"),
        (("a.i2p",), "http://a.i2p:8080/", "a.i2p"),
    ],
)
def test_a_port_that_a_list_does_not_name_belongs_to_the_name(
    allowed: tuple[str, ...], referer: str, domain: str
) -> None:
    found = seen(referer, domains=allowed)
    assert isinstance(found, tuple)
    assert found[1] == domain
    # And where the Referer is cut, of Host.
    host = referer.split("/")[2].encode()
    if referer.startswith("http://") and not referer.endswith(":443/"):
        assert view(Asked(b"/x", host), domains=allowed) == View("hit", "http", domain, "/x")


@pytest.mark.parametrize(
    ("domain", "bare"),
    [("a.example", "a.example"), ("a.example:81", "a.example"), ("[::1]", "[::1]"), ("[::1]:81", "[::1]"), ("1", "1")],
)
def test_a_domain_without_its_port(domain: str, bare: str) -> None:
    assert without_port(domain) == bare


@pytest.mark.parametrize(
    ("asked", "settings", "want"),
    [
        # I2P's proxy cuts the Referer to its path.
        (Asked(b"//x?q#f", b"a.i2p"), {}, View("hit", "http", "a.i2p", "//x")),
        (Asked(b"//a.example/x", b"a.i2p"), {}, View("hit", "http", "a.i2p", "//a.example/x")),
        (Asked(b"/x", "ä.i2p".encode()), {}, Reason.NO_REFERER),
        (Asked(b"/x?q#f", b"a.i2p"), {}, View("hit", "http", "a.i2p", "/x")),
        (Asked(b"/x", b"A.i2p:80"), {}, View("hit", "http", "a.i2p", "/x")),
        (Asked(b"/", b"a.i2p"), {"no_referer": "reject"}, View("hit", "http", "a.i2p", "/")),
        (Asked(b"/x", b"a.i2p"), {"domains": ("b.i2p",)}, Reason.DOMAIN_NOT_ALLOWED),
        (Asked(b"/x", None), {}, Reason.NO_REFERER),
        (Asked(b"/x", b""), {}, Reason.NO_REFERER),
        (Asked(b"/x", b"a b"), {}, Reason.NO_REFERER),
        # A forwarded host is a proxy's word only where one is trusted.
        (Asked(b"/x", b"a", b"b", b"https"), {}, View("hit", "http", "a", "/x")),
        (Asked(b"/x", b"a", b"b", b"https"), {"trust_proxy": True}, View("hit", "https", "b", "/x")),
        (Asked(b"/x", b"a", b" b , c", b" HTTPS , http"), {"trust_proxy": True}, View("hit", "https", "b", "/x")),
        (Asked(b"/x", b"a", None, None), {"trust_proxy": True}, View("hit", "http", "a", "/x")),
        (Asked(b"/x", b"a", b"", b""), {"trust_proxy": True}, View("hit", "http", "a", "/x")),
        (Asked(b"/x", b"a", b",b", b",https"), {"trust_proxy": True}, View("hit", "http", "a", "/x")),
        (Asked(b"/x", b"a", b"b:443", b"https"), {"trust_proxy": True}, View("hit", "https", "b", "/x")),
        (Asked(b"/x", b"a", b"b", b"gopher"), {"trust_proxy": True}, View("hit", "http", "b", "/x")),
        (Asked(b"/x", b"a", b"[::1%\n]", b"http"), {"trust_proxy": True}, Reason.NO_REFERER),
        # Without a Referer.
        (Asked(None, b"a"), {}, View("hit", "http", "a", "(unknown)")),
        (Asked(b"", b"a"), {}, View("hit", "http", "a", "(unknown)")),
        (Asked(None, b"a"), {"domains": ("a",)}, View("hit", "http", "a", "(unknown)")),
        (Asked(None, b"a"), {"domains": ("b",)}, Reason.NO_REFERER),
        (Asked(None, b"a"), {"no_referer": "reject"}, Reason.NO_REFERER),
        (Asked(None, None), {}, Reason.NO_REFERER),
        (Asked(None, b"a"), {"page": "off"}, View("hit", "http", "a", "")),
        (Asked(None, b"a", b"b", b"https"), {"trust_proxy": True}, View("hit", "https", "b", "(unknown)")),
    ],
)
def test_without_a_host_in_its_referer_a_hit_is_of_the_host_it_asked(
    asked: Asked, settings: dict[str, Any], want: View | Reason
) -> None:
    assert view(asked, **settings) == want


def test_host_and_proxy_say_nothing_of_a_referer_that_names_its_host() -> None:
    asked = Asked(b"https://a.example/x", b"b", b"c", b"http")
    assert view(asked, trust_proxy=True) == View("hit", "https", "a.example", "/x")


@pytest.mark.parametrize("referer", [b"https://a.example/x", b"/x", None])
def test_what_is_fetched_ahead_is_not_counted(referer: bytes | None) -> None:
    assert view(Asked(referer, prefetch=True)) == Reason.PREFETCH


@pytest.mark.parametrize(
    ("opt_out", "gpc", "dnt", "counts"),
    [
        ((), True, True, True),
        (("gpc",), True, False, False),
        (("gpc",), False, True, True),
        (("dnt",), False, True, False),
        (("dnt",), True, False, True),
        (("gpc", "dnt"), False, True, False),
        (("gpc", "dnt"), False, False, True),
    ],
)
def test_a_wish_not_to_be_counted_is_honoured_where_the_settings_say_so(
    opt_out: tuple[str, ...], gpc: bool, dnt: bool, counts: bool
) -> None:
    found = view(Asked(b"https://a.example/x", gpc=gpc, dnt=dnt), opt_out=opt_out)
    assert (found == Reason.OPT_OUT) is not counts


def test_a_load_is_read_as_a_hit_is() -> None:
    assert page_view("load", Asked(b"https://a.example/x"), rules()) == View("load", "https", "a.example", "/x")


# Anything an HTTP client can put into a header's value, and a little more.
_PIECE = st.one_of(
    st.sampled_from([b"http", b"https", b"://", b"//", b"/", b"@", b":", b"[", b"]", b"%", b"\\", b"?", b"#", b".",
                     b"a", b"::1", b"80", b"index.html", b" ", b"\xc3\xbc", b"\xff", b"\n", b"\r", b"\x00", b",",
                     b"="]),
    st.binary(max_size=6),
    st.text(max_size=4).map(lambda text: text.encode("utf-8", "surrogatepass")),
)  # fmt: skip
_ANY = st.lists(_PIECE, max_size=12).map(b"".join)
_REFERER = st.one_of(
    st.none(), _ANY, _ANY.map(b"https://a.example/".__add__), _ANY.map(b"http://".__add__), _ANY.map(b"/".__add__)
)
_RULES = st.builds(
    PixelSettings,
    page=st.sampled_from(["path", "path", "path", "off"]),
    trailing_slash=st.sampled_from(["keep", "strip", "add"]),
    strip_index=st.booleans(),
    lower_case=st.booleans(),
    masks=st.sampled_from([(), ("/reset/*",), ("/?*/[ab]",)]),
    trust_proxy=st.booleans(),
)


@given(_REFERER, st.one_of(st.none(), _ANY), st.one_of(st.none(), _ANY), _RULES)
@example(b"http://[fe80::1%\n,]/", None, None, PixelSettings())
@example(b"http://a/\\/", None, None, PixelSettings(trailing_slash="strip"))
@example("http://a/İ".encode(), None, None, PixelSettings(lower_case=True))
def test_every_page_view_can_be_stored_and_seen_and_says_no_more_than_it_should(
    referer: bytes | None, host: bytes | None, forwarded: bytes | None, settings: PixelSettings
) -> None:
    found = page_view("hit", Asked(referer, host, forwarded, b"https"), Rules(settings))
    if isinstance(found, Reason):
        return
    tags = {"domain": found.domain, "page": found.page, "scheme": found.scheme}
    text = line(Point("m", tags, "count", 1, 0))
    assert text.isprintable()
    assert text.count("\n") == 0
    assert found.scheme in ("http", "https")
    assert found.domain.isascii()
    assert 0 < len(found.domain) <= 260
    assert not set(found.domain) & set("@/?#%\\, =")
    assert found.domain == found.domain.lower()
    assert len(found.page) <= LONGEST_PAGE
    masked = found.page in settings.masks
    assert masked or (found.page.isascii() and not set(found.page) & set('?# "<>\\^`{}'))
    assert found.page == "" if settings.page == "off" else found.page[0] in "/("


@given(_ANY, _ANY, _RULES)
def test_query_and_fragment_make_no_difference(path: bytes, rest: bytes, settings: PixelSettings) -> None:
    bare = path.replace(b"?", b"").replace(b"#", b"")
    want = page_view("hit", Asked(b"https://a.example/" + bare), Rules(settings))
    for mark in (b"?", b"#"):
        assert page_view("hit", Asked(b"https://a.example/" + bare + mark + rest), Rules(settings)) == want


@given(_ANY)
def test_a_page_is_the_same_when_it_is_read_again(path: bytes) -> None:
    once = page(b"/" + path)
    assert page(once) == once


@pytest.mark.parametrize(
    ("domain", "network"),
    [
        ("a.onion", "tor"),
        ("a.onion:8080", "tor"),
        ("a.i2p:81", "i2p"),
        ("onion.example:8080", "clearnet"),
        ("[::1]:8080", "clearnet"),
        ("", "clearnet"),
    ],
)
def test_a_port_hides_no_network(domain: str, network: str) -> None:
    assert network_of(domain) == network
