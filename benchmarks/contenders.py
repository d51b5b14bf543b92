"""The servers that `benchmarks.pixel` compares: nginx, nginx with Lua, and pfa-flux in three configurations."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.loading import (
    DOWN,
    EMBEDDED,
    GIF,
    INFLUXDB,
    LUA,
    SETTLE_SECONDS,
    UP,
    Cpu,
    cores,
    cpu_of,
    on_core,
)
from pfa_flux.journal.spool import SPOOL_NAME
from tests.engines import Server, start
from tests.engines.process import Process, children, free_ports, wait_until_ready
from tests.pixel_server import PixelServer

_NGINX = """
{modules}
worker_processes 1;
daemon off;
pid "{folder}/pid";
error_log stderr emerg;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path "{folder}/body";
  proxy_temp_path "{folder}/proxy";
  fastcgi_temp_path "{folder}/fastcgi";
  uwsgi_temp_path "{folder}/uwsgi";
  scgi_temp_path "{folder}/scgi";
  {shared}
  server {{
    listen {address} backlog=4096;
    location = /count.gif {{
      {each}
      empty_gif;
    }}
  }}
}}
"""
_LUA_MODULES = "load_module modules/ndk_http_module.so;\nload_module modules/ngx_http_lua_module.so;"
# For each hit, a timer takes a connection from the pool, sends one line, and reads the answer. It repeats nothing. The
# limits of timers are the defaults: 1024 waiting and 256 running ones.
_LUA_SHARED = """
  init_by_lua_block {{
    function write_hit(premature, line)
      if premature then return end
      local socket = ngx.socket.tcp()
      socket:settimeout(10000)
      if not socket:connect("{host}", {port}) then return end
      socket:send("POST /api/v2/write?org={org}&bucket={bucket}&precision=ns HTTP/1.1\\r\\nHost: {host}\\r\\n" ..
        "Authorization: Token {token}\\r\\nContent-Length: " .. #line .. "\\r\\n\\r\\n" .. line)
      local status = socket:receive("*l")
      while true do
        local header = socket:receive("*l")
        if not header then return end
        if header == "" then break end
      end
      if status and status:find(" 204 ", 1, true) then socket:setkeepalive(60000, 256) else socket:close() end
    end
  }}
"""
_LUA_EACH = """
      rewrite_by_lua_block {
        local var = ngx.var
        local scheme, domain, page = (var.http_referer or ""):match("^(https?)://([^/?#]+)([^?#]*)")
        if domain then
          local sess = ngx.md5(var.connection .. "/" .. var.connection_requests .. "/" .. var.msec .. "/" .. var.pid)
          ngx.timer.at(0, write_hit, "pf_analytics_test_pixel,domain=" .. domain .. ",page=" .. page .. ",scheme=" ..
            scheme .. ",sess=" .. sess .. ",type=pixel count=1i " .. string.format("%d", ngx.now() * 1000) .. "000000")
        end
      }
"""
_BARE = """
import asyncio, sys
answer = bytes.fromhex(sys.argv[2])
class Bare(asyncio.BufferedProtocol):
    inbox = memoryview(bytearray(65536))
    def connection_made(self, transport): self.transport = transport
    def get_buffer(self, size): return self.inbox
    def buffer_updated(self, count): self.transport.write(answer)
async def main():
    server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await server.serve_forever()
asyncio.run(main())
"""
"""The least that a server on asyncio's event loop does: it reads, looks at nothing, and answers."""


@dataclass
class Contender:
    """A running server.

    Attributes:
        address: HOST:PORT.
        pid: id of the serving process.
        kept: returns the number of stored hits; None if it stores none.
        settle: waits until all accepted hits are stored.
        influxdb: the InfluxDB to which it writes.
        log: the journal's write-ahead log.
    """

    address: str
    pid: int
    kept: Callable[[], int] | None = None
    settle: Callable[[], None] = lambda: None
    influxdb: Server | None = None
    log: Path | None = None


@contextmanager
def listening(name: str, command: Sequence[str], folder: Path, address: str) -> Iterator[Process]:
    """A process started here that listens at an address."""
    host, _, port = address.rpartition(":")

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    process = Process(command, folder)
    with on_core(cores().server):
        process.start()
    try:
        wait_until_ready(name, process, answers)
        yield process
    finally:
        process.stop()


@contextmanager
def nginx(folder: Path, **parts: str) -> Iterator[Contender]:
    """Nginx with one worker. The CPU time is that of the worker."""
    program = shutil.which("nginx")
    if program is None:
        raise SystemExit("nginx is not installed")
    address = f"127.0.0.1:{free_ports(1)[0]}"
    config = folder / "nginx.conf"
    words = {"modules": "", "shared": "", "each": "", **parts}
    config.write_text(_NGINX.format(folder=folder, address=address, **words))
    with listening("nginx", [program, "-e", "stderr", "-c", str(config)], folder, address) as process:
        assert process.pid is not None
        (worker,) = children(process.pid)
        yield Contender(address, worker)


@contextmanager
def influxdb() -> Iterator[Server]:
    """A fresh InfluxDB."""
    with on_core(cores().influxdb):
        server = start(INFLUXDB)
    with server:
        yield server


def points_in(server: Server) -> int:
    """Number of hits in InfluxDB, by its own count."""
    text = 'SELECT count("count") FROM "pf_analytics_test_pixel"'
    rows = server.client.influxql(text, db="telegraf", rp="autogen")
    return int(rows[0]["count"]) if rows else 0


@contextmanager
def lua(folder: Path) -> Iterator[Contender]:
    """Nginx with Lua, which writes each hit to InfluxDB: the originally published design."""
    with influxdb() as server:
        host, _, port = server.url.removeprefix("http://").rpartition(":")
        where = {"host": host, "port": port, "org": server.org, "token": server.token, "bucket": "telegraf/autogen"}
        shared = _LUA_SHARED.format(**where)
        with nginx(folder, modules=_LUA_MODULES, shared=shared, each=_LUA_EACH) as contender:

            def settle() -> None:
                # Wait until the count in InfluxDB and the worker's CPU time stop changing. A tick of CPU time is some
                # hundred writes.
                seen: tuple[int, Cpu] | None = None
                while seen != (seen := (points_in(server), cpu_of([contender.pid]))):
                    time.sleep(1)

            contender.settle, contender.influxdb = settle, server
            contender.kept = lambda: points_in(server)
            yield contender


@contextmanager
def pixel(folder: Path, **settings: Any) -> Iterator[tuple[PixelServer, Contender]]:
    """`pfa-flux serve` with default settings, except those given."""
    server = PixelServer(folder, **settings)
    with on_core(cores().server):
        server.start()
    try:
        yield server, Contender(server.listen, server.pid)
    finally:
        server.stop()


def rows_in(path: Path, sql: str) -> Sequence[Any]:
    """First row of a query to a journal."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        row: Sequence[Any] = connection.execute(sql).fetchone()
        return row


@contextmanager
def embedded(folder: Path) -> Iterator[Contender]:
    """pfa-flux without InfluxDB. Stored hits are rows of the store."""
    with pixel(folder) as (server, contender):
        path = server.data_dir / "pfa-flux.sqlite3"
        contender.kept = lambda: int(rows_in(path, "SELECT count(*) FROM raw")[0])
        contender.log = path.with_name(f"{path.name}-wal")
        yield contender


@contextmanager
def up(folder: Path) -> Iterator[Contender]:
    """pfa-flux with InfluxDB. Stored hits are points in InfluxDB."""
    with influxdb() as influx, pixel(folder, url=influx.url, token=influx.token, org=influx.org) as (server, contender):

        def settle() -> None:
            deadline = time.monotonic() + SETTLE_SECONDS
            while (seen := server.metrics())["shipped_total"] < seen['hits_total{kind="hit"}']:
                assert time.monotonic() < deadline, f"hits are not shipped:\n{server.log}"
                time.sleep(0.2)

        contender.settle, contender.influxdb = settle, influx
        contender.kept = lambda: points_in(influx)
        contender.log = server.data_dir / f"{SPOOL_NAME}-wal"
        yield contender


@contextmanager
def down(folder: Path) -> Iterator[Contender]:
    """pfa-flux with an InfluxDB that does not answer. Stored hits are those in the spool."""
    with pixel(folder, url=f"http://127.0.0.1:{free_ports(1)[0]}") as (server, contender):
        path = server.data_dir / SPOOL_NAME
        contender.kept = lambda: int(rows_in(path, "SELECT coalesce(sum(length(pages)), 0) / 4 FROM turn")[0])
        contender.log = path.with_name(f"{path.name}-wal")
        yield contender


@contextmanager
def bare(answer: bytes, folder: Path) -> Iterator[Contender]:
    """An event loop that does nothing."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    words = [sys.executable, "-c", _BARE, address.rpartition(":")[2], answer.hex()]
    with listening("asyncio", words, folder, address) as process:
        assert process.pid is not None
        yield Contender(address, process.pid)


Kind = Callable[[Path], AbstractContextManager[Contender]]
KINDS: Mapping[str, Kind] = {GIF: nginx, LUA: lua, EMBEDDED: embedded, UP: up, DOWN: down}


@contextmanager
def running(kind: Kind) -> Iterator[Contender]:
    """A contender in its own folder."""
    with tempfile.TemporaryDirectory(prefix="pfa-flux-pixel-") as folder, kind(Path(folder)) as contender:
        yield contender
