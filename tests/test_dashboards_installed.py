"""Dashboards as they are installed: of the right form, beside others, and with the health of the tasks."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from pfa_flux import settings
from pfa_flux.present.dashboards import influxdb as in_influxdb
from pfa_flux.present.dashboards.panels import Data
from tests import influxdb_ui as ui
from tests.cli import pfa_flux
from tests.contract import analytics, fill
from tests.data import DAY, HOUR, MINUTE, T0, hit, load
from tests.engines.plugin import MakeWorkspace
from tests.grafana import Series
from tests.panels import NOW, SPAN, filled, hosted, on, own_pages, with_tasks
from tests.test_sources import downsample


@with_tasks
def test_the_health_of_a_task_is_what_verify_finds(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace = filled(engine, make_workspace)
    span = (T0, T0 + 2 * DAY)
    with analytics(workspace, NOW) as made:
        tables = own_pages(made, workspace, "raw", span)
        names = [f"Health of the task {spec.name}" for spec in Data.of(made.settings, "raw").specs]
        assert len(names) == 2
        before = [tables(name)[0][0] for name in names]
        assert [(row["_side"], row["wrong"] == row["windows"] > 50, row["newest"]) for row in before] == [
            ("hits", True, "none"),
            ("loads", True, "none"),
        ]
        downsample(made, T0, T0 + 3 * DAY)
        for name, row in zip(names, before, strict=True):
            ((after,),) = tables(name)
            assert (after["wrong"], after["windows"]) == (0, row["windows"])
            assert after["raw"] == after["downsampled"] == row["raw"]
            assert after["newest"] > "2026-01-13T23"
        late = T0 + DAY + 5 * HOUR
        fill(workspace, NOW, [hit(late + 3, sess="late"), load(late + 4, page="/late")])
        for name, what in zip(names, ("hits", "loads"), strict=True):
            ((worse,),) = tables(name)
            task = made.task(what)  # type: ignore[arg-type]
            assert worse["wrong"] == task.verify(T0 + DAY, T0 + 2 * DAY).count == 1


@pytest.mark.slow
def test_the_health_of_a_task_in_flux_of_1_8_is_what_verify_finds(make_workspace: MakeWorkspace) -> None:
    workspace = filled("influxdb-1.8", make_workspace)
    with analytics(workspace, NOW) as made:
        downsample(made, T0, T0 + 3 * DAY)
        late = T0 + DAY + 5 * HOUR
        fill(workspace, NOW, [hit(late + 3, sess="late"), load(late + 4, page="/late")])
        host = hosted(made, workspace, "flux", "raw", SPAN)
        for spec, what in zip(Data.of(made.settings, "raw").specs, ("hits", "loads"), strict=True):
            ((row,),) = host.tables(f"Health of the task {spec.name}")
            task = made.task(what)  # type: ignore[arg-type]
            assert row["wrong"] == task.verify(T0 + DAY, T0 + 2 * DAY).count == 1


@on("influxdb-1.8")
def test_the_health_of_a_task_in_influxql_is_what_the_windows_lack(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace = filled(engine, make_workspace)
    with analytics(workspace, NOW) as made:
        downsample(made, T0, T0 + 2 * DAY)
        fill(workspace, NOW, [hit(T0 + 5 * HOUR + 3, sess="late")])
        host = hosted(made, workspace, "influxql", "raw", SPAN)
        hits, loads = (f"Health of the task {spec.name}" for spec in Data.of(made.settings, "raw").specs)
        (missing,) = host.values(hits)["missing"]
        assert isinstance(missing, Series)
        assert {at * 10**6: value for at, value in missing.points.items() if value} == {T0 + 5 * HOUR: 1}
        assert len(missing.points) == 2 * 96
        (none,) = host.values(loads)["missing"]
        assert isinstance(none, Series)
        assert set(none.points.values()) == {0}


def test_influxdbs_pages_may_ask_for_the_last_hour(make_workspace: MakeWorkspace) -> None:
    workspace, now = make_workspace("influxdb-2.7"), time.time_ns()
    fill(
        workspace,
        now,
        # The health of a task is known for windows that ended a quarter of an hour ago.
        [*(hit(now - n * MINUTE) for n in range(1, 51)), *(load(now - n * MINUTE) for n in range(1, 41))],
    )
    with analytics(workspace, now) as made:
        ((found,),) = [in_influxdb.template(Data.of(made.settings, "raw"))]
    for chart in found["spec"]["charts"]:
        rows = [
            row
            for each in chart["queries"]
            for row in ui.asked(workspace.client, each["query"], ui.ago(1, "h"), ui.NOW)
        ]
        assert rows
        if chart["name"] == "Totals":
            assert [(row["hits"], row["js"], row["ratio"]) for row in rows] == [(50, 40, 0.2)]


@pytest.mark.slow
@with_tasks
def test_the_command_installs_a_dashboard_in_a_stack_of_its_own_and_twice_makes_no_double(
    engine: str, make_workspace: MakeWorkspace
) -> None:
    workspace = filled(engine, make_workspace)
    client = workspace.client
    org = client.org_id()
    first = pfa_flux("dashboard", "influxdb", "--install", env=workspace.env())
    assert (first.code, first.err) == (0, "dashboard made, in the stack pfa-flux\n")
    dashboard = first.out.strip().rpartition("/")[2]
    try:
        assert first.out == f"{client.url}/orgs/{org}/dashboards/{dashboard}\n"
        second = pfa_flux("dashboard", "influxdb", "--install", "--source", "rollup", env=workspace.env())
        assert (second.code, second.out) == (0, first.out)
        assert second.err == "dashboard updated, in the stack pfa-flux\n"
        found = client.json("GET", f"/api/v2/dashboards?orgID={org}&limit=100")["dashboards"]
        assert [each["id"] for each in found if each["name"] == "Page views without JavaScript"] == [dashboard]
        (stack,) = client.json("GET", f"/api/v2/stacks?orgID={org}&name=pfa-flux")["stacks"]
        cells = client.json("GET", f"/api/v2/dashboards/{dashboard}")["cells"]
        views = [client.json("GET", f"/api/v2/dashboards/{dashboard}/cells/{cell['id']}/view") for cell in cells]
        stored = {view["name"]: [query["text"].strip() for query in view["properties"]["queries"]] for view in views}
        own = settings.load(workspace.settings(), environ={})
        ((template,),) = [in_influxdb.template(Data.of(own, "rollup"))]
        assert stored == {c["name"]: [q["query"].strip() for q in c["queries"]] for c in template["spec"]["charts"]}
        # A dashboard that was deleted by hand comes back.
        client.request("DELETE", f"/api/v2/dashboards/{dashboard}")
        third = pfa_flux("dashboard", "influxdb", "--install", env=workspace.env())
        assert third.code == 0
        again = client.json("GET", f"/api/v2/dashboards?orgID={org}&limit=100")["dashboards"]
        assert len([each for each in again if each["name"] == "Page views without JavaScript"]) == 1
    finally:
        for stack in client.json("GET", f"/api/v2/stacks?orgID={org}&name=pfa-flux")["stacks"]:
            client.request("DELETE", f"/api/v2/stacks/{stack['id']}?orgID={org}")
    left = client.json("GET", f"/api/v2/dashboards?orgID={org}&limit=100")["dashboards"]
    assert [each for each in left if each["name"] == "Page views without JavaScript"] == []


def test_a_server_without_dashboards_says_what_there_is_instead(make_workspace: MakeWorkspace) -> None:
    found = pfa_flux("dashboard", "influxdb", "--install", env=make_workspace("influxdb-1.8").env())
    assert found.code == 1
    assert found.err == (
        "pfa-flux: the dashboard cannot be installed: InfluxDB 1.8.10 has no dashboards\n"
        "Use pfa-flux dashboard grafana --datasource influxql, or pfa-flux view.\n"
    )


def test_without_install_the_template_is_printed_and_no_server_is_asked() -> None:
    found = pfa_flux("dashboard", "influxdb", env={"PFA_FLUX_URL": "http://127.0.0.1:9"})
    assert found.code == 0
    assert [(each["kind"], each["apiVersion"]) for each in found.json] == [("Dashboard", "influxdata.com/v2alpha1")]
    assert "To install it: pfa-flux dashboard influxdb --install" in found.err


def test_downsampled_data_that_does_not_fit_is_refused_with_the_way_out(tmp_path: Any) -> None:
    config = tmp_path / "pfa-flux.toml"
    config.write_text("[task]\nloads = false\n")
    found = pfa_flux("dashboard", "grafana", "--datasource", "flux", "--source", "rollup", "--config", str(config))
    assert found.code == 2
    assert found.err.endswith("Use --source raw, or set loads = true under [task].\n")


def unknown_to_grafana(made: Any, known: Any, path: str = "") -> list[str]:
    """Parts of a dashboard that Grafana's own schema does not take over as they are."""
    if isinstance(made, dict) and isinstance(known, dict):
        missing = [f"{path}/{key}" for key in made if key not in known]
        return missing + [
            each for key in made if key in known for each in unknown_to_grafana(made[key], known[key], f"{path}/{key}")
        ]
    if isinstance(made, list) and isinstance(known, list) and len(made) == len(known):
        pairs = enumerate(zip(made, known, strict=True))
        return [each for n, (a, b) in pairs for each in unknown_to_grafana(a, b, f"{path}/{n}")]
    return [] if made == known else [path]


def through_grafanas_schema(made: Any) -> Any:
    register_default_plugins()
    return json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(made)))


@pytest.mark.parametrize("language", ["flux", "influxql"])
def test_the_json_is_of_grafanas_own_schema(language: str) -> None:
    made = pfa_flux("dashboard", "grafana", "--datasource", language).json
    assert unknown_to_grafana(made, through_grafanas_schema(made)) == []
    for panel in made["panels"]:
        names = [target["refId"] for target in panel["targets"]]
        assert len(names) == len(set(names)) > 0
        assert "transformations" not in panel
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
    places = [
        (x, y)
        for panel in made["panels"]
        for grid in [panel["gridPos"]]
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(places) == len(set(places))
    made["panels"][0]["options"]["colour"] = "green"
    made["templating"]["list"][0]["querry"] = ""
    assert unknown_to_grafana(made, through_grafanas_schema(made)) == [
        "/templating/list/0/querry",
        "/panels/0/options/colour",
    ]
