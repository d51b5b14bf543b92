"""A year of windows filled in, beside forcing the task for windows of that year, on the same server in one run.

A year is 35,040 windows of 15 minutes, with 10⁶ hits of 3 domains and 10 pages. The task is forced for 300 of them,
waited for one by one, and queued all at once and then waited for; both are scaled up to the year. Kapacitor answers a
forced run when it has ended, so that there is no queue to speak of.
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
    """Seconds to force runs, each waited for."""
    installed, started = task.installed(), time.perf_counter()
    for end in ends:
        task.backend.run(installed, end)
    return time.perf_counter() - started


def queued(server: Server, task: Task, ends: list[int]) -> float:
    """Seconds to force runs all at once and wait for the last of them. InfluxDB 2 only."""
    path, started = f"/api/v2/tasks/{task.installed().id}/runs", time.perf_counter()
    wanted = [server.client.json("POST", path, {"scheduledFor": format_instant(end)})["id"] for end in ends]
    for run in wanted:
        while (status := status_of(server, f"{path}/{run}")) != "success":
            assert status not in {"failed", "canceled"}
            time.sleep(0.05)
    return time.perf_counter() - started


def status_of(server: Server, path: str) -> str:
    """Status of a run; empty for the moment in which the server has put it aside and not yet recorded it."""
    try:
        return str(server.client.json("GET", path)["status"])
    except ServerError:
        return ""


@dataclass(frozen=True)
class Filled:
    """A backfill by the command line: wall-clock seconds and the most memory it took, MiB."""

    seconds: float
    mebibytes: float


def filled(server: Server, folder: str, begin: int, stop: int) -> Filled:
    """Run `pfa-flux task backfill` in a process of its own."""
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
    """All of one server."""
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
            found = made.task().verify(stop - YEAR, stop)
        assert (found.clean, found.windows) == (True, WINDOWS)
        tell(report, f"{name}, {hits:,} hits, {found.rows:,} rows", waited, queue, quarter, year)


def tell(report: Report, title: str, waited: float, queue: float | None, quarter: Filled, year: Filled) -> None:
    """The table, and what is asked of it."""
    rows = [("task forced, one by one (scaled up from 300)", f"{waited:,.0f}", "1.0", "")]
    if queue:
        rows.append(("task forced, queued (scaled up from 300)", f"{queue:,.0f}", f"{waited / queue:,.1f}", ""))
    for words, found in (("a quarter", quarter), ("the year", year)):
        ratio = f"{waited / found.seconds:,.0f}" if found is year else ""
        rows.append((f"pfa-flux task backfill, {words}", f"{found.seconds:,.1f}", ratio, f"{found.mebibytes:,.0f}"))
    report.rows(title, ("A year of 35,040 windows", "s", "× one by one", "client's memory, MiB"), rows)
    sides = f"{waited:,.0f} s / {year.seconds:,.1f} s"
    if queue:
        queued_too = f"{queue:,.0f} s / {year.seconds:,.1f} s"
        report.require("beside the queued way", queue / year.seconds, 30, queued_too)
        report.require("beside one by one", waited / year.seconds, 1000, sides)
    else:
        report.require("beside one by one", waited / year.seconds, 30, sides)
    sides = f"{quarter.mebibytes:,.1f} MiB / {year.mebibytes:,.1f} MiB"
    flat = quarter.mebibytes / year.mebibytes
    report.require("memory of a quarter / of the year, flat if near 1", flat, 0.8, sides)
    report.say()


def main() -> int:
    """Run it; 1 where a ratio is less than asked for."""
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
