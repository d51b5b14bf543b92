"""A proxy in front of a real InfluxDB that behaves as other stores do which speak its protocol."""

from __future__ import annotations

import gzip
import io
import json
import threading
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs

import urllib3

from tests.faulty import Faulty

Lines = list[str]
_LEFT_OUT = {"accept-encoding", "content-encoding", "content-length", "connection", "host", "transfer-encoding"}


class Meddling(Faulty):
    """The proxy. What is not set goes through as it is.

    Attributes:
        late: seconds by which a write is forwarded after its 204.
        lines: what becomes of the lines of a write.
        answers: what becomes of the answer to a SELECT: its text for its parsed JSON.
        no_delete: status with which a DELETE is refused; 204: it is said to be done, and is not.
        denies_writes: a write is refused as that of a token without the right.
        busy_for: what statements begin with that are refused because the server is busy.
    """

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.late = 0.0
        self.lines: Callable[[Lines], Lines] = list
        self.answers: Callable[[Any], str] | None = None
        self.no_delete = 0
        self.denies_writes = False
        self.busy_for = ""
        self._timers: list[threading.Timer] = []

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Meddle with a request, or hand it on."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        path = request.path.partition("?")[0]
        statement = parse_qs(body.decode()).get("q", [""])[0] if path == "/query" else ""
        if path == "/api/v2/write" and self.denies_writes:
            self._reply(request, 403, b'{"code":"forbidden","message":"insufficient permissions for write"}')
        elif path == "/api/v2/write":
            self._write(request, body)
        elif self.no_delete and (path == "/api/v2/delete" or statement.startswith("DELETE")):
            said = b"" if self.no_delete == 204 else b'{"error":"unsupported command","message":"unsupported command"}'
            self._reply(request, self.no_delete, said)
        elif self.busy_for and statement.startswith(self.busy_for):
            self._reply(request, 503, b'{"error":"timeout"}')
        elif self.answers is not None and statement.startswith("SELECT"):
            answer = self._forward(request, body)
            self._reply(request, answer.status, self.answers(json.loads(answer.data)).encode())
        else:
            stream, request.rfile = request.rfile, io.BufferedReader(io.BytesIO(body))
            super().handle(request)
            request.rfile = stream

    def _write(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        plain = gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body
        made = "\n".join(self.lines(plain.decode().split("\n"))).encode()
        if self.late and not plain.startswith(b"#"):
            timer = threading.Timer(self.late, self._prepared(request, made))
            self._timers.append(timer)
            timer.start()
            self._reply(request, 204, b"")
            return
        answer = self._forward(request, made)
        self._reply(request, answer.status, answer.data)

    def _forward(self, request: BaseHTTPRequestHandler, body: bytes) -> urllib3.BaseHTTPResponse:
        return self._prepared(request, body)()

    def _prepared(self, request: BaseHTTPRequestHandler, body: bytes) -> Callable[[], urllib3.BaseHTTPResponse]:
        """The request as it is now, to be sent at any time: its connection goes on to others."""
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _LEFT_OUT}
        return partial(self._pool.request, request.command, f"{self._target}{request.path}", body=body, headers=headers)

    def _reply(self, request: BaseHTTPRequestHandler, status: int, data: bytes) -> None:
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def settle(self) -> None:
        """Wait until every write that was put off is forwarded."""
        for timer in self._timers:
            timer.join()

    def close(self) -> None:
        """Stop, once every write is forwarded."""
        self.settle()
        super().close()


def to_microseconds(lines: Lines) -> Lines:
    """Times cut to microseconds, as QuestDB keeps them."""
    return [_timed(line, lambda time: time // 1000 * 1000) for line in lines]


def _timed(line: str, change: Callable[[int], int]) -> str:
    point, _, time = line.rpartition(" ")
    return f"{point} {change(int(time))}" if time.isdigit() else line


class Doubles:
    """A line that was sent before is another point, as in stores that append."""

    def __init__(self, change: Callable[[str], str]) -> None:
        self._change, self._seen = change, set[str]()

    def __call__(self, lines: Lines) -> Lines:
        """Lines, those that were sent before changed."""
        made = [self._change(line) if line in self._seen else line for line in lines]
        self._seen.update(lines)
        return made


def with_a_tag(line: str) -> str:
    """The line as a point of another series."""
    head, _, rest = line.partition(" ")
    return f"{head},zz_copy=1 {rest}"


def a_nanosecond_later(line: str) -> str:
    """The line as a point of another time; one later than the points 1 ns apart that are sent together."""
    return _timed(line, lambda time: time + 5)


def cut(proxy: Meddling) -> None:
    """Times lose their nanoseconds."""
    proxy.lines = to_microseconds


def add_a_tag(proxy: Meddling) -> None:
    """A point that is sent again is kept twice, under a further tag."""
    proxy.lines = Doubles(with_a_tag)


def shift(proxy: Meddling) -> None:
    """A point that is sent again is kept twice, a nanosecond later."""
    proxy.lines = Doubles(a_nanosecond_later)
