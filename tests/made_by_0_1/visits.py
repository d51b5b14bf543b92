"""What visitors did: the page views of the files, at random times and at odd ones."""

from __future__ import annotations

import random

from pfa_flux import Point
from pfa_flux.times import NS
from tests.data import HOUR, MINUTE, READY, T0, hit, load

ONION, EEPSITE = "abcdefghijklmnop.onion", "example.i2p"


def visits(start: int, stop: int, count: int, seed: int, *, extra_tags: bool = True) -> list[Point]:
    """Page views at random times: a hit each, and of those that run JavaScript a "ready" and a load."""
    draw = random.Random(seed)
    points = []
    for second in sorted(draw.sample(range(start // NS, stop // NS - 10), count)):
        domain, scheme, share = draw.choices(
            [("example.com", "https", 0.8), ("www.example.com", "https", 0.7), (ONION, "http", 0.2),
             (EEPSITE, "http", 0.4)],
            [6, 2, 2, 1],
        )[0]  # fmt: skip
        page = draw.choices(["/", "/about", "/grüße", "/a,b=c", "/日本語?"], [5, 3, 2, 1, 1])[0].rstrip("?")
        at = second * NS
        sess = f"{(second * NS - T0) // (36 * HOUR) + 10:016x}"
        more = {"host": f"web{draw.randrange(2)}"} if extra_tags and draw.random() < 0.1 else {}
        points.append(hit(at + draw.randrange(3), domain, page, sess=sess, scheme=scheme, **more))
        if draw.random() < share:
            more = {"platform": draw.choice(["Linux", "Windows"])} if extra_tags and draw.random() < 0.3 else {}
            points.append(load(at + NS, domain, page, action=READY, value=draw.randrange(9) + 0.5, **more))
            action = draw.choice(["", "load", '"load"'])
            value = draw.randrange(90, 900) + 0.25
            points.append(load(at + 2 * NS + 1, domain, page, action=action, value=value, **more))
    return points


def odd_ones(start: int) -> list[Point]:
    """What does not look like the rest: edges of windows, no page, no domain, loads without hits, whole numbers."""
    at = start + 3 * HOUR
    return [
        *(hit(at + shift, "edge.example", sess="e") for shift in (-1, 0, 1)),
        *(load(at + shift, "edge.example", action="load", value=7) for shift in (-1, 0)),
        hit(at + MINUTE, "example.com", "", sess="e"),
        hit(at + 2 * MINUTE, "", "/", sess="e"),
        *(load(at + n * HOUR, "js-only.example", "/", value=50 + n) for n in range(3)),
        *(hit(at + n * MINUTE, "more-js.example", sess="e") for n in range(2)),
        *(load(at + n * MINUTE, "more-js.example", value=1.5) for n in range(5)),
        *(hit(at + n * MINUTE, "no-js.example", "/(other)", sess="e") for n in range(4)),
    ]
