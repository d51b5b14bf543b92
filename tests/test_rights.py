"""Rights: what a token lacks is said by what was asked, who needs it and what goes without, role by role."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pfa_flux import Analytics, settings
from pfa_flux.doctor.checks import examine
from pfa_flux.engines.base import Check
from pfa_flux.errors import AccessDeniedError, PfaFluxError
from pfa_flux.schema import BOTH
from pfa_flux.settings import Secret, Settings
from tests.cli import Result, pfa_flux
from tests.contract import analytics, fill
from tests.data import HOUR, hit, load
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace

RARE = [pytest.param(name, marks=pytest.mark.slow) for name in ("influxdb-1.8", "influxdb-1.12", "influxdb-2.9")]
servers = pytest.mark.parametrize("engine", ["influxdb-2.7", *RARE])


def place(engine: str, make_workspace: MakeWorkspace) -> Workspace:
    """A workspace that asks for tokens, with hits and page loads of an hour ago."""
    workspace, now = make_workspace(engine, auth=engine.startswith("influxdb-1")), time.time_ns()
    fill(workspace, now, [hit(now - HOUR), load(now - HOUR)])
    return workspace


def token_of(workspace: Workspace, who: str) -> str:
    """A token of a reader, the pixel, an admin, or nobody, as docs/tokens.md has them."""
    raw, rollup = workspace.raw, workspace.rollup
    if workspace.client.is_2:
        make = workspace.server.limited_token
        if who == "admin":
            return make(read=(raw, rollup), write=(rollup,), tasks=("read", "write"))
        # A token without any right is not to be had.
        writes = {"pixel": (raw,), "nobody": (rollup,)}.get(who, ())
        return make(read=(raw, rollup) if who == "reader" else (), write=writes)
    database, _, mark = raw.partition("/")[0].partition("_")
    name, rollups = f"{who}_{mark}", rollup.partition("/")[0]
    grants = {
        "reader": (f'GRANT READ ON "{database}_{mark}"', f'GRANT READ ON "{rollups}"'),
        "pixel": (f'GRANT WRITE ON "{database}_{mark}"',),
        "admin": (f'GRANT READ ON "{database}_{mark}"', f'GRANT ALL ON "{rollups}"'),
        "nobody": (),
    }
    workspace.client.influxql(f"CREATE USER {name} WITH PASSWORD 'secret'")
    for grant in grants[who]:
        workspace.client.influxql(f"{grant} TO {name}")
    return f"{name}:secret"


def own(workspace: Workspace, token: str) -> Settings:
    found = settings.load(workspace.settings(), environ={})
    name = workspace.task_name
    named = replace(found.schema, task_name=name, loads_task_name=f"{name}_loads")
    return replace(found, schema=named, token=Secret(token), data_dir=workspace.folder / "elsewhere")


def look(workspace: Workspace, token: str) -> dict[str, Check]:
    return {check.name: check for check in examine(own(workspace, token), time.time_ns())[0]}


def install(workspace: Workspace) -> None:
    """Both tasks, run once, by who may do everything."""
    with analytics(workspace, time.time_ns()) as made:
        for side in BOTH:
            made.task(side.value).install()
            made.task(side.value).run()


def command(workspace: Workspace, token: str, *words: str) -> Result:
    config = workspace.folder / "pfa-flux.toml"
    names = f'task_name = "{workspace.task_name}"\nloads_task_name = "{workspace.task_name}_loads"\n'
    config.write_text(f"[schema]\n{names}")
    env = {**workspace.env(), "PFA_FLUX_TOKEN": token, "PFA_FLUX_DATA_DIR": str(workspace.folder / "elsewhere")}
    return pfa_flux(*words, "--config", str(config), env=env)


LACKS = {
    "influxdb-1": "admin: no, it lacks write {rollup}",
    "influxdb-2": "admin: no, it lacks write {rollup} and tasks",
}


@servers
def test_a_readers_doctor_is_all_green(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace = place(engine, make_workspace)
    install(workspace)
    reader = token_of(workspace, "reader")
    checks = look(workspace, reader)
    assert {name: check.status for name, check in checks.items() if check.status != "ok"} == {
        "write rollup": "skipped",
        "task": "skipped",
        "loads task": "skipped",
    }
    assert checks["token"].found == (
        "reader: enough for blocked-ratio, report, view, task verify; "
        f"pixel: no, it lacks write {workspace.raw}; {LACKS[engine[:10]].format(rollup=workspace.rollup)}"
    )
    assert checks["windows"].found == "those of the last 7 days match raw data (1 with rows)"
    assert "not installed" not in str(checks)


@servers
def test_doctor_knows_the_pixel_and_the_admin_by_their_rights(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace = place(engine, make_workspace)
    install(workspace)
    pixel = look(workspace, token_of(workspace, "pixel"))
    assert {check.status for check in pixel.values()} == {"ok", "skipped"}
    reads = f"read {workspace.raw} and read {workspace.rollup}"
    assert pixel["token"].found.startswith(f"pixel: enough for serve; reader: no, it lacks {reads}; admin: no,")
    assert "neither read nor write it" in pixel["rollup bucket"].found
    admin = look(workspace, token_of(workspace, "admin"))
    assert admin["token"].status == admin["write rollup"].status == admin["store"].status == "ok"
    assert admin["token"].found.startswith("reader: enough for blocked-ratio, report, view, task verify; admin: enough")
    assert admin["task"].status == ("ok" if workspace.client.is_2 else "failed")
    nobody = look(workspace, token_of(workspace, "nobody"))
    assert (nobody["token"].status, nobody["read raw"].status) == ("failed", "failed")


def test_some_of_an_admins_rights_are_warned_of(make_workspace: MakeWorkspace) -> None:
    workspace = place("influxdb-2.7", make_workspace)
    half = workspace.server.limited_token(read=(workspace.raw, workspace.rollup), tasks=("read", "write"))
    check = look(workspace, half)["token"]
    assert (check.status, f"admin: no, it lacks write {workspace.rollup}" in check.found) == ("warning", True)


@servers
def test_who_may_not_see_tasks_is_told_so_and_not_that_there_are_none(
    engine: str, make_workspace: MakeWorkspace
) -> None:
    workspace = place(engine, make_workspace)
    install(workspace)
    reader = token_of(workspace, "reader")
    told = (
        "the token may not see tasks: InfluxDB lists none for it"
        if workspace.client.is_2
        else f"the token may not write '{workspace.rollup}': if pfa-flux runs"
    )
    with Analytics(own(workspace, reader)) as made:
        task = made.task()
        found = task.status(time.time_ns() - 2 * HOUR)
        assert (found.complete, found.plan.state, task.plan().differs) == (True, "unknown", False)
        assert found.summary.startswith("complete up to ")
        assert told in found.summary
        for refused in (task.install, task.installed, task.runs, task.disable):
            with pytest.raises(AccessDeniedError, match=re.escape(told)) as caught:
                refused()
            assert "The token lacks the right to" in caught.value.hint


@pytest.mark.slow
@servers
def test_commands_of_who_may_not_see_tasks_end_as_their_answers_are_worth(
    engine: str, make_workspace: MakeWorkspace
) -> None:
    workspace = place(engine, make_workspace)
    install(workspace)
    reader = token_of(workspace, "reader")
    status = command(workspace, reader, "task", "status", "--format", "json", "--start", "2h")
    assert (status.code, status.json["plan"], status.json["complete"]) == (0, "unknown", True)
    plan = command(workspace, reader, "task", "plan", "--format", "json")
    assert (plan.code, plan.json["state"], plan.json["differs"]) == (4, "unknown", False)
    assert plan.json["words"].startswith("the token may not ")
    assert command(workspace, reader, "install-task").code == command(workspace, reader, "task", "runs").code == 4
    assert command(workspace, reader, "doctor").code == 0


def test_where_the_token_sees_other_tasks_a_missing_one_is_missing(make_workspace: MakeWorkspace) -> None:
    workspace, other = place("influxdb-2.7", make_workspace), place("influxdb-2.7", make_workspace)
    seer = workspace.server.limited_token(read=(workspace.raw, workspace.rollup), tasks=("read",))
    with Analytics(own(workspace, seer)) as made:
        install(other)
        assert made.task().plan().state == "create"
    with analytics(other, time.time_ns()) as made:
        for side in BOTH:
            made.task(side.value).remove()


def refusal(workspace: Workspace, token: str, act: str) -> PfaFluxError:
    """The error of something that a token may not do."""
    with Analytics(own(workspace, token)) as made:
        engine, rows = made.engine, made.task().rollup.spec.rollup
        acts: dict[str, Callable[[], object]] = {
            "write": lambda: engine.probe_write(workspace.rollup),
            "delete": lambda: engine.delete(rows, 0, HOUR),
            "make": lambda: engine.create_bucket(f"{workspace.rollup}2"),
            "read": lambda: engine.rows(replace(rows, bucket=workspace.raw), 0, HOUR),
            "tasks": made.task().backend.create,
        }
        with pytest.raises(AccessDeniedError) as caught:
            acts[act]()
    return caught.value


@pytest.mark.parametrize(
    ("act", "who", "asked", "named"),
    [
        (
            "write",
            "reader",
            "POST /api/v2/write",
            "The token lacks the right to write the bucket. serve writes to the raw bucket",
        ),
        ("delete", "reader", "", "The token lacks {the right to write the bucket|WRITE on .*}. serve writes to"),
        ("make", "reader", "", "The token lacks {the right to create buckets .*|admin privilege}. Only --create-"),
        ("read", "pixel", "", "The token lacks {the right to read the bucket|READ on .*}. blocked-ratio, report, view"),
    ],
)
@servers
def test_a_refusal_says_what_is_missing_who_needs_it_and_what_goes_without(
    engine: str, act: str, who: str, asked: str, named: str, make_workspace: MakeWorkspace
) -> None:
    workspace = place(engine, make_workspace)
    error = refusal(workspace, token_of(workspace, who), act)
    assert asked in error.message
    assert re.match(named.replace("{", "(?:").replace("}", ")"), error.hint), error.hint
    assert re.search("do(es)? not need it", error.hint)


def test_a_refused_task_is_told_as_well(make_workspace: MakeWorkspace) -> None:
    workspace = place("influxdb-2.7", make_workspace)
    error = refusal(workspace, token_of(workspace, "reader"), "tasks")
    assert "POST /api/v2/tasks" in error.message
    assert error.hint.startswith("The token lacks the right to read and write tasks. install-task, task plan")
    assert "With --backend runner, pfa-flux runs the tasks itself" in error.hint


@servers
def test_a_token_that_is_unknown_is_told_from_one_without_a_right(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace = place(engine, make_workspace)
    with pytest.raises(AccessDeniedError) as wrong:
        Analytics(own(workspace, "somebody:secret"))
    if workspace.client.is_2:
        assert "does not know the token (unauthorized access)" in wrong.value.message
        assert "InfluxDB 2 needs an API token, not user:password" in wrong.value.hint
    else:
        assert "does not know the user, or the password is wrong (authorization failed)" in wrong.value.message
        assert "on 1.x it is user:password" in wrong.value.hint
    with pytest.raises(AccessDeniedError) as none:
        Analytics(own(workspace, ""))
    assert none.value.hint.startswith("Set a token with PFA_FLUX_TOKEN")


def test_a_bucket_that_is_missing_is_told_from_one_that_may_not_be_read(
    make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace = place("influxdb-2.7", make_workspace)
    pixel = token_of(workspace, "pixel")
    for bucket, words in ((workspace.rollup, "may neither read nor write it"), ("absent/autogen", "does not exist")):
        found = replace(own(workspace, pixel), rollup_bucket=bucket)
        checks = {check.name: check for check in examine(found, time.time_ns())[0]}
        assert words in checks["rollup bucket"].found
