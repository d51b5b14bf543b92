"""A task's life after it was installed: plan, status, adoption, runs, logs, and what a runner takes up."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

import pytest

from pfa_flux import Analytics, TaskError
from pfa_flux.windows.rollup import Cell, Rollup
from tests.contract import (
    SERVERLESS,
    analytics,
    every_backend,
    fill,
    server_backends,
    task_workspace,
)
from tests.data import DAY, HOUR, hit
from tests.engines.plugin import MakeWorkspace
from tests.original import downsampling_task
from tests.windows import SECOND, WINDOW, expected, iso, now, random_hits, remove


@pytest.mark.parametrize(
    "runs", ["influxdb-1.8 runner", "influxdb-1.8 flux off runner", "influxdb-2.7 runner", "embedded"]
)
def test_the_runner_takes_up_late_hits_and_gaps_on_its_own(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    due = (at - 60 * SECOND) // WINDOW * WINDOW
    points = random_hits(due - 2 * DAY, due, 300)
    fill(workspace, at, points)
    with analytics(workspace, at) as made:
        task = made.task()
        with pytest.raises(TaskError, match="not installed"):
            task.run_due()
        task.install()
        task.run_due()
        assert task.verify(due - 2 * DAY).clean
        late = hit(due - DAY, sess="late")
        made.write([late])
        lost = sorted(expected(points))[3].end
        made.engine.delete(task.spec.rollup, lost - WINDOW, lost)
        assert not task.verify(due - 2 * DAY).clean
        spans = task.run_due()
        for low, high in ((due - 2 * WINDOW, due), (lost - WINDOW, lost), (due - DAY, due - DAY + 1)):
            assert any(start <= low and high <= stop for start, stop in spans)
        assert task.verify(due - 2 * DAY).clean
        assert task.late_windows() == []
    # Two days on, nothing ran in between: all that has closed is taken up.
    later = at + 2 * DAY
    more = random_hits(due, due + DAY, 200, seed=2)
    fill(workspace, at, more)
    with analytics(workspace, later) as made:
        task = replace_clock_of_the_engine(made).task()
        task.run_due()
        assert Rollup(made.engine, task.spec).sums(due - 2 * DAY, due + DAY) == expected([*points, late, *more])
        assert [run.status for run in task.runs()] == ["success"] * 4
        task.disable()
        with pytest.raises(TaskError, match="is disabled"):
            task.run_due()


def replace_clock_of_the_engine(made: Analytics) -> Analytics:
    """The same with an engine whose clock agrees with the one of the test."""
    made.engine.now = made._clock  # type: ignore[method-assign]
    return made


@every_backend
def test_a_clock_that_is_ahead_closes_no_window_too_early(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace = task_workspace(runs, make_workspace)
    real = time.time_ns()
    at = real + 5 * HOUR
    fill(workspace, real, [hit(real - 2 * HOUR)])
    with analytics(workspace, at) as made:
        task = made.task()
        if runs in SERVERLESS:
            assert abs(task.status(real - DAY).skew - 5 * 3600) < 5
            return
        found = task.status(real - DAY)
        assert abs(found.skew - 5 * 3600) < 5
        assert "this machine's clock is" in found.summary
        assert "ahead of the server's" in found.summary
        assert found.due <= real
        if task.backend.name == "runner":
            task.backend.create()
            (span,) = task.run_due()
            assert span[1] <= real


@every_backend
def test_status_says_in_one_line_what_is_missing_and_why(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace = task_workspace(runs, make_workspace)
    at = time.time_ns()
    due = (at - 120 * SECOND) // WINDOW * WINDOW
    with analytics(workspace, at) as made:
        task = made.task()
        found = task.status(due - DAY)
        assert (found.complete, found.plan.state) == (False, "create")
        assert found.summary.startswith("nothing to downsample yet: no raw rows; the task is not installed")
        fill(workspace, at, [hit(due - n * WINDOW - SECOND) for n in range(6)])
        task.install()
        found = task.status(due - DAY)
        assert not found.complete
        assert found.summary.startswith(f"incomplete since {iso(due - 6 * WINDOW)}: 4 windows are missing or short")
        assert f"pfa-flux task backfill --start {iso(due - 6 * WINDOW)}" in found.advice
        task.backfill(due - DAY)
        found = task.status(due - DAY)
        assert (found.complete, found.summary, found.advice) == (True, f"complete up to {iso(found.due)}", "")
        assert found.ledger.newest == due
        task.disable()
        found = task.status(due - DAY)
        assert (found.complete, found.plan.state) == (False, "disabled")
        assert "the task is disabled" in found.summary
        task.enable()
        assert task.status(due - DAY).complete
        remove(made)


@server_backends
def test_plan_tells_what_somebody_did_to_the_task(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    with analytics(workspace, at) as made:
        task = made.task()
        assert (task.plan().state, task.plan().differs) == ("create", True)
        done = task.install()
        planned = task.plan()
        assert (planned.state, planned.differs, planned.ids, planned.diff) == ("up to date", False, (done.id,), ())
        installed = task.installed()
        task.backend.update(installed, installed.text.replace("lookback = 2", "lookback = 1"), active=True)
        planned = task.plan()
        assert (planned.state, planned.words) == ("change", "the installed task was changed after pfa-flux created it")
        assert "-lookback = 1" in planned.diff
        assert "+lookback = 2" in planned.diff
        assert (task.install().action, task.installed().id) == ("updated", done.id)
        task.backend.create()
        planned = task.plan()
        assert (planned.state, len(planned.ids)) == ("duplicates", 2)
        for refused in (task.install, task.run, task.disable, task.remove):
            with pytest.raises(TaskError, match="2 tasks"):
                refused()
        task.remove(next(each for each in planned.ids if each != done.id))
        assert task.plan().state == "up to date"
        workspace.client.drop_bucket(workspace.rollup)
        planned = task.plan()
        assert (planned.state, planned.make_bucket, planned.differs) == ("up to date", True, True)
        assert task.install(create_bucket=True).made_bucket
        assert task.remove() == [done.id]
        assert task.plan().state == "create"


@server_backends
def test_other_settings_change_the_task_and_the_diff_says_what(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    due = (at - 60 * SECOND) // WINDOW * WINDOW
    fill(workspace, at, [hit(due - 2 * SECOND), hit(due - SECOND, host="h")])
    with analytics(workspace, at) as made:
        made.task().install()
        (before,) = made.task().backend.find()
    with analytics(workspace, at) as made:
        made.settings = replace(
            made.settings, task=replace(made.settings.task, every=300, lookback=3, tags=("host", "domain"))
        )
        task = made.task()
        planned = task.plan()
        assert (planned.state, planned.words) == ("change", "the installed task differs from the settings")
        assert {"-lookback = 2", "+lookback = 3", '+tags = ["domain", "host"]', "+every = 5m"} <= set(planned.diff)
        assert (task.install().id, task.install().action) == (before.id, "up to date")
        end = (due - SECOND) // (300 * SECOND) * 300 * SECOND + 300 * SECOND
        assert Rollup(made.engine, task.spec).sums(due - HOUR, due) == {
            Cell(end, ("example.com", "")): 1,
            Cell(end, ("example.com", "h")): 1,
        }
        remove(made)


@server_backends
def test_a_task_of_the_original_form_is_adopted_with_its_rows(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    due = (at - 60 * SECOND) // WINDOW * WINDOW
    points = [hit(due - n * WINDOW - 5 * SECOND, sess=f"{n}{i}", host="web1") for n in range(6) for i in range(3)]
    fill(workspace, at, points)
    with analytics(workspace, at) as made:
        task = made.task()
        by_hand = task.backend.create()
        task.backend.update(by_hand, downsampling_task(made, workspace), active=True)
        for n in reversed(range(6)):
            task.backend.run(by_hand, due - n * WINDOW)
        rows = Rollup(made.engine, task.spec).stored(due - DAY, due)
        assert {(row.time, row.value, row.tags.get("host")) for row in rows} == {
            (due - n * WINDOW, 3, "web1") for n in range(6)
        }
        planned = task.plan()
        assert planned.state == "foreign"
        assert "installed by hand, in the originally published form" in planned.words
        assert "secret" not in "".join(planned.diff)
        with pytest.raises(TaskError, match="installed by hand"):
            task.install()
        done = task.install(adopt=True)
        assert (done.action, done.id) == ("adopted", by_hand.id)
        # Its older rows are as they were, the windows that ours recomputes are ours alone, and they make one series.
        rows = Rollup(made.engine, task.spec).stored(due - DAY, due)
        assert {(row.time, row.value, row.tags.get("host")) for row in rows} == {
            (due - n * WINDOW, 3, "web1" if n > 1 else None) for n in range(6)
        }
        assert Rollup(made.engine, task.spec).sums(due - DAY, due) == expected(points)
        # They count, and are none of ours: a window that is recomputed loses such a row before ours is written.
        found = task.gaps(due - DAY)
        assert (found.to_fill, found.foreign) == ([], ((due - 6 * WINDOW, due - 2 * WINDOW),))
        task.repair(due - DAY)
        assert task.gaps(due - DAY).state == "complete"
        assert Rollup(made.engine, task.spec).sums(due - DAY, due) == expected(points)
        assert all("host" not in row.tags for row in Rollup(made.engine, task.spec).stored(due - DAY, due))
        remove(made)


@server_backends
def test_an_adoption_whose_proof_fails_leaves_the_task_as_it_was(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    due = (at - 60 * SECOND) // WINDOW * WINDOW
    fill(workspace, at, [hit(due - SECOND)])
    with analytics(workspace, at) as made:
        task = made.task()
        by_hand = task.backend.create()
        text = downsampling_task(made, workspace)
        task.backend.update(by_hand, text, active=False)
        make_ours_fail(task)
        with pytest.raises(TaskError, match="the run failed"):
            task.install(adopt=True)
        (found,) = made.task().backend.find()
        assert (found.id, found.text, found.active) == (by_hand.id, text, False)
        remove(made)


def make_ours_fail(task: object) -> None:
    """Ours shall read a bucket that does not exist: every server takes such a task, and only a run tells."""
    backend = task.backend  # type: ignore[attr-defined]
    ours = backend.text()
    backend.text = lambda: ours.replace("from(bucket: ", 'from(bucket: "absent" + ')


@server_backends
def test_runs_and_logs_tell_what_failed(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    due = (at - 60 * SECOND) // WINDOW * WINDOW
    with analytics(workspace, at) as made:
        task = made.task()
        task.install()
        task.run()
        installed = task.installed()
        broken = installed.text.replace("from(bucket: ", 'from(bucket: "absent" + ')
        task.backend.update(installed, broken, active=True)
        with pytest.raises(TaskError, match="the run failed"):
            task.run()
        found = task.runs()
        assert Counter(run.status for run in found) == {"success": 2, "failed": 1}
        assert {run.scheduled_for for run in found} == {iso(due)}
        (failed,) = [run for run in found if run.status == "failed"]
        assert failed.error
        assert task.logs(failed.id)
        assert any("ompleted" in line for line in task.logs())
        remove(made)
