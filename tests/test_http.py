"""Heads of requests: what is read of them, and which are refused."""

from __future__ import annotations

import http.client
import io
import socket
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pfa_flux.pixel.http import MAX_BODY, MAX_FIELDS, MAX_LINE, Parser, RefusedError, Request, answer, by_lines
from tests.conftest import DATE

PARSER = Parser(("/count.gif", "/load"))
_ATTRIBUTES = ("method", "path", "keep_alive", "length", "referer", "host", "forwarded_host", "forwarded_proto",
               "prefetch", "gpc", "dnt", "embedded", "skip", "plain")  # fmt: skip


def head(*fields: str | bytes, line: str = "GET /count.gif HTTP/1.1") -> bytes:
    lines = (line, *fields)
    return b"".join((part.encode("latin-1") if isinstance(part, str) else part) + b"\r\n" for part in lines)


def read(*fields: str | bytes, line: str = "GET /count.gif HTTP/1.1", host: str = "a.example") -> Request:
    return PARSER.head(head(f"Host: {host}", *fields, line=line))


def refusal(data: bytes) -> tuple[int, str]:
    with pytest.raises(RefusedError) as caught:
        PARSER.head(data)
    return caught.value.status, caught.value.why


def outcome(parse: Any, data: bytes) -> dict[str, object] | tuple[int, str]:
    try:
        request = parse(data)
    except RefusedError as error:
        return error.status, error.why
    return {name: getattr(request, name) for name in _ATTRIBUTES}


def test_what_is_not_said_has_its_default() -> None:
    assert outcome(PARSER.head, head("Host: a.example")) == {
        "method": b"GET", "path": b"/count.gif", "keep_alive": True, "length": 0, "referer": None,
        "host": b"a.example", "forwarded_host": None, "forwarded_proto": None, "prefetch": False, "gpc": False,
        "dnt": False, "embedded": True, "skip": None, "plain": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("field", "attribute", "value"),
    [
        ("Referer: https://a.example/x", "referer", b"https://a.example/x"),
        ("Referer:", "referer", b""),
        ("Referer:\t https://a.example/ \t", "referer", b"https://a.example/"),
        ("X-Forwarded-Host: b.example, c.example", "forwarded_host", b"b.example, c.example"),
        ("X-Forwarded-Host: b.example\r\nX-Forwarded-Host: c.example", "forwarded_host", b"b.example,c.example"),
        ("X-Forwarded-Proto: https", "forwarded_proto", b"https"),
        ("X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http", "forwarded_proto", b"https,http"),
        ("Sec-GPC: 1", "gpc", True),
        ("Sec-GPC: 0", "gpc", False),
        ("DNT: 1", "dnt", True),
        ("DNT: 0", "dnt", False),
        ("DNT: null", "dnt", False),
        ("Sec-Purpose: prefetch", "prefetch", True),
        ("Sec-Purpose: prefetch;prerender", "prefetch", True),
        ("Sec-Purpose: PREFETCH;anonymous-client-ip", "prefetch", True),
        ("Purpose: prefetch", "prefetch", True),
        ("Purpose: prerender", "prefetch", True),
        ("X-Moz: prefetch", "prefetch", True),
        ("Purpose: browse", "prefetch", False),
        ("Purpose: preview", "prefetch", True),
        ("X-Purpose: preview", "prefetch", True),
        ("X-Purpose: : preview", "prefetch", True),
        ("Sec-Fetch-Dest: image", "embedded", True),
        ("Sec-Fetch-Dest: empty", "embedded", True),
        ("Sec-Fetch-Dest:", "embedded", True),
        ("Sec-Fetch-Dest: document", "embedded", False),
        ("Sec-Fetch-Dest: imagery", "embedded", False),
        ("Sec-Fetch-Dest: Image", "embedded", False),
        ("Sec-Fetch-Dest: iframe\r\nSec-Fetch-Dest: image", "embedded", False),
        ("X-Pfa-Skip: own", "skip", b"own"),
        ("X-Pfa-Skip:", "skip", b""),
        ("X-Pfa-Skip: own\r\nX-Pfa-Skip: bot", "skip", b"own,bot"),
        ("Content-Length: 12", "length", 12),
        (f"Content-Length: {MAX_BODY}", "length", MAX_BODY),
        ("Connection: close", "keep_alive", False),
        ("Connection: Close", "keep_alive", False),
        ("Connection: foo, close", "keep_alive", False),
        ("Connection: keep-alive", "keep_alive", True),
        ("Connection: closed", "keep_alive", True),
        ("Connection: Upgrade", "keep_alive", True),
    ],
)
def test_a_header_is_read_in_every_spelling_of_its_name(field: str, attribute: str, value: object) -> None:
    name, _, rest = field.partition(":")
    for spelling in (name, name.lower(), name.upper(), name.swapcase()):
        assert getattr(read(f"{spelling}:{rest}"), attribute) == value


@pytest.mark.parametrize(
    "field",
    ["Sec-GPC: 1", "DNT: 0", "Purpose: x", "X-Forwarded-Host: b", "X-Forwarded-Proto: x", "X-Pfa-Skip: own",
     "Sec-Fetch-Dest: document"],
)  # fmt: skip
def test_a_request_that_says_more_than_its_referer_is_not_plain(field: str) -> None:
    assert not read(field).plain


@pytest.mark.parametrize("name", ["Cookie", "User-Agent", "Accept", "X-Forwarded-For", "X-Referer", "Refererx", "Hos"])
def test_other_headers_change_nothing(name: str) -> None:
    assert outcome(PARSER.head, head("Host: a.example", f"{name}: 1")) == outcome(PARSER.head, head("Host: a.example"))


@pytest.mark.parametrize(
    ("connection", "stays"),
    [(None, False), ("keep-alive", True), ("Keep-Alive", True), ("close", False), ("keep-alive, close", False)],
)
def test_http_1_0_stays_open_only_if_asked_to(connection: str | None, stays: bool) -> None:
    fields = () if connection is None else (f"Connection: {connection}",)
    assert PARSER.head(head(*fields, line="GET /count.gif HTTP/1.0")).keep_alive is stays


def test_the_host_of_an_absolute_target_wins_over_the_header() -> None:
    request = read(line="GET HTTP://B.example:81/count.gif?q HTTP/1.1")
    assert (request.host, request.path) == (b"B.example:81", b"/count.gif")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/count.gif", b"/count.gif"),
        ("/count.gif?", b"/count.gif"),
        ("/count.gif?a?b/c", b"/count.gif"),
        ("/", b"/"),
        ("//count.gif", b"//count.gif"),
        ("http://b", b"/"),
        ("http://b?/count.gif", b"/"),
        ("http://b#/count.gif", b"/"),
        ("https://b/count.gif#x", b"/count.gif"),
        ("http://[::1]:8/count.gif", b"/count.gif"),
    ],
)
def test_the_path_is_the_target_without_its_query(target: str, path: bytes) -> None:
    assert read(line=f"GET {target} HTTP/1.1").path == path


@pytest.mark.parametrize(
    "host", ["", "a", "A.example", "a_b.example:8080", "[::1]", "[::1]:80", "127.0.0.1", "a:", "é"]
)
def test_hosts_that_are_let_pass(host: str) -> None:
    assert read(host=host).host == host.encode("latin-1")


def test_a_request_line_may_have_its_full_length_and_no_more() -> None:
    def line(length: int) -> str:
        return "GET /" + "x" * (length - len("GET / HTTP/1.1")) + " HTTP/1.1"

    assert len(read(line=line(MAX_LINE)).path) == MAX_LINE - len("GET  HTTP/1.1")
    assert refusal(head("Host: a", line=line(MAX_LINE + 1))) == (414, "line")


def test_there_may_be_a_hundred_fields_and_no_more() -> None:
    assert read(*["X: y"] * (MAX_FIELDS - 1)).host == b"a.example"
    assert refusal(head("Host: a", *["X: y"] * MAX_FIELDS)) == (431, "fields")


def test_a_body_may_have_its_full_length_and_no_more() -> None:
    assert read(f"Content-Length: {MAX_BODY}").length == MAX_BODY
    assert refusal(head("Host: a", f"Content-Length: {MAX_BODY + 1}")) == (413, "body")


@pytest.mark.parametrize(
    ("fields", "keeps"),
    [
        (("Expect: 100-continue",), True),
        (("Expect: 100-continue", "Content-Length: 0"), True),
        (("Expect: 100-continue", "Content-Length: 1"), False),
        (("Content-Length: 1", "expect: x"), False),
    ],
)
def test_a_client_that_may_keep_its_body_back_ends_its_connection(fields: tuple[str, ...], keeps: bool) -> None:
    assert read(*fields).keep_alive is keeps


def test_the_error_says_its_status_and_why_and_nothing_of_the_request() -> None:
    with pytest.raises(RefusedError, match=r"\A400 field\Z"):
        read("secret")


_VISIBLE = {9, *range(32, 127), *range(128, 256)}
# What a head can be made of: names that are read in spellings that are and are not usual, and values that matter.
_NAMES = [
    "Host", "host", "HOST", "hOST", "Referer", "referer", "REFERER", "rEferer", "Connection", "connection",
    "Content-Length", "content-length", "Transfer-Encoding", "Sec-Purpose", "purpose", "X-Moz", "x-moz", "Sec-GPC",
    "sec-gpc", "DNT", "Dnt", "dnt", "X-Forwarded-Host", "x-forwarded-proto", "Expect", "User-Agent", "user-agent",
    "Accept", "Accept-Language", "Accept-Encoding", "Cookie", "Cache-Control", "Pragma", "Priority", "TE",
    "Sec-CH-UA", "sec-ch-ua-mobile", "Sec-Fetch-Dest", "sec-fetch-DEST", "Sec-Fetch-Destination", "sec-fetch-purpose",
    "X-Purpose", "X-Pfa-Skip", "Upgrade-Insecure-Requests", "X", "Via",
    "If-None-Match", "Origin", "Content_Length", "", "Host ", " Host", "A B", "Ä", "Accept\t", "A:", "!#$",
]  # fmt: skip
_VALUES = [
    "", "a.example", "a.example:80", "a.example:", "a_b:x", "[::1]", "https://a.example/x", "http://a.example/?q#f",
    "https://a.example/ x", "/x", "keep-alive", "Keep-Alive", "close", "keep-alive, close", "upgrade", "0", "1", "5",
    "-1", "chunked", "prefetch", "preview", "image", "empty", "document", "own",
    "1, 1", "*/*", "text/html", "a=b; c=d", "é", "a\tb", "100-continue",
]  # fmt: skip
_LINES = [
    "GET /count.gif HTTP/1.1", "GET /load HTTP/1.1", "GET /count.gif HTTP/1.0", "GET /count.gif?x HTTP/1.1",
    "HEAD /count.gif HTTP/1.1", "POST /count.gif HTTP/1.1", "GET /count.gif HTTP/2.0", "GET /other HTTP/1.1",
    "GET /countXgif HTTP/1.1", "GET /count.gif HTTP/1.1 ", "GET http://b/count.gif HTTP/1.1", "get /load HTTP/1.1",
    "GET /count.gif  HTTP/1.1", "",
]  # fmt: skip
_FIELD = st.builds(
    "".join, st.tuples(st.sampled_from(_NAMES), st.sampled_from([": ", ": ", ":", ":  ", ":\t", " : ", ""]),
                       st.sampled_from(_VALUES), st.sampled_from(["", "", " ", "\t"]))
)  # fmt: skip
_HEADS = st.builds(
    lambda line, fields: head(*fields, line=line),
    st.sampled_from([*_LINES[:2] * 8, *_LINES]),
    st.lists(_FIELD, max_size=7).flatmap(
        lambda fields: (
            st.permutations(["Host: a.example", "Referer: https://a.example/x", *fields])
            if len(fields) % 2
            else st.just(["Host: a.example", *fields])
        )
    ),
)


@given(_HEADS)
@example(head("Host: a.example", "Referer: https://a.example/x", "Referer: https://a.example/x"))
@example(head("Referer: https://a.example/x", "Host: a.example"))
@example(head("Connection: keep-alive", "Host: a.example", "Connection: close"))
@example(head("Connection: keep-alive, close", "Host: a.example"))
def test_the_quick_pattern_reads_a_head_as_the_lines_do(data: bytes) -> None:
    assert outcome(PARSER.head, data) == outcome(by_lines, data)


@given(st.sampled_from(_NAMES), st.binary(max_size=12).map(lambda text: bytes(c for c in text if c in _VISIBLE)))
def test_the_quick_pattern_reads_any_one_header_as_the_lines_do(name: str, value: bytes) -> None:
    for start in (": ", ":"):
        field = name.encode("latin-1") + start.encode() + value
        for fields in (["Host: a.example", field], [field, "Host: a.example"], [field]):
            data = head(*fields)
            assert outcome(PARSER.head, data) == outcome(by_lines, data)


_FIREFOX = ("User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "Accept: image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
            "Accept-Language: en-US,en;q=0.5", "Accept-Encoding: gzip, deflate, br, zstd")  # fmt: skip
_FETCH = ("Sec-Fetch-Dest: image", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Site: same-origin")


@pytest.mark.parametrize(
    "fields",
    [
        (*_FIREFOX, "Connection: keep-alive", "Referer: https://a.example/x", *_FETCH, "Priority: u=5, i"),
        (*_FIREFOX, "Referer: https://a.example/x", "Connection: keep-alive", "Cookie: a=b", "Pragma: no-cache",
         "Cache-Control: no-cache", "TE: trailers"),
        ("Connection: keep-alive", 'sec-ch-ua: "Chromium";v="140"', "sec-ch-ua-mobile: ?0", _FIREFOX[0], *_FETCH,
         "Referer: https://a.example/x", "Accept-Encoding: gzip"),
        ("user-agent: x", "referer: https://a.example/x"),
        ("X-Real-IP: 192.0.2.1", "Referer: https://a.example/x"),
    ],
    ids=["firefox", "tor browser", "chrome", "lower case", "behind a proxy"],
)  # fmt: skip
def test_what_browsers_send_gives_host_and_referer(fields: tuple[str, ...]) -> None:
    request = read(*fields)
    assert (request.host, request.referer, request.plain, request.keep_alive) == (
        b"a.example",
        b"https://a.example/x",
        True,
        True,
    )


@pytest.mark.parametrize("small", [False, True], ids=["capitals", "small letters"])
@pytest.mark.parametrize(
    "fields",
    [
        ("Host: a.example", *_FIREFOX, "Connection: keep-alive", "Referer: https://a.example/x", *_FETCH),
        (*_FIREFOX, "Referer: https://a.example/x", "Cookie: a=b", "Host: a.example", "Priority: u=5, i"),
        ("Referer: https://a.example/x", "Host: a.example", "TE: trailers", "Cache-Control: no-cache"),
    ],
    ids=["browser", "referer first", "nothing else before"],
)
def test_what_clients_send_is_read_by_the_quick_pattern(
    fields: tuple[str, ...], small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pfa_flux.pixel.http.by_lines", lambda _: pytest.fail("read line by line"))
    if small:
        fields = tuple(name.lower() + colon + value for name, colon, value in (each.partition(":") for each in fields))
    request = PARSER.head(head(*fields))
    assert (request.host, request.referer, request.plain) == (b"a.example", b"https://a.example/x", True)


@given(
    st.lists(
        st.sampled_from(["Accept: */*", "Sec-Fetch-Site: same-origin", "Cookie: a=b", "DNT: 1", "X-Moz: a"]),
        max_size=30,
    )
)
def test_headers_may_come_in_any_number_and_place(fields: list[str]) -> None:
    request = PARSER.head(head(*fields, "Host: a", *fields, "Referer: b", *fields))
    assert (request.host, request.referer, request.dnt) == (b"a", b"b", "DNT: 1" in fields)


@pytest.mark.parametrize(("close", "word"), [(False, "keep-alive"), (True, "close")])
def test_an_answer_is_read_by_another_http_client(close: bool, word: str) -> None:
    data = answer(200, b"body", {"X-A": "b"}, close=close)

    class Wire:
        def makefile(self, _mode: str) -> io.BytesIO:
            return io.BytesIO(data)

    got = http.client.HTTPResponse(cast(socket.socket, Wire()))
    got.begin()
    assert (got.status, got.reason, got.version) == (200, "OK", 11)
    assert got.getheaders() == [("Date", DATE), ("X-A", "b"), ("Content-Length", "4"), ("Connection", word)]
    assert got.read() == b"body"


def test_an_answer_to_head_names_the_length_of_the_body_it_leaves_out() -> None:
    assert answer(200, b"body", head=True).decode().splitlines() == [
        "HTTP/1.1 200 OK",
        f"Date: {DATE}",
        "Content-Length: 4",
        "Connection: keep-alive",
        "",
    ]
