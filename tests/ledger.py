"""What tests of proved windows share: views, passes, and rows as others would write them."""

from __future__ import annotations

from typing import Any

import pytest

from pfa_flux import Analytics, BlockedRatio, Point
from pfa_flux.schema import BOTH, Side
from tests.contract import ordinarily
from tests.data import DAY, HOUR, MINUTE, T0, hit, load

WINDOW = 15 * MINUTE
NOW = T0 + 3 * DAY
RUNNERS = ["influxdb-1.8 runner", "influxdb-2.7 runner", "embedded", "memory"]
"""Who runs tasks without a server's schedule, so that a clock that stands still will do."""
SERVERS = ["influxdb-1.8 runner", "influxdb-2.7 runner"]

runners = pytest.mark.parametrize("runs", ordinarily(RUNNERS))


def views(hours: int = 40) -> list[Point]:
    """Two hits and a load in each hour: 50%."""
    return [
        point
        for n in range(hours)
        for point in (
            hit(T0 + n * HOUR, page=f"/{n % 3}"),
            hit(T0 + n * HOUR + MINUTE, page=f"/{n % 3}", sess="b"),
            load(T0 + n * HOUR, page=f"/{n % 3}"),
        )
    ]


def passes(made: Analytics) -> None:
    """What cron does every 15 minutes: of both tasks."""
    for side in BOTH:
        task = made.task(side.value, backend="runner")
        if not task.backend.find():
            task.backend.create()
        task.run_due()


def figures(answer: BlockedRatio) -> list[tuple[int, int]]:
    return [(row.hits, row.js) for row in answer]


def codes(answer: BlockedRatio) -> set[str]:
    return {warning.code for warning in answer.warnings}


def message(answer: BlockedRatio, code: str) -> str:
    return "; ".join(warning.message for warning in answer.warnings if warning.code == code)


def rollup_row(made: Analytics, side: Side, time: int, value: float, **tags: str) -> Point:
    """A downsampled row as somebody else writes it."""
    spec = made.task(side.value, backend="runner").spec
    ours = {"domain": "example.com", "page": "/0", **({"scheme": "https"} if side is Side.HITS else {})}
    return Point(spec.measurement, {**ours, **tags}, spec.field, value, time)


def from_rollups(made: Analytics, **ask: Any) -> BlockedRatio:
    return made.blocked_ratio(**{"start": T0, "stop": T0 + 2 * DAY, "source": "rollup", **ask})
