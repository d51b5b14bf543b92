"""`pfa-flux task …`: what each command prints, as a table and as JSON, and the code it ends with."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.cli import Result, pfa_flux
from tests.contract import analytics, fill
from tests.data import hit
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace

SECOND = 10**9
WINDOW = 900 * SECOND


class Cli:
    """The command line on a workspace, with task names of its own."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self.workspace, self.folder = workspace, folder
        name = workspace.task_name
        schema = f'[schema]\ntask_name = "{name}"\nloads_task_name = "{name}_loads"\n'
        (folder / "pfa-flux.toml").write_text(f'{schema}[task]\nbackend = "{workspace.backend}"\n')

    def __call__(self, *arguments: str) -> Result:
        return pfa_flux(*arguments, env=self.workspace.env(), cwd=self.folder)

    def task(self, *arguments: str) -> Result:
        return self("task", *arguments)


@pytest.fixture(
    params=[
        "influxdb-2.7",
        "embedded",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("kapacitor", "influxdb-1.8")),
    ]
)
def cli(request: pytest.FixtureRequest, make_workspace: MakeWorkspace, tmp_path: Path) -> Cli:
    return Cli(make_workspace(request.param), tmp_path)


def closed() -> int:
    """End of the newest window, which is closed and due for everybody, and stays the newest while a test runs.

    A run is due a minute after a window's end, and `status` gives it another minute: whoever asks around then would
    find one window more or less, so those minutes are waited for.
    """
    while not 125 * SECOND < time.time_ns() % WINDOW < 855 * SECOND:
        time.sleep(1)
    return time.time_ns() // WINDOW * WINDOW


def test_a_task_from_its_plan_to_its_removal(cli: Cli) -> None:
    stop = closed()
    fill(cli.workspace, stop, [hit(stop - n * WINDOW - SECOND) for n in range(6)])
    planned = cli.task("plan")
    assert (planned.code, "create: the task is not installed" in planned.out) == (5, True)
    assert cli.task("plan", "--format", "json").json["state"] == "create"
    for command in ("runs", "logs", "run", "disable", "enable", "remove"):
        refused = cli.task(command)
        assert (refused.code, refused.out, "pfa-flux install-task" in refused.err) == (1, "", True), command
    found = cli.task("status")
    assert (found.code, "4 windows" in found.out, "6 windows are missing" in found.out) == (5, False, True)
    assert cli("install-task").code == 0
    planned = cli.task("plan")
    assert (planned.code, "up to date" in planned.out, "nothing" in planned.out) == (0, True, True)
    gaps = cli.task("gaps", "--format", "json")
    assert (gaps.code, gaps.json["state"], gaps.json["raw_windows"]) == (5, "gaps", 6)
    assert "missing" in cli.task("gaps").out
    filled = cli.task("backfill")
    assert (filled.code, filled.out) == (0, "4 windows were missing or short; 4 rows written\n")
    assert (cli.task("gaps").code, cli.task("gaps").out) == (0, "")
    status = cli.task("status", "--format", "json")
    assert (status.code, status.json["complete"], status.json["state"]) == (0, True, "complete"), status.json
    assert re.fullmatch(r"complete up to \S+Z", status.json["summary"])
    assert cli.task("verify").out.startswith("equal: 6 rows of 2,880 windows, ")
    assert cli.task("disable").code == 0
    assert cli.task("plan", "--format", "json").json["state"] == "disabled"
    assert (cli.task("status").code, "disabled" in cli.task("status").out) == (5, True)
    assert cli.task("enable").code == 0
    ran = cli.task("run")
    assert (ran.code, "downsampled " in ran.err) == (0, True)
    runs = cli.task("runs", "--format", "json").json
    assert {run["status"] for run in runs} == {"success"}
    assert runs[0]["id"] in cli.task("runs").out
    assert cli.task("logs").out != ""
    assert cli.task("remove").out.endswith(": removed\n")
    assert cli.task("plan", "--format", "json").json["state"] == "create"


def test_verify_prints_what_differs_and_repairs_it(cli: Cli) -> None:
    stop = closed()
    fill(cli.workspace, stop, [hit(stop - n * WINDOW - SECOND) for n in range(3)])
    assert cli.task("backfill").code == 0
    with analytics(cli.workspace, stop) as made:
        made.engine.delete(made.task().spec.rollup, stop - 1, stop)
    found = cli.task("verify")
    assert found.code == 5
    assert re.search(r"example\.com +/ +https +1 +none +the window is not downsampled", found.out)
    assert "1 places differ" in found.out
    assert "--repair" in found.err
    told = cli.task("verify", "--format", "json").json
    assert (told["clean"], told["count"], told["differences"][0]["raw"]) == (False, 1, 1)
    repaired = cli.task("verify", "--repair")
    assert (repaired.code, "1 of 1 places were repaired" in repaired.out) == (0, True)
    assert cli.task("verify").code == 0
    assert cli.task("repair").out.endswith("windows put together again\n")


def test_page_loads_have_their_own_with_js(cli: Cli) -> None:
    dry = cli("install-task", "--js", "--dry-run")
    assert (dry.code, f"{cli.workspace.task_name}_loads" in dry.out) == (0, True)
    assert cli("install-task", "--js").code == 0
    assert cli.task("plan", "--js").code == 0
    assert cli.task("plan").code == 5
    assert cli.task("remove", "--js").code == 0


@pytest.mark.parametrize("engine", ["influxdb-2.7", "kapacitor"])
def test_a_task_that_somebody_altered_is_shown_as_a_diff(
    engine: str, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    cli = Cli(make_workspace(engine), tmp_path)
    assert cli("install-task").code == 0
    with analytics(cli.workspace, time.time_ns()) as made:
        task = made.task()
        installed = task.installed()
        task.backend.update(installed, installed.text.replace("lookback = 2", "lookback = 9"), active=True)
        again = task.backend.create()
        planned = cli.task("plan")
        assert (planned.code, "duplicates" in planned.out, again.id in planned.out) == (5, True, True)
        assert cli.task("remove").code == 1
        assert cli.task("remove", "--id", again.id).code == 0
    planned = cli.task("plan")
    assert (planned.code, "altered since pfa-flux made it" in planned.out) == (5, True)
    lines = planned.out.splitlines()
    assert "-lookback = 9" in lines
    assert "+lookback = 2" in lines
    assert cli.task("plan", "--format", "json").json["diff"] != []
    assert cli.task("remove").code == 0


def test_a_server_that_runs_its_tasks_has_nothing_due_for_us(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    cli = Cli(make_workspace("influxdb-2.7"), tmp_path)
    refused = cli.task("run", "--due")
    assert (refused.code, "influxdb runs the task" in refused.err) == (1, True)
    assert cli("install-task", "--backend", "runner").code == 0
    done = cli.task("run", "--due", "--backend", "runner", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    refused = cli("install-task", "--backend", "kapacitor")
    assert (refused.code, "this engine has influxdb" in refused.err) == (1, True)


@pytest.mark.parametrize("command", ["gaps", "backfill", "verify"])
def test_a_malformed_range_is_a_usage_error(command: str, make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    cli = Cli(make_workspace("embedded"), tmp_path)
    for words in (("--start", "yesterday"), ("--start", "1h", "--stop", "2h"), ("--stop", "31d")):
        done = cli.task(command, *words)
        assert (done.code, done.out) == (2, ""), words


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('every = "90s"', "whole minutes"),
        ('every = "15m"\noffset = "15m"', "offset is not less than every"),
        ("lookback = 0", "not a positive whole number"),
        ('tags = ["domain", "sess"]', "'sess', which cannot be kept"),
        ('tags = ["page"]', "without domain"),
        ('tags = ["domain", "_x"]', "cannot be kept"),
        ('backend = "cron"', "Allowed are: auto, influxdb, kapacitor, runner"),
        ('evry = "15m"', "unknown key 'evry'"),
    ],
)
def test_a_task_that_cannot_be_is_refused_with_what_is_allowed(table: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "pfa-flux.toml").write_text(f"[task]\n{table}\n")
    done = pfa_flux("task", "plan", cwd=tmp_path)
    assert (done.code, words in done.err, "pfa-flux.toml" in done.err) == (2, True, True), done.err
