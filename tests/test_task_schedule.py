"""Nobody forces anything: the server's own schedule runs the task, and late hits of the lookback are taken up."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace

import pytest

from pfa_flux import Analytics, settings
from pfa_flux.windows.rollup import Cell, Rollup
from tests.contract import fill
from tests.data import hit
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace

SECOND = 10**9
MINUTE = 60 * SECOND


def every_minute(workspace: Workspace) -> Analytics:
    """The library with windows of a minute, put together ten seconds after their end."""
    own = settings.load(workspace.settings(), environ={})
    return Analytics(
        replace(
            own,
            schema=replace(own.schema, task_name=workspace.task_name),
            task=replace(own.task, every=60, offset=10),
        )
    )


@pytest.mark.slow
def test_windows_come_by_the_servers_own_schedule(make_workspace: MakeWorkspace) -> None:
    workspaces = [make_workspace(engine) for engine in ("influxdb-2.7", "influxdb-2.9", "kapacitor")]
    with ExitStack() as stack:
        made = [stack.enter_context(every_minute(workspace)) for workspace in workspaces]
        for each in made:
            each.task().install()
        # Hits of this minute and the next, and one that is late by a minute.
        start = time.time_ns() // MINUTE * MINUTE + MINUTE
        tags = ("example.com", "/", "https")
        for workspace in workspaces:
            fill(workspace, start, [hit(start + SECOND), hit(start + 59 * SECOND), hit(start + MINUTE)])
        sleep_until(start + MINUTE + 40 * SECOND)
        for workspace in workspaces:
            fill(workspace, start, [hit(start + 2 * SECOND, sess="late")])
        sleep_until(start + 2 * MINUTE + 40 * SECOND)
        for each in made:
            task = each.task()
            found = Rollup(each.engine, task.spec).sums(start, start + 2 * MINUTE)
            assert found == {Cell(start + MINUTE, tags): 3, Cell(start + 2 * MINUTE, tags): 1}
            assert task.verify(start, start + 2 * MINUTE).clean
            status = task.status(start)
            assert status.complete, status.summary
            assert status.last_run
            for installed in task.backend.find():
                task.backend.remove(installed)


def sleep_until(moment: int) -> None:
    """Wait for an instant, nanoseconds: schedules are real time."""
    time.sleep(max(0, moment - time.time_ns()) / SECOND)
