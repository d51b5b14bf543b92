"""The contract of the blocked ratio: the same rows on every engine and in every dialect, equal to the oracle's."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfa_flux import Analytics, BlockedRatio, CapabilityError, Point
from pfa_flux.times import parse_instant
from tests import oracle
from tests.cases import CASES, ONION, Case, many
from tests.contract import SERVERLESS, TARGETS, Target, analytics, fill, ordinarily, workspace_of
from tests.data import DAY, HOUR, MINUTE, READY, T0, hit, load
from tests.engines.plugin import MakeWorkspace

targets = pytest.mark.parametrize("target", ordinarily(TARGETS), ids=str)
Figures = dict[tuple[str | int, ...], tuple[int, int, str]]


def asked(made: Analytics, case: Case, dialect: str) -> BlockedRatio:
    return made.blocked_ratio(**case.ask, start=case.start, stop=case.stop, dialect=dialect)


def figures(result: BlockedRatio) -> Figures:
    """Hits, loads and status by key, times in nanoseconds; in the order of the rows."""
    found: Figures = {}
    for row in result:
        key = tuple(parse_instant(v, 0) if k == "time" else v for k, v in row.key.items())
        assert key not in found
        assert row.blocked == row.hits - row.js
        assert row.ratio == (row.blocked / row.hits if row.status in {"ok", "no_js"} else None)
        found[key] = (row.hits, row.js, row.status)
    return found


def expected(case: Case) -> Figures:
    """The oracle's rows, with the empty ones that belong there."""
    ask = {"by": ["domain"], "every": "1h", "tz": "UTC", **case.ask}
    by = ask.pop("by")
    rest = {"domains": ask.pop("domains", ()), "networks": ask.pop("networks", ()), "pages": ask.pop("pages", ())}
    found = oracle.totals(case.points, case.start, case.stop, by, **rest, **ask)
    keys = set(found)
    if by == ["domain"]:
        keys |= {(d,) for d in rest["domains"]}
    if by == ["network"]:
        keys |= {(n,) for n in rest["networks"]}
    if "time" in by:
        keys = with_empty_intervals(keys, by, case, ask, rest["pages"])
    rows = {key: (*found.get(key, (0, 0)), oracle.status(*found.get(key, (0, 0)))) for key in keys}
    return dict(sorted(rows.items()))


def with_empty_intervals(
    keys: set[tuple[str | int, ...]], by: list[str], case: Case, ask: dict[str, Any], pages: list[str]
) -> set[tuple[str | int, ...]]:
    place = by.index("time")
    step = {"15m": 15 * MINUTE}.get(ask["every"], HOUR // 2)
    zone = ZoneInfo(ask["tz"])
    instants = {case.start, case.stop - 1, *range(case.start, case.stop, step)}
    starts = {oracle.interval_start(at, ask["every"], zone) for at in instants}
    others = {(*key[:place], *key[place + 1 :]) for key in keys}
    others |= {()} if by == ["time"] else {(page,) for page in pages}
    return {(*other[:place], start, *other[place:]) for other in others for start in starts}


@targets
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rows_equal_the_oracles(case: Case, target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    fill(workspace, case.stop, case.points)
    with analytics(workspace, case.stop) as made:
        result = asked(made, case, target.dialect)
    assert list(figures(result).items()) == list(expected(case).items())


@targets
def test_the_interval_equals_the_oracles(target: Target, make_workspace: MakeWorkspace) -> None:
    points = [
        *(
            hit(T0 + i * 7 * MINUTE + i % 5, domain=d, page=f"/{i % 3}")
            for i in range(200)
            for d in ("a.example", ONION)
        ),
        # Blocked in bunches: some hours wholly, others not at all.
        *(load(T0 + i * 7 * MINUTE + i % 5, domain="a.example", page=f"/{i % 3}") for i in range(200) if i // 9 % 3),
        *(load(T0 + i * 7 * MINUTE, domain=ONION) for i in range(0, 200, 2)),
    ]
    workspace = workspace_of(target, make_workspace)
    fill(workspace, T0 + DAY, points)
    start, stop = T0 + 5 * MINUTE, T0 + DAY - 3 * MINUTE
    with analytics(workspace, T0 + DAY) as made:
        result = made.blocked_ratio(start=start, stop=stop, dialect=target.dialect)
        by_page = made.blocked_ratio(["a.example"], by=["page"], start=start, stop=stop, dialect=target.dialect)
    assert result.warnings == ()
    for row in (*result, *by_page):
        filters: dict[str, Any] = {f"{k}s": [v] for k, v in row.key.items()}
        if "page" in row.key:
            filters["domains"] = ["a.example"]
        low, high = oracle.interval(points, start, stop, **filters)
        assert row.ratio_low == pytest.approx(low, abs=1e-9)
        assert row.ratio_high == pytest.approx(high, abs=1e-9)


@targets
def test_a_day_by_time_has_its_interval_from_twelve_blocks(target: Target, make_workspace: MakeWorkspace) -> None:
    points = [*many(hit, 144, step=10 * MINUTE), *(load(T0 + i * 10 * MINUTE) for i in range(144) if i // 12 % 2)]
    workspace = workspace_of(target, make_workspace)
    fill(workspace, T0 + DAY, points)
    with analytics(workspace, T0 + DAY) as made:
        (day,) = made.blocked_ratio(by=["time"], every="1d", start=T0, stop=T0 + DAY, dialect=target.dialect)
    low, high = oracle.interval(points, T0, T0 + DAY, block=2 * HOUR)
    assert day.ratio_low == pytest.approx(low, abs=1e-9)
    assert day.ratio_high == pytest.approx(high, abs=1e-9)


@targets
def test_a_short_range_says_that_its_interval_takes_page_views_as_independent(
    target: Target, make_workspace: MakeWorkspace
) -> None:
    workspace = workspace_of(target, make_workspace)
    fill(workspace, T0 + DAY, [*many(hit, 40), *many(load, 30)])
    with analytics(workspace, T0 + DAY) as made:
        result = made.blocked_ratio(start=T0, stop=T0 + HOUR, dialect=target.dialect)
    # 10 of 40: 14 to 40%, which is wider than the ratio.
    assert [warning.code for warning in result.warnings] == ["interval_wide", "interval_iid"]
    (row,) = result
    assert (row.ratio_low, row.ratio_high) == pytest.approx(oracle.wilson(0.25, 40), abs=1e-9)


@targets
def test_the_answer_says_where_it_is_from(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    fill(workspace, T0 + DAY, many(hit, 2))
    with analytics(workspace, T0 + DAY) as made:
        result = made.blocked_ratio(start="24h", dialect=target.dialect)
    engines = {"influxdb-2.7": "influxdb2", "influxdb-2.9": "influxdb2", **{name: name for name in SERVERLESS}}
    engine = engines.get(target.engine, "influxdb1")
    assert (result.engine, result.dialect, result.source) == (engine, target.answers, "raw")
    assert (result.start, result.stop) == (T0, T0 + DAY)


@pytest.mark.parametrize("engine", ["influxdb-1.8", "influxdb-1.12", "influxdb-2.7", "influxdb-2.9"])
def test_auto_asks_in_influxql_which_is_the_fastest_everywhere(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(engine)
    fill(workspace, T0 + DAY, many(hit, 2))
    with analytics(workspace, T0 + DAY) as made:
        for by in ((), ("domain",), ("page",), ("time",)):
            assert made.blocked_ratio(by=by, start="24h").dialect == "influxql"


@pytest.mark.parametrize("target", ordinarily([t for t in TARGETS if t.flux and t.engine not in SERVERLESS]), ids=str)
def test_a_field_whose_type_differs_between_shards_is_never_miscounted(
    target: Target, make_workspace: MakeWorkspace
) -> None:
    points = [
        *many(hit, 30, step=HOUR),
        *many(load, 11, start=T0 - 20 * DAY, value=12.5),
        *many(load, 10, start=T0, value=12),
    ]
    workspace = workspace_of(target, make_workspace)
    fill(workspace, T0 + 2 * DAY, points)
    with analytics(workspace, T0 + 2 * DAY) as made:
        result = made.blocked_ratio(start=T0 - 30 * DAY)
        assert [(r.hits, r.js) for r in result] == [(30, 21)]
        assert result.dialect == "influxql"
        assert [warning.code for warning in result.warnings] == ["interval_wide", "pixel_late"]
        if target.dialect in {"join", "union"}:
            with pytest.raises(CapabilityError, match=r"pf_analytics_test\.response_time is an integer in some"):
                made.blocked_ratio(start=T0 - 30 * DAY, dialect=target.dialect)


def test_a_mapping_that_leads_the_buckets_name_elsewhere_gives_no_wrong_figure(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-2.7")
    fill(workspace, T0 + DAY, [hit(T0), hit(T0 + 1)])
    database, _, policy = workspace.raw.partition("/")
    other = {"bucketID": workspace.client.bucket_id(workspace.rollup), "org": workspace.server.org, "default": True}
    workspace.client.json("POST", "/api/v2/dbrps", {**other, "database": database, "retention_policy": policy})
    with analytics(workspace, T0 + DAY) as made:
        result = made.blocked_ratio(start="24h")
        assert [(r.hits, r.js) for r in result] == [(2, 0)]
        assert "types_unchecked" in [warning.code for warning in result.warnings]
        with pytest.raises(CapabilityError, match="no DBRP mapping"):
            made.blocked_ratio(start="24h", dialect="influxql")


@pytest.mark.parametrize("target", ordinarily([t for t in TARGETS if t.dialect == "auto"]), ids=str)
def test_other_names_and_other_actions_are_taken_from_the_settings(
    target: Target, make_workspace: MakeWorkspace
) -> None:
    points = [
        Point('views "raw"', {"domain": "a.example", "sess": "1"}, "n", 1, T0),
        Point('views "raw"', {"domain": "a.example", "sess": "2"}, "n", 1, T0),
        Point("js", {"domain": "a.example", "action": "load"}, "ms", 1.5, T0),
        Point("js", {"domain": "a.example", "action": "it's"}, "ms", 1.5, T0),
        Point("js", {"domain": "a.example", "action": READY}, "ms", 1.5, T0),
    ]
    workspace = workspace_of(target, make_workspace)
    if workspace.serverless:
        fill(workspace, T0, points)
    else:
        workspace.client.write(
            workspace.raw,
            [
                f'views\\ "raw",domain=a.example,sess=1 n=1i {T0}',
                f'views\\ "raw",domain=a.example,sess=2 n=1i {T0}',
                *(f"js,action={a},domain=a.example ms=1.5 {T0}" for a in ("load", "it's", '"ready"')),
            ],
        )
    names = {
        "hits_measurement": 'views "raw"',
        "hits_field": "n",
        "loads_measurement": "js",
        "loads_field": "ms",
        "excluded_actions": ("it's", '"ready"'),
    }
    with analytics(workspace, T0 + DAY, **names) as made:
        result = made.blocked_ratio(start="24h")
    assert [(r.hits, r.js) for r in result] == [(2, 1)]


def _random_points() -> st.SearchStrategy[list[Point]]:
    place = {
        "time": st.integers(0, 3 * 24 * 60).map(lambda m: m * MINUTE),
        "domain": st.sampled_from(["a.example", "b.example", ONION, "c.i2p"]),
        "page": st.sampled_from(["/", "/a", "/ä ö", ""]),
    }
    hits = st.builds(hit, **place, sess=st.sampled_from(["1", "2", "3"]), host=st.sampled_from(["", "h"]))
    loads = st.builds(load, **place, action=st.sampled_from(["", "load", READY]), host=st.sampled_from(["", "h"]))
    return st.lists(hits | loads, max_size=60)


@targets
def test_random_data_gives_the_oracles_rows(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    weeks = iter(range(1000))
    with analytics(workspace, T0) as made:

        @settings(max_examples=15)
        @given(
            _random_points(),
            st.integers(0, 2 * 24 * 60),
            st.integers(1, 3 * 24 * 60),
            st.sampled_from([["domain"], ["network"], ["page"], ["domain", "page"], ["network", "time"], ["time"]]),
            st.sampled_from(["UTC", "Europe/Berlin", "Australia/Adelaide"]),
            st.sampled_from(["15m", "1h", "1d", "1w"]),
        )
        def check(points: list[Point], start: int, length: int, by: list[str], tz: str, every: str) -> None:
            # Each example has its own week of time: what the one before has written is out of its range.
            base = T0 - next(weeks) * 7 * DAY
            moved = tuple(Point(p.measurement, p.tags, p.field, p.value, base + p.time) for p in points)
            ask: dict[str, Any] = {"by": by}
            if "time" in by:
                ask |= {"every": every, "tz": tz}
            case = Case("", moved, ask, base + start * MINUTE, base + min(start + length, 3 * 24 * 60) * MINUTE + 1)
            if workspace.serverless:
                made.write(moved)
            else:
                fill(workspace, T0, moved)
            assert list(figures(asked(made, case, target.dialect)).items()) == list(expected(case).items())

        check()
