"""The live page on a store with two sites, asked as a browser on this machine does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path

from pfa_flux import Analytics, Settings
from pfa_flux.view.page import Answer, LivePage, Request
from tests.data import DAY, HOUR, T0, hit, load

NOW = T0 + 9 * DAY + 5 * HOUR
WEEK = NOW - 7 * DAY
ONION = f"{'a' * 55}d.onion"
SITES = {"blog": ("example.com", ONION), "shop": ("shop.example",)}
POINTS = [
    *(hit(T0 + n * HOUR, page=f"/{n % 3}") for n in range(220)),
    *(load(T0 + n * HOUR, page=f"/{n % 3}") for n in range(220) if n % 4),
    *(hit(T0 + n * HOUR, ONION) for n in range(0, 220, 2)),
    *(hit(T0 + n * HOUR, "shop.example") for n in range(0, 220, 20)),
]


def two_sites(folder: Path) -> Settings:
    """Settings of a store with the points in it."""
    made = Settings(data_dir=folder, sites=SITES)
    with Analytics(made, clock=lambda: NOW) as analytics:
        analytics.write(POINTS)
    return made


def ask(page: LivePage, query: str = "", **request: str) -> Answer:
    """The answer to a request of a browser on this machine."""
    given = {"method": "GET", "target": f"/?{query}" if query else "/", "host": "localhost:8482", **request}
    return page.answer(Request(hosts=[given.pop("host")], **given))


def viewed(start: int, stop: int = NOW, domains: Sequence[str] = (), page: str = "") -> str:
    """The line of a page that says how many page views there are."""
    hits = [point for point in POINTS if point.measurement == "pf_analytics_test_pixel" and start <= point.time < stop]
    of = [point for point in hits if not domains or point.tags["domain"] in domains]
    count = sum(not page or point.tags["page"] == page for point in of)
    return f"<b>{count}</b><span>page views, by the pixel</span>"


def headings(answer: Answer) -> list[str]:
    return re.findall("<h2>(.*?)</h2>", answer.body)


def problems(answer: Answer) -> list[str]:
    """What the page says is wrong, without markup."""
    found = re.findall(r'<span id="\w+-problem">(.*?)</span>', answer.body)
    return [unescape(re.sub("<[^>]+>", "", each)) for each in found]
