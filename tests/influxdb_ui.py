"""How InfluxDB's own pages ask: the query as it stands, and the range as an option `v` in `extern`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from influxdb_client.client.flux_csv_parser import FluxCsvParser, FluxSerializationMode

from tests.engines.http import Body, Client


def absolute(ns: int) -> dict[str, Any]:
    """A moment that was chosen in the calendar."""
    text = datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return {"type": "DateTimeLiteral", "value": f"{text}.{ns // 10**6 % 1000:03d}Z"}


def ago(magnitude: int, unit: str) -> dict[str, Any]:
    """So long before now, as in the list of ranges."""
    duration = {"type": "DurationLiteral", "values": [{"magnitude": magnitude, "unit": unit}]}
    return {"type": "UnaryExpression", "operator": "-", "argument": duration}


NOW: dict[str, Any] = {"type": "CallExpression", "callee": {"type": "Identifier", "name": "now"}}


def extern(start: dict[str, Any], stop: dict[str, Any]) -> dict[str, Any]:
    """The file that declares `v`, with all that the pages predefine."""
    period = {"type": "DurationLiteral", "values": [{"magnitude": 10000, "unit": "ms"}]}
    properties = [
        {"type": "Property", "key": {"type": "Identifier", "name": name}, "value": value}
        for name, value in (("timeRangeStart", start), ("timeRangeStop", stop), ("windowPeriod", period))
    ]
    assignment = {
        "type": "VariableAssignment",
        "id": {"type": "Identifier", "name": "v"},
        "init": {"type": "ObjectExpression", "properties": properties},
    }
    statement = {"type": "OptionStatement", "assignment": assignment}
    return {"type": "File", "package": None, "imports": None, "body": [statement]}


def asked(client: Client, text: str, start: dict[str, Any], stop: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a query."""
    dialect = {"annotations": ["group", "datatype", "default"], "header": True, "delimiter": ","}
    body = {"query": text, "extern": extern(start, stop), "dialect": dialect}
    path = f"/api/v2/query?orgID={client.org_id()}"
    sent = json.dumps(body).encode()
    answer = client.request("POST", path, sent, Content_Type="application/json", Accept="application/csv")
    parser = FluxCsvParser(Body(answer.data), FluxSerializationMode.stream)
    return [record.values for record in parser.generator()]
