"""`pfa-flux task …` of one side, of both, and where one of them is missing or fails."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from pfa_flux.schema import BOTH, Side
from tests.cli import pfa_flux
from tests.contract import analytics, fill
from tests.data import hit, load
from tests.engines.plugin import MakeWorkspace
from tests.task_cli import EVERYBODY, SECOND, TASK_COMMANDS, WINDOW, Cli, closed, once


@pytest.fixture(params=EVERYBODY)
def cli(request: pytest.FixtureRequest, make_workspace: MakeWorkspace, tmp_path: Path) -> Cli:
    return Cli(make_workspace(request.param), tmp_path)


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
    assert (ran.code, "hits: downsampled" in ran.err, "to install it: pfa-flux install-task" in ran.err) == (
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
