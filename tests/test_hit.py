"""From a request to the page view it stands for: domains, pages, rules and reasons."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from fnmatch import translate
from ipaddress import IPv6Address
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pfa_flux.engines.base import Point
from pfa_flux.engines.influxdb.lineprotocol import line
from pfa_flux.pixel.hit import LONGEST_PAGE, Reason, View, domain_of, page_of, page_view
from pfa_flux.schema import network_of, without_port
from pfa_flux.settings.pixel import PixelSettings
from pfa_flux.settings.rules import Rules


@dataclass
class Asked:
    """What is looked at of a request, without one."""

    referer: bytes | None = None
    host: bytes | None = b"here.example"
    forwarded_host: bytes | None = None
    forwarded_proto: bytes | None = None
    prefetch: bool = False
    gpc: bool = False
    dnt: bool = False
    embedded: bool = True
    skip: bytes | None = None
    check: bool = False


def rules(**settings: Any) -> Rules:
    return Rules(PixelSettings(**settings))


def view(asked: Asked, **settings: Any) -> View | Reason:
    return page_view("hit", asked, rules(**settings))


def seen(referer: bytes | str | None, **settings: Any) -> tuple[str, str, str] | Reason:
    """Scheme, domain and page."""
    found = view(Asked(referer.encode() if isinstance(referer, str) else referer), **settings)
    return found if isinstance(found, Reason) else found[1:]


def page(path: bytes | str, **settings: Any) -> str:
    return page_of(path.encode() if isinstance(path, str) else path, rules(**settings))


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
    ("authority", "domain"),
    [
        (b"a.example", "a.example"),
        (b"A.EXAMPLE", "a.example"),
        (b"a.example.", "a.example"),
        (b"a.example.:80", "a.example"),
        (b"a.example:", "a.example"),
        (b"a.example:080", "a.example"),
        (b"a.example:0", "a.example:0"),
        (b"a.example:00", "a.example:0"),
        (b"a.example:8080", "a.example:8080"),
        (b"a.example:65535", "a.example:65535"),
        (b"a.example:65536", None),
        (b"a.example:-1", None),
        (b"a.example:+1", None),
        (b"a.example:1:2", None),
        ("a.example:８".encode(), None),
        (b"localhost", "localhost"),
        (b"127.0.0.1:80", "127.0.0.1"),
        (b"a_b.example", "a_b.example"),
        (b"xn--bcher-kva.example", "xn--bcher-kva.example"),
        # Browsers send A-labels.
        ("bücher.example".encode(), None),
        ("bücher。example".encode(), None),
        ("例え.テスト".encode(), None),
        # Addresses as https://url.spec.whatwg.org/#concept-ipv4-parser reads them.
        (b"127.1", "127.0.0.1"),
        (b"0x7F.0.0.01", "127.0.0.1"),
        (b"2130706433", "127.0.0.1"),
        (b"0x.", "0.0.0.0"),
        (b"256.0.0.1", None),
        (b"1.2.3.4.5", None),
        (b"08.0.0.1", None),
        (b"4294967296", None),
        (b"a.example.1", None),
        ("a／b.example".encode(), None),
        ("a：80".encode(), None),
        ("a＠b".encode(), None),
        (b"[::1]", "[::1]"),
        (b"[0:0::0001]:80", "[::1]"),
        (b"[::1]:81", "[::1]:81"),
        (b"[::1", None),
        (b"[]", None),
        (b"[::1]x", None),
        (b"[::1]]", None),
        (b"[127.0.0.1]", None),
        (b"[fe80::1%25eth0]", None),
        (b"::1", None),
        (b"", None),
        (b".", None),
        (b"..", None),
        (b".a", None),
        (b"a..b", None),
        (b"-a.example", "-a.example"),
        (b"a-.example", "a-.example"),
        (b"ab--c.example", "ab--c.example"),
        (b"a%2eb", None),
        (b"a b", None),
        (b"a\nb", None),
        (b"a*b", None),
        (b"x" * 63 + b".example", "x" * 63 + ".example"),
        (b"x" * 64 + b".example", None),
        (b".".join([b"x" * 49] * 5), ".".join(["x" * 49] * 5)),
        (b".".join([b"x" * 49] * 6), None),
        (("ü" * 60 + ".example").encode(), None),
    ],
)
def test_an_authority_gives_a_domain_or_none(authority: bytes, domain: str | None) -> None:
    assert domain_of(authority, "http") == domain


def test_a_name_of_sixteen_kilobytes_is_not_made_an_a_label() -> None:
    # Punycode takes the time of the square of a label's length: seconds for this one.
    letters = "".join(map(chr, range(0x4E00, 0x4E00 + 1000)))
    assert domain_of(".".join([letters] * 5).encode(), "https") is None


_LABEL = st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,20}[a-z0-9])?", fullmatch=True)
# A name whose last label is a number is an address.
_NAME = st.builds(
    lambda labels, last: ".".join([*labels, last]),
    st.lists(_LABEL, max_size=3),
    st.from_regex(r"[a-z]([a-z0-9_-]{0,20}[a-z0-9])?", fullmatch=True),
)
_SEGMENT = st.text(string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@", max_size=12)
_KEPT = "!$&'()*+,;=:@[]"


def oracle(path: str) -> str:
    """The page of a path that has no masks or rules, segment by segment."""
    kept: list[str] = []
    for segment in path.removeprefix("/").split("/"):
        octets = re.split(rb"(%[0-9A-Fa-f]{2})", segment.encode("utf-8", "surrogateescape"))
        # What was escaped and need not be is decoded; what was not and has to be is encoded.
        texts = [
            quote(unquote_to_bytes(each), safe="") if number % 2 else quote(each, safe=_KEPT)
            for number, each in enumerate(octets)
        ]
        kept.append("".join(texts))
    while dots := [n for n, segment in enumerate(kept) if segment in {".", ".."}]:
        at = dots[0]
        ends = [""] if at == len(kept) - 1 else []
        kept = kept[: at if kept[at] == "." else max(at - 1, 0)] + ends + kept[at + 1 :]
    return "/" + "/".join(kept)


_PATH = st.lists(st.one_of(_SEGMENT, st.text(max_size=5).map(lambda text: quote(text, safe=""))), max_size=5).map(
    lambda parts: "".join(f"/{part}" for part in parts)
)


@given(
    st.sampled_from(["http", "https"]),
    _NAME,
    st.one_of(st.none(), st.integers(0, 65535)),
    _PATH,
    st.sampled_from(["", "user@", "user:pass@"]),
    st.sampled_from(["", "?", "?q=1/2", "#f", "?a#b"]),
)
def test_a_well_formed_address_is_read_as_urllib_reads_it(
    scheme: str, name: str, port: int | None, path: str, user: str, end: str
) -> None:
    url = f"{scheme}://{user}{name}{'' if port is None else f':{port}'}{path}{end}"
    want = urlsplit(url)
    assert seen(url) == (
        want.scheme,
        want.hostname if want.port in (None, {"http": 80, "https": 443}[scheme]) else f"{want.hostname}:{want.port}",
        oracle(want.path),
    )


@given(_NAME, st.randoms(use_true_random=False))
def test_case_of_a_domain_is_of_no_matter(name: str, random: Any) -> None:
    mixed = "".join(random.choice((char.lower(), char.upper())) for char in name)
    assert domain_of(mixed.encode(), "https") == name


@given(st.ip_addresses(v=6), st.booleans())
def test_an_address_is_the_same_however_it_is_written(address: IPv6Address, long: bool) -> None:
    text = address.exploded if long else address.compressed
    assert domain_of(f"[{text.upper()}]".encode(), "http") == f"[{address.compressed}]"


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("", "/"),
        ("/x", "/x"),
        ("/%e4%zz%", "/%E4%25zz%25"),
        ("/a b", "/a%20b"),
        ("/a\tb", "/a%09b"),
        ("/a\r\nb", "/a%0D%0Ab"),
        ("/a\x00b", "/a%00b"),
        ("/a\x7fb", "/a%7Fb"),
        ("/a,b=c", "/a,b=c"),
        ('/"a"', "/%22a%22"),
        ("/a\\b", "/a/b"),
        ("/a\\", "/a/"),
        ("/a\\\\", "/a//"),
        ("/ü/例", "/%C3%BC/%E4%BE%8B"),
        (b"/\xff\xfe", "/%FF%FE"),
        (b"/a\xc3", "/a%C3"),
        ("/\u202egif.x", "/%E2%80%AEgif.x"),
        ("/\u200b", "/%E2%80%8B"),
        ("/\xa0", "/%C2%A0"),
        ("/\u3000", "/%E3%80%80"),
        ("/\u2028", "/%E2%80%A8"),
        ("/\ufeff", "/%EF%BB%BF"),
    ],
)
def test_a_page_is_canonical_whatever_was_sent(path: str | bytes, kept: str) -> None:
    assert page(path) == kept


@pytest.mark.parametrize(
    ("rule", "path", "kept"),
    [
        ({"trailing_slash": "keep"}, "/a/", "/a/"),
        ({"trailing_slash": "strip"}, "/a/", "/a"),
        ({"trailing_slash": "strip"}, "/a//", "/a"),
        ({"trailing_slash": "strip"}, "/", "/"),
        ({"trailing_slash": "strip"}, "///", "/"),
        ({"trailing_slash": "strip"}, "/a\\/", "/a"),
        ({"duplicate_slashes": "keep"}, "//a///b//", "//a///b//"),
        ({"duplicate_slashes": "merge"}, "//a///b//", "/a/b/"),
        ({"duplicate_slashes": "merge"}, "/a\\/b", "/a/b"),
        ({"duplicate_slashes": "merge"}, "/a/%2F/b", "/a/%2F/b"),
        ({"duplicate_slashes": "merge", "strip_index": True}, "//index.html", "/"),
        ({"trailing_slash": "add"}, "/a", "/a/"),
        ({"trailing_slash": "add"}, "/a/", "/a/"),
        ({"trailing_slash": "add"}, "", "/"),
        ({"strip_index": False}, "/a/index.html", "/a/index.html"),
        ({"strip_index": True}, "/a/index.html", "/a/"),
        ({"strip_index": True}, "/index.html", "/"),
        ({"strip_index": True}, "/aindex.html", "/aindex.html"),
        ({"strip_index": True}, "/index.html/a", "/index.html/a"),
        ({"strip_index": True, "trailing_slash": "strip"}, "/a/index.html", "/a"),
        ({"strip_index": True, "trailing_slash": "strip"}, "/a/index.html/", "/a"),
        ({"strip_index": True, "trailing_slash": "add"}, "/a/index.html", "/a/"),
        ({"lower_case": False}, "/A", "/A"),
        ({"lower_case": True}, "/ÄB%C3", "/%C3%A4b%C3"),
        ({"lower_case": True}, "/%C3%84%2F%41", "/%C3%A4%2Fa"),
        ({"lower_case": True, "strip_index": True}, "/A/INDEX.HTML", "/a/"),
        ({"masks": ("/reset/*",)}, "/reset/s3cr3t", "/reset/*"),
        ({"masks": ("/reset/*",)}, "/reset/a/b", "/reset/*"),
        ({"masks": ("/reset/*",)}, "/%72eset/s3cr3t", "/reset/*"),
        ({"masks": ("/reset/*",)}, "/reset%2Fs3cr3t", "/reset/*"),
        ({"masks": ("/reset/*",)}, "/a/../reset/s3cr3t", "/reset/*"),
        ({"masks": ("/reset/*",)}, "/a/%2e%2E/reset/s3cr3t", "/reset/*"),
        ({"masks": ("/reset/*",)}, "/reset\\s3cr3t", "/reset/*"),
        ({"masks": ("/reset/*",)}, "/reset/../x", "/reset/*"),
        ({"masks": ("/reset/*",)}, "//reset/s3cr3t", "//reset/s3cr3t"),
        ({"masks": ("/reset/*",), "duplicate_slashes": "merge"}, "//reset//s3cr3t", "/reset/*"),
        ({"masks": ("/straße/*",)}, "/stra%c3%9fe/7", "/straße/*"),
        ({"masks": ("/stra%C3%9Fe/*",)}, "/stra%c3%9fe/7", "/stra%C3%9Fe/*"),
        ({"masks": ("/~jane/*",)}, "/%7Ejane/7", "/~jane/*"),
        ({"masks": ("/%7Ejane/*",)}, "/%7Ejane/7", "/%7Ejane/*"),
        ({"masks": ("/%7ejane/*",)}, "/%7Ejane/7", "/%7ejane/*"),
        ({"masks": ("/%7ejane/*",)}, "/~jane/7", "/%7ejane/*"),
        ({"masks": ("/reset/*",)}, "/reset/", "/reset/*"),
        ({"masks": ("/reset/*",)}, "/reset", "/reset"),
        ({"masks": ("/reset/*",)}, "/x/reset/a", "/x/reset/a"),
        ({"masks": ("/u/?", "/*/x")}, "/u/1", "/u/?"),
        ({"masks": ("/u/?", "/*/x")}, "/u/x", "/u/?"),
        ({"masks": ("/u/?", "/*/x")}, "/v/x", "/*/x"),
        ({"masks": ("/reset/*",)}, "/RESET/a", "/RESET/a"),
        ({"masks": ("/reset/*",), "lower_case": True}, "/RESET/a", "/reset/*"),
        ({"masks": ("/Reset/*",), "lower_case": True}, "/reset/a", "/Reset/*"),
        ({"masks": ("/reset/*",), "trailing_slash": "strip"}, "/reset/a/", "/reset/*"),
        ({"masks": ("/reset/*",)}, "/reset/" + "x" * 5000, "/reset/*"),
        ({"page": "off"}, "/x", ""),
        ({"page": "off", "trailing_slash": "add", "masks": ("/*",)}, "/x", ""),
    ],
)
def test_rules_of_pages(rule: dict[str, Any], path: str, kept: str) -> None:
    assert page(path, **rule) == kept


@pytest.mark.parametrize(("length", "kept"), [(LONGEST_PAGE, True), (LONGEST_PAGE + 1, False)])
def test_a_page_that_is_too_long_is_other(length: int, kept: bool) -> None:
    path = "/".ljust(length, "x")
    assert page(path) == (path if kept else "(other)")


def test_the_length_of_a_page_is_that_of_what_is_stored() -> None:
    assert page("/" + " " * (LONGEST_PAGE // 3)) == "/" + "%20" * (LONGEST_PAGE // 3)
    assert page("/" + " " * (LONGEST_PAGE // 3 + 1)) == "(other)"


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


def hidden_in_0_1(path: str, mask: str, lower_case: bool) -> bool:
    """0.1 kept what was sent but for what could not be stored or seen, and matched that and what it stands for."""
    sent = re.sub(r"[\x00-\x20\x7f-\xa0\u2028\u2029]|\\$", lambda found: quote(found[0], safe=""), path) or "/"
    sent = "".join(c if c.isprintable() else quote(c.encode("utf-8", "surrogateescape"), safe="") for c in sent)
    sent = sent.lower() if lower_case else sent
    pattern = re.compile(translate(mask), re.DOTALL | (re.IGNORECASE if lower_case else 0))
    return bool(pattern.fullmatch(sent) or pattern.fullmatch(unquote(sent)))


_PIECES = ["/", "reset", "RESET", "%72", "%2F", "%2f", "..", ".", "ü", "%C3%BC", "%c3%bc", "\\", " ", "\x00", "%", "a"]
_MASKS = ["/reset/*", "/*reset*", "/ü/*", "/%C3%BC*", "/%c3%bc/?", "/*/[ab]", "/ *", "/?", "/..*", "/%2f*", "/*%"]


@given(st.lists(st.sampled_from(_PIECES), max_size=8), st.sampled_from(_MASKS), st.booleans())
@example(["reset", "\\", "a"], "/reset/*", False)
def test_what_a_mask_hid_in_0_1_stays_hidden(pieces: list[str], mask: str, lower_case: bool) -> None:
    path = "/" + "".join(pieces)
    kept = page(path, masks=(mask,), lower_case=lower_case)
    assert kept == mask or not hidden_in_0_1(path, mask, lower_case)


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
