"""What a store does with points is measured where a task is installed, remembered, and waited for."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest

from pfa_flux import AccessDeniedError, Analytics, CapabilityError, Point, StoreCheck, TaskError
from pfa_flux.doctor.checks import examine
from pfa_flux.engines.ask import Rows
from pfa_flux.engines.base import Check
from pfa_flux.settings import Secret
from pfa_flux.windows.store_check import MEASUREMENT, check_store, remembered, wait_until_visible
from tests import memory_engine
from tests.cli import pfa_flux
from tests.contract import TASKS, analytics, every_backend, fill, rarely, task_workspace
from tests.data import DAY, HOUR, hit
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace
from tests.meddling import Meddling, add_a_tag, cut, shift
from tests.windows import now, remove

SECOND = 10**9
servers = pytest.mark.parametrize("engine", ["influxdb-2.7", "influxdb-1.8"])
"""Each deletes, and answers, in a way of its own."""


@contextmanager
def meddled(workspace: Workspace) -> Iterator[Meddling]:
    """A proxy in front of the workspace's server, through which pfa-flux reaches it."""
    url = workspace.server.url
    with Meddling(url) as proxy:
        workspace.server.url = proxy.url
        try:
            yield proxy
        finally:
            workspace.server.url = url


def check_rows(made: Analytics) -> list[Any]:
    """All rows of the measurement that we measure with."""
    return made.engine.rows(Rows(made.settings.rollup_bucket, MEASUREMENT, "value"), 0, 2 * time.time_ns())


def doctors(made: Analytics, **changes: Any) -> Check:
    """What doctor says of the store."""
    checks, error = examine(replace(made.settings, **changes), time.time_ns())
    assert error is None
    return next(check for check in checks if check.name == "store")


@every_backend
def test_an_ordinary_store_is_measured_as_it_is_installed_and_other_machines_see_it(
    runs: str, make_workspace: MakeWorkspace
) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    with analytics(workspace, at) as made:
        assert remembered(made.engine, made.settings.rollup_bucket) is None
        fill(workspace, at, [hit(at - HOUR)])
        found = made.task().install().store
        if TASKS[runs][0] == "embedded":
            # A file that this process writes is known, and nothing is left in it.
            assert (found, check_rows(made)) == (None, [])
            assert made.engine.capabilities.in_process
            return
        assert found is not None
        assert (found.nanoseconds, found.idempotent, found.delay, found.deletes) == (True, True, 0.0, True)
        assert abs(found.skew) <= 1
        assert abs(found.at - time.time_ns()) < 60 * SECOND
        assert (found.faults, found.remarks) == ((), ())
        # What was measured with is gone; what was found is there, and nothing else was touched.
        assert {row.tags.get("what") for row in check_rows(made)} == {
            "nanoseconds", "idempotent", "delay", "deletes", "skew", "at",
        }  # fmt: skip
        assert made.task().verify(at - DAY).clean
        remove(made)
    with analytics(workspace, at) as elsewhere:
        there = remembered(elsewhere.engine, elsewhere.settings.rollup_bucket)
        assert there == replace(found, at=found.at // SECOND * SECOND)


@servers
def test_what_is_remembered_takes_the_place_of_what_was(engine: str, make_workspace: MakeWorkspace) -> None:
    with analytics(make_workspace(engine), now()) as made:
        bucket = made.settings.rollup_bucket
        for _ in range(2):
            last = check_store(made.engine, bucket)
            assert remembered(made.engine, bucket) == last
            assert len(check_rows(made)) == 6


def test_a_bucket_that_influxql_cannot_reach_is_measured_in_flux(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-2.7")
    database, _, policy = workspace.rollup.partition("/")
    mapping = {"database": database, "retention_policy": policy, "default": True, "org": workspace.server.org}
    # A mapping made by hand takes the bucket's own name from it.
    workspace.client.json("POST", "/api/v2/dbrps", {**mapping, "bucketID": workspace.client.bucket_id(workspace.raw)})
    with analytics(workspace, now()) as made:
        with pytest.raises(CapabilityError):
            made.engine.database_of(workspace.rollup)  # type: ignore[attr-defined]
        found = check_store(made.engine, workspace.rollup)
        assert (found.nanoseconds, found.idempotent, found.deletes) == (True, True, True)
        assert remembered(made.engine, workspace.rollup) == found
        assert len(check_rows(made)) == 6
        moment = now() // SECOND * SECOND + 1
        made.engine.write(workspace.rollup, [Point("m", {}, "value", 1, moment)])
        rows = Rows(workspace.rollup, "m", "value")
        assert [row.time for row in made.engine.rows(rows, 0, 2 * moment)] == [moment]
        assert made.engine.edge(rows, "last", 0, 2 * moment, {}) == moment


# How long 1.8 takes is measured below, and waiting for it is the same on every server.
@pytest.mark.slow
@pytest.mark.parametrize("engine", [pytest.param("influxdb-1.8", marks=pytest.mark.twin), "influxdb-2.7"])
def test_a_store_that_shows_points_later_is_waited_for(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = make_workspace(engine, backend="runner"), now()
    fill(workspace, at, [hit(at - HOUR)])
    with meddled(workspace) as proxy, analytics(workspace, at) as made:
        fill(workspace, at, [hit(at - 2 * HOUR)])
        task = made.task()
        task.backend.create()
        task.run()
        proxy.late = 2.0
        # Nothing is known of the store yet: right after a write, all looks equal.
        made.write([hit(at - HOUR + 1), hit(at - HOUR + 2)])
        assert task.verify(at - DAY).clean
        proxy.settle()
        assert task.verify(at - DAY).count == 1
        assert task.repair(at - DAY)[0].count == 1
        proxy.settle()
        assert task.verify(at - DAY).clean

        task.remove()
        store = task.install().store
        assert store is not None
        assert 2.0 <= store.delay <= 2.5
        assert (store.nanoseconds, store.idempotent, store.deletes) == (True, True, True)
        # Now it is waited for: the difference is found, and repaired windows are compared when they can be read.
        made.write([hit(at - HOUR + 3), hit(at - HOUR + 4)])
        began = time.monotonic()
        assert task.verify(at - DAY).count == 1
        assert time.monotonic() - began >= 2.0
        before, after = task.repair(at - DAY)
        assert (before.count, after.count) == (1, 0)
        (difference,) = before.differences
        assert (difference.raw, difference.rollup) == (5, 3)
        assert re.search(r"shows points after 2\.[0-5] s", doctors(made).found)


@pytest.mark.slow
@pytest.mark.parametrize("engine", rarely(["influxdb-1.8", "influxdb-2.7"], but="influxdb-2.7"))
def test_the_command_says_how_long_the_store_takes(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(engine, backend="runner")
    with meddled(workspace) as proxy:
        proxy.late = 0.5
        done = pfa_flux("install-task", "--backend", "runner", env=workspace.env())
        assert done.code == 0
        assert "s after it confirms them. Proofs, verify and repair wait" in done.err


@servers
@pytest.mark.parametrize(
    ("meddle", "words", "hint"),
    [
        (cut, "the store does not keep nanoseconds", "Hits of one second differ only in nanoseconds"),
        (add_a_tag, "the store keeps a re-sent point twice", "Both would count twice"),
        (shift, "the store keeps a re-sent point twice", "Both would count twice"),
    ],
)
def test_a_store_that_figures_would_be_wrong_from_is_refused_before_anything_is_installed(
    engine: str, meddle: Callable[[Meddling], None], words: str, hint: str, make_workspace: MakeWorkspace
) -> None:
    workspace, at = make_workspace(engine), now()
    workspace.client.drop_bucket(workspace.rollup)
    with meddled(workspace) as proxy, analytics(workspace, at) as made:
        meddle(proxy)
        task = made.task()
        with pytest.raises(TaskError, match=f"{words}.*; nothing was installed") as caught:
            task.install(create_bucket=True)
        assert hint in caught.value.hint
        assert task.backend.find() == []
        # The bucket that was made for it is gone, too.
        assert workspace.rollup not in workspace.client.buckets()
        made.engine.create_bucket(workspace.rollup)
        row = doctors(made)
        assert (row.status, hint in row.advice) == ("failed", True)


@pytest.mark.parametrize(
    ("engine", "status"), [("influxdb-2.7", 400), ("influxdb-2.7", 404), ("influxdb-1.8", 400), ("influxdb-2.7", 204)]
)
def test_a_store_that_deletes_nothing_is_warned_of_and_measured_once_a_day(
    engine: str, status: int, make_workspace: MakeWorkspace
) -> None:
    workspace, at = make_workspace(engine), now()
    with meddled(workspace) as proxy, analytics(workspace, at) as made:
        proxy.no_delete = status
        store = made.task().install().store
        assert store is not None
        assert (store.nanoseconds, store.idempotent, store.deletes) == (True, True, False)
        assert [words for words, _ in store.remarks] == ["the store does not delete points"]
        row = doctors(made)
        assert (row.status, "does not delete" in row.found) == ("warning", True)
        assert "task verify --repair writes 0 into rows" in row.advice
        # And so it does, whatever the answer to a DELETE is.
        spec, day = made.task().spec, at // DAY * DAY
        tags = {"domain": "example.com", "page": "/", "scheme": "https"}
        made.write([hit(day - DAY)])
        stray = Point(spec.measurement, {**tags, "host": "h"}, spec.field, 7, day - DAY + 900 * SECOND)
        made.engine.write(spec.rollup_bucket, [stray])
        assert made.task().repair(day - DAY, day)[1].clean
        values = sorted((row.tags.get("host", ""), row.value) for row in made.engine.rows(spec.rollup, day - DAY, day))
        assert values == [("", 1), ("h", 0)]
        # The two that were measured with stay; doctor adds none today.
        assert len([row for row in check_rows(made) if "run" in row.tags]) == 2
        remove(made)


def test_a_clock_that_is_off_is_told(make_workspace: MakeWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with analytics(make_workspace("influxdb-2.7"), now()) as made:
        bucket = made.settings.rollup_bucket
        ahead = int(time.time()) + 600
        request = made.engine.transport.request  # type: ignore[attr-defined]

        def dated(method: str, path: str, **more: Any) -> Any:
            answer = request(method, path, **more)
            dates = {"Date": formatdate(ahead, usegmt=True)} if path == "/ping" else {}
            return replace(answer, headers={**answer.headers, **dates})

        monkeypatch.setattr(made.engine.transport, "request", dated)  # type: ignore[attr-defined]
        found = check_store(made.engine, bucket)
        assert 598 <= found.skew <= 600
        (remark,) = found.remarks
        assert remark[0].startswith("the server's clock is ")
        assert remark[0].endswith(" ahead of this machine's")


def test_doctor_shows_a_reader_what_is_remembered(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-2.7")
    reader = Secret(workspace.server.limited_token(read=(workspace.raw, workspace.rollup)))
    with analytics(workspace, now()) as made:
        row = doctors(made, token=reader)
        assert (row.status, row.found) == ("skipped", "unknown: never measured, and the token cannot write")
        with Analytics(replace(made.settings, token=reader)) as other, pytest.raises(AccessDeniedError):
            check_store(other.engine, workspace.rollup)
        assert check_rows(made) == []
        measured = doctors(made)
        assert measured.status == "ok"
        assert measured.found.startswith("keeps nanoseconds, keeps a re-sent point once, shows points at once, deletes")
        before = check_rows(made)
        assert doctors(made, token=reader) == measured
        assert check_rows(made) == before


def test_a_store_that_never_shows_what_it_confirms_is_refused(
    make_workspace: MakeWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pfa_flux.windows.store_check._WITHIN", 0.3)
    workspace = make_workspace("influxdb-1.8")
    with meddled(workspace) as proxy, analytics(workspace, now()) as made:
        proxy.lines = lambda lines: ["# nothing"]
        with pytest.raises(TaskError, match=r"the store confirmed test points but does not show them after 0 s"):
            made.task().install()
        assert made.task().backend.find() == []


def test_no_longer_than_a_minute_is_waited(make_workspace: MakeWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("pfa_flux.windows.store_check.time.sleep", slept.append)
    delays = iter([0.0, 0.04, 2.0, 2.4, 3600.0])
    with analytics(make_workspace(memory_engine.NAME), now()) as made:
        for delay in delays:
            found = StoreCheck(True, True, delay, True, 0, 0)
            monkeypatch.setattr("pfa_flux.windows.store_check.remembered", lambda *_, found=found: found)
            wait_until_visible(made.engine, made.settings.rollup_bucket)
    assert slept == [0.0, 0.0, 2.5, 3.0, 60.0]
