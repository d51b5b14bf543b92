"""The helper process: the shipper and the housekeeper, away from the event loop that answers hits.

It is given its settings on standard input, tells what it has shipped on what was its standard output, a JSON object a
line, and ends when its standard input does: so it never outlives the process that serves, even if that is killed.
Lines are bounded on both sides. What is no message, whoever wrote it, is left out and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import pickle
import sqlite3
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pfa_flux.foreign import place
from pfa_flux.hits.order import Order

log = logging.getLogger("pfa_flux")

_START = "from pfa_flux.hits.worker import main; main()"
_RESTART_SECONDS = 5.0
_GRACE = 10.0
_NICE = 10
LONGEST_LINE = 64 * 1024
"""Bytes of a message, with its newline."""
_LONGEST_WORDS = 1_000
"""Characters of a text within a message."""
_LATELY = 60.0
_LOUD_EVERY = 60.0


class Worker:
    """The process that serves, as it sees its helper: started again whenever it ends before its time."""

    def __init__(self, order: Callable[[], Order], told: Callable[[dict[str, Any]], None]) -> None:
        self._order, self._told = order, told
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._ended: deque[float] = deque(maxlen=100)
        self._loud = -_LOUD_EVERY
        self.restarts = 0
        self.garbled = 0
        """Lines that were no message."""

    @property
    def restarts_lately(self) -> int:
        """Times that it was started again in the last minute."""
        now = time.monotonic()
        return sum(now - moment < _LATELY for moment in self._ended)

    async def run(self) -> None:
        """Keep it running until `stop`."""
        while not self._stopping:
            try:
                status = await self._live()
            except Exception as error:
                if self._stopping:
                    raise
                status = place(error)
                if self._process is not None and self._process.returncode is None:
                    self._process.kill()
                    await self._process.wait()
            if not self._stopping:
                self.restarts += 1
                self._ended.append(time.monotonic())
                log.error("the helper process ended with %s and is started again", status)
                await asyncio.sleep(_RESTART_SECONDS if self.restarts > 1 else 0)

    async def _live(self) -> int | str:
        """One life of it. Returns what it ended with."""
        try:
            process = await self._start()
        except OSError as error:
            return f"no start: {error}"
        if self._stopping:
            # It was told to stop before there was anything to stop.
            await self._finish(process)
        assert process.stdout is not None
        lines = Lines(LONGEST_LINE)
        while data := await process.stdout.read(LONGEST_LINE):
            for text in lines.feed(data):
                self._hear(text)
        if not self._stopping:
            # It has nothing to say any more; so it ends, or is made to.
            try:
                await asyncio.wait_for(process.wait(), _RESTART_SECONDS)
            except TimeoutError:
                process.kill()
        return await process.wait()

    def _hear(self, text: bytes | None) -> None:
        """A line of it; None for one that was too long."""
        try:
            found = json.loads(text or b"")
            if not isinstance(found, dict):
                raise TypeError
            self._told(found)
        except Exception as error:
            self.garbled += 1
            if time.monotonic() - self._loud >= _LOUD_EVERY:
                self._loud = time.monotonic()
                log.error("the helper process said what is no message (%s): left out, %d by now",
                          place(error), self.garbled)  # fmt: skip

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


class Lines:
    """Bytes cut into lines of a bounded length."""

    def __init__(self, longest: int) -> None:
        self._longest, self._rest, self._skipping = longest, b"", False

    def feed(self, data: bytes) -> list[bytes | None]:
        """Lines that are complete now, without their ends; None for one that was too long. The last one waits."""
        *whole, rest = (self._rest + data).split(b"\n")
        found: list[bytes | None] = []
        for text in whole:
            if self._skipping or len(text) >= self._longest:
                found.append(None)
            else:
                found.append(text)
            self._skipping = False
        if self._skipping or len(rest) >= self._longest:
            self._skipping, rest = True, b""
        self._rest = rest
        return found


def main() -> None:
    """The helper process."""
    logging.basicConfig(format="pfa-flux: %(message)s", level=logging.INFO, stream=sys.stderr)
    # It would quote what a server says, with a traceback; errors are told by those who ask.
    for name in ("urllib3.connection", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Whoever waits for a GIF comes first. A sandbox may forbid even that.
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    # What a library prints goes to the log, and not between the messages.
    teller = Teller(os.dup(1))
    os.dup2(2, 1)
    source = sys.stdin.buffer
    order: Order = pickle.loads(source.read(int.from_bytes(source.read(4), "big")))
    ended = threading.Event()
    jobs = [threading.Thread(target=_guarded, args=(job, order, ended, teller), daemon=True) for job in _jobs(order)]
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


class Teller:
    """Tells the process that serves, for any thread."""

    def __init__(self, handle: int) -> None:
        self._handle, self._lock = handle, threading.Lock()

    def tell(self, found: dict[str, Any]) -> None:
        """Tell something: a line. Texts are cut, so that it is never too long.

        Raises:
            BrokenPipeError: nobody listens any more.
        """
        text = json.dumps(_bounded(found)).encode() + b"\n"
        with self._lock:
            while text:
                text = text[os.write(self._handle, text) :]


def _bounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _bounded(each) for key, each in value.items()}
    return value[:_LONGEST_WORDS] if isinstance(value, str) else value


_Job = Callable[[Order, threading.Event, Teller], None]


def _jobs(order: Order) -> list[_Job]:
    return [_ship, _keep_house] if order.settings.url else [_keep_house]


def _guarded(job: _Job, order: Order, ended: threading.Event, teller: Teller) -> None:
    """A job that breaks, or ends before its time, takes the process with it, which is then started again."""
    from pfa_flux.engines.patience import NONE, patience

    try:
        # A job waits between its tries, and hears there that it is to end.
        with patience(NONE):
            job(order, ended, teller)
    except BrokenPipeError:
        os._exit(1)
    except BaseException as error:
        log.error("the helper process fails: %s", place(error))
        os._exit(1)
    if not ended.is_set():
        os._exit(1)


def _ship(order: Order, ended: threading.Event, teller: Teller) -> None:
    from pfa_flux.hits.shipper import Shipper
    from pfa_flux.hits.spool import SpoolReader

    try:
        reader = SpoolReader(order.settings.data_dir)
        shipper = Shipper(order.settings, reader, lambda done: teller.tell(asdict(done)), ended.wait)
        shipper.run()
        shipper.close()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        # Not single rows, but the file. Who serves sets it aside, and starts another helper on a new one.
        teller.tell({"broken_file": str(error)})
        ended.wait(_GRACE)
        raise


def _keep_house(order: Order, ended: threading.Event, teller: Teller) -> None:
    from pfa_flux.hits.housekeeper import Housekeeper

    while True:
        housekeeper = Housekeeper(
            order.settings,
            ended.wait,
            lock=order.lock,
            newest_series=order.newest_series,
            accept_clock=order.accept_clock,
            tell=teller.tell,
        )
        try:
            housekeeper.run()
        except OSError:
            # Nobody listens, or the disk fails: then the process is not as it was started.
            raise
        except Exception as error:
            # Hits are shipped on, whatever becomes of windows.
            log.error("what is due could not be done: %s", place(error))
            teller.tell({"failed": "housekeeper"})
            if ended.wait(_LATELY):
                return
        else:
            return
