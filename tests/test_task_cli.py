"""`pfa-flux task …`: what each command prints, as a table and as JSON, and the code it ends with."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from pfa_flux.schema import BOTH, Side
from pfa_flux.times import format_instant, parse_instant
from tests.cli import Result, pfa_flux
from tests.contract import analytics, fill, rarely
from tests.data import hit, load
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace

SECOND = 10**9
TASK_COMMANDS = (
    *("plan", "status", "runs", "logs", "run", "disable", "enable", "remove", "gaps", "backfill", "verify", "repair"),
)
WINDOW = 900 * SECOND


class Cli:
    """The command line on a workspace, with task names of its own."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self.workspace, self.folder = workspace, folder
        name = workspace.task_name
        schema = f'[schema]\ntask_name = "{name}"\nloads_task_name = "{name}_loads"\n'
        (folder / "pfa-flux.toml").write_text(f'{schema}[task]\nbackend = "{workspace.backend}"\n')

    @property
    def names(self) -> tuple[str, str]:
        """Names of the tasks, that of hits first."""
        return self.workspace.task_name, f"{self.workspace.task_name}_loads"

    @property
    def settings(self) -> str:
        """The settings file."""
        return (self.folder / "pfa-flux.toml").read_text()

    def forget(self) -> None:
        """Take out of the settings that page loads are left out."""
        (self.folder / "pfa-flux.toml").write_text(self.settings.replace("loads = false\n", ""))

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


once = pytest.mark.parametrize("cli", rarely(["embedded", "influxdb-2.7"], but="embedded"), indirect=True)
"""What is a question of the commands, and hardly of who runs the tasks."""


def closed() -> int:
    """End of the newest window that is due for everybody, and stays the newest while a test runs.

    A run is due a minute after a window's end, and `status` gives it another minute: whoever asks around then would
    find one window more or less, so these are waited for.
    """
    while not 65 * SECOND < (time.time_ns() - 60 * SECOND) % WINDOW < 860 * SECOND:
        time.sleep(1)
    return (time.time_ns() - 60 * SECOND) // WINDOW * WINDOW


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


@pytest.mark.slow
@once
def test_js_is_page_loads_alone_and_hits_only_is_hits_alone(cli: Cli) -> None:
    stop = closed()
    fill(cli.workspace, stop, [hit(stop - SECOND), load(stop - SECOND), load(stop - 2 * SECOND)])
    for option, name, other in (("--hits-only", *cli.names), ("--js", *reversed(cli.names))):
        dry = cli("install-task", option, "--dry-run")
        assert (dry.code, f'"{name}"' in dry.out, f'"{other}"' in dry.out) == (0, True, False)
        # Nothing is remembered of a dry run, nor of what the environment says.
        assert "loads = false" not in cli.settings
        assert cli("install-task", option).out.splitlines()[0].startswith(f"{name} (")
        cli.forget()
        for command in ("plan", "status", "gaps", "verify"):
            told = cli.task(command, option, "--format", "json").json
            assert ("loads" in told, told.get("task", name)) == (False, name), command
        assert cli.task("plan", option).out.splitlines()[0].split()[:2] == ["task", name]
        assert cli.task("status", option).code == 0
        runs = cli.task("runs", option, "--format", "json").json
        assert [sorted(run) for run in runs] == [
            ["error", "finished", "id", "scheduled_for", "started", "status"]
        ] * len(runs)
        assert cli.task("verify", option).out.startswith("equal: 1 rows of ")
        assert cli.task("backfill", option).out == "0 windows were missing or short; 0 rows written\n"
        assert cli.task("disable", option).out == f"{name}: disabled\n"
        assert cli.task("enable", option).out == f"{name}: enabled\n"
        removed = cli.task("remove", option)
        assert (removed.code, removed.out.count("\n"), removed.out.startswith(f"{name} (")) == (0, 1, True)


@pytest.mark.parametrize("command", ["install-task", *(f"task {name}" for name in TASK_COMMANDS)])
def test_both_flags_are_a_usage_error(command: str, tmp_path: Path) -> None:
    words = [*command.split(), "--js", "--hits-only", "--data-dir", str(tmp_path / "data")]
    done = pfa_flux(*words, cwd=tmp_path)
    assert (done.code, done.out, "--js and --hits-only" in done.err) == (2, "", True)
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
@once
def test_either_side_that_has_something_to_do_ends_with_5(cli: Cli) -> None:
    stop = closed()
    # A window that no installation proves: it is older than a day.
    old = stop - 200 * WINDOW
    fill(cli.workspace, stop, [hit(old - SECOND), load(old - SECOND)])
    assert cli("install-task").code == 0
    for filled, other in (("--hits-only", "--js"), ("--js", "--hits-only")):
        assert cli.task("backfill", filled).code == 0
        for command in ("gaps", "status", "verify"):
            codes = [cli.task(command, *words).code for words in ((), (filled,), (other,))]
            assert codes == [5, 0, 5], (command, filled)
        with analytics(cli.workspace, stop) as made:
            task = made.task("hits" if filled == "--hits-only" else "loads")
            made.engine.delete(task.spec.rollup, old - SECOND, old + SECOND)
    for option in ("--js", "--hits-only"):
        assert cli.task("disable", option).code == 0
        assert cli.task("plan").code == 5
        assert cli.task("enable", option).code == 0
    assert cli.task("plan").code == 0
    assert cli.task("remove").code == 0


@once
def test_an_installation_of_hits_alone_is_told_what_is_missing_and_goes_on(cli: Cli) -> None:
    """As 0.1 left it where `--js` was not given."""
    stop = closed()
    fill(cli.workspace, stop, [hit(stop - SECOND), load(stop - SECOND)])
    with analytics(cli.workspace, stop + 90 * SECOND) as made:
        id_ = made.task().install().id
    hits, loads = cli.names
    plan = cli.task("plan", "--format", "json")
    assert (plan.code, plan.json["state"], plan.json["loads"]["state"]) == (5, "up to date", "create")
    assert plan.json["loads"]["advice"] == "Run pfa-flux install-task."
    shown = cli.task("plan").out
    assert "create: the task is not installed, so no ratio outlives the raw page loads" in shown
    status = cli.task("status", "--format", "json")
    assert (status.code, status.json["complete"], status.json["loads"]["complete"]) == (5, True, False)
    assert "the task is not installed" in status.json["loads"]["summary"]
    assert status.json["loads"]["advice"].startswith("Run pfa-flux install-task.")
    looked = re.sub(r"\s+", " ", cli("doctor").out)
    assert "loads task warning not installed, so no ratio outlives the raw page loads Run pfa-flux" in looked
    for command, side in (("runs", "hits"), ("logs", "hits")):
        listed = cli.task(command)
        assert (listed.code, side in listed.out, f"{loads} is skipped: it is not installed" in listed.err) == (
            0,
            True,
            True,
        )
    due = ["--due"] if plan.json["backend"] == "runner" else []
    ran = cli.task("run", *due)
    assert (ran.code, "hits: downsampled" in ran.err, "To install it: pfa-flux install-task" in ran.err) == (
        0,
        True,
        True,
    ), ran.err
    ran = cli.task("run", *due, "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    added = cli("install-task")
    assert (added.code, added.out.splitlines()[0]) == (0, f"{hits} ({id_}): up to date")
    assert re.fullmatch(rf"{loads} \(\S+\): created", added.out.splitlines()[1])
    assert "proved: 1 page loads from" in added.err
    assert (cli.task("plan").code, cli.task("status").code) == (0, 0)
    assert "loads task ok" in re.sub(r" +", " ", cli("doctor").out)
    assert cli.task("remove").code == 0


@once
def test_hits_only_is_remembered_and_honoured(cli: Cli) -> None:
    stop = closed()
    fill(cli.workspace, stop, [hit(stop - SECOND), load(stop - SECOND)])
    hits, loads = cli.names
    before = cli.settings
    done = cli("install-task", "--hits-only")
    assert done.code == 0, done.err
    first, second = done.out.splitlines()
    assert re.fullmatch(rf"{hits} \(\S+\): created", first)
    assert second == f"{cli.folder / 'pfa-flux.toml'}: with loads = false under [task]"
    assert cli.settings == f"{before}loads = false\n"
    assert (cli.task("plan").code, cli.task("status").code) == (0, 0)
    for command in ("plan", "status", "gaps", "verify"):
        assert "loads" not in cli.task(command, "--format", "json").json
    assert {run["side"] for run in cli.task("runs", "--format", "json").json} == {"hits"}
    assert "loads task" not in cli("doctor").out
    again = cli("install-task")
    assert (again.code, again.out.count("\n"), again.out.endswith(": up to date\n")) == (0, 1, True)
    assert "page loads are left out" in again.err
    assert "pfa-flux install-task --js" in again.err
    # What is asked for by name is told all the same.
    assert cli.task("plan", "--js").code == 5
    back = cli("install-task", "--js")
    assert re.fullmatch(rf"{loads} \(\S+\): created", back.out.splitlines()[0])
    assert back.out.splitlines()[1] == f"{cli.folder / 'pfa-flux.toml'}: without loads = false under [task]"
    assert cli.settings == before
    assert cli.task("plan", "--format", "json").json["loads"]["state"] == "up to date"
    assert cli.task("remove").code == 0


def test_hits_only_without_a_settings_file_says_how_it_is_remembered(tmp_path: Path) -> None:
    done = pfa_flux("install-task", "--hits-only", "--data-dir", str(tmp_path / "data"), cwd=tmp_path)
    assert (done.code, done.out.count("\n")) == (0, 1)
    assert "to keep this, write loads = false under [task] in pfa-flux.toml" in done.err
    assert not (tmp_path / "pfa-flux.toml").exists()


def test_hits_only_is_installed_where_the_settings_cannot_be_changed(tmp_path: Path) -> None:
    # The name has no room for the file that is written beside it first.
    file, text = tmp_path / f"{'x' * 245}.toml", f'data_dir = "{tmp_path / "data"}"\n'
    file.write_text(text)
    done = pfa_flux("install-task", "--hits-only", "--config", str(file), cwd=tmp_path)
    assert (done.code, done.out.endswith(": created\n")) == (0, True)
    assert "warning: this was not saved: " in done.err
    assert file.read_text() == text


@pytest.mark.slow
def test_a_side_that_cannot_be_installed_does_not_keep_the_other_from_it(
    make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    cli = Cli(make_workspace("influxdb-2.7"), tmp_path)
    absent = ("--loads-bucket", "absent/autogen")
    done = cli("install-task", *absent)
    assert done.code == 1
    assert re.fullmatch(rf"{cli.names[0]} \(\S+\): created\n", done.out)
    assert f"pfa-flux: {cli.names[1]}: the raw bucket 'absent/autogen' does not exist" in done.err
    assert "PFA_FLUX_LOADS_BUCKET" in done.err
    # And the other way round.
    assert cli.task("remove").code == 0
    client, server = cli.workspace.client, cli.workspace.server
    source = f'from(bucket: "{cli.workspace.raw}") |> range(start: -1h)'
    flux = f'option task = {{name: "{cli.names[0]}", every: 15m}}\n{source}'
    client.json("POST", "/api/v2/tasks", {"flux": flux, "org": server.org})
    done = cli("install-task")
    assert done.code == 1
    assert re.fullmatch(rf"{cli.names[1]} \(\S+\): created\n", done.out)
    assert f"pfa-flux: '{cli.names[0]}': a task of this name exists that pfa-flux did not create" in done.err
    assert cli.task("remove").code == 0


def test_what_is_wrong_with_both_sides_is_said_once(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    cli = Cli(make_workspace("influxdb-2.7"), tmp_path)
    done = cli("install-task", "--raw-bucket", "absent/autogen")
    assert (done.code, done.out) == (1, "")
    assert done.err.count("the raw bucket 'absent/autogen' does not exist") == 1


@pytest.mark.slow
@pytest.mark.parametrize("side", BOTH)
def test_of_several_tasks_of_a_name_the_one_with_the_id_is_removed_whichever_its_side(
    side: Side, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    cli = Cli(make_workspace("influxdb-2.7"), tmp_path)
    assert cli("install-task").code == 0
    with analytics(cli.workspace, time.time_ns()) as made:
        twin = made.task(side.value).backend.create().id
    name = cli.names[BOTH.index(side)]
    for command in ("disable", "remove"):
        refused = cli.task(command)
        assert (refused.code, refused.out, f"2 tasks named '{name}'" in refused.err) == (1, "", True)
    assert cli.task("remove", "--id", twin).out == f"{name} ({twin}): removed\n"
    assert cli.task("plan").code == 0
    absent = cli.task("remove", "--id", "0000000000000000")
    assert (absent.code, absent.out) == (1, "")
    assert cli.task("remove").out.count(": removed\n") == 2


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
