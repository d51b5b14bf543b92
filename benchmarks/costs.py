"""Measures the costs of a hit, a row, a series, a page and a connection.

The hits are spread over a day, and over one domain with 200 pages in each of the three networks. InfluxDB is set to
write its caches to disk and to compact soon after the last write, so that its files reach their final size. Memory is
resident memory by the kernel's count. Linux only.
"""

from __future__ import annotations

import gzip
import os
import random
import re
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pfa_flux import Analytics, Point
from pfa_flux import settings as pfa_settings
from pfa_flux.engines.influxdb.lineprotocol import line
from pfa_flux.engines.sqlite import STORE_NAME, Embedded
from pfa_flux.helper.delivery import MOST_POINTS
from pfa_flux.journal.embedded import StoreJournal
from pfa_flux.journal.points import point_of
from pfa_flux.journal.spool import SPOOL_NAME, Spool
from pfa_flux.pixel.hit import View
from pfa_flux.pixel.pages import Page
from pfa_flux.tasks.task_flux import task_flux
from pfa_flux.times import NS, format_instant
from pfa_flux.windows.recompute import recompute
from pfa_flux.windows.rollup import Rollup
from pfa_flux.windows.spec import TaskSpec
from tests.engines import Server, start
from tests.engines.process import Process, children
from tests.load import connect, get, read_answers, send
from tests.pixel_server import PixelServer

DAY = 86400 * NS
DOMAINS = ("example.com", f"{'a' * 55}d.onion", "example.i2p")
PAGES = 200
COLD = {
    # InfluxDB 1.8 and 2.7: time without writes after which a cache is written to disk, and a shard is fully compacted.
    "INFLUXDB_DATA_CACHE_SNAPSHOT_WRITE_COLD_DURATION": "2s",
    "INFLUXDB_DATA_COMPACT_FULL_WRITE_COLD_DURATION": "2s",
    "INFLUXD_STORAGE_CACHE_SNAPSHOT_WRITE_COLD_DURATION": "2s",
    "INFLUXD_STORAGE_COMPACT_FULL_WRITE_COLD_DURATION": "2s",
}


@dataclass
class Costs:
    """Measured costs. Names that end with `us` are CPU time in µs, with `kib` KiB of memory; other sizes are bytes.

    Attributes:
        spool_1: bytes of a waiting hit in the spool, with one hit in a commit.
        spool_32: the same with 32 hits in a commit.
        raw_row: bytes of a raw row in the embedded store.
        rollup_row: bytes of a downsampled row there.
        point_27: bytes of a point on InfluxDB 2.7's disk.
        point_18: the same for InfluxDB 1.8.
        series_27: KiB of a series in InfluxDB 2.7's memory.
        series_18: the same for InfluxDB 1.8.
        wire: bytes of a point in a compressed write.
        plain: the same before compression.
        shipping_us: CPU time of the helper for a point.
        influxdb_us: CPU time of InfluxDB 2.7 for a point.
        catching_up: points a second from a spool into InfluxDB 2.7.
        window_27_us: time in which InfluxDB 2.7 downsamples a raw row.
        window_embedded_us: the same for the embedded store.
        serving_kib: memory of the serving process, idle.
        helper_kib: memory of its helper, idle.
        connection_kib: memory of the serving process for a connection.
        page_kib: memory of the serving process for a page.
        page_helper_kib: memory of the helper for a page.
    """

    spool_1: float = 0.0
    spool_32: float = 0.0
    raw_row: float = 0.0
    rollup_row: float = 0.0
    point_27: float = 0.0
    point_18: float = 0.0
    series_27: float = 0.0
    series_18: float = 0.0
    wire: float = 0.0
    plain: float = 0.0
    shipping_us: float = 0.0
    influxdb_us: float = 0.0
    catching_up: float = 0.0
    window_27_us: float = 0.0
    window_embedded_us: float = 0.0
    serving_kib: float = 0.0
    helper_kib: float = 0.0
    connection_kib: float = 0.0
    page_kib: float = 0.0
    page_helper_kib: float = 0.0


def views() -> list[View]:
    """A page view of each page of each domain, shuffled."""
    every = [View("hit", "https", domain, f"/blog/page-{page}") for domain in DOMAINS for page in range(PAGES)]
    random.Random(5).shuffle(every)
    return every


def day_of_hits(journal: Spool | StoreJournal, hits: int, size: int, stop: int) -> None:
    """Commit hits that are spread over the day before `stop`, `size` at a time."""
    pages, draw = [Page(view) for view in views()], random.Random(6)
    for done in range(0, hits, size):
        journal.commit(draw.choices(pages, k=min(size, hits - done)), stop - DAY + done * DAY // hits)


# Files of pfa-flux


def file_costs(costs: Costs, hits: int) -> None:
    """Measure the spool and the embedded store, by the size of their files after the log was written back."""
    now = time.time_ns()
    with tempfile.TemporaryDirectory() as folder:
        for size, count in ((1, hits // 10), (32, hits)):
            place = Path(folder) / str(size)
            spool = Spool(place, "normal", 1 << 40)
            day_of_hits(spool, count, size, now)
            spool.close()
            setattr(costs, f"spool_{size}", (place / SPOOL_NAME).stat().st_size / count)
        own = pfa_settings.load({"data_dir": str(Path(folder) / "store")}, environ={})
        journal = StoreJournal(own)
        day_of_hits(journal, hits, 32, now)
        journal.close()
        costs.raw_row = (own.data_dir / STORE_NAME).stat().st_size / hits
        costs.window_embedded_us = embedded_window(own, hits, now)
        costs.rollup_row = rollup_bytes(replace(own, data_dir=Path(folder) / "rollup"), now)


def embedded_window(own: pfa_settings.Settings, hits: int, now: int) -> float:
    """Time in µs to downsample a raw row."""
    spec, store = TaskSpec.from_settings(own), Embedded(own)
    stop = spec.floor(now) - spec.width
    began = time.perf_counter()
    recompute(Rollup(store, spec), [(stop - 40 * spec.width, stop)])
    took = time.perf_counter() - began
    store.close()
    return took * 1e6 / (hits * 40 / 96)


def rollup_bytes(own: pfa_settings.Settings, now: int) -> float:
    """Bytes of a downsampled row, from two days in which each window has all pages."""
    spec, store = TaskSpec.from_settings(own), Embedded(own)
    tags = [{"domain": view.domain, "page": view.page, "scheme": view.scheme} for view in views()]
    ends = range(spec.floor(now) - 2 * DAY, spec.floor(now), spec.width)
    written = store.write(
        spec.rollup_bucket, (Point(spec.measurement, t, spec.field, 7, end) for end in ends for t in tags)
    )
    store.close()
    return (own.data_dir / STORE_NAME).stat().st_size / written


def write_costs(costs: Costs) -> None:
    """Measure a full write, compressed like the shipper's."""
    pages, draw, own = views(), random.Random(6), pfa_settings.load({}, environ={})
    second = time.time_ns() // NS * NS
    lines = [
        line(point_of(draw.choice(pages), own.schema, "5eed5eed5eed5eed", second + number // 500 * NS + number % 500))
        for number in range(MOST_POINTS)
    ]
    body = "\n".join(lines).encode()
    costs.plain, costs.wire = len(body) / MOST_POINTS, len(gzip.compress(body, compresslevel=1)) / MOST_POINTS


# InfluxDB


@contextmanager
def influxdb(name: str) -> Iterator[Server]:
    """A new server that soon writes its caches to disk and compacts."""
    before = dict(os.environ)
    os.environ.update(COLD)
    try:
        with start(name) as server:
            yield server
    finally:
        os.environ.clear()
        os.environ.update(before)


def pid_of(server: Server) -> int:
    """Id of the server's process."""
    (runner,) = server.runners
    if not isinstance(runner, Process) or runner.pid is None:
        raise SystemExit(f"{server.name} does not run as a process of this benchmark")
    return runner.pid


def memory_of(pid: int) -> int:
    """Resident memory of a process, KiB."""
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1])


def cpu_of(pid: int) -> float:
    """CPU time of a process since its start, µs."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) * 1e6 / os.sysconf("SC_CLK_TCK")


def data_bytes(server: Server) -> int:
    """Size of the server's compacted files, once its logs are empty and the files no longer change."""
    assert server.folder is not None
    root, seen = server.folder, -1
    deadline = time.monotonic() + 120
    while True:
        logs = sum(path.stat().st_size for path in root.rglob("*.wal"))
        size = sum(path.stat().st_size for path in root.rglob("*.tsm"))
        if (not logs and size == seen and size) or time.monotonic() > deadline:
            return size
        seen = size
        time.sleep(4)


def catch_up(server: Server, folder: Path, hits: int) -> dict[str, float]:
    """Ship the hits of a spool. Returns points a second, and CPU time of helper and server for a point, µs."""
    now = time.time_ns()
    data = folder / "data"
    spool = Spool(data, "normal", 1 << 40)
    day_of_hits(spool, hits, 32, now)
    spool.close()
    given: dict[str, Any] = {
        name: value for name, value in server.settings().items() if name in {"url", "token", "org"}
    }
    before = cpu_of(pid_of(server))
    pixel = PixelServer(folder, data_dir=str(data), **given)
    began = time.perf_counter()
    with pixel:
        while (shipped := pixel.metrics()["shipped_total"]) < hits:
            assert time.perf_counter() - began < 600, pixel.log
            time.sleep(0.1)
        took = time.perf_counter() - began
        (helper,) = children(pixel.pid)
        assert shipped == hits
        return {
            "rate": hits / took,
            "shipping": cpu_of(helper) / hits,
            "server": (cpu_of(pid_of(server)) - before) / hits,
        }


def window(server: Server, hits: int) -> float:
    """Time in µs in which the server downsamples a raw row: the task's text, for ten windows, with their writes."""
    own = pfa_settings.load(server.settings(), environ={})
    with Analytics(own) as analytics:
        spec = replace(analytics.task().spec, lookback=10)
    stop = spec.floor(time.time_ns()) - spec.width
    text = "\n".join(each for each in task_flux(spec).splitlines() if not each.startswith("option task"))
    assert text.count("now()") == 1
    text = text.replace("now()", f"time(v: {format_instant(stop)})") + "\n  |> group()\n  |> count()"
    times = []
    for _ in range(3):
        began = time.perf_counter()
        server.client.flux(text)
        times.append(time.perf_counter() - began)
    return min(times) * 1e6 / (hits * 10 / 96)


def series_kib(server: Server, count: int) -> float:
    """Memory of a series: points in new series, compared with as many points in one series."""
    second = time.time_ns() // NS * NS
    tags = "scheme=https,sess=5eed5eed5eed5eed,type=pixel"

    def lines(page: Callable[[int], str]) -> Iterable[str]:
        for number in range(count):
            where = f"domain=example.com,page={page(number)}"
            yield f"pf_analytics_test_pixel,{where},{tags} count=1i {second + number}"

    server.client.write("telegraf/autogen", lines(lambda _: "/one"))
    time.sleep(3)
    before = memory_of(pid_of(server))
    server.client.write("telegraf/autogen", lines(lambda number: f"/many/page-{number}"))
    time.sleep(3)
    return (memory_of(pid_of(server)) - before) / count


def influxdb_costs(costs: Costs, hits: int, series: int) -> None:
    """Measure both generations of InfluxDB."""
    for name, mark in (("influxdb-2.7", "27"), ("influxdb-1.8", "18")):
        print(name, file=sys.stderr, flush=True)
        with influxdb(name) as server, tempfile.TemporaryDirectory() as folder:
            rates = catch_up(server, Path(folder), hits)
            setattr(costs, f"point_{mark}", data_bytes(server) / hits)
            if mark == "27":
                costs.catching_up = rates["rate"]
                costs.shipping_us, costs.influxdb_us = rates["shipping"], rates["server"]
                costs.window_27_us = window(server, hits)
        with influxdb(name) as server:
            setattr(costs, f"series_{mark}", series_kib(server, series))


# The pixel's memory


def pixel_costs(costs: Costs, connections: int, pages: int) -> None:
    """Measure memory of the serving process and of its helper: idle, with connections, with pages."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, connections + 500), hard))
    with influxdb("influxdb-2.7") as server, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        given: dict[str, Any] = {
            name: value for name, value in server.settings().items() if name in {"url", "token", "org"}
        }
        pixel = stack.enter_context(PixelServer(Path(folder), pixel={"max_pages": 1_000_000}, **given))
        send(pixel.listen, [get()] * 1000)
        settle(pixel)
        (helper,) = children(pixel.pid)
        costs.serving_kib, costs.helper_kib = memory_of(pixel.pid), memory_of(helper)
        crowd: list[socket.socket] = []
        for _ in range(connections):
            each = stack.enter_context(closing(connect(pixel.listen)))
            each.sendall(get())
            assert read_answers(each, 1).counted == 1
            crowd.append(each)
        settle(pixel)
        costs.connection_kib = (memory_of(pixel.pid) - costs.serving_kib) / len(crowd)
        before = memory_of(pixel.pid), memory_of(helper)
        send(pixel.listen, (get(f"/blog/a-page-of-this-site-{number}") for number in range(pages)))
        settle(pixel)
        costs.page_kib = (memory_of(pixel.pid) - before[0]) / pages
        costs.page_helper_kib = (memory_of(helper) - before[1]) / pages
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def settle(pixel: PixelServer) -> None:
    """Wait until all hits are shipped."""
    while pixel.metrics()["journal_rows"]:
        time.sleep(0.1)
    time.sleep(2)
