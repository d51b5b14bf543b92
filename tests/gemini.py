"""openGemini as it was measured and as its source has it: a proxy in front of a real InfluxDB 1.8.

It names itself in a header of its own; refuses `DURATION INF`; has no DELETE; calls a measurement without points an
error; shows what was written two seconds after it has confirmed it; and answers in part, without a word, while a node
that holds data is gone. SHOW CLUSTER says which are there. Writes reach the InfluxDB behind it late, so that a reader
waits as it would there.
https://github.com/openGemini/openGemini, lib/metaclient/meta_client_impl.go (buildClusterRows)
"""

from __future__ import annotations

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.engines.http import Client
from tests.faulty import Faulty, _body

DELAY = 2.0
"""Seconds from the answer to a write until its points are shown."""


class Gemini(Faulty):
    """The proxy.

    Attributes:
        lost: hosts of the nodes that hold data and are gone.
        delay: seconds until points are shown.
        lose_after: number of questions after which a node is lost; 0: never.
    """

    def __init__(self, target: str, delay: float = DELAY) -> None:
        super().__init__(target)
        self.lost: set[str] = set()
        self.delay = delay
        self.lose_after = 0
        self.statements: list[str] = []
        self._real = Client(target, "", "")
        self._late: list[threading.Timer] = []

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a request as openGemini does."""
        path, _, _ = request.path.partition("?")
        body = _body(request)
        asked = parse_qs(urlsplit(request.path).query)
        if path == "/api/v2/write":
            self._write(request, body)
        elif path == "/query":
            asked |= parse_qs(body.decode())
            self._query(request, asked["q"][0], {key: values[0] for key, values in asked.items() if key != "q"})
        elif path in {"/ping", "/health"}:
            self._say(request, 204 if path == "/ping" else 404, b"")
        else:
            self._say(request, 404, b"404 page not found\n", "text/plain")

    def _write(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        encoding = {"Content_Encoding": "gzip"} if request.headers.get("Content-Encoding") == "gzip" else {}
        path = request.path

        def really() -> None:
            self._real.request("POST", path, body, **encoding)

        if encoding and self.delay:
            timer = threading.Timer(self.delay, really)
            self._late = [each for each in self._late if each.is_alive()]
            self._late.append(timer)
            timer.start()
        else:
            really()
        self._say(request, 204, b"")

    def _query(self, request: BaseHTTPRequestHandler, text: str, parameters: dict[str, str]) -> None:
        self.statements.append(text)
        if text == "SHOW CLUSTER":
            self._say(request, 200, _result({"series": self._nodes()}))
        elif text.startswith(("DELETE ", "DROP SERIES ")):
            self._say(request, 200, _result({"error": "unsupported command"}))
        elif " INF" in text:
            self._say(request, 400, b'{"error":"error parsing query: found INF, expected duration"}')
        else:
            answer = self._real.json("POST", f"/query?{_encoded({**parameters, 'q': text})}")
            (result,) = answer["results"]
            if text.startswith("SELECT ") and "series" not in result and self._is_unknown(text, parameters):
                result = {"error": "measurement not found"}
            elif self.lost and text.startswith("SELECT "):
                self._lose(result)
            self._say(request, 200, _result(result))
            self._count_down(text)

    def _count_down(self, text: str) -> None:
        if self.lose_after and text.startswith("SELECT "):
            self.lose_after -= 1
            if not self.lose_after:
                self.lost = {"127.0.0.3:8400"}

    def _is_unknown(self, text: str, parameters: dict[str, str]) -> bool:
        """The measurement that is asked for has never had a point."""
        found = re.search(r'FROM (?:"[^"]+"\.){0,2}"((?:[^"\\]|\\.)+)"', text)
        rows = self._real.json("POST", f"/query?{_encoded({**parameters, 'q': 'SHOW MEASUREMENTS'})}")["results"][0]
        known = {value for series in rows.get("series", ()) for (value,) in series["values"]}
        return found is not None and found[1] not in known

    def _lose(self, result: dict[str, Any]) -> None:
        """Leave out what lay on the node that is gone: every second row."""
        for series in result.get("series", ()):
            series["values"] = series["values"][::2]

    def _nodes(self) -> list[dict[str, Any]]:
        hosts = [("meta", f"127.0.0.{n}:8091") for n in (1, 2, 3)] + [("data", f"127.0.0.{n}:8400") for n in (1, 2, 3)]
        rows = [
            [time.time_ns(), "failed" if host in self.lost else "alive", host, number, kind,
             "unavailable" if host in self.lost else "available"]
            for number, (kind, host) in enumerate(hosts, 1)
        ]  # fmt: skip
        columns = ["time", "status", "hostname", "nodeID", "nodeType", "availability"]
        events = ["opId", "eventType", "db", "ptId", "srcNodeId", "dstNodeId", "currState", "preState"]
        return [{"columns": columns, "values": rows}, {"columns": events}]

    def _say(self, request: BaseHTTPRequestHandler, status: int, body: bytes, kind: str = "application/json") -> None:
        request.send_response(status)
        request.send_header("X-Geminidb-Version", "v1.5.2")
        request.send_header("X-Geminidb-Build", "OSS")
        request.send_header("Content-Type", kind)
        if status != 204:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if status != 204:
            request.wfile.write(body)

    def settle(self) -> None:
        """Wait until all that was written is shown."""
        for timer in self._late:
            timer.join()

    def close(self) -> None:
        """Stop, once all is written."""
        self.settle()
        super().close()


def _result(result: dict[str, Any]) -> bytes:
    return json.dumps({"results": [{"statement_id": 0, **result}]}).encode()


def _encoded(parameters: dict[str, str]) -> str:
    from urllib.parse import urlencode

    return urlencode(parameters)
