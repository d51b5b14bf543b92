"""Compare query and downsampling with the originally published ones, on real servers.

The data is a day of 3 domains with 50 pages, with page loads for 70% of the hits. (a) has the original form, with a
`sess` for each hit. (b) has the form of pfa-flux, with one `sess` for the writing process. InfluxDB 2.7 gets 200,000
hits. InfluxDB 1.8 gets 100,000, because it allows no more values of a tag.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from benchmarks.timing import Report, Timing, arguments, in_ms, side_by_side
from pfa_flux import Analytics, connect
from pfa_flux.engines.ask import Ask
from pfa_flux.schema import BOTH
from pfa_flux.tasks.task_flux import task_flux
from pfa_flux.times import format_instant, from_datetime
from pfa_flux.windows.rollup import Rollup, Sums
from pfa_flux.windows.spec import TaskSpec
from tests.engines import Server, start
from tests.original import delta_query, downsampling

SECOND = 10**9
DAY = 86400 * SECOND
T0 = from_datetime(datetime(2026, 1, 12, tzinfo=UTC))
DOMAINS = ("example.com", "www.example.com", "b.example")
DOMAIN = DOMAINS[0]
HITS = {"influxdb-1.8": 100_000, "influxdb-2.7": 200_000}
ANSWERS = {"influxdb-1.8": 150, "influxdb-2.7": 30}
"""Required ratio of the original query's time and that of the complete answer."""
BUCKETS = {"a": "original/autogen", "b": "ours/autogen"}
_NO_OUTPUT = "\n  |> group()\n  |> count()"
"""Counts the output of to() instead of sending it to the client. A task sends nothing either."""
ROLLUPS = {"a": "original_15m/autogen", "b": "ours_15m/autogen", "original": "original_task/autogen"}


def lines(count: int, *, sess_per_hit: bool) -> Iterator[str]:
    """Line protocol of the day's hits and loads. They are the same in both forms."""
    draw, hashes = random.Random(7), random.Random(8)
    for i in range(count):
        where = f"domain={draw.choice(DOMAINS)},page=/{draw.randrange(50)}"
        second = T0 + i * 86400 // count * SECOND
        sess = f"{hashes.getrandbits(64):016x}" if sess_per_hit else "5eed5eed5eed5eed"
        yield f"pf_analytics_test_pixel,{where},scheme=https,sess={sess},type=pixel count=1i {second + i % 1000}"
        if draw.random() < 0.7:
            yield f"pf_analytics_test,action=load,{where},type=pageview response_time={i % 900}i {second + i % 1000}"


def fill(server: Server, count: int) -> None:
    """Create the buckets, and write the day in both forms."""
    for bucket in (*BUCKETS.values(), *ROLLUPS.values()):
        server.client.make_bucket(bucket)
    for form, bucket in BUCKETS.items():
        server.client.write(bucket, lines(count, sess_per_hit=form == "a"))


def questions(server: Server, made: dict[str, Analytics]) -> dict[str, Callable[[], object]]:
    """The blocked ratio of a domain over the day. Each contender checks that its difference is the same."""
    deltas = set()

    def original(form: str) -> None:
        # InfluxDB 1.8's range() includes its stop.
        stop = T0 + DAY - (server.name == "influxdb-1.8")
        (row,) = server.client.flux(delta_query(BUCKETS[form], DOMAIN, T0, stop))
        deltas.add(row["_value"])
        assert len(deltas) == 1, deltas

    def query(form: str) -> None:
        # The library's query alone, and reading its answer. The original's query gives the same figure.
        engine = made[form].engine
        dialect = "join" if engine.capabilities.join else "union"
        sides = [TaskSpec.from_settings(made[form].settings, side).raw for side in BOTH]
        asks = [Ask(rows, T0, T0 + DAY, ("domain",), {"domain": (DOMAIN,)}) for rows in sides]
        hits, loads = (sums[DOMAIN,][T0] for sums in engine.aggregate(asks, dialect))
        deltas.add(hits - loads)
        assert len(deltas) == 1, deltas

    def answer(form: str, dialect: str = "auto") -> None:
        # The complete answer: status, 95% interval, and warnings.
        (row,) = made[form].blocked_ratio([DOMAIN], start=T0, stop=T0 + DAY, dialect=dialect)
        assert row.ratio_low is not None
        deltas.add(row.blocked)
        assert len(deltas) == 1, deltas

    return {
        "original's on (a)": lambda: original("a"),
        "original's on (b)": lambda: original("b"),
        "our query on (a)": lambda: query("a"),
        "our query on (b)": lambda: query("b"),
        "our answer, with its interval, on (a)": lambda: answer("a"),
        "our answer, with its interval, on (b)": lambda: answer("b"),
        "our answer by InfluxQL on (a)": lambda: answer("a", "influxql"),
        "our answer by InfluxQL on (b)": lambda: answer("b", "influxql"),
    }


def downsamplings(server: Server, made: dict[str, Analytics]) -> dict[str, Callable[[], object]]:
    """One run over the whole day. On 2.7 both write with to(). 1.8 has no to(), so both only read."""
    writes = made["a"].engine.capabilities.to
    sums: dict[str, Sums] = {}

    def keep(name: str, result: Sums) -> None:
        # This reads only once, in the warm-up round, because the check must not be timed.
        sums[name] = result
        assert len({frozenset(each.items()) for each in sums.values()}) == 1

    def original() -> None:
        target = ROLLUPS["original"] if writes else ""
        text = downsampling(BUCKETS["a"], target, T0, T0 + DAY - (not writes))
        rows = server.client.flux(text + (_NO_OUTPUT if writes else ""))
        assert writes or len(rows) >= 96 * 150
        if writes and "original" not in sums:
            spec = spec_of(made["a"], rollup=target)
            keep("original", Rollup(made["a"].engine, spec).sums(T0, T0 + DAY))

    def ours(form: str) -> None:
        spec = spec_of(made[form])
        if not writes:
            keep(form, Rollup(made[form].engine, spec).raw_sums(T0, T0 + DAY))
            return
        server.client.flux(whole_day(spec) + _NO_OUTPUT)
        if form not in sums:
            keep(form, Rollup(made[form].engine, spec).sums(T0, T0 + DAY))

    return {"original's on (a)": original, "ours on (a)": lambda: ours("a"), "ours on (b)": lambda: ours("b")}


def spec_of(made: Analytics, rollup: str = "") -> TaskSpec:
    """The task of pfa-flux, with a lookback of a day."""
    spec = made.task().spec
    return replace(spec, lookback=96, rollup_bucket=rollup or spec.rollup_bucket)


def whole_day(spec: TaskSpec) -> str:
    """The task's text as a query at the end of the day: without its option, and with the day's end as now()."""
    text = task_flux(spec)
    rest = "\n".join(line for line in text.splitlines() if not line.startswith("option task"))
    assert rest.count("now()") == 1
    return rest.replace("now()", f"time(v: {format_instant(T0 + DAY)})")


def opened(server: Server, raw: str, rollup: str, folder: str) -> Analytics:
    """The library, connected to a server."""
    values = {**server.settings(), "raw_bucket": raw, "rollup_bucket": rollup, "data_dir": folder}
    return connect(None, **values)


def run(name: str, hits: int, rounds: int, report: Report) -> None:
    """Measure one server."""
    with start(name) as server, tempfile.TemporaryDirectory() as folder:
        report.say(f"### InfluxDB {server.version}, {hits:,} hits\n")
        fill(server, hits)
        made = {form: opened(server, bucket, ROLLUPS[form], folder) for form, bucket in BUCKETS.items()}
        try:
            asked = side_by_side(questions(server, made), rounds)
            run_once = side_by_side(downsamplings(server, made), max(2, rounds // 3))
        finally:
            for each in made.values():
                each.close()
    verdict("Blocked ratio of a domain", "our query", asked, report, name)
    base, own = asked["original's on (a)"], asked["our answer, with its interval, on (b)"]
    report.require("The answer with its interval, on our data", base.best / own.best, ANSWERS[name], in_ms(base, own))
    report.say()
    verdict("Downsampling of the day, one run", "ours", run_once, report, name)


def verdict(title: str, ours: str, timings: dict[str, Timing], report: Report, name: str) -> None:
    """Report a table, and compare its ratios with their limits."""
    base, same, own = timings["original's on (a)"], timings[f"{ours} on (a)"], timings[f"{ours} on (b)"]
    report.table(title, timings, "original's on (a)")
    report.require(f"{title}, same data", base.best / same.best, 1, in_ms(base, same))
    if name == "influxdb-2.7":
        report.require(f"{title}, on our data", base.best / own.best, 50, in_ms(base, own))
    report.say()


def main() -> int:
    """Run the benchmark. Returns 1 if a ratio is below its limit."""
    parser = arguments(__doc__, 9)
    parser.add_argument("engines", nargs="*", default=list(HITS), help=f"one or more of {', '.join(HITS)}")
    parser.add_argument("--hits", type=int, help="hits of the day")
    options = parser.parse_args()
    report = Report()
    for name in options.engines:
        run(name, options.hits or HITS[name], options.rounds, report)
    return report.end(options.markdown)


if __name__ == "__main__":
    sys.exit(main())
