"""Backfill, verify and repair: every window is what the raw data says, whatever lies in the target."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from pfa_flux import CapabilityError, Point
from pfa_flux.windows.recompute import Progress
from pfa_flux.windows.rollup import Cell, Rollup
from tests.contract import (
    TASKS,
    analytics,
    as_line,
    every_backend,
    fill,
    keep_for,
    rarely,
    task_workspace,
)
from tests.data import DAY, HOUR, READY, hit, load
from tests.engines.plugin import MakeWorkspace
from tests.windows import SECOND, TAGS, WINDOW, expected, now, random_hits, remove, rollup_line, write_rollup


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
        assert (found.count, found.clean, found.ranges) == (5, False, ((due - 5 * WINDOW, due),))
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
        task.repair_all()
        assert task.late_windows() == []
        made.write([hit(old - 2 * SECOND, sess="late"), hit(due - 2 * SECOND, sess="in time"), load(old - SECOND)])
        assert task.late_windows() == [old]
        assert task.gaps(due - DAY).short == ((old - WINDOW, old), (due - WINDOW, due))
        assert task.repair_all() == [(old - WINDOW, old), (due - WINDOW, due)]
        assert task.late_windows() == []
        task.run()
        assert task.gaps(due - DAY).state == "complete"
        assert Rollup(made.engine, task.spec).sums(due - DAY, due) == {Cell(old, TAGS): 2, Cell(due, TAGS): 2}
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
            assert (found.raw_kept_from, rows) == (horizon, 2)
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
