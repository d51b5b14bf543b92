"""`pfa-flux doctor`: what it looks at, and what it says to do about each that fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pfa_flux import Analytics, settings
from pfa_flux.doctor.checks import examine
from pfa_flux.engines.base import Check
from pfa_flux.journal.spool import SPOOL_NAME, SpoolReader
from pfa_flux.schema import BOTH
from pfa_flux.settings import Secret, Settings
from pfa_flux.times import NS
from tests.cli import pfa_flux
from tests.contract import analytics, fill
from tests.data import DAY, HOUR, MINUTE, hit, load
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace
from tests.pixel_server import PixelServer

ALL = ("engine", "access", "flux", "raw bucket", "rollup bucket", "influxql (DBRP)", "read raw", "newest hit")
TASKS = ("task", "last run", "windows", "loads task", "loads last run", "loads windows")
ROOM = ("room for sess", "room for page")
"""Only InfluxDB 1.x bounds the values of a tag."""


def all_with_tasks(workspace: Workspace) -> list[str]:
    types = ("type of hits", "type of loads", *(() if workspace.server.org else ROOM))
    reads = [*ALL[:3], "token", *ALL[3:-2], *types, *ALL[-2:]]
    return [*reads, "newest load", "write rollup", "store", *TASKS]


def of(workspace: Workspace) -> Settings:
    own = settings.load(workspace.settings(), environ={})
    name = workspace.task_name
    own = replace(own, schema=replace(own.schema, task_name=name, loads_task_name=f"{name}_loads"))
    # What other runs of the tests serve meanwhile is not its pixel.
    return replace(own, pixel=replace(own.pixel, listen="unix:/nowhere/pixel")) if workspace.serverless else own


def install(made: Analytics) -> None:
    """Both tasks."""
    for side in BOTH:
        made.task(side.value).install()


def remove(made: Analytics) -> None:
    for side in BOTH:
        backend = made.task(side.value).backend
        for task in backend.find():
            backend.remove(task)


def look(own: Settings) -> dict[str, Check]:
    checks, _ = examine(own, time.time_ns())
    for check in checks:
        assert (check.status == "ok") == (check.advice == ""), check
    return {check.name: check for check in checks}


@pytest.mark.parametrize("engine", ["influxdb-2.7", "influxdb-2.9", "kapacitor"])
def test_all_is_well_after_install_task(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace, now = make_workspace(engine), time.time_ns()
    fill(workspace, now, [hit(now - HOUR), load(now - HOUR)])
    with analytics(workspace, now) as made:
        install(made)
        checks = look(of(workspace))
        assert [(name, check.status) for name, check in checks.items()] == [
            (name, "ok") for name in all_with_tasks(workspace)
        ]
        assert "(1h ago)" in checks["newest hit"].found
        remove(made)


def test_embedded_all_is_well_after_a_run(make_workspace: MakeWorkspace) -> None:
    workspace, now = make_workspace("embedded"), time.time_ns()
    fill(workspace, now, [hit(now - HOUR), load(now - HOUR)])
    with analytics(workspace, now) as made:
        install(made)
        made.task().run()
    checks = look(of(workspace))
    assert {name: check.status for name, check in checks.items()} == {
        **dict.fromkeys(("engine", "newest hit", "newest load", *TASKS), "ok"),
        "serve": "skipped",
    }


@pytest.mark.parametrize("engine", ["influxdb-2.7", "kapacitor", "influxdb-1.8", "embedded"])
def test_a_task_of_page_loads_that_is_missing_is_warned_of_unless_the_settings_leave_it_out(
    engine: str, make_workspace: MakeWorkspace
) -> None:
    workspace, now = make_workspace(engine), time.time_ns()
    fill(workspace, now, [hit(now - HOUR)])
    with analytics(workspace, now) as made:
        made.task().install()
        own = of(workspace)
        checks = look(own)
        assert [(name, check.status) for name, check in checks.items() if name in TASKS] == [
            ("task", "ok"),
            ("last run", "ok"),
            ("windows", "ok"),
            ("loads task", "warning"),
        ]
        assert checks["loads task"].found == "not installed, so there is no ratio after the raw page loads expire"
        assert checks["loads task"].advice == "Run pfa-flux install-task."
        without = look(replace(own, task=replace(own.task, loads=False)))
        assert without.keys() == checks.keys() - {"loads task", "newest load"}
        made.task("loads").install()
        assert [look(own)[name].status for name in TASKS] == ["ok"] * 6
        made.task("loads").disable()
        check = look(own)["loads task"]
        assert (check.status, "disabled" in check.found) == ("failed", True)
        remove(made)


def test_a_fresh_server_is_told_step_by_step(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-2.7")
    workspace.client.drop_bucket(workspace.rollup)
    checks = look(of(workspace))
    assert checks["rollup bucket"].status == checks["write rollup"].status == "failed"
    assert "install-task" in checks["rollup bucket"].advice
    assert (checks["task"].status, checks["task"].found) == ("failed", "not installed")
    assert (checks["newest hit"].status, checks["newest hit"].found) == ("warning", "none in the last 30 days")


def test_a_missing_raw_bucket(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-2.7")
    workspace.client.drop_bucket(workspace.raw)
    checks = look(of(workspace))
    assert checks["raw bucket"].status == checks["read raw"].status == "failed"
    assert "PFA_FLUX_RAW_BUCKET" in checks["raw bucket"].advice


def test_flux_that_is_off_and_tasks_that_nobody_runs(make_workspace: MakeWorkspace) -> None:
    workspace, now = make_workspace("influxdb-1.8", flux=False), time.time_ns()
    fill(workspace, now, [hit(now - 2 * NS)])
    checks = look(of(workspace))
    assert (checks["flux"].status, checks["flux"].found) == ("warning", "off or absent")
    assert "flux-enabled = true" in checks["flux"].advice
    assert "less than a minute ago" in checks["newest hit"].found
    assert (checks["task"].status, checks["task"].found) == ("failed", "not installed")
    with analytics(workspace, now) as made:
        made.task().install()
        checks = look(of(workspace))
        assert checks["task"].status == "ok"
        assert checks["last run"].status == "ok"


def test_a_bucket_that_influxql_cannot_reach_needs_a_dbrp_mapping(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-2.7")
    database, _, policy = workspace.raw.partition("/")

    def lead_to(bucket: str, database: str, policy: str) -> None:
        workspace.client.json(
            "POST",
            "/api/v2/dbrps",
            {
                "bucketID": workspace.client.bucket_id(bucket),
                "database": database,
                "retention_policy": policy,
                "default": True,
                "org": workspace.server.org,
            },
        )

    assert look(of(workspace))["influxql (DBRP)"].found == f"reaches {workspace.raw} as {database}.{policy}"
    # A mapping made by hand takes the bucket's own name from it.
    lead_to(workspace.rollup, database, policy)
    check = look(of(workspace))["influxql (DBRP)"]
    assert check.status == "warning"
    assert "influx v1 dbrp create" in check.advice
    lead_to(workspace.raw, f"{database}_2", "rp")
    check = look(of(workspace))["influxql (DBRP)"]
    assert (check.status, check.found) == ("ok", f"reaches {workspace.raw} as {database}_2.rp")


def test_a_task_that_is_disabled_or_differs(make_workspace: MakeWorkspace) -> None:
    workspace, now = make_workspace("influxdb-2.7"), time.time_ns()
    with analytics(workspace, now) as made:
        made.task().install()
        backend = made.task().backend
        (task,) = backend.find()
        backend.update(task, task.text + "\n// changed\n", active=True)
        check = look(of(workspace))["task"]
        assert (check.status, check.found) == ("warning", "the installed task was changed after pfa-flux created it")
        backend.update(task, task.text, active=False)
        check = look(of(workspace))["task"]
        assert (check.status, "disabled" in check.found) == ("failed", True)
        backend.remove(task)


def test_a_token_that_may_not_write_rollups(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-2.7")
    token = workspace.server.limited_token(read=(workspace.raw, workspace.rollup))
    checks = look(replace(of(workspace), token=Secret(token)))
    assert (checks["read raw"].status, checks["influxql (DBRP)"].status) == ("ok", "ok")
    assert checks["write rollup"].status == "skipped"
    assert "The token lacks the right to write the bucket" in checks["write rollup"].advice


def test_a_token_that_may_not_read_raw(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-2.7")
    token = workspace.server.limited_token(write=(workspace.rollup,))
    checks = look(replace(of(workspace), token=Secret(token)))
    assert checks["read raw"].status == "failed"
    assert "may not read" in checks["read raw"].found


def test_the_command_ends_with_1_for_a_failed_check_and_4_for_a_server_out_of_reach(
    make_workspace: MakeWorkspace,
) -> None:
    failed = pfa_flux("doctor", env=make_workspace("influxdb-2.7").env())
    assert failed.code == 1
    assert "pfa-flux install-task" in failed.out
    out_of_reach = pfa_flux("doctor", "--url", "http://127.0.0.1:9")
    assert out_of_reach.code == 4
    assert "PFA_FLUX_URL" in out_of_reach.out
    denied = pfa_flux("doctor", env={**make_workspace("influxdb-2.7").env(), "PFA_FLUX_TOKEN": "no"})
    assert (denied.code, "access" in denied.out) == (4, True)


@pytest.mark.parametrize("engine", ["influxdb-2.7", "influxdb-2.9", "kapacitor", "influxdb-1.8", "embedded"])
def test_a_fresh_installation_waits_for_its_first_hit(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace, now = make_workspace(engine), time.time_ns()
    own = of(workspace)
    with analytics(workspace, now) as made:
        assert look(own)["newest hit"].status == "warning"
        install(made)
        checks = look(own)
        assert {check.status for name, check in checks.items() if name != "serve"} == {"ok"}
        found = checks["newest hit"].found
        assert found.startswith("waiting for the first hit, for less than a minute. To send one: curl ")
        domains = ("*.a.example", "a.onion", "b.example")
        named = look(replace(own, pixel=replace(own.pixel, domains=domains)))["newest hit"].found
        assert named.endswith(": curl -so /dev/null -D - -e https://b.example/ https://b.example/count.gif")
        # A day later it has waited for too long.
        (check,) = [check for check in examine(own, now + DAY + MINUTE)[0] if check.name == "newest hit"]
        assert (check.status, check.found) == ("warning", "none in the last 30 days")
        assert "curl -so /dev/null -D - -e https://example.com/ https://example.com/count.gif" in check.advice
        remove(made)


def test_hits_that_have_stopped_are_no_fresh_installation(make_workspace: MakeWorkspace) -> None:
    workspace, now = make_workspace("embedded"), time.time_ns()
    fill(workspace, now, [hit(now - 40 * DAY)])
    with analytics(workspace, now) as made:
        made.task().install()
    check = look(of(workspace))["newest hit"]
    assert (check.status, check.found) == ("warning", "none in the last 30 days")


@pytest.mark.parametrize("engine", ["embedded", "influxdb-1.8"])
def test_a_task_that_nobody_runs_any_more(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace, now = make_workspace(engine), time.time_ns()
    fill(workspace, now, [hit(now - HOUR)])
    with analytics(workspace, now) as made:
        made.task().install()
    assert look(of(workspace))["last run"].status == "ok"
    (check,) = [check for check in examine(of(workspace), now + HOUR)[0] if check.name == "last run"]
    assert (check.status, check.found.rpartition(", ")[2]) == ("warning", "59m ago")
    assert check.advice.startswith(
        "Nothing runs it: start pfa-flux serve, which does. Or: Run `pfa-flux task run --due`"
    )


@pytest.fixture
def waiting(tmp_path: Path) -> Settings:
    """Settings of a pixel whose InfluxDB is away, with two hits in its spool; it runs no more."""
    with PixelServer(tmp_path, url="http://127.0.0.1:9", pixel={"domains": ["example.com"]}) as pixel:
        with pixel.connect() as connection:
            ask = b"GET /count.gif HTTP/1.1\r\nHost: example.com\r\nReferer: http://example.com/\r\n\r\n"
            for _ in range(2):
                connection.sendall(ask)
                assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        return settings.load({}, environ={}, config=pixel.config)


def beside_the_engine(own: Settings, now: int) -> dict[str, Check]:
    """The checks but for the engine's, which is away."""
    checks, error = examine(own, now)
    assert error is not None
    assert checks[0].status == "failed"
    return {check.name: check for check in checks[1:]}


def test_hits_that_wait_are_told_though_the_engine_is_away(waiting: Settings) -> None:
    found = beside_the_engine(waiting, time.time_ns())
    assert found.keys() == {"pixel", "serve"}
    words = "hits waiting for InfluxDB: 2, the oldest for less than a minute"
    assert found["pixel"] == Check("pixel", "ok", words)
    check = beside_the_engine(waiting, time.time_ns() + 20 * MINUTE)["pixel"]
    assert (check.status, check.found) == ("warning", "hits waiting for InfluxDB: 2, the oldest for 20m")
    assert "Does pfa-flux serve run?" in check.advice


def test_lines_that_were_refused_and_damaged_files(waiting: Settings) -> None:
    reader = SpoolReader(waiting.data_dir)
    reader.quarantine.put(time.time_ns(), "field type conflict", ["a b=1i 1", "a b=1i 2"])
    reader.close()
    for end in ("", "-wal"):
        (waiting.data_dir / f"{SPOOL_NAME}.damaged-20260101T000000Z-0{end}").write_text("x")
    found = beside_the_engine(waiting, time.time_ns())
    assert [(check.name, check.status, check.found) for check in found.values() if check.name != "serve"] == [
        ("pixel", "ok", "hits waiting for InfluxDB: 2, the oldest for less than a minute"),
        ("quarantine", "warning", "points that InfluxDB refused: 2 (field type conflict)"),
        ("damaged files", "warning", f"renamed: {SPOOL_NAME}.damaged-20260101T000000Z-0"),
    ]
    assert "pfa-flux quarantine" in found["quarantine"].advice


def test_a_spool_that_is_no_spool(waiting: Settings) -> None:
    for file in waiting.data_dir.glob(f"{SPOOL_NAME}*"):
        file.unlink()
    (waiting.data_dir / SPOOL_NAME).write_text("no database at all" * 100)
    check = beside_the_engine(waiting, time.time_ns())["pixel"]
    assert (check.status, "cannot be read: file is not a database" in check.found) == ("failed", True)


def test_a_data_directory_that_is_not_ours(waiting: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = PermissionError(13, "Permission denied", "spool")
    real: Callable[..., bool] = Path.exists

    def exists(path: Path) -> bool:
        if path.name == SPOOL_NAME:
            raise refused
        return real(path)

    # The tests may run as root, who may read everything.
    monkeypatch.setattr(Path, "exists", exists)
    check = beside_the_engine(waiting, time.time_ns())["pixel"]
    assert (check.status, check.found) == ("skipped", "you may not read spool")
    assert "as root" in check.advice
