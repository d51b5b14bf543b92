"""A dashboard as JSON to import into Grafana or to provision. It needs Grafana 9 or newer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pfa_flux.engines.influxdb import flux
from pfa_flux.engines.influxdb.languages import influxql
from pfa_flux.present.dashboards import in_flux, in_influxql
from pfa_flux.present.dashboards.panels import DESCRIPTION, NAME, TITLE, WIDTH, Data, Expression, Panel, Query
from pfa_flux.schema import Side

Language = Literal["flux", "influxql"]

_COLUMNS, _ROW = 24, 2
"""Columns of Grafana's grid, and its rows per row of a panel's place."""
_SCHEMA = 36
"""Version of the JSON: that of Grafana 9. Later versions upgrade it themselves."""
_DATASOURCE = {"type": "influxdb", "uid": "${datasource}"}
_EXPRESSIONS = {"type": "__expr__", "uid": "__expr__"}
_TYPES = {"number": "stat", "numbers": "stat", "lines": "timeseries", "table": "table", "bars": "bargauge"}
_UNITS = {"share": "percentunit", "percent": "percent", "count": "short"}
_SELECTED = flux.Expression('(r) => r["domain"] =~ /^(${domain:regex})$/')
_SHARES = {"ratio": "ratio", "ratio_low": "low", "ratio_high": "high"}
_COUNTS = {name: side.heading for side in Side for name in (side.column, side.value)}
_SHORTEST = "1h"
"""Shortest interval of figures by time."""


def dashboard(data: Data, language: Language) -> str:
    """The dashboard as JSON text.

    Args:
        data: the rows to show.
        language: query language of the data source.
    """
    panels = in_flux.panels(data, _SELECTED, wide=True) if language == "flux" else in_influxql.panels(data)
    name = "Flux" if language == "flux" else "InfluxQL"
    made = {
        "uid": f"{NAME}-{language}",
        "title": TITLE,
        "description": DESCRIPTION,
        "tags": [NAME],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "utc",
        "refresh": "",
        "time": {"from": "now-7d", "to": "now"},
        "timepicker": {},
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": [_choice_of_source(name), *_variables(data, language)]},
        "panels": [_panel(number, panel, language) for number, panel in enumerate(panels, 1)],
    }
    return json.dumps(made, indent=2, ensure_ascii=False)


def _choice_of_source(name: str) -> dict[str, Any]:
    return {
        "type": "datasource",
        "name": "datasource",
        "label": f"InfluxDB ({name})",
        "query": "influxdb",
        "regex": "",
        "current": {},
        "options": [],
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "refresh": 1,
        "skipUrlSync": False,
    }


def _variables(data: Data, language: Language) -> list[dict[str, Any]]:
    if language == "flux":
        return [_variable("domain", in_flux.domains_text(data))]
    database, _ = influxql.database_of(data.hits.bucket)
    names = ("domain", "page") if data.pages else ("domain",)
    return [_variable(name, influxql.tag_values(data.hits, name, database)) for name in names]


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "type": "query",
        "name": name,
        "label": name,
        "datasource": _DATASOURCE,
        "query": query,
        "regex": "",
        # Query again when the range changes.
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [],
        "hide": 0,
        "skipUrlSync": False,
    }


def _panel(number: int, panel: Panel, language: Language) -> dict[str, Any]:
    column, row, width, height = panel.place
    wide = _COLUMNS // WIDTH
    made = {
        "id": number,
        "type": _TYPES[panel.kind],
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATASOURCE,
        "gridPos": {"x": column * wide, "y": row * _ROW, "w": width * wide, "h": height * _ROW},
        "targets": [
            *(_target(query, language) for query in panel.queries),
            *(_expression(each) for each in panel.expressions),
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
        "options": _OPTIONS[panel.kind],
        "transparent": False,
    }
    return {**made, "interval": _SHORTEST} if panel.kind == "lines" else made


def _target(query: Query, language: Language) -> dict[str, Any]:
    target = {"refId": query.name, "datasource": _DATASOURCE, "query": query.text, "hide": query.hidden}
    if language == "flux":
        return target
    # Results by page are distinguished by their tag.
    alias = {} if 'GROUP BY "page"' in query.text else {"alias": query.name}
    return {**target, "rawQuery": True, "resultFormat": "table" if query.rows else "time_series", **alias}


def _expression(expression: Expression) -> dict[str, Any]:
    target = {"refId": expression.name, "datasource": _EXPRESSIONS, "hide": expression.hidden}
    if expression.kind == "math":
        return {**target, "type": "math", "expression": expression.text}
    return {**target, "type": "reduce", "expression": expression.text, "reducer": "sum", "settings": {"mode": "dropNN"}}


def _defaults(panel: Panel) -> dict[str, Any]:
    custom: dict[str, Any] = {}
    if panel.kind == "lines":
        custom = {"drawStyle": "line", "lineWidth": 2, "fillOpacity": 0, "showPoints": "auto", "spanNulls": False}
    if panel.kind == "table":
        custom = {"align": "auto", "filterable": False}
    defaults: dict[str, Any] = {
        "color": {"mode": "thresholds" if panel.kind in {"number", "numbers", "bars"} else "palette-classic"},
        "custom": custom,
        "mappings": [{"type": "special", "options": {"match": "null+nan", "result": {"text": "–", "index": 0}}}],
        "thresholds": {"mode": "absolute", "steps": [{"color": "text", "value": None}]},
        "noValue": "–",
    }
    if panel.kind == "table":
        return defaults
    figures = {"unit": _UNITS[panel.unit], **({} if panel.unit == "count" else {"decimals": 1})}
    if panel.unit == "share" and panel.kind in {"lines", "bars"}:
        figures |= {"min": 0, "max": 1}
    if panel.kind == "bars":
        figures["displayName"] = "${__field.labels.page}"
    return {**defaults, **figures}


def _overrides(panel: Panel) -> list[dict[str, Any]]:
    if panel.kind == "lines" and panel.unit == "share":
        thin = {"custom.lineWidth": 1, "color": {"mode": "fixed", "fixedColor": "gray"}}
        band = {**thin, "custom.fillBelowTo": "ratio_low", "custom.fillOpacity": 15}
        return [_override("ratio_low", thin), _override("ratio_high", band)]
    if panel.kind != "table":
        return []
    shares = [
        _override(name, {"displayName": shown, "unit": "percentunit", "decimals": 1}) for name, shown in _SHARES.items()
    ]
    counts = [_override(name, {"displayName": shown, "unit": "short"}) for name, shown in _COUNTS.items()]
    # InfluxQL always returns a time, even if it means nothing.
    return [*shares, *counts, _override("Time", {"custom.hidden": True})]


def _override(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    values = [{"id": key, "value": value} for key, value in properties.items()]
    return {"matcher": {"id": "byName", "options": name}, "properties": values}


_REDUCED = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_STAT = {
    "reduceOptions": _REDUCED,
    "orientation": "auto",
    "textMode": "value_and_name",
    "colorMode": "value",
    "graphMode": "none",
    "justifyMode": "auto",
}
_OPTIONS: dict[str, dict[str, Any]] = {
    "number": {**_STAT, "textMode": "value"},
    "numbers": _STAT,
    "lines": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "none"},
    },
    "table": {"showHeader": True},
    "bars": {
        "reduceOptions": {**_REDUCED, "limit": 50},
        "orientation": "horizontal",
        "displayMode": "basic",
        "showUnfilled": True,
    },
}
