"""Compare the pixel's CPU time per hit and p99 with nginx `empty_gif`, and with nginx and Lua, the original design.

All contenders are real servers on the same core. The load generator, wrk with one thread and Chromium's headers, runs
on another core, and InfluxDB on a third one if there is one. To measure its cost, a contender is started, warmed up and
loaded, until it has stored all accepted hits. Its CPU time until then is divided by the number of answered hits. CPU
time is the kernel's count (/proc/PID/stat). Stored hits are counted where they are stored. Linux only.
"""

from __future__ import annotations

import shutil
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from benchmarks.contenders import KINDS, Contender, Kind, bare, rows_in, running
from benchmarks.handler import Handler, best_us, commits
from benchmarks.loading import (
    CALM_CONNECTIONS,
    DOWN,
    EMBEDDED,
    GIF,
    LIMITS,
    LUA,
    P99_AIM,
    REQUESTS,
    UP,
    WARM_CONNECTIONS,
    Cpu,
    Load,
    cores,
    cpu_of,
    file_system,
    load,
)
from benchmarks.timing import Report, arguments
from pfa_flux.journal.spool import SPOOL_NAME
from tests.engines.process import Process, children


@dataclass(frozen=True)
class Cost:
    """One measurement. CPU times are µs for each answered hit.

    Attributes:
        load: results of wrk.
        serving: CPU time of the serving process.
        helper: CPU time of its children.
        influxdb: CPU time of InfluxDB; None if it runs elsewhere.
        answered: answered hits since the contender's start.
        kept: stored hits; None if the contender stores none.
        batch: hits in a commit; None if the rows do not show it.
    """

    load: Load
    serving: Cpu
    helper: Cpu
    influxdb: Cpu | None
    answered: int
    kept: int | None
    batch: float | None = None


def influxdb_pids(contender: Contender) -> list[int]:
    """Ids of InfluxDB's processes; none if it runs in a container or was not started here."""
    runners = contender.influxdb.runners if contender.influxdb is not None else []
    return [runner.pid for runner in runners if isinstance(runner, Process) and runner.pid is not None]


def measure(kind: Kind, connections: int, seconds: int) -> Cost:
    """Start a contender, warm it up, load it, wait until it has stored the hits, and count."""
    with running(kind) as contender:
        warm = load(contender.address, WARM_CONNECTIONS, 1)
        contender.settle()
        sets = [contender.pid], children(contender.pid), influxdb_pids(contender)
        before = [cpu_of(pids) for pids in sets]
        loaded = load(contender.address, connections, seconds)
        contender.settle()
        serving, helper, influx = (
            (cpu_of(pids) - earlier).per(loaded.answered) for pids, earlier in zip(sets, before, strict=True)
        )
        kept = contender.kept() if contender.kept else None
        answered = warm.answered + loaded.answered
        return Cost(loaded, serving, helper, influx if sets[2] else None, answered, kept, batch(contender))


def batch(contender: Contender) -> float | None:
    """Hits in a commit, from the waiting rows of a spool."""
    if contender.log is None or contender.influxdb is not None or not contender.log.name.startswith(SPOOL_NAME):
        return None
    path = contender.log.with_name(SPOOL_NAME)
    # The first second was the warm-up.
    return float(rows_in(path, "SELECT avg(length(pages)) / 4 FROM turn WHERE seq > (SELECT avg(seq) FROM turn)")[0])


Costs = dict[tuple[str, int], list[Cost]]


def costs(report: Report, connections: Sequence[int], rounds: int, seconds: int) -> Costs:
    """Measure all contenders once a round, in turn."""
    found: Costs = {}
    for _ in range(rounds):
        for count in connections:
            for name, kind in KINDS.items():
                print(f"{name}, {count} connections", file=sys.stderr, flush=True)
                found.setdefault((name, count), []).append(measure(kind, count, seconds))
    report.rows(
        "CPU time for a hit",
        ("", "connections", "hits/s", "CPU, µs", "user", "system", "× empty_gif", "InfluxDB's, µs", "answered", "kept"),
        [row for count in connections for name in KINDS for row in cost_rows(found, name, count)],
    )
    return found


def cost_rows(found: Costs, name: str, count: int) -> Iterator[Sequence[str]]:
    """The rows of a contender: the serving process, and both processes together if it has a busy helper."""
    runs = found[name, count]
    sums = str(count), f"{median(run.load.rate for run in runs):,.0f}"
    answered = sum(run.answered for run in runs)
    kept = [run.kept for run in runs if run.kept is not None]
    ends = influx_of(runs), f"{answered:,}", f"{sum(kept):,}" if kept else "–"
    cpus = [run.serving for run in runs]
    yield (name, *sums, *cpu_columns(cpus), f"{times_gif(found, name, count):.2f}", *ends)
    if median(run.helper.both for run in runs) > 0.05:
        both = [Cpu(*(a + b for a, b in zip(run.serving, run.helper, strict=True))) for run in runs]
        ratio = f"{times_gif(found, name, count, helper=True):.2f}"
        yield (f"{name}, with its helper process", *sums, *cpu_columns(both), ratio, *ends)
    if kept and sum(kept) < answered:
        by_kept = [Cpu(*(part * run.answered / max(run.kept or 0, 1) for part in run.serving)) for run in runs]
        yield (f"{name}, for each stored hit", *sums, *cpu_columns(by_kept), "–", *ends)


def median(values: Iterator[float]) -> float:
    """Median."""
    return statistics.median(list(values))


def cpu_columns(cpus: Sequence[Cpu]) -> tuple[str, str, str]:
    """Medians: both, user, system."""
    picks: tuple[Callable[[Cpu], float], ...] = (lambda c: c.both, lambda c: c.user, lambda c: c.system)
    both, user, system = (f"{statistics.median([pick(cpu) for cpu in cpus]):.2f}" for pick in picks)
    return both, user, system


def influx_of(runs: Sequence[Cost]) -> str:
    """Median of InfluxDB's CPU time."""
    every = [run.influxdb.both for run in runs if run.influxdb is not None]
    return f"{statistics.median(every):.1f}" if every else "–"


def times_gif(found: Costs, name: str, count: int, *, helper: bool = False) -> float:
    """CPU time of a contender over that of `empty_gif`: the median of the rounds' ratios."""
    pairs = zip(found[name, count], found[GIF, count], strict=True)
    return median((run.serving.both + run.helper.both * helper) / gif.serving.both for run, gif in pairs)


def judge_costs(report: Report, found: Costs, connections: Sequence[int]) -> None:
    """Compare the costs with their limits."""
    lost = found_loss(found, LUA)
    for count in connections:
        for name in (EMBEDDED, UP, DOWN):
            ratio, where = times_gif(found, name, count), f"{name}, {count} connections"
            if count in LIMITS:
                limit, aim = LIMITS[count]
                report.require(f"{where}: limit of {limit} × empty_gif / measured {ratio:.2f} ×", limit / ratio, 1)
                report.say(f"  - the aim of {aim} × is {'reached' if ratio <= aim else 'not reached'}")
            times = times_gif(found, LUA, count) / times_gif(found, name, count, helper=True)
            report.require(f"{where}, with its helper: CPU of nginx + Lua for an answered hit / ours", times, 1)
    for name in (EMBEDDED, UP, DOWN):
        loss = found_loss(found, name)
        errors = sum(run.load.errors for count in connections for run in found[name, count])
        kept = 1 - loss if not errors else 0.0
        what = f"{name}: stored / answered hits ({errors} errors; nginx + Lua loses {lost:.0%})"
        report.require(what, kept, 1)
    report.say()


def found_loss(found: Costs, name: str) -> float:
    """Share of the answered hits that a contender lost, in its worst run.

    More hits may be stored than answered, because wrk does not wait for its last answers.
    """
    runs = [run for (each, _), runs in found.items() if each == name for run in runs if run.kept is not None]
    return max(max(0.0, 1 - (run.kept or 0) / run.answered) for run in runs)


# Latency


@dataclass
class Pace:
    """The maximum delay that gives a contender a certain rate. Each run improves it."""

    rate: float
    most_delay: float = 0.0
    rates: list[float] = field(default_factory=list)
    p99s: list[float] = field(default_factory=list)

    def run(self, address: str, seconds: int) -> Load:
        """Load at about this rate."""
        if not self.most_delay:
            self.most_delay = 2000 * CALM_CONNECTIONS / self.rate
        result = load(address, CALM_CONNECTIONS, seconds, self.most_delay)
        # Missing milliseconds between two requests of a connection: intended minus measured.
        missing = 1000 * CALM_CONNECTIONS * (1 / self.rate - 1 / result.rate)
        self.most_delay = max(0.01, self.most_delay + 2 * missing)
        return result

    def keep(self, address: str, seconds: int) -> float:
        """Load, and record the result. Returns p99 in ms."""
        result = self.run(address, seconds)
        self.rates.append(result.rate)
        self.p99s.append(result.p99 / 1000)
        return self.p99s[-1]


def log_restarts(contender: Contender) -> int:
    """Number of restarts of the journal's log. Its header counts complete checkpoints.

    https://www.sqlite.org/fileformat2.html#walformat
    """
    if contender.log is None or not contender.log.exists():
        return 0
    with contender.log.open("rb") as file:
        return int.from_bytes(file.read(16)[12:], "big")


def latencies(report: Report, tops: Mapping[str, float], runs: int, seconds: int) -> None:
    """Compare p99 of each contender at half of its top rate with empty_gif at the same rate.

    All contenders run at the same time, but only one is loaded at a time.
    """
    with ExitStack() as stack:
        made = {name: stack.enter_context(running(KINDS[name])) for name in (GIF, *tops)}
        paces = {(who, name): Pace(top / 2) for name, top in tops.items() for who in (GIF, name)}
        logs: dict[str, int] = dict.fromkeys(tops, 0)
        for (who, _), pace in paces.items():
            for _ in range(2):
                pace.run(made[who].address, 1)
            made[who].settle()
        for count in range(runs):
            print(f"latency, run {count + 1}", file=sys.stderr, flush=True)
            for (who, _), pace in paces.items():
                before = log_restarts(made[who])
                pace.keep(made[who].address, seconds)
                if who in logs:
                    logs[who] += log_restarts(made[who]) - before
                made[who].settle()
    rows, gaps = [], {}
    for name in tops:
        gif, mine = paces[GIF, name], paces[name, name]
        differences = [a - b for a, b in zip(mine.p99s, gif.p99s, strict=True)]
        gaps[name] = statistics.median(differences)
        rates = [f"{statistics.median(pace.rates):,.0f}" for pace in (mine, gif)]
        p99s = [f"{statistics.median(pace.p99s):.2f}" for pace in (mine, gif)]
        every = " ".join(f"{each:.2f}" for each in differences)
        rows.append((name, f"{mine.rate:,.0f}", *rates, *p99s, f"{gaps[name]:.2f}", every, str(logs[name])))
    names = ("", "half of its top rate", "hits/s", "empty_gif's", "p99, ms", "empty_gif's", "difference, median",
             "of each run", "checkpoints")  # fmt: skip
    report.rows(f"p99 at half of the top rate, {CALM_CONNECTIONS} connections, runs of {seconds} s", names, rows)
    for name, gap in gaps.items():
        what = f"{name}: aim of {P99_AIM:.0f} ms / p99 above empty_gif's by {gap:.2f} ms"
        report.require(what, P99_AIM / max(gap, 0.01), 1)
    report.say()


# Where the time goes


def where(report: Report, found: Costs, connections: Sequence[int], seconds: int) -> None:
    """Report where the time goes: the cost over sockets, compared with its parts."""
    handler, columns = Handler(), []
    for count in connections:
        print(f"asyncio alone, {count} connections", file=sys.stderr, flush=True)
        alone = measure(partial(bare, handler.answer()), count, seconds).serving
        size = round(statistics.median([run.batch for run in found[DOWN, count] if run.batch is not None]))
        size = min(size, len(REQUESTS))
        head = best_us(handler.read, len(REQUESTS), 50)
        taken = best_us(partial(handler.take, size), size, 5000 // size)
        column = [str(size), f"{alone.user:.2f} + {alone.system:.2f}", f"{head:.2f}", f"{taken:.2f}"]
        for name, kind in (("spool", DOWN), ("store", EMBEDDED)):
            (commit,) = commits(name, (size,))
            whole = median(run.serving.both for run in found[kind, count])
            rest = whole - alone.both - head - taken - commit
            column += [f"{commit:.2f}", f"{rest:.2f}", f"{whole:.2f}"]
        columns.append(column)
    other = "the rest: turns of the loop, framing, wake-ups, checkpoints"
    words = ("hits in a commit, from the spool's rows", "asyncio alone reads and answers, user + system",
             "the head is read", "the hit is taken in", "spool: commit", other, f"measured: {DOWN}",
             "embedded store: commit", other, f"measured: {EMBEDDED}")  # fmt: skip
    rows = [list(row) for row in zip(words, *columns, strict=True)]
    report.rows("Where the time goes: CPU, µs for a hit", ("", *(f"{c} connections" for c in connections)), rows)
    usual, late = (best_us(read, len(REQUESTS), 50) for read in (handler.read, handler.read_referer_first))
    what = f"1.7 × a usual head / a head with Referer before Host ({late:.2f} µs)"
    report.require(what, 1.7 * usual / late, 1)
    sizes = (1, 8, 32, 128)
    rows = [[name, *(f"{each:.2f}" for each in commits(name, sizes))] for name in ("spool", "store")]
    report.rows("A commit: CPU, µs for a hit, by hits in it", ("", *map(str, sizes)), rows)


def main() -> int:
    """Run the benchmark. Returns 1 if a ratio is below its limit."""
    parser = arguments(__doc__, 3)
    parser.add_argument("--seconds", type=int, default=2, help="length of a load for the cost")
    parser.add_argument("--connections", type=int, nargs="+", default=list(LIMITS), help="connections of wrk")
    parser.add_argument("--latency-runs", type=int, default=5, help="number of runs for p99; 0 for none")
    parser.add_argument("--latency-seconds", type=int, default=5, help="length of such a run")
    options = parser.parse_args()
    report = Report()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed")
    place = "wrk's core, so both compete" if cores().influxdb == cores().load else "a third core"
    report.say(
        f"Servers and their helpers run on one core, wrk on another, InfluxDB on {place}. Data is on {file_system()}. "
        f"Loads of {options.seconds} s, medians of {options.rounds} rounds.\n"
    )
    found = costs(report, options.connections, options.rounds, options.seconds)
    judge_costs(report, found, options.connections)
    if options.latency_runs:
        tops = {
            name: max(median(run.load.rate for run in found[name, count]) for count in options.connections)
            for name in (EMBEDDED, UP, DOWN)
        }
        latencies(report, tops, options.latency_runs, options.latency_seconds)
    where(report, found, options.connections, options.seconds)
    return report.end(options.markdown)


if __name__ == "__main__":
    sys.exit(main())
