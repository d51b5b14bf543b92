"""Compare the backfill of a year with forced runs of the task, on the same server in one run.

A year is 35,040 windows of 15 minutes, with 10⁶ hits of 3 domains and 10 pages. The task is forced for 300 windows:
first each run is awaited, then all runs are queued at once. Both times are scaled up to the year. Kapacitor answers a
forced run only once it has ended, so it has no queue to measure.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.timing import Report, arguments
from pfa_flux import Analytics
from pfa_flux import settings as pfa_settings
from pfa_flux.tasks.runners.kapacitor import KapacitorTasks
from pfa_flux.tasks.task import Task
from pfa_flux.times import NS, format_instant
from tests.engines import Server, start
from tests.engines.http import ServerError

WINDOW = 900 * NS
YEAR = 365 * 86400 * NS
WINDOWS = YEAR // WINDOW
HITS = 1_000_000
FORCED = 300
RAW, FILLED, BY_TASK = "year/autogen", "filled/autogen", "forced/autogen"


def lines(stop: int, hits: int) -> Iterator[str]:
    """Line protocol of a year of hits at random times."""
    draw = random.Random(11)
    for _ in range(hits):
        where = f"domain={draw.randrange(3)}.example,page=/{draw.randrange(10)}"
        at = stop - 1 - draw.randrange(YEAR)
        yield f"pf_analytics_test_pixel,{where},scheme=https,sess=5eed5eed5eed5eed,type=pixel count=1i {at}"


def opened(server: Server, rollup: str, folder: str) -> Analytics:
    """The library on the year's data, with a lookback of one window for the forced runs."""
    values = {**server.settings(), "raw_bucket": RAW, "rollup_bucket": rollup, "data_dir": folder}
    own = pfa_settings.load(values, environ={})
    return Analytics(replace(own, task=replace(own.task, lookback=1)))


def one_by_one(task: Task, ends: list[int]) -> float:
    """Seconds for forced runs, if each is awaited before the next one."""
    installed, started = task.installed(), time.perf_counter()
    for end in ends:
        task.backend.run(installed, end)
    return time.perf_counter() - started


def queued(server: Server, task: Task, ends: list[int]) -> float:
    """Seconds for forced runs that are queued at once, until the last has ended. InfluxDB 2 only."""
    path, started = f"/api/v2/tasks/{task.installed().id}/runs", time.perf_counter()
    wanted = [server.client.json("POST", path, {"scheduledFor": format_instant(end)})["id"] for end in ends]
    for run in wanted:
        while (status := status_of(server, f"{path}/{run}")) != "success":
            assert status not in {"failed", "canceled"}
            time.sleep(0.05)
    return time.perf_counter() - started


def status_of(server: Server, path: str) -> str:
    """Status of a run; empty between its end and its entry in the log."""
    try:
        return str(server.client.json("GET", path)["status"])
    except ServerError:
        return ""


@dataclass(frozen=True)
class Filled:
    """A backfill by the command line: wall-clock seconds and peak memory in MiB."""

    seconds: float
    mebibytes: float


def filled(server: Server, folder: str, begin: int, stop: int) -> Filled:
    """Run `pfa-flux task backfill` in its own process."""
    command = str(Path(sys.executable).with_name("pfa-flux"))
    names = {**server.settings(), "raw_bucket": RAW, "rollup_bucket": FILLED, "data_dir": folder}
    environment = {**os.environ, **{f"PFA_FLUX_{key.upper()}": value for key, value in names.items()}}
    words = [
        "task",
        "backfill",
        "--hits-only",
        "--start",
        format_instant(begin),
        "--stop",
        format_instant(stop),
        "--quiet",
    ]
    started = time.perf_counter()
    pid = os.posix_spawn(command, [command, *words], environment)
    _, status, usage = os.wait4(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return Filled(time.perf_counter() - started, usage.ru_maxrss / 1024)


def run(name: str, hits: int, report: Report) -> None:
    """Measure one server."""
    with start(name) as server, tempfile.TemporaryDirectory() as folder:
        for bucket in (RAW, FILLED, BY_TASK):
            server.client.make_bucket(bucket)
        stop = (time.time_ns() - 3600 * NS) // WINDOW * WINDOW
        server.client.write(RAW, lines(stop, hits))
        with opened(server, BY_TASK, folder) as made:
            task = made.task()
            task.install()
            ends = [stop - n * (WINDOWS // FORCED) * WINDOW for n in range(FORCED)]
            waited = one_by_one(task, ends) / FORCED * WINDOWS
            queue = None if isinstance(task.backend, KapacitorTasks) else queued(server, task, ends) / FORCED * WINDOWS
        quarter = filled(server, folder, stop - YEAR // 4, stop)
        with opened(server, FILLED, folder) as made:
            made.engine.drop_bucket(FILLED)
            made.engine.create_bucket(FILLED)
        year = filled(server, folder, stop - YEAR, stop)
        with opened(server, FILLED, folder) as made:
            verification = made.task().verify(stop - YEAR, stop)
        assert (verification.clean, verification.windows) == (True, WINDOWS)
        report_times(report, f"{name}, {hits:,} hits, {verification.rows:,} rows", waited, queue, quarter, year)


def report_times(report: Report, title: str, waited: float, queue: float | None, quarter: Filled, year: Filled) -> None:
    """Report the times, and compare them with their limits."""
    rows = [("task forced, one by one (scaled up from 300)", f"{waited:,.0f}", "1.0", "")]
    if queue:
        rows.append(("task forced, queued (scaled up from 300)", f"{queue:,.0f}", f"{waited / queue:,.1f}", ""))
    for span, backfill in (("a quarter", quarter), ("the year", year)):
        ratio = f"{waited / backfill.seconds:,.0f}" if backfill is year else ""
        figures = f"{backfill.seconds:,.1f}", ratio, f"{backfill.mebibytes:,.0f}"
        rows.append((f"pfa-flux task backfill, {span}", *figures))
    report.rows(title, ("A year of 35,040 windows", "s", "× one by one", "client's memory, MiB"), rows)
    sides = f"{waited:,.0f} s / {year.seconds:,.1f} s"
    if queue:
        queued_too = f"{queue:,.0f} s / {year.seconds:,.1f} s"
        report.require("queued runs / backfill", queue / year.seconds, 30, queued_too)
        report.require("runs one by one / backfill", waited / year.seconds, 1000, sides)
    else:
        report.require("runs one by one / backfill", waited / year.seconds, 30, sides)
    sides = f"{quarter.mebibytes:,.1f} MiB / {year.mebibytes:,.1f} MiB"
    flat = quarter.mebibytes / year.mebibytes
    report.require("memory for a quarter / for the year", flat, 0.8, sides)
    report.say()


def main() -> int:
    """Run the benchmark. Returns 1 if a ratio is below its limit."""
    parser = arguments(__doc__, 1)
    parser.add_argument("engines", nargs="*", default=["influxdb-2.7", "kapacitor"])
    parser.add_argument("--hits", type=int, default=HITS, help="hits of the year")
    options = parser.parse_args()
    report = Report()
    for name in options.engines:
        run(name, options.hits, report)
    return report.end(options.markdown)


if __name__ == "__main__":
    sys.exit(main())
