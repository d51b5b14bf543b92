"""The helper process: the shipper and the housekeeper, away from the event loop that answers hits.

It is given its settings on standard input, tells what it has shipped on standard output, a JSON object a line, and
ends when its standard input does: so it never outlives the process that serves, even if that is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pfa_flux.hits.order import Order

log = logging.getLogger("pfa_flux")

_START = "from pfa_flux.hits.worker import main; main()"
_RESTART_SECONDS = 5.0
_GRACE = 10.0
_NICE = 10


class Worker:
    """The process that serves, as it sees its helper: started again whenever it ends before its time."""

    def __init__(self, order: Callable[[], Order], told: Callable[[dict[str, Any]], None]) -> None:
        self._order, self._told = order, told
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self.restarts = 0

    async def run(self) -> None:
        """Keep it running until `stop`."""
        while not self._stopping:
            try:
                process = await self._start()
            except OSError as error:
                log.error("the helper process cannot be started: %s", error)
                await asyncio.sleep(_RESTART_SECONDS)
                continue
            if self._stopping:
                # It was told to stop before there was anything to stop.
                await self._finish(process)
            assert process.stdout is not None
            while text := await process.stdout.readline():
                # A line that its end has cut off says nothing.
                if text.endswith(b"\n"):
                    self._told(json.loads(text))
            status = await process.wait()
            if not self._stopping:
                self.restarts += 1
                log.error("the helper process ended with %s and is started again", status)
                await asyncio.sleep(_RESTART_SECONDS if self.restarts > 1 else 0)

    async def _start(self) -> asyncio.subprocess.Process:
        order = self._order()
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-c",
            _START,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=() if order.lock is None else (order.lock,),
            # A Ctrl-C at the terminal is for the process that serves. No session of its own: Linux shares the processor
            # out by sessions, and only within one does it matter that the helper is the nicer of the two.
            process_group=0,
        )
        assert process.stdin is not None
        data = pickle.dumps(order)
        process.stdin.write(len(data).to_bytes(4, "big") + data)
        return process

    def restart(self) -> None:
        """End it, so that it is started again: its file was replaced."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    def expect_end(self) -> None:
        """It is not started again when it ends: a signal to all processes of a service reaches it, too."""
        self._stopping = True

    async def stop(self) -> None:
        """Let it finish what it is doing, and end."""
        self._stopping = True
        if self._process is not None:
            await self._finish(self._process)

    async def _finish(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _GRACE)
        except TimeoutError:
            process.kill()
            await process.wait()


def main() -> None:
    """The helper process."""
    logging.basicConfig(format="pfa-flux: %(message)s", level=logging.INFO, stream=sys.stderr)
    # Whoever waits for a GIF comes first. A sandbox may forbid even that.
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    source = sys.stdin.buffer
    order: Order = pickle.loads(source.read(int.from_bytes(source.read(4), "big")))
    ended = threading.Event()
    jobs = [threading.Thread(target=_guarded, args=(job, order, ended.wait), daemon=True) for job in _jobs(order)]
    for job in jobs:
        job.start()
    source.read()
    ended.set()
    # What is under way may finish; a write that the server does not answer is repeated at the next start.
    deadline = time.monotonic() + _GRACE / 2
    for job in jobs:
        job.join(max(0.0, deadline - time.monotonic()))
    sys.stderr.flush()
    os._exit(0)


_Job = Callable[[Order, Callable[[float], bool]], None]


def _jobs(order: Order) -> list[_Job]:
    return [_ship, _keep_house] if order.settings.url else [_keep_house]


def _guarded(job: _Job, order: Order, wait: Callable[[float], bool]) -> None:
    """A job that breaks takes the process with it, which is then started again."""
    try:
        job(order, wait)
    except BrokenPipeError:
        os._exit(1)
    except BaseException:
        log.exception("the helper process fails")
        os._exit(1)


def _ship(order: Order, wait: Callable[[float], bool]) -> None:
    from pfa_flux.hits.shipper import Shipped, Shipper
    from pfa_flux.hits.spool import SpoolReader

    def tell(done: Shipped) -> None:
        sys.stdout.write(json.dumps(asdict(done)) + "\n")
        sys.stdout.flush()

    shipper = Shipper(order.settings, SpoolReader(order.settings.data_dir), tell, wait)
    shipper.run()
    shipper.close()


def _keep_house(order: Order, wait: Callable[[float], bool]) -> None:
    from pfa_flux.hits.housekeeper import Housekeeper

    housekeeper = Housekeeper(
        order.settings,
        wait,
        lock=order.lock,
        newest_series=order.newest_series,
        accept_clock=order.accept_clock,
    )
    housekeeper.run()
