"""The pixel without a socket: bytes in, answers and counted views out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from pfa_flux.pixel.connection import Connection, Limits, Roster
from pfa_flux.pixel.counter import GIF, Pixel
from pfa_flux.pixel.hit import View
from pfa_flux.pixel.http import Parser
from pfa_flux.pixel.pages import Page
from pfa_flux.settings.pixel import PixelSettings
from pfa_flux.settings.rules import Rules

SECOND = 10**9
HIT = b"GET /count.gif HTTP/1.1\r\nHost: a.example\r\nReferer: https://a.example/x\r\n\r\n"
VIEW = View("hit", "https", "a.example", "/x")
_ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Za-z -]+\r\n((?:[!-9;-~]+: [ -~]*\r\n)*)\r\n")


class Answer(NamedTuple):
    """One answer, as a client reads it."""

    status: int
    headers: dict[str, str]
    body: bytes


def answers(written: bytes) -> list[Answer]:
    """The answers that bytes hold, one after the other and nothing besides."""
    found = []
    while written:
        head = _ANSWER.match(written)
        assert head is not None, written[:200]
        headers = dict(line.split(": ", 1) for line in head[2].decode().splitlines())
        written = written[head.end() :]
        length = int(headers["Content-Length"])
        # Without a body only to HEAD.
        body = written[:length] if written.startswith(GIF) else b""
        written = written[len(body) :]
        found.append(Answer(int(head[1]), headers, body))
    return found


class FakeTransport(asyncio.Transport):
    """What a connection writes into and closes, as asyncio's own behaves."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reading = True
        self.closed = self.aborted = self.eof = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Record it."""
        assert not self.closed, "written after it was closed"
        assert not self.eof, "written after the end"
        self.written += bytes(data)

    def write_eof(self) -> None:
        """Record it."""
        self.eof = True

    def can_write_eof(self) -> bool:
        """As TCP can."""
        return True

    def close(self) -> None:
        """Record it."""
        self.closed = True

    def abort(self) -> None:
        """Record it."""
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        """It was closed."""
        return self.closed

    def pause_reading(self) -> None:
        """Record it."""
        self.reading = False

    def resume_reading(self) -> None:
        """Record it."""
        self.reading = True


@dataclass
class FakeJournal:
    """A journal that keeps views in a list, or fails."""

    views: list[View] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    commits: int = 0
    failure: Exception | None = None

    def commit(self, pages: list[Page], now: int) -> None:
        """Keep the views of the pages."""
        if self.failure is not None:
            raise self.failure
        self.commits += 1
        self.views += [page.view for page in pages]
        self.times.append(now)


class FakeLoop:
    """Keeps what is put off, until it is told to run it."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Put off."""
        self.calls.append((seconds, call))

    def turn(self) -> None:
        """Run what has been put off by now."""
        calls, self.calls = self.calls, []
        for _, call in calls:
            call()

    def run(self) -> None:
        """Run until nothing is left."""
        turns = 0
        while self.calls:
            turns += 1
            assert turns < 100, "it never ends"
            self.turn()


class Site:
    """A pixel with its journal, loop and connections, all without a socket."""

    def __init__(self, settings: PixelSettings | None = None, limits: Limits | None = None) -> None:
        self.journal, self.loop = FakeJournal(), FakeLoop()
        self.pixel = Pixel(Rules(settings or PixelSettings()), self.journal, self.loop.later, lambda: 7 * SECOND)
        self.roster = Roster(Parser(self.pixel.paths), limits or Limits())

    @property
    def counted(self) -> int:
        """Hits and loads that are in the journal and counted."""
        assert len(self.journal.views) == sum(self.pixel.counted.values())
        return len(self.journal.views)

    def client(self) -> Client:
        """A new connection."""
        return Client(self)


class Client:
    """One connection, from its client's side."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.transport = FakeTransport()
        self.connection = Connection(site.pixel, site.roster)
        self.connection.connection_made(self.transport)

    def feed(self, *chunks: bytes) -> None:
        """Send bytes, without a turn of the loop in between."""
        for chunk in chunks:
            self.connection.data_received(chunk)

    def send(self, *chunks: bytes) -> list[Answer]:
        """Send bytes, let the loop run, and read all answers so far."""
        self.feed(*chunks)
        self.site.loop.run()
        return self.answers

    @property
    def answers(self) -> list[Answer]:
        """All answers so far."""
        return answers(self.transport.written)

    @property
    def statuses(self) -> list[int]:
        """Their statuses."""
        return [answer.status for answer in self.answers]

    @property
    def ended(self) -> bool:
        """Nothing more will be answered."""
        return self.transport.closed or self.transport.eof

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        for _ in range(seconds):
            self.site.roster.sweep()


def request(*fields: bytes, line: bytes = b"GET /count.gif HTTP/1.1", body: bytes = b"", host: bool = True) -> bytes:
    """A request of a line, Host and Referer, `fields`, and a body."""
    usual = (b"Host: a.example", b"Referer: https://a.example/x") if host else (b"Referer: https://a.example/x",)
    return b"\r\n".join((line, *usual, *fields, b"", b"")) + body
