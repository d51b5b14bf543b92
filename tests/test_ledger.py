"""Figures from downsampled windows are right or say that they may not be, whoever writes what when."""

from __future__ import annotations

import pytest

from pfa_flux import Point
from pfa_flux.schema import BOTH, Side
from pfa_flux.windows.rollup import Rollup
from tests.contract import analytics, every_backend, fill, keep_for, ordinarily, task_workspace
from tests.data import DAY, HOUR, MINUTE, T0, hit, load
from tests.engines.plugin import MakeWorkspace
from tests.ledger import NOW, SERVERS, WINDOW, codes, figures, from_rollups, message, passes, rollup_row, runners, views


@runners
def test_rows_of_a_second_task_do_not_count_beside_ours(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace = task_workspace(runs, make_workspace)
    fill(workspace, NOW, views())
    with analytics(workspace, NOW) as made:
        passes(made)
        assert figures(from_rollups(made)) == [(80, 40)]
        assert from_rollups(made).warnings == ()
        theirs = [rollup_row(made, Side.HITS, T0 + n * HOUR + WINDOW, 2, host="kapacitor") for n in range(0, 40, 3)]
        made.engine.write(made.settings.rollup_bucket, theirs)
        answer = from_rollups(made)
        assert figures(answer) == [(80, 40)]
        assert "rollup_unproved" not in codes(answer)
        assert figures(from_rollups(made, by=["page"])) == [(28, 14), (26, 13), (26, 13)]
        assert figures(from_rollups(made, domains=["example.com"], pages=["/1"])) == [(26, 13)]
        task = made.task(backend="runner")
        found = task.gaps(T0, T0 + 2 * DAY)
        assert found.state == "gaps"
        assert found.foreign == tuple((T0 + n * HOUR, T0 + n * HOUR + WINDOW) for n in range(0, 40, 3))
        assert (found.missing, found.short, found.excess, found.wrong) == ((), (), (), ())
        status = task.status(T0)
        assert not status.complete
        assert "14 windows do not match raw data (14 with rows of other writers)" in status.summary
        assert "pfa-flux task verify --repair --start" in status.advice
        assert "find it, and stop it" in status.advice
        assert len(task.repair_all()) == 14
        assert task.gaps(T0, T0 + 2 * DAY).state == "complete"
        assert "14 windows were repaired" in task.status(T0).summary


@runners
def test_a_row_of_another_origin_that_stands_alone_counts(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace = task_workspace(runs, make_workspace)
    fill(workspace, NOW, views())
    with analytics(workspace, NOW) as made:
        passes(made)
        made.engine.write(
            made.settings.rollup_bucket,
            [
                rollup_row(made, Side.HITS, T0 + 41 * HOUR, 6, host="adopted", page="/old"),
                rollup_row(made, Side.LOADS, T0 + 41 * HOUR, 3, host="adopted", page="/old"),
            ],
        )
        answer = from_rollups(made)
        assert figures(answer) == [(86, 43)]
        # Raw data is kept, and knows nothing of them.
        assert "1 windows of hits since" in message(answer, "rollup_unproved")
        assert "by at most 6 page views. Run pfa-flux task repair." in message(answer, "rollup_unproved")


@runners
def test_a_surplus_and_a_shortage_that_cancel_are_found(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace = task_workspace(runs, make_workspace)
    fill(workspace, NOW, [hit(T0), hit(T0, page="/b"), load(T0), load(T0, page="/b")])
    with analytics(workspace, NOW) as made:
        spec = made.task(backend="runner").spec
        tags = {"domain": "example.com", "scheme": "https"}
        wrong = [
            Point(spec.measurement, {**tags, "page": page}, spec.field, n, T0 + WINDOW)
            for page, n in (("/", 2), ("/c", 0))
        ]
        made.engine.write(made.settings.rollup_bucket, [p for p in wrong if p.value])
        task = made.task(backend="runner")
        found = task.gaps(T0, T0 + DAY)
        assert found.wrong == ((T0, T0 + WINDOW),)
        assert found.missing == found.short == found.excess == found.foreign == ()
        made.task("loads", backend="runner").backfill(T0)
        answer = from_rollups(made, by=["page"])
        assert "by at most 2 page views" in message(answer, "rollup_unproved")
        task.repair_all()
        assert figures(from_rollups(made, by=["page"])) == [(1, 1), (1, 1)]
        assert from_rollups(made, by=["page"]).warnings == ()


@runners
def test_late_rows_of_either_side_are_found_and_mended_by_the_next_pass(
    runs: str, make_workspace: MakeWorkspace
) -> None:
    workspace = task_workspace(runs, make_workspace)
    fill(workspace, NOW, views())
    with analytics(workspace, NOW) as made:
        passes(made)
    late = [load(T0 + n * HOUR + 5, page="/late") for n in range(5)] + [hit(T0 + 7 * HOUR + 1, sess="late")]
    # By somebody else: nobody notes that they are late.
    if workspace.serverless:
        with analytics(workspace, NOW) as made:
            made.engine.write(made.settings.raw_bucket, late)
            # The embedded store and its like know at once; a server's windows are compared by the next pass.
            if runs == "embedded":
                assert {"rollup_unproved"} <= codes(from_rollups(made))
    else:
        fill(workspace, NOW, late)
    with analytics(workspace, NOW) as made:
        loads = made.task("loads", backend="runner")
        assert loads.gaps(T0, T0 + 2 * DAY).short == tuple((T0 + n * HOUR, T0 + n * HOUR + WINDOW) for n in range(5))
        passes(made)
        assert figures(from_rollups(made)) == [(81, 45)]
        assert from_rollups(made).warnings == ()
        noted = loads.upkeep()
        assert noted is not None
        assert (noted.mended, noted.mended_at, noted.kept) == (5, NOW, 0)
        assert "5 windows were repaired, the last 2" in loads.status(T0).summary


@pytest.mark.parametrize("runs", ordinarily(SERVERS))
def test_late_rows_of_long_ago_are_found_in_turn(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace = task_workspace(runs, make_workspace)
    fill(workspace, NOW, [hit(T0 + n * DAY) for n in range(12)])
    end = T0 + 12 * DAY
    with analytics(workspace, end) as made:
        passes(made)
    fill(workspace, end, [hit(T0 + DAY + 7, sess="late")])
    for turn in range(6):
        with analytics(workspace, end + turn * WINDOW) as made:
            passes(made)
            missing = made.task(backend="runner").gaps(T0, T0 + 5 * DAY).to_mend
            if not missing:
                break
    assert missing == []
    assert turn < 5


@pytest.mark.parametrize("runs", ordinarily(["influxdb-2.7", "influxdb-1.8 runner"]))
def test_windows_that_expired_before_anybody_compared_them_are_unknown(
    runs: str, make_workspace: MakeWorkspace
) -> None:
    import time

    workspace = task_workspace(runs, make_workspace)
    at = time.time_ns() // HOUR * HOUR
    first = at // DAY * DAY - 3 * DAY
    points = [
        p for n in range(72) for p in (hit(first + n * HOUR), hit(first + n * HOUR, sess="b"), load(first + n * HOUR))
    ]
    fill(workspace, at, points)
    with analytics(workspace, at) as made:
        # As a server's task leaves them, with nobody who compares.
        for side in BOTH:
            rollup = Rollup(made.engine, made.task(side.value, backend="runner").spec)
            rollup._write(rollup.raw_sums(first, first + 2 * DAY))
        keep_for(workspace, DAY + 6 * HOUR)
        for side in BOTH:
            spec = made.task(side.value, backend="runner").spec
            made.engine.delete(spec.raw, first, first + DAY)
        answer = made.blocked_ratio(start=first, stop=first + DAY)
        assert (figures(answer), answer.source) == ([(48, 24)], "rollup")
        words = message(answer, "rollup_unknown")
        assert "96 windows of hits before" in words or "windows of hits before" in words
        assert "Nothing can confirm their 48 page views." in words
        assert "Nothing can confirm their 24 page views." in words
        assert "rollup_unproved" not in codes(answer)
        found = made.task(backend="runner").gaps(first)
        assert found.unknown > 0
        # A pass looks at them once, and cannot prove them any more.
        passes(made)
        again = made.blocked_ratio(start=first, stop=first + DAY)
        assert (figures(again), codes(again)) == (figures(answer), codes(answer))


@pytest.mark.parametrize("runs", ordinarily([*SERVERS, "memory"]))
def test_windows_of_before_raw_data_begins_stay_whatever_compares_them(
    runs: str, make_workspace: MakeWorkspace
) -> None:
    workspace = task_workspace(runs, make_workspace)
    fill(workspace, NOW, [hit(T0 + DAY + n * HOUR) for n in range(5)])
    with analytics(workspace, NOW) as made:
        # Of another raw bucket, or of one that somebody has emptied.
        rows = [rollup_row(made, side, T0 + n * HOUR, 3) for side in BOTH for n in range(1, 9)]
        between = [rollup_row(made, Side.HITS, T0 + DAY + 2 * HOUR - WINDOW, 2)]
        made.engine.write(made.settings.rollup_bucket, rows + between)
        passes(made)
        task = made.task(backend="runner")
        found = task.gaps(T0, T0 + 2 * DAY)
        assert (found.unknown, found.excess) == (8, ((T0 + DAY + 2 * HOUR - 2 * WINDOW, T0 + DAY + 2 * HOUR - WINDOW),))
        answer = from_rollups(made)
        assert figures(answer) == [(31, 24)]
        assert "Nothing can confirm their 24 page views." in message(answer, "rollup_unknown")
        assert "by at most 2 page views" in message(answer, "rollup_unproved")
        noted = task.upkeep()
        assert noted is not None
        assert noted.kept == 1
        # To verify is by the same rule: what raw data says nothing of, it calls unknown.
        verified = task.verify(T0)
        assert (verified.start, verified.unknown, verified.count) == (T0 + DAY, 4 * 24, 1)
        # Repair is asked for; what nobody can know stays even so.
        task.repair_all()
        answer = from_rollups(made)
        assert (figures(answer), codes(answer) & {"rollup_unproved", "gaps"}) == ([(29, 24)], set())


@runners
def test_before_the_backfill_both_sides_are_of_the_same_windows(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace = task_workspace(runs, make_workspace)
    fill(workspace, NOW, views())
    with analytics(workspace, NOW) as made:
        task = made.task(backend="runner")
        task.backfill(T0 + 30 * HOUR)
        answer = from_rollups(made)
        assert figures(answer) == [(20, 10)]
        assert "30 windows of hits since" in message(answer, "gaps")
        assert "pixel_late" not in codes(answer)
        made.task("loads", backend="runner").backfill(T0 + 35 * HOUR)
        answer = from_rollups(made)
        assert figures(answer) == [(10, 5)]
        assert "35 windows of loads since" in message(answer, "gaps")


@pytest.mark.parametrize("runs", ordinarily([*SERVERS, "memory"]))
def test_a_window_whose_raw_rows_are_gone_is_lowered_only_when_asked_for(
    runs: str, make_workspace: MakeWorkspace
) -> None:
    workspace = task_workspace(runs, make_workspace)
    fill(workspace, NOW, views())
    with analytics(workspace, NOW) as made:
        passes(made)
        task = made.task(backend="runner")
        # Not the oldest: those would have expired.
        made.engine.delete(task.spec.raw, T0 + 5 * HOUR, T0 + 10 * HOUR)
        passes(made)
        assert figures(from_rollups(made)) == [(80, 40)]
        noted = task.upkeep()
        assert noted is not None
        assert (noted.mended, noted.kept) == (0, 5)
        assert "5 windows of hits since" in message(from_rollups(made), "rollup_unproved")
        assert "by at most 10 page views" in message(from_rollups(made), "rollup_unproved")
        before, after = task.repair(T0)
        assert (before.count, after.count) == (5, 5)
        assert task.gaps(T0, T0 + DAY).excess == tuple((T0 + n * HOUR, T0 + n * HOUR + WINDOW) for n in range(5, 10))
        before, after = task.repair(T0, lower=True)
        assert (before.count, after.count) == (5, 0)
        assert figures(from_rollups(made)) == [(70, 40)]
        assert "rollup_unproved" not in codes(from_rollups(made))


@every_backend
def test_a_pass_after_a_servers_task_proves_what_it_made(runs: str, make_workspace: MakeWorkspace) -> None:
    import time

    at = time.time_ns()
    due = (at - MINUTE) // WINDOW * WINDOW
    workspace = task_workspace(runs, make_workspace)
    start = due - DAY
    points = [p for n in range(20) for p in (hit(start + n * HOUR), load(start + n * HOUR))]
    fill(workspace, at, points)
    with analytics(workspace, at) as made:
        for side in BOTH:
            task = made.task(side.value)
            task.install()
            task.run_due()
            assert task.gaps(start).state == "complete"
            if task.rollup.log is not None:
                assert task.rollup.log.newest(due + 1) in (due, due - WINDOW)
        answer = made.blocked_ratio(start=start, stop=due, source="rollup")
        assert figures(answer) == [(20, 20)]
        assert not {"rollup_unproved", "rollup_unknown", "gaps"} & codes(answer)
        for side in BOTH:
            made.task(side.value).remove()
