"""The faults of the soak, when each happens, and how large the processes are meanwhile."""

from __future__ import annotations

import math
import os
import random
import re
import statistics
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from tests.cli import Result, pfa_flux
from tests.engines import Server
from tests.engines.process import children
from tests.pixel_server import PixelServer
from tests.soak_load import CALM, EVERY, LEAD, OUTAGE, REST, SECONDS, SEED, Load
from tests.stored import until

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
