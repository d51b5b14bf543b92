"""What the tests of copying share: rows for it, a copy in this process, and what a store holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pfa_flux import Analytics, Point
from pfa_flux.copying.copy import Copied, Copy
from pfa_flux.engines.base import Engine
from pfa_flux.schema import BOTH
from pfa_flux.settings import Settings
from pfa_flux.times import NS
from pfa_flux.windows.rollup import Rollup
from pfa_flux.windows.spec import TaskSpec
from pfa_flux.windows.trust import trust
from tests.data import DAY, HOUR, READY, hit, load

Held = dict[tuple[str, int, tuple[tuple[str, str], ...]], tuple[type, float]]


def held(engine: Engine, own: Settings) -> Held:
    """Every row of both sides, raw and downsampled, with its type."""
    found: Held = {}
    for side in BOTH:
        spec = TaskSpec.from_settings(own, side)
        for name, rows in (("raw", replace(spec.raw, excluded_actions=())), ("rollup", spec.rollup)):
            for row in engine.rows(rows, 0, 2**62):
                key = f"{name} {side}", row.time, tuple(sorted(row.tags.items()))
                assert key not in found
                found[key] = type(row.value), row.value
    return found


def run_copy(
    source: Analytics, target: Analytics, start: int | None = None, stop: int | None = None, **how: Any
) -> Copied:
    made = Copy(source.engine, target.engine, source.settings, target.settings, **how)
    span = made.range(start, stop)
    counted = made.count(*span)
    made.prepare()
    return made.run(counted, *span)


def many(now: int) -> list[Point]:
    """Two days of hits and loads of several pages and writers, with what others write."""
    points = []
    for n in range(600):
        at = now - 2 * DAY + n * 288 * NS
        page = ("/", "/a b", "/100%25,x=1", "/ü", '/"q"')[n % 5]
        domain = ("example.com", "b.onion", "c.i2p")[n % 3]
        points.append(hit(at + n, domain, page, sess=f"{n % 4}"))
        if n % 3:
            points.append(load(at + 7, domain, page, value=100 + n, action="" if n % 2 else '"shown"', host="web 1"))
        if n % 5 == 0:
            points.append(load(at + 8, domain, page, value=5, action=READY))
    # Of one nanosecond.
    tie = now - 3 * HOUR
    return [*points, *(hit(tie, page=f"/{n}") for n in range(40)), *(hit(tie, sess=f"s{n}") for n in range(40))]


def downsampled(made: Analytics) -> None:
    for side in BOTH:
        made.task(side.value).backfill(made._clock() - 3 * DAY)
        assert made.task(side.value).verify(made._clock() - 3 * DAY).clean


def proved(made: Analytics, start: int, stop: int) -> list[list[tuple[int, int]]]:
    """What is not proved of a range, of both sides."""
    return [
        list(trust(Rollup(made.engine, TaskSpec.from_settings(made.settings, s)), start, stop).unproved) for s in BOTH
    ]
