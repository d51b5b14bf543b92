"""The seam between raw and downsampled data: the same figures wherever they come from, and no window counted twice."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfa_flux import Analytics, BlockedRatio, InvalidValueError, Point
from pfa_flux.ratio import sources
from pfa_flux.times import NS, from_datetime
from pfa_flux.windows.rollup import Rollup
from tests.cases import ONION, Case
from tests.contract import ENGINES_ONCE, SERVERLESS, Target, analytics, fill, keep_for, ordinarily, rarely, workspace_of
from tests.data import DAY, HOUR, MINUTE, READY, T0, hit, load
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace
from tests.test_blocked_ratio import expected, figures

WINDOW = 15 * MINUTE
engines = pytest.mark.parametrize("target", ordinarily(ENGINES_ONCE), ids=str)
servers = pytest.mark.parametrize(
    "target", ordinarily([t for t in ENGINES_ONCE if t.engine not in SERVERLESS]), ids=str
)
QUESTIONS: dict[str, dict[str, Any]] = {
    "by domain": {},
    "by network": {"by": ["network"]},
    "by page": {"by": ["page"]},
    "by domain and page": {"by": ["domain", "page"]},
    "one domain": {"domains": ["a.example"], "by": ["domain"]},
    "one page": {"pages": ["/1"], "by": ["network"]},
    "by quarter of an hour": {"by": ["time"], "every": "15m"},
    "by day in a time zone": {"by": ["time"], "every": "1d", "tz": "Asia/Kolkata"},
    "by network and week": {"by": ["network", "time"], "every": "1w", "tz": "Europe/Berlin"},
}


def views(start: int, stop: int, count: int, seed: int = 1) -> list[Point]:
    """Hits, and loads for most of them, of three domains and four pages, some of them on edges of windows."""
    draw, found = random.Random(seed), list[Point]()
    for number in range(count):
        at = draw.randrange(start, stop)
        at = at // WINDOW * WINDOW if number % 7 == 0 else at
        domain, page = draw.choice(["a.example", "b.example", ONION]), f"/{draw.randrange(4)}"
        found.append(hit(max(start, at), domain, page, sess=f"{number % 5}"))
        if draw.random() < 0.7:
            found.append(load(max(start, at) + 1, domain, page, action=draw.choice(["", "load", READY])))
    return found


def downsample(made: Analytics, start: int, stop: int, *, loads: bool = True) -> None:
    """What the tasks would have written."""
    made.task().backfill(start, stop)
    if loads:
        made.task("loads").backfill(start, stop)


def check(result: BlockedRatio, points: list[Point], ask: dict[str, Any], start: int, stop: int) -> None:
    case = Case("", tuple(points), ask, start, stop)
    assert list(figures(result).items()) == list(expected(case).items())


@contextmanager
def elsewhere(workspace: Workspace) -> Iterator[None]:
    """InfluxQL's names of both buckets lead to a third one, so that Flux has to do."""
    other = workspace.client.bucket_id("telegraf/autogen")
    for bucket in (workspace.raw, workspace.rollup):
        database, _, policy = bucket.partition("/")
        names = {"database": database, "retention_policy": policy, "default": True}
        workspace.client.json("POST", "/api/v2/dbrps", {"bucketID": other, "org": workspace.server.org, **names})
    yield


@engines
def test_downsampled_figures_equal_the_oracles(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    points = views(T0, T0 + 2 * DAY, 400)
    fill(workspace, T0 + 3 * DAY, points)
    with analytics(workspace, T0 + 3 * DAY) as made:
        downsample(made, T0, T0 + 2 * DAY)
        for ask in QUESTIONS.values():
            start, stop = T0 + 5 * WINDOW, T0 + 2 * DAY - 3 * WINDOW
            result = made.blocked_ratio(**ask, start=start, stop=stop, source="rollup")
            assert result.source == "rollup"
            assert "range_cut" not in [warning.code for warning in result.warnings]
            check(result, points, {"by": ["domain"], **ask}, start, stop)
            raw = made.blocked_ratio(**ask, start=start, stop=stop, source="raw")
            assert [(r.ratio_low, r.ratio_high) for r in result] == [(r.ratio_low, r.ratio_high) for r in raw]


def test_downsampled_figures_come_in_flux_where_influxql_does_not_reach_them(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-2.7")
    points = views(T0, T0 + DAY, 200)
    fill(workspace, T0 + 2 * DAY, points)
    with analytics(workspace, T0 + 2 * DAY) as made:
        downsample(made, T0, T0 + DAY)
    with elsewhere(workspace), analytics(workspace, T0 + 2 * DAY) as made:
        for ask in QUESTIONS.values():
            result = made.blocked_ratio(**ask, start=T0, stop=T0 + DAY, source="rollup")
            check(result, points, {"by": ["domain"], **ask}, T0, T0 + DAY)


@engines
def test_downsampled_hits_stand_beside_raw_loads_that_nobody_downsamples(
    target: Target, make_workspace: MakeWorkspace
) -> None:
    workspace = workspace_of(target, make_workspace)
    points = views(T0, T0 + DAY, 200)
    fill(workspace, T0 + 2 * DAY, points)
    with analytics(workspace, T0 + 2 * DAY) as made:
        downsample(made, T0, T0 + DAY, loads=False)
        for ask in ({"by": ["domain"]}, {"by": ["time", "page"], "every": "1h"}):
            result = made.blocked_ratio(**ask, start=T0, stop=T0 + DAY, source="rollup")
            assert result.source == "raw+rollup"
            case = Case("", tuple(points), ask, T0, T0 + DAY)
            assert figures(result) == expected(case)


@engines
def test_downsampled_alone_takes_whole_closed_windows_and_says_so(
    target: Target, make_workspace: MakeWorkspace
) -> None:
    workspace = workspace_of(target, make_workspace)
    points = views(T0, T0 + DAY, 300)
    fill(workspace, T0 + DAY, points)
    with analytics(workspace, T0 + DAY) as made:
        downsample(made, T0, T0 + DAY)
        # At the day's end the last window that is due ended a quarter of an hour ago.
        result = made.blocked_ratio(start=T0 + MINUTE, source="rollup")
        check(result, points, {"by": ["domain"]}, T0 + WINDOW, T0 + DAY - WINDOW)
        (warning,) = [c for c in result.warnings if c.code == "range_cut"]
        assert "2026-01-12T00:15:00Z to 2026-01-12T23:45:00Z" in warning.message
        with pytest.raises(InvalidValueError, match="no window of 15m lies wholly in this range and is closed"):
            made.blocked_ratio(start=T0 + DAY - 20 * MINUTE, source="rollup")


@engines
def test_a_gap_is_filled_from_raw_data_or_told(
    target: Target, make_workspace: MakeWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "SLOW_HITS", 0)
    workspace = workspace_of(target, make_workspace)
    points = views(T0, T0 + 3 * DAY, 900)
    gap = (T0 + DAY, T0 + DAY + 3 * HOUR)
    fill(workspace, T0 + 3 * DAY, points)
    with analytics(workspace, T0 + 3 * DAY) as made:
        downsample(made, T0, gap[0])
        downsample(made, gap[1], T0 + 3 * DAY)
        for ask in QUESTIONS.values():
            result = made.blocked_ratio(**ask, start=T0 + MINUTE + 1, stop=T0 + 3 * DAY)
            assert result.source == "raw+rollup"
            check(result, points, {"by": ["domain"], **ask}, T0 + MINUTE + 1, T0 + 3 * DAY)
        words = [warning.message for warning in result.warnings if warning.code == "gaps"]
        assert words[0].startswith(
            "12 windows of hits since 2026-01-13T00:00:00Z have raw rows but no downsampled row;"
        )
        assert "they were taken from raw data. Run pfa-flux task backfill --start" in words[0]
        assert "backfill --start" in words[1]
        hits_only = replace(made.settings, task=replace(made.settings.task, loads=False))
        strict = made.blocked_ratio(start=T0, stop=T0 + 2 * DAY, source="rollup")
        assert "they are not counted" in next(c.message for c in strict.warnings if c.code == "gaps")
        without = [p for p in points if not gap[0] <= p.time < gap[1]]
        check(strict, without, {"by": ["domain"]}, T0, T0 + 2 * DAY)
    with Analytics(hits_only, clock=lambda: T0 + 3 * DAY) as made:
        result = made.blocked_ratio(start=T0 + MINUTE + 1, stop=T0 + 3 * DAY)
        words = [warning.message for warning in result.warnings if warning.code == "gaps"]
        assert ["backfill --js --start" in each for each in words] == [False, True]


@engines
def test_raw_data_is_asked_while_it_is_kept_and_quick(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    fill(workspace, T0 + 3 * DAY, views(T0, T0 + 3 * DAY, 30))
    with analytics(workspace, T0 + 3 * DAY) as made:
        downsample(made, T0, T0 + 3 * DAY)
        # The embedded store knows what is proved of its windows, and that costs nothing to use.
        proved = target.engine == "embedded"
        assert made.blocked_ratio(start="3d").source == ("raw+rollup" if proved else "raw")


@servers
def test_what_has_expired_comes_downsampled_and_the_seam_counts_nothing_twice(
    target: Target, make_workspace: MakeWorkspace
) -> None:
    workspace, at = workspace_of(target, make_workspace), time.time_ns() // NS * NS - HOUR
    first = at // DAY * DAY - 6 * DAY
    # Both sides have rows from the first window on, so that downsampled data is known from there.
    points = [hit(first + 1), load(first + 1), *views(first, at, 800)]
    fill(workspace, at, points)
    with analytics(workspace, at) as made:
        downsample(made, first, at)
        keep_for(workspace, 3 * DAY)
        kept = -(-(at - 3 * DAY) // WINDOW) * WINDOW
        # As a server does it: whole shards go, others hold on to what has expired for a while.
        gone = kept // DAY * DAY - DAY
        for task in (made.task(), made.task("loads")):
            made.engine.delete(task.spec.raw, first, gone)
        for ask in QUESTIONS.values():
            result = made.blocked_ratio(**ask, start=first, stop=at)
            assert result.source == "raw+rollup"
            assert "range_cut" not in [warning.code for warning in result.warnings]
            check(result, points, {"by": ["domain"], **ask}, first, at)
        for start, stop in ((first + MINUTE, at), (first + MINUTE, first + DAY + MINUTE)):
            low = -(-start // WINDOW) * WINDOW
            high = stop if stop > kept else stop // WINDOW * WINDOW
            result = made.blocked_ratio(start=start, stop=stop)
            check(result, points, {"by": ["domain"]}, low, high)
            assert "range_cut" in [warning.code for warning in result.warnings]
        raw = made.blocked_ratio(start=first, stop=at, source="raw")
        assert "raw_expired" in [warning.code for warning in raw.warnings]


@servers
def test_expired_loads_that_nobody_downsampled_are_not_taken_for_blocked(
    target: Target, make_workspace: MakeWorkspace
) -> None:
    workspace, at = workspace_of(target, make_workspace), time.time_ns() // NS * NS - HOUR
    first = at // DAY * DAY - 6 * DAY
    points = views(first, at, 400)
    fill(workspace, at, points)
    with analytics(workspace, at) as made:
        downsample(made, first, at, loads=False)
        keep_for(workspace, 3 * DAY)
        kept = -(-(at - 3 * DAY) // WINDOW) * WINDOW
        result = made.blocked_ratio(start=first, stop=at)
        check(result, points, {"by": ["domain"]}, kept, at)
        (warning,) = [c for c in result.warnings if c.code == "range_cut"]
        assert "downsampled data for both hits and page loads begins there" in warning.message
        nothing = made.blocked_ratio(["a.example"], start=first, stop=first + DAY)
        assert [(row.hits, row.js, row.status) for row in nothing] == [(0, 0, "no_data")]
        assert "No part of the range is known" in nothing.warnings[0].message


def test_windows_that_are_too_wide_for_the_question_are_refused(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("embedded")
    with analytics(workspace, T0 + DAY) as made:
        made.write([hit(T0)])
        with pytest.raises(InvalidValueError, match="`source='both'` is unknown"):
            made.blocked_ratio(source="both")
        # Local time of 1880 in Berlin was 53 minutes and 28 seconds ahead.
        span: dict[str, Any] = {"start": "1880-01-01T00:00:00Z", "stop": "1880-01-02T00:00:00Z", "tz": "Europe/Berlin"}
        with pytest.raises(InvalidValueError, match="its windows of 15m"):
            made.blocked_ratio(by=["time"], every="1d", **span, source="rollup")
        with pytest.raises(InvalidValueError, match="in 1880 the clocks of Europe/Berlin"):
            made.blocked_ratio(by=["time"], every="1h", **span)


CHANGES = [(year, *day) for year in range(1990, 2026) for day in ((3, 25), (9, 28), (10, 25))]
"""Days before the clock is changed: last Sundays of March and October in Berlin, first ones of October in Adelaide."""


@pytest.mark.slow
@pytest.mark.parametrize("target", rarely(ENGINES_ONCE, but="influxdb-2.7-auto"), ids=str)
def test_random_data_across_clock_changes_and_the_seam_gives_the_oracles_rows(
    target: Target, make_workspace: MakeWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "SLOW_HITS", 0)
    workspace = workspace_of(target, make_workspace)
    changes = iter(CHANGES)

    @settings(max_examples=12)
    @given(
        st.integers(0, 2**32),
        st.integers(1, 120),
        st.integers(0, 8 * 24 * 60),
        st.integers(2 * 24 * 60, 10 * 24 * 60),
        st.sampled_from([["time"], ["network", "time"], ["page", "time"], ["domain"]]),
        st.sampled_from(["Europe/Berlin", "Australia/Adelaide", "America/New_York", "Australia/Lord_Howe"]),
        st.sampled_from(["1h", "1d", "1w"]),
        st.integers(0, 4),
    )
    def examine(
        seed: int, count: int, start: int, length: int, by: list[str], tz: str, every: str, missing: int
    ) -> None:
        base = from_datetime(datetime(*next(changes), tzinfo=UTC))
        points = views(base, base + 10 * DAY, count, seed)
        fill(workspace, T0, points)
        low, high = base + start * MINUTE, base + start * MINUTE + length * MINUTE + 1
        with analytics(workspace, base + 11 * DAY) as made:
            # The task was down for some days.
            downsample(made, base, base + 3 * DAY)
            downsample(made, base + (3 + missing) * DAY, base + 10 * DAY, loads=bool(seed % 2))
            ask: dict[str, Any] = {"by": by, **({"every": every, "tz": tz} if "time" in by else {})}
            check(made.blocked_ratio(**ask, start=low, stop=high), points, ask, low, high)

    examine()


@pytest.mark.parametrize("target", rarely(ENGINES_ONCE, but="influxdb-1.8-auto"), ids=str)
def test_random_edges_of_retention_give_the_oracles_rows_of_what_is_known(
    target: Target, make_workspace: MakeWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Loads are downsampled in one of them only: what is known begins with a bucket's first row.
    places = {loads: workspace_of(target, make_workspace) for loads in (True, False)}
    bases = (from_datetime(datetime(1980, 1, 2, tzinfo=UTC)) + n * 20 * DAY for n in range(800))

    @settings(max_examples=10)
    @given(
        st.integers(0, 2**32),
        st.integers(1, 100),
        st.integers(0, 4 * 24 * 60),
        st.integers(1, 5 * 24 * 60),
        st.integers(0, 5 * 96),
        st.sampled_from([["domain"], ["network", "time"], ["page"]]),
        st.booleans(),
    )
    def examine(seed: int, count: int, start: int, length: int, edge: int, by: list[str], loads: bool) -> None:
        base, workspace = next(bases), places[loads]
        kept, low, high = base + edge * WINDOW, base + start * MINUTE, base + (start + length) * MINUTE + 1
        # Both sides have rows from the first window on, so that downsampled data is known from there.
        points = [hit(base + 1), load(base + 1), *views(base, base + 5 * DAY, count, seed)]
        fill(workspace, T0, points)
        with analytics(workspace, base + 12 * DAY) as made, monkeypatch.context() as patch:
            downsample(made, base, base + 5 * DAY, loads=loads)
            patch.setattr(Rollup, "raw_kept_from", lambda *_: kept)
            ask: dict[str, Any] = {"by": by, **({"every": "1d"} if "time" in by else {})}
            result = made.blocked_ratio(**ask, start=low, stop=high)
        known = low if kept <= low else -(-low // WINDOW) * WINDOW if loads else kept
        until = high if high > kept else high // WINDOW * WINDOW
        inside = [p for p in points if known <= p.time < until]
        check(result, inside, ask, low, high)
        assert ("range_cut" in [warning.code for warning in result.warnings]) == ((known, until) != (low, high))

    examine()
