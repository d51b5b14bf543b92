"""The 95 % interval of a ratio, wide enough for page views that come in visits."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pfa_flux.queries.selection import Sides
from pfa_flux.times import NS

Z = 1.959963984540054
"""Standard normal quantile of 0.975: the intervals are 95 %."""

MOST_BLOCKS = 100
FEWEST_BLOCKS = 10
"""With fewer blocks of time their variance says too little, and page views are taken as independent."""


def wilson(ratio: float, n: float) -> tuple[float, float]:
    """Wilson score interval of a ratio seen in n independent draws; n need not be whole.

    Source: Wilson (1927), JASA 22, 209-212; form as in Brown, Cai, DasGupta (2001), Statistical Science 16, 101-133.
    """
    z2 = Z * Z
    centre = (ratio + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(ratio * (1 - ratio) / n + z2 / (4 * n * n))
    # At the ends the bound is the ratio itself, which rounding may miss by a hair.
    return min(ratio, max(0.0, centre - half)), max(ratio, min(1.0, centre + half))


def effective_n(total: Sides, blocks: Sequence[Sides]) -> float:
    """How many independent page views say as much as `total` does, judged by how the blocks of time vary.

    Page views of one visit are blocked together or not at all, so that they are worth fewer draws. With b and h the
    blocked and all hits of each of k blocks, H all hits and r the ratio, the ratio estimator's variance is
    var = k/(k-1) * sum((b - r*h)^2) / H^2 (Cochran, Sampling Techniques, 3rd ed., 6.3), and n = r(1-r)/var, between
    1 and H.
    """
    hits, k = total.hits, len(blocks)
    blocked = hits - total.js
    # Whole numbers, H^2 times the sum, so that blocks which agree give exactly nothing.
    deviation = sum(((block.hits - block.js) * hits - blocked * block.hits) ** 2 for block in blocks)
    if deviation == 0:
        return float(hits)
    ratio, variance = blocked / hits, k / (k - 1) * deviation / hits**4
    return max(1.0, min(float(hits), ratio * (1 - ratio) / variance))


def interval(total: Sides, blocks: Sequence[Sides]) -> tuple[float, float, bool]:
    """Lowest and highest plausible ratio, and whether page views had to be taken as independent.

    Args:
        total: hits and loads, with 0 <= js <= hits and hits > 0.
        blocks: the same, for each block of the time it covers, empty blocks included.
    """
    ratio = (total.hits - total.js) / total.hits
    if len(blocks) < FEWEST_BLOCKS:
        return *wilson(ratio, total.hits), True
    return *wilson(ratio, effective_n(total, blocks)), False


def block_hours(start: int, stop: int) -> int:
    """Width of the blocks of a range in hours: one, or as many as it takes to have at most 100 of them.

    Blocks are aligned to the epoch, so an unaligned range touches one more. `start`, `stop`: nanoseconds.
    """
    hours = max(1, math.ceil((stop - start) / (3600 * NS) / MOST_BLOCKS))
    while len(block_starts(start, stop, hours)) > MOST_BLOCKS:
        hours += 1
    return hours


def block_starts(start: int, stop: int, hours: int) -> range:
    """Start of each block that a range touches, nanoseconds."""
    width = hours * 3600 * NS
    return range(start // width * width, stop, width)
