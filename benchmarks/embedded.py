"""Compare answers of the embedded store over 90 days with plain SQL that scans as many raw rows.

The data is 1,000,000 hits and 700,000 page loads of 3 domains with 50 pages each. The library writes it, and both tasks
downsample it, as in an installation. Answers come from the library, with intervals and warnings. The scan is one GROUP
BY over a plain table of the same size, in its own file. Each contender checks its totals. The live page is requested
over HTTP from a server that has answered before.

The same questions are then asked of ten times the page views, with raw data only for the last 30 days.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from http.client import HTTPConnection
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.timing import Report, Timing, arguments, in_ms, side_by_side
from pfa_flux import Analytics, BlockedRatio, Point, Settings
from pfa_flux.engines.sqlite import STORE_NAME, Embedded
from pfa_flux.helper.housekeeper import purge
from pfa_flux.times import NS, from_datetime
from pfa_flux.view.page import LivePage
from pfa_flux.view.server import Server

DAY = 86400 * NS
DAYS = 90
T0 = from_datetime(datetime(2026, 1, 5, tzinfo=UTC))
# The range begins before the first page view. Both ends are within a window, not at its end.
NOW = T0 + DAYS * DAY - 451 * NS
SECONDS = DAYS * 86400 - 3 * 3600
"""Seconds from the first page view to the last, which is three hours before the present."""
DOMAINS = (("https", "example.com"), ("http", f"{'a' * 55}d.onion"), ("http", "example.i2p"))
PAGES = 50
PLACES = len(DOMAINS) * PAGES
HITS, LARGER, KEPT_DAYS = 1_000_000, 10, 30
SLOWEST, SLOWEST_REPORT, SLOWEST_PAGE, SLOWEST_LARGE = 0.4, 2, 0.6, 4
_BATCH = 100_000

_CREATE = """
CREATE TABLE raw (
    time INTEGER NOT NULL, series INTEGER NOT NULL, value NOT NULL, PRIMARY KEY (time, series)
) WITHOUT ROWID
"""
SCAN, SCAN_BY_DAY = "the scan", "the scan, by day"
SCANS = {
    SCAN: "SELECT series, sum(value), count(*) FROM raw GROUP BY series",
    SCAN_BY_DAY: f"SELECT series, sum(value), count(*), time / {DAY} AS day FROM raw GROUP BY series, day",
}
QUESTIONS: Mapping[str, Mapping[str, Any]] = {
    "by domain": {"by": ["domain"]},
    "by network": {"by": ["network"]},
    "by page": {"by": ["page"]},
    "by day": {"by": ["time"], "every": "1d"},
    "by day in Asia/Kolkata": {"by": ["time"], "every": "1d", "tz": "Asia/Kolkata"},
    "by day in Europe/Berlin": {"by": ["time"], "every": "1d", "tz": "Europe/Berlin"},
    "by domain, page and day": {"by": ["domain", "page", "time"], "every": "1d"},
    "by hour": {"by": ["time"], "every": "1h"},
    "by domain, 45 days and the 45 before": {"by": ["domain"], "start": "45d", "compare": True},
}
REQUIRED = ("by domain", "by network", "by page", "by day", "by domain, page and day")
SHORT_LIST = ("by domain", "by day", "by domain, page and day")
"""Questions that are also answered from raw rows alone, and from the larger data."""
REPORT = "report, 45 days and the 45 before"
PAGE = f"live page of {DAYS} days, over HTTP"


class Totals(NamedTuple):
    """Numbers of hits and of loads."""

    hits: int
    loads: int

    @property
    def rows(self) -> int:
        """Number of raw rows."""
        return self.hits + self.loads


def totals(hits: int) -> Totals:
    """The totals for a number of hits: seven of ten have a load."""
    return Totals(hits, hits // 10 * 7 + min(hits % 10, 7))


@dataclass
class Clock:
    """A clock that the benchmark sets."""

    now: int

    def __call__(self) -> int:
        """The present, nanoseconds."""
        return self.now


# The data


def page_views(hits: int) -> Iterator[tuple[int, int, bool]]:
    """Time, place, and whether the analytics counted it, for each page view in order of time."""
    draw = random.Random(7)
    for i in range(hits):
        yield T0 + i * SECONDS // hits * NS + i % 1000, draw.randrange(PLACES), i % 10 < 7


def rows(hits: int) -> Iterator[tuple[int, int, int]]:
    """Time, series and value of the scan's rows."""
    for moment, place, loaded in page_views(hits):
        yield moment, place, 1
        if loaded:
            yield moment + NS, PLACES + place, moment // NS % 900


def points(hits: int) -> Iterator[Point]:
    """The same rows as points for the library."""
    places = [(scheme, domain, f"/{page}") for scheme, domain in DOMAINS for page in range(PAGES)]
    of_hits = [
        {"domain": domain, "page": page, "scheme": scheme, "sess": "5eed5eed5eed5eed", "type": "pixel"}
        for scheme, domain, page in places
    ]
    of_loads = [{"action": "load", "domain": domain, "page": page, "type": "pageview"} for _, domain, page in places]
    for moment, series, value in rows(hits):
        if series < PLACES:
            yield Point("pf_analytics_test_pixel", of_hits[series], "count", value, moment)
        else:
            yield Point("pf_analytics_test", of_loads[series - PLACES], "response_time", value, moment)


# The steps of an installation


def write(own: Settings, hits: int) -> None:
    """Write the points in pieces, each at its own time, so that no point is late."""
    clock, every = Clock(T0), points(hits)
    with Analytics(own, clock=clock) as made:
        while piece := list(islice(every, _BATCH)):
            clock.now = piece[0].time
            made.write(piece)


def downsample(own: Settings) -> float:
    """Install both tasks and compute due windows. Returns the seconds for the computation."""
    with Analytics(own, clock=Clock(NOW)) as made:
        tasks = made.task("hits"), made.task("loads")
        for task in tasks:
            task.install()
        started = time.perf_counter()
        for task in tasks:
            task.run_due()
        return time.perf_counter() - started


def remove_old_rows(own: Settings) -> int:
    """Remove raw rows older than their retention, like `pfa-flux serve`. Returns their number."""
    with closing(Embedded(own)) as store:
        return purge(store, own, NOW, 0)


def size(own: Settings) -> int:
    """Used bytes of the store's file."""
    with closing(sqlite3.connect(own.data_dir / STORE_NAME)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        page, pages, unused = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_size", "page_count", "freelist_count")
        )
    return (pages - unused) * page


# Contenders


def plain_table(file: Path, hits: int) -> sqlite3.Connection:
    """The table for the scan."""
    connection = sqlite3.connect(file)
    with connection:
        connection.execute(_CREATE)
        connection.executemany("INSERT INTO raw VALUES (?, ?, ?)", rows(hits))
    return connection


def scan(connection: sqlite3.Connection, sql: str, truth: Totals) -> None:
    """Read all rows of the plain table."""
    groups = connection.execute(sql).fetchall()
    hits = sum(value for series, value, *_ in groups if series < PLACES)
    loads = sum(count for series, _, count, *_ in groups if series >= PLACES)
    assert (hits, loads) == truth, (sql, hits, loads, truth)


@dataclass
class Asked:
    """A question to the library, and its last answer."""

    made: Analytics
    question: Mapping[str, Any]
    truth: Totals
    last: BlockedRatio | None = None

    def __call__(self) -> None:
        """Ask the question, and check the totals."""
        self.last = self.made.blocked_ratio(**{"start": f"{DAYS}d", **self.question})
        counted = [*self.last, *(row.before for row in self.last if row.before)]
        sums = sum(row.hits for row in counted), sum(row.js for row in counted)
        assert sums == self.truth, (self.question, sums, self.truth)

    @property
    def counts(self) -> dict[tuple[str, ...], tuple[int, int]]:
        """Hits and loads of the last answer's rows, by key."""
        return {tuple(row.key.values()): (row.hits, row.js) for row in self.last or ()}


def make_report(made: Analytics, hits: int) -> None:
    """Make the report of the last 45 days, and check that it contains their number of hits."""
    html, has_data = made.report(start="45d")
    assert has_data
    assert f"{hits:,}" in html, hits


def get_page(where: tuple[str, int], hits: int) -> None:
    """Request the live page of all days without the previous period, and check that it contains the number of hits."""
    connection = HTTPConnection(*where)
    with closing(connection):
        connection.request("GET", f"/?range={DAYS}d")
        answer = connection.getresponse()
        html = answer.read().decode()
    assert answer.status == 200, html
    assert f"<b>{hits:,}</b>" in html, hits


# Both sizes


def fill(own: Settings, truth: Totals, report: Report, files: list[tuple[str, int, int]]) -> None:
    """Write and downsample the data, and record the size of the file before and after."""
    write(own, truth.hits)
    files.append((f"{truth.rows:,} raw rows", size(own), truth.rows))
    took = downsample(own)
    files.append((f"{truth.rows:,} raw rows and their windows", size(own), truth.rows))
    report.say(f"- First run of both tasks, {truth.rows:,} raw rows: {took * 1e6 / truth.rows:.2f} µs a row.")


def compare_with_scan(
    made: Analytics, where: tuple[str, int], plain: sqlite3.Connection, truth: Totals, report: Report, rounds: int
) -> None:
    """Time every question in the same rounds as the scan. `where` is the host and port of the live page."""
    asked = {name: Asked(made, question, truth) for name, question in QUESTIONS.items()}
    from_raw = {name: Asked(made, {**QUESTIONS[name], "source": "raw"}, truth) for name in SHORT_LIST}
    half = f"SELECT count(*) FROM raw WHERE series < {PLACES} AND time >= {NOW - DAYS // 2 * DAY}"
    recent = plain.execute(half).fetchone()[0]
    contenders: dict[str, Callable[[], object]] = {
        **{name: partial(scan, plain, sql, truth) for name, sql in SCANS.items()},
        **asked,
        REPORT: partial(make_report, made, recent),
        PAGE: partial(get_page, where, truth.hits),
        **{f"{name}, source raw": each for name, each in from_raw.items()},
    }
    timings = side_by_side(contenders, rounds)
    for name, each in from_raw.items():
        assert each.counts == asked[name].counts, name
    report.table(f"{DAYS} days, {truth.hits:,} hits and {truth.loads:,} loads", timings, SCAN)
    report_sources(asked, report)
    base = timings[SCAN]
    limits = {**dict.fromkeys(REQUIRED, SLOWEST), REPORT: SLOWEST_REPORT, PAGE: SLOWEST_PAGE}
    for name, limit in limits.items():
        require(report, f"{limit} × the scan / {name}", limit, base, timings[name])
    report.say()


def compare_sizes(few: tuple[Analytics, Totals], many: tuple[Analytics, Totals], report: Report, rounds: int) -> None:
    """Time the short list in the same rounds on both sizes of data."""
    asked = {
        f"{truth.hits:,} hits, {name}": Asked(made, QUESTIONS[name], truth)
        for name in SHORT_LIST
        for made, truth in (few, many)
    }
    names = list(asked)
    timings = side_by_side(asked, rounds)
    title = f"{DAYS} days; of the {many[1].hits:,} hits, only the last {KEPT_DAYS} days are raw data"
    report.table(title, timings, names[0])
    report_sources(asked, report)
    for one, other in zip(names[::2], names[1::2], strict=True):
        require(report, f"{SLOWEST_LARGE} × {one} / {other}", SLOWEST_LARGE, timings[one], timings[other])
    report.say()


def report_sources(asked: Mapping[str, Asked], report: Report) -> None:
    """Report the source of each answer."""
    sources: dict[str, list[str]] = {}
    for name, each in asked.items():
        if each.last is not None:
            sources.setdefault(each.last.source, []).append(name)
    for source, names in sources.items():
        report.say(f"- Source {source}: {'all' if len(sources) == 1 else '; '.join(names)}.")


def require(report: Report, what: str, limit: float, base: Timing, timing: Timing) -> None:
    """Require that an answer takes at most `limit` times as long as `base`."""
    report.require(what, limit * base.best / timing.best, 1, in_ms(base, timing))


def measure(options: argparse.Namespace, report: Report, folder: Path) -> None:
    """Measure both sizes of data."""
    few, many = totals(options.hits), totals(options.hits * LARGER)
    own, files = Settings(data_dir=folder / "store"), list[tuple[str, int, int]]()
    fill(own, few, report, files)
    with (
        closing(plain_table(folder / "plain.sqlite3", few.hits)) as plain,
        Analytics(own, clock=Clock(NOW)) as made,
        Server(LivePage(own, clock=Clock(NOW)), "127.0.0.1", 0) as page,
    ):
        page.start()
        report.say()
        compare_with_scan(made, ("127.0.0.1", page.server_address[1]), plain, few, report, options.rounds)
    if options.large:
        larger = replace(own, data_dir=folder / "larger", pixel=replace(own.pixel, raw_retention=KEPT_DAYS * DAY // NS))
        fill(larger, many, report, files)
        started = time.perf_counter()
        gone = remove_old_rows(larger)
        took = time.perf_counter() - started
        assert gone, "no raw row was removed"
        report.say(f"- Removing {gone:,} raw rows, once their windows are verified: {took * 1e6 / gone:.2f} µs a row.")
        report.say()
        files.append((f"the same, {gone:,} raw rows removed", size(larger), many.rows))
        with Analytics(own, clock=Clock(NOW)) as made, Analytics(larger, clock=Clock(NOW)) as second:
            compare_sizes((made, few), (second, many), report, options.rounds)
    table = [(name, f"{used / 2**20:,.1f}", f"{used / rows:.1f}") for name, used, rows in files]
    report.rows("The store's file, by its used pages", ("", "MiB", "bytes for each written raw row"), table)


def main() -> int:
    """Run the benchmark. Returns 1 if a ratio is below its limit."""
    parser = arguments(__doc__, 3)
    parser.add_argument("--hits", type=int, default=HITS, help="hits of the 90 days")
    parser.add_argument(
        "--large", action=argparse.BooleanOptionalAction, default=True, help=f"also measure {LARGER} times the hits"
    )
    options = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        measure(options, report, Path(folder))
    return report.end(options.markdown)


if __name__ == "__main__":
    sys.exit(main())
