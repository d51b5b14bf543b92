"""A steady load for an hour while servers are killed, a disk fills up and the task rests: nothing is lost or doubled.

The load comes from a process of its own, over connections that stay open. Each hit has a page of its client and its
minute, so that what is stored can be held against what was answered, page by page. Before a fault that can cut
requests off, or make the pixel shed them, all clients change to pages that are each asked for once: what became of
a hit whose answer never came is then known exactly.
"""

from __future__ import annotations

import asyncio
import json
import math
import multiprocessing
import os
import random
import re
import shutil
import statistics
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cli import Result, pfa_flux
from tests.engines import Server, Workspace, start
from tests.engines.process import children
from tests.load import get
from tests.pixel_server import PixelServer
from tests.stored import HITS, rows, until
from tests.webserver import program

SECONDS = int(os.environ.get("PFA_FLUX_TEST_SOAK_SECONDS", "3600"))
"""Length of the load, at least 300: it takes that long until the task has been away and is back."""
SEED = 20261123
CLIENTS, RATE = 10, 20.0
"""Connections, and hits a second of each."""
DOMAINS = ("example.com", "abcdefghijklmnop.onion", "example.i2p")
EVERY, OFFSET = 60, 10
"""Seconds of a window, and after its end until the task runs."""
DISK_MIB = 80
"""The journal's write-ahead log has 16 MiB and more before it is written back."""
LEAD = 6
"""Seconds before a window's end at which InfluxDB goes away for long."""
OUTAGE = LEAD + EVERY + OFFSET + 1
"""Seconds that it is away: hits of before the window's end arrive when the next one has been put together, too."""
REST = 95
"""Seconds that the task is disabled: at least one window ends meanwhile, and its run comes never."""
CALM = 1 / 3
"""Last part of the load in which the pixel is left alone, so that its memory and handles can be compared."""
MOST_GROWTH = 2048
"""KiB that the memory may grow by over that part: the allocator's grain, and the pages of each minute."""
SETTLED = 20.0
"""Seconds that a process has to reach its size."""


# The load, in a process of its own


@dataclass
class Fate:
    """What became of the requests for a page."""

    sent: int = 0
    counted: int = 0
    shed: int = 0
    cut: int = 0


@dataclass
class Tally:
    """What the load has seen. `odd` are answers that are neither a counted nor a shed hit."""

    pages: dict[str, Fate] = field(default_factory=dict)
    odd: Counter[str] = field(default_factory=Counter)


class Crowd:
    """The clients, in their own process. `wary`: every request is for a page of its own."""

    def __init__(self, address: str, orders: Connection) -> None:
        self._host, _, port = address.rpartition(":")
        self._port, self._orders = int(port), orders
        self._tally = Tally()
        self._wanted = False
        self._wary = [False] * CLIENTS
        self._owed = False
        self._stop = False
        self._number = 0

    async def run(self) -> None:
        asyncio.get_running_loop().add_reader(self._orders.fileno(), self._ordered)
        await asyncio.gather(*(self._client(number) for number in range(CLIENTS)))
        self._orders.send(self._tally)

    def _ordered(self) -> None:
        try:
            order = self._orders.recv()
        except EOFError:
            # The test has ended before us.
            os._exit(1)
        match order:
            case "wary":
                self._wanted, self._owed = True, True
                self._tell()
            case "steady":
                self._wanted = False
            case "stop":
                self._stop = True

    async def _client(self, number: int) -> None:
        due = time.monotonic() + number / CLIENTS / RATE
        while not self._stop:
            try:
                reader, writer = await asyncio.open_connection(self._host, self._port)
            except OSError:
                self._turn(number, self._wanted)
                await asyncio.sleep(0.05)
                continue
            try:
                while not self._stop:
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    due = max(due + 1 / RATE, time.monotonic() - 1.0)
                    if not await self._hit(number, reader, writer):
                        break
            finally:
                writer.transport.abort()

    async def _hit(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send one, and note what became of it. Returns whether the connection lives."""
        wanted = self._wanted
        self._turn(number, wanted or self._wary[number])
        if self._wary[number]:
            self._number += 1
            page = f"/once/{self._number}"
        else:
            page = f"/{number}/{int(time.time()) // 60}"
        fate = self._tally.pages.setdefault(page, Fate())
        fate.sent += 1
        try:
            writer.write(get(page, DOMAINS[number % len(DOMAINS)]))
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"Content-Length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
        except (OSError, asyncio.IncompleteReadError):
            fate.cut += 1
            return False
        why = re.search(r"X-Pfa-Flux: (\S+)", head)
        if why and why[1] == "shed":
            fate.shed += 1
        elif why or not head.startswith("HTTP/1.1 200 "):
            self._tally.odd[why[1] if why else head.partition("\r\n")[0]] += 1
        else:
            fate.counted += 1
        # Only an answer shows that the connection was none that had been cut off meanwhile.
        self._turn(number, wanted)
        return "Connection: close" not in head

    def _turn(self, number: int, wary: bool) -> None:
        self._wary[number] = wary
        self._tell()

    def _tell(self) -> None:
        """Say, once, that all clients are wary."""
        if self._owed and all(self._wary):
            self._owed = False
            self._orders.send("wary")


def crowd(address: str, orders: Connection) -> None:
    """The process of the load."""
    asyncio.run(Crowd(address, orders).run())


class Load:
    """The load, as the test sees it."""

    def __init__(self, address: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._orders, theirs = context.Pipe()
        self._process = context.Process(target=crowd, args=(address, theirs), daemon=True)
        self._process.start()
        theirs.close()

    @contextmanager
    def wary(self) -> Iterator[None]:
        """Every request that is under way meanwhile is for a page of its own."""
        self._orders.send("wary")
        assert self._orders.poll(30), "the clients do not answer"
        assert self._orders.recv() == "wary"
        yield
        self._orders.send("steady")

    def end(self) -> Tally:
        """Stop it. Returns what it has seen."""
        self._orders.send("stop")
        assert self._orders.poll(30), "the clients do not end"
        tally = self._orders.recv()
        assert isinstance(tally, Tally)
        self._process.join(30)
        return tally

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.join()
        self._orders.close()


# Memory and handles


class Size(NamedTuple):
    """A process at a moment: seconds, KiB, open files."""

    at: float
    memory: int
    handles: int


def size_of(pid: int) -> Size | None:
    """Size of a process now; None where it has just ended."""
    try:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        handles = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return None
    return Size(time.monotonic(), int(found[1]), handles) if found else None


_memory, _handles = attrgetter("memory"), attrgetter("handles")


class Growth(NamedTuple):
    """Medians of memory (KiB) and handles over the first and over the last quarter of the samples of a process."""

    memory: float
    handles: float
    memory_at_last: float
    handles_at_last: float

    @classmethod
    def over(cls, samples: list[Size]) -> Growth:
        """Growth over samples."""
        quarter = len(samples) // 4
        assert quarter >= 5, f"only {len(samples)} samples"
        medians = [
            statistics.median(pick(each) for each in part)
            for part in (samples[:quarter], samples[-quarter:])
            for pick in (_memory, _handles)
        ]
        return cls(*medians)


# The faults


@dataclass(order=True)
class Fault:
    """Something that is done at a time, seconds since the start."""

    at: float
    name: str
    act: Callable[[], None] = field(compare=False)


class Soak:
    """The servers, what is done to them, and when."""

    def __init__(self, server: Server, pixel: PixelServer, disk: Path | None) -> None:
        assert SECONDS >= 300, "PFA_FLUX_TEST_SOAK_SECONDS is less than 300"
        self.server, self.pixel, self.disk = server, pixel, disk
        self.load = Load(pixel.listen)
        self.began = time.time()
        self.start = time.monotonic()
        self.done: list[tuple[float, str]] = []
        self.samples: dict[int, list[Size]] = {}
        self._draw = random.Random(SEED)

    def run(self) -> None:
        """Go through all faults, and sample the processes in between."""
        faults = sorted(self._plan())
        while (now := time.monotonic() - self.start) < SECONDS:
            if faults and faults[0].at <= now:
                fault = faults.pop(0)
                self.done.append((now, fault.name))
                print(f"{now:7.1f} s: {fault.name}", flush=True)
                fault.act()
                continue
            self._sample()
            time.sleep(min(1.0, max(0.0, faults[0].at - now) if faults else 1.0))
        assert not faults, [fault.name for fault in faults]

    def _sample(self) -> None:
        for pid in (self.pixel.pid, *children(self.pixel.pid)):
            if size := size_of(pid):
                self.samples.setdefault(pid, []).append(size)

    def _plan(self) -> list[Fault]:
        draw = self._draw
        calm = SECONDS * (1 - CALM)
        faults, spans = [], []
        # The long ones first: an outage that makes hits late, then a rest of the task, every half an hour.
        for period in range(max(1, SECONDS // 1800)):
            begin = self._before_an_edge(period * 1800 + 15)
            end = begin + OUTAGE
            spans.append((begin, end))
            faults += [
                Fault(begin, "InfluxDB stopped for long", self.server.stop_process),
                Fault(end, "InfluxDB started again", self.server.start_process),
                Fault(end + 8, "task disabled", partial(self._task, "disable")),
                Fault(end + 8 + REST, "task enabled", partial(self._task, "enable")),
            ]
        short = [("InfluxDB kill -9", self.server.kill), ("InfluxDB stopped", self.server.stop_process)]
        moments = self._moments(6, SECONDS - 30, 35, 55)
        away = [at for at in moments if all(at + 12 < low or at > high + 3 for low, high in spans)]
        for count, at in enumerate(away):
            name, end_it = short[count % len(short)]
            faults.append(Fault(at, name, partial(self._away, end_it)))
        kinds: list[tuple[str, Callable[[], None]]] = [
            ("pixel kill -9", partial(self._restart, self.pixel.kill)),
            ("pixel SIGTERM", partial(self._restart, self.pixel.stop)),
            ("helper kill -9", self._kill_helper),
        ]
        order: list[tuple[str, Callable[[], None]]] = []
        for at in self._moments(8, calm, 12, 24):
            # Each of them comes once in three.
            order = order or draw.sample(kinds, len(kinds))
            name, act = order.pop()
            faults.append(Fault(at, name, act))
        if self.disk is not None:
            at = draw.uniform(0.2, 0.6) * SECONDS
            # It takes its time, and the long outages have to begin when they have to.
            at += 30 if any(low - 30 < at < low for low, _ in spans) else 0
            faults.append(Fault(at, "disk full", self._fill_disk))
        return faults

    def _moments(self, first: float, last: float, least: float, most: float) -> list[float]:
        found, at = [], first + self._draw.uniform(0, least)
        while at < last:
            found.append(at)
            at += self._draw.uniform(least, most)
        return found

    def _before_an_edge(self, earliest: float) -> float:
        """The first moment from `earliest` on at which a window has `LEAD` seconds left."""
        edge = math.ceil((self.began + earliest + LEAD) / EVERY) * EVERY
        return edge - LEAD - self.began

    def _restart(self, end: Callable[[], None]) -> None:
        with self.load.wary():
            end()
            time.sleep(self._draw.uniform(0.0, 0.5))
            self.pixel.start()

    def _kill_helper(self) -> None:
        for helper in children(self.pixel.pid):
            subprocess.run(["kill", "-9", str(helper)], check=True)

    def _away(self, end: Callable[[], None]) -> None:
        end()
        time.sleep(self._draw.uniform(1.0, 4.0))
        self.server.start_process()

    def _fill_disk(self) -> None:
        assert self.disk is not None
        with self.load.wary():
            ballast = self.disk / "ballast"
            room = os.statvfs(self.disk)
            # The pixel goes on writing, and may have taken some of it meanwhile.
            with suppress(OSError):
                ballast.write_bytes(b"\0" * (room.f_bavail * room.f_frsize - 64 * 1024))
            until(lambda: self.pixel.metrics()["shed_total"] > 100, "shed hits")
            ballast.unlink()
            until(lambda: self.pixel.metrics()["journal_failing"] == 0, "room again")

    def _task(self, what: str) -> None:
        well(self.pixel, "task", what)


def well(pixel: PixelServer, *words: str) -> Result:
    """A command of pfa-flux with the pixel's settings, which ends well."""
    done = pfa_flux(*words, "--config", str(pixel.config))
    assert done.code == 0, done
    return done


# Others who write


class Others:
    """An analytics whose page loads come late now and then, and a second task that downsamples in its own way."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace, self._end = workspace, threading.Event()
        self._draw = random.Random(SEED + 1)
        self._waiting: list[tuple[float, str]] = []
        self.loads = self.late = self.foreign = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        second = 0
        while not self._end.wait(1.0):
            second += 1
            for domain in DOMAINS:
                at, late = time.time(), self._draw.random() < 0.2
                line = f"pf_analytics_test,domain={domain},page=/{second % 7} response_time=5i {int(at * 1e9)}"
                self._waiting.append((at + self._draw.uniform(EVERY, 3 * EVERY) * late, line))
                self.late += late
            self._flush(time.time())
            # Not before there are raw rows: those of before nobody can judge.
            if second > 120 and second % 20 == 0:
                self._write_foreign()

    def _flush(self, now: float) -> None:
        """Write what is due; what the server does not take is kept, as Telegraf does."""
        due = [line for at, line in self._waiting if at <= now]
        with suppress(Exception):
            self._workspace.client.write(self._workspace.raw, due)
            self._waiting = [each for each in self._waiting if each[0] > now]
            self.loads += len(due)

    def _write_foreign(self) -> None:
        end = int(time.time()) // EVERY * EVERY * 10**9
        tags = f"domain={DOMAINS[0]},host=other,page=/0/1"
        lines = [
            f"pf_analytics_pixel,{tags},scheme=https hitcount=7i {end}",
            f"pf_analytics_loads,{tags} loadcount=3i {end}",
        ]
        with suppress(Exception):
            self._workspace.client.write(self._workspace.rollup, lines)
            self.foreign += 1

    def stop(self) -> None:
        """Write what is left, and end."""
        self._end.set()
        self._thread.join(30)
        self._flush(math.inf)
        assert not self._waiting


# What is stored


def stored(workspace: Workspace) -> tuple[dict[str, int], dict[str, int]]:
    """Raw hits and downsampled ones, by page."""
    raw = {
        row["page"]: int(row["n"]) for row in rows(workspace, f'SELECT count("count") AS n FROM "{HITS}" GROUP BY page')
    }
    database, _, policy = workspace.rollup.partition("/")
    text = 'SELECT sum("hitcount") AS n FROM "pf_analytics_pixel" GROUP BY page'
    found = workspace.client.influxql(text, db=database, rp=policy)
    return raw, {row["page"]: int(row["n"]) for row in found}


def judged(pages: Mapping[str, Fate], raw: Mapping[str, int]) -> tuple[int, int, int]:
    """Hits lost, hits too many, and hits that were cut off and kept all the same."""
    lost = doubled = kept = 0
    for page in pages.keys() | raw.keys():
        fate, found = pages.get(page, Fate()), raw.get(page, 0)
        lost += max(0, fate.counted - found)
        kept += min(fate.cut, max(0, found - fate.counted))
        doubled += max(0, found - fate.counted - fate.cut)
    return lost, doubled, kept


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path | None]:
    """A small disk, where we may make one."""
    if os.geteuid() != 0:
        print("not root: no small disk can be made, and none is filled")
        yield None
        return
    program("mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=700", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_whatever_fails_every_hit_is_stored_and_downsampled_once_and_nothing_grows(
    tmp_path: Path, disk: Path | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as stack:
        stack.enter_context(capsys.disabled())
        server = stack.enter_context(start("influxdb-2.7"))
        workspace = Workspace(server)
        # The server goes with all its buckets.
        stack.callback(shutil.rmtree, workspace.folder, ignore_errors=True)
        given: dict[str, Any] = {name: value for name, value in workspace.settings().items() if name != "data_dir"}
        pixel = PixelServer(
            tmp_path / "pixel",
            pixel={"domains": list(DOMAINS), "max_pages": 10_000_000},
            task={"every": f"{EVERY // 60}m", "offset": f"{OFFSET}s", "lookback": 1},
            data_dir=str((disk or tmp_path) / "data"),
            timeout=5,
            **given,
        )
        well(pixel, "install-task")
        stack.enter_context(pixel)
        print(f"\nsoak: {SECONDS} s, seed {SEED}")
        soak = Soak(server, pixel, disk)
        stack.callback(soak.load.close)
        others = Others(workspace)
        stack.callback(others._end.set)
        soak.run()
        tally = soak.load.end()
        others.stop()
        until(lambda: pixel.metrics()["journal_rows"] == 0, "an empty spool")
        assert pixel.metrics()["quarantined"] == 0

        # The last window is due, and serve has made its pass after it.
        time.sleep(max(0.0, math.ceil(time.time() / EVERY) * EVERY + EVERY + OFFSET + 25 - time.time()))
        since = f"{SECONDS + 600}s"
        figures = [figures_from(pixel, source) for source in ("raw", "rollup")]
        status = json.loads(pfa_flux("task", "status", "--format", "json", "--config", str(pixel.config)).out)
        # What has to be done then, a user does.
        repaired = well(pixel, "task", "repair")
        filled = well(pixel, "task", "backfill", "--start", since)
        verified = well(pixel, "task", "verify", "--start", since)
        raw, rollup = stored(workspace)
        lost, doubled, kept = judged(tally.pages, raw)
        calm = time_of_calm(soak)
        serving, helper = (growth(soak, pid, calm) for pid in (pixel.pid, *children(pixel.pid)))
        summary(soak, tally, raw, rollup, (lost, doubled, kept), {"pixel": serving, "helper": helper})
        for name, each in {"repair": repaired, "backfill": filled, "verify": verified}.items():
            print(f"pfa-flux task {name}:\n{each.out.rstrip()}")
        print(f"page loads {others.loads}, of them late {others.late}; rows of a second task {2 * others.foreign}")
        print(f"windows mended by passes: hits {status['mended_windows']}, loads {status['loads']['mended_windows']}")

        assert tally.odd == Counter()
        assert {page: fate for page, fate in tally.pages.items() if fate.cut and not page.startswith("/once/")} == {}
        assert {page: fate for page, fate in tally.pages.items() if page.startswith("/once/") and fate.sent > 1} == {}
        assert (lost, doubled) == (0, 0)
        assert sum(raw.values()) == sum(fate.counted for fate in tally.pages.values()) + kept
        assert rollup == raw
        # Figures from windows are those of raw data, with rows of the second task among them.
        assert others.foreign > 5
        assert figures[0] == figures[1]
        # The faults were such as to need it: passes have mended windows of both sides.
        assert status["mended_windows"] > 0
        assert status["loads"]["mended_windows"] > 0
        for grown in (serving, helper):
            assert grown.memory_at_last - grown.memory <= MOST_GROWTH
            assert grown.handles_at_last == grown.handles


def figures_from(pixel: PixelServer, source: str) -> list[tuple[str, int, int]]:
    """Hits and page loads by domain of all windows that passes have compared."""
    stop = (int(time.time()) // EVERY - 2) * EVERY
    stop_at = datetime.fromtimestamp(stop, UTC).isoformat()
    start_at = datetime.fromtimestamp(stop - (SECONDS + 600) // EVERY * EVERY, UTC).isoformat()
    done = well(pixel, "blocked-ratio", "--start", start_at, "--stop", stop_at, "--source", source, "--format", "json")
    return [(row["domain"], row["hits"], row["js"]) for row in json.loads(done.out)["rows"]]


def time_of_calm(soak: Soak) -> float:
    """When the processes that run at the end had been left alone for long enough to be compared with themselves."""
    last = max(at for at, name in soak.done if name.startswith(("pixel", "helper")))
    return soak.start + last + SETTLED


def growth(soak: Soak, pid: int, since: float) -> Growth:
    """Growth of a process since a moment."""
    return Growth.over([each for each in soak.samples[pid] if each.at >= since])


def summary(
    soak: Soak,
    tally: Tally,
    raw: Mapping[str, int],
    rollup: Mapping[str, int],
    verdict: tuple[int, int, int],
    sizes: Mapping[str, Growth],
) -> None:
    """The table of the run."""
    fates = list(tally.pages.values())
    counted, cut = sum(fate.counted for fate in fates), sum(fate.cut for fate in fates)
    lost, doubled, kept = verdict
    lines = [
        ("load", f"{SECONDS} s, {CLIENTS} connections, {CLIENTS * RATE:.0f} hits/s, {len(tally.pages):,} pages"),
        *((f"fault: {name}", f"{count}") for name, count in sorted(Counter(name for _, name in soak.done).items())),
        ("hits sent", f"{sum(fate.sent for fate in fates):,}"),
        ("hits answered as counted", f"{counted:,}"),
        ("hits answered as shed (disk full)", f"{sum(fate.shed for fate in fates):,}"),
        ("hits cut off without an answer", f"{cut:,}, of them kept {kept:,}"),
        ("raw points", f"{sum(raw.values()):,}"),
        ("sum of downsampled rows", f"{sum(rollup.values()):,}"),
        ("lost", f"{lost:,}"),
        ("doubled", f"{doubled:,}"),
        *(
            (
                f"{name}: first and last quarter of the calm",
                f"{g.memory:,.0f} and {g.memory_at_last:,.0f} KiB, {g.handles:.0f} and {g.handles_at_last:.0f} handles",
            )
            for name, g in sizes.items()
        ),
    ]
    for name, value in lines:
        print(f"| {name:45} | {value} |")
