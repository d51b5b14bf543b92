"""Which domain an authority stands for, however it is written."""

from __future__ import annotations

import string
from ipaddress import IPv6Address
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfa_flux.pixel.hit import domain_of
from tests.asked import oracle, seen


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
