"""Costs of a hit, a row, a series, a page and a connection, and the resources that 10⁴ to 10⁹ hits a day need.

`benchmarks/costs.py` measures the costs. Linux only.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from benchmarks.costs import DOMAINS, PAGES, Costs, file_costs, influxdb_costs, pixel_costs, write_costs
from benchmarks.timing import Report, arguments

SERVING = 14.0
"""CPU µs for a hit in the serving process, as measured by `python -m benchmarks.pixel`."""
GATHER = 0.001
"""Seconds that a commit waits for further hits. Hits within this time share a commit."""
PEAK = 5
"""Rate of a busy hour, as a multiple of the mean rate."""
KEPT_DAYS = 30
DOCUMENTED = Costs(
    spool_1=47, spool_32=5.6, raw_row=19.8, rollup_row=22.4, point_27=8.14, point_18=8.14, series_27=2.29,
    series_18=2.73, wire=7.9, plain=155, shipping_us=3.2, influxdb_us=7.2, catching_up=104_594, window_27_us=1.64,
    window_embedded_us=3.86, serving_kib=39 * 1024, helper_kib=57 * 1024, connection_kib=1.76, page_kib=0.55,
    page_helper_kib=0.79,
)  # fmt: skip
"""Costs in docs/capacity.md. `--table` uses them for other numbers of pages, or another cost of serving."""


def costs_table(costs: Costs) -> list[tuple[str, str]]:
    """The measured costs as rows of text."""
    kib = 1024
    return [
        ("a hit waiting in the spool, in commits of 1 and of 32 hits",
         f"{costs.spool_1:.0f} and {costs.spool_32:.1f} bytes"),
        ("a raw row in the embedded store", f"{costs.raw_row:.1f} bytes"),
        ("a downsampled row in the embedded store", f"{costs.rollup_row:.1f} bytes"),
        ("a point in InfluxDB 2.7 and 1.8, on disk", f"{costs.point_27:.2f} and {costs.point_18:.2f} bytes"),
        ("10,000 series in InfluxDB 2.7 and 1.8, memory",
         f"{costs.series_27 * 10_000 / kib:.0f} and {costs.series_18 * 10_000 / kib:.0f} MiB"),
        ("a point in a full write, plain and compressed", f"{costs.plain:.0f} and {costs.wire:.1f} bytes"),
        ("shipping a point, CPU of the helper", f"{costs.shipping_us:.1f} µs"),
        ("storing a point, CPU of InfluxDB 2.7", f"{costs.influxdb_us:.1f} µs"),
        ("catching up, into InfluxDB 2.7 on the same machine",
         f"{costs.catching_up:,.0f} points/s, 1,000,000 hits in {1e6 / max(costs.catching_up, 1):.0f} s"),
        ("downsampling a raw row, InfluxDB 2.7 and embedded store",
         f"{costs.window_27_us:.2f} and {costs.window_embedded_us:.2f} µs"),
        ("memory of the serving process and of its helper, idle",
         f"{costs.serving_kib / kib:.0f} and {costs.helper_kib / kib:.0f} MiB"),
        ("1,000 connections, memory of the serving process", f"{costs.connection_kib * 1000 / kib:.1f} MiB"),
        ("10,000 pages, memory of the serving process and of its helper",
         f"{costs.page_kib * 10_000 / kib:.1f} and {costs.page_helper_kib * 10_000 / kib:.1f} MiB"),
    ]  # fmt: skip


HEADINGS = (
    "hits a day", "mean and peak, hits/s", "cores at the peak: pixel, helper", "spool, an hour at the peak",
    f"points of {KEPT_DAYS} days", "their disk, InfluxDB 2.7", "embedded store instead",
    "downsampled rows a day, at most",
)  # fmt: skip


def capacity(costs: Costs, hits: int, *, serving_us: float = SERVING, pages: int = PAGES) -> tuple[str, ...]:
    """A row of the table: the resources that a number of hits a day needs."""
    mean = hits / 86400
    peak = mean * PEAK
    # Bytes of a waiting hit: its own, and its part of the commit's.
    commit = (costs.spool_1 - costs.spool_32) / (1 - 1 / 32)
    waiting = costs.spool_1 - commit + commit / max(1.0, peak * GATHER)
    rows = min(hits, len(DOMAINS) * pages * 96)
    kept = hits * KEPT_DAYS
    return (
        power(hits),
        f"{rounded(mean)} and {rounded(peak)}",
        f"{cores(peak * serving_us)} and {cores(peak * costs.shipping_us)}",
        size(peak * 3600 * waiting),
        f"{kept:,}",
        size(kept * costs.point_27),
        size(kept * costs.raw_row),
        f"{rows:,}",
    )


def capacity_table(costs: Costs, *, serving_us: float = SERVING, pages: int = PAGES) -> list[tuple[str, ...]]:
    """The table for 10⁴ to 10⁹ hits a day."""
    return [capacity(costs, 10**digits, serving_us=serving_us, pages=pages) for digits in range(4, 10)]


def power(number: int) -> str:
    """A power of ten."""
    return "10" + str(round(math.log10(number))).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def rounded(number: float) -> str:
    """A number with two significant digits."""
    places = max(0, 1 - math.floor(math.log10(number)))
    return f"{round(number, places if number < 100 else -(math.floor(math.log10(number)) - 1)):,.{places}f}"


def cores(micros: float) -> str:
    """Part of a core for a number of µs a second."""
    return "< 0.001" if micros < 1000 else f"{rounded(micros / 1e6)}"


def size(count: float) -> str:
    """A number of bytes with its unit."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{rounded(count)} {unit}"
        count /= 1024
    return f"{rounded(count)} TiB"


def main() -> int:
    """Run the benchmark."""
    parser = arguments(__doc__, 1)
    parser.add_argument("--hits", type=int, default=1_000_000, help="number of hits to ship and store")
    parser.add_argument("--series", type=int, default=100_000, help="number of series, to measure their memory")
    parser.add_argument("--pages", type=int, default=PAGES, help="pages in each network, for the table")
    parser.add_argument("--serving-us", type=float, default=SERVING, help="CPU µs of a hit in the serving process")
    parser.add_argument("--table", action="store_true", help="measure nothing: use the costs in docs/capacity.md")
    options = parser.parse_args()
    report, every = Report(), [DOCUMENTED] if options.table else []
    for _ in range(0 if options.table else options.rounds):
        costs = Costs()
        steps: Sequence[tuple[Callable[..., None], Sequence[Any]]] = (
            (write_costs, ()),
            (file_costs, (min(options.hits, 500_000),)),
            (pixel_costs, (2_000, 20_000)),
            (influxdb_costs, (options.hits, options.series)),
        )
        for step, given in steps:
            print(step.__name__, file=sys.stderr, flush=True)
            step(costs, *given)
        every.append(costs)
    costs = Costs(*(sorted(getattr(each, f.name) for each in every)[len(every) // 2] for f in fields(Costs)))
    if not options.table:
        report.rows("What it costs", ("", "measured"), costs_table(costs))
        print(costs, file=sys.stderr)
    report.rows(
        f"What a site needs, with {options.serving_us:g} µs a served hit and {options.pages} pages in each network",
        HEADINGS,
        capacity_table(costs, serving_us=options.serving_us, pages=options.pages),
    )
    return report.end(options.markdown)


if __name__ == "__main__":
    sys.exit(main())
