"""Page loads in a bucket of their own: read, downsampled, verified and written there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pfa_flux import Analytics, BucketNotFoundError, Settings, SettingsError, settings
from pfa_flux.doctor.checks import examine
from pfa_flux.schema import Side
from tests.contract import LASTING, Target, analytics, as_line, ordinarily, workspace_of
from tests.data import DAY, HOUR, T0, hit, load
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace
from tests.load import get, send
from tests.pixel_server import PixelServer
from tests.stored import until

HITS = [hit(T0 + n * HOUR, page=f"/{n % 2}") for n in range(20)]
LOADS = [load(T0 + n * HOUR + 5, page=f"/{n % 2}") for n in range(0, 20, 2)]


@contextmanager
def with_loads_elsewhere(workspace: Workspace, now: int) -> Iterator[Analytics]:
    """The library with a bucket for page loads; loads that lie in the raw bucket are none of ours."""
    bucket = f"loads_{workspace.folder.name[-8:]}/autogen"
    with analytics(workspace, now) as made:
        own = replace(made.settings, loads_bucket=bucket)
    if workspace.serverless:
        with Analytics(own, clock=lambda: now) as made:
            made.write([*HITS, *LOADS])
            yield made
        return
    workspace.client.make_bucket(bucket)
    try:
        workspace.client.write(workspace.raw, map(as_line, [*HITS, *(load(T0 + n * HOUR + 9) for n in range(20))]))
        workspace.client.write(bucket, map(as_line, LOADS))
        with Analytics(own, clock=lambda: now) as made:
            yield made
    finally:
        workspace.client.drop_bucket(bucket)


@pytest.mark.parametrize("target", ordinarily(LASTING), ids=str)
def test_loads_are_read_downsampled_and_verified_where_they_are(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    with with_loads_elsewhere(workspace, T0 + 2 * DAY) as made:
        for dialect in ("auto", *made.engine.dialects):
            answer = made.blocked_ratio(start=T0, stop=T0 + DAY, dialect=dialect)
            assert [(row.hits, row.js) for row in answer] == [(20, 10)]
        task = made.task("loads", backend="runner")
        assert task.spec.raw_bucket == made.settings.loads_bucket
        made.task(backend="runner").backfill(T0)
        task.backfill(T0)
        assert task.verify(T0).clean
        assert task.verify(T0).rows == 10
        answer = made.blocked_ratio(start=T0, stop=T0 + DAY, source="rollup")
        assert [(row.hits, row.js, answer.source) for row in answer] == [(20, 10, "rollup")]


@pytest.mark.parametrize("engine", ["influxdb-2.7", "kapacitor"])
def test_a_servers_task_reads_loads_where_they_are(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace, now = make_workspace(engine), time.time_ns() - 3 * HOUR
    with with_loads_elsewhere(workspace, now) as made:
        bucket = made.settings.loads_bucket
        made.engine.write(bucket, [load(now - HOUR, value=1), load(now - HOUR + 1, value=1)])
        done = made.task("loads").install()
        assert done.proof is not None
        assert done.proof.hits == 2
        assert f'from(bucket: "{bucket}"' in made.task("loads").installed().text
        made.task("loads").remove()


def test_doctor_looks_at_the_bucket_of_loads(make_workspace: MakeWorkspace) -> None:
    workspace, now = make_workspace("influxdb-2.7"), time.time_ns()
    with with_loads_elsewhere(workspace, now) as made:
        bucket = made.settings.loads_bucket
        found, _ = examine(made.settings, now)
        assert [(c.status, c.found) for c in found if c.name == "loads bucket"] == [("ok", bucket)]
        reach = [c.found for c in found if c.name == "influxql (DBRP)"]
        assert len(reach) == 2
        assert bucket in reach[1]
        absent = replace(made.settings, loads_bucket="absent/autogen")
        found, _ = examine(absent, now)
        assert [(c.status, c.advice) for c in found if c.name == "loads bucket"] == [
            ("failed", "Set PFA_FLUX_LOADS_BUCKET to the bucket that the analytics writes to.")
        ]
        with Analytics(absent) as other, pytest.raises(BucketNotFoundError, match="absent"):
            other.blocked_ratio(start=T0, stop=T0 + DAY)


def test_the_pixels_own_loads_go_to_their_bucket(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace("influxdb-2.7")
    bucket = f"loads_{workspace.folder.name[-8:]}/autogen"
    workspace.client.make_bucket(bucket)
    values: dict[str, Any] = {**workspace.settings(), "loads_bucket": bucket, "pixel": {"load_path": "/load.gif"}}
    values.pop("data_dir")
    try:
        with PixelServer(tmp_path, **values) as server:
            assert send(server.listen, [get("/a")] * 3 + [get("/a", path="/load.gif")] * 2).counted == 5
            own = settings.load({}, config=server.config, environ={})
            with Analytics(own) as made:
                until(lambda: [(r.hits, r.js) for r in made.blocked_ratio()] == [(3, 2)], "all shipped")
        database, _, policy = bucket.partition("/")
        rows = workspace.client.influxql(
            "SELECT count(response_time) AS n FROM pf_analytics_test", db=database, rp=policy
        )
        assert [row["n"] for row in rows] == [2]
    finally:
        workspace.client.drop_bucket(bucket)


def test_it_is_a_setting_like_the_others(tmp_path: Path) -> None:
    assert Settings().raw_bucket_of(Side.LOADS) == "telegraf/autogen"
    by_environment = settings.load({}, environ={"PFA_FLUX_LOADS_BUCKET": "a/b"}, directory=tmp_path)
    assert (by_environment.loads_bucket, by_environment.raw_buckets) == ("a/b", ("telegraf/autogen", "a/b"))
    with pytest.raises(SettingsError, match="loads_bucket and rollup_bucket are the same"):
        settings.load({"loads_bucket": "websites/analytics"}, environ={}, directory=tmp_path)
