"""Dashboards: every query of every panel, as its host sends it, gives the library's figures."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from pfa_flux import Analytics, Point, settings
from pfa_flux.present.dashboards import grafana as in_grafana
from pfa_flux.present.dashboards import influxdb as in_influxdb
from pfa_flux.present.dashboards.panels import Data
from pfa_flux.times import from_datetime, parse_instant
from tests import influxdb_ui as ui
from tests.cases import ONION
from tests.cli import pfa_flux
from tests.contract import analytics, fill
from tests.data import DAY, HOUR, MINUTE, T0, hit, load
from tests.engines import ENGINES, Workspace
from tests.engines.plugin import MakeWorkspace
from tests.grafana import ALL, Grafana, Number, Series, Values
from tests.test_sources import WINDOW, downsample, views

THERE = [name for name in ("influxdb-1.8", "influxdb-1.12", "influxdb-2.7", "influxdb-2.9") if name in ENGINES]


def on(*ordinarily: str) -> pytest.MarkDecorator:
    """Every server, all but some of them in the slow tests alone."""
    values = [name if name in ordinarily else pytest.param(name, marks=pytest.mark.slow) for name in THERE]
    return pytest.mark.parametrize("engine", values)


def each_source(ordinarily: tuple[str, str], servers: Sequence[str] = THERE) -> pytest.MarkDecorator:
    """Raw and downsampled data of every server, all but one pair in the slow tests alone."""
    pairs = itertools.product(servers, ("raw", "rollup"))
    values = [pair if pair == ordinarily else pytest.param(*pair, marks=pytest.mark.slow) for pair in pairs]
    return pytest.mark.parametrize(("engine", "source"), values)


with_tasks = pytest.mark.parametrize("engine", ["influxdb-2.7", pytest.param("influxdb-2.9", marks=pytest.mark.slow)])
sources = pytest.mark.parametrize("source", ["raw", "rollup"])
SPAN = (T0, T0 + 2 * DAY)
UNALIGNED = (T0 + 17 * MINUTE, T0 + 3 * DAY - 29 * MINUTE)
NOW = T0 + 130 * DAY
NO_JS, MORE, LOADS_ONLY = "quiet.i2p", "more.example", "loads.example"

Rows = Sequence[Mapping[str, Any]]
Tables = Callable[[str], list[list[dict[str, Any]]]]


def points(start: int, stop: int) -> list[Point]:
    """Views of two domains and an onion service, one domain without any loads, one with more loads than hits."""
    step = (stop - start) // 40
    return [
        *views(start, stop, 900),
        *(hit(start + n * step, NO_JS, "/quiet") for n in range(25)),
        *(make(start + n * step, MORE) for n in range(30) for make in ((hit, load, load) if n % 3 else (load,))),
        *(load(start + n * step + 1, MORE) for n in range(30)),
        *(load(start + n * step, LOADS_ONLY) for n in range(5)),
        *(hit(start + n * step, "a.example", page="") for n in range(10, 27)),
    ]


def filled(engine: str, make_workspace: MakeWorkspace, span: tuple[int, int] = SPAN) -> Workspace:
    workspace = make_workspace(engine, backend="runner")
    fill(workspace, NOW, points(span[0] - DAY, span[1] + DAY))
    return workspace


def hosted(made: Analytics, workspace: Workspace, language: Any, source: str, span: tuple[int, int]) -> Grafana:
    text = in_grafana.dashboard(Data.of(made.settings, source), language)
    return Grafana(workspace.client, json.loads(text), *span)


def own_pages(made: Analytics, workspace: Workspace, source: str, span: tuple[int, int]) -> Tables:
    """The same of a dashboard of InfluxDB."""
    ((found),) = in_influxdb.template(Data.of(made.settings, source))
    charts = {chart["name"]: chart["queries"] for chart in found["spec"]["charts"]}
    start, stop = map(ui.absolute, span)
    return lambda title: [ui.asked(workspace.client, each["query"], start, stop) for each in charts[title]]


FIGURES = ("hits", "js", "ratio", "ratio_low", "ratio_high", "status")


def same(found: Mapping[str, Any], row: Any) -> None:
    assert {name: found.get(name) for name in FIGURES} == {
        name: pytest.approx(value, rel=1e-9) if isinstance(value := getattr(row, name), float) else value
        for name in FIGURES
    }


def check_tables(tables: Tables, ask: Callable[..., Any]) -> None:
    """Panels in Flux give what the library answers."""
    (whole,) = ask(by=())
    ((headline,),) = tables("Without JavaScript")
    assert headline["_value"] == pytest.approx(whole.ratio * 100)
    ((totals,),) = tables("Totals")
    same(totals, whole)
    for title, key in (("By network", "network"), ("By domain", "domain"), ("By page", "page")):
        (rows,) = tables(title)
        expected = {row.key[key] or "(none)": row for row in ask(by=key)}
        assert sorted(expected) == sorted(row[key] for row in rows)
        for row in rows:
            same(row, expected[row[key]])
    assert [row["hits"] for row in rows] == sorted((row["hits"] for row in rows), reverse=True)


def check_times(tables: Tables, ask: Callable[..., Any], every: str) -> None:
    rows = {parse_instant(row.key["time"], 0): row for row in ask(by="time", every=every) if row.hits or row.js}
    (ratios,), (counts,) = tables("Ratio over time"), tables("Page views over time")
    cells = [cell for row in (*ratios, *counts) for cell in cells_of(row)]
    found = {(name, from_datetime(at)): value for name, at, value in cells}
    expected = {
        (name, at): getattr(row, name)
        for at, row in rows.items()
        for name in ("hits", "js", "ratio", "ratio_low", "ratio_high")
        if getattr(row, name) is not None
    }
    assert found == pytest.approx(expected, rel=1e-9)
    for name in ("ratio", "ratio_low", "ratio_high", "hits", "js"):
        times = [at for column, at, _ in cells if column == name]
        assert times == sorted(times)


def cells_of(row: Mapping[str, Any]) -> list[tuple[str, Any, float]]:
    """Name, time and value of the figures in a row, which is of one figure or has a column for each."""
    if "_field" in row:
        return [(row["_field"], row["_time"], row["_value"])]
    return [(name, row["_time"], row[name]) for name in row if name not in {"result", "table", "_time"}]


def asking(made: Analytics, span: tuple[int, int], source: str, **more: Any) -> Callable[..., Any]:
    return lambda **ask: list(made.blocked_ratio(**ask, **more, start=span[0], stop=span[1], source=source))


@each_source(("influxdb-2.7", "raw"))
def test_panels_in_flux_give_the_librarys_figures_in_grafana(
    engine: str, source: str, make_workspace: MakeWorkspace
) -> None:
    workspace = filled(engine, make_workspace)
    with analytics(workspace, NOW) as made:
        downsample(made, T0 - DAY, T0 + 4 * DAY)
        host, ask = hosted(made, workspace, "flux", source, UNALIGNED), asking(made, UNALIGNED, source)
        check_tables(host.tables, ask)
        check_times(host.tables, ask, "1d")
        host, ask = hosted(made, workspace, "flux", source, SPAN), asking(made, SPAN, source)
        check_times(host.tables, ask, "1h")
        for chosen in (["a.example", ONION], ["b.example"]):
            host.chosen = {"domain": chosen}
            (whole,) = asking(made, SPAN, source, domains=chosen)(by=())
            ((totals,),) = host.tables("Totals")
            same(totals, whole)
        assert {"a.example", "b.example", ONION, NO_JS, MORE} == set(host.options("domain"))


@each_source(("influxdb-2.7", "rollup"), ["influxdb-2.7", "influxdb-2.9"])
def test_panels_give_the_librarys_figures_in_influxdbs_dashboards(
    engine: str, source: str, make_workspace: MakeWorkspace
) -> None:
    workspace = filled(engine, make_workspace)
    with analytics(workspace, NOW) as made:
        downsample(made, T0 - DAY, T0 + 4 * DAY)
        for span, every in ((SPAN, "1h"), (UNALIGNED, "1d")):
            tables, ask = own_pages(made, workspace, source, span), asking(made, span, source)
            check_tables(tables, ask)
            check_times(tables, ask, every)


@pytest.mark.slow
@sources
@pytest.mark.parametrize("engine", ["influxdb-2.7", "influxdb-2.9"])
@pytest.mark.parametrize(("days", "every"), [(6, "1d"), (13, "1d"), (45, "1d"), (100, "1w")])
def test_long_ranges_have_the_librarys_blocks(
    engine: str, source: str, days: int, every: str, make_workspace: MakeWorkspace
) -> None:
    span = (T0 + 5 * HOUR, T0 + days * DAY + 7 * HOUR)
    workspace = filled(engine, make_workspace, span)
    with analytics(workspace, NOW) as made:
        downsample(made, *(edge // WINDOW * WINDOW for edge in (span[0] - DAY, span[1] + DAY)))
        host, ask = hosted(made, workspace, "flux", source, span), asking(made, span, source)
        check_tables(host.tables, ask)
        check_times(host.tables, ask, every)


def only(values: Values) -> Any:
    (found,) = values
    assert not any(name != "_field" for name, _ in found.labels)
    return list(found.points.values())[0] if isinstance(found, Series) else found.value  # noqa: RUF015


def check_influxql(host: Grafana, ask: Callable[..., Any], every: str) -> None:
    """Panels in InfluxQL give what the library answers; where that has no ratio, they have none."""
    (whole,) = ask(by=())
    assert only(host.values("Without JavaScript")["ratio"]) == pytest.approx(whole.ratio)
    totals = host.values("Totals")
    assert (only(totals["hits"]), only(totals["loads"])) == (whole.hits, whole.js)
    networks = {row.key["network"]: row for row in ask(by="network")}
    ratios, counts = host.values("By network"), host.values("Page views by network")
    assert set(ratios) == {"clearnet", "tor", "i2p"}
    for name, row in networks.items():
        assert only(ratios[name]) == pytest.approx(row.ratio)
        assert (only(counts[f"{name} hits"]), only(counts[f"{name} loads"])) == (row.hits, row.js)
    for name in set(ratios) - set(networks):
        assert ratios[name] == []
    pages = {row.key["page"]: row for row in ask(by="page")}
    for title, column in (("Hits by page", "hits"), ("JS loads by page", "loads")):
        (rows,) = host.tables(title)
        attribute = {"hits": "hits", "loads": "js"}[column]
        assert {row["page"]: row[column] for row in rows} == {
            page: value for page, row in pages.items() if (value := getattr(row, attribute))
        }
    bars = {dict(each.labels)["page"]: each for each in host.values("Ratio by page")["ratio"]}
    assert set(bars) == {page for page, row in pages.items() if row.hits and row.js}
    for page, each in bars.items():
        assert isinstance(each, Number)
        assert matches(each.value, pages[page].ratio)
    times = {parse_instant(row.key["time"], 0): row for row in ask(by="time", every=every)}
    counts_by_time = host.values("Page views over time")
    for name, attribute in (("hits", "hits"), ("loads", "js")):
        (series,) = counts_by_time[name]
        assert {at * 10**6: value for at, value in series.points.items() if value} == {  # type: ignore[union-attr]
            at: value for at, row in times.items() if (value := getattr(row, attribute))
        }
    (line,) = host.values("Ratio over time")["ratio"]
    assert isinstance(line, Series)
    for at, value in line.points.items():
        assert matches(value, times[at * 10**6].ratio if at * 10**6 in times else None)
    assert {at for at, row in times.items() if row.hits} <= {at * 10**6 for at in line.points}


def matches(found: float, ratio: float | None) -> bool:
    return math.isnan(found) if ratio is None else found == pytest.approx(ratio)


@each_source(("influxdb-1.8", "rollup"))
def test_panels_in_influxql_give_the_librarys_figures_in_grafana(
    engine: str, source: str, make_workspace: MakeWorkspace
) -> None:
    workspace = filled(engine, make_workspace)
    with analytics(workspace, NOW) as made:
        downsample(made, T0 - DAY, T0 + 4 * DAY)
        host = hosted(made, workspace, "influxql", source, SPAN)
        check_influxql(host, asking(made, SPAN, source), "1h")
        host.interval = 86400
        check_influxql(host, asking(made, SPAN, source), "1d")
        chosen = ["a.example", ONION]
        host.chosen = {"domain": chosen, "page": ["/1", "/2"]}
        (total,) = asking(made, SPAN, source, domains=chosen)(by=())
        assert only(host.values("Without JavaScript")["ratio"]) == pytest.approx(total.ratio)
        pages = {row.key["page"]: row.ratio for row in asking(made, SPAN, source, domains=chosen)(by="page")}
        bars = {dict(each.labels)["page"]: each for each in host.values("Ratio by page")["ratio"]}
        assert set(bars) == {"/1", "/2"}
        assert all(isinstance(each, Number) and matches(each.value, pages[page]) for page, each in bars.items())
        if not workspace.client.is_2:
            host.chosen = {"domain": [ALL]}
            assert {"a.example", NO_JS, MORE} <= set(host.options("domain"))
            assert {"/0", "/1", "/quiet"} <= set(host.options("page"))


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
        [*(hit(now - n * MINUTE) for n in range(1, 41)), *(load(now - n * MINUTE) for n in range(1, 31))],
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
            assert [(row["hits"], row["js"], row["ratio"]) for row in rows] == [(40, 30, 0.25)]


@on("influxdb-1.8", "influxdb-2.7")
def test_where_nothing_is_panels_are_empty_and_no_query_fails(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(engine)
    with analytics(workspace, NOW) as made:
        host = hosted(made, workspace, "influxql", "raw", SPAN)
        for panel in host.dashboard["panels"]:
            if panel["type"] == "table":
                assert host.tables(panel["title"]) == [[]]
            else:
                assert all(values == [] for values in host.values(panel["title"], hidden=True).values())
        if workspace.client.is_2:
            host = hosted(made, workspace, "flux", "raw", SPAN)
            assert all(rows == [] for panel in host.dashboard["panels"] for rows in host.tables(panel["title"]))


def test_where_no_loads_are_in_the_range_the_ratio_is_1(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-1.8")
    fill(workspace, NOW, [*(hit(T0 + n * HOUR, ONION) for n in range(9)), load(T0 - 10 * DAY)])
    with analytics(workspace, NOW) as made:
        host = hosted(made, workspace, "influxql", "raw", SPAN)
        assert only(host.values("Without JavaScript")["ratio"]) == 1
        ratios = host.values("By network")
        assert (ratios["clearnet"], only(ratios["tor"]), ratios["i2p"]) == ([], 1, [])


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
    assert "--install installs it" in found.err


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
