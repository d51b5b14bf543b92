"""Bytes from people who mean harm: no crash, no hang, no hit for what is malformed, no growth."""

from __future__ import annotations

import gc
import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfa_flux.pixel.connection import Limits
from pfa_flux.pixel.counter import GIF
from pfa_flux.settings.pixel import PixelSettings
from tests.smuggling import ANSWERED, CORPUS, REFUSED, UNFINISHED, Shape
from tests.socketless import HIT, Client, Site, request


def named(shape: Shape) -> str:
    return shape.name


@pytest.mark.parametrize("shape", CORPUS, ids=named)
def test_a_shape_is_answered_and_counted_as_it_should_be(shape: Shape) -> None:
    client = Site().client()
    client.send(shape.data)
    assert (client.statuses, client.site.counted, client.ended) == (shape.statuses, shape.hits, shape.ended)


def test_a_shape_is_treated_alike_byte_by_byte() -> None:
    for shape in CORPUS:
        client = Site().client()
        client.send(*(shape.data[place : place + 1] for place in range(len(shape.data))))
        assert (client.statuses, client.site.counted) == (shape.statuses, shape.hits), shape.name


def test_a_shape_after_a_hit_takes_nothing_from_it_and_adds_nothing() -> None:
    for shape in CORPUS:
        client = Site().client()
        client.send(HIT + shape.data)
        assert (client.statuses, client.site.counted) == ([200, *shape.statuses], 1 + shape.hits), shape.name


def test_after_a_refusal_a_connection_is_deaf() -> None:
    for shape in REFUSED:
        client = Site().client()
        client.send(shape.data)
        client.send(HIT * 10)
        assert (client.statuses, client.site.counted) == (shape.statuses, shape.hits), shape.name


def test_after_what_is_answered_in_full_a_connection_goes_on() -> None:
    for shape in ANSWERED:
        if not shape.ended:
            client = Site().client()
            client.send(shape.data + HIT)
            assert client.site.counted == shape.hits + 1, shape.name


def test_what_never_ends_is_ended_by_time() -> None:
    for shape in UNFINISHED:
        client = Site().client()
        client.send(shape.data)
        client.wait(Limits().idle + 1)
        assert client.transport.aborted, shape.name


def sound(client: Client) -> None:
    """What holds of a connection whatever was sent."""
    site, found = client.site, client.answers
    gifs = [answer for answer in found if answer.body == GIF]
    assert len(gifs) == site.counted + sum(site.pixel.rejected.values())
    assert [answer.headers.get("X-Pfa-Flux") for answer in gifs].count(None) == site.counted
    refused = [answer for answer in found if answer.status not in (200, 404, 405)]
    assert len(refused) == sum(site.pixel.refused_requests.values()) <= 1
    if refused:
        assert found[-1] is refused[0]
        assert client.ended
    closing = [answer.headers["Connection"] == "close" for answer in found]
    assert not any(closing[:-1])
    assert client.ended == any(closing)
    assert not site.loop.calls
    # Nothing more is kept than may still become a request.
    assert len(client.connection._buffer) < 16 * 1024 + 4


@given(st.lists(st.binary(max_size=80), max_size=6))
def test_random_bytes(chunks: list[bytes]) -> None:
    client = Site().client()
    client.send(*chunks)
    sound(client)


_MARKS = st.sampled_from([
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\x00", b" ", b"\t", b":", b"\x0b", b"\x7f", b"\xff", b"/", b"GET ",
    b"HTTP/1.1", b"Host: x\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n", b"-", b"0", b"9", b",", b"#", b"?", HIT,
])  # fmt: skip
_SEEDS = st.sampled_from([
    HIT, request(b"Content-Length: 5", body=b"12345"), request(b"Accept: */*"),
    request(line=b"POST /count.gif HTTP/1.1"), request(line=b"HEAD /count.gif HTTP/1.1"),
    *(shape.data for shape in CORPUS),
])  # fmt: skip


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """Requests with something put in, taken out, repeated or replaced."""
    data = b"".join(draw(st.lists(_SEEDS, min_size=1, max_size=3)))
    for _ in range(draw(st.integers(1, 4))):
        low = draw(st.integers(0, len(data)))
        high = draw(st.integers(low, min(len(data), low + draw(st.sampled_from([0, 1, 1, 8, 60])))))
        data = data[:low] + draw(st.one_of(_MARKS, st.binary(max_size=3), st.just(data[low:high] * 2))) + data[high:]
    return data


@given(mutants(), st.integers(1, 200))
def test_requests_that_were_tampered_with(data: bytes, size: int) -> None:
    client = Site().client()
    client.send(*(data[place : place + size] for place in range(0, len(data), size)))
    sound(client)


_CONTROLS = [bytes([byte]) for byte in range(32) if byte not in (9, 10, 13)] + [
    b"\x7f",
    b"\n",
    b"\r",
    b"\n\r",
    b"\r\r\n",
]


@given(st.sampled_from(_CONTROLS), st.integers(0, len(HIT) - 3))
def test_a_control_character_anywhere_in_a_head_is_never_counted(control: bytes, place: int) -> None:
    client = Site().client()
    client.send(HIT[:place] + control + HIT[place:] + HIT)
    assert (client.statuses, client.site.counted, client.ended) == ([400], 0, True)


@given(st.binary(min_size=1, max_size=12).filter(lambda text: not text.isdigit()))
def test_a_length_that_is_no_number_is_never_counted(length: bytes) -> None:
    client = Site().client()
    client.send(request(b"Content-Length:" + length.replace(b"\r\n", b"") + b"x", body=HIT))
    assert client.site.counted == 0
    assert client.statuses in ([400], [])


@given(st.integers(0, 200), st.integers(0, 3))
def test_a_body_is_as_long_as_it_says(length: int, zeros: int) -> None:
    said = b"Content-Length: " + b"0" * zeros + b"%d" % length
    client = Site().client()
    client.send(request(said, body=(HIT * 4)[:length]) + HIT)
    assert (client.statuses, client.site.counted) == ([200, 200], 2)


def _storm(seed: int, count: int) -> list[bytes]:
    """Requests of all sorts, most of them broken, each made up anew."""
    chance = random.Random(seed)
    shapes = [shape.data for shape in CORPUS if len(shape.data) < 500]
    found = []
    for number in range(count):
        kind = number % 5
        if kind == 0:
            data = chance.randbytes(chance.randrange(1, 60))
        elif kind == 1:
            data = request(host=False, line=b"GET /%x HTTP/1.1" % chance.getrandbits(60))
        elif kind == 2:
            domain = b"%x.example/%x" % (chance.getrandbits(40), chance.getrandbits(60))
            data = HIT.replace(b"a.example/x", domain)
        elif kind == 3:
            data = chance.choice(shapes) or b"x"
            place = chance.randrange(len(data))
            data = data[:place] + chance.randbytes(1) + data[place + 1 :]
        else:
            data = HIT.replace(b"/x", b"/%x" % chance.getrandbits(60))
        found.append(data)
    return found


def _survive(site: Site, storm: list[bytes]) -> None:
    client = site.client()
    for data in storm:
        client.feed(data)
        site.loop.run()
        if client.ended or len(client.transport.written) > 10_000:
            client.transport.close()
            client.connection.connection_lost(None)
            client = site.client()
    client.connection.connection_lost(None)
    site.journal.views.clear()
    site.journal.times.clear()


def test_two_hundred_thousand_bad_requests_leave_nothing_behind() -> None:
    site = Site(PixelSettings(max_domains=20, max_pages=50))
    storms = [_storm(seed, 10_000) for seed in (1, 2)]
    # What is bounded is filled first: pages, domains, referers that are remembered.
    _survive(site, storms[0] + storms[1])
    assert site.pixel.counted["hit"] > 4000
    assert sum(site.pixel.refused_requests.values()) > 4000
    gc.collect()
    objects = len(gc.get_objects())
    for _ in range(9):
        for storm in storms:
            _survive(site, storm)
    gc.collect()
    assert len(gc.get_objects()) - objects < 100
    assert (len(site.roster.open), site.pixel.pages.domains <= 20, len(site.pixel.pages) <= 20 * 51) == (0, True, True)


def test_bad_requests_that_were_never_seen_before_take_no_memory() -> None:
    site = Site(PixelSettings(max_domains=20, max_pages=50))
    for seed in range(2):
        _survive(site, _storm(seed, 10_000))
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for seed in range(2, 4):
            _survive(site, _storm(seed, 10_000))
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # Referers that are remembered are at most 16,384, and of a bounded length.
    assert grown < 3_000_000
