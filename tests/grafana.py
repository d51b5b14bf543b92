"""What Grafana does with a dashboard, as far as figures go: variables, macros, requests, and server-side expressions.

Written after Grafana's documentation and what its code sends, and shares nothing with pfa-flux.

- Variables: https://grafana.com/docs/grafana/latest/dashboards/variables/variable-syntax/
- Flux and InfluxQL: https://grafana.com/docs/grafana/latest/datasources/influxdb/
- Expressions: https://grafana.com/docs/grafana/latest/panels-visualizations/query-transform-data/expression-queries/
"""

from __future__ import annotations

import ast
import json
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from tests.engines.http import Client

_VARIABLE = re.compile(r"\$(\w+)|\[\[(\w+)(?::(\w+))?\]\]|\$\{(\w+)(?::(\w+))?\}")
_OF_FLUX = re.compile(r"[a-zA-Z]+\.(timeRangeStart|timeRangeStop|windowPeriod|defaultBucket|bucket|organization)\b")
_SPECIAL = re.compile(r"[\\^$*+?.()|\[\]{}/]")
ALL = "$__all"

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Series:
    """Figures by time in milliseconds, told apart from others of their query by labels."""

    labels: Labels
    points: Mapping[int, float]


@dataclass(frozen=True)
class Number:
    """One figure, likewise."""

    labels: Labels
    value: float


Values = list[Series] | list[Number]
"""What a query or an expression gives; none is 'no data', and makes no data of all that is computed from it."""


@dataclass
class Grafana:
    """A Grafana with one dashboard and one data source.

    Attributes:
        client: the database.
        dashboard: the dashboard's JSON.
        start: start of the range, nanoseconds, whole milliseconds.
        stop: its end.
        chosen: values of the variables; those that are not here are 'All'.
        database: default database of the data source.
        interval: seconds of $__interval before the panel's shortest is looked at.
    """

    client: Client
    dashboard: Any
    start: int
    stop: int
    chosen: Mapping[str, Sequence[str]] = field(default_factory=dict)
    database: str = "nowhere"
    interval: int = 60

    def panel(self, title: str) -> Any:
        return next(panel for panel in self.dashboard["panels"] if panel["title"] == title)

    def tables(self, title: str) -> list[list[dict[str, Any]]]:
        """Rows of each query of a panel that is a table, or of Flux."""
        return [self._rows(target, self.panel(title)) for target in self.panel(title)["targets"]]

    def values(self, title: str, *, hidden: bool = False) -> dict[str, Values]:
        """What the queries and expressions of a panel give that is shown, or all of it, by their names."""
        found: dict[str, Values] = {}
        panel = self.panel(title)
        for target in panel["targets"]:
            if target["datasource"]["type"] == "__expr__":
                found[target["refId"]] = computed(target, found)
            else:
                found[target["refId"]] = self._series(target, panel)
        shown = {target["refId"] for target in panel["targets"] if hidden or not target["hide"]}
        return {name: values for name, values in found.items() if name in shown}

    def options(self, name: str) -> list[str]:
        """Values that a variable offers."""
        variable = next(each for each in self.dashboard["templating"]["list"] if each["name"] == name)
        if "SHOW" in variable["query"]:
            return [str(row["value"]) for row in self._influxql(self._interpolated(variable["query"]), None)]
        (only,) = {
            key
            for row in self._flux(variable["query"])
            for key, value in row.items()
            if isinstance(value, str) and key not in {"result", "table"}
        } or {""}
        return [str(row[only]) for row in self._flux(variable["query"]) if row.get(only)]

    def _rows(self, target: Any, panel: Any) -> list[dict[str, Any]]:
        if "rawQuery" not in target:
            return self._flux(target["query"])
        return self._influxql(self._macros(self._interpolated(target["query"]), panel), target)

    def _series(self, target: Any, panel: Any) -> list[Series]:
        """Series of a query of InfluxQL: one for each set of tags and column; of Flux one for each field."""
        assert target.get("resultFormat", "time_series") == "time_series"
        rows = self._rows(target, panel)
        found: dict[Labels, dict[int, float]] = {}
        for row in rows:
            if "rawQuery" in target:
                (value,) = (value for key, value in row.items() if key not in {"time", "_tags"})
                labels, time = tuple(sorted(row["_tags"].items())), int(row["time"])
            else:
                value, time = row["_value"], int(row["_time"].timestamp() * 1000)
                labels = (("_field", str(row["_field"])),)
            if value is not None:
                found.setdefault(labels, {})[time] = float(value)
        return [Series(labels, points) for labels, points in found.items()]

    def _interpolated(self, text: str) -> str:
        """The text with the dashboard's variables, as the browser puts them in. Unknown ones stay."""
        return _VARIABLE.sub(self._value, text)

    def _value(self, match: re.Match[str]) -> str:
        name, how = match[1] or match[2] or match[4], match[3] or match[5] or ""
        if name in {"__from", "__to"}:
            return str((self.start if name == "__from" else self.stop) // 10**6)
        variable = next((each for each in self.dashboard["templating"]["list"] if each["name"] == name), None)
        if variable is None:
            return match[0]
        values = list(self.chosen.get(name, [ALL]))
        if values == [ALL]:
            # The value for all goes in as it is.
            return str(variable["allValue"])
        if how == "regex":
            escaped = [_SPECIAL.sub(lambda found: f"\\{found[0]}", value) for value in values]
            return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
        assert how == "", f"{how} is not known here"
        return values[0] if len(values) == 1 else f"{{{','.join(values)}}}"

    def _flux(self, text: str) -> list[dict[str, Any]]:
        given = {
            "timeRangeStart": self._rfc3339(self.start),
            "timeRangeStop": self._rfc3339(self.stop),
            "windowPeriod": f"{self.interval}s",
            "defaultBucket": f'"{self.database}"',
            "bucket": f'"{self.database}"',
            "organization": f'"{self.client.org}"',
        }
        return self.client.flux(_OF_FLUX.sub(lambda found: given[found[1]], self._interpolated(text)))

    @staticmethod
    def _rfc3339(ns: int) -> str:
        assert ns % 10**6 == 0
        return datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ns // 10**6 % 1000:03d}Z"

    def _macros(self, text: str, panel: Any) -> str:
        shortest = {"": 0, "1h": 3600}[panel.get("interval", "")]
        every = f"{max(self.interval, shortest)}s"
        span = f"time >= {self.start // 10**6}ms and time <= {self.stop // 10**6}ms"
        return text.replace("$timeFilter", span).replace("$__interval", every).replace("$interval", every)

    def _influxql(self, text: str, target: Any) -> list[dict[str, Any]]:
        asked = urlencode({"q": text, "db": self.database, "epoch": "ms"})
        answer = json.loads(self.client.request("GET", f"/query?{asked}").data)
        (result,) = answer["results"]
        assert "error" not in result, (result, text)
        return [
            {
                **dict(zip(series["columns"], values, strict=True)),
                **({"_tags": series.get("tags", {})} if target else {}),
            }
            for series in result.get("series", ())
            for values in series["values"]
        ]


def computed(target: Any, known: Mapping[str, Values]) -> Values:
    """What an expression gives."""
    if target["type"] == "reduce":
        assert (target["reducer"], target["settings"]) == ("sum", {"mode": "dropNN"})
        return [Number(each.labels, _sum(each)) for each in known[target["expression"]]]
    assert target["type"] == "math"
    formula = re.sub(r"\$\{?(\w+)\}?", r"\1", target["expression"])
    result = _walk(ast.parse(formula, mode="eval").body, known)
    assert isinstance(result, list)
    return result


def _sum(each: Series | Number) -> float:
    return sum(v for v in each.points.values() if math.isfinite(v)) if isinstance(each, Series) else each.value


def _over(a: float, b: float) -> float:
    """Division as Go has it."""
    if b:
        return a / b
    return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a)


_OPERATIONS: dict[type[Any], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _over,
    ast.LtE: lambda a, b: float(a <= b),
}


def _walk(node: ast.expr, known: Mapping[str, Values]) -> Values | float:
    if isinstance(node, ast.Name):
        return known[node.id]
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.BinOp):
        return _apply(_OPERATIONS[type(node.op)], _walk(node.left, known), _walk(node.right, known))
    assert isinstance(node, ast.Compare), ast.dump(node)
    return _apply(_OPERATIONS[type(node.ops[0])], _walk(node.left, known), _walk(node.comparators[0], known))


def _apply(operate: Callable[[float, float], float], left: Values | float, right: Values | float) -> Values | float:
    if isinstance(left, float) and isinstance(right, float):
        return _go(operate, left, right)
    ones = [Number((), left)] if isinstance(left, float) else left
    others = [Number((), right)] if isinstance(right, float) else right
    return list(_united(operate, ones, others))  # type: ignore[return-value]


def _united(operate: Callable[[float, float], float], ones: Values, others: Values) -> Iterator[Series | Number]:
    """Pairs whose labels are equal, or of which one has those of the other and more; others are dropped."""
    for one in ones:
        for other in others:
            a, b = set(one.labels), set(other.labels)
            if a == b or not a or not b or (len(a) != len(b) and (a < b or b < a)):
                yield _pair(operate, one, other, one.labels if len(a) >= len(b) else other.labels)


def _pair(
    operate: Callable[[float, float], float], one: Series | Number, other: Series | Number, labels: Labels
) -> Series | Number:
    if isinstance(one, Number) and isinstance(other, Number):
        return Number(labels, _go(operate, one.value, other.value))
    if isinstance(one, Number):
        assert isinstance(other, Series)
        return Series(labels, {t: _go(operate, one.value, v) for t, v in other.points.items()})
    if isinstance(other, Number):
        return Series(labels, {t: _go(operate, v, other.value) for t, v in one.points.items()})
    # A time that only one of them has is dropped.
    return Series(labels, {t: _go(operate, v, other.points[t]) for t, v in one.points.items() if t in other.points})


def _go(operate: Callable[[float, float], float], a: float, b: float) -> float:
    return math.nan if math.isnan(a) or math.isnan(b) else operate(a, b)
