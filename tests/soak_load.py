"""The load of the soak, in a process of its own, and how long everything lasts."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from tests.load import get

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
