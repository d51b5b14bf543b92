"""A task's life after it was installed: plan, status, gaps, backfill, verify, repair, and late hits."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from pfa_flux import Analytics, CapabilityError, Point, TaskError
from pfa_flux.windows.recompute import Progress
from pfa_flux.windows.rollup import Cell, Rollup, Sums
from tests.contract import (
    SERVERLESS,
    TASKS,
    analytics,
    as_line,
    every_backend,
    fill,
    keep_for,
    rarely,
    server_backends,
    task_workspace,
)
from tests.data import DAY, HOUR, READY, T0, hit, load
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace
from tests.original import downsampling_task

SECOND = 10**9
WINDOW = 900 * SECOND
TAGS = ("example.com", "/", "https")


def now() -> int:
    """A present three hours back: a task that runs on its own schedule meanwhile has nothing to do there."""
    return time.time_ns() // WINDOW * WINDOW - 3 * HOUR + 100 * SECOND


def expected(points: list[Point]) -> Sums:
    """Sums by window and tags, counted by hand."""
    return dict(
        Counter(
            Cell(p.time // WINDOW * WINDOW + WINDOW, (p.tags["domain"], p.tags.get("page", ""), p.tags["scheme"]))
            for p in points
        )
    )


def random_hits(start: int, stop: int, count: int, seed: int = 1) -> list[Point]:
    """Hits of three domains and five pages at random times, hundreds of `sess`, some with a further tag."""
    draw = random.Random(seed)
    times = sorted(draw.sample(range(start // SECOND, stop // SECOND), count))
    return [
        hit(
            moment * SECOND,
            draw.choice(["example.com", "b.example", "c.onion"]),
            f"/{draw.randrange(5)}",
            sess=f"{draw.randrange(300):016x}",
            **({"host": "h"} if draw.random() < 0.3 else {}),
        )
        for moment in times
    ]


def rollup_line(time: int, value: str, **more: str) -> str:
    """Line protocol of a downsampled row."""
    tags = {"domain": "example.com", "page": "/", "scheme": "https", **more}
    return f"pf_analytics_pixel,{','.join(f'{k}={v}' for k, v in sorted(tags.items()))} hitcount={value} {time}"


def write_rollup(workspace: Workspace, made: Analytics, time: int, value: int, **more: str) -> None:
    """A downsampled row as somebody else would write it."""
    if workspace.serverless:
        tags = {"domain": "example.com", "page": "/", "scheme": "https", **more}
        made.engine.write(made.settings.rollup_bucket, [Point("pf_analytics_pixel", tags, "hitcount", value, time)])
    else:
        workspace.client.write(workspace.rollup, [rollup_line(time, f"{value}i", **more)])


def remove(made: Analytics) -> None:
    for task in (made.task(), made.task("loads")):
        for found in task.backend.find():
            task.backend.remove(found)


@every_backend
def test_a_backfill_makes_every_window_what_the_raw_data_says(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    due = (at - 60 * SECOND) // WINDOW * WINDOW
    points = random_hits(due - 3 * DAY, due + WINDOW, 2000)
    fill(workspace, at, points)
    with analytics(workspace, at) as made:
        task = made.task()
        start, seen = due - 4 * DAY, list[Progress]()
        closed = {cell: n for cell, n in expected(points).items() if cell.end <= due}
        before = task.gaps(start)
        assert (before.state, before.newest, before.unknown) == ("gaps", None, 0)
        assert before.raw_windows == len({cell.end for cell in closed})
        found, rows = task.backfill(start, report=seen.append)
        assert (found, rows) == (before, len(closed))
        assert [(p.done, p.total) for p in seen[-1:]] == [(len({c.end for c in closed}),) * 2]
        assert Rollup(made.engine, task.spec).sums(start, due) == closed
        after = task.gaps(start)
        assert (after.state, after.newest, after.to_fill) == ("complete", due, [])
        verified = task.verify(start)
        # Of the embedded store it is known that there was nothing before; a server's raw data begins somewhere.
        first = start if runs == "embedded" else points[0].time // WINDOW * WINDOW
        assert (verified.clean, verified.rows, verified.windows) == (True, len(closed), (due - first) // WINDOW)
        assert task.backfill(start)[1] == 0


@every_backend
def test_verify_names_what_differs_and_repair_makes_it_right(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    due = (at - 60 * SECOND) // WINDOW * WINDOW
    points = [hit(due - n * WINDOW - SECOND) for n in range(8)]
    fill(workspace, at, points)
    with analytics(workspace, at) as made:
        task, start = made.task(), due - 8 * WINDOW
        task.backfill(start)
        write_rollup(workspace, made, due, 5)
        write_rollup(workspace, made, due - WINDOW, 1, host="h")
        write_rollup(workspace, made, due - 2 * WINDOW, 7, page="/absent")
        write_rollup(workspace, made, due - 3 * WINDOW - 17 * SECOND, 1)
        made.engine.delete(task.spec.rollup, due - 5 * WINDOW, due - 4 * WINDOW)
        found = task.verify(start)
        assert {(d.end, d.tags["page"], d.raw, d.rollup, d.reason) for d in found.differences} == {
            (due, "/", 1, 5, "the sum is wrong"),
            (due - WINDOW, "/", 1, 2, "a row has other tags (host=h)"),
            (due - 2 * WINDOW, "/absent", 0, 7, "no raw rows"),
            (due - 3 * WINDOW, "/", 1, 2, "a row's label is not the end of a window"),
            (due - 4 * WINDOW, "/", 1, None, "the window is not downsampled"),
        }
        assert (found.count, found.clean, found.spans) == (5, False, ((due - 5 * WINDOW, due),))
        before, after = task.repair(start)
        assert (before.count, after.count, after.clean) == (5, 0, True)
        rows = Rollup(made.engine, task.spec).stored(start, due)
        assert sorted((row.time, row.value) for row in rows) == [(due - n * WINDOW, 1) for n in reversed(range(8))]
        assert all(tuple(row.tags.values()) == TAGS for row in rows)


@every_backend
def test_a_row_of_the_right_amount_and_the_wrong_type_is_found_and_repaired(
    runs: str, make_workspace: MakeWorkspace
) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    due = (at - 60 * SECOND) // WINDOW * WINDOW
    fill(workspace, at, [hit(due - n * WINDOW - SECOND) for n in range(3)])
    tags = dict(zip(("domain", "page", "scheme"), TAGS, strict=True))
    with analytics(workspace, at) as made:
        task, start = made.task(), due - 3 * WINDOW
        floats = [Point("pf_analytics_pixel", tags, "hitcount", 1.0, due - n * WINDOW) for n in range(3)]
        if workspace.serverless:
            made.engine.write(made.settings.rollup_bucket, floats)
        else:
            workspace.client.write(workspace.rollup, map(as_line, floats))
        found = task.verify(start)
        assert [(d.end, d.raw, d.rollup, d.reason) for d in found.differences] == [
            (due - n * WINDOW, 1, 1, "the value is not an integer") for n in (2, 1, 0)
        ]
        # By their sums nothing is missing or short.
        assert (task.gaps(start).to_fill, task.gaps(start).foreign) == ([], ((start, due),))
        before, after = task.repair(start)
        assert (before.count, after.count, task.verify(start).clean) == (3, 0, True)
        rows = task.rollup.stored(start, due)
        assert [(type(row.value), row.value) for row in rows] == [(int, 1)] * 3


@every_backend
def test_rows_of_the_task_and_of_backfill_lie_in_one_series(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    due = (at - 60 * SECOND) // WINDOW * WINDOW
    points = random_hits(due - DAY, due, 500)
    fill(workspace, at, points)
    with analytics(workspace, at) as made:
        task = made.task()
        task.backfill(due - DAY)
        task.install()
        task.run()
        assert Rollup(made.engine, task.spec).sums(due - DAY, due) == expected(points)
        assert task.verify(due - DAY).clean
        remove(made)


@every_backend
def test_page_loads_have_a_task_of_their_own(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    due = (at - 60 * SECOND) // WINDOW * WINDOW
    points = [
        *(load(due - 5 * SECOND + i, value=1.5, host=f"h{i}") for i in range(3)),
        *(load(due - WINDOW - 5 * SECOND + i, page="/a", action="load", value=2.5) for i in range(4)),
        load(due - 5 * SECOND, action=READY, value=9.5),
        load(due - 3 * DAY - SECOND, page="", value=9.5),
    ]
    fill(workspace, at, points)
    with analytics(workspace, at) as made:
        task = made.task("loads")
        done = task.install()
        assert done.proof is not None
        assert (done.proof.hits, done.proof.rows) == (7, 2)
        task.backfill(due - 4 * DAY)
        assert Rollup(made.engine, task.spec).sums(due - 4 * DAY, due) == {
            Cell(due, ("example.com", "/")): 3,
            Cell(due - WINDOW, ("example.com", "/a")): 4,
            Cell(due - 3 * DAY, ("example.com", "")): 1,
        }
        assert task.verify(due - 4 * DAY).clean
        assert made.task().backend.find() == []
        remove(made)


@every_backend
def test_late_hits_are_noted_and_repaired(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    due = (at - 60 * SECOND) // WINDOW * WINDOW
    old = due - 20 * WINDOW
    fill(workspace, at, [hit(old - SECOND), hit(due - SECOND)])
    with analytics(workspace, at) as made:
        task = made.task()
        task.install()
        task.backfill(due - DAY)
        task.repair_touched()
        assert task.touched() == []
        made.write([hit(old - 2 * SECOND, sess="late"), hit(due - 2 * SECOND, sess="in time"), load(old - SECOND)])
        assert task.touched() == [old]
        assert task.gaps(due - DAY).short == ((old - WINDOW, old), (due - WINDOW, due))
        assert task.repair_touched() == [(old - WINDOW, old), (due - WINDOW, due)]
        assert task.touched() == []
        task.run()
        assert task.gaps(due - DAY).state == "complete"
        assert Rollup(made.engine, task.spec).sums(due - DAY, due) == {Cell(old, TAGS): 2, Cell(due, TAGS): 2}
        remove(made)


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
        assert task.touched() == []
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


def iso(ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ns // SECOND))


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


def test_where_raw_data_has_expired_a_window_is_unknown_and_never_complete(make_workspace: MakeWorkspace) -> None:
    for runs in ("influxdb-2.7", "influxdb-1.8 runner"):
        workspace, at = task_workspace(runs, make_workspace), now()
        due = (at - 60 * SECOND) // WINDOW * WINDOW
        keep_for(workspace, 2 * DAY)
        fill(workspace, at, [hit(due - SECOND), hit(due - DAY)])
        with analytics(workspace, at) as made:
            task = made.task()
            write_rollup(workspace, made, due - 3 * DAY, 4)
            found, rows = task.backfill(due - 4 * DAY)
            horizon = -(-(at - 2 * DAY) // WINDOW) * WINDOW
            assert (found.known_from, rows) == (horizon, 2)
            assert found.unknown == (horizon - (due - 4 * DAY)) // WINDOW
            assert task.gaps(due - 4 * DAY).state == "unknown"
            verified = task.verify(due - 4 * DAY)
            assert (verified.clean, verified.start, verified.unknown) == (True, due - DAY, 3 * DAY // WINDOW)
            task.repair(due - 4 * DAY)
            rows_there = Rollup(made.engine, task.spec).stored(due - 4 * DAY, due)
            assert (due - 3 * DAY, 4) in [(row.time, row.value) for row in rows_there]
            assert "raw data has expired" in task.status(due - 4 * DAY).summary


def test_a_row_becomes_0_where_a_delete_would_reach_into_another_policy(make_workspace: MakeWorkspace) -> None:
    workspace, at = task_workspace("influxdb-1.8 runner", make_workspace), now()
    due = (at - 60 * SECOND) // WINDOW * WINDOW
    database = workspace.rollup.partition("/")[0]
    workspace.client.influxql(f'CREATE RETENTION POLICY "other" ON "{database}" DURATION INF REPLICATION 1')
    fill(workspace, at, [hit(due - SECOND)])
    workspace.client.write(f"{database}/other", [rollup_line(due, "1i")])
    with analytics(workspace, at) as made:
        write_rollup(workspace, made, due, 1, host="h")
        with pytest.raises(CapabilityError, match=rf"would remove the rows in {database}/other"):
            made.engine.delete(made.task().spec.rollup, due - HOUR, due)
        made.task().repair(due - HOUR)
        assert made.task().verify(due - HOUR).clean
        stored = Rollup(made.engine, made.task().spec).stored(due - HOUR, due)
        assert sorted((row.tags.get("host", ""), row.value) for row in stored) == [("", 1), ("h", 0)]
        rows = workspace.client.influxql(f'SELECT * FROM "{database}"."other"."pf_analytics_pixel"', db=database)
        assert len(rows) == 1


def test_a_delete_of_1_12_keeps_to_its_policy(make_workspace: MakeWorkspace) -> None:
    workspace, at = task_workspace("influxdb-1.12 runner", make_workspace), now()
    due = (at - 60 * SECOND) // WINDOW * WINDOW
    database = workspace.rollup.partition("/")[0]
    workspace.client.influxql(f'CREATE RETENTION POLICY "other" ON "{database}" DURATION INF REPLICATION 1')
    fill(workspace, at, [hit(due - SECOND)])
    workspace.client.write(f"{database}/other", [rollup_line(due, "5i")])
    with analytics(workspace, at) as made:
        write_rollup(workspace, made, due, 1, host="h")
        made.task().repair(due - HOUR)
        assert made.task().verify(due - HOUR).clean
        assert [row.tags for row in Rollup(made.engine, made.task().spec).stored(due - HOUR, due)] == [
            {"domain": "example.com", "page": "/", "scheme": "https"}
        ]
        (row,) = workspace.client.influxql(f'SELECT * FROM "{database}"."other"."pf_analytics_pixel"', db=database)
        assert row["hitcount"] == 5


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
            with pytest.raises(TaskError, match="another program has written 'hitcount' as floats into") as caught:
                task.install()
            assert caught.value.hint.startswith("Run pfa-flux install-task --adopt, which turns them into integers")
            assert task.backend.find() == []
            found = task.status(due - HOUR)
            assert "it would fail: another program has written 'hitcount' as floats into" in found.summary
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
            "the run failed: another program has written floats into the rollup bucket, but the task writes integers"
        )
        assert caught.value.hint == "Run pfa-flux task verify --repair, which turns them into integers."
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
        with pytest.raises(TaskError, match=r"has the value 1\.5, which is not a whole number"):
            made.task().backfill(due - WINDOW)
        assert len(Rollup(made.engine, made.task().spec).stored(due - DAY, due)) == 1


@pytest.mark.parametrize("runs", rarely(TASKS, but="influxdb-1.8 runner"))
def test_whatever_lies_in_the_target_a_repair_makes_it_the_raw_datas_sums(
    runs: str, make_workspace: MakeWorkspace
) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    due = (at - 60 * SECOND) // WINDOW * WINDOW
    days = iter(range(1, 1000))
    place = {
        "domain": st.sampled_from(["a.example", "b.onion"]),
        "page": st.sampled_from(["/", "/ä ö", ""]),
        "more": st.sampled_from([{}, {"host": "h"}]),
    }
    hits = st.tuples(st.integers(0, 6 * 900), st.fixed_dictionaries(place))
    stored = st.tuples(st.integers(0, 6 * 900), st.fixed_dictionaries(place), st.integers(0, 5))
    # Raw data begins before all of them: nobody could know of windows of before that.
    fill(workspace, at, [hit(due - 1001 * DAY)])
    with analytics(workspace, at) as made:
        task = made.task()

        @hypothesis.settings(max_examples=12)
        @hypothesis.given(st.lists(hits, max_size=25), st.lists(stored, max_size=12))
        def check(raw: list[tuple[int, dict[str, Any]]], there: list[tuple[int, dict[str, Any], int]]) -> None:
            # Each example has its own day.
            base = due - next(days) * DAY
            points = [
                hit(base + second * SECOND, where["domain"], where["page"], sess=f"{i}", **where["more"])
                for i, (second, where) in enumerate(raw)
            ]
            garbage = [
                Point(
                    "pf_analytics_pixel",
                    {"domain": where["domain"], "page": where["page"], "scheme": "https", **where["more"]},
                    "hitcount",
                    value,
                    # At the end of a window, and off it.
                    base + (-(-second // 900) * 900 if second % 2 else second) * SECOND,
                )
                for second, where, value in there
            ]
            made.engine.write(made.settings.raw_bucket, points)
            made.engine.write(made.settings.rollup_bucket, garbage)
            task.repair(base - WINDOW, base + 7 * WINDOW)
            inside = {cell: n for cell, n in expected(points).items() if cell.end <= due}
            assert Rollup(made.engine, task.spec).sums(base - WINDOW, base + 7 * WINDOW) == inside
            rows = Rollup(made.engine, task.spec).stored(base - WINDOW, base + 7 * WINDOW)
            # A row of 0 stands for none.
            assert sum(row.value != 0 for row in rows) == len(inside)
            assert task.verify(base - WINDOW, base + 7 * WINDOW).clean

        check()
