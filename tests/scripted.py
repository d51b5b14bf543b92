"""A connection whose application answers as its script says, and requests to feed it."""

from __future__ import annotations

from pfa_flux.pixel.connection import Connection, Limits, Roster
from pfa_flux.pixel.http import Parser, Request
from tests.socketless import FakeTransport, request

CLOSE = request(b"Connection: close")
OTHER = b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n"
BAD = b"GET / HTTP/1.1\nHost: a\r\n\r\n"
PREFETCH = request(b"Purpose: prefetch")


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
