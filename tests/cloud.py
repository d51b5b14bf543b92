"""InfluxDB Cloud as its documents and its users describe it: a proxy in front of a real InfluxDB 2.

Its answers name no version; it answers 429 with Retry-After once a plan's queries or writes of five minutes are used
up; a plan has two buckets, and keeps points for 30 days at most.
https://docs.influxdata.com/influxdb/cloud/account-management/limits/ · community-templates#227 · influxdb#18285
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler

import urllib3

from tests.faulty import Faulty

_DAYS = 30 * 86400


class Cloud(Faulty):
    """The proxy.

    Attributes:
        refusals: of the next requests by their path, how many are to be refused, and for how many seconds.
        buckets: how many further buckets the plan has room for.
    """

    def __init__(self, target: str, buckets: int = 0) -> None:
        self.refusals: dict[str, tuple[int, int]] = {}
        self.buckets = buckets
        self._guard = threading.Lock()
        super().__init__(target)

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Hand a request on, or refuse it."""
        path = request.path.partition("?")[0]
        with self._guard:
            left, seconds = self.refusals.get(path, (0, 0))
            if left:
                self.refusals[path] = left - 1, seconds
        if left:
            request.rfile.read(int(request.headers.get("Content-Length") or 0))
            words = "org 0123 has exceeded its limit of queries" if "query" in path else "write limit reached"
            self._say(request, 429, "too many requests", words, {"Retry-After": str(seconds)})
        elif (request.command, path) == ("POST", "/api/v2/buckets"):
            body = json.loads(request.rfile.read(int(request.headers.get("Content-Length") or 0)))
            rules = body.get("retentionRules") or [{}]
            if not self.buckets:
                self._say(request, 403, "forbidden", "creating bucket would exceed quota")
            elif not 0 < rules[0].get("everySeconds", 0) <= _DAYS:
                self._say(request, 403, "forbidden", "retention period exceeds the limit of 720h0m0s")
            else:
                raise AssertionError("a bucket that the plan allows: pfa-flux asks for none")
        else:
            super().handle(request)

    def headers_of(self, answer: urllib3.BaseHTTPResponse) -> Mapping[str, str]:
        """Those of the answer, without its version."""
        kept = {name: value for name, value in answer.headers.items() if name.lower() != "x-influxdb-version"}
        return {**kept, "X-Influxdb-Build": "Cloud"}

    def _say(
        self,
        request: BaseHTTPRequestHandler,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        words = json.dumps({"code": code, "message": message}).encode()
        request.send_response(status)
        for name, value in {"X-Influxdb-Build": "Cloud", **(headers or {})}.items():
            request.send_header(name, value)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(words)))
        request.end_headers()
        request.wfile.write(words)
