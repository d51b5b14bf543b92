"""A proxy on loopback in front of a real server, which fails in the ways that servers and networks fail."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any

import urllib3

from tests.local_server import LocalServer

_HOP = {"connection", "transfer-encoding", "content-length", "host"}


class Faulty(LocalServer):
    """The proxy. Set `mode` at any time.

    - `pass`: forward every request.
    - `429`, `503`, `503-date`: answer that the server is busy, with Retry-After in seconds or as a date.
    - `500`, `401`, `404`: answer with this status.
    - `cut`: forward the request, and cut its answer.
    - `silent`: forward the request, and send no answer.
    - `deaf`: read the request, and do nothing.
    - `reset`: reset the connection at once.

    Attributes:
        seen: number of requests in each mode.
        times: times of the requests, by the monotonic clock.
        paths: requested paths with their parameters.
    """

    def __init__(self, target: str, mode: str = "pass") -> None:
        self.mode = mode
        self.seen: Counter[str] = Counter()
        self.times: list[float] = []
        self.paths: list[str] = []
        self.closing = threading.Event()
        self._pool = urllib3.PoolManager(retries=False)
        self._target = target
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Heads and bodies are written apart, and would wait for each other.
            disable_nagle_algorithm = True

            def _any(self) -> None:
                proxy.handle(self)

            do_GET = do_POST = do_HEAD = do_PATCH = do_DELETE = _any  # noqa: N815 - the names are the library's

            def log_message(self, *_: Any) -> None:
                """Nothing is logged."""

        super().__init__(Handler)

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Handle a request according to the mode."""
        body = _body(request)
        mode = self.mode
        self.seen[mode] += 1
        self.times.append(time.monotonic())
        self.paths.append(request.path)
        if mode in {"429", "503", "503-date", "500", "401", "404"}:
            self._refuse(request, mode)
        elif mode == "deaf":
            self._hold(request)
        elif mode == "reset":
            linger = struct.pack("ii", 1, 0)
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            request.close_connection = True
        else:
            answer = self._pool.request(
                request.command,
                f"{self._target}{request.path}",
                body=body,
                headers={name: value for name, value in request.headers.items() if name.lower() not in _HOP},
                decode_content=False,
                preload_content=False,
            )
            self._answer(request, mode, answer)

    def _answer(self, request: BaseHTTPRequestHandler, mode: str, answer: urllib3.BaseHTTPResponse) -> None:
        data = answer.read()
        if mode == "silent":
            self._hold(request)
            return
        request.send_response(answer.status)
        for name, value in self.headers_of(answer).items():
            if name.lower() not in _HOP:
                request.send_header(name, value)
        # An answer without a body is cut within its head.
        request.send_header("Content-Length", str(len(data)))
        if mode == "cut":
            request._headers_buffer.clear()  # type: ignore[attr-defined]
            request.wfile.write(b"HTTP/1.1 2")
            request.close_connection = True
            return
        request.end_headers()
        request.wfile.write(data)

    def headers_of(self, answer: urllib3.BaseHTTPResponse) -> Mapping[str, str]:
        """Headers to answer with."""
        return answer.headers

    def _refuse(self, request: BaseHTTPRequestHandler, mode: str) -> None:
        words = b'{"code":"refused","message":"as the test wants it"}'
        request.send_response(int(mode[:3]))
        if mode in {"429", "503"}:
            request.send_header("Retry-After", "1")
        elif mode == "503-date":
            stamp = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 2))
            request.send_header("Retry-After", stamp)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(words)))
        request.end_headers()
        request.wfile.write(words)

    def _hold(self, request: BaseHTTPRequestHandler) -> None:
        """Give no answer until the client has had enough."""
        while not self.closing.wait(0.05):
            if request.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":
                break
        request.close_connection = True

    def close(self) -> None:
        """Stop."""
        self.closing.set()
        super().close()
        self._pool.clear()


def _body(request: BaseHTTPRequestHandler) -> bytes:
    """What is sent with a request, in chunks or at once."""
    if request.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    body = b""
    while size := int(request.rfile.readline(), 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body
