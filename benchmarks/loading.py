"""The load for the pixel, from wrk with Chromium's headers, and the CPU time of processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.engines.process import stat_of

INFLUXDB = "influxdb-2.7"
GIF, LUA, EMBEDDED, UP, DOWN = (
    "nginx empty_gif", "nginx + Lua", "pfa-flux, embedded", "pfa-flux, InfluxDB up", "pfa-flux, InfluxDB down"
)  # fmt: skip
LIMITS = {32: (2.5, 2.0), 128: (2.0, 1.6)}
"""By number of connections: CPU time of a hit as a multiple of `empty_gif`'s, first the limit, then the aim."""
P99_AIM = 3.0
"""Aim for p99 above that of `empty_gif`, milliseconds."""
CALM_CONNECTIONS = 128
WARM_CONNECTIONS = 4
SETTLE_SECONDS = 120.0
_HEAD = (
    "GET /count.gif HTTP/1.1",
    "Host: stats.example.com",
    "Connection: keep-alive",
    'sec-ch-ua-platform: "Linux"',
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"',
    "sec-ch-ua-mobile: ?0",
    "Accept: image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Mode: no-cors",
    "Sec-Fetch-Dest: image",
    "Referer: https://example.com/blog/page-{page}",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-US,en;q=0.9",
)
REQUESTS = [("\r\n".join((*_HEAD, "", ""))).format(page=page) for page in range(200)]

_WRK = """
local requests = {{{requests}}}
local count = 0
function request()
  count = count % #requests + 1
  return requests[count]
end
{delay}
function done(summary, latency, every)
  local errors = summary.errors
  io.write(string.format("\\nRESULT %d %d %d %d\\n", summary.requests, summary.duration, latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""
# A random delay of whole milliseconds before each request, on average half of {most}.
_DELAY = "function delay() return math.floor(math.random() * {most} + math.random()) end"

# Cores, processes, CPU time


class Cores(NamedTuple):
    """The core of each process."""

    server: int
    load: int
    influxdb: int


@cache
def cores() -> Cores:
    """Choose from the cores that this process may use."""
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) < 2:
        raise SystemExit("this needs two cores: one for the servers, one for the load")
    return Cores(mine[0], mine[1], mine[2] if len(mine) > 2 else mine[1])


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Processes started in this context stay on the core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Cpu(NamedTuple):
    """CPU time, in µs."""

    user: float
    system: float

    @property
    def both(self) -> float:
        """User and system time together."""
        return self.user + self.system

    def __sub__(self, other: Cpu) -> Cpu:
        return Cpu(self.user - other.user, self.system - other.system)

    def per(self, count: int) -> Cpu:
        """CPU time divided by `count`."""
        return Cpu(self.user / max(count, 1), self.system / max(count, 1))


_TICK = 1e6 / os.sysconf("SC_CLK_TCK")


def cpu_of(pids: Sequence[int]) -> Cpu:
    """CPU time of processes since their start, including all threads."""
    stats = [stat for stat in map(stat_of, pids) if stat]
    return Cpu(sum(int(stat[11]) for stat in stats) * _TICK, sum(int(stat[12]) for stat in stats) * _TICK)


# The load


class Load(NamedTuple):
    """Results of wrk: requests answered with a status below 400, errors, answers a second, and p99 in µs."""

    answered: int
    errors: int
    rate: float
    p99: float


def load(address: str, connections: int, seconds: int, most_delay: float | None = None) -> Load:
    """Load a server. With `most_delay`, each connection waits up to that many milliseconds before each request."""
    delay = "" if most_delay is None else _DELAY.format(most=most_delay)
    script = _WRK.format(requests=",\n".join(json.dumps(each) for each in REQUESTS), delay=delay)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file, on_core(cores().load):
        file.write(script)
        file.flush()
        words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", file.name, f"http://{address}/count.gif"]
        text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    result = re.search(r"^RESULT (\d+) (\d+) (\d+) (\d+)$", text, re.MULTILINE)
    assert result is not None, text
    requests, duration, p99, errors = map(int, result.groups())
    return Load(requests - errors, errors, requests / duration * 1e6, p99)


def file_system() -> str:
    """Type of the file system that holds the data."""
    place = Path(tempfile.gettempdir()).resolve()
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    inside = [(len(point), kind) for _, point, kind, *_ in mounts if place.is_relative_to(point)]
    return max(inside)[1]
