"""What a server has stored of hits and loads, asked of it in InfluxQL by HTTP alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.engines import Workspace

_PATIENCE = 120.0
HITS, LOADS = "pf_analytics_test_pixel", "pf_analytics_test"


def rows(workspace: Workspace, text: str) -> list[dict[str, Any]]:
    """Rows of an InfluxQL statement over the raw bucket."""
    database, _, policy = workspace.raw.partition("/")
    return workspace.client.influxql(text, db=database, rp=policy)


def points(workspace: Workspace, measurement: str = HITS) -> list[dict[str, Any]]:
    """All points of a measurement, with their tags."""
    return rows(workspace, f'SELECT * FROM "{measurement}"')


def hits_by_place(workspace: Workspace) -> dict[tuple[str, str], int]:
    """Number of hits of each page of each domain, over all series."""
    found = rows(workspace, f'SELECT count("count") AS n FROM "{HITS}" GROUP BY domain, page')
    return {(row["domain"], row["page"]): row["n"] for row in found}


def hits_by_page(workspace: Workspace) -> dict[str, int]:
    """Number of hits of each page, over all series."""
    found = rows(workspace, f'SELECT count("count") AS n FROM "{HITS}" GROUP BY page')
    return {row["page"]: row["n"] for row in found}


def total(workspace: Workspace) -> int:
    """Number of hits."""
    return sum(hits_by_page(workspace).values())


def until(met: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + _PATIENCE
    while not met():
        assert time.monotonic() < deadline, f"not within {_PATIENCE:.0f} s: {what}"
        time.sleep(0.05)
