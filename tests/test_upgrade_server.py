"""Upgrading where there is a server: pfa-flux goes on with tasks that 0.1 ran itself, and with those it installed."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli import Result, pfa_flux
from tests.contract import analytics
from tests.data import DAY, HOUR, MINUTE, T0
from tests.engines import Workspace
from tests.engines.http import Client
from tests.engines.plugin import MakeWorkspace
from tests.upgrading import (
    BOTH,
    MADE,
    STORE,
    WINDOW,
    Json,
    What,
    asked,
    assert_answer,
    assert_downsampled,
    assert_kept_runs,
    content,
    copied,
    expected,
    known,
    late_windows,
    new_hit,
    opened,
)


def workspace_values(workspace: Workspace) -> dict[str, str]:
    """Settings of a workspace, without its data directory."""
    return {key: value for key, value in workspace.settings().items() if key != "data_dir"}


def task_id(url: str, raw: str, rollup: str, name: str) -> str:
    """Id that 0.1 gave a task which it ran itself."""
    return hashlib.sha256("\n".join((url, raw, rollup, name)).encode()).hexdigest()[:16]


def moved(folder: Path, workspace: Workspace, said: Json) -> Json:
    """Make the state what 0.1 would have left for this server: ids depend on its address and buckets."""
    usual = ("telegraf/autogen", "websites/analytics")
    with closing(sqlite3.connect(folder / STORE)) as connection:
        for task in said["tasks"].values():
            assert task["id"] == task_id(said["url"], *usual, task["name"])
            new = task_id(workspace.server.url, workspace.raw, workspace.rollup, task["name"])
            connection.execute("UPDATE run SET task = ? WHERE task = ?", (new, task["id"]))
            connection.execute(
                "UPDATE task SET id = ?, spec = replace(replace(spec, ?, ?), ?, ?) WHERE id = ?",
                (new, usual[0], workspace.raw, usual[1], workspace.rollup, task["id"]),
            )
            task["id"] = new
        connection.execute("UPDATE touched SET bucket = ?", (workspace.raw,))
        connection.commit()
    assert content(folder).keys() == {STORE}
    return said


def served(make_workspace: MakeWorkspace, folder: Path) -> tuple[Workspace, dict[str, str], Json]:
    """A server that holds the rows of 0.1, its settings, and what 0.1 answered; puts the state into the folder."""
    workspace = make_workspace("influxdb-2.7")
    for bucket, name in ((workspace.raw, "raw.lp"), (workspace.rollup, "rollup.lp")):
        workspace.client.write(bucket, (MADE / "server" / name).read_text(encoding="utf-8").splitlines())
    said = moved(copied("server", folder), workspace, expected("server"))
    return workspace, workspace_values(workspace), said


def test_a_reader_of_a_server_knows_the_tasks_of_0_1_and_changes_no_byte(
    make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    _, values, said = served(make_workspace, folder)
    before = content(folder)
    with opened(folder, said["now"], **values) as made:
        for each in said["answers"]:
            assert_answer(asked(made, each["ask"]), each["answer"])
        for what in BOTH:
            assert known(made, what, said["start"]) == said["tasks"][what]
    assert content(folder) == before


@pytest.mark.slow
def test_the_commands_know_the_tasks_that_0_1_ran_for_a_server(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    workspace, _, said = served(make_workspace, folder)
    env = {**workspace.env(), "PFA_FLUX_DATA_DIR": str(folder)}
    runner = ("--backend", "runner")
    for what, state in (("hits", "up to date"), ("loads", "disabled")):
        task, side = said["tasks"][what], "--js" if what == "loads" else "--hits-only"
        plan = pfa_flux("task", "plan", "--format", "json", *runner, side, env=env)
        assert (plan.code, plan.json["state"], plan.json["ids"]) == (5 * (what == "loads"), state, [task["id"]])
        runs = pfa_flux("task", "runs", "--format", "json", *runner, side, env=env)
        assert (runs.code, [list(run.values()) for run in runs.json]) == (0, task["runs"])
    plan = pfa_flux("task", "plan", "--format", "json", *runner, env=env)
    assert (plan.code, plan.json["state"], plan.json["loads"]["state"]) == (5, "up to date", "disabled")
    assert pfa_flux("task", "enable", "--js", *runner, env=env).code == 0
    assert pfa_flux("task", "run", "--due", *runner, env=env).code == 0
    assert pfa_flux("task", "repair", *runner, env=env).code == 0
    with opened(folder, said["now"], **workspace_values(workspace)) as made:
        assert [late_windows(made, what) for what in BOTH] == [[], []]
        assert made.task("loads", backend="runner").verify(said["start"]).clean
        assert_kept_runs(known(made, "loads", said["start"])["runs"], said["tasks"]["loads"]["runs"])


def test_a_first_write_to_a_server_keeps_what_0_1_knew_of_its_tasks(
    make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    _, values, said = served(make_workspace, folder)
    # An hour late, so that its window is noted.
    noted = said["now"] + 3 * HOUR
    with opened(folder, noted + HOUR, **values) as made:
        made.write([new_hit(noted)])
    with opened(folder, said["now"], **values) as made:
        for each in said["answers"]:
            assert_answer(asked(made, each["ask"]), each["answer"])
        was = said["tasks"]["hits"]
        late = [*was["late"], noted // WINDOW * WINDOW + WINDOW]
        assert known(made, "hits", said["start"]) == {**was, "late": late}
        assert known(made, "loads", said["start"]) == said["tasks"]["loads"]


def test_the_next_run_for_a_server_downsamples_what_0_1_left_and_keeps_the_history(
    make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    _, values, said = served(make_workspace, folder)
    now = said["now"] + MINUTE
    with opened(folder, now, **values) as made:
        made.task("hits", backend="runner").run_due()
    with opened(folder, now, **values) as made:
        # The task of page loads is still disabled.
        assert known(made, "loads", said["start"]) == said["tasks"]["loads"]
        found, was = known(made, "hits", said["start"]), said["tasks"]["hits"]
        same = ("name", "id", "active", "plan")
        assert {key: found[key] for key in same} == {key: was[key] for key in same}
        assert (found["complete"], found["late"], found["verify"]["clean"]) == (True, [], True)
        assert len(found["runs"]) == len(was["runs"]) + 1
        assert_kept_runs(found["runs"], was["runs"])
        made.task("loads", backend="runner").enable()
        made.task("loads", backend="runner").run_due()
        assert_downsampled(made, said)
        assert late_windows(made, "loads") == []


# Tasks that 0.1 installed in servers.


def stamped(text: str, digest: str) -> str:
    """The Flux of a task with its digest. 0.1 computed it from the text without the line that holds it."""
    line = f"// Spec {digest}\n"
    assert text.count(line) == 1
    found = hashlib.sha256(text.replace(line, "").encode()).hexdigest()[:12]
    return text.replace(line, f"// Spec {found}\n")


def installed_by_0_1(workspace: Workspace, what: What, name: str) -> tuple[Client, str]:
    """Install a task as 0.1 did. Returns where, and its id."""
    server = workspace.server
    text = (MADE / "server" / f"{server.name}-{what}.flux").read_text(encoding="utf-8")
    digest = next(line for line in text.splitlines() if line.startswith("// Spec ")).removeprefix("// Spec ")
    usual = {"hits": "downsample_hitcounter", "loads": "downsample_loadcounter"}[what]
    for old, new in (
        ("telegraf/autogen", workspace.raw),
        ("websites/analytics", workspace.rollup),
        (usual, name),
        ("@URL@", server.url),
        ("@TOKEN@", server.token),
    ):
        text = text.replace(old, new)
    client, owner = workspace.client, {"org": server.org}
    if server.kapacitor_url:
        client, owner = Client(f"{server.kapacitor_url}/kapacitor/v1", server.token, ""), {}
    body = {"flux": stamped(text, digest), "status": "active", "description": "Kept by pfa-flux.", **owner}
    return client, str(client.json("POST", "/api/v2/tasks", body)["id"])


@pytest.mark.parametrize("what", BOTH)
def test_this_module_computes_the_digest_of_a_task_as_0_1_did(what: What) -> None:
    text = (MADE / "server" / f"influxdb-2.7-{what}.flux").read_text(encoding="utf-8")
    found = text.partition("// Spec ")[2].partition("\n")[0]
    assert stamped(text.replace(found, "@DIGEST@"), "@DIGEST@") == text


@pytest.mark.parametrize("what", BOTH)
@pytest.mark.parametrize("engine", ["influxdb-2.7", "kapacitor"])
def test_a_task_that_0_1_installed_is_known_again_and_keeps_its_id(
    engine: str, what: What, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace = make_workspace(engine)
    names = {"hits": workspace.task_name, "loads": f"{workspace.task_name}_loads"}
    client, id_ = installed_by_0_1(workspace, what, names[what])
    own = tmp_path / "pfa-flux.toml"
    own.write_text(f'[schema]\ntask_name = "{names["hits"]}"\nloads_task_name = "{names["loads"]}"\n')
    try:
        words = ["task", "plan", "--format", "json", "--js" if what == "loads" else "--hits-only"]
        plan = pfa_flux(*words, env=workspace.env(), cwd=tmp_path)
        assert (plan.json["state"], plan.json["ids"]) in [("up to date", [id_]), ("change", [id_])]
        assert plan.code == 5 * (plan.json["state"] == "change")
        with analytics(workspace, T0 + 30 * DAY) as made:
            task = made.task(what)
            assert (task.installed().id, task.installed().active) == (id_, True)
            done = task.install()
            assert (done.id, done.action) in [(id_, "up to date"), (id_, "updated")]
            assert (task.plan().state, task.plan().ids) == ("up to date", (id_,))
        found = [each["id"] for each in client.json("GET", "/api/v2/tasks?limit=500")["tasks"]]
        assert found.count(id_) == 1
    finally:
        client.request("DELETE", f"/api/v2/tasks/{id_}")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["influxdb-2.7", "kapacitor"])
def test_where_0_1_installed_hits_alone_it_is_told_and_install_task_adds_page_loads(
    engine: str, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace = make_workspace(engine)
    hits, loads = workspace.task_name, f"{workspace.task_name}_loads"
    client, id_ = installed_by_0_1(workspace, "hits", hits)
    (tmp_path / "pfa-flux.toml").write_text(f'[schema]\ntask_name = "{hits}"\nloads_task_name = "{loads}"\n')

    def run(*words: str) -> Result:
        return pfa_flux(*words, env=workspace.env(), cwd=tmp_path)

    plan = run("task", "plan", "--format", "json")
    assert (plan.code, plan.json["ids"], plan.json["loads"]["state"]) == (5, [id_], "create")
    status = run("task", "status", "--format", "json")
    assert (status.code, status.json["id"], status.json["loads"]["id"]) == (5, id_, None)
    assert "the task is not installed" in status.json["loads"]["summary"]
    assert status.json["loads"]["advice"] == "Run pfa-flux install-task."
    assert "loads task warning not installed" in " ".join(run("doctor").out.split())
    done = run("install-task")
    first, second = done.out.splitlines()
    assert (done.code, first.partition(": ")[0]) == (0, f"{hits} ({id_})")
    assert (second.startswith(f"{loads} ("), second.endswith(": created")) == (True, True)
    assert run("task", "plan").code == 0
    assert "loads task ok" in " ".join(run("doctor").out.split())
    removed = run("task", "remove")
    assert (removed.code, removed.out.count(": removed\n")) == (0, 2)
    assert id_ not in [each["id"] for each in client.json("GET", "/api/v2/tasks?limit=500")["tasks"]]
