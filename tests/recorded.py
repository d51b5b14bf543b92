"""Servers that are not at hand, as they answer: taken from their source and documentation, by path and by question."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs

from tests.faulty import Faulty


@dataclass(frozen=True)
class Answer:
    """A status, headers and a body."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Shape:
    """A server: answers by path, to Flux and InfluxQL by a part of the question, and to all the rest."""

    paths: dict[str, Answer] = field(default_factory=dict)
    flux: dict[str, Answer] = field(default_factory=dict)
    influxql: dict[str, Answer] = field(default_factory=dict)
    otherwise: Answer = Answer(404)


def _json(value: Any, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, json.dumps(value), {"Content-Type": "application/json; charset=utf-8", **named})


def _csv(*columns: tuple[str, str]) -> Answer:
    names, values = zip(*columns, strict=True)
    lines = (
        "#datatype,string,long," + ",".join("string" for _ in columns),
        "#group,false,false," + ",".join("false" for _ in columns),
        "#default,_result,," + "," * (len(columns) - 1),
        ",result,table," + ",".join(names),
        ",,0," + ",".join(values),
    )
    return Answer(200, "\r\n".join((*lines, "", "")), {"Content-Type": "text/csv; charset=utf-8"})


def _of_influxdb(version: str) -> dict[str, Any]:
    return {
        "name": "influxdb", "message": "ready for queries and writes", "status": "pass", "checks": [],
        "version": version,
    }  # fmt: skip


def _databases(*names: str) -> Answer:
    series = {"name": "databases", "columns": ["name"], "values": [[name] for name in names]}
    return _json({"results": [{"statement_id": 0, "series": [series]}]})


def _flux_of(version: str, *, join: bool) -> dict[str, Answer]:
    unknown = 'compilation failed: error @2:1-2:14: unknown import path: "join"'
    return {
        'import "join"': _csv(("version", version)) if join else _json({"code": "invalid", "message": unknown}, 400),
        "runtime.version": _csv(("version", version)),
        "to(bucket:": Answer(200, "\r\n", {"Content-Type": "text/csv; charset=utf-8"}),
    }


def influxdb_1(version: str) -> Shape:
    """InfluxDB 1.10 and 1.11 with Flux on (`services/httpd/handler.go`)."""
    return Shape(
        {
            "/ping": Answer(204, "", {"X-Influxdb-Version": version, "X-Influxdb-Build": "OSS"}),
            "/health": _json(_of_influxdb(version)),
        },
        _flux_of("v0.196.1", join=True),
        {"SHOW DATABASES": _databases("telegraf", "websites")},
        Answer(404, "404 page not found\n", {"Content-Type": "text/plain; charset=utf-8"}),
    )


def influxdb_2(version: str, flux: str, headers: dict[str, str]) -> Shape:
    """InfluxDB 2.0 to 2.6 (`http/handler.go`, `http/health.go`, `http/legacy/ping_handler.go`)."""
    old = _json({"code": "invalid", "message": 'error @1:1-1:15: unknown import path: "array"'}, 400)
    questions = _flux_of(flux, join=False) if flux else {"runtime.version": old}
    writes = {"to(bucket:": Answer(200, "\r\n", {"Content-Type": "text/csv; charset=utf-8"})}
    return Shape(
        {
            "/ping": Answer(204, "", headers),
            "/health": _json(_of_influxdb(version)),
            "/api/v2/tasks": _json({"links": {"self": "/api/v2/tasks?limit=1"}, "tasks": []}),
            "/api/v2/orgs": _json({"orgs": [{"id": "0000000000000001", "name": "my-org"}]}),
        },
        {**questions, **writes},
    )


INFLUXDB_3 = Shape(
    {
        "/ping": _json(
            {"product_name": "InfluxDB 3 Core", "version": "3.9.1", "revision": "abc1234567", "process_id": "0f"},
            X_Influxdb_Version="3.9.1",
            X_Influxdb_Build="Core",
            cluster_uuid="4d6e",
        ),
        "/health": Answer(200, "OK", {"Content-Type": "text/plain; charset=utf-8"}),
        "/api/v3/query_influxql": Answer(400, "missing query parameters 'db' and 'q'"),
        "/api/v2/write": Answer(204),
    },
    influxql={
        "SHOW DATABASES": _json(
            {
                "results": [
                    {
                        "statement_id": 0,
                        "series": [
                            {
                                "name": "databases",
                                "columns": ["iox::database", "deleted"],
                                "values": [["telegraf/autogen", False]],
                            }
                        ],
                    }
                ]
            }
        )
    },
    otherwise=Answer(404, "not found"),
)
"""`influxdb3_server/src/http.rs` and its tests."""
INFLUXDB_3_WITHOUT_TOKEN = Shape(otherwise=Answer(401, "", {"cluster-uuid": "4d6e"}))
INFLUXDB_3_BEHIND_A_PROXY = Shape(
    {**INFLUXDB_3.paths, "/ping": Answer(200, INFLUXDB_3.paths["/ping"].body)},
    influxql=INFLUXDB_3.influxql,
    otherwise=INFLUXDB_3.otherwise,
)
OLDER_INFLUXDB_3 = Shape(
    {
        **INFLUXDB_3.paths,
        "/ping": _json({"version": "3.0.0", "revision": "abc1234567"}, X_Influxdb_Version="3.0.0"),
    },
    influxql=INFLUXDB_3.influxql,
    otherwise=INFLUXDB_3.otherwise,
)
QUESTDB = Shape(
    {
        "/ping": Answer(204, "", {"Server": "questDB/1.0", "X-Influxdb-Version": "v2.7.4"}),
        "/exec": _json(
            {
                "query": "select build()",
                "columns": [{"name": "build", "type": "STRING"}],
                "timestamp": -1,
                "dataset": [["Build Information: QuestDB 8.2.1, JDK 17.0.11, Commit Hash 0"]],
                "count": 1,
            }
        ),
        "/api/v2/write": Answer(204, "", {"Server": "questDB/1.0"}),
    },
    otherwise=Answer(404, "Not Found\r\n", {"Server": "questDB/1.0", "Content-Type": "text/plain; charset=utf-8"}),
)
"""https://questdb.com/docs/reference/api/ilp/overview/ and https://questdb.com/docs/reference/api/rest/."""
QUESTDB_BEHIND_A_PROXY = Shape(
    {**QUESTDB.paths, "/ping": Answer(204, "", {"Server": "nginx"}), "/api/v2/write": Answer(204)},
    otherwise=Answer(404, "Not Found\r\n"),
)
_VICTORIA = {"X-Server-Hostname": "vm-1"}
VICTORIAMETRICS = Shape(
    {
        "/ping": Answer(204, "", _VICTORIA),
        "/health": Answer(200, "OK", {"Content-Type": "text/plain; charset=utf-8", **_VICTORIA}),
        "/-/healthy": Answer(200, "VictoriaMetrics is Healthy.\n", _VICTORIA),
        "/api/v2/write": Answer(204, "", {"X-Influxdb-Version": "1.8.0", **_VICTORIA}),
        # Whatever is asked.
        "/query": _databases("_internal"),
    },
    otherwise=Answer(400, 'unsupported path requested: "/api/v2/tasks"\n', _VICTORIA),
)
"""`lib/httpserver`, `lib/influxutils` and `app/vminsert` of VictoriaMetrics."""
VICTORIAMETRICS_BEHIND_A_PROXY = Shape(
    {path: Answer(each.status, each.body) for path, each in VICTORIAMETRICS.paths.items()},
    otherwise=Answer(400, VICTORIAMETRICS.otherwise.body),
)
LOGIN_PAGE = Shape(
    otherwise=Answer(
        200,
        "<!doctype html><html><head><title>Log in</title></head><body><form></form></body></html>",
        {"Content-Type": "text/html; charset=utf-8"},
    )
)
EMPTY = Shape(otherwise=Answer(200))


class Recorded(Faulty):
    """A server of a shape.

    Attributes:
        asked: method and path of each request.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__("")
        self.shape, self.asked = shape, list[str]()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Answer as the shape says."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        path = request.path.partition("?")[0]
        self.asked.append(f"{request.command} {path}")
        answer = self._of(path, body)
        request.send_response_only(answer.status)
        for name, value in answer.headers.items():
            request.send_header(name, value)
        data = answer.body.encode()
        if answer.status != 204:
            request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def _of(self, path: str, body: bytes) -> Answer:
        questions: dict[str, Answer] = {}
        if path == "/query":
            text, questions = parse_qs(body.decode()).get("q", [""])[0], self.shape.influxql
        elif path == "/api/v2/query":
            text, questions = json.loads(body)["query"], self.shape.flux
        found = (answer for part, answer in questions.items() if part in text)
        return next(found, self.shape.paths.get(path, self.shape.otherwise))
