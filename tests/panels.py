"""Data for the panels of dashboards, and on which servers they are asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from pfa_flux import Analytics, Point
from pfa_flux.present.dashboards import grafana as in_grafana
from pfa_flux.present.dashboards import influxdb as in_influxdb
from pfa_flux.present.dashboards.panels import Data
from tests import influxdb_ui as ui
from tests.contract import fill
from tests.data import DAY, MINUTE, T0, hit, load
from tests.engines import ENGINES, Workspace
from tests.engines.plugin import MakeWorkspace
from tests.grafana import Grafana
from tests.test_sources import views

THERE = [name for name in ("influxdb-1.8", "influxdb-1.12", "influxdb-2.7", "influxdb-2.9") if name in ENGINES]


def on(*ordinarily: str) -> pytest.MarkDecorator:
    """Every server, all but some of them in the slow tests alone."""
    values = [name if name in ordinarily else pytest.param(name, marks=pytest.mark.slow) for name in THERE]
    return pytest.mark.parametrize("engine", values)


def each_source(ordinarily: tuple[str, str], servers: Sequence[str] = THERE) -> pytest.MarkDecorator:
    """Raw or downsampled data of every server. One pair is ordinary, one of each server is slow, the rest is a twin."""
    values: list[Any] = []
    for number, server in enumerate(servers):
        for pair in ((server, "raw"), (server, "rollup")):
            marks = [pytest.mark.slow]
            # Servers and sources do not depend on each other: each server has one of both, in turn.
            if (pair[1] == "raw") != (number % 2 == 0):
                marks.append(pytest.mark.twin)
            values.append(pair if pair == ordinarily else pytest.param(*pair, marks=marks))
    return pytest.mark.parametrize(("engine", "source"), values)


with_tasks = pytest.mark.parametrize("engine", ["influxdb-2.7", pytest.param("influxdb-2.9", marks=pytest.mark.twin)])
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
