"""Floats that others have written: what stops a task, and what makes integers of them."""

from __future__ import annotations

import pytest

from pfa_flux import TaskError
from pfa_flux.windows.rollup import Rollup
from tests.contract import (
    analytics,
    as_line,
    fill,
    server_backends,
    task_workspace,
)
from tests.data import DAY, HOUR, T0, hit
from tests.engines.plugin import MakeWorkspace
from tests.windows import SECOND, WINDOW, now, remove, rollup_line


@pytest.mark.parametrize("runs", ["influxdb-2.7", "influxdb-2.9", "kapacitor", "influxdb-1.8 runner"])
def test_floats_in_the_target_stop_the_task_and_a_backfill_makes_integers_of_them(
    runs: str, make_workspace: MakeWorkspace
) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    due = (at - 60 * SECOND) // WINDOW * WINDOW
    fill(workspace, at, [hit(due - n * WINDOW - SECOND) for n in range(4)])
    workspace.client.write(workspace.rollup, [rollup_line(due - n * WINDOW, "1.0") for n in (2, 3)])
    workspace.client.write(workspace.rollup, [rollup_line(due - 300 * DAY, "4.0")])
    with analytics(workspace, at) as made:
        task = made.task()
        if task.backend.name != "runner":
            with pytest.raises(TaskError, match="others have written 'hitcount' as floats, where") as caught:
                task.install()
            assert caught.value.hint.startswith("Run pfa-flux install-task --adopt, which makes integers of them")
            assert task.backend.find() == []
            found = task.status(due - HOUR)
            assert "others have written 'hitcount' as floats: it would fail" in found.summary
            assert found.advice.startswith("Run pfa-flux install-task --adopt")
        task.backfill(due - HOUR)
        assert task.verify(due - HOUR).clean
        rows = Rollup(made.engine, task.spec).stored(due - 301 * DAY, due)
        assert {row.time: row.value for row in rows} == {
            due - 300 * DAY: 4, **{due - n * WINDOW: 1 for n in range(4)},
        }  # fmt: skip
        task.install()
        remove(made)


@pytest.mark.parametrize("runs", ["influxdb-2.7", "influxdb-2.9", "kapacitor"])
def test_floats_of_others_become_integers_if_asked_for_and_a_run_that_they_stop_is_told_in_a_sentence(
    runs: str, make_workspace: MakeWorkspace
) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    due = (at - 60 * SECOND) // WINDOW * WINDOW
    old = due - 280 * DAY
    fill(workspace, at, [hit(due - SECOND), hit(old - SECOND)])
    workspace.client.write(workspace.rollup, [rollup_line(due - 3 * WINDOW, "7.0"), rollup_line(old - 1, "4.0")])
    with analytics(workspace, at) as made:
        task = made.task()
        assert task.install(adopt=True).action == "created"
        rows = Rollup(made.engine, task.spec).stored(due - DAY, due)
        assert {(row.time, row.value, type(row.value)) for row in rows} == {(due, 1, int), (due - 3 * WINDOW, 7, int)}
        with pytest.raises(TaskError) as caught:
            task.backend.run(task.installed(), old)
        assert caught.value.message == (
            "the run failed: others have written floats into the rollup bucket, where the task writes integers"
        )
        assert caught.value.hint == "Run pfa-flux task verify --repair, which makes integers of them."
        remove(made)


@server_backends
def test_a_task_over_a_shard_of_floats_makes_integers(runs: str, make_workspace: MakeWorkspace) -> None:
    """As the raw bucket is where others have written `count=1`, and the pixel has adapted to it."""
    workspace, at = task_workspace(runs, make_workspace), now()
    due = (at - 60 * SECOND) // WINDOW * WINDOW
    # The seam of two shards, some of whose rows may be of one type and some of the other.
    seam = T0 + (due - DAY - T0) // (7 * DAY) * 7 * DAY
    for kind, moments in (("i", [seam - 5]), ("", [seam + 5, due - WINDOW - SECOND, due - SECOND])):
        lines = [as_line(hit(moment, page=f"/{n}", sess=kind or "f")) for moment in moments for n in range(3)]
        workspace.client.write(workspace.raw, [line.replace("count=1i", f"count=1{kind}") for line in lines])
    with analytics(workspace, at) as made:
        task = made.task()
        task.install()
        rows = Rollup(made.engine, task.spec).stored(due - HOUR, due + 1)
        assert {(row.time, row.value, type(row.value)) for row in rows} == {(due, 1, int), (due - WINDOW, 1, int)}
        assert task.verify(due - HOUR).clean
        # Of a run that reads two shards, the server gives the rows of one type alone. The next run reads one of them.
        for n in (1, 2):
            task.backend.run(task.installed(), seam + n * WINDOW)
        rows = Rollup(made.engine, task.spec).stored(seam - HOUR, seam + HOUR)
        assert sorted((row.time, row.value) for row in rows) == [(seam, 1)] * 3 + [(seam + WINDOW, 1)] * 3
        assert task.verify(seam - HOUR).clean
        remove(made)


def test_a_fraction_in_the_target_is_told_and_nothing_is_removed(make_workspace: MakeWorkspace) -> None:
    workspace, at = task_workspace("influxdb-2.7", make_workspace), now()
    due = (at - 60 * SECOND) // WINDOW * WINDOW
    fill(workspace, at, [hit(due - SECOND)])
    workspace.client.write(workspace.rollup, [rollup_line(due - WINDOW, "1.5", host="x")])
    with analytics(workspace, at) as made:
        with pytest.raises(TaskError, match=r"is 1\.5, no whole number"):
            made.task().backfill(due - WINDOW)
        assert len(Rollup(made.engine, made.task().spec).stored(due - DAY, due)) == 1
