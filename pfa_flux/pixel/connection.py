"""One HTTP connection: it turns bytes into requests for an application, and sends the answers in order."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol, cast

from pfa_flux.pixel.http import MAX_HEAD, MAX_LINE, Parser, RefusedError, Request, answer

_END = b"\r\n\r\n"
_CR = 13
_INBOX = 64 * 1024
"""Bytes per read."""
_MOST_HELD = 256
"""Number of waiting answers at which reading from a connection pauses."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on clients: times in seconds, and their number.

    Attributes:
        head: from the first byte of a request to its last.
        idle: between two requests; longer than the minute for which nginx keeps a connection.
        linger: after the last answer of a connection, so that the client can read it.
        connections: number of open connections.
        crowded_out: at the limit, a new connection replaces the one that has been silent longest.
    """

    head: int = 10
    idle: int = 75
    linger: int = 2
    connections: int = 10_000
    crowded_out: bool = False


class App(Protocol):
    """An application that answers requests."""

    def handle(self, request: Request, connection: Connection) -> None:
        """Answer with `connection.answer`, or reserve the answer's place with `connection.hold`."""

    def refused(self, status: int, why: str) -> None:
        """A request was refused, and its connection is ended."""


@dataclass(slots=True)
class Roster:
    """The open connections of a server, and what they share."""

    parser: Parser
    limits: Limits
    open: set[Connection] = field(default_factory=set)
    inbox: memoryview = field(default_factory=lambda: memoryview(bytearray(_INBOX)))
    timed_out: int = 0
    turned_away: int = 0
    draining: bool = False

    def sweep(self) -> None:
        """Called every second: end connections that take too long."""
        for connection in list(self.open):
            connection.grow_older()

    def make_room(self) -> bool:
        """If allowed, end the connection that has been silent longest. Returns whether there is room."""
        idle = [each for each in self.open if each.is_idle] if self.limits.crowded_out else []
        if not idle:
            return False
        max(idle, key=lambda each: each.age).end()
        return True

    def drain(self) -> None:
        """Accept no further requests."""
        self.draining = True
        for connection in list(self.open):
            connection.end_if_idle()


class Connection(asyncio.BufferedProtocol):
    """Framing, limits, pipelining and the order of answers. Independent of the pixel."""

    __slots__ = (
        "_age",
        "_app",
        "_buffer",
        "_choked",
        "_ending",
        "_finished",
        "_held",
        "_late",
        "_paused",
        "_roster",
        "_skip",
        "_transport",
    )

    def __init__(self, app: App, roster: Roster) -> None:
        self._app, self._roster = app, roster
        self._transport = cast("asyncio.Transport", None)
        self._buffer = b""
        self._skip = 0
        self._late: Request | None = None
        """A request without its complete body; it is answered once the body has arrived."""
        self._age = 0
        self._held: list[bytes | None] = []
        self._ending = False
        self._paused = False
        self._choked = False
        self._finished = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept a client, or refuse it if there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        if len(self._roster.open) >= self._roster.limits.connections and not self._roster.make_room():
            self._roster.turned_away += 1
            self._transport.write(answer(503, close=True))
            self._transport.close()
            self._ending = True
            return
        self._roster.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone; its requests still count."""
        del exc
        self._ending = True
        self._buffer, self._late = b"", None
        self._roster.open.discard(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """The buffer for the transport: one for all connections, because each read is processed at once.

        `asyncio.Protocol` would map and unmap a quarter of a megabyte for each read.
        """
        del sizehint
        return self._roster.inbox

    def buffer_updated(self, nbytes: int) -> None:
        """Process what was read."""
        self.data_received(bytes(self._roster.inbox[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Process bytes, and answer every complete request."""
        if self._ending:
            return
        parser = self._roster.parser
        if self._buffer:
            data = self._buffer + data
        elif not self._skip and not self._roster.draining:
            usual = parser.whole(data)
            if usual is not None:
                self._age = 0
                self._app.handle(usual, self)
                return
        try:
            while data:
                if self._skip:
                    cut = min(self._skip, len(data))
                    self._skip -= cut
                    data = data[cut:]
                    if not self._skip and self._late and self._take(self._late):
                        return
                    continue
                if data[0] == _CR and data[1:2] == b"\n":
                    # An empty line before a request is ignored (RFC 9112, 2.2).
                    data = data[2:]
                    continue
                end = data.find(_END)
                if end < 0 or end > MAX_HEAD:
                    _check_unfinished(data, end)
                    break
                request = parser.head(data[: end + 2])
                data = data[end + 4 :]
                self._age = 0
                if request.length:
                    self._skip, self._late = request.length, request
                elif self._take(request):
                    return
        except RefusedError as error:
            self._app.refused(error.status, error.why)
            self.answer(answer(error.status, close=True))
            self._end()
            return
        if data and not self._buffer:
            self._age = 0
        self._buffer = data

    def _take(self, request: Request) -> bool:
        """Answer a complete request. Returns whether it was the last one."""
        self._late = None
        last = not request.keep_alive or self._roster.draining
        request.keep_alive = not last
        self._app.handle(request, self)
        if last:
            self._end()
        return last

    def answer(self, data: bytes) -> None:
        """Send an answer after the waiting ones."""
        if self._held:
            self._held.append(data)
            self._pause_if_full()
        elif not self._transport.is_closing():
            self._transport.write(data)

    def hold(self) -> bool:
        """Reserve the place of an answer for `release`. Returns whether it is the first waiting one."""
        self._held.append(None)
        if len(self._held) >= _MOST_HELD:
            self._pause_if_full()
        return len(self._held) == 1

    def release(self, data: bytes, last: bytes) -> None:
        """Send waiting answers: `data` in every reserved place, `last` in the one that ends the connection."""
        held, self._held = self._held, []
        if self._transport.is_closing():
            return
        if len(held) == 1 and not self._ending:
            self._transport.write(data)
        else:
            final = len(held) - 1 if self._ending else -1
            self._transport.write(
                b"".join(
                    part if part is not None else last if place == final else data for place, part in enumerate(held)
                )
            )
            if self._ending:
                self._shut()
        if self._paused:
            self._paused = False
            # If the client does not read these answers fast enough, pause reading until it has.
            if not self._choked:
                self._transport.resume_reading()

    def _pause_if_full(self) -> None:
        if len(self._held) >= _MOST_HELD and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    @property
    def is_idle(self) -> bool:
        """No answer is waiting."""
        return not self._held

    @property
    def age(self) -> int:
        """Seconds since the current state began."""
        return self._age

    def end(self) -> None:
        """End it at once."""
        self._roster.open.discard(self)
        self._transport.abort()

    def grow_older(self) -> None:
        """Count one second."""
        limits = self._roster.limits
        self._age += 1
        if self._held:
            return
        if self._ending:
            if self._age > limits.linger:
                self._transport.abort()
        elif self._age > (limits.head if self._buffer or self._skip else limits.idle):
            self._roster.timed_out += bool(self._buffer or self._skip)
            # close() would wait for a client that does not read its answers.
            self._transport.abort()

    def end_if_idle(self) -> None:
        """Close, unless a request is on its way in or out."""
        if not self._held and not self._buffer:
            self._transport.close()

    def eof_received(self) -> bool:
        """The client sends no more: answer its requests, then close the connection.

        Returns whether the transport stays open for the answers.
        """
        self._finished = True
        if self._held and not self._ending:
            self._end()
        return bool(self._held)

    def pause_writing(self) -> None:
        """The client does not read its answers: pause reading, and let the connection age."""
        self._choked = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._choked = False
        if not self._paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def _end(self) -> None:
        """Stop reading; close the connection after its last answer."""
        self._ending = True
        self._buffer = b""
        self._age = 0
        if not self._held:
            self._shut()

    def _shut(self) -> None:
        # If it closed at once with unread bytes, the kernel would reset the connection and lose the answer.
        if not self._finished and not self._transport.is_closing() and self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()


def _check_unfinished(data: bytes, end: int) -> None:
    """Refuse bytes that cannot become a valid head."""
    # A line or head of exactly the maximum length may still lack its end.
    if b"\r\n" not in data[: MAX_LINE + 2]:
        if len(data) >= MAX_LINE + 2:
            raise RefusedError(414, "line")
    elif len(data) >= MAX_HEAD + len(_END) or end > MAX_HEAD:
        raise RefusedError(431, "head")
    if data.count(b"\n") != data.count(b"\r\n") or b"\x00" in data:
        raise RefusedError(400, "control")
