"""Numbers of prefetches as they are stored, and what an answer says of them."""

from __future__ import annotations

from collections import Counter

import pytest

from pfa_flux import BlockedRatio, Point
from tests.contract import TARGETS, ordinarily
from tests.engines import Workspace
from tests.stored import points

PREFETCHES = "pfa_flux_prefetches"
ONION = "abcdefghijklmnop.onion"
PREFETCH = {"Sec_Purpose": "prefetch;prerender"}
targets = pytest.mark.parametrize("target", ordinarily(TARGETS), ids=str)


def prefetched(time: int, number: int, domain: str = "example.com", *, sess: str = "a") -> Point:
    return Point(PREFETCHES, {"domain": domain, "sess": sess}, "count", number, time)


def said(answer: BlockedRatio) -> str:
    """What the answer says of prefetches; empty where it says nothing."""
    return next((each.message for each in answer.warnings if each.code == "prefetches"), "")


def begins(number: int, hits: int) -> str:
    """How it begins."""
    share = round(100 * number / (number + hits))
    words = f"{hits:,} hits" if hits != 1 else "1 hit"
    return f"{share}% of the requests for the pixel were prefetches or previews ({number:,} beside {words})"


def numbers(workspace: Workspace) -> dict[str, int]:
    """What a server has stored, by domain: of one minute or, where another has begun, of two."""
    found: Counter[str] = Counter()
    for row in points(workspace, PREFETCHES):
        found[row["domain"]] += row["count"]
    return dict(found)
