"""Flux and InfluxQL on real servers: the files as they stand, and literals that come back byte for byte."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pfa_flux import InvalidValueError, Point
from pfa_flux.engines.influxdb import flux
from pfa_flux.engines.influxdb.languages.influxql import string
from pfa_flux.engines.influxdb.lineprotocol import line
from pfa_flux.times import NS, format_instant, from_datetime
from tests.contract import fill
from tests.data import DAY, T0, hit, load
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace

SERVERS = ("influxdb-1.8", "influxdb-1.12", "influxdb-2.7", "influxdb-2.9")
servers = pytest.mark.parametrize("engine", SERVERS)
POINTS = [*(hit(T0 + i * NS) for i in range(9)), *(load(T0 + i * NS) for i in range(4)), hit(T0, "b.example")]
MORE_LOADS = [hit(T0, "c.example"), load(T0, "c.example"), load(T0 + NS, "c.example")]


def pasted(name: str, bucket: str, start: str, stop: str) -> str:
    """A file as it stands but for its buckets, with `v` after its imports: all that InfluxDB's editor gives."""
    lines = [
        f'{text.partition(" = ")[0]} = "{bucket}"' if text.startswith(("bucket = ", "loadsBucket = ")) else text
        for text in flux.load(name).splitlines()
    ]
    last_import = max((i for i, text in enumerate(lines) if text.startswith("import ")), default=-1)
    v = f"v = {{timeRangeStart: {start}, timeRangeStop: {stop}, windowPeriod: 15m}}"
    return "\n".join([*lines[: last_import + 1], v, *lines[last_import + 1 :]])


@pytest.mark.parametrize(
    ("engine", "dialect"),
    [("influxdb-1.8", "union"), *itertools.product(SERVERS[1:], ("union", "join"))],
)
def test_a_query_file_runs_as_it_stands(engine: str, dialect: str, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(engine)
    fill(workspace, T0, [*POINTS, *MORE_LOADS])
    text = pasted(f"queries/blocked_ratio.{dialect}.flux", workspace.raw, format_instant(T0), format_instant(T0 + DAY))
    rows = workspace.client.flux(text)
    found = sorted((row["domain"], row["hits"], row["js"], row["blocked"], row.get("ratio")) for row in rows)
    assert found == [("b.example", 1, 0, 1, 1.0), ("c.example", 1, 2, -1, None), ("example.com", 9, 4, 5, 5 / 9)]


@pytest.mark.parametrize("dialect", ["union", "join"])
def test_a_query_file_takes_the_relative_times_that_influxdbs_editor_gives(
    dialect: str, make_workspace: MakeWorkspace
) -> None:
    workspace, now = make_workspace("influxdb-2.7"), time.time_ns()
    fill(workspace, now, [hit(now - 60 * NS), hit(now - 61 * NS), load(now - 60 * NS)])
    rows = workspace.client.flux(pasted(f"queries/blocked_ratio.{dialect}.flux", workspace.raw, "-1h", "now()"))
    assert [(row["domain"], row["blocked"]) for row in rows] == [("example.com", 1)]


@servers
def test_the_files_of_single_sides_run_as_they_stand(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(engine)
    fill(workspace, T0, POINTS)
    span = (workspace.raw, format_instant(T0), format_instant(T0 + DAY))
    rows = workspace.client.flux(pasted("queries/sums.flux", *span))
    found = sorted((row["domain"], from_datetime(row["_time"]), row["_value"]) for row in rows)
    assert found == [("b.example", T0, 1), ("example.com", T0, 9)]
    (newest,) = workspace.client.flux(pasted("queries/edge.flux", *span))
    assert from_datetime(newest["_time"]) == T0 + 8 * NS
    values = {row["_value"] for row in workspace.client.flux(pasted("queries/values.flux", *span))}
    assert values == ({"/"} if workspace.client.is_2 else set())
    workspace.client.write(workspace.rollup, [f"pf_analytics_pixel,domain=a,page=/,scheme=http hitcount=3i {T0 + 1}"])
    rows = workspace.client.flux(pasted("queries/rows.flux", workspace.rollup, *span[1:]))
    assert [row["_value"] for row in rows] == [3]


@pytest.mark.parametrize("engine", ["influxdb-2.7", "influxdb-2.9"])
def test_the_task_file_runs_as_it_stands(engine: str, pool: Any) -> None:
    """In the buckets that it names: those of the original."""
    server = pool.get(engine)
    client, stop = server.client, (time.time_ns() // NS - 6 * 3600) // 900 * 900
    client.write(
        "telegraf/autogen",
        [f"pf_analytics_test_pixel,domain=asis.example,page=/,scheme=https,sess=1 count=1i {(stop - 1) * NS}"],
    )
    task = client.json(
        "POST", "/api/v2/tasks", {"org": server.org, "flux": flux.load("tasks/downsample_hitcounter.flux")}
    )
    try:
        runs = f"/api/v2/tasks/{task['id']}/runs"
        run = client.json("POST", runs, {"scheduledFor": format_instant((stop + 17) * NS)})
        deadline = time.monotonic() + 60
        while run["status"] not in {"success", "failed"} and time.monotonic() < deadline:
            time.sleep(0.2)
            run = next((r for r in client.json("GET", runs)["runs"] or () if r["id"] == run["id"]), run)
        assert run["status"] == "success"
    finally:
        client.request("DELETE", f"/api/v2/tasks/{task['id']}")
    text = "SELECT hitcount FROM pf_analytics_pixel WHERE \"domain\" = 'asis.example' GROUP BY *"
    (row,) = client.influxql(text, db="websites", rp="analytics")
    assert row == {
        "domain": "asis.example", "page": "/", "scheme": "https", "time": stop * NS, "hitcount": 1
    }  # fmt: skip


NASTY = [
    '") |> drop() //', "${1}", '$") |> limit(n:0) //', "${v.bucket}", '\\"', "\\", "a\\", "\\x41", "\\u0041", "'", "''",
    "\n", "\r\n", "\t", "\x00", "\x01\x1f\x7f\x80", "\u2028\ufeff", "ünï", "\U0001f4a9", " ", "", "/a?b=c&d#e", "%00",
]  # fmt: skip
marks = itertools.count()


def as_field(value: str) -> str:
    """A string as a field's value in line protocol, which escapes a quote and a backslash and nothing else."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def stored(workspace: Workspace, texts: list[str]) -> str:
    """Store texts, each as the value of a series of its own. Returns their measurement."""
    measurement = f"texts{next(marks)}"
    workspace.client.write(workspace.raw, [f"{measurement},i={i} s={as_field(t)} {T0}" for i, t in enumerate(texts)])
    return measurement


def check_round_trip(
    workspace: Workspace, count: Callable[[Workspace, str, list[str]], int], texts: st.SearchStrategy[str]
) -> None:
    """Every text equals its own literal on the server, and no other's."""

    @settings(max_examples=20)
    @example(NASTY)
    @given(st.lists(texts, min_size=1, max_size=25, unique=True))
    def check(values: list[str]) -> None:
        kept = [value for value in values if not set("\x00\r") & set(value) or count is by_flux]
        if kept:
            measurement = stored(workspace, kept)
            assert count(workspace, measurement, kept) == len(kept)
            assert count(workspace, measurement, [f"{value}x" for value in kept]) == 0

    check()


def by_flux(workspace: Workspace, measurement: str, values: list[str]) -> int:
    same = " or ".join(f'(r.i == "{i}" and r._value == {flux.literal(value)})' for i, value in enumerate(values))
    rows = workspace.client.flux(
        f"from(bucket: {flux.literal(workspace.raw)}) |> range(start: {flux.instant(T0)}, stop: {flux.instant(T0 + 2)})"
        # Compared in memory: pushed down to storage, 1.8 takes such an or-chain of values for something else.
        f' |> filter(fn: (r) => r._measurement == "{measurement}") |> map(fn: (r) => ({{r with same: {same}}}))'
        " |> filter(fn: (r) => r.same) |> group() |> count()"
    )
    return sum(row["_value"] for row in rows)


def by_influxql(workspace: Workspace, measurement: str, values: list[str]) -> int:
    database, _, policy = workspace.raw.partition("/")
    found = 0
    for i, value in enumerate(values):
        text = f"SELECT s FROM {measurement} WHERE i = '{i}' AND s = {string(value)}"
        found += len(workspace.client.influxql(text, db=database, rp=policy))
    return found


@servers
def test_a_flux_literal_of_any_text_comes_back_byte_for_byte(engine: str, make_workspace: MakeWorkspace) -> None:
    check_round_trip(make_workspace(engine), by_flux, st.text(max_size=20))


@servers
def test_an_influxql_literal_of_any_text_comes_back_byte_for_byte(engine: str, make_workspace: MakeWorkspace) -> None:
    check_round_trip(make_workspace(engine), by_influxql, st.text(max_size=20))


@servers
def test_literals_of_times_durations_and_integers_are_what_they_say(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(engine)
    workspace.client.write(workspace.raw, [f"m f=1i {T0}"])
    times = [0, 1, T0, T0 + 123_456_789, -1, -9_000_000_000 * NS, 9_000_000_000 * NS]
    integers = [0, 1, -1, 2**63 - 1, -(2**63) + 1]
    durations = [1, 900, 86400, 7 * 86400 + 1]
    checks = [f"int(v: {flux.instant(ns)}) == {flux.literal(ns)}" for ns in times]
    checks += [f'string(v: {flux.literal(n)}) == "{n}"' for n in integers]
    checks += [f"int(v: {flux.duration(s)}) == {s * NS}" for s in durations]
    members = ", ".join(f"c{i}: {check}" for i, check in enumerate(checks))
    (row,) = workspace.client.flux(
        f"from(bucket: {flux.literal(workspace.raw)}) |> range(start: {flux.instant(T0)}, stop: {flux.instant(T0 + 2)})"
        f" |> map(fn: (r) => ({{r with {members}}}))"
    )
    assert [check for i, check in enumerate(checks) if row[f"c{i}"] is not True] == []


TAGS = st.text(min_size=1, max_size=20).filter(lambda t: not set("\n\r\x00") & set(t) and not t.endswith("\\"))


@servers
def test_a_tag_of_any_text_that_line_protocol_carries_is_found_by_its_literal(
    engine: str, make_workspace: MakeWorkspace
) -> None:
    workspace = make_workspace(engine)

    @settings(max_examples=20)
    @example([value for value in NASTY if value and not set("\n\r\x00") & set(value) and not value.endswith("\\")])
    @given(st.lists(TAGS, min_size=1, max_size=20, unique=True))
    def check(values: list[str]) -> None:
        name = f"tags{next(marks)}"
        workspace.client.write(
            workspace.raw, [line(Point(name, {"domain": v}, "f", i, T0)) for i, v in enumerate(values)]
        )
        for i, value in enumerate(values):
            rows = workspace.client.flux(
                f"from(bucket: {flux.literal(workspace.raw)}) |> range(start: {flux.instant(T0)}, "
                f'stop: {flux.instant(T0 + 2)}) |> filter(fn: (r) => r._measurement == "{name}" and '
                f"{flux.any_of('domain', [value])})"
            )
            assert [row["_value"] for row in rows] == [i]

    check()


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\x00b", "a\\"])
def test_what_line_protocol_cannot_carry_is_refused(value: str) -> None:
    with pytest.raises(InvalidValueError, match="cannot be stored"):
        line(Point("m", {"domain": value}, "f", 1, 0))


@pytest.mark.parametrize("value", ["a\rb", "a\x00b", "a\ud800b"])
def test_what_influxql_cannot_carry_is_refused(value: str) -> None:
    with pytest.raises(InvalidValueError, match=r"InfluxQL cannot carry|lone surrogate"):
        string(value)
