"""`pfa-flux init` proposes what the data can tell, and takes no foreign name without a word."""

from __future__ import annotations

import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pfa_flux
from pfa_flux import settings
from pfa_flux.schema import Schema
from pfa_flux.setup.discovery import Discovery, discover
from tests.contract import as_line
from tests.data import HOUR, MINUTE, hit
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace
from tests.initial import Terminal, new_file, run
from tests.original import downsampling_task

TWO = pytest.mark.parametrize("engine", ["influxdb-2.7", pytest.param("influxdb-1.8", marks=pytest.mark.slow)])


def flags_of(workspace: Workspace, folder: Path) -> list[str]:
    """Where the server is, and no name of what is in it but the task's, which others must not meet."""
    server = workspace.server
    (folder / "token").write_text(server.token)
    (folder / "token").chmod(0o600)
    file = new_file(folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    tasks = f'task_name = "{workspace.task_name}"\nloads_task_name = "{workspace.task_name}_loads"\n'
    file.write_text(f'raw_bucket = "{workspace.raw}"\nrollup_bucket = "{workspace.rollup}"\n[schema]\n{tasks}')
    token = ["--token-file", str(folder / "token")] if server.token else []
    return ["--url", server.url, *token, "--data-dir", "data", "--kapacitor-url", server.kapacitor_url]


def write(workspace: Workspace, *points: Any) -> None:
    workspace.client.write(workspace.raw, [as_line(point) for point in points])


def written(folder: Path) -> dict[str, Any]:
    return tomllib.loads(new_file(folder).read_text())


@TWO
def test_page_loads_of_another_name_are_left_and_named(
    engine: str, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace, now = make_workspace(engine), time.time_ns()
    flags = flags_of(workspace, tmp_path)
    write(workspace, hit(now - HOUR, "example.i2p"))
    workspace.client.write(
        workspace.raw,
        [
            f"web_vitals,domain=example.i2p,page=/ load_ms=12i {now - HOUR}",
            f"web_vitals,domain=example.i2p,page=/ other=1i {now - HOUR}",
            f"cpu,host=a usage=1 {now - HOUR}",
        ],
    )
    done = run(tmp_path, "init", "--yes", *flags)
    assert done.code == 0, done.err
    assert (
        "looks like page loads, but is not used: web_vitals (field load_ms). "
        "To use it: --loads own --loads-measurement web_vitals --loads-field load_ms\n" in done.err
    )
    assert "web_vitals" not in str(written(tmp_path))
    assert "viewed in the last 30 days: example.i2p\n" in done.err, done.err
    assert "all domains count until you name some: --domain example.i2p\n" in done.err
    assert "cpu" not in done.err
    terminal = Terminal(tmp_path, *flags)
    terminal.answer("Domains to count, separated by commas [example.i2p]: ", "")
    terminal.answer("(empty to continue): ", "")
    terminal.answer("Page loads [own]: ", "")
    terminal.answer("Points that look like page loads: web_vitals (field load_ms)", "")
    terminal.answer("Field [load_ms]: ", "")
    assert terminal.end() == 0, terminal.shown
    assert "page loads: 1 row of web_vitals with the field load_ms in the last day" in terminal.shown
    found = written(tmp_path)
    assert (found["schema"]["loads_measurement"], found["schema"]["loads_field"]) == ("web_vitals", "load_ms")
    assert (found["pixel"]["domains"], found["pixel"]["loads"]) == (["example.i2p"], "own")
    run(tmp_path, "task", "remove")


@pytest.mark.slow
@TWO
def test_a_bucket_that_holds_the_data_is_proposed(engine: str, make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace, other, now = make_workspace(engine), make_workspace(engine), time.time_ns()
    flags, name = flags_of(workspace, tmp_path), f"loads_{workspace.task_name}"
    workspace.client.write(workspace.raw, [f"{name},domain=example.i2p,page=/ response_time=1i {now - HOUR}"])
    names = Schema(f"hits_{name}", loads_measurement=name, rollup_hits_measurement=f"rollup_{name}")
    own = replace(settings.load(workspace.settings(), environ={}), schema=names)
    with pfa_flux.connect(own) as made:
        absent = replace(own, raw_bucket="absent/autogen")
        assert discover(made.engine, absent, set()) == Discovery(raw=workspace.raw)
        assert discover(made.engine, absent, {"raw_bucket", "loads_bucket", "rollup_bucket"}) == Discovery()
        workspace.client.write(other.raw, [f"hits_{name},domain=example.i2p,page=/,sess=a count=1i {now}"])
        elsewhere = replace(own, raw_bucket=other.raw)
        assert discover(made.engine, elsewhere, {"raw_bucket"}) == Discovery(loads=workspace.raw)
        assert discover(made.engine, own, {"raw_bucket"}) == Discovery()
    other.client.drop_bucket(other.raw)
    file = new_file(tmp_path)
    file.write_text(file.read_text().replace(f'raw_bucket = "{workspace.raw}"\n', ""))
    with file.open("a") as text:
        text.write(f'loads_measurement = "{name}"\nhits_measurement = "hits_{name}"\n')
    left = run(tmp_path, "init", "--yes", *flags)
    words = f"are in the bucket {workspace.raw}, not in telegraf/autogen"
    assert (
        f"page views or page loads {words}. This is not used. To use it: --raw-bucket {workspace.raw}\n" in left.err
    ), left.err
    run(tmp_path, "task", "remove")
    file.write_text(file.read_text().replace(f'raw_bucket = "{workspace.raw}"\n', ""))
    terminal = Terminal(tmp_path, *flags, "--site", "a=example.i2p", "--loads", "own")
    terminal.answer(f"Page views or page loads {words}. Use it? [Y/n]: ", "")
    assert terminal.end() == 0, terminal.shown
    assert written(tmp_path)["raw_bucket"] == workspace.raw
    run(tmp_path, "task", "remove")


def test_floats_in_the_shard_are_told(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace, now = make_workspace("influxdb-1.8"), time.time_ns()
    flags = flags_of(workspace, tmp_path)
    tags = "domain=example.i2p,host=a,page=/,scheme=http,sess=1-1-1,type=pixel"
    workspace.client.write(workspace.raw, [f"pf_analytics_test_pixel,{tags} count=1 {now - 1}"])
    done = run(tmp_path, "init", "--yes", "--loads", "none", *flags)
    assert done.code == 0, done.err
    assert "count is a float in the current shard, so hits are written there as floats\n" in done.err
    run(tmp_path, "task", "remove")


@pytest.mark.slow
def test_a_task_of_the_originals_form_under_another_name_is_proposed(
    make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace, now = make_workspace("kapacitor"), time.time_ns()
    flags = flags_of(workspace, tmp_path)
    write(workspace, *(hit(now - n * MINUTE, "example.i2p") for n in range(20, 60)))
    name = f"{workspace.task_name}_of_old"
    with pfa_flux.connect(settings.load(workspace.settings(), environ={})) as made:
        text = downsampling_task(made, workspace).replace(workspace.task_name, name)
    client = workspace.server.client
    kapacitor = type(client)(workspace.server.kapacitor_url, client.token, "")
    task = kapacitor.json("POST", "/kapacitor/v1/api/v2/tasks", {"flux": text, "status": "active"})["id"]
    done = run(tmp_path, "init", "--yes", "--loads", "none", *flags)
    assert done.code == 0, done.err
    form = ", in the form that was first published"
    assert f"warning: the task '{name}' ({task}) downsamples the same page views{form}, so both would write" in done.err
    assert f'or take it over: task_name = "{name}" under [schema], then pfa-flux init --adopt\n' in done.err
    run(tmp_path, "task", "remove")
    terminal = Terminal(tmp_path, *flags, "--loads", "none", "--site", "a=example.i2p")
    terminal.answer("Take it over, with its id and its rows? [Y/n]: ", "")
    assert terminal.end() == 0, terminal.shown
    assert f"{name} ({task}): adopted" in terminal.shown
    assert written(tmp_path)["schema"]["task_name"] == name
    run(tmp_path, "task", "remove")
