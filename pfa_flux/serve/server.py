"""`pfa-flux serve`: the event loop that answers hits, its journal, and the helper process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import sqlite3
import stat
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pfa_flux import registry
from pfa_flux.errors import PfaFluxError, SettingsError, StoreError
from pfa_flux.foreign import place
from pfa_flux.helper.process import Worker
from pfa_flux.journal.base import CHECKPOINT_BYTES, JournalFile
from pfa_flux.journal.embedded import StoreJournal
from pfa_flux.journal.order import Order
from pfa_flux.journal.shipped import Shipped
from pfa_flux.journal.spool import SPOOL_NAME, Spool
from pfa_flux.pixel import regulars
from pfa_flux.pixel.connection import App, Connection, Limits, Roster
from pfa_flux.pixel.counter import Pixel
from pfa_flux.pixel.http import Parser
from pfa_flux.serve.admin import Admin
from pfa_flux.serve.health import State
from pfa_flux.settings import Settings
from pfa_flux.settings.pixel import MIB
from pfa_flux.settings.rules import Rules

log = logging.getLogger("pfa_flux")

_BACKLOG = 4096
_LOCK_PATIENCE = 5.0
"""Seconds to wait at the start until the helper of a killed process ends and releases the lock."""
_DRAIN = 5.0
_SPARE_FILES = 96
"""Files reserved for the admin address, the journal and the helper."""
_ADMIN_CONNECTIONS = 32
_FEWEST_CONNECTIONS = 32
_SAVED_EVERY = 5
"""Minutes between saves of pages for later days."""


def serve(settings: Settings, *, accept_clock: bool = False, ready: Callable[[str], None] = lambda _: None) -> None:
    """Serve the pixel until SIGTERM or SIGINT.

    Args:
        settings: all settings. `pixel` has the addresses to listen on, and the rules for counting.
        accept_clock: trust the clock at the start for removing raw rows, even if it looks wrong.
        ready: called with a text about each address, once the server listens on it.

    Raises:
        StoreError: the data directory is in use by another process, or cannot be used.
        PfaFluxError: the server cannot listen on an address.
    """
    # A core dump would contain current requests. A sandbox that forbids setting limits sets its own.
    with contextlib.suppress(OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    asyncio.run(_Server(settings, ready, accept_clock).run())


class _Server:
    def __init__(self, settings: Settings, ready: Callable[[str], None], accept_clock: bool) -> None:
        self._settings, self._ready, self._accept_clock = settings, ready, accept_clock
        pixel = settings.pixel
        self._journal = _journal(settings)
        limits = Limits(connections=_connections(pixel.max_connections))
        self._pixel = Pixel(Rules(pixel), self._journal, self._later, regulars=regulars.load(settings.data_dir))
        self._roster = Roster(Parser(self._pixel.paths), limits)
        admin = Limits(head=2, idle=10, connections=_ADMIN_CONNECTIONS, crowded_out=True)
        self._admin_roster = Roster(Parser(("/healthz", "/metrics")), admin)
        self._generation = 0
        self._worker = Worker(self._order, self._handle)
        self._state = State(self._pixel, self._journal, self._roster, self._worker, time.time(), {})
        self._checkpointer = ThreadPoolExecutor(1, "checkpoint")
        self._checkpointing: asyncio.Task[None] | None = None
        self._logged_shed = 0
        self._saved_in = self._pixel.pages.minute
        self._stop = asyncio.Event()
        self._sockets: list[Path] = []

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # nohup(1) ignores hang-ups; keep that.
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._stop.set)
        loop.set_exception_handler(_log_place)
        servers: list[asyncio.Server] = []
        worker = ticking = None
        try:
            self._warn()
            for address, app, roster in self._addresses():
                servers.append(await self._listen(address, app, roster))
            worker = asyncio.create_task(self._watched("helper", self._worker.run))
            ticking = asyncio.create_task(self._watched("tick", self._tick))
            # Existing objects stay until the end, so the garbage collector need not check them again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 50, 100)
            _notify("READY=1")
            await self._stop.wait()
            self._worker.expect_end()
            _notify("STOPPING=1")
        finally:
            await self._end(servers, worker, ticking)

    async def _end(
        self, servers: list[asyncio.Server], worker: asyncio.Task[None] | None, ticking: asyncio.Task[None] | None
    ) -> None:
        """Answer open requests, store counted hits, and close everything."""
        for server in servers:
            server.close()
        for path in self._sockets:
            path.unlink(missing_ok=True)
        self._roster.drain()
        self._admin_roster.drain()
        deadline = time.monotonic() + _DRAIN
        while self._roster.open and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        if ticking is not None:
            ticking.cancel()
        if worker is not None:
            await self._worker.stop()
            await worker
        if self._checkpointing is not None:
            await self._checkpointing
        self._pixel.flush()
        self._pixel.keep_prefetches(last=True)
        self._checkpointer.shutdown()
        regulars.save(self._settings.data_dir, self._pixel.pages.regulars())
        self._journal.close()

    def _addresses(self) -> list[tuple[str, App, Roster]]:
        pixel = self._settings.pixel
        addresses: list[tuple[str, App, Roster]] = [(pixel.listen, self._pixel, self._roster)]
        if pixel.admin:
            addresses.append((pixel.admin, Admin(self._state), self._admin_roster))
        return addresses

    async def _listen(self, address: str, app: App, roster: Roster) -> asyncio.Server:
        loop = asyncio.get_running_loop()

        def connection() -> Connection:
            return Connection(app, roster)

        paths = " ".join(self._pixel.paths) if app is self._pixel else "/healthz /metrics"
        try:
            if address.startswith("unix:"):
                path = Path(address.removeprefix("unix:"))
                _remove_stale(path)
                server = await loop.create_unix_server(connection, path, backlog=_BACKLOG)
                # nginx runs as another user. A port of the loopback interface is open to every user, too.
                path.chmod(0o666)
                self._sockets.append(path)
                self._ready(f"listening on {address} ({paths})")
                return server
            host, _, port = address.rpartition(":")
            server = await loop.create_server(connection, host.strip("[]"), int(port), backlog=_BACKLOG)
        except OSError as error:
            raise PfaFluxError(
                f"cannot listen on {address}: {error.strerror or error}",
                "Choose another address with --listen or --admin.",
            ) from error
        for each in server.sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        number = server.sockets[0].getsockname()[1]
        self._ready(f"listening on http://{host}:{number} ({paths})")
        return server

    def _later(self, seconds: float, call: Callable[[], None]) -> object:
        loop = asyncio.get_running_loop()
        return loop.call_later(seconds, call) if seconds else loop.call_soon(call)

    async def _watched(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run a background task until it is done. If it fails, log the error and restart it."""
        while True:
            try:
                return await run()
            except Exception as error:
                self._task_failed(name, error)
                await asyncio.sleep(1)

    def _task_failed(self, name: str, error: BaseException) -> None:
        log.error("the task %s failed and is restarted: %s", name, place(error))
        self._state.failed(name)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._roster.sweep()
            self._admin_roster.sweep()
            try:
                self._journal.tick()
            except (OSError, sqlite3.Error) as error:
                log.error("the journal cannot be maintained: %s", error)
                continue
            self._state.progress.update(self._journal.progress)
            self._update_pages()
            if self._journal.opened != self._generation:
                self._worker.restart()
            if self._journal.log_bytes > CHECKPOINT_BYTES and not self._checkpointing:
                self._checkpointing = asyncio.create_task(self._checkpoint())
            self._log_shed()

    def _update_pages(self) -> None:
        pages = self._pixel.pages
        pages.closed = not self._journal.room_for_pages
        another_minute = pages.update()
        self._pixel.keep_prefetches()
        if not another_minute:
            return
        self._journal.tidy(pages)
        if pages.minute >= self._saved_in + _SAVED_EVERY:
            self._saved_in = pages.minute
            self._checkpointer.submit(regulars.save, self._settings.data_dir, pages.regulars())

    async def _checkpoint(self) -> None:
        """Write the journal's log back outside the loop. Then let commits wait, and write back the rest of the log.

        A log restarts only once it is fully written back, and that never happens while commits continue.
        """
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._checkpointer, self._journal.checkpoint)
            self._pixel.on_hold = True
            await loop.run_in_executor(self._checkpointer, self._journal.checkpoint)
        except Exception as error:
            self._task_failed("checkpoint", error)
        finally:
            self._pixel.on_hold = False
            self._pixel.flush()
            self._checkpointing = None

    def _log_shed(self) -> None:
        """Log lost hits, at most once a minute."""
        shed = self._pixel.shed
        if (shed != self._logged_shed and int(time.monotonic()) % 60 == 0) or (shed and not self._logged_shed):
            log.error("%d hits were answered but lost: %s", shed - self._logged_shed, self._pixel.shed_why)
            self._logged_shed = shed

    def _order(self) -> Order:
        self._generation = self._journal.opened
        self._state.helper_starts()
        return replace(self._journal.order(self._settings), accept_clock=self._accept_clock)

    def _handle(self, message: dict[str, Any]) -> None:
        """Handle a message of the helper. Messages about a renamed file do not apply to the current one.

        Raises:
            Exception: the message is invalid; it has no effect.
        """
        if "upkeep" in message:
            self._state.upkeep.update(message["upkeep"])
        elif "failed" in message:
            self._state.failed(str(message["failed"])[:40])
        elif self._journal.opened != self._generation:
            return
        elif "broken_file" in message:
            self._journal.give_up(str(message["broken_file"]))
        else:
            report = asdict(Shipped(**message))
            self._journal.taken_over(report["upto"])
            self._state.shipped.update(report)

    def _warn(self) -> None:
        settings = self._settings
        if not settings.pixel.domains:
            log.warning(
                "every domain counts, up to %d of them: name yours with domains = [...] under [pixel]",
                settings.pixel.max_domains,
            )
        spool = settings.data_dir / SPOOL_NAME
        if not settings.url and spool.exists():
            log.warning("%s may contain hits for InfluxDB; they will be shipped when url is set again", spool)


def _journal(settings: Settings) -> JournalFile:
    pixel = settings.pixel
    try:
        target = registry.registration(settings.url).hits
        if not target:
            raise SettingsError(
                f"the pixel cannot write to {settings.url}",
                "Use the address of an InfluxDB for --url, or leave it out.",
            )
        if target == "engine":
            return StoreJournal(settings, patience=_LOCK_PATIENCE)
        return Spool(settings.data_dir, pixel.synchronous, pixel.spool_mib * MIB, patience=_LOCK_PATIENCE)
    except PfaFluxError:
        raise
    except Exception as error:
        raise StoreError(
            f"the journal in {settings.data_dir} cannot be used: {error}",
            "Check the directory's owner, permissions and free space (PFA_FLUX_DATA_DIR).",
        ) from error


def _connections(wanted: int) -> int:
    """Maximum number of connections: the setting, or fewer if the limit of open files is low.

    Raises:
        PfaFluxError: the limit of open files is too low.
    """
    files = _files()
    room = files - _SPARE_FILES
    remedy = "Raise the limit: LimitNOFILE= in a systemd unit, ulimit -n in a shell."
    if room < _FEWEST_CONNECTIONS:
        least = _SPARE_FILES + _FEWEST_CONNECTIONS
        raise PfaFluxError(f"this process may open {files} files, but needs at least {least}", remedy)
    if room < wanted:
        log.warning("this process may open %d files, so at most %d connections instead of %d. %s",
                    files, room, wanted, remedy)  # fmt: skip
    return min(wanted, room)


def _files() -> int:
    """Number of files that this process may open, after raising its limit as far as possible."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return soft


def _remove_stale(path: Path) -> None:
    """Remove the socket of a killed process.

    Raises:
        PfaFluxError: a process listens on it, or it is not a socket.
    """
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise PfaFluxError(f"{path} exists and is not a socket", "Choose another path with --listen unix:PATH.")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise PfaFluxError(f"another process listens on {path}", "Stop it, or choose another path with --listen unix:PATH.")


def _log_place(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log only the type and place of an error of the loop."""
    log.error("internal error: %s", place(context.get("exception")))


def _notify(state: str) -> None:
    """Tell systemd (https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier, contextlib.suppress(OSError):
        notifier.connect("\0" + address[1:] if address.startswith("@") else address)
        notifier.sendall(state.encode())
