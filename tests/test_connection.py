"""One connection: framing, limits, pipelining, and the order of answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfa_flux.pixel.http import MAX_BODY, MAX_HEAD, MAX_LINE
from tests.scripted import BAD, CLOSE, OTHER, PREFETCH, ask, scripted
from tests.socketless import HIT, Client, Site, request


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def client(site: Site) -> Client:
    return site.client()


def test_a_connection_stays_open_after_an_answer(client: Client) -> None:
    assert [answer.status for answer in client.send(HIT)] == [200]
    assert [answer.headers["Connection"] for answer in client.send(HIT)] == ["keep-alive"] * 2
    assert not client.ended


def test_a_request_may_come_byte_by_byte(client: Client) -> None:
    for place in range(len(HIT) - 1):
        assert client.send(HIT[place : place + 1]) == []
    assert len(client.send(HIT[-1:])) == 1
    assert client.site.counted == 1


def test_a_transport_fills_the_shared_buffer_instead(site: Site) -> None:
    client = site.client()
    buffer = client.connection.get_buffer(-1)
    buffer[: len(HIT)] = HIT
    client.connection.buffer_updated(len(HIT))
    site.loop.run()
    assert client.statuses == [200]
    assert site.client().connection.get_buffer(10) is buffer


def test_requests_sent_in_one_go_are_answered_in_one_write(client: Client) -> None:
    assert [answer.status for answer in client.send(HIT * 3 + OTHER)] == [200, 200, 200, 404]
    assert client.site.journal.commits == 1


def test_answers_come_in_the_order_of_their_requests() -> None:
    app, connection, transport = scripted()
    connection.data_received(ask("1", "hold", "2", "hold", "3"))
    assert transport.written == b"/1;"
    connection.release(b"held;", b"last;")
    assert transport.written == b"/1;held;/2;held;/3;"
    connection.data_received(ask("4"))
    assert transport.written.endswith(b"/4;")
    assert app.asked == [b"/1", b"/hold", b"/2", b"/hold", b"/3", b"/4"]


def test_hold_says_whether_it_is_the_first_that_waits() -> None:
    _, connection, _ = scripted()
    assert [connection.hold(), connection.hold()] == [True, False]
    connection.release(b"", b"")
    assert connection.hold() is True


def test_the_answer_that_ends_a_connection_is_another_one() -> None:
    _, connection, transport = scripted()
    connection.data_received(ask("hold", "hold")[:-2] + b"Connection: close\r\n\r\n" + ask("never"))
    assert not transport.eof
    connection.release(b"data;", b"last;")
    assert transport.written == b"data;last;"
    assert transport.eof


def test_after_connection_close_nothing_is_read(client: Client) -> None:
    client.send(CLOSE + HIT, HIT)
    assert (client.statuses, client.site.counted, client.ended) == ([200], 1, True)
    assert client.answers[0].headers["Connection"] == "close"


def test_after_a_refusal_nothing_is_read_and_what_was_before_is_answered(client: Client) -> None:
    client.send(HIT + BAD + HIT, HIT)
    assert (client.statuses, client.site.counted, client.ended) == ([200, 400], 1, True)
    assert [answer.headers["Connection"] for answer in client.answers] == ["keep-alive", "close"]


def test_an_end_is_half_a_close_so_that_the_answer_is_not_lost(client: Client) -> None:
    client.send(BAD)
    assert (client.transport.eof, client.transport.closed) == (True, False)


def test_a_transport_that_cannot_be_half_closed_is_closed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.transport, "can_write_eof", lambda: False)
    client.send(BAD)
    assert client.transport.closed


def padded(length: int) -> bytes:
    """A head of so many bytes, without its blank line."""
    start = HIT[:-4] + b"\r\nX: "
    return start + b"x" * (length - len(start))


def lined(length: int) -> bytes:
    """A head whose first line has so many bytes."""
    return HIT.replace(b"count.gif", b"count.gif?" + b"x" * (length - len(HIT.partition(b"\r\n")[0]) - 1))


@pytest.mark.parametrize("chunk", [1, 7, 4096, 10**6])
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (padded(MAX_HEAD) + b"\r\n\r\n", 200),
        (padded(MAX_HEAD + 1) + b"\r\n\r\n", 431),
        (padded(MAX_HEAD * 3) + b"\r\n\r\n", 431),
        (lined(MAX_LINE), 200),
        (lined(MAX_LINE + 1), 414),
        (lined(MAX_LINE * 4), 414),
        (HIT[:-2] + b"X: y\r\n" * 200 + b"\r\n", 431),
        (request(b"Content-Length: %d" % MAX_BODY, body=b"x" * MAX_BODY), 200),
        (request(b"Content-Length: %d" % (MAX_BODY + 1), body=b"x" * MAX_BODY), 413),
    ],
    ids=["head", "head+1", "head*3", "line", "line+1", "line*4", "fields", "body", "body+1"],
)
def test_limits_are_the_same_however_the_bytes_come(client: Client, data: bytes, status: int, chunk: int) -> None:
    client.send(*(data[place : place + chunk] for place in range(0, len(data), chunk)))
    assert client.statuses == [status]
    assert client.site.counted == (status == 200)
    assert client.ended is (status != 200)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"x" * (MAX_LINE + 2), 414),
        (HIT[:-2] + b"X: " + b"x" * MAX_HEAD, 431),
        (HIT[:-2] + b"X: y\nX", 400),
        (b"\x16\x03\x01\x00", 400),
        (b"GET /\x00", 400),
        (b"GET /\n", 400),
    ],
    ids=["line", "head", "line feed", "TLS", "NUL", "line feed in the first line"],
)
def test_what_can_no_longer_become_a_request_is_refused_before_its_end(
    client: Client, data: bytes, status: int
) -> None:
    client.send(data)
    assert (client.statuses, client.ended) == ([status], True)


def test_a_body_is_thrown_away_as_it_comes(client: Client) -> None:
    head = request(b"Content-Length: 60000")
    client.feed(head, *[HIT[:60]] * 999, HIT[:59])
    # It counts once it is whole.
    assert (client.send(b""), client.site.counted) == ([], 0)
    client.send(b"x" + HIT)
    assert (client.statuses, client.site.counted) == ([200, 200], 2)


# Streams that are well-formed up to an end that may not be, and answered each in its own way.
_PARTS = st.lists(
    st.sampled_from([
        HIT, HIT, HIT, OTHER, PREFETCH, CLOSE, BAD, b"\r\n", request(line=b"HEAD /count.gif HTTP/1.1"),
        request(b"Content-Length: 70", body=HIT[:70]), request(line=b"GET /count.gif HTTP/1.0"), HIT[:-3],
        request(b"Transfer-Encoding: chunked", line=b"POST /count.gif HTTP/1.1"), request(b"X: \x00"),
        request(line=b"GET /count.gif?" + b"x" * 8200 + b" HTTP/1.1"), request(b"X: " + b"x" * 16_400),
        request(b"Content-Length: 99999", line=b"POST /count.gif HTTP/1.1"),
    ]),
    max_size=6,
).map(b"".join)  # fmt: skip


@given(_PARTS, st.data())
def test_any_split_of_the_bytes_gives_the_same_answers_and_counts(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    whole, split = Site().client(), Site().client()
    whole.send(stream)
    for low, high in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        if data.draw(st.booleans()):
            split.site.loop.run()
        split.feed(stream[low:high])
    split.send(b"")
    assert split.transport.written == whole.transport.written
    assert split.site.journal.views == whole.site.journal.views
    assert split.site.pixel.rejected == whole.site.pixel.rejected
    assert split.site.pixel.refused_requests == whole.site.pixel.refused_requests
    assert split.ended == whole.ended
