"""A month of hits and page loads, some of which are written late, and the passes that keep its windows right.

For the slow test of that, and for the benchmark of what the passes cost.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from pfa_flux import Analytics, Point
from pfa_flux.registry import OWN_BACKEND
from pfa_flux.schema import BOTH
from tests.data import DAY, HOUR, MINUTE, hit, load
from tests.oracle import totals

DAYS = 30
WINDOW = 15 * MINUTE
LATE = 0.05
"""Share of the loads that are written late, by minutes to days."""
MONTH = 1_700_006_400_000_000_000 // DAY * DAY
"""Its start: long ago, so that no server's task is due in it."""


@dataclass
class Month:
    """What came of it.

    Attributes:
        passes: number of passes.
        seconds: what a pass took in each, of both sides.
        mended: windows that passes have mended.
    """

    passes: int
    seconds: list[float]
    mended: int


def written(hits: int, loads: int, seed: int = 13) -> list[tuple[int, Point]]:
    """Points of a month with the instants at which they are written, in order of those."""
    draw = random.Random(seed)
    found: list[tuple[int, Point]] = []
    for make, count in ((hit, hits), (load, loads)):
        for _ in range(count):
            at = MONTH + draw.randrange(DAYS * DAY)
            point = make(at, f"{'abc'[draw.randrange(3)]}.example", f"/{draw.randrange(40)}")
            late = make is load and draw.random() < LATE
            # From five minutes to five days, the shorter the likelier.
            found.append((at + (int(5 * MINUTE * 1440 ** draw.random()) if late else draw.randrange(5) * 10**9), point))
    return sorted(found, key=lambda each: each[0])


def live_through(
    opened: Callable[[int], AbstractContextManager[Analytics]],
    write: Callable[[list[Point]], None],
    points: list[tuple[int, Point]],
    every: int = 6 * HOUR,
) -> Month:
    """Let the month go by: what is due is written, the tasks run, and a pass is made, each so often.

    Args:
        opened: the library with a clock that stands at an instant.
        write: writes points as somebody else would.
        points: as `written` gives them.
        every: nanoseconds from pass to pass.
    """
    month = Month(0, [], 0)
    for now, due in _by_pass(points, every):
        write(due)
        with opened(now) as made:
            started = time.perf_counter()
            for side in BOTH:
                task = made.task(side.value)
                if task.backend.name != OWN_BACKEND:
                    # As on its schedule, the last time that it ran.
                    task.backend.run(task.installed(), task.spec.due(now) - WINDOW)
                    started = time.perf_counter()
                task.run_due()
            month.seconds.append(time.perf_counter() - started)
            month.passes += 1
    with opened(MONTH + (DAYS + 6) * DAY) as made:
        for side in BOTH:
            task = made.task(side.value)
            noted = task.upkeep()
            month.mended += noted.mended if noted else 0
    return month


def _by_pass(points: list[tuple[int, Point]], every: int) -> Iterator[tuple[int, list[Point]]]:
    at = 0
    for now in range(MONTH + every, MONTH + (DAYS + 6) * DAY, every):
        first = at
        while at < len(points) and points[at][0] <= now:
            at += 1
        yield now, [point for _, point in points[first:at]]


def check(made: Analytics, points: list[tuple[int, Point]]) -> None:
    """Figures from windows equal the raw data, by every key and day, and no window is wrong."""
    start, stop = MONTH, MONTH + DAYS * DAY
    for by in (["domain"], ["page"], ["time"]):
        every = "1d" if "time" in by else None
        answer = made.blocked_ratio(by=by, start=start, stop=stop, source="rollup", every=every)
        wanted = totals((point for _, point in points), start, stop, by, every=every or "1d")
        found = sorted((row.hits, row.js) for row in answer if row.hits or row.js)
        assert found == sorted(wanted.values())
        assert not {"gaps", "rollup_unproved", "rollup_unknown"} & {warning.code for warning in answer.warnings}
    for side in BOTH:
        task = made.task(side.value)
        assert task.verify(start, stop).clean
        assert (task.gaps(start, stop).state, task.gaps(start, stop).to_mend) == ("complete", [])
