"""A proxy in front of a real InfluxDB that enforces a rate limit on writes, as InfluxDB Cloud does.

Cloud counts the bytes of each five minutes, and answers 429 with Retry-After, in seconds, once they are too many. This
counts points, and saves up some for a burst: a write is taken in while anything of that is left.
https://docs.influxdata.com/influxdb/cloud/account-management/limits/
"""

from __future__ import annotations

import gzip
import io
import math
import re
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple

from tests.faulty import Faulty

_SESS = re.compile(rb",sess=([0-9a-f]{16}),")


class Write(NamedTuple):
    """A write of points, as it was asked for.

    Attributes:
        at: when, seconds.
        who: the `sess` of its points, of which a pixel has one.
        points: their number.
        wait: seconds that the writer was asked to wait for; 0: it was taken in.
    """

    at: float
    who: bytes
    points: int
    wait: int


class Limiter(Faulty):
    """The proxy: `rate` points a second, `burst` of them saved up at most."""

    def __init__(self, target: str, rate: float, burst: float) -> None:
        super().__init__(target)
        self.writes: list[Write] = []
        self._rate, self._burst = rate, burst
        self._left, self._filled = burst, time.monotonic()
        self._lock = threading.Lock()

    @property
    def refused(self) -> list[Write]:
        """Writes that were too much."""
        return [write for write in self.writes if write.wait]

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Hand a request on, or refuse it."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        plain = gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body
        senders = set(_SESS.findall(plain))
        assert len(senders) <= 1, "a pixel that was started once writes with one sess"
        wait = self._asked_to_wait(senders.pop(), len(plain.splitlines())) if senders else 0
        if wait:
            self._too_many(request, wait)
            return
        stream, request.rfile = request.rfile, io.BufferedReader(io.BytesIO(body))
        super().handle(request)
        request.rfile = stream

    def _asked_to_wait(self, who: bytes, points: int) -> int:
        with self._lock:
            now = time.monotonic()
            self._left = min(self._burst, self._left + (now - self._filled) * self._rate)
            self._filled = now
            wait = 0 if self._left > 0 else math.floor(-self._left / self._rate) + 1
            if not wait:
                self._left -= points
            self.writes.append(Write(now, who, points, wait))
            return wait

    def _too_many(self, request: BaseHTTPRequestHandler, wait: int) -> None:
        words = b'{"code":"too many requests","message":"org has exceeded its write limit"}'
        request.send_response(429)
        request.send_header("Retry-After", str(wait))
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(words)))
        request.end_headers()
        request.wfile.write(words)
