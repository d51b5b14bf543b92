"""`pfa-flux task …`: what each command prints, as a table and as JSON, and the code it ends with."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from pfa_flux.times import format_instant, parse_instant
from tests.cli import pfa_flux
from tests.contract import analytics, fill, rarely
from tests.data import hit, load
from tests.engines.plugin import MakeWorkspace
from tests.task_cli import EVERYBODY, SECOND, WINDOW, Cli, closed


@pytest.fixture(params=EVERYBODY)
def cli(request: pytest.FixtureRequest, make_workspace: MakeWorkspace, tmp_path: Path) -> Cli:
    return Cli(make_workspace(request.param), tmp_path)


@pytest.mark.parametrize(
    "cli", rarely(["influxdb-2.7", "embedded", "kapacitor", "influxdb-1.8"], but="influxdb-2.7"), indirect=True
)
@pytest.mark.slow
def test_both_tasks_from_their_plan_to_their_removal(cli: Cli) -> None:
    stop = closed()
    hits = [hit(stop - n * WINDOW - SECOND) for n in range(6)]
    fill(cli.workspace, stop, [*hits, *(load(stop - n * WINDOW - SECOND) for n in range(5))])
    planned = cli.task("plan")
    assert (planned.code, planned.out.count("create: the task is not installed")) == (5, 2)
    plan = cli.task("plan", "--format", "json").json
    assert (plan["state"], plan["loads"]["state"]) == ("create", "create")
    for command in ("runs", "logs", "run", "disable", "enable", "remove"):
        refused = cli.task(command)
        assert (refused.code, refused.out, "pfa-flux install-task" in refused.err) == (1, "", True), command
    found = cli.task("status")
    assert (found.code, "6 windows are missing" in found.out, "5 windows are missing" in found.out) == (5, True, True)
    done = cli("install-task")
    assert (done.code, done.out.count(": created\n")) == (0, 2)
    planned = cli.task("plan")
    assert (planned.code, planned.out.count("up to date"), planned.out.count("nothing")) == (0, 2, 2)
    gaps = cli.task("gaps", "--format", "json")
    assert (gaps.code, gaps.json["state"], gaps.json["raw_windows"]) == (5, "gaps", 6)
    assert (gaps.json["loads"]["state"], gaps.json["loads"]["raw_windows"]) == ("gaps", 5)
    low = [format_instant(stop - n * WINDOW) for n in (6, 5, 2)]
    assert [line.split() for line in cli.task("gaps").out.splitlines()] == [
        ["side", "from", "to", "windows"],
        ["hits", low[0], low[2], "4", "missing"],
        ["loads", low[1], low[2], "3", "missing"],
    ]
    filled = cli.task("backfill")
    assert (filled.code, filled.out) == (
        0,
        "hits: 4 windows were missing or short; 4 rows written\n"
        "loads: 3 windows were missing or short; 3 rows written\n",
    )
    assert (cli.task("gaps").code, cli.task("gaps").out) == (0, "")
    status = cli.task("status", "--format", "json")
    for found in (status.json, status.json["loads"]):
        assert (found["complete"], found["state"]) == (True, "complete"), found
        assert re.fullmatch(r"complete up to \S+Z", found["summary"])
    assert status.code == 0
    verified = cli.task("verify").out.splitlines()
    # A server's raw data begins somewhere; of the embedded store all windows are known, those without a row as well.
    windows = ["2,880"] * 2 if cli.workspace.serverless else ["6", "5"]
    assert [line.partition(" windows, ")[0] for line in verified] == [
        f"hits: equal: 6 rows of {windows[0]}",
        f"loads: equal: 5 rows of {windows[1]}",
    ]
    names = cli.names
    assert cli.task("disable").out == f"{names[0]}: disabled\n{names[1]}: disabled\n"
    plan = cli.task("plan", "--format", "json").json
    assert (plan["state"], plan["loads"]["state"]) == ("disabled", "disabled")
    assert (cli.task("status").code, cli.task("status").out.count("disabled")) == (5, 2)
    assert cli.task("enable").out == f"{names[0]}: enabled\n{names[1]}: enabled\n"
    ran = cli.task("run")
    assert (ran.code, "hits: downsampled " in ran.err, "loads: downsampled " in ran.err) == (0, True, True)
    runs = cli.task("runs", "--format", "json").json
    assert {run["status"] for run in runs} == {"success"}
    assert {run["side"] for run in runs} == {"hits", "loads"}
    order = [(parse_instant(run["scheduled_for"], 0), parse_instant(run["started"], 0)) for run in runs]
    assert order == sorted(order, reverse=True)
    assert cli.task("runs", "--limit", "1", "--format", "json").json == runs[:1]
    assert all(run["id"] in cli.task("runs").out for run in runs)
    assert {line.partition(": ")[0] for line in cli.task("logs").out.splitlines()} == {"hits", "loads"}
    removed = cli.task("remove").out.splitlines()
    assert [line.partition(" ")[0] for line in removed] == list(names)
    assert all(line.endswith(": removed") for line in removed)
    plan = cli.task("plan", "--format", "json").json
    assert (plan["state"], plan["loads"]["state"]) == ("create", "create")


def test_verify_prints_what_differs_of_each_side_and_repairs_it(cli: Cli) -> None:
    stop = closed()
    hits = [hit(stop - n * WINDOW - SECOND) for n in range(3)]
    fill(cli.workspace, stop, [*hits, *(load(stop - n * WINDOW - SECOND) for n in range(2))])
    assert cli.task("backfill").code == 0
    with analytics(cli.workspace, stop) as made:
        made.engine.delete(made.task("loads").spec.rollup, stop - 1, stop)
    found = cli.task("verify", "--format", "json")
    assert (found.code, found.json["clean"], found.json["loads"]["clean"]) == (5, True, False)
    with analytics(cli.workspace, stop) as made:
        made.engine.delete(made.task().spec.rollup, stop - 1, stop)
    found = cli.task("verify")
    assert found.code == 5
    assert re.search(r"example\.com +/ +https +1 +none +the window is not downsampled", found.out)
    assert re.search(r"example\.com +/ +1 +none +the window is not downsampled", found.out)
    assert ("hits: 1 places differ" in found.out, "loads: 1 places differ" in found.out) == (True, True)
    assert "--repair" in found.err
    told = cli.task("verify", "--format", "json").json
    assert (told["clean"], told["count"], told["differences"][0]["raw"]) == (False, 1, 1)
    assert (told["loads"]["clean"], told["loads"]["count"]) == (False, 1)
    repaired = cli.task("verify", "--repair")
    assert (repaired.code, repaired.out.count("1 of 1 places were repaired")) == (0, 2)
    assert cli.task("verify").code == 0
    lines = cli.task("repair").out.splitlines()
    assert [re.sub(r"\d+", "N", line) for line in lines] == [
        f"{side}: N windows were repaired" for side in ("hits", "loads")
    ]


@pytest.mark.parametrize("engine", ["influxdb-1.8", "embedded"])
def test_due_leaves_a_disabled_side_at_rest_and_accepts_the_clock_once(
    engine: str, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    cli = Cli(make_workspace(engine), tmp_path)
    stop = closed()
    fill(cli.workspace, stop, [hit(stop - SECOND), load(stop - SECOND)])
    assert cli("install-task").code == 0
    ran = cli.task("run", "--due", "--accept-clock")
    # A second acceptance would be refused, and say so.
    assert (ran.code, "first run once without it" in ran.err) == (0, False)
    assert ("hits: downsampled" in ran.err, "loads: downsampled" in ran.err) == (True, True)
    assert cli.task("disable", "--js").code == 0
    ran = cli.task("run", "--due")
    assert (ran.code, f"{cli.names[1]} is skipped: it is disabled" in ran.err) == (0, True)
    assert cli.task("disable").code == 0
    refused = cli.task("run", "--due")
    assert (refused.code, f"the task '{cli.names[0]}' is disabled" in refused.err) == (1, True)


@pytest.mark.slow
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
    assert (planned.code, "changed after pfa-flux created it" in planned.out) == (5, True)
    lines = planned.out.splitlines()
    assert "-lookback = 9" in lines
    assert "+lookback = 2" in lines
    assert cli.task("plan", "--format", "json").json["diff"] != []
    assert cli.task("remove").code == 0


@pytest.mark.slow
def test_what_is_due_of_a_servers_task_is_a_comparison(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    cli = Cli(make_workspace("influxdb-2.7"), tmp_path)
    refused = cli.task("run", "--due")
    assert (refused.code, "is not installed" in refused.err) == (1, True)
    stop = closed()
    late = [hit(stop - n * 3600 * SECOND, sess=f"{n}") for n in range(2, 8)]
    fill(cli.workspace, stop, late)
    assert cli("install-task").code == 0
    done = cli.task("run", "--due")
    assert (done.code, "hits: compared " in done.err, "loads: nothing is due" in done.err) == (0, True, True)
    assert cli.task("gaps").code == 0
    again = cli.task("run", "--due")
    assert (again.code, "hits: nothing is due" in again.err) == (0, True)
    assert cli("install-task", "--backend", "runner").code == 0
    done = cli.task("run", "--due", "--backend", "runner", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    refused = cli("install-task", "--backend", "kapacitor")
    assert (refused.code, "this engine has influxdb" in refused.err) == (1, True)
    assert cli.task("remove").code == 0


@pytest.mark.parametrize("command", ["gaps", "backfill", "verify"])
def test_a_malformed_range_is_a_usage_error(command: str, make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    cli = Cli(make_workspace("embedded"), tmp_path)
    for words in (("--start", "tomorrow"), ("--start", "1h", "--stop", "2h"), ("--stop", "31d")):
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
