"""Installing the downsampling task on every engine that runs tasks: made, proved, idempotent, equal to raw."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from pfa_flux import AccessDeniedError, Analytics, BucketNotFoundError, CapabilityError, Point, TaskError, settings
from pfa_flux.windows.rollup import Rollup
from tests.contract import analytics, every_backend, fill, server_backends, task_workspace
from tests.data import hit
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace

SECOND = 10**9
WINDOW = 900 * SECOND
Sums = dict[tuple[int, tuple[str, str, str]], int]


def window_end(instant: int) -> int:
    """End of the last window that is closed at an instant."""
    return instant // WINDOW * WINDOW


def now() -> int:
    """A present three hours back: a task that runs on its own schedule meanwhile has nothing to do there."""
    return time.time_ns() - 3 * 3600 * SECOND


def expected(points: list[Point]) -> Sums:
    """Sums per end of window and tags, counted by hand."""
    return dict(
        Counter(
            (p.time // WINDOW * WINDOW + WINDOW, (p.tags["domain"], p.tags["page"], p.tags["scheme"]))
            for p in {(p.time, tuple(sorted(p.tags.items()))): p for p in points}.values()
        )
    )


def stored(workspace: Workspace, made: Analytics) -> list[dict[str, Any]]:
    """Downsampled rows as the store has them: time, value and all tags."""
    if workspace.serverless:
        rows = made.task().rollup.stored(0, 2 * time.time_ns())
        return [{"time": row.time, **row.tags, "value": row.value} for row in rows]
    database, _, policy = workspace.rollup.partition("/")
    text = f'SELECT hitcount AS value FROM "{database}"."{policy}"."pf_analytics_pixel" GROUP BY *'
    return workspace.client.influxql(text, db=database, rp=policy)


def many_hits(stop: int, windows: int) -> list[Point]:
    """Hits of some windows up to `stop`: hundreds of sess, extra tags, and hits at the very edges of windows."""
    start = stop - windows * WINDOW
    spread = [
        hit(start + i * (windows * WINDOW // 3000), page=f"/{i % 7}", sess=f"{i % 400:016x}", host=f"h{i % 2}")
        for i in range(3000)
    ]
    edges = [
        hit(start + n * WINDOW + shift, domain="edge.example", sess=f"{shift + 1}")
        for n in range(windows + 1)
        for shift in (-1, 0, 1)
    ]
    return [*spread, *edges]


@every_backend
def test_installed_and_run_the_sums_equal_the_raw_datas_per_window_and_page(
    runs: str, make_workspace: MakeWorkspace
) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    stop = window_end(at - 60 * SECOND)
    points = many_hits(stop, 2)
    fill(workspace, at, points)
    with analytics(workspace, at) as made:
        done = made.task().install()
        assert done.action == "created"
        assert done.proof is not None
        inside = {key: n for key, n in expected(points).items() if stop - 2 * WINDOW < key[0] <= stop}
        assert done.proof.hits == sum(inside.values())
        assert done.proof.rows == len(inside)
        rows = {(r["time"], (r["domain"], r["page"], r["scheme"])): r["value"] for r in stored(workspace, made)}
        assert rows == inside
        assert all(type(value) is int for value in rows.values())
        assert Rollup(made.engine, made.task().spec).sums(stop - 2 * WINDOW, stop) == inside
        assert Rollup(made.engine, made.task().spec).raw_sums(stop - 2 * WINDOW, stop) == inside
        remove(made)


@every_backend
def test_a_second_install_changes_nothing_and_a_second_run_doubles_nothing(
    runs: str, make_workspace: MakeWorkspace
) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    fill(workspace, at, many_hits(window_end(at - 60 * SECOND), 2))
    with analytics(workspace, at) as made:
        stop = window_end(at - 60 * SECOND)
        rollup, windows = made.task().rollup, (stop - 2 * WINDOW, stop)
        first = made.task().install()
        sums = rollup.sums(*windows)
        before = made.task().backend.find()
        second = made.task().install()
        assert (second.action, second.id, second.proof) == ("up to date", first.id, None)
        assert made.task().backend.find() == before
        made.task().run()
        assert rollup.sums(*windows) == sums == rollup.raw_sums(*windows)
        remove(made)


@every_backend
def test_a_late_hit_is_taken_up_by_the_next_run(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    stop = window_end(at - 60 * SECOND)
    fill(workspace, at, [hit(stop - WINDOW - SECOND)])
    with analytics(workspace, at) as made:
        made.task().install()
    fill(workspace, at, [hit(stop - WINDOW - 2 * SECOND)])
    with analytics(workspace, at) as made:
        made.task().run()
        assert Rollup(made.engine, made.task().spec).sums(stop - 2 * WINDOW, stop) == {
            (stop - WINDOW, ("example.com", "/", "https")): 2
        }
        remove(made)


@every_backend
def test_hits_without_a_page_are_downsampled_too(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    stop = window_end(at - 60 * SECOND)
    fill(workspace, at, [hit(stop - SECOND, page=""), hit(stop - 2 * SECOND), hit(stop - 3 * SECOND, page="")])
    with analytics(workspace, at) as made:
        made.task().install()
        assert Rollup(made.engine, made.task().spec).sums(stop - 2 * WINDOW, stop) == {
            (stop, ("example.com", "", "https")): 2,
            (stop, ("example.com", "/", "https")): 1,
        }
        remove(made)


@every_backend
def test_rows_of_the_task_beside_rows_of_a_writer_make_one_series(runs: str, make_workspace: MakeWorkspace) -> None:
    """Tags in another order than the writer's would make a second series with an equal key, and sums would double."""
    workspace, at = task_workspace(runs, make_workspace), now()
    stop = window_end(at - 60 * SECOND)
    tags = {"domain": "example.com", "page": "/", "scheme": "https"}
    fill(workspace, at, [hit(stop - SECOND), hit(stop - 2 * SECOND)])
    with analytics(workspace, at) as made:
        made.engine.write(made.settings.rollup_bucket, [Point("pf_analytics_pixel", tags, "hitcount", 2, stop)])
        made.task().install()
        assert [row["value"] for row in stored(workspace, made)] == [2]
        assert Rollup(made.engine, made.task().spec).sums(stop - WINDOW, stop) == {(stop, tuple(tags.values())): 2}
        remove(made)


@server_backends
def test_rows_of_another_task_in_the_same_windows_fail_the_proof_and_what_was_there_is_put_back(
    runs: str, make_workspace: MakeWorkspace
) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    stop = window_end(at - 60 * SECOND)
    fill(workspace, at, [hit(stop - SECOND)])
    with analytics(workspace, at) as made:
        workspace.client.write(
            workspace.rollup,
            [f"pf_analytics_pixel,domain=example.com,host=h,page=/,scheme=https hitcount=1i {stop}"],
        )
        with pytest.raises(TaskError, match=r"domain=example\.com page=/ scheme=https: raw 1, downsampled 2"):
            made.task().install()
        assert made.task().backend.find() == []


@pytest.mark.parametrize("engine", ["influxdb-2.7", "kapacitor"])
def test_a_changed_spec_updates_the_task_and_keeps_its_id(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = make_workspace(engine), now()
    with analytics(workspace, at) as made:
        first = made.task().install()
    with analytics(workspace, at, rollup_hits_field="views") as made:
        second = made.task().install()
        assert (second.action, second.id) == ("updated", first.id)
        (task,) = made.task().backend.find()
        assert 'field = "views"' in task.text
        remove(made)


@pytest.mark.parametrize("engine", ["influxdb-2.7", "kapacitor"])
def test_a_disabled_task_is_enabled_again(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = make_workspace(engine), now()
    with analytics(workspace, at) as made:
        made.task().install()
        backend = made.task().backend
        (task,) = backend.find()
        backend.update(task, task.text, active=False)
        assert made.task().install().action == "updated"
        assert backend.find()[0].active
        remove(made)


@pytest.mark.parametrize("engine", ["influxdb-2.7", "kapacitor"])
def test_a_task_of_the_name_that_is_not_ours_is_left_as_it_is(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = make_workspace(engine), now()
    with analytics(workspace, at) as made:
        made.task().install()
        backend = made.task().backend
        (task,) = backend.find()
        foreign = task.text.replace("// Downsamples", "// Sums")
        backend.update(task, foreign, active=True)
        with pytest.raises(TaskError, match="pfa-flux did not create"):
            made.task().install()
        assert backend.find()[0].text == foreign
        remove(made)


def test_two_tasks_of_the_name_are_refused(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-2.7")
    with analytics(workspace, now()) as made:
        made.task().install()
        made.task().backend.create()
        with pytest.raises(TaskError, match="2 tasks have this name"):
            made.task().install()
        remove(made)


@server_backends
def test_a_missing_target_bucket_is_made_and_said(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace = task_workspace(runs, make_workspace)
    workspace.client.drop_bucket(workspace.rollup)
    with analytics(workspace, now()) as made:
        assert made.task().install(create_bucket=True).made_bucket
        assert workspace.rollup in workspace.client.buckets()
        remove(made)


@pytest.mark.parametrize("engine", ["influxdb-2.7", "kapacitor"])
def test_a_missing_raw_bucket_is_an_error_and_nothing_is_installed(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(engine)
    workspace.client.drop_bucket(workspace.raw)
    with analytics(workspace, now()) as made:
        with pytest.raises(BucketNotFoundError, match="raw bucket"):
            made.task().install()
        assert made.task().backend.find() == []


def test_a_token_without_the_right_to_make_tasks_is_told(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-2.7")
    token = workspace.server.limited_token(read=(workspace.raw, workspace.rollup), write=(workspace.rollup,))
    own = {**workspace.settings(), "token": token}
    with Analytics(settings.load(own, environ={})) as made, pytest.raises(AccessDeniedError):
        made.task().install()


def test_a_backend_that_is_not_there_is_told_what_to_do(make_workspace: MakeWorkspace) -> None:
    with analytics(make_workspace("influxdb-1.8"), now()) as made:
        with pytest.raises(CapabilityError, match="kapacitor cannot run tasks here") as caught:
            made.task(backend="kapacitor")
        assert caught.value.hint.startswith("Set Kapacitor's address with --kapacitor-url. ")
        assert "--backend runner" in caught.value.hint


def test_kapacitor_works_with_a_user_and_password_and_never_shows_them(make_workspace: MakeWorkspace) -> None:
    workspace, at = make_workspace("kapacitor", auth=True), now()
    stop = window_end(at - 60 * SECOND)
    fill(workspace, at, [hit(stop - SECOND)])
    with analytics(workspace, at) as made:
        done = made.task().install()
        assert done.proof is not None
        assert done.proof.hits == 1
        backend = made.task().backend
        assert workspace.server.token in backend.text()
        shown = backend.masked(backend.text())
        assert workspace.server.token not in shown
        assert 'token: "***"' in shown
        remove(made)


def test_embedded_a_run_takes_up_every_window_since_the_oldest_hit(make_workspace: MakeWorkspace) -> None:
    workspace, at = make_workspace("embedded"), now()
    stop = window_end(at - 60 * SECOND)
    points = many_hits(stop, 300)
    fill(workspace, at, points)
    with analytics(workspace, at) as made:
        made.task().install()
        start, end = stop - 301 * WINDOW, stop
        assert made.task().run() == [(start, end)]
        closed = {key: n for key, n in expected(points).items() if key[0] <= stop}
        assert Rollup(made.engine, made.task().spec).sums(start, end) == closed
        # The next run begins at the last, less the lookback.
        assert made.task().run() == [(stop - 2 * WINDOW, stop)]


def test_a_task_that_is_not_installed_cannot_be_run(make_workspace: MakeWorkspace) -> None:
    with (
        analytics(make_workspace("embedded"), now()) as made,
        pytest.raises(TaskError, match="not installed"),
    ):
        made.task().run()


def remove(made: Analytics) -> None:
    backend = made.task().backend
    for task in backend.find():
        backend.remove(task)
