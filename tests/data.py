"""Raw points for the tests, in the shapes that the pixel and the JavaScript analytics write."""

from __future__ import annotations

from pfa_flux import Point
from pfa_flux.times import NS, parse_instant

DAY = 86400 * NS
HOUR = 3600 * NS
MINUTE = 60 * NS
T0 = parse_instant("2026-01-12T00:00:00Z", 0)
"""A Monday midnight: the start of a day, a week and, in the servers, of a shard."""

READY = '"ready"'
"""The original's marker of a page that is merely ready, with its quotes."""


def hit(time: int, domain: str = "example.com", page: str = "/", *, sess: str = "a", **more: str) -> Point:
    tags = {"domain": domain, "page": page, "scheme": "https", "sess": sess, "type": "pixel", **more}
    return Point("pf_analytics_test_pixel", tags, "count", 1, time)


def load(
    time: int, domain: str = "example.com", page: str = "/", *, value: float = 120, action: str = "", **more: str
) -> Point:
    tags = {"type": "pageview", "domain": domain, "page": page, "action": action, **more}
    return Point("pf_analytics_test", tags, "response_time", value, time)
