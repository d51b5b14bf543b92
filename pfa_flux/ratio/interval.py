"""The 95% interval of a ratio. It allows for page views that come in visits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from pfa_flux.times import NS


class Sides(NamedTuple):
    """Hits and loads."""

    hits: int
    js: int


Z = 1.959963984540054
"""Standard normal quantile of 0.975: the intervals are 95%."""

MOST_BLOCKS = 100
FEWEST_BLOCKS = 10
"""With fewer blocks of time the variance is too uncertain, so the interval assumes independent page views."""


def wilson(ratio: float, n: float, quantile: float = Z) -> tuple[float, float]:
    """Wilson score interval of a ratio observed in n independent draws. n need not be whole.

    Source: Wilson (1927), JASA 22, 209-212; form as in Brown, Cai, DasGupta (2001), Statistical Science 16, 101-133.
    """
    z2 = quantile * quantile
    centre = (ratio + z2 / (2 * n)) / (1 + z2 / n)
    half = quantile / (1 + z2 / n) * math.sqrt(ratio * (1 - ratio) / n + z2 / (4 * n * n))
    # At 0 and 1 the bound is the ratio itself; rounding may miss it slightly.
    return min(ratio, max(0.0, centre - half)), max(ratio, min(1.0, centre + half))


def t_quantile(df: float) -> float:
    """Student's t quantile of 0.975. df is at least 2, and need not be whole. Within 1% of the exact value.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    a, b, c, d = _TERMS
    return Z + (a + (b + (c + d / df) / df) / df) / df


_TERMS = (
    (Z**3 + Z) / 4,
    (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96,
    (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384,
    (79 * Z**9 + 776 * Z**7 + 1482 * Z**5 - 1920 * Z**3 - 945 * Z) / 92160,
)


def effective_n(hits: Sequence[int], js: Sequence[int], all_hits: int, all_js: int) -> tuple[float, float]:
    """Number of independent page views with as much information as all page views have, and its quantile.

    Args:
        hits: hits of each block.
        js: page loads of each block.
        all_hits: hits of all blocks, more than 0.
        all_js: page loads of all blocks.

    Page views of one visit are blocked together or not at all, so they count as fewer draws. The variance between
    blocks shows how many. Let b and h be the blocked and all hits of each of k blocks, H all hits, r the ratio, and
    d = b - r*h. The ratio estimator's variance is var = k/(k-1) * sum(d^2) / H^2 (Cochran, Sampling Techniques, 3rd
    ed., 6.3), and n = r(1-r)/var, between 1 and H. If no block deviates, because all page views are blocked or none
    is, n is the number of blocks with hits.

    An estimated variance requires Student's t instead of the normal quantile (Franco, Little, Louis, Slud (2019), J.
    Survey Statistics and Methodology 7, 334-364). Its degrees of freedom are the number of blocks with hits minus one,
    and at most 4 * sum(d^2)^2 / sum(d^4), because a few strongly deviating blocks say little about the rest.
    benchmarks/coverage.py shows the effect of both.

    Returns:
        n, and the quantile to use with it.
    """
    # Use whole numbers, H times d, so that equal blocks give exactly 0.
    squares = [(d := h * all_js - j * all_hits) * d for h, j in zip(hits, js, strict=True)]
    deviation, filled, k = sum(squares), len(hits) - hits.count(0), len(hits)
    if deviation == 0:
        return float(min(all_hits, filled)), t_quantile(max(2, filled - 1))
    ratio, variance = (all_hits - all_js) / all_hits, k / (k - 1) * deviation / (all_hits * all_hits) ** 2
    n = ratio * (1 - ratio) / variance
    if n >= all_hits:
        return float(all_hits), Z
    # The sum of the squares is at most the sum times the largest one. This bound usually decides.
    few: float = filled - 1
    if 4 * deviation < few * max(squares):
        few = min(few, 4 * deviation**2 / sum([square * square for square in squares]))
    return max(1.0, n), t_quantile(max(2, few))


def newcombe(first: tuple[float, float, float], second: tuple[float, float, float]) -> tuple[float, float, float]:
    """Difference of two independent ratios, first minus second, and its 95% interval.

    Args:
        first: a ratio and the ends of its 95% interval.
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
    """Lowest and highest plausible ratio, and whether the interval assumes independent page views.

    Args:
        total: hits and loads, with 0 <= js <= hits and hits > 0.
        blocks: the same for each block of time, including empty blocks. If they do not add up to the total, they are
            ignored.
    """
    hits, js = [block.hits for block in blocks], [block.js for block in blocks]
    if (sum(hits), sum(js)) != total:
        return *wilson((total.hits - total.js) / total.hits, total.hits), True
    return interval_of(hits, js, *total)


def interval_of(hits: Sequence[int], js: Sequence[int], all_hits: int, all_js: int) -> tuple[float, float, bool]:
    """The same from hits and loads by block, and their totals."""
    ratio = (all_hits - all_js) / all_hits
    if len(hits) < FEWEST_BLOCKS:
        return *wilson(ratio, all_hits), True
    return *wilson(ratio, *effective_n(hits, js, all_hits, all_js)), False


def block_hours(start: int, stop: int, step: int = 1) -> int:
    """Width of the blocks of a range in hours: the smallest width with at most 100 blocks.

    It is a multiple of `step`. If possible, it divides a day or is a number of whole days, so that blocks make up days.
    Blocks are aligned to the epoch, so an unaligned range needs one more. `start`, `stop`: nanoseconds.
    """
    hours = step
    while len(block_starts(start, stop, hours)) > MOST_BLOCKS or (24 % step == 0 and 24 % hours and hours % 24):
        hours += step
    return hours


def block_starts(start: int, stop: int, hours: int) -> range:
    """Start of each block that overlaps a range, nanoseconds."""
    width = hours * 3600 * NS
    return range(start // width * width, stop, width)
