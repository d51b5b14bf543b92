"""Measures the parts of handling a hit, without sockets."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.loading import REQUESTS
from pfa_flux.journal.embedded import StoreJournal
from pfa_flux.journal.spool import Spool
from pfa_flux.pixel.connection import Connection
from pfa_flux.pixel.counter import Pixel
from pfa_flux.pixel.http import Parser
from pfa_flux.pixel.pages import Page
from pfa_flux.settings import Settings
from pfa_flux.settings.pixel import MIB
from pfa_flux.settings.rules import Rules


class _Noting:
    """A journal that stores nothing. It has the pages of the last commit."""

    def __init__(self) -> None:
        self.pages: list[Page] = []

    def commit(self, pages: list[Page], now: int) -> None:
        self.pages = pages


class _Mute(Connection):
    """A connection that sends nothing. It has the last answer."""

    def __init__(self) -> None:
        self.sent = b""

    def hold(self) -> bool:
        return True

    def release(self, data: bytes, last: bytes) -> None:
        self.sent = data


class Handler:
    """Everything between the bytes of a request and the journal, in this process and without a socket."""

    def __init__(self) -> None:
        self._journal, self._connection = _Noting(), _Mute()
        self._pixel = Pixel(Rules(Settings().pixel), self._journal, lambda _seconds, _call: None)
        self._parser = Parser(self._pixel.paths)
        self._heads = [each.encode()[:-2] for each in REQUESTS]
        self._referer_first = [_referer_first(head) for head in self._heads]
        self._requests = [self._parser.head(head) for head in self._heads]

    def read(self) -> None:
        """Parse the heads of all requests."""
        for head in self._heads:
            self._parser.head(head)

    def read_referer_first(self) -> None:
        """Parse the heads with Referer before Host. No browser sends this order."""
        for head in self._referer_first:
            self._parser.head(head)

    def take(self, size: int) -> None:
        """Handle the first `size` requests as one batch."""
        for request in self._requests[:size]:
            self._pixel.handle(request, self._connection)
        # The first call only waits for further hits.
        self._pixel.flush()
        self._pixel.flush()

    def pages(self) -> list[Page]:
        """A page for each request. No journal knows these pages."""
        self.take(len(REQUESTS))
        return [Page(page.view) for page in self._journal.pages]

    def answer(self) -> bytes:
        """The bytes of the answer to a hit."""
        self.take(1)
        return self._connection.sent


def _referer_first(head: bytes) -> bytes:
    lines = head.split(b"\r\n")
    (referer,) = (line for line in lines if line.startswith(b"Referer:"))
    lines.remove(referer)
    return b"\r\n".join((lines[0], referer, *lines[1:]))


def best_us(call: Callable[[], object], each: int, times: int) -> float:
    """CPU time of a call in µs, divided by `each`: the best of seven runs of `times` calls."""
    results = []
    for _ in range(7):
        began = time.process_time_ns()
        for _ in range(times):
            call()
        results.append((time.process_time_ns() - began) / 1000 / each / times)
    return min(results)


def commits(name: str, sizes: Sequence[int]) -> list[float]:
    """CPU time of a hit in commits to a journal, µs, for each number of hits in a commit."""
    pages, results = Handler().pages(), []
    with tempfile.TemporaryDirectory(prefix="pfa-flux-pixel-") as folder:
        settings = Settings(data_dir=Path(folder))
        spool = name == "spool"
        journal = Spool(Path(folder), "normal", 1024 * MIB) if spool else StoreJournal(settings)
        journal.commit(pages, time.time_ns())
        for size in sizes:
            part = pages[:size]
            commit = partial(journal.commit, part, time.time_ns())
            results.append(best_us(commit, len(part), max(20, 4000 // size)))
            journal.checkpoint()
        journal.close()
    return results
