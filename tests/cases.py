"""Hand-made data and questions, each a situation that a blocked ratio has to get right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pfa_flux import Point
from tests.data import DAY, HOUR, MINUTE, READY, T0, hit, load

ONION = "abcdefghijklmnop.onion"


@dataclass(frozen=True)
class Case:
    """Points, and a question of them over [start, stop)."""

    name: str
    points: tuple[Point, ...]
    ask: dict[str, Any] = field(default_factory=dict)
    start: int = T0
    stop: int = T0 + DAY


def many(make: Any, count: int, start: int = T0, step: int = MINUTE, **more: Any) -> list[Point]:
    return [make(start + i * step, **more) for i in range(count)]


def _original() -> Iterable[Point]:
    """The original's shape: a hit for each view, and of JavaScript a "ready" and a load for those who let it run."""
    for i in range(40):
        at = T0 + HOUR + i * MINUTE
        yield hit(at, sess=f"{i:04x}")
        if i % 4:
            yield load(at + 5, action=READY, platform="Linux", value=3)
            yield load(at + 9, action='"load"', platform="Linux", value=250)


_MIXED_SITE = (
    *many(hit, 30, domain="example.com", page="/"),
    *many(hit, 20, domain="example.com", page="/a b,c=d", sess="b"),
    *many(hit, 12, domain="www.example.com", page="/"),
    *many(hit, 9, domain=ONION, page="/"),
    *many(hit, 6, domain="xyz.i2p", page="/x"),
    *many(load, 21, domain="example.com", page="/"),
    *many(load, 12, domain="www.example.com", page="/"),
    *many(load, 2, domain=ONION, page="/"),
    *many(load, 3, domain="js-only.example", page="/"),
)

_UNALIGNED = T0 + 17 * MINUTE + 3, T0 + 20 * HOUR + 29 * MINUTE + 11

CASES = (
    Case("nothing at all", (), {"domains": ["example.com"]}),
    Case("nothing, and nobody asked for by name", ()),
    Case("the original's shape", tuple(_original())),
    Case("loads without action", (*many(hit, 5), *many(load, 2), *many(load, 2, action="load"))),
    Case(
        "loads without action, of one domain",
        (*many(hit, 5), *many(load, 3), *many(load, 4, action=READY), *many(load, 1, domain="other.example")),
        {"domains": ["example.com"]},
    ),
    Case("no JavaScript at all", tuple(many(hit, 7))),
    Case("no JavaScript but what is merely ready", (*many(hit, 7), *many(load, 7, action=READY))),
    Case("no hits", tuple(many(load, 7))),
    Case("more loads than hits", (*many(hit, 3), *many(load, 5))),
    Case("as many loads as hits", (*many(hit, 4), *many(load, 4))),
    Case(
        "hits and loads at both edges, to the nanosecond",
        tuple(make(at) for make in (hit, load) for at in (T0 - 1, T0, T0 + 1, T0 + HOUR - 1, T0 + HOUR, T0 + HOUR + 1)),
        start=T0,
        stop=T0 + HOUR,
    ),
    Case(
        "an unaligned range",
        (
            *many(hit, 300, step=7 * MINUTE + 1),
            *many(load, 200, step=11 * MINUTE),
            *(make(at + ns) for make in (hit, load) for at in _UNALIGNED for ns in (-1, 0, 1)),
        ),
        start=_UNALIGNED[0],
        stop=_UNALIGNED[1],
    ),
    Case(
        "several sess for each page, at the same second",
        tuple(hit(T0 + MINUTE + i % 3, sess=f"{i:016x}", page=f"/{i % 2}") for i in range(200)),
        {"by": ["page"]},
    ),
    Case(
        "a hit that is sent again overwrites itself",
        (*many(hit, 5), *many(hit, 5), *many(load, 3), *many(load, 3)),
    ),
    Case(
        "extra tags, as Telegraf adds them",
        (*many(hit, 6, host="a"), *many(hit, 5, host="b"), *many(load, 4, host="a"), *many(load, 3)),
    ),
    Case("response_time an integer", (*many(hit, 6), *many(load, 4, value=12))),
    Case("response_time a float", (*many(hit, 6), *many(load, 4, value=12.5))),
    Case(
        "points without a page or a domain",
        (hit(T0, page=""), hit(T0, domain=""), load(T0, page=""), load(T0, domain="")),
    ),
    Case(
        "points without a page or a domain, by both",
        (hit(T0, page=""), hit(T0, domain=""), load(T0, page=""), load(T0, domain="")),
        {"by": ["domain", "page"]},
    ),
    Case("by domain", _MIXED_SITE),
    Case("by network", _MIXED_SITE, {"by": ["network"]}),
    Case("by page, over domains", _MIXED_SITE, {"by": ["page"]}),
    Case("by domain and page", _MIXED_SITE, {"by": ["domain", "page"]}),
    Case("by page and network, in that order", _MIXED_SITE, {"by": ["page", "network"]}),
    Case("by time", _MIXED_SITE, {"by": ["time"], "every": "15m"}),
    Case("by network and time", _MIXED_SITE, {"by": ["network", "time"], "every": "1h"}),
    Case("by time and page", _MIXED_SITE, {"by": ["time", "page"], "every": "1h", "pages": ["/"]}),
    Case(
        "by day in a time zone",
        (*many(hit, 100, step=HOUR // 2), *many(load, 60, step=HOUR // 2)),
        {"by": ["time"], "every": "1d", "tz": "Asia/Kolkata"},
        start=T0,
        stop=T0 + 3 * DAY,
    ),
    Case(
        "by week",
        (*many(hit, 100, step=6 * HOUR), *many(load, 60, step=6 * HOUR)),
        {"by": ["time"], "every": "1w"},
        start=T0 - DAY,
        stop=T0 + 20 * DAY,
    ),
    Case("two domains by name, one of them empty", _MIXED_SITE, {"domains": ["example.com", "empty.example"]}),
    Case("one network", _MIXED_SITE, {"networks": ["tor"]}),
    Case(
        "two networks, one of them empty",
        tuple(many(hit, 3, domain=ONION)),
        {"networks": ["tor", "i2p"], "by": ["network"]},
    ),
    Case("a domain outside the network asked for", _MIXED_SITE, {"domains": ["example.com"], "networks": ["tor"]}),
    Case("a page", _MIXED_SITE, {"pages": ["/a b,c=d", "/x"]}),
    Case("a domain that would end the query", _MIXED_SITE, {"domains": ['") |> drop() //', "${1}", "example.com"]}),
)
