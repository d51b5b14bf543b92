"""Copying all of a store to another: what is there afterwards is what was there before, by every key."""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pfa_flux import Point, registry, settings
from pfa_flux.copying.copy import Copy
from pfa_flux.engines.base import Engine
from pfa_flux.schema import BOTH, Side
from pfa_flux.settings import Settings
from pfa_flux.windows.spec import TaskSpec
from tests import memory_engine
from tests.contract import analytics, fill
from tests.copies import downsampled, held, many, proved, run_copy
from tests.data import DAY, HOUR, MINUTE, READY, T0
from tests.engines.plugin import MakeWorkspace

ROADS = [
    ("embedded", "influxdb-2.7"),
    pytest.param("influxdb-2.7", "influxdb-1.8", marks=pytest.mark.slow),
    pytest.param("influxdb-2.7", "embedded", marks=pytest.mark.slow),
    ("influxdb-1.8", "influxdb-1.12"),
]
every_road = pytest.mark.parametrize(("here", "there"), ROADS, ids=str)


@every_road
def test_a_copy_holds_every_row_of_both_sides(here: str, there: str, make_workspace: MakeWorkspace) -> None:
    now = T0 + 10 * DAY + 7 * MINUTE
    one, other = make_workspace(here, backend="runner"), make_workspace(there, backend="runner")
    fill(one, now, many(now))
    with analytics(one, now) as source, analytics(other, now) as target:
        downsampled(source)
        before = held(source.engine, source.settings)
        assert len({name for name, _, _ in before}) == 4
        done = run_copy(source, target, most=100)
        assert done.clean
        assert [t.missing + t.different + t.own for t in done.tallies] == [0] * 4
        assert sum(t.equal for t in done.tallies) == sum(t.written for t in done.tallies) == len(before) == done.rows
        assert held(target.engine, target.settings) == before == held(source.engine, source.settings)
        for kind in ("raw", "rollup"):
            asked: Any = {"by": ["domain", "page"], "start": now - 2 * DAY, "stop": now - HOUR // 2, "source": kind}
            first, second = source.blocked_ratio(**asked), target.blocked_ratio(**asked)
            assert [(r.key, r.hits, r.js) for r in first] == [(r.key, r.hits, r.js) for r in second]
            assert len(first) == 55
        for side in BOTH:
            assert target.task(side.value).verify(now - 3 * DAY).clean
            assert target.task(side.value).gaps(now - 3 * DAY).state == "complete"
        day = now // DAY * DAY
        assert proved(source, day - DAY, day) == proved(target, day - DAY, day) == [[], []]
        again = run_copy(source, target)
        assert again.clean
        assert [t.written for t in again.tallies] == [0] * 4
        assert again.proved == 0 or there == "embedded"
        assert held(target.engine, target.settings) == before


WINDOW = 15 * MINUTE
NOW = T0 + DAY
TAGS = st.fixed_dictionaries(
    {"domain": st.sampled_from(["a.example", "b.onion"]), "page": st.sampled_from(["/", "/ü ,=", '/"\\', "/\n"])},
    optional={"host": st.just("web 1"), "sess": st.sampled_from(["1", "2"]), "action": st.sampled_from([READY, "x"])},
)
TIMES = st.builds(lambda window, more: T0 + window * WINDOW + more, st.integers(0, 6), st.integers(0, 3))
VALUES = st.sampled_from([1, 1.0, 3, 2.0])
ROWS = st.dictionaries(st.tuples(TIMES, TAGS.map(lambda tags: tuple(sorted(tags.items())))), VALUES, max_size=12)
LABELS = st.dictionaries(
    st.tuples(st.integers(1, 7).map(lambda n: T0 + n * WINDOW), TAGS.map(lambda tags: tuple(sorted(tags.items())))),
    VALUES,
    max_size=8,
)
SIDE = st.tuples(ROWS, LABELS)
STORE = st.tuples(SIDE, SIDE)
_numbers = itertools.count()

RowsOf = Mapping[tuple[int, tuple[tuple[str, str], ...]], float]


@contextmanager
def opened(name: str, folder: Path) -> Iterator[tuple[Engine, Settings]]:
    """An empty store of a test's own."""
    given = {"url": f"memory://{next(_numbers)}"} if name == memory_engine.NAME else {}
    own = settings.load({**given, "data_dir": str(folder)}, environ={})
    with closing(registry.open_engine(own)) as engine:
        yield engine, own


def put(engine: Engine, own: Settings, store: Sequence[tuple[RowsOf, RowsOf]]) -> None:
    for side, (raw, rollup) in zip(BOTH, store, strict=True):
        spec = TaskSpec.from_settings(own, side)
        for rows, found in ((spec.raw, raw), (spec.rollup, rollup)):
            points = [
                Point(rows.measurement, dict(tags), rows.field, value, time) for (time, tags), value in found.items()
            ]
            engine.write(rows.bucket, points)


def end_of(time: int, *, label: bool) -> int:
    return -(-time // WINDOW) * WINDOW if label else time // WINDOW * WINDOW + WINDOW


def merged_by_hand(side: Side, here: tuple[RowsOf, RowsOf], there: tuple[RowsOf, RowsOf]) -> tuple[RowsOf, RowsOf, int]:
    """What the target is to hold of a side, and how many rows of it are not what the source has."""
    (raw, rollup), (own_raw, own_rollup) = here, there
    union = {**raw, **own_raw}
    differs = sum(key in own_raw and own_raw[key] != value for key, value in raw.items())

    def counts(tags: tuple[tuple[str, str], ...]) -> bool:
        return side is Side.HITS or dict(tags).get("action") != READY

    here_too = {end_of(time, label=False) for time, tags in raw if counts(tags)}
    anew = here_too & {end_of(time, label=False) for time, tags in own_raw if (time, tags) not in raw}
    result = {**{key: value for key, value in rollup.items() if key[0] not in anew}, **own_rollup}
    unlike = {
        key for key, value in rollup.items() if key[0] not in anew and key in own_rollup and own_rollup[key] != value
    }
    differs += sum(key[0] not in here_too for key in unlike)
    anew |= {key[0] for key in unlike if key[0] in here_too}
    made: Counter[tuple[int, tuple[tuple[str, str], ...]]] = Counter()
    kept = ("domain", "page", "scheme") if side is Side.HITS else ("domain", "page")
    for (time, tags), value in union.items():
        end = end_of(time, label=False)
        if end in anew and counts(tags):
            made[end, tuple((k, v) for k, v in tags if k in kept)] += int(value) if side is Side.HITS else 1
    return union, {**{key: v for key, v in result.items() if key[0] not in anew}, **made}, differs


@pytest.mark.parametrize(
    ("here", "there"),
    [("memory", "embedded"), ("embedded", "memory"), pytest.param("memory", "memory", marks=pytest.mark.slow)],
)
@hypothesis_settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(store=STORE, own=STORE)
def test_a_copy_is_what_an_oracle_makes_of_two_stores(here: str, there: str, store: Any, own: Any) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        opened(here, Path(folder) / "here") as (source, mine),
        opened(there, Path(folder) / "there") as (target, theirs),
    ):
        put(source, mine, store)
        put(target, theirs, own)
        before = held(source, mine)
        for _ in range(2):
            made = Copy(source, target, mine, theirs, most=5)
            span = made.range(None, None)
            counted = made.count(*span)
            made.prepare()
            done = made.run(counted, *span)
            expected, differs = {}, 0
            for side, one, other in zip(BOTH, store, own, strict=True):
                raw, rollup, unlike = merged_by_hand(side, one, other)
                differs += unlike
                expected.update({(f"raw {side}", *key): value for key, value in raw.items()})
                expected.update({(f"rollup {side}", *key): value for key, value in rollup.items()})
            assert {key: value for key, (_, value) in held(target, theirs).items()} == expected
            assert sum(tally.different for tally in done.tallies) == differs
            assert done.clean == (differs == 0)
            assert held(source, mine) == before
