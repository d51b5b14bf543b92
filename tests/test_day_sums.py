"""The embedded store answers from sums of days, and is exact whatever happens to the rows beneath them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfa_flux import Analytics, Point, Settings
from pfa_flux.engines.sqlite import Embedded
from pfa_flux.helper.housekeeper import purge
from pfa_flux.journal.embedded import StoreJournal
from pfa_flux.pixel.hit import View
from pfa_flux.pixel.pages import Page
from tests.cases import Case
from tests.data import DAY, HOUR, MINUTE, READY, T0, hit, load
from tests.test_blocked_ratio import expected, figures

WINDOW = 15 * MINUTE
DAYS = 6
NOW = T0 + DAYS * DAY + 7 * HOUR + 100 * 10**9
ASKS: tuple[dict[str, Any], ...] = (
    {"by": ["domain"]},
    {"by": ["network"]},
    {"by": ["domain", "page"]},
    {"by": ["time"], "every": "1d"},
    {"by": ["time"], "every": "1h"},
    {"by": ["domain", "page", "time"], "every": "1d"},
    {"by": ["time", "page"], "every": "1d", "tz": "Asia/Kolkata"},
    {"by": ["network", "time"], "every": "1d", "tz": "Asia/Kathmandu"},
    {"by": ["time"], "every": "1w", "tz": "Europe/Berlin"},
    {"by": ["page"], "domains": ["a.example"]},
    {"by": ["domain"], "pages": ["/1"]},
    {"by": ["domain"], "networks": ["i2p"]},
)
RANGES = ((T0, NOW), (T0 + DAY, T0 + 4 * DAY), (T0 + 5 * HOUR + 3, T0 + 5 * DAY + 17 * MINUTE))


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


def library(own: Settings, now: int = NOW) -> Analytics:
    return Analytics(own, clock=lambda: now)


def run(own: Settings, now: int = NOW) -> None:
    """What the helper process does every 15 minutes."""
    with library(own, now) as made:
        for task in (made.task(), made.task("loads")):
            if not task.backend.find():
                task.install()
            task.run_due()


def check(own: Settings, points: Sequence[Point], asks: Sequence[dict[str, Any]] = ASKS) -> set[str]:
    """Every answer equals the oracle's. Returns the sources they are from."""
    sources: set[str] = set()
    with library(own) as made:
        for ask in asks:
            for start, stop in RANGES:
                result = made.blocked_ratio(**ask, start=start, stop=stop)
                case = Case("", tuple(points), ask, start, stop)
                assert list(figures(result).items()) == list(expected(case).items()), (ask, start, stop)
                sources.add(result.source)
    return sources


def views(count: int = 500) -> list[Point]:
    """Hits and loads of all days, of several sess, with further tags, on edges of windows, hours and days."""
    step = (DAYS * DAY + 6 * HOUR) // count
    found: list[Point] = []
    for n in range(count):
        at = T0 + n * step
        at = at // HOUR * HOUR if n % 9 == 0 else at // WINDOW * WINDOW if n % 5 == 0 else at
        where = ("a.example", "b.example", "c.i2p")[n % 3], f"/{n % 4}"
        found.append(hit(at + n % 7, *where, sess=f"{n % 3}", **({"host": "h"} if n % 11 == 0 else {})))
        if n % 3 != 1:
            found.append(load(at + n % 7, *where, action=(READY if n % 13 == 0 else "load"), value=n % 5))
    return found


def sums(own: Settings) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(own.data_dir / "pfa-flux.sqlite3")) as connection:
        return connection.execute("SELECT day, n, hours, windows FROM day ORDER BY day, series").fetchall()


def test_long_ranges_come_from_sums_of_days_and_equal_the_oracle(own: Settings) -> None:
    points = views()
    with library(own) as made:
        made.write(points)
    assert check(own, points) == {"raw"}
    assert sums(own) == []
    run(own)
    # The range between whole days is downsampled as a whole; what is open yet, and edges, are raw.
    assert check(own, points) == {"raw+rollup", "rollup"}
    assert {day for day, *_ in sums(own)} == {T0 + n * DAY for n in range(DAYS)}


def test_a_days_sums_can_be_read_with_sqlite3(own: Settings) -> None:
    with library(own) as made:
        made.write([hit(T0 + 13 * HOUR + n * WINDOW) for n in (0, 1, 5)] + [hit(NOW - 2 * HOUR)])
    run(own)
    assert sums(own) == [(T0, 3, "[13,2,1]", "[52,1,1,0,0,0,1]")]


@pytest.mark.parametrize("late", [hit(T0 + DAY + HOUR, "b.example", "/9"), load(T0 + 2 * DAY + HOUR + 1, page="/9")])
def test_a_late_row_counts_at_once_and_after_the_next_run(own: Settings, late: Point) -> None:
    points = views()
    with library(own) as made:
        made.write(points)
    run(own)
    with library(own) as made:
        made.write([late])
    assert check(own, [*points, late]) == {"raw+rollup"}
    run(own)
    assert check(own, [*points, late]) == {"raw+rollup", "rollup"}


def test_a_late_hit_of_the_pixel_counts_at_once(own: Settings) -> None:
    points = views()
    with library(own) as made:
        made.write(points)
    run(own)
    journal = StoreJournal(own)
    # By a clock that was set back by two days.
    journal.commit([Page(View("hit", "https", "a.example", "/1"))], T0 + 2 * DAY + HOUR)
    journal.close()
    late = hit(T0 + 2 * DAY + HOUR, "a.example", "/1", sess="late")
    assert check(own, [*points, late]) == {"raw+rollup"}
    run(own)
    assert check(own, [*points, late]) == {"raw+rollup", "rollup"}


def test_rows_that_are_removed_or_foreign_change_no_figure_but_that_of_the_raw_data(own: Settings) -> None:
    points = views()
    with library(own) as made:
        made.write(points)
    run(own)
    spec = library(own).task().spec
    store = Embedded(own)
    foreign = {"domain": "a.example", "page": "/1", "scheme": "https", "host": "x"}
    store.write(own.rollup_bucket, [Point("pf_analytics_pixel", foreign, "hitcount", 500, T0 + DAY)])
    store.delete(spec.rollup, T0 + 3 * DAY, T0 + 4 * DAY)
    store.delete(spec.raw, T0 + 2 * DAY, T0 + 2 * DAY + 5 * HOUR)
    store.close()
    left = [p for p in points if p.measurement != spec.source or not T0 + 2 * DAY <= p.time < T0 + 2 * DAY + 5 * HOUR]
    check(own, left)
    run(own)
    assert check(own, left) == {"raw+rollup", "rollup"}
    with library(own) as made:
        assert made.task().verify(T0).clean


def test_figures_stay_when_raw_rows_are_removed_after_their_time(own: Settings) -> None:
    points = views()
    short = replace(own, pixel=replace(own.pixel, raw_retention=2 * 86400))
    with library(own) as made:
        made.write(points)
    run(own)
    store = Embedded(own)
    assert purge(store, short, NOW, 10**9) > 0
    store.close()
    with library(own) as made:
        for ask in ASKS:
            result = made.blocked_ratio(**ask, start=T0, stop=NOW)
            assert list(figures(result).items()) == list(expected(Case("", tuple(points), ask, T0, NOW)).items())


def test_verify_finds_sums_of_a_day_that_are_wrong_and_repair_mends_them(own: Settings) -> None:
    points = views()
    with library(own) as made:
        made.write(points)
    run(own)
    with closing(sqlite3.connect(own.data_dir / "pfa-flux.sqlite3")) as connection, connection:
        connection.execute("UPDATE day SET n = n + 1 WHERE day = ?", (T0 + DAY,))
        connection.execute("DELETE FROM day WHERE day = ?", (T0 + 3 * DAY,))
    with library(own) as made:
        found = made.task().verify(T0)
        assert [(d.end, d.reason) for d in found.differences] == [
            (T0 + DAY, "the sums of the day 2026-01-13 differ from those of its windows"),
            (T0 + 3 * DAY, "the sums of the day 2026-01-15 differ from those of its windows"),
        ]
        assert made.task("loads").verify(T0).count == 2
        for task in (made.task(), made.task("loads")):
            before, after = task.repair(T0)
            assert (before.count, after.count, task.verify(T0).clean) == (2, 0, True)
    check(own, points)


@pytest.mark.slow
def test_other_windows_are_proved_anew(own: Settings) -> None:
    points = views()
    with library(own) as made:
        made.write(points)
    run(own)
    for task in ({"every": 300}, {"every": 7 * 60}, {"tags": ("domain", "scheme")}):
        other = replace(own, task=replace(own.task, **task))
        check(other, points)
        with library(other) as made:
            for each in (made.task(), made.task("loads")):
                each.install()
                each.repair(T0)
        run(other)
        check(other, points)


def test_a_row_that_arrives_while_its_window_is_being_proved_is_not_covered_by_the_proof(
    own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    points, late = views(), hit(T0 + DAY + HOUR, "b.example", "/9", sess="late")
    with library(own) as made:
        made.write(points)
    prove = Embedded.prove

    def slowly(store: Embedded, windows: Any, span: tuple[int, int], mark: object) -> None:
        if span[0] <= late.time < span[1] and windows.raw.measurement == late.measurement:
            # What was read before it is here.
            store.write(own.raw_bucket, [late])
        prove(store, windows, span, mark)

    monkeypatch.setattr(Embedded, "prove", slowly)
    run(own)
    monkeypatch.undo()
    check(own, [*points, late])
    run(own)
    assert check(own, [*points, late]) == {"raw+rollup", "rollup"}


_TIMES = st.integers(0, (NOW - T0) // MINUTE - 1).map(lambda minute: T0 + minute * MINUTE)
_PLACE = {"domain": st.sampled_from(["a.example", "b.example", "c.i2p"]), "page": st.sampled_from(["/", "/1", ""])}
_HIT = st.builds(hit, _TIMES, **_PLACE, sess=st.sampled_from("ab"), host=st.sampled_from(["", "h"]))
_LOAD = st.builds(load, _TIMES, **_PLACE, action=st.sampled_from(["", "load", READY]))
_SPAN = st.tuples(st.integers(0, DAYS * 96), st.integers(1, 120)).map(
    lambda s: (T0 + s[0] * WINDOW, T0 + (s[0] + s[1]) * WINDOW)
)
_STEPS = st.one_of(
    st.tuples(st.just("write"), st.lists(_HIT | _LOAD, min_size=1, max_size=12)),
    st.tuples(st.just("run"), st.none()),
    st.tuples(st.just("foreign"), _TIMES),
    st.tuples(st.just("lose rollups"), _SPAN),
    st.tuples(st.just("lose raw"), _SPAN),
    st.tuples(st.just("backfill"), _SPAN),
)


@settings(max_examples=60)
@given(st.lists(_STEPS, min_size=2, max_size=8), st.integers(0, len(ASKS) - 1))
def test_after_any_steps_every_answer_is_the_oracles(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Any]], number: int
) -> None:
    own = Settings(data_dir=tmp_path_factory.mktemp("steps") / "data")
    points = [hit(T0 + HOUR), load(T0 + HOUR)]
    with library(own) as made:
        made.write(points)
    asks = [ASKS[number], ASKS[(number + 5) % len(ASKS)]]
    for step, what in steps:
        if step == "run":
            run(own)
        elif step == "write":
            points += what
            with library(own) as made:
                made.write(what)
        else:
            with library(own) as made:
                spec, engine = made.task().spec, made.engine
                if step == "foreign":
                    tags = {"domain": "a.example", "page": "/", "scheme": "https", "host": "other"}
                    engine.write(spec.rollup_bucket, [Point(spec.measurement, tags, spec.field, 3, what)])
                elif step == "lose rollups":
                    engine.delete(spec.rollup, *what)
                elif step == "backfill":
                    made.task().backfill(*what)
                else:
                    engine.delete(spec.raw, *what)
                    points = [p for p in points if p.measurement != spec.source or not what[0] <= p.time < what[1]]
        check(own, points, asks)
    run(own)
    check(own, points, asks)
    with library(own) as made:
        assert made.task().verify(T0).clean
        assert made.task("loads").verify(T0).clean
