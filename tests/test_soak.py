"""A steady load for an hour while servers are killed, a disk fills up and the task rests: nothing is lost or doubled.

The load comes from a process of its own, over connections that stay open. Each hit has a page of its client and its
minute, so that what is stored can be held against what was answered, page by page. Before a fault that can cut
requests off, or make the pixel shed them, all clients change to pages that are each asked for once: what became of
a hit whose answer never came is then known exactly.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli import pfa_flux
from tests.engines import Workspace, start
from tests.engines.process import children
from tests.pixel_server import PixelServer
from tests.soak_faults import Growth, Soak, well
from tests.soak_load import (
    CLIENTS,
    DISK_MIB,
    DOMAINS,
    EVERY,
    MOST_GROWTH,
    OFFSET,
    RATE,
    SECONDS,
    SEED,
    SETTLED,
    Fate,
    Tally,
)
from tests.stored import HITS, rows, until
from tests.webserver import program

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
