"""An independent answer to the blocked ratio, in plain Python over a list of points: slow, and easy to believe."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from urllib.parse import quote, unquote
from zoneinfo import ZoneInfo

from pfa_flux import Point

HOUR = 3600 * 10**9


def network(domain: str) -> str:
    return {"onion": "tor", "i2p": "i2p"}.get(domain.rsplit(".", 1)[-1] if "." in domain else "", "clearnet")


def stored(points: Iterable[Point]) -> list[Point]:
    """What a store holds of the points: the last one of each series and time; empty tags are no tags."""
    kept: dict[tuple[Any, ...], Point] = {}
    for p in points:
        tags = tuple(sorted((k, v) for k, v in p.tags.items() if v))
        kept[(p.measurement, p.field, tags, p.time)] = p
    return list(kept.values())


def interval_start(time: int, every: str, zone: ZoneInfo) -> int:
    """Start of the interval of the zone's clock and calendar that a time lies in."""
    local = datetime.fromtimestamp(time // 10**9, UTC).astimezone(zone)
    if every in {"15m", "1h"}:
        minute = local.minute // 15 * 15 if every == "15m" else 0
        return time // 10**9 * 10**9 - ((local.minute - minute) * 60 + local.second) * 10**9
    day = local.date() - timedelta(days=local.weekday() if every == "1w" else 0)
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return int(midnight.timestamp()) * 10**9


def page_of(path: str) -> str:
    """The canonical page of a path without dot segments: what RFC 3986 lets be, and the rest escaped."""
    return quote(unquote(path), safe="!$&'()*+,-./:;=@[]_~")


def totals(
    points: Iterable[Point],
    start: int,
    stop: int,
    by: Sequence[str],
    *,
    domains: Sequence[str] = (),
    networks: Sequence[str] = (),
    pages: Sequence[str] = (),
    every: str = "1h",
    tz: str = "UTC",
    excluded: Sequence[str] = ('"ready"',),
) -> dict[tuple[str | int, ...], tuple[int, int]]:
    """Hits and loads by key; `time` is the interval's start in nanoseconds."""
    found: dict[tuple[str | int, ...], tuple[int, int]] = {}
    for p in stored(points):
        domain, page = p.tags.get("domain", ""), page_of(p.tags.get("page", ""))
        wanted = (
            start <= p.time < stop
            and (not domains or domain in domains)
            and (not networks or network(domain) in networks)
            and (not pages or page in map(page_of, pages))
        )
        is_hit = p.measurement == "pf_analytics_test_pixel" and p.field == "count"
        is_load = (
            p.measurement == "pf_analytics_test"
            and p.field == "response_time"
            and p.tags.get("action", "") not in excluded
        )
        if not wanted or not (is_hit or is_load):
            continue
        parts: dict[str, str | int] = {
            "domain": domain,
            "network": network(domain),
            "page": page,
            "time": interval_start(p.time, every, ZoneInfo(tz)),
        }
        key = tuple(parts[k] for k in by)
        hits, js = found.get(key, (0, 0))
        found[key] = (hits + int(p.value), js) if is_hit else (hits, js + 1)
    return found


def status(hits: int, js: int) -> str:
    if hits == 0:
        return "no_hits" if js else "no_data"
    if js == 0:
        return "no_js"
    return "ok" if js <= hits else "js_exceeds_hits"


Z = 1.959963984540054


def wilson(ratio: float, n: float, z: float = Z) -> tuple[float, float]:
    """Wilson's interval as the roots of (p - r)^2 = z^2 p (1 - p) / n."""
    z2 = z**2
    a, b, c = 1 + z2 / n, -(2 * ratio + z2 / n), ratio * ratio
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def student(df: float) -> float:
    """Student's t quantile of 0.975, in Horner's form of the expansion in 1/df."""
    z2, u = Z * Z, 1 / df
    g4 = (((79 * z2 + 776) * z2 + 1482) * z2 - 1920) * z2 - 945
    g3 = ((3 * z2 + 19) * z2 + 17) * z2 - 15
    g2 = (5 * z2 + 16) * z2 + 3
    return Z * ((((g4 / 92160 * u + g3 / 384) * u + g2 / 96) * u + (z2 + 1) / 4) * u + 1)


def effective_n(blocks: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """How many independent draws the blocks are worth, in exact fractions, and the quantile."""
    h_all, j_all, k = sum(h for h, _ in blocks), sum(j for _, j in blocks), len(blocks)
    ratio = Fraction(h_all - j_all, h_all)
    deviations = [h - j - ratio * h for h, j in blocks]
    var = Fraction(k, k - 1) * sum((d**2 for d in deviations), Fraction(0)) / Fraction(h_all) ** 2
    filled = len([h for h, _ in blocks if h])
    if var == 0:
        return float(min(h_all, filled)), student(max(2, filled - 1))
    n = ratio * (1 - ratio) / var
    if n >= h_all:
        return float(h_all), Z
    few = 4 * sum(d**2 for d in deviations) ** 2 / sum(d**4 for d in deviations)
    return float(max(Fraction(1), n)), student(float(max(Fraction(2), min(Fraction(filled - 1), few))))


def interval(points: Iterable[Point], start: int, stop: int, block: int = HOUR, **filters: Any) -> tuple[float, float]:
    """The 95% interval of everything in a range and filter, from blocks of an hour (range of at most 99 hours)."""
    points = list(points)
    edges = range(start // block * block, stop, block)
    blocks = []
    for edge in edges:
        part = totals(points, max(start, edge), min(stop, edge + block), (), **filters)
        blocks.append(part.get((), (0, 0)))
    hits, js = (sum(b[i] for b in blocks) for i in (0, 1))
    n, z = effective_n(blocks) if len(blocks) >= 10 else (float(hits), Z)
    return wilson((hits - js) / hits, n, z)
