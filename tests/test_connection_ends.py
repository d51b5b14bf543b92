"""How a connection ends: in time, by number, while it drains, or because the client leaves or does not read."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from pfa_flux.pixel.connection import Connection, Limits
from tests.scripted import CLOSE, OTHER, PREFETCH
from tests.socketless import HIT, Client, Site, answers, request


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def client(site: Site) -> Client:
    return site.client()


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

    def test_a_body_on_its_way_in_is_still_awaited(self, client: Client) -> None:
        body = b"ab"
        client.feed(HIT.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n") + body[:1])
        client.site.roster.drain()
        assert not client.ended
        client.send(body[1:])
        assert (client.statuses, client.site.counted, client.ended) == ([200], 1, True)

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
