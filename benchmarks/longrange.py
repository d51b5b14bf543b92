"""Measure ninety days by day, and a year of downsampled rows by week and network, on real servers.

Ninety days have 1,000,000 hits and 1,000,000 page loads of 3 domains and 50 pages. The original's query answers for one
domain and one range, so it runs once for each day. pfa-flux needs one call, with status and 95% interval for each day.
On 2.7, the original's query also runs on its own form of data: 200,000 hits, each with its own `sess`.

A year has 5,256,000 rows of hits and loads, 15 minutes each, of 3 networks with 25 pages each.
"""

from __future__ import annotations

import random
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.timing import Report, arguments, in_ms, side_by_side
from pfa_flux import Analytics, connect
from pfa_flux.times import from_datetime
from tests.engines import Server, start
from tests.original import delta_query

SECOND = 10**9
DAY = 86400 * SECOND
WINDOW = 900 * SECOND
T0 = from_datetime(datetime(2026, 1, 5, tzinfo=UTC))
DAYS = 90
DOMAINS = ("example.com", "www.example.com", "b.example")
DOMAIN = DOMAINS[0]
NETWORKS = ("example.com", "example.onion", "example.i2p")
FEW, MANY, PER_HIT = 100_000, 1_000_000, 200_000
LEAST = {"influxdb-2.7": 5, "influxdb-1.8": 30}
_BATCH = 100_000


def lines(count: int, *, sess_per_hit: bool = False) -> Iterator[str]:
    """Line protocol of `count` hits and as many page loads, spread over the days."""
    draw, hashes = random.Random(7), random.Random(8)
    for i in range(count):
        where = f"domain={draw.choice(DOMAINS)},page=/{draw.randrange(50)}"
        moment = T0 + i * DAYS * 86400 // count * SECOND + i % 1000
        sess = f"{hashes.getrandbits(64):016x}" if sess_per_hit else "5eed5eed5eed5eed"
        yield f"pf_analytics_test_pixel,{where},scheme=https,sess={sess},type=pixel count=1i {moment}"
        yield f"pf_analytics_test,action=load,{where},type=pageview response_time={i % 900}i {moment + 1}"


def rollups() -> Iterator[str]:
    """Line protocol of a year of downsampled hits and loads."""
    draw = random.Random(9)
    for end in range(T0 + WINDOW, T0 + 365 * DAY + 1, WINDOW):
        for domain in NETWORKS:
            for page in range(25):
                where, hits = f"domain={domain},page=/{page}", draw.randrange(1, 20)
                yield f"pf_analytics_pixel,{where},scheme=https hitcount={hits}i {end}"
                yield f"pf_analytics_loads,{where} loadcount={draw.randrange(hits + 1)}i {end}"


def write(server: Server, bucket: str, made: Iterator[str]) -> int:
    """Write lines in pieces. Returns their number."""
    server.client.make_bucket(bucket)
    written = 0
    while piece := [line for line, _ in zip(made, range(_BATCH), strict=False)]:
        server.client.write(bucket, piece)
        written += len(piece)
    return written


def by_day(server: Server, made: Analytics, bucket: str, deltas: set[int]) -> dict[str, Callable[[], object]]:
    """Both ways to compute the differences of a domain's days. Each checks that its sum is the same."""
    cut = server.name == "influxdb-1.8"

    def original() -> None:
        total = 0
        for day in range(DAYS):
            first = T0 + day * DAY
            (row,) = server.client.flux(delta_query(bucket, DOMAIN, first, first + DAY - cut))
            total += row["_value"]
        deltas.add(total)
        assert len(deltas) == 1, deltas

    def ours() -> None:
        rows = made.blocked_ratio([DOMAIN], by=["time"], every="1d", start=T0, stop=T0 + DAYS * DAY)
        assert len(rows) == DAYS
        deltas.add(sum(row.blocked for row in rows))
        assert len(deltas) == 1, deltas

    return {"original's, once a day": original, "ours, one call": ours}


def peak(ask: Callable[[], object]) -> float:
    """Peak memory of the client for an answer, MiB."""
    ask()
    tracemalloc.start()
    ask()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / 2**20


def measure(server: Server, report: Report, rounds: int, directory: str) -> None:
    """Measure one server."""
    values = {**server.settings(), "data_dir": directory}
    base = connect(None, config=None, **values)

    def on(bucket: str, rollup: str = "year/autogen") -> Analytics:
        return Analytics(
            replace(base.settings, raw_bucket=bucket, rollup_bucket=rollup), clock=lambda: T0 + 365 * DAY + DAY
        )

    report.say(f"### {server.name} {server.version}")
    report.say()
    server.client.make_bucket("year/autogen")
    for count in (FEW, MANY):
        write(server, f"b{count}/autogen", lines(count))
    contenders = by_day(server, on(f"b{MANY}/autogen"), f"b{MANY}/autogen", set())
    names = list(contenders)
    if server.name == "influxdb-2.7":
        write(server, "a/autogen", lines(PER_HIT, sess_per_hit=True))
        write(server, "b/autogen", lines(PER_HIT))
        same: set[int] = set()
        theirs = by_day(server, on("a/autogen"), "a/autogen", same)
        own = by_day(server, on("b/autogen"), "b/autogen", same)
        contenders[f"original's, on {PER_HIT:,} hits with a sess each"] = theirs[names[0]]
        contenders[f"ours, on the same {PER_HIT:,} hits with one sess"] = own[names[1]]
    timings = side_by_side(contenders, rounds)
    report.table("90 days by day, 1,000,000 hits and 1,000,000 loads", timings, names[0])
    one, other = (timings[name] for name in names)
    what = "original's, once a day / ours, one call, same data"
    report.require(what, one.best / other.best, LEAST[server.name], in_ms(one, other))
    if server.name == "influxdb-2.7":
        one, other = (timings[name] for name in list(contenders)[2:])
        what = "original's, on hits with a sess each / ours, on the same hits with one sess"
        report.require(what, one.best / other.best, 100, in_ms(one, other))
    few, many = (
        peak(by_day(server, on(f"b{count}/autogen"), f"b{count}/autogen", set())["ours, one call"])
        for count in (FEW, MANY)
    )
    report.say(f"- Client's memory for an answer: {few:.1f} MiB for {FEW:,} hits, {many:.1f} MiB for {MANY:,}.")
    report.say()
    rows = write(server, "year/autogen", rollups())
    made = on(f"b{FEW}/autogen")

    def year() -> object:
        span = {"start": T0, "stop": T0 + 364 * DAY}
        answer = made.blocked_ratio(by=["network", "time"], every="1w", source="rollup", **span)  # type: ignore[arg-type]
        assert (len(answer), answer.source) == (3 * 52, "rollup")
        return answer

    report.table(f"A year of {rows:,} rows by week and network", side_by_side({"ours": year}, rounds), "ours")
    report.say(f"- Client's memory: {peak(year):.1f} MiB.")
    report.say()


def main() -> int:
    """Measure the named servers, by default both."""
    parser = arguments(__doc__, 3)
    parser.add_argument("engines", nargs="*", default=list(LEAST), help="influxdb-2.7, influxdb-1.8")
    options = parser.parse_args()
    report = Report()
    for name in options.engines:
        with start(name) as server, tempfile.TemporaryDirectory() as directory:
            measure(server, report, options.rounds, str(Path(directory) / "data"))
    return report.end(options.markdown)


if __name__ == "__main__":
    sys.exit(main())
