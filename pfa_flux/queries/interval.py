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


def wilson(ratio: float, n: float, quantile: float = Z) -> tuple[float, float]:
    """Wilson score interval of a ratio seen in n independent draws; n need not be whole.

    Source: Wilson (1927), JASA 22, 209-212; form as in Brown, Cai, DasGupta (2001), Statistical Science 16, 101-133.
    """
    z2 = quantile * quantile
    centre = (ratio + z2 / (2 * n)) / (1 + z2 / n)
    half = quantile / (1 + z2 / n) * math.sqrt(ratio * (1 - ratio) / n + z2 / (4 * n * n))
    # At the ends the bound is the ratio itself, which rounding may miss by a hair.
    return min(ratio, max(0.0, centre - half)), max(ratio, min(1.0, centre + half))


def t_quantile(df: float) -> float:
    """Student's t quantile of 0.975; df, at least 2, need not be whole. Within 1 % of the exact value.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z = Z
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / df**power for power, term in enumerate(terms))


def effective_n(total: Sides, blocks: Sequence[Sides]) -> tuple[float, float]:
    """How many independent page views say as much as `total` does, judged by how the blocks of time vary.

    Page views of one visit are blocked together or not at all, so that they are worth fewer draws. With b and h the
    blocked and all hits of each of k blocks, H all hits, r the ratio and d = b - r*h, the ratio estimator's variance
    is var = k/(k-1) * sum(d^2) / H^2 (Cochran, Sampling Techniques, 3rd ed., 6.3), and n = r(1-r)/var, between 1 and
    H. Where no block deviates, which is where all or none are blocked, n is the number of blocks that have hits.

    A variance that is itself estimated asks for Student's t instead of the normal quantile (Franco, Little, Louis,
    Slud (2019), J. Survey Statistics and Methodology 7, 334-364). Its degrees of freedom are those of the blocks that
    have hits less one, and at most 4 * sum(d^2)^2 / sum(d^4), because few blocks that deviate much say little of how
    the rest might; benchmarks/coverage.py shows what either does.

    Returns:
        n, and the quantile to use with it.
    """
    hits, k = total.hits, len(blocks)
    blocked = hits - total.js
    # Whole numbers, H times d, so that blocks which agree give exactly nothing.
    squares = [((block.hits - block.js) * hits - blocked * block.hits) ** 2 for block in blocks]
    deviation, filled = sum(squares), sum(block.hits > 0 for block in blocks)
    if deviation == 0:
        return float(min(hits, filled)), t_quantile(max(2, filled - 1))
    ratio, variance = blocked / hits, k / (k - 1) * deviation / hits**4
    n = ratio * (1 - ratio) / variance
    if n >= hits:
        return float(hits), Z
    few = 4 * deviation**2 / sum(square**2 for square in squares)
    return max(1.0, n), t_quantile(max(2, min(filled - 1, few)))


def newcombe(first: tuple[float, float, float], second: tuple[float, float, float]) -> tuple[float, float, float]:
    """Difference of two independent ratios, first minus second, and its 95 % interval.

    Args:
        first: a ratio and the ends of its 95 % interval.
        second: the same.

    Source: Newcombe (1998), Statistics in Medicine 17, 873-890, method 10 (hybrid score).
    """
    (p1, low1, high1), (p2, low2, high2) = first, second
    difference = p1 - p2
    return (
        difference,
        difference - math.hypot(p1 - low1, high2 - p2),
        difference + math.hypot(high1 - p1, p2 - low2),
    )


def interval(total: Sides, blocks: Sequence[Sides]) -> tuple[float, float, bool]:
    """Lowest and highest plausible ratio, and whether page views had to be taken as independent.

    Args:
        total: hits and loads, with 0 <= js <= hits and hits > 0.
        blocks: the same, for each block of the time it covers, empty blocks included.
    """
    ratio = (total.hits - total.js) / total.hits
    if len(blocks) < FEWEST_BLOCKS:
        return *wilson(ratio, total.hits), True
    return *wilson(ratio, *effective_n(total, blocks)), False


def block_hours(start: int, stop: int, step: int = 1) -> int:
    """Width of the blocks of a range in hours: `step`, or as many of it as it takes to have at most 100 of them.

    Blocks are aligned to the epoch, so an unaligned range touches one more. `start`, `stop`: nanoseconds.
    """
    hours = max(1, math.ceil((stop - start) / (3600 * NS) / MOST_BLOCKS / step)) * step
    while len(block_starts(start, stop, hours)) > MOST_BLOCKS:
        hours += step
    return hours


def block_starts(start: int, stop: int, hours: int) -> range:
    """Start of each block that a range touches, nanoseconds."""
    width = hours * 3600 * NS
    return range(start // width * width, stop, width)
