"""The query that the idea was published with gives the same delta on the same data, wherever it gives one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfa_flux import Point
from tests import oracle
from tests.cases import CASES, Case
from tests.contract import analytics, fill
from tests.data import DAY, MINUTE, READY, T0, hit, load
from tests.engines.plugin import MakeWorkspace
from tests.original import delta_query

DOMAIN = "example.com"
SERVERS = pytest.mark.parametrize("engine", ["influxdb-1.8", "influxdb-1.12", "influxdb-2.7", "influxdb-2.9"])


def with_action(points: tuple[Point, ...]) -> list[Point]:
    """The points without the loads that have no `action`: the original's query counts those on 2.x and not on 1.8."""
    return [p for p in points if p.measurement == "pf_analytics_test_pixel" or p.tags.get("action")]


def sides(points: list[Point], start: int, stop: int) -> tuple[int, int]:
    """The oracle's hits and loads of the domain."""
    return oracle.totals(points, start, stop, ["domain"], domains=[DOMAIN]).get((DOMAIN,), (0, 0))


HAND_MADE = [
    Case(case.name, tuple(with_action(case.points)), start=case.start, stop=case.stop)
    for case in CASES
    # Of a field whose points are of both types the original's query has nothing to say.
    if case.ask == {} and with_action(case.points)
] + [
    Case(
        "float response times, an action with quotes",
        (
            *(hit(T0 + i * MINUTE, sess=f"{i:x}") for i in range(50)),
            *(load(T0 + i * MINUTE + 1, action='"load"', value=99.5) for i in range(31)),
            *(load(T0 + i * MINUTE, action=READY, value=1.5) for i in range(44)),
        ),
    )
]


@SERVERS
@pytest.mark.parametrize("case", HAND_MADE, ids=lambda case: case.name)
def test_the_same_delta_or_none_where_a_side_is_empty(engine: str, case: Case, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(engine)
    fill(workspace, T0, case.points)
    hits, js = sides(list(case.points), case.start, case.stop)
    # InfluxDB 1.8's range takes its stop in; ours asks for a nanosecond less there.
    stop = case.stop - 1 if engine == "influxdb-1.8" else case.stop
    rows = workspace.client.flux(delta_query(workspace.raw, DOMAIN, case.start, stop))
    assert [row["_value"] for row in rows] == ([hits - js] if hits and js else [])
    with analytics(workspace, T0 + DAY) as made:
        (ours,) = made.blocked_ratio([DOMAIN], start=case.start, stop=case.stop)
    assert (ours.hits, ours.js, ours.blocked) == (hits, js, hits - js)


@SERVERS
def test_the_same_delta_on_random_data(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(engine)
    weeks = iter(range(1000))
    domains = st.sampled_from([DOMAIN, "www.example.com"])
    minutes = st.integers(0, 24 * 60 - 1)
    hits = st.builds(hit, minutes, domains, st.sampled_from(["/", "/a"]), sess=st.sampled_from("abcdef"))
    loads = st.builds(load, minutes, domains, action=st.sampled_from(["load", '"load"', READY]))
    with analytics(workspace, T0) as made:

        @settings(max_examples=25)
        @given(st.lists(hits | loads, min_size=1, max_size=60))
        def check(points: list[Point]) -> None:
            # Each example has its own week of time.
            base = T0 - next(weeks) * 7 * DAY
            moved = [Point(p.measurement, p.tags, p.field, p.value, base + p.time * MINUTE) for p in points]
            fill(workspace, T0, moved)
            hits, js = sides(moved, base, base + DAY)
            rows = workspace.client.flux(delta_query(workspace.raw, DOMAIN, base, base + DAY))
            assert [row["_value"] for row in rows] == ([hits - js] if hits and js else [])
            (ours,) = made.blocked_ratio([DOMAIN], start=base, stop=base + DAY)
            assert (ours.hits, ours.js, ours.blocked) == (hits, js, hits - js)

        check()
