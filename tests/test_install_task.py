"""Installing the downsampling task on every engine that runs tasks: made, proved, idempotent, equal to raw."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from pfa_flux import AccessDeniedError, Analytics, BucketNotFoundError, CapabilityError, Point, TaskError, settings
from pfa_flux.tasks.rollup import WINDOW, raw_sums, rollup_sums, window_end
from tests.contract import analytics, fill
from tests.data import hit
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace

RUNNERS = ("influxdb-2.7", "influxdb-2.9", "kapacitor", "embedded")
"""Engines whose tasks somebody runs."""

runners = pytest.mark.parametrize("engine", RUNNERS)
SECOND = 10**9
Sums = dict[tuple[int, str, str, str], int]


def now() -> int:
    """A present three hours back: a task that runs on its own schedule meanwhile has nothing to do there."""
    return time.time_ns() - 3 * 3600 * SECOND


def expected(points: list[Point]) -> Sums:
    """Sums per end of window and tags, counted by hand."""
    return dict(
        Counter(
            (p.time // WINDOW * WINDOW + WINDOW, p.tags["domain"], p.tags["page"], p.tags["scheme"])
            for p in {(p.time, tuple(sorted(p.tags.items()))): p for p in points}.values()
        )
    )


def stored(workspace: Workspace, made: Analytics) -> list[dict[str, Any]]:
    """Downsampled rows as the store has them: time, value and all tags."""
    if workspace.embedded:
        rows = made.engine.select(  # type: ignore[attr-defined]
            "SELECT time, domain, page, scheme, value FROM rollup JOIN series ON series.id = series"
        )
        return [dict(zip(("time", "domain", "page", "scheme", "value"), row, strict=True)) for row in rows]
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


@runners
def test_installed_and_run_the_sums_equal_the_raw_datas_per_window_and_page(
    engine: str, make_workspace: MakeWorkspace
) -> None:
    workspace, at = make_workspace(engine), now()
    stop = window_end(at - 60 * SECOND)
    points = many_hits(stop, 2)
    fill(workspace, at, points)
    with analytics(workspace, at) as made:
        done = made.install_task()
        assert done.action == "created"
        assert done.proof is not None
        inside = {key: n for key, n in expected(points).items() if stop - 2 * WINDOW < key[0] <= stop}
        assert done.proof.hits == sum(inside.values())
        assert done.proof.rows == len(inside)
        rows = {(r["time"], r["domain"], r["page"], r["scheme"]): r["value"] for r in stored(workspace, made)}
        assert rows == inside
        assert all(type(value) is int for value in rows.values())
        assert rollup_sums(made.engine, made.task_spec, stop - 2 * WINDOW, stop) == inside
        assert raw_sums(made.engine, made.task_spec, stop - 2 * WINDOW, stop) == inside
        remove(made)


@runners
def test_a_second_install_changes_nothing_and_a_second_run_doubles_nothing(
    engine: str, make_workspace: MakeWorkspace
) -> None:
    workspace, at = make_workspace(engine), now()
    fill(workspace, at, many_hits(window_end(at - 60 * SECOND), 2))
    with analytics(workspace, at) as made:
        stop = window_end(at - 60 * SECOND)
        windows = (made.engine, made.task_spec, stop - 2 * WINDOW, stop)
        first = made.install_task()
        sums = rollup_sums(*windows)
        before = made.task_backend().find()
        second = made.install_task()
        assert (second.action, second.id, second.proof) == ("up to date", first.id, None)
        assert made.task_backend().find() == before
        made.run_task()
        assert rollup_sums(*windows) == sums == raw_sums(*windows)
        remove(made)


@runners
def test_a_late_hit_is_taken_up_by_the_next_run(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = make_workspace(engine), now()
    stop = window_end(at - 60 * SECOND)
    fill(workspace, at, [hit(stop - WINDOW - SECOND)])
    with analytics(workspace, at) as made:
        made.install_task()
    fill(workspace, at, [hit(stop - WINDOW - 2 * SECOND)])
    with analytics(workspace, at) as made:
        made.run_task()
        assert rollup_sums(made.engine, made.task_spec, stop - 2 * WINDOW, stop) == {
            (stop - WINDOW, "example.com", "/", "https"): 2
        }
        remove(made)


@runners
def test_hits_without_a_page_are_downsampled_too(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = make_workspace(engine), now()
    stop = window_end(at - 60 * SECOND)
    fill(workspace, at, [hit(stop - SECOND, page=""), hit(stop - 2 * SECOND), hit(stop - 3 * SECOND, page="")])
    with analytics(workspace, at) as made:
        made.install_task()
        assert rollup_sums(made.engine, made.task_spec, stop - 2 * WINDOW, stop) == {
            (stop, "example.com", "", "https"): 2,
            (stop, "example.com", "/", "https"): 1,
        }
        remove(made)


@runners
def test_rows_of_the_task_beside_rows_of_a_writer_make_one_series(engine: str, make_workspace: MakeWorkspace) -> None:
    """Tags in another order than the writer's would make a second series with an equal key, and sums would double."""
    workspace, at = make_workspace(engine), now()
    stop = window_end(at - 60 * SECOND)
    tags = {"domain": "example.com", "page": "/", "scheme": "https"}
    fill(workspace, at, [hit(stop - SECOND), hit(stop - 2 * SECOND)])
    with analytics(workspace, at) as made:
        made.engine.write(made.settings.rollup_bucket, [Point("pf_analytics_pixel", tags, "hitcount", 2, stop)])
        made.install_task()
        assert [row["value"] for row in stored(workspace, made)] == [2]
        assert rollup_sums(made.engine, made.task_spec, stop - WINDOW, stop) == {(stop, *tags.values()): 2}
        remove(made)


@pytest.mark.parametrize("engine", ["influxdb-2.7", "influxdb-2.9", "kapacitor"])
def test_rows_of_another_task_in_the_same_windows_fail_the_proof_and_what_was_there_is_put_back(
    engine: str, make_workspace: MakeWorkspace
) -> None:
    workspace, at = make_workspace(engine), now()
    stop = window_end(at - 60 * SECOND)
    fill(workspace, at, [hit(stop - SECOND)])
    with analytics(workspace, at) as made:
        workspace.client.write(
            workspace.rollup,
            [f"pf_analytics_pixel,domain=example.com,host=h,page=/,scheme=https hitcount=1i {stop}"],
        )
        with pytest.raises(TaskError, match=r"https://example\.com/: raw 1, downsampled 2"):
            made.install_task()
        assert made.task_backend().find() == []


@pytest.mark.parametrize("engine", ["influxdb-2.7", "kapacitor"])
def test_a_changed_spec_updates_the_task_and_keeps_its_id(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = make_workspace(engine), now()
    with analytics(workspace, at) as made:
        first = made.install_task()
    with analytics(workspace, at, rollup_hits_field="views") as made:
        second = made.install_task()
        assert (second.action, second.id) == ("updated", first.id)
        (task,) = made.task_backend().find()
        assert 'field = "views"' in task.text
        remove(made)


@pytest.mark.parametrize("engine", ["influxdb-2.7", "kapacitor"])
def test_a_disabled_task_is_enabled_again(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = make_workspace(engine), now()
    with analytics(workspace, at) as made:
        made.install_task()
        backend = made.task_backend()
        (task,) = backend.find()
        backend.update(task, task.text, active=False)
        assert made.install_task().action == "updated"
        assert backend.find()[0].active
        remove(made)


@pytest.mark.parametrize("engine", ["influxdb-2.7", "kapacitor"])
def test_a_task_of_the_name_that_is_not_ours_is_left_as_it_is(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = make_workspace(engine), now()
    with analytics(workspace, at) as made:
        made.install_task()
        backend = made.task_backend()
        (task,) = backend.find()
        foreign = task.text.replace("// Downsamples", "// Sums")
        backend.update(task, foreign, active=True)
        with pytest.raises(TaskError, match="was not made by pfa-flux"):
            made.install_task()
        assert backend.find()[0].text == foreign
        remove(made)


def test_two_tasks_of_the_name_are_refused(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-2.7")
    with analytics(workspace, now()) as made:
        made.install_task()
        made.task_backend().create()
        with pytest.raises(TaskError, match="there are 2 tasks named"):
            made.install_task()
        remove(made)


@pytest.mark.parametrize("engine", ["influxdb-2.7", "influxdb-2.9", "kapacitor"])
def test_a_missing_target_bucket_is_made_and_said(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(engine)
    workspace.client.drop_bucket(workspace.rollup)
    with analytics(workspace, now()) as made:
        assert made.install_task().made_bucket
        assert workspace.rollup in workspace.client.buckets()
        remove(made)


@pytest.mark.parametrize("engine", ["influxdb-2.7", "kapacitor"])
def test_a_missing_raw_bucket_is_an_error_and_nothing_is_installed(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(engine)
    workspace.client.drop_bucket(workspace.raw)
    with analytics(workspace, now()) as made:
        with pytest.raises(BucketNotFoundError, match="raw bucket"):
            made.install_task()
        assert made.task_backend().find() == []


def test_a_token_without_the_right_to_make_tasks_is_told(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-2.7")
    token = workspace.server.limited_token(read=(workspace.raw,), write=(workspace.rollup,))
    own = {**workspace.settings(), "token": token}
    with Analytics(settings.load(own, environ={})) as made, pytest.raises(AccessDeniedError):
        made.install_task()


@pytest.mark.parametrize("flux", [True, False])
def test_on_a_bare_1_8_it_is_told_what_to_do(flux: bool, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-1.8", flux=flux)
    with analytics(workspace, now()) as made:
        with pytest.raises(CapabilityError, match=r"InfluxDB 1\.8\.10 runs no tasks by itself") as caught:
            made.install_task()
        assert "PFA_FLUX_KAPACITOR_URL" in caught.value.hint


def test_kapacitor_works_with_a_user_and_password_and_never_shows_them(make_workspace: MakeWorkspace) -> None:
    workspace, at = make_workspace("kapacitor", auth=True), now()
    stop = window_end(at - 60 * SECOND)
    fill(workspace, at, [hit(stop - SECOND)])
    with analytics(workspace, at) as made:
        done = made.install_task()
        assert done.proof is not None
        assert done.proof.hits == 1
        backend = made.task_backend()
        assert workspace.server.token in backend.text()
        assert workspace.server.token not in backend.shown()
        assert 'token: "***"' in backend.shown()
        remove(made)


def test_embedded_a_run_takes_up_every_window_since_the_oldest_hit(make_workspace: MakeWorkspace) -> None:
    workspace, at = make_workspace("embedded"), now()
    stop = window_end(at - 60 * SECOND)
    points = many_hits(stop, 300)
    fill(workspace, at, points)
    with analytics(workspace, at) as made:
        made.install_task()
        start, end = made.run_task()
        assert (start, end) == (stop - 301 * WINDOW, stop)
        closed = {key: n for key, n in expected(points).items() if key[0] <= stop}
        assert rollup_sums(made.engine, made.task_spec, start, end) == closed
        # The next run begins at the last, less the lookback.
        assert made.run_task() == (stop - 2 * WINDOW, stop)


def test_a_task_that_is_not_installed_cannot_be_run(make_workspace: MakeWorkspace) -> None:
    with (
        analytics(make_workspace("embedded"), now()) as made,
        pytest.raises(TaskError, match="not installed"),
    ):
        made.run_task()


def remove(made: Analytics) -> None:
    backend = made.task_backend()
    for task in backend.find():
        backend.remove(task)
