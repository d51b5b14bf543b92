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
    """Limits on clients: times in seconds, and the number of connections.

    Attributes:
        head: from the first byte of a request to its last.
        idle: between two requests. It is longer than a minute, for which nginx keeps a connection open.
        linger: after the last answer of a connection, while the client reads it.
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
        """Called when a request was refused. Its connection ends."""


@dataclass(slots=True)
class Roster:
    """The open connections of a server, with their common parser, limits and counters."""

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
            connection.tick()

    def make_room(self) -> bool:
        """If allowed, end the connection that has been silent longest. Returns whether there is room."""
        idle = [each for each in self.open if each.is_idle] if self.limits.crowded_out else []
        if not idle:
            return False
        max(idle, key=lambda each: each.age).abort()
        return True

    def drain(self) -> None:
        """Accept no further requests."""
        self.draining = True
        for connection in list(self.open):
            connection.end_if_idle()


class Connection(asyncio.BufferedProtocol):
    """The connection of one client: it frames requests, applies limits, and sends answers in the order of requests.

    It is independent of the pixel. Five fields hold its state. Those not listed for a state are empty or false:

    ==============  =======================================  =============================  ==========
    State           Fields                                   It ends with                   Time limit
    ==============  =======================================  =============================  ==========
    idle            none                                     the first byte of a request    `idle`
    in a head       `_buffer`                                the blank line after the head  `head`
    in a body       `_skip`, `_incomplete`                   the last byte of the body      `head`
    answering       `_held`, with any of the fields above    `release`                      none
    last answers    `_held`, `_ending`                       `release`                      none
    lingering       `_ending`                                the client closes              `linger`
    ==============  =======================================  =============================  ==========

    - A request leads from idle or its head, through a body if it has one, to answering if the application calls `hold`,
      and otherwise to idle at once. `_buffer` and `_skip` are never set together.
    - A request that asks to close, a refused request, or any request to a draining server leads to the last answers, or
      without any to lingering. Further bytes are ignored there.
    - `_ending` is also set once the connection is lost or was turned away. `release` then sends nothing.

    Three flags come in addition to the state:

    - `_paused`: too many answers wait. It is set only with `_held`, and `release` clears it.
    - `_choked`: the client does not read its answers. It can occur in any state.
    - `_finished`: the client sends no more. With waiting answers, the connection is in its last answers, and closes
      after them instead of lingering. Without any, it closes at once.

    The transport reads while neither `_paused` nor `_choked` is set.
    """

    __slots__ = (
        "_age",
        "_app",
        "_buffer",
        "_choked",
        "_ending",
        "_finished",
        "_held",
        "_incomplete",
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
        """Bytes of the body that have not arrived."""
        self._incomplete: Request | None = None
        """The request of this body. It is answered once the body has arrived."""
        self._age = 0
        self._held: list[bytes | None] = []
        """Waiting answers in order; None for the reserved place of one."""
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
        """The connection has ended. Its requests still count."""
        del exc
        self._ending = True
        self._buffer, self._incomplete = b"", None
        self._roster.open.discard(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """The buffer into which the transport reads. All connections share it, because each read is processed at once.

        `asyncio.Protocol` would map and unmap a quarter of a megabyte for each read.
        """
        del sizehint
        return self._roster.inbox

    def buffer_updated(self, nbytes: int) -> None:
        """Process the bytes in the buffer."""
        self.data_received(bytes(self._roster.inbox[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Process bytes, and answer every complete request."""
        if self._ending:
            return
        parser = self._roster.parser
        if self._buffer:
            data = self._buffer + data
        elif not self._skip and not self._roster.draining:
            whole = parser.whole(data)
            if whole is not None:
                self._age = 0
                self._app.handle(whole, self)
                return
        try:
            while data:
                if self._skip:
                    cut = min(self._skip, len(data))
                    self._skip -= cut
                    data = data[cut:]
                    if not self._skip and self._incomplete and self._handle(self._incomplete):
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
                    self._skip, self._incomplete = request.length, request
                elif self._handle(request):
                    return
        except RefusedError as error:
            self._app.refused(error.status, error.why)
            self.answer(answer(error.status, close=True))
            self._end()
            return
        if data and not self._buffer:
            self._age = 0
        self._buffer = data

    def _handle(self, request: Request) -> bool:
        """Let the application answer a complete request. Returns whether it was the last one."""
        self._incomplete = None
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
            # If the client is slow to read these answers, reading stays paused until it has read them.
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
        """Seconds since the last of these: a head began, a head was complete, the ending began."""
        return self._age

    def abort(self) -> None:
        """Close at once, without sending waiting answers."""
        self._roster.open.discard(self)
        self._transport.abort()

    def tick(self) -> None:
        """Called every second: close if the state's time limit has passed."""
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
        """Close, unless a request is incomplete or an answer is waiting."""
        if not self._held and not self._buffer and not self._skip:
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
        """The client does not read its answers: pause reading. The time limit still applies."""
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
        # Closing at once with unread bytes would make the kernel reset the connection and lose the answer.
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
