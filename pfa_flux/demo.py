"""A simulated site with known blocking, for the demo and for tests."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pfa_flux.engines.base import Point
from pfa_flux.schema import Schema
from pfa_flux.times import NS

_PAGES = ("/", "/about", "/blog/", "/blog/onion-services", "/blog/counting-without-cookies", "/contact", "/faq")
_WEIGHTS = (10, 2, 5, 4, 4, 1, 2)
_DAY_CURVE = (3, 2, 1, 1, 1, 2, 3, 5, 7, 8, 9, 9, 8, 8, 8, 8, 8, 9, 10, 10, 9, 8, 6, 4)
"""Visits by hour of the day, UTC."""

_JS_DELAY = 2 * NS
"""Maximum delay from the pixel's hit to the analytics' report."""


class Host(NamedTuple):
    """One of the site's addresses, with the true behaviour of its visitors."""

    domain: str
    network: str
    scheme: str
    visits_per_day: int
    blocked: float


HOSTS = (
    Host("example.com", "clearnet", "https", 900, 0.25),
    Host("examplesiteexamplesiteexamplesiteexamplesiteexamplesiteexam.onion", "tor", "http", 300, 0.60),
    Host("example.i2p", "i2p", "http", 120, 0.80),
)


@dataclass(frozen=True, slots=True)
class PageView:
    """A page view: its time in nanoseconds, its host and page, and whether the analytics was blocked."""

    time: int
    host: Host
    page: str
    blocked: bool


def page_views(now: int, days: int = 4, seed: int = 1) -> list[PageView]:
    """Page views of visits to one to five pages, up to `now` (nanoseconds), in order of time.

    A visitor blocks the analytics for the whole visit or not at all, so page views are not independent.
    """
    rng = random.Random(seed)
    start = now - days * 86400 * NS
    views = [view for host in HOSTS for view in _views_of(rng, host, start, days)]
    return sorted((view for view in views if view.time < now - _JS_DELAY), key=lambda view: view.time)


def _views_of(rng: random.Random, host: Host, start: int, days: int) -> Iterator[PageView]:
    for _ in range((days + 1) * host.visits_per_day):
        hour = rng.choices(range(24), _DAY_CURVE)[0]
        # Hours are hours of the day, independent of the current time.
        midnight = start // (86400 * NS) * 86400 * NS + rng.randrange(days + 1) * 86400 * NS
        time = midnight + hour * 3600 * NS + rng.randrange(3600 * NS)
        blocked = rng.random() < host.blocked
        for page in rng.choices(_PAGES, _WEIGHTS, k=rng.randint(1, 5)):
            if time >= start:
                yield PageView(time, host, page, blocked)
            time += rng.randrange(5 * NS, 120 * NS)


def points(views: list[PageView], schema: Schema, seed: int = 1) -> Iterator[Point]:
    """Points that the pixel writes for page views, and that the analytics writes for those that do not block it."""
    rng = random.Random(seed)
    sess = f"{rng.getrandbits(64):016x}"
    last = 0
    for view in views:
        # To the second, and unique within the writer: the hit's second, or one nanosecond after the last hit.
        last = max(view.time // NS * NS, last + 1)
        where = {"domain": view.host.domain, "page": view.page}
        tags = {**where, "scheme": view.host.scheme, "sess": sess, "type": "pixel"}
        yield Point(schema.hits_measurement, tags, schema.hits_field, 1, last)
        if not view.blocked:
            tags = {**where, "type": "pageview", "action": "load"}
            value = float(rng.randint(40, 900))
            moment = view.time + rng.randrange(_JS_DELAY)
            yield Point(schema.loads_measurement, tags, schema.loads_field, value, moment)
