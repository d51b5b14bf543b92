"""`pfa-flux demo`: known shares come out again, and nothing is left behind."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from pfa_flux.demo import HOSTS, PageView, page_views, points
from pfa_flux.schema import Schema
from pfa_flux.times import NS
from tests.cli import pfa_flux
from tests.data import DAY, T0
from tests.engines.http import Client
from tests.engines.plugin import Pool


def test_visits_have_one_to_five_pages_and_are_blocked_as_a_whole() -> None:
    views = page_views(T0, days=4, seed=3)
    assert views == sorted(views, key=lambda view: view.time)
    assert all(T0 - 4 * DAY <= view.time < T0 for view in views)
    for host in HOSTS:
        own = [view for view in views if view.host == host]
        share = sum(view.blocked for view in own) / len(own)
        assert abs(share - host.blocked) < 0.08
        # Three pages a visit on average, four days of them.
        assert len(own) == pytest.approx(host.visits_per_day * 4 * 3, rel=0.1)


def test_each_view_is_a_hit_of_its_own_and_a_load_where_nothing_blocks() -> None:
    views = page_views(T0, days=1)
    made = list(points(views, Schema()))
    hits = [p for p in made if p.measurement == "pf_analytics_test_pixel"]
    loads = [p for p in made if p.measurement == "pf_analytics_test"]
    assert (len(hits), len(loads)) == (len(views), sum(not view.blocked for view in views))
    assert len({p.time for p in hits}) == len(hits)
    assert {p.tags["sess"] for p in hits} == {f"{random.Random(1).getrandbits(64):016x}"}
    assert all(abs(hit.time - view.time) < 2 * NS for hit, view in zip(hits, views, strict=True))


def test_the_same_seed_gives_the_same_visits() -> None:
    assert page_views(T0, seed=5) == page_views(T0, seed=5) != page_views(T0, seed=6)
    assert isinstance(page_views(T0)[0], PageView)


def test_the_demo_shows_each_network_with_the_truth_and_leaves_nothing(tmp_path: Path) -> None:
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    done = pfa_flux("demo", env={"HOME": str(home), "TMPDIR": str(temporary), "COLUMNS": "160"}, cwd=home)
    assert done.code == 0, done.err
    for host in HOSTS:
        (row,) = re.findall(rf"^{host.network} .*$", done.out, re.MULTILINE)
        shown = [float(value) for value in re.findall(r"(\d+\.\d) ?%", row)]
        assert shown[-1] == host.blocked * 100
        assert abs(shown[0] - shown[-1]) < 8
        assert host.domain in done.out
    assert "which equal the raw data" in done.err
    assert done.err.endswith("Next, with your own site:\n  pfa-flux init\n  pfa-flux serve\n")
    assert "InfluxDB" not in done.err
    assert list(home.iterdir()) == list(temporary.iterdir()) == []


@pytest.mark.parametrize("engine", ["influxdb-1.8", "influxdb-2.7", "influxdb-2.9", "kapacitor"])
def test_on_a_server_the_demo_has_buckets_of_its_own_and_removes_them(engine: str, pool: Pool) -> None:
    server = pool.get(engine)
    buckets = server.client.buckets()
    done = pfa_flux("demo", env=server.env())
    assert done.code == 0, done.err
    for host in HOSTS:
        assert host.network in done.out
    runs = {"influxdb-1.8": "runner", "kapacitor": "kapacitor"}.get(engine, "influxdb")
    assert f"run by {runs}, and past windows filled" in done.err
    for command in ("pfa-flux install-task --url", "pfa-flux blocked-ratio --url"):
        assert command in done.err
    assert "which equal the raw data" in done.err
    assert server.client.buckets() == buckets
    if engine == "kapacitor":
        tasks = Client(server.kapacitor_url, "", "").json("GET", "/kapacitor/v1/api/v2/tasks")
    else:
        tasks = {} if engine == "influxdb-1.8" else server.client.json("GET", "/api/v2/tasks")
    assert "pfa_flux_demo" not in str(tasks)
