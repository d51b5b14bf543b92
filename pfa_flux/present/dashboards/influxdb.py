"""A dashboard as a template of InfluxDB 2. It is installed through the templates API, in its own stack."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, cast

from pfa_flux import foreign
from pfa_flux.engines.base import Engine
from pfa_flux.engines.influxdb.transport import understood
from pfa_flux.engines.influxdb.v2 import InfluxDB2
from pfa_flux.errors import CapabilityError, QueryError
from pfa_flux.present.dashboards.in_flux import panels
from pfa_flux.present.dashboards.panels import DESCRIPTION, NAME, TITLE, Data, Panel

_VERSION = "influxdata.com/v2alpha1"
_META = f"{NAME}-ratio"
"""Name by which a stack recognises the dashboard."""
_HEX = "#31C0F6"
_KINDS = {"number": "Single_Stat", "lines": "Xy", "table": "Table"}
_STACKS = "the answer with stacks"


def template(data: Data) -> list[dict[str, Any]]:
    """The template: a list with the dashboard."""
    spec = {"name": TITLE, "description": DESCRIPTION, "charts": [_chart(panel) for panel in panels(data)]}
    return [{"apiVersion": _VERSION, "kind": "Dashboard", "metadata": {"name": _META}, "spec": spec}]


def template_text(data: Data) -> str:
    """The template as JSON text, for `influx apply --file`."""
    return json.dumps(template(data), indent=2, ensure_ascii=False)


def _chart(panel: Panel) -> dict[str, Any]:
    column, row, width, height = panel.place
    chart = {
        "kind": _KINDS[panel.kind],
        "name": panel.title,
        "note": panel.description,
        "xPos": column,
        "yPos": row,
        "width": width,
        "height": height,
        "queries": [{"query": query.text} for query in panel.queries],
    }
    if panel.kind == "number":
        text = {"id": "base", "name": "text", "type": "text", "hex": _HEX, "value": 0}
        return {**chart, "suffix": "%", "decimalPlaces": 1, "enforceDecimals": True, "colors": [text]}
    if panel.kind == "table":
        options = {"verticalTimeAxis": True, "wrapping": "single-line", "fixFirstColumn": False, "sortBy": ""}
        base = {"id": "base", "name": "white", "type": "text", "hex": "#ffffff", "value": 0}
        return {**chart, "tableOptions": options, "decimalPlaces": 3, "enforceDecimals": True, "colors": [base]}
    axes = [{"name": name, "base": "10", "scale": "linear"} for name in ("x", "y")]
    scale = [
        {"id": f"scale-{n}", "name": "Nineteen Eighty Four", "type": "scale", "hex": color, "value": 0}
        for n, color in enumerate((_HEX, "#A500A5", "#FF7E27"))
    ]
    line = {"geom": "line", "position": "overlaid", "xCol": "_time", "yCol": "_value", "hoverDimension": "auto"}
    return {**chart, **line, "axes": axes, "colors": scale, "timeFormat": "YYYY-MM-DD HH:mm"}


@dataclass(frozen=True, slots=True)
class Installed:
    """Result of an installation.

    Attributes:
        action: made or updated.
        url: address of the dashboard.
    """

    action: Literal["made", "updated"]
    url: str


def install(engine: Engine, data: Data) -> Installed:
    """Apply the template in pfa-flux's own stack, which is created if necessary. A second call adds nothing.

    Raises:
        CapabilityError: the engine is not InfluxDB 2.
        AccessDeniedError: the token has no right to it. QueryError: the server refuses the template.
    """
    if engine.capabilities.engine != "influxdb2":
        raise CapabilityError(
            f"the dashboard cannot be installed: {engine.capabilities.title} has no dashboards",
            "Use pfa-flux dashboard grafana --datasource influxql, or pfa-flux view.",
        )
    server = cast("InfluxDB2", engine)
    stack, is_new = _stack(server)
    try:
        applied = _applied(server, stack, data)
    except BaseException:
        if is_new:
            server.transport.request("DELETE", f"/api/v2/stacks/{stack}", query={"orgID": server.org_id})
        raise
    return Installed("made" if is_new else "updated", f"{server.address}/orgs/{server.org_id}/dashboards/{applied}")


@understood(_STACKS)
def _stack(server: InfluxDB2) -> tuple[str, bool]:
    """Id of pfa-flux's stack, and whether it was just created."""
    query = {"orgID": server.org_id, "name": NAME}
    stacks = server.transport.request("GET", "/api/v2/stacks", query=query).listed("stacks", required=False)
    for stack in stacks:
        if all(event["eventType"] != "uninstall" for event in stack["events"]):
            return str(stack["id"]), False
    body = {"orgID": server.org_id, "name": NAME, "description": DESCRIPTION, "urls": []}
    return str(server.transport.request("POST", "/api/v2/stacks", json_body=body).json()["id"]), True


@understood("the answer to a template")
def _applied(server: InfluxDB2, stack: str, data: Data) -> str:
    """Id of the dashboard, after the template was applied."""
    body = {"orgID": server.org_id, "stackID": stack, "template": {"contents": template(data)}}
    answer = server.transport.request("POST", "/api/v2/templates/apply", json_body=body).json()
    if answer.get("errors"):
        raise QueryError(
            f"{server.address} refuses the dashboard: {foreign.said(str(answer['errors']))}",
            "See the server's message above.",
        )
    (made,) = (each for each in answer["summary"]["dashboards"] if each["templateMetaName"] == _META)
    # The API returns a number. Addresses have its 16 hexadecimal digits.
    return f"{int(made['id']):016x}"
