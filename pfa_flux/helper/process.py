"""The helper process: the shipper and the housekeeper, outside the event loop that answers hits.

It reads its settings from standard input, sends messages on its original standard output, one JSON object a line, and
ends when its standard input ends. So it never outlives the serving process, even if that is killed. Both sides limit
the length of a line. The serving process counts and ignores anything that is not a message.
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
from pfa_flux.journal.order import Order

log = logging.getLogger("pfa_flux")

_START = "from pfa_flux.helper.process import main; main()"
_RESTART_SECONDS = 5.0
_GRACE = 10.0
_NICE = 10
LONGEST_LINE = 64 * 1024
"""Bytes of a message, with its newline."""
_LONGEST_TEXT = 1_000
"""Characters of a text within a message."""
_RECENT_SECONDS = 60.0
_LOG_EVERY = 60.0


class Worker:
    """The serving process's side of the helper: restarts it whenever it ends unexpectedly."""

    def __init__(self, order: Callable[[], Order], handle: Callable[[dict[str, Any]], None]) -> None:
        self._order, self._handle = order, handle
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._ended: deque[float] = deque(maxlen=100)
        self._logged = -_LOG_EVERY
        self.restarts = 0
        self.garbled = 0
        """Number of invalid lines."""

    @property
    def recent_restarts(self) -> int:
        """Number of restarts in the last minute."""
        now = time.monotonic()
        return sum(now - moment < _RECENT_SECONDS for moment in self._ended)

    async def run(self) -> None:
        """Keep the helper running until `stop`."""
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
                log.error("the helper process ended with %s and is restarted", status)
                await asyncio.sleep(_RESTART_SECONDS if self.restarts > 1 else 0)

    async def _live(self) -> int | str:
        """Run the helper once. Returns how it ended."""
        try:
            process = await self._start()
        except OSError as error:
            return f"an error at its start: {error}"
        if self._stopping:
            # `stop` was called before the helper ran.
            await self._finish(process)
        assert process.stdout is not None
        lines = Lines(LONGEST_LINE)
        while data := await process.stdout.read(LONGEST_LINE):
            for text in lines.feed(data):
                self._receive(text)
        if not self._stopping:
            # The helper has closed its output, so it should end soon.
            try:
                await asyncio.wait_for(process.wait(), _RESTART_SECONDS)
            except TimeoutError:
                process.kill()
        return await process.wait()

    def _receive(self, text: bytes | None) -> None:
        """Handle a line of the helper. None stands for a line that was too long."""
        try:
            message = json.loads(text or b"")
            if not isinstance(message, dict):
                raise TypeError
            self._handle(message)
        except Exception as error:
            self.garbled += 1
            if time.monotonic() - self._logged >= _LOG_EVERY:
                self._logged = time.monotonic()
                log.error("the helper process sent an invalid message (%s): ignored, %d so far",
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
            # Ctrl-C at the terminal must reach only the serving process. A new session would also do that, but Linux
            # schedules by session, so the helper's niceness would have no effect.
            process_group=0,
        )
        assert process.stdin is not None
        data = pickle.dumps(order)
        process.stdin.write(len(data).to_bytes(4, "big") + data)
        return process

    def restart(self) -> None:
        """End the helper, so that it restarts with the new file."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    def expect_end(self) -> None:
        """Do not restart the helper when it ends: a signal to all processes of a service also ends it."""
        self._stopping = True

    async def stop(self) -> None:
        """Let the helper finish its work, and end."""
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
    """Splits bytes into lines of limited length."""

    def __init__(self, longest: int) -> None:
        self._longest, self._rest, self._skipping = longest, b"", False

    def feed(self, data: bytes) -> list[bytes | None]:
        """Complete lines without their ends; None for one that was too long. An incomplete line waits."""
        *whole, rest = (self._rest + data).split(b"\n")
        lines: list[bytes | None] = []
        for text in whole:
            if self._skipping or len(text) >= self._longest:
                lines.append(None)
            else:
                lines.append(text)
            self._skipping = False
        if self._skipping or len(rest) >= self._longest:
            self._skipping, rest = True, b""
        self._rest = rest
        return lines


def main() -> None:
    """The helper process."""
    logging.basicConfig(format="pfa-flux: %(message)s", level=logging.INFO, stream=sys.stderr)
    # urllib3 would log servers' messages with a traceback. Its callers report errors.
    for name in ("urllib3.connection", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Requests for the GIF have priority. A sandbox may forbid setting it.
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    # Output of libraries goes to the log, not between the messages.
    sender = Sender(os.dup(1))
    os.dup2(2, 1)
    source = sys.stdin.buffer
    order: Order = pickle.loads(source.read(int.from_bytes(source.read(4), "big")))
    ended = threading.Event()
    jobs = [threading.Thread(target=_guarded, args=(job, order, ended, sender), daemon=True) for job in _jobs(order)]
    for job in jobs:
        job.start()
    source.read()
    ended.set()
    # Work in progress may finish. A write without an answer is repeated at the next start.
    deadline = time.monotonic() + _GRACE / 2
    for job in jobs:
        job.join(max(0.0, deadline - time.monotonic()))
    sys.stderr.flush()
    os._exit(0)


class Sender:
    """Sends messages to the serving process, from any thread."""

    def __init__(self, handle: int) -> None:
        self._handle, self._lock = handle, threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Send a message as one line. Its texts are cut, so that the line is not too long.

        Raises:
            BrokenPipeError: the serving process has ended.
        """
        text = json.dumps(_bounded(message)).encode() + b"\n"
        with self._lock:
            while text:
                text = text[os.write(self._handle, text) :]


def _bounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _bounded(each) for key, each in value.items()}
    return value[:_LONGEST_TEXT] if isinstance(value, str) else value


_Job = Callable[[Order, threading.Event, Sender], None]


def _jobs(order: Order) -> list[_Job]:
    return [_ship, _keep_house] if order.settings.url else [_keep_house]


def _guarded(job: _Job, order: Order, ended: threading.Event, sender: Sender) -> None:
    """Run a job. If it fails or ends early, end the process, so that the serving process restarts it."""
    from pfa_flux.engines.patience import NONE, patience

    try:
        # Requests must not wait for a busy server: a job waits between its own attempts, where `ended` can end it.
        with patience(NONE):
            job(order, ended, sender)
    except BrokenPipeError:
        os._exit(1)
    except BaseException as error:
        log.error("the helper process failed: %s", place(error))
        os._exit(1)
    if not ended.is_set():
        os._exit(1)


def _ship(order: Order, ended: threading.Event, sender: Sender) -> None:
    from pfa_flux.helper.shipper import Shipper
    from pfa_flux.journal.spool import SpoolReader

    try:
        reader = SpoolReader(order.settings.data_dir)
        shipper = Shipper(order.settings, reader, lambda done: sender.send(asdict(done)), ended.wait)
        shipper.run()
        shipper.close()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        # The file is damaged, not only single rows. The serving process renames it, and restarts the helper with a new
        # file.
        sender.send({"broken_file": str(error)})
        ended.wait(_GRACE)
        raise


def _keep_house(order: Order, ended: threading.Event, sender: Sender) -> None:
    from pfa_flux.helper.housekeeper import Housekeeper

    while True:
        housekeeper = Housekeeper(
            order.settings,
            ended.wait,
            lock=order.lock,
            newest_series=order.newest_series,
            accept_clock=order.accept_clock,
            tell=sender.send,
        )
        try:
            housekeeper.run()
        except OSError:
            # The serving process has ended, or the disk fails: end this process.
            raise
        except Exception as error:
            # Shipping must continue even if windows cannot be computed.
            log.error("due work failed: %s", place(error))
            sender.send({"failed": "housekeeper"})
            if ended.wait(_RECENT_SECONDS):
                return
        else:
            return
