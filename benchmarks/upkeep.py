"""Measure the cost of keeping the windows of a month correct while a twentieth of the page loads arrive late.

Hits and page loads of 30 days are written in simulated time, late page loads minutes to days after their time. Passes
compare windows with raw data and repair them. In the end, figures from windows equal the raw data. The share of time
assumes 96 passes a day.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.timing import Report, arguments
from pfa_flux import Analytics, Point
from pfa_flux import settings as pfa_settings
from pfa_flux.schema import BOTH
from tests.contract import as_line
from tests.data import DAY
from tests.engines import Server, start
from tests.late_month import DAYS, MONTH, check, live_through, written

HITS, LOADS = 300_000, 200_000
RUNS = {
    "influxdb-2.7": ("influxdb-2.7", "auto"),
    "influxdb-1.8 with Kapacitor": ("kapacitor", "auto"),
    "influxdb-1.8, pfa-flux runs the tasks": ("influxdb-1.8", "runner"),
    "embedded": ("embedded", "auto"),
}


@contextmanager
def server_of(engine: str) -> Iterator[Server | None]:
    """The server; None for the embedded store."""
    if engine == "embedded":
        yield None
        return
    with start(engine) as server:
        yield server


def run(name: str, hits: int, loads: int, report: Report) -> list[str]:
    """Measure a month on one engine. Returns a row of the table."""
    engine, backend = RUNS[name]
    with server_of(engine) as server, tempfile.TemporaryDirectory() as folder:
        values = {**(server.settings() if server else {}), "data_dir": folder}
        own = pfa_settings.load(values, environ={}, directory=Path(folder))
        own = replace(own, task=replace(own.task, backend=backend))
        if server:
            for bucket in (own.raw_bucket, own.rollup_bucket):
                server.client.make_bucket(bucket)

        def opened(now: int) -> Analytics:
            return Analytics(own, clock=lambda: now)

        def write(points: list[Point]) -> None:
            if server:
                server.client.write(own.raw_bucket, map(as_line, points))
            else:
                with opened(MONTH) as made:
                    made.write(points)

        points = written(hits, loads)
        with opened(MONTH) as made:
            for side in BOTH:
                made.task(side.value).install()
        month = live_through(opened, write, points)
        with opened(MONTH + (DAYS + 6) * DAY) as made:
            check(made, points)
    typical = statistics.median(month.seconds)
    report.say(f"{name}: figures from windows equal the raw data, 0 windows wrong.")
    share = typical * 96 / 86400
    return [name, f"{month.mended:,}", f"{typical * 1000:,.0f}", f"{max(month.seconds) * 1000:,.0f}", f"{share:.2%}"]


def main() -> int:
    """Run the benchmark."""
    parser = arguments(__doc__, 1)
    parser.add_argument("--hits", type=int, default=HITS, help="hits of the month")
    parser.add_argument("--loads", type=int, default=LOADS, help="page loads of the month")
    options = parser.parse_args()
    report = Report()
    rows = [run(name, options.hits, options.loads, report) for name in RUNS]
    names = ("", "windows repaired", "a pass, ms (median)", "the longest", "share of time, if every 15 min")
    report.say()
    report.rows(f"A month of {options.hits:,} hits and {options.loads:,} page loads, both tasks", names, rows)
    report.say()
    return report.end(options.markdown)


if __name__ == "__main__":
    sys.exit(main())
