"""Downsampled windows for tests: random hits, what they sum up to, and rows as others would write them."""

from __future__ import annotations

import random
import time
from collections import Counter

from pfa_flux import Analytics, Point
from pfa_flux.windows.rollup import Cell, Sums
from tests.data import HOUR, hit
from tests.engines import Workspace

SECOND = 10**9
WINDOW = 900 * SECOND
TAGS = ("example.com", "/", "https")


def now() -> int:
    """A present three hours back: a task that runs on its own schedule meanwhile has nothing to do there."""
    return time.time_ns() // WINDOW * WINDOW - 3 * HOUR + 100 * SECOND


def expected(points: list[Point]) -> Sums:
    """Sums by window and tags, counted by hand."""
    return dict(
        Counter(
            Cell(p.time // WINDOW * WINDOW + WINDOW, (p.tags["domain"], p.tags.get("page", ""), p.tags["scheme"]))
            for p in points
        )
    )


def random_hits(start: int, stop: int, count: int, seed: int = 1) -> list[Point]:
    """Hits of three domains and five pages at random times, hundreds of `sess`, some with a further tag."""
    draw = random.Random(seed)
    times = sorted(draw.sample(range(start // SECOND, stop // SECOND), count))
    return [
        hit(
            moment * SECOND,
            draw.choice(["example.com", "b.example", "c.onion"]),
            f"/{draw.randrange(5)}",
            sess=f"{draw.randrange(300):016x}",
            **({"host": "h"} if draw.random() < 0.3 else {}),
        )
        for moment in times
    ]


def rollup_line(time: int, value: str, **more: str) -> str:
    """Line protocol of a downsampled row."""
    tags = {"domain": "example.com", "page": "/", "scheme": "https", **more}
    return f"pf_analytics_pixel,{','.join(f'{k}={v}' for k, v in sorted(tags.items()))} hitcount={value} {time}"


def write_rollup(workspace: Workspace, made: Analytics, time: int, value: int, **more: str) -> None:
    """A downsampled row as somebody else would write it."""
    if workspace.serverless:
        tags = {"domain": "example.com", "page": "/", "scheme": "https", **more}
        made.engine.write(made.settings.rollup_bucket, [Point("pf_analytics_pixel", tags, "hitcount", value, time)])
    else:
        workspace.client.write(workspace.rollup, [rollup_line(time, f"{value}i", **more)])


def remove(made: Analytics) -> None:
    for task in (made.task(), made.task("loads")):
        for found in task.backend.find():
            task.backend.remove(found)


def iso(ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ns // SECOND))
