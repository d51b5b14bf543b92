"""A million hits: the answer stays exact, and the client's memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pfa_flux.times import format_instant
from tests.cli import pfa_flux
from tests.data import DAY, T0
from tests.engines.plugin import MakeWorkspace

HITS = 1_000_000
DOMAINS = ("a.example", "b.example", "c.onion")


def lines() -> Iterator[str]:
    """A million hits over 30 days, every third hit's domain alike, and a load for three of four of a domain's hits."""
    step = 30 * DAY // HITS
    for i in range(HITS):
        where = f"domain={DOMAINS[i % 3]},page=/{i % 40}"
        at = T0 + i * step
        yield f"pf_analytics_test_pixel,{where},scheme=https,sess={i % 7:016x},type=pixel count=1i {at}"
        if (i // 3) % 4:
            yield f"pf_analytics_test,{where},type=pageview response_time={i % 900}i {at}"


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["influxdb-1.8", "influxdb-2.7"])
def test_a_million_hits_are_counted_exactly(engine: str, make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(engine)
    workspace.client.write(workspace.raw, lines())
    whole = ("--start", format_instant(T0), "--stop", format_instant(T0 + 30 * DAY), "--format", "json")
    done = pfa_flux("blocked-ratio", *whole, env=workspace.env())
    hits = {domain: len(range(i, HITS, 3)) for i, domain in enumerate(DOMAINS)}
    js = {domain: sum(k % 4 != 0 for k in range(count)) for domain, count in hits.items()}
    assert [(r["domain"], r["hits"], r["js"], r["status"]) for r in done.json["rows"]] == [
        (domain, hits[domain], js[domain], "ok") for domain in sorted(DOMAINS)
    ]
    by_page = pfa_flux("blocked-ratio", "--by", "page", "--domain", "a.example", *whole, env=workspace.env()).json
    assert sum(row["hits"] for row in by_page["rows"]) == hits["a.example"]
    assert len(by_page["rows"]) == 40
