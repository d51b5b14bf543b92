"""Dashboards: every query of every panel, as its host sends it, gives the library's figures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from pfa_flux import Analytics
from pfa_flux.times import from_datetime, parse_instant
from tests.cases import ONION
from tests.contract import analytics, fill
from tests.data import DAY, HOUR, T0, hit, load
from tests.engines.plugin import MakeWorkspace
from tests.grafana import ALL, Grafana, Number, Series, Values
from tests.panels import MORE, NO_JS, NOW, SPAN, UNALIGNED, Tables, each_source, filled, hosted, on, own_pages
from tests.test_sources import WINDOW, downsample

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


RANGES = {6: "1d", 13: "1d", 45: "1d", 100: "1w"}
"""Days of a range, and the blocks it has."""
_ONCE = {
    ("influxdb-2.7", "raw", 6),
    ("influxdb-2.9", "rollup", 13),
    ("influxdb-2.9", "raw", 45),
    ("influxdb-2.7", "rollup", 100),
}
"""Each range once, on each server and of each source twice; the other combinations are twins."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "source", "days"),
    [
        pytest.param(*each, marks=() if each in _ONCE else pytest.mark.twin)
        for each in itertools.product(("influxdb-2.7", "influxdb-2.9"), ("raw", "rollup"), RANGES)
    ],
)
def test_long_ranges_have_the_librarys_blocks(
    engine: str, source: str, days: int, make_workspace: MakeWorkspace
) -> None:
    span = (T0 + 5 * HOUR, T0 + days * DAY + 7 * HOUR)
    workspace = filled(engine, make_workspace, span)
    with analytics(workspace, NOW) as made:
        downsample(made, *(edge // WINDOW * WINDOW for edge in (span[0] - DAY, span[1] + DAY)))
        host, ask = hosted(made, workspace, "flux", source, span), asking(made, span, source)
        check_tables(host.tables, ask)
        check_times(host.tables, ask, RANGES[days])


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
