"""Buckets are made only if asked for, and a rejected answer is no new default."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.cli import pfa_flux as plain
from tests.engines.plugin import MakeWorkspace
from tests.initial import Folder, Terminal, run

TWO = pytest.mark.parametrize("engine", ["influxdb-2.7", pytest.param("influxdb-1.8", marks=pytest.mark.slow)])


@TWO
def test_init_refuses_a_mistyped_rollup_bucket(engine: str, make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    place = Folder(make_workspace(engine), tmp_path)
    workspace = place.workspace
    before = workspace.client.buckets()
    mistyped = workspace.rollup.replace("analytics", "analitycs")
    done = place.init("--yes", "--rollup-bucket", mistyped)
    assert (done.code, done.out, place.untouched()) == (1, "", True)
    assert done.err.splitlines()[-2:] == [
        f"pfa-flux: the rollup bucket '{mistyped}' does not exist, or the token cannot see it",
        f"Did you mean '{workspace.rollup}'? "
        "Name the right one with --rollup-bucket, or create it with --create-buckets.",
    ]
    assert workspace.client.buckets() == before


@TWO
def test_install_task_makes_a_rollup_bucket_only_if_asked_to(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(engine)
    client = workspace.client
    client.drop_bucket(workspace.rollup)
    refused = plain("install-task", env=workspace.env())
    assert (refused.code, refused.out, workspace.rollup in client.buckets()) == (1, "", False)
    assert f"the rollup bucket '{workspace.rollup}' does not exist, or the token cannot see it" in refused.err
    assert refused.err.endswith("or run pfa-flux install-task --create-buckets to create it.\n")
    assert "pfa-flux install-task --create-buckets" in plain("task", "plan", env=workspace.env()).out
    done = plain("install-task", "--create-buckets", env=workspace.env())
    assert (done.code, workspace.rollup in client.buckets()) == (0, True), done.err
    assert f"created the bucket {workspace.rollup}\n" in done.err
    plain("task", "remove", env=workspace.env())


def test_on_a_terminal_a_rollup_bucket_is_made_once_confirmed(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    place = Folder(make_workspace("influxdb-2.7"), tmp_path)
    workspace = place.workspace
    place.file.write_text(place.begun.replace("/analytics", "/analitycs"))
    place.token_file.write_text(place.token)
    mistyped = workspace.rollup.replace("analytics", "analitycs")
    flags = ("--url", workspace.server.url, "--token-file", str(place.token_file), "--data-dir", "data")
    terminal = Terminal(place.folder, *flags, "--site", "blog=example.i2p", "--loads", "none")
    # What is nearly the name of another is not made by Enter.
    terminal.answer(f"Did you mean '{workspace.rollup}'? Create {mistyped}? [y/N]: ", "")
    terminal.answer(f"Rollup bucket [{mistyped}]: ", "another/bucket")
    terminal.answer("Create another/bucket? [Y/n]: ", "n")
    # The rejected answer is no new default.
    terminal.answer(f"Rollup bucket [{mistyped}]: ", workspace.rollup)
    assert terminal.end() == 0, terminal.shown
    assert tomllib.loads(place.file.read_text())["rollup_bucket"] == workspace.rollup
    assert mistyped not in workspace.client.buckets()
    place.remove_tasks()


def test_a_rejected_address_is_no_new_default(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('url = "http://127.0.0.1:9"\n')
    terminal = Terminal(tmp_path, "--config", "a.toml", "--data-dir", "data", "--loads", "none")
    for answer in ("localhost:8086", "http://127.0.0.1:7"):
        terminal.answer(
            "InfluxDB's address (- for none: all data in one file on this machine) [http://127.0.0.1:9]: ", answer
        )
    terminal.answer("InfluxDB's address (- for none: all data in one file on this machine) [http://127.0.0.1:9]: ", "-")
    terminal.answer("Domains to count", "")
    terminal.answer("(empty to continue): ", "")
    assert terminal.end() == 0, terminal.shown
    written = tomllib.loads((tmp_path / "a.toml").read_text())
    assert written == {"data_dir": str(tmp_path / "data"), "pixel": {"loads": "none"}}


def test_yes_alone_makes_no_raw_bucket(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    place = Folder(make_workspace("influxdb-2.7"), tmp_path)
    place.workspace.client.drop_bucket(place.workspace.raw)
    assert (place.init("--yes").code, place.untouched()) == (1, True)
    assert place.workspace.raw not in place.workspace.client.buckets()
    assert run(place.folder, "task", "plan").code != 0
