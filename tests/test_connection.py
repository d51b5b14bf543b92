"""One connection: framing, limits, pipelining, the order of answers, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfa_flux.pixel.connection import Connection, Limits, Roster
from pfa_flux.pixel.http import MAX_BODY, MAX_HEAD, MAX_LINE, Parser, Request
from tests.smuggling import HIT, Client, FakeTransport, Site, answers, request

CLOSE = request(b"Connection: close")
OTHER = b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n"
BAD = b"GET / HTTP/1.1\nHost: a\r\n\r\n"
PREFETCH = request(b"Purpose: prefetch")


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def client(site: Site) -> Client:
    return site.client()


class Script:
    """An application that answers, or holds, as it is told by the path: /hold or the text to answer with."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.refusals: list[tuple[int, str]] = []

    def handle(self, request: Request, connection: Connection) -> None:
        self.asked.append(request.path)
        if request.path == b"/hold":
            connection.hold()
        else:
            connection.answer(request.path + b";")

    def refused(self, status: int, why: str) -> None:
        self.refusals.append((status, why))


def scripted() -> tuple[Script, Connection, FakeTransport]:
    app, transport = Script(), FakeTransport()
    connection = Connection(app, Roster(Parser(), Limits()))
    connection.connection_made(transport)
    return app, connection, transport


def ask(*paths: str) -> bytes:
    return b"".join(b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode() for path in paths)


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


class TestTime:
    def test_an_idle_connection_is_ended(self, client: Client) -> None:
        client.wait(75)
        assert not client.transport.closed
        client.wait(1)
        assert client.transport.aborted
        assert client.site.roster.timed_out == 0

    def test_a_request_starts_the_time_anew(self, client: Client) -> None:
        for _ in range(3):
            client.wait(70)
            client.send(HIT)
        assert not client.ended
        assert client.statuses == [200] * 3

    def test_a_slow_sender_is_ended_whatever_it_sends(self, client: Client) -> None:
        for place in range(10):
            client.feed(HIT[place : place + 1])
            client.wait(1)
        assert not client.transport.closed
        client.feed(b"x")
        client.wait(1)
        assert client.transport.aborted
        assert client.site.roster.timed_out == 1

    def test_time_begins_with_the_first_byte_and_not_with_the_connection(self, client: Client) -> None:
        client.wait(60)
        client.feed(b"G")
        client.wait(10)
        assert not client.transport.closed
        client.wait(1)
        assert client.transport.aborted

    def test_the_start_of_a_further_request_counts_from_the_last_one(self, client: Client) -> None:
        client.wait(60)
        client.send(HIT + b"GET /")
        client.wait(10)
        assert not client.transport.closed
        client.wait(1)
        assert client.transport.aborted

    def test_a_slow_body_is_ended(self, client: Client) -> None:
        client.send(request(b"Content-Length: 1000"))
        for _ in range(10):
            client.feed(b"x")
            client.wait(1)
        assert not client.transport.closed
        client.wait(1)
        assert client.transport.aborted
        assert client.site.roster.timed_out == 1

    def test_empty_lines_do_not_keep_a_connection_open(self, client: Client) -> None:
        for _ in range(76):
            client.feed(b"\r\n")
            client.wait(1)
        assert client.transport.aborted

    def test_one_that_has_been_told_to_go_is_given_two_seconds(self, client: Client) -> None:
        client.send(CLOSE)
        client.wait(2)
        assert not client.transport.closed
        client.wait(1)
        assert client.transport.aborted

    def test_one_whose_answer_waits_is_not_ended(self, client: Client) -> None:
        client.feed(HIT)
        client.wait(200)
        assert not client.transport.closed
        client.site.loop.run()
        assert client.statuses == [200]


class TestNumber:
    def test_a_connection_beyond_the_bound_is_told_so_and_closed(self) -> None:
        site = Site(limits=Limits(connections=2))
        kept = [site.client(), site.client()]
        late = site.client()
        assert (late.statuses, late.transport.closed) == ([503], True)
        late.send(HIT)
        assert (site.counted, site.roster.turned_away, len(site.roster.open)) == (0, 1, 2)
        assert [client.statuses for client in kept] == [[], []]

    def test_one_that_leaves_makes_room(self) -> None:
        site = Site(limits=Limits(connections=1))
        site.client().connection.connection_lost(None)
        assert site.client().send(HIT)[0].status == 200

    def test_one_that_is_turned_away_makes_no_room_when_it_leaves(self) -> None:
        site = Site(limits=Limits(connections=1))
        site.client()
        site.client().connection.connection_lost(None)
        assert len(site.roster.open) == 1


class TestTheClientLeaves:
    def test_a_hit_counts_though_its_client_is_gone(self, client: Client) -> None:
        client.feed(HIT)
        client.transport.close()
        client.connection.connection_lost(ConnectionResetError())
        client.site.loop.run()
        assert (client.site.counted, client.transport.written) == (1, b"")

    def test_what_it_had_sent_of_a_request_is_forgotten(self, client: Client) -> None:
        client.feed(HIT[:-1])
        client.connection.connection_lost(None)
        client.feed(HIT[-1:])
        client.site.loop.run()
        assert (client.site.counted, len(client.site.roster.open)) == (0, 0)

    def test_one_that_sends_no_more_is_answered_before_the_end(self, client: Client) -> None:
        client.feed(HIT)
        assert client.connection.eof_received() is True
        client.site.loop.run()
        assert (client.statuses, client.transport.closed) == ([200], True)
        assert client.answers[0].headers["Connection"] == "close"

    def test_so_it_is_after_connection_close(self, client: Client) -> None:
        client.feed(CLOSE)
        assert client.connection.eof_received() is True
        client.site.loop.run()
        assert (client.statuses, client.transport.closed) == ([200], True)

    @pytest.mark.parametrize("data", [b"", HIT[:-1], request(b"Content-Length: 5", line=b"POST /count.gif HTTP/1.1")])
    def test_one_that_sends_no_more_and_waits_for_nothing_is_let_go(self, client: Client, data: bytes) -> None:
        client.send(data)
        # The transport closes itself where this is not true.
        assert client.connection.eof_received() is False
        assert client.site.counted == 0


class TestTheClientDoesNotRead:
    def test_it_is_not_read_until_it_does(self, client: Client) -> None:
        client.connection.pause_writing()
        assert not client.transport.reading
        client.connection.resume_writing()
        assert client.transport.reading

    def test_nor_when_answers_that_waited_have_left(self, client: Client) -> None:
        client.feed(HIT * 300)
        assert not client.transport.reading
        client.connection.pause_writing()
        client.site.loop.run()
        assert (len(client.answers), client.transport.reading) == (300, False)
        client.connection.resume_writing()
        assert client.transport.reading

    def test_reading_goes_on_when_what_waited_has_left(self, client: Client) -> None:
        client.feed(HIT * 255)
        assert client.transport.reading
        client.feed(HIT)
        assert not client.transport.reading
        client.site.loop.run()
        assert client.transport.reading

    def test_a_client_that_reads_again_is_not_read_while_answers_wait(self, client: Client) -> None:
        client.feed(HIT * 256)
        client.connection.pause_writing()
        client.connection.resume_writing()
        assert not client.transport.reading

    @pytest.mark.parametrize("rest", [OTHER, PREFETCH, request(line=b"POST /count.gif HTTP/1.1")])
    def test_answers_behind_one_that_waits_are_bounded_too(self, client: Client, rest: bytes) -> None:
        client.feed(HIT + rest * 254)
        assert client.transport.reading
        client.feed(rest)
        assert not client.transport.reading

    def test_it_is_ended_when_it_takes_too_long(self, client: Client) -> None:
        client.send(HIT)
        client.connection.pause_writing()
        client.wait(76)
        assert client.transport.aborted


class TestDraining:
    def test_idle_connections_are_closed(self, site: Site) -> None:
        clients = [site.client() for _ in range(3)]
        clients[1].send(HIT)
        site.roster.drain()
        assert all(client.transport.closed for client in clients)

    def test_a_request_on_its_way_in_is_still_counted(self, client: Client) -> None:
        client.feed(HIT[:-1])
        client.site.roster.drain()
        assert not client.ended
        client.send(HIT[-1:] + HIT)
        assert (client.statuses, client.site.counted, client.ended) == ([200], 1, True)
        assert client.answers[0].headers["Connection"] == "close"

    def test_an_answer_on_its_way_out_is_still_sent(self, client: Client) -> None:
        client.feed(HIT)
        client.site.roster.drain()
        client.site.loop.run()
        assert client.statuses == [200]

    def test_a_connection_that_comes_late_gets_one_answer(self, site: Site) -> None:
        site.roster.drain()
        client = site.client()
        client.send(OTHER + HIT)
        assert (client.statuses, client.ended) == ([404], True)


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


def test_a_client_that_shuts_its_side_of_a_real_socket_is_answered(site: Site) -> None:
    async def talk() -> bytes:
        loop = asyncio.get_running_loop()
        mine, other = socket.socketpair()
        with mine:
            transport, _ = await loop.create_connection(lambda: Connection(site.pixel, site.roster), sock=other)
            mine.sendall(HIT)
            mine.shutdown(socket.SHUT_WR)
            mine.setblocking(False)
            while not site.loop.calls:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            site.loop.run()
            got = b""
            while part := await loop.sock_recv(mine, 4096):
                got += part
            transport.close()
            return got

    assert [answer.status for answer in answers(asyncio.run(talk()))] == [200]
    assert site.roster.open == set()


def test_a_client_that_sends_on_and_reads_nothing_is_soon_read_no_further(site: Site) -> None:
    async def talk() -> int:
        loop = asyncio.get_running_loop()
        mine, other = socket.socketpair()
        with mine:
            mine.setblocking(False)
            transport, _ = await loop.create_connection(lambda: Connection(site.pixel, site.roster), sock=other)
            rest = b""
            for _ in range(200):
                rest = rest or HIT * 1000
                with contextlib.suppress(BlockingIOError):
                    rest = rest[mine.send(rest) :]
                await asyncio.sleep(0)
                site.loop.run()
            waiting = transport.get_write_buffer_size()
            transport.abort()
            await asyncio.sleep(0)
            return waiting

    # What one read of 64 KiB asks for, and a little that waited before.
    assert asyncio.run(talk()) < 1_000_000
    assert site.roster.open == set()
