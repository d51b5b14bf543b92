"""From the spool to InfluxDB: every hit arrives once, whatever the server and the network do."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfa_flux import settings
from pfa_flux.journal.spool import Spool, SpoolReader
from pfa_flux.pixel.hit import View
from pfa_flux.pixel.pages import Page
from pfa_flux.tasks.state import late_before
from pfa_flux.windows.spec import TaskSpec
from tests.contract import analytics
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace
from tests.faulty import Faulty
from tests.load import get, send
from tests.original import delta_query
from tests.pixel_server import PixelServer
from tests.stored import HITS, LOADS, hits_by_page, points, total, until

SERVERS = {
    "influxdb-1.8": {},
    "influxdb-1.8 auth": {"auth": True},
    "influxdb-2.7": {},
    "influxdb-2.9": {},
}
both = pytest.mark.parametrize("name", ["influxdb-1.8", "influxdb-2.7"])
every_server = pytest.mark.parametrize("name", SERVERS)
SECOND = 10**9


def workspace_of(name: str, make_workspace: MakeWorkspace) -> Workspace:
    return make_workspace(name.partition(" ")[0], **SERVERS[name])


def pixel(
    folder: Path,
    workspace: Workspace,
    *,
    url: str = "",
    without: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    timeout: int = 2,
    **table: Any,
) -> PixelServer:
    """The pixel on a workspace, or on a proxy before it, `without` some of its settings."""
    given: dict[str, Any] = {
        key: value for key, value in workspace.settings().items() if key not in {"data_dir", "kapacitor_url", *without}
    }
    return PixelServer(
        folder,
        pixel={"max_pages": 100_000, **table},
        environment=environment,
        **{**given, "timeout": timeout, "url": url or given["url"]},
    )


def pages(count: int) -> list[bytes]:
    return [get(f"/{number}") for number in range(count)]


@every_server
def test_hits_arrive_as_points_of_the_original_shape(name: str, make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = workspace_of(name, make_workspace)
    before = time.time_ns() // SECOND * SECOND
    with pixel(tmp_path, workspace) as server:
        assert send(server.listen, [get("/a b,c=d?q=1#f")] * 3 + [get("/", "xyz.onion")]).counted == 4
        until(lambda: total(workspace) == 4, "four hits in the store")
    found = points(workspace)
    assert {frozenset(row) for row in found} == {
        frozenset({"time", "count", "domain", "page", "scheme", "sess", "type"})
    }
    assert sorted((row["domain"], row["page"], row["scheme"], row["type"], row["count"]) for row in found) == [
        ("example.com", "/a%20b,c=d", "https", "pixel", 1),
        ("example.com", "/a%20b,c=d", "https", "pixel", 1),
        ("example.com", "/a%20b,c=d", "https", "pixel", 1),
        ("xyz.onion", "/", "https", "pixel", 1),
    ]
    assert len({row["sess"] for row in found}) == 1
    # To the second: what is left is the place among the hits of that second.
    assert all(row["time"] % SECOND < 10 for row in found)
    assert all(before <= row["time"] <= time.time_ns() for row in found)


def test_hits_whose_pages_are_not_kept_arrive(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace("influxdb-2.7")
    with pixel(tmp_path, workspace, page="off") as server:
        assert send(server.listen, [get("/a"), get("/b"), get("/", "xyz.onion")]).counted == 3
        until(lambda: server.metrics()["journal_rows"] == 0, "an empty spool")
        assert (server.metrics()["shipped_total"], server.metrics()["damaged_hits_total"]) == (3, 0)
    found = points(workspace)
    assert sorted(row["domain"] for row in found) == ["example.com", "example.com", "xyz.onion"]
    assert not any(row.get("page") for row in found)


@both
def test_the_originals_own_query_is_right_on_what_is_written(
    name: str, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace = workspace_of(name, make_workspace)
    now = time.time_ns()
    with pixel(tmp_path, workspace, load_path="/load.gif") as server:
        assert send(server.listen, [get()] * 30 + [get(path="/load.gif")] * 12).counted == 42
        until(lambda: total(workspace) == 30 and len(points(workspace, LOADS)) == 12, "hits and loads in the store")
    (row,) = workspace.client.flux(delta_query(workspace.raw, "example.com", now - 60 * SECOND, now + 60 * SECOND))
    assert row["_value"] == 18
    with analytics(workspace, time.time_ns() + SECOND) as made:
        (answer,) = made.blocked_ratio(["example.com"], start="1h")
        assert (answer.hits, answer.js) == (30, 12)


FAULTS = ("429", "503", "503-date", "500", "401", "404", "cut", "silent", "deaf", "reset")


def through(faults: Sequence[str], workspace: Workspace, folder: Path) -> None:
    """Hits during one fault after the other, each until it was met twice; then all of them are there, once."""
    sent = 0
    with Faulty(workspace.server.url) as proxy, pixel(folder, workspace, url=proxy.url) as server:
        for fault in faults:
            proxy.mode = fault
            assert send(server.listen, pages(100)).counted == 100, fault
            sent += 100
            # Not writes alone: the first request to a server without organisations asks for them.
            until(lambda fault=fault: proxy.seen[fault] >= 2, f"a second attempt at {fault}")  # type: ignore[misc]
            until(lambda: '"shipper": "ok"' not in server.get("/healthz"), f"{fault} is told")
            proxy.mode = "pass"
            until(lambda sent=sent: server.metrics()["shipped_total"] == sent, f"all shipped after {fault}")  # type: ignore[misc]
            assert hits_by_page(workspace) == {f"/{n}": sent // 100 for n in range(100)}, fault
        until(lambda: server.metrics()["journal_rows"] == 0, "an empty spool")
        assert server.metrics()["ship_retries_total"] >= len(faults)
        assert server.metrics()["quarantined"] == 0
    assert "Traceback" not in server.log


def test_every_hit_is_counted_once_whatever_fails(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    through(("503", "cut", "deaf"), make_workspace("influxdb-2.7"), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["influxdb-1.8 auth", "influxdb-2.7"])
def test_every_hit_is_counted_once_through_all_faults(name: str, make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    through(FAULTS, workspace_of(name, make_workspace), tmp_path)


def test_a_server_that_was_down_for_a_while_gets_every_hit(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace("influxdb-2.7")
    with pixel(tmp_path, workspace, url="http://127.0.0.1:9") as server:
        assert send(server.listen, pages(50)).counted == 50
        until(lambda: server.metrics()["shipper_failing"] == 1, "a failure seen")
        until(lambda: server.metrics()["lag_seconds"] > 0, "a lag")
        assert server.metrics()["journal_rows"] == 50
    assert "hits wait in the spool" in server.log
    # What one process left is shipped by the next.
    with pixel(tmp_path, workspace) as server:
        until(lambda: server.metrics()["shipped_total"] == 50, "what was left shipped")
    assert hits_by_page(workspace) == {f"/{n}": 1 for n in range(50)}


def test_what_answers_404_before_the_server_is_up_does_not_hide_its_organisation(
    make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace = make_workspace("influxdb-2.7")
    with (
        Faulty(workspace.server.url, "404") as proxy,
        pixel(tmp_path, workspace, url=proxy.url, without=["org"]) as server,
    ):
        assert send(server.listen, pages(20)).counted == 20
        until(lambda: proxy.seen["404"] >= 3, "a question for organisations, and writes")
        proxy.mode = "pass"
        until(lambda: server.metrics()["shipped_total"] == 20, "all shipped")
        assert server.metrics()["quarantined"] == 0
    assert hits_by_page(workspace) == {f"/{n}": 1 for n in range(20)}


def test_retry_after_is_obeyed(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace("influxdb-2.7")
    with Faulty(workspace.server.url, "429") as proxy, pixel(tmp_path, workspace, url=proxy.url) as server:
        send(server.listen, [get()])
        until(lambda: len(pauses(proxy.times)) >= 2, "three attempts")
    # A second is asked for, and the first pauses would be half a second and less.
    assert min(pauses(proxy.times)) >= 1.0


def pauses(times: list[float]) -> list[float]:
    """Seconds between attempts, each of which may be several requests."""
    return [after - before for before, after in pairwise(times) if after - before > 0.2]


@both
def test_what_the_server_refuses_is_put_by_with_its_words_and_the_rest_arrives(
    name: str, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace = workspace_of(name, make_workspace)
    # The field of hits is a text in the shard of today: every hit of today is refused, and loads are not.
    workspace.client.write(workspace.raw, [f'{HITS},domain=x count="1" {time.time_ns()}'])
    with pixel(tmp_path, workspace, load_path="/load.gif") as server:
        assert send(server.listen, pages(5) + [get(path="/load.gif")] * 4).counted == 9
        until(lambda: server.metrics()["quarantined"] == 5, "refused hits in quarantine")
        until(lambda: server.metrics()["journal_rows"] == 0, "an empty spool")
        assert server.metrics()["refused_points_total"] == 5
    assert len(points(workspace, LOADS)) == 4
    assert "InfluxDB refuses most hits, 5 of the last 9" in server.log
    assert "a field has another type in the store" in server.log
    reader = SpoolReader(server.data_dir)
    kept = reader._connection.execute("SELECT reason, count, lines FROM quarantine").fetchall()
    assert sum(count for _, count, _ in kept) == 5
    assert all("field type conflict" in reason for reason, _, _ in kept)
    lines = sorted(line for _, _, text in kept for line in text.splitlines())
    assert [line.split(",")[2].split(" ")[0] for line in lines] == [f"page=/{n}" for n in range(5)]
    now = time.time_ns()
    assert reader.quarantine.count(now + 6 * 86400 * SECOND) == 5
    assert reader.quarantine.count(now + 8 * 86400 * SECOND) == 0
    reader.close()


@both
def test_one_refused_hit_among_many_is_found(name: str, make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = workspace_of(name, make_workspace)
    now = time.time_ns()
    own = settings.load(workspace.settings(), environ={})
    made = Spool(own.data_dir, "normal", 1 << 30)
    some = [Page(View("hit", "https", "example.com", f"/{n}")) for n in range(400)]
    # A hit of another week's shard, in which the field is a text.
    other = now - 21 * 86400 * SECOND
    workspace.client.write(workspace.raw, [f'{HITS},domain=x count="1" {other}'])
    made.commit(some[:200], now)
    made.commit([Page(View("hit", "https", "example.com", "/odd"))], other)
    made.commit(some[200:], now)
    made.close()
    ship_all(own)
    reader = SpoolReader(own.data_dir)
    assert [row[0] for row in reader._connection.execute("SELECT count FROM quarantine")] == [1]
    reader.close()
    # All hits but the refused one. InfluxQL leaves the text out, as it is of another type than the rest.
    assert hits_by_page(workspace) == {f"/{n}": 1 for n in range(400)}


def ship_all(own: settings.Settings) -> None:
    """Ship what is in a spool, in this process."""
    from pfa_flux.helper.shipper import Shipper
    from pfa_flux.journal.shipped import Shipped

    told: list[int] = []

    def tell(done: Shipped) -> None:
        told.append(done.upto)

    shipper = Shipper(own, SpoolReader(own.data_dir), tell, lambda _: len(told) >= 2)
    shipper.run()
    shipper.close()


@both
def test_loads_take_the_type_that_the_field_has_in_the_store(
    name: str, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace = workspace_of(name, make_workspace)
    workspace.client.write(workspace.raw, [f"{LOADS},domain=x,action=load response_time=12i {time.time_ns()}"])
    with pixel(tmp_path, workspace, load_path="/load.gif") as server:
        assert send(server.listen, [get(path="/load.gif")] * 7 + [get()] * 3).counted == 10
        until(lambda: server.metrics()["shipped_total"] == 10, "all shipped")
        assert server.metrics()["quarantined"] == 0
    found = [row for row in points(workspace, LOADS) if row["domain"] == "example.com"]
    assert [(row["response_time"], row["action"], row["type"], row["page"]) for row in found] == [
        (0, "load", "pageview", "/")
    ] * 7
    assert total(workspace) == 3


@both
def test_windows_that_hits_come_into_late_are_repaired(
    name: str, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace = workspace_of(name, make_workspace)
    now = time.time_ns()
    late = now - 5 * 3600 * SECOND
    own = settings.load(workspace.settings(), environ={})
    with analytics(workspace, now) as made:
        made.task().install()
    spool = Spool(own.data_dir, "normal", 1 << 30)
    spool.commit([Page(View("hit", "https", "example.com", "/late"))] * 3, late)
    spool.commit([Page(View("hit", "https", "example.com", "/now"))], now)
    spool.close()
    ship_all(own)
    with analytics(workspace, now) as made:
        task = made.task()
        width = task.spec.width
        assert task.late_windows() == [late // width * width + width]
        task.repair_all()
        assert task.late_windows() == []
        assert task.verify(now - 86400 * SECOND).clean
    assert sum(row["hitcount"] for row in rollup(workspace)) == 3


@given(st.integers(0, 10**6), st.integers(-5 * 900 * SECOND, 0), st.integers(1, 4))
def test_a_hit_is_noted_as_late_or_the_next_run_reaches_it(seconds: int, before: int, lookback: int) -> None:
    spec = replace(TaskSpec.from_settings(settings.Settings()), lookback=lookback)
    now = 1_800_000_000 * SECOND + seconds * SECOND
    hit = now + before
    # The next run puts together what ends with the next window's end.
    next_run = spec.due(now) + spec.width
    assert (hit < late_before(spec, now)) == (hit < next_run - spec.reach)


def rollup(workspace: Workspace) -> list[dict[str, Any]]:
    database, _, policy = workspace.rollup.partition("/")
    return workspace.client.influxql("SELECT * FROM pf_analytics_pixel", db=database, rp=policy)
