"""Before the first hits are shipped, the store is looked at: does it keep what it is sent?"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.contract import analytics
from tests.engines.plugin import MakeWorkspace
from tests.load import send
from tests.local_server import LocalServer
from tests.meddling import Meddling, add_a_tag, cut, shift
from tests.pixel_server import PixelServer
from tests.stored import HITS, LOADS, hits_by_page, until
from tests.test_shipping import pages, pixel


def health(server: PixelServer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(server.get("/healthz"))
    return found


@pytest.mark.parametrize("engine", ["influxdb-1.8", "influxdb-1.12", "influxdb-2.7", "influxdb-2.9"])
def test_an_ordinary_store_is_looked_at_once_and_nothing_is_left_in_it(
    engine: str, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace = make_workspace(engine)
    with Meddling(workspace.server.url) as proxy:
        seen: list[str] = []
        proxy.lines = lambda lines: [seen.append(line) or line for line in lines]  # type: ignore[func-returns-value]
        for turn in range(2):
            with pixel(tmp_path, workspace, url=proxy.url) as server:
                assert send(server.listen, pages(3)).counted == 3
                until(lambda: server.metrics()["journal_rows"] == 0, "all shipped")
                assert "unknown" not in health(server)
            looked = [line for line in seen if line.startswith("pfa_flux_check")]
            assert len(looked) == 3, turn
    assert hits_by_page(workspace) == {f"/{n}": 2 for n in range(3)}
    with analytics(workspace, time.time_ns()) as made:
        left = made.engine.influxql("SHOW SERIES FROM pfa_flux_check", workspace.raw)  # type: ignore[attr-defined]
        assert made.engine.influxql("SELECT * FROM pfa_flux_check", workspace.raw) == []  # type: ignore[attr-defined]
        assert len(left) <= 1


CUT = "the store does not keep nanoseconds"
TWICE = "the store keeps a re-sent point twice"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "meddle", "words"),
    [
        ("influxdb-1.8", cut, CUT),
        ("influxdb-2.7", add_a_tag, TWICE),
        ("influxdb-1.8", shift, TWICE),
        *(
            pytest.param(engine, meddle, words, marks=pytest.mark.twin)
            for engine, meddle, words in (
                ("influxdb-2.7", cut, CUT),
                ("influxdb-1.8", add_a_tag, TWICE),
                ("influxdb-2.7", shift, TWICE),
            )
        ),
    ],
)
def test_a_store_that_keeps_something_else_gets_no_hit_and_all_say_so(
    engine: str, meddle: Callable[[Meddling], None], words: str, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace = make_workspace(engine)
    with Meddling(workspace.server.url) as proxy, pixel(tmp_path, workspace, url=proxy.url) as server:
        meddle(proxy)
        began = time.monotonic()
        assert send(server.listen, pages(5)).counted == 5
        until(lambda: words in str(health(server).get("wrong")), "the health check knows")
        assert time.monotonic() - began < 15
        assert (server.metrics()["journal_rows"], server.metrics()["shipped_total"]) == (5, 0)
        assert f"hits wait in the spool: {words}" in server.log
        assert "Use a store such as InfluxDB" in server.log
        # Whoever mends it need not start the pixel again.
        proxy.lines = list
        until(lambda: server.metrics()["shipped_total"] == 5, "all shipped")
    assert hits_by_page(workspace) == {f"/{n}": 1 for n in range(5)}


def test_points_that_show_later_are_waited_for(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace("influxdb-2.7")
    with Meddling(workspace.server.url) as proxy, pixel(tmp_path, workspace, url=proxy.url) as server:
        proxy.late = 1.0
        assert send(server.listen, pages(5)).counted == 5
        until(lambda: server.metrics()["shipped_total"] == 5, "all shipped")
        assert "unknown" not in health(server)
        proxy.settle()
    assert hits_by_page(workspace) == {f"/{n}": 1 for n in range(5)}


def test_advice_that_a_busy_store_does_not_give_delays_no_hit(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace("influxdb-1.8")
    with Meddling(workspace.server.url) as proxy:
        proxy.busy_for = "SHOW TAG VALUES CARDINALITY"
        with pixel(tmp_path, workspace, url=proxy.url) as server:
            assert send(server.listen, pages(5)).counted == 5
            until(lambda: server.metrics()["shipped_total"] == 5, "all shipped")
            assert "unknown" not in health(server)
            assert "a check of the store failed: " in server.log
    assert hits_by_page(workspace) == {f"/{n}": 1 for n in range(5)}


def test_a_token_that_may_only_write_leaves_it_unknown_and_ships(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace("influxdb-2.7")
    token = workspace.server.limited_token(write=(workspace.raw,))
    given: dict[str, Any] = {key: value for key, value in workspace.settings().items() if key != "data_dir"}
    with PixelServer(tmp_path, **{**given, "token": token}) as server:
        assert send(server.listen, pages(5)).counted == 5
        until(lambda: server.metrics()["shipped_total"] == 5, "all shipped")
        assert health(server)["unknown"]
        assert "the store could not be tested: " in server.log
        assert "wrong" not in health(server)
    assert hits_by_page(workspace) == {f"/{n}": 1 for n in range(5)}
    assert workspace.client.influxql("SELECT * FROM pfa_flux_check", **database(workspace.raw)) == []


def database(bucket: str) -> dict[str, str]:
    name, _, policy = bucket.partition("/")
    return {"db": name, "rp": policy}


def test_what_cannot_be_asked_is_unknown_and_gets_the_hits(tmp_path: Path) -> None:
    taken: list[bytes] = []

    class Anything(BaseHTTPRequestHandler):
        """As stores are that take line protocol, and are no InfluxDB."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if self.path.startswith("/api/v2/write"):
                taken.append(body)
                self.send_response(204)
            else:
                self.send_response(404)
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with LocalServer(Anything) as other, PixelServer(tmp_path, url=other.url, raw_bucket="b") as server:
        assert send(server.listen, pages(5)).counted == 5
        until(lambda: server.metrics()["shipped_total"] == 5, "all shipped")
        assert "unknown" in health(server)
    assert taken


def test_doctor_and_the_log_tell_types_and_room(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace, now = make_workspace("influxdb-1.8"), time.time_ns()
    workspace.client.write(workspace.raw, [f'{HITS},domain=x count="1" {now - 30 * 86400 * 10**9}'])
    workspace.client.write(workspace.raw, [f"{LOADS},domain=x response_time=1 {now}"])
    with analytics(workspace, now) as made:
        found = {check.name: check for check in made.engine.checks(made.settings)["hits"]()}
    assert {name: (check.status, check.found) for name, check in found.items()} == {
        "type of hits": ("warning", "count: string"),
        "type of loads": ("ok", "response_time: float"),
        "room for sess": ("ok", "0 values of the tag sess"),
        "room for page": ("ok", "0 values of the tag page"),
    }
    with pixel(tmp_path, workspace) as server:
        assert send(server.listen, pages(2)).counted == 2
        until(lambda: server.metrics()["shipped_total"] == 2, "all shipped")
        assert "type of hits: count: string. Shards of that type refuse what pfa-flux writes." in server.log
