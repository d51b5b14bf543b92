"""From a path to a page: its canonical form, rules, masks, and its greatest length."""

from __future__ import annotations

import re
from fnmatch import translate
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pfa_flux.pixel.hit import LONGEST_PAGE
from tests.asked import page


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
