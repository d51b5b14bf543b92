"""5,000 idle and 1,000 slow connections: every hit is counted meanwhile, at the rate of a server that has none."""

from __future__ import annotations

import contextlib
import resource
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pixel_server import PixelServer
from tests.socketless import HIT, answers

IDLE, SLOW = 5000, 1000
_HITS = 2000
_FILES = IDLE + SLOW + 500
_GROWTH = 40 * 1024
"""KiB that the server may grow by: about six a connection."""


@pytest.fixture
def files() -> Iterator[None]:
    """As many open files as the crowd takes, for us and for the servers that inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == resource.RLIM_INFINITY or hard >= _FILES, f"the hard limit of open files is {hard}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, _FILES), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Visitor:
    """Sends hits over one connection that stays open, and counts those that are answered as counted."""

    def __init__(self, server: PixelServer) -> None:
        self._socket = server.connect()
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.times: list[float] = []

    def hit(self) -> None:
        """Send one and wait for its answer."""
        start = time.perf_counter()
        self._socket.sendall(HIT)
        got = self._socket.recv(4096)
        while not got.endswith(b"\x00;"):
            more = self._socket.recv(4096)
            assert more, got
            got += more
        self.times.append(time.perf_counter() - start)
        (answer,) = answers(got)
        assert (answer.status, answer.headers.get("X-Pfa-Flux")) == (200, None)

    def close(self) -> None:
        """Leave."""
        self._socket.close()


class SlowSenders:
    """Connections that send a byte a second of a request, each until it is closed."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._sockets = sockets
        self.closed: list[int] = []
        """Bytes that each had sent."""
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        left = list(self._sockets)
        for sent in range(30):
            time.sleep(1)
            still = [each for each in left if self._send(each, HIT[sent : sent + 1])]
            self.closed += [sent] * (len(left) - len(still))
            left = still
            if not left:
                return

    def _send(self, each: socket.socket, data: bytes) -> bool:
        try:
            each.send(data)
            return bool(each.recv(1))
        except BlockingIOError:
            return True
        except OSError:
            return False

    @property
    def done(self) -> bool:
        """All of them are closed, or half a minute is over."""
        return not self._thread.is_alive()

    def join(self) -> None:
        """Wait for it."""
        self._thread.join()


def memory(server: PixelServer) -> int:
    """Memory that the server holds, in KiB."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


@pytest.mark.slow
def test_hits_are_counted_as_ever_while_thousands_idle_and_dawdle(tmp_path: Path, files: None) -> None:
    with (
        PixelServer(tmp_path / "crowded") as crowded,
        PixelServer(tmp_path / "quiet") as quiet,
        contextlib.ExitStack() as stack,
    ):
        here, there = (stack.enter_context(contextlib.closing(Visitor(server))) for server in (crowded, quiet))
        for _ in range(100):
            here.hit()
            there.hit()
        before = memory(crowded)
        crowd = [stack.enter_context(crowded.connect()) for _ in range(IDLE + SLOW)]
        for each in crowd:
            each.setblocking(False)
        senders = SlowSenders(crowd[IDLE:])
        stack.callback(senders.join)
        here.hit()
        assert crowded.metrics()["connections"] == IDLE + SLOW + 1
        here.times.clear()
        there.times.clear()
        # In turns, so that whatever else the machine does slows both alike.
        while len(here.times) < _HITS or not senders.done:
            here.hit()
            there.hit()
            if len(here.times) > _HITS:
                time.sleep(0.01)
        grown = memory(crowded) - before
        found, other = crowded.metrics(), quiet.metrics()
        ratio = statistics.median(here.times[:_HITS]) / statistics.median(there.times[:_HITS])
        print(f"median time of a hit in the crowd, of that without: {ratio:.2f}; memory grown by {grown} KiB")

        assert found['hits_total{kind="hit"}'] == 100 + 1 + len(here.times)
        assert other['hits_total{kind="hit"}'] == 100 + len(there.times)
        assert found["shed_total"] == 0
        assert found["connections_timed_out_total"] == len(senders.closed) == SLOW
        assert found["connections"] == IDLE + 1
        # Ten seconds are given, and time is looked at once a second.
        assert min(senders.closed) >= 9
        assert max(senders.closed) <= 20
        assert grown < _GROWTH
        # Side by side in one run it is close to 1; a server that looked at every connection for a hit would be far off.
        assert ratio < 3


def test_those_beyond_the_bound_are_told_so_and_hits_go_on(tmp_path: Path) -> None:
    with (
        PixelServer(tmp_path, pixel={"max_connections": 20}) as server,
        contextlib.closing(Visitor(server)) as visitor,
        contextlib.ExitStack() as stack,
    ):
        visitor.hit()
        crowd = [stack.enter_context(server.connect()) for _ in range(30)]
        turned_away = [each.recv(4096) for each in crowd[19:]]
        assert [[answer.status for answer in answers(data)] for data in turned_away] == [[503]] * 11
        for _ in range(100):
            visitor.hit()
        found = server.metrics()
        assert (found["connections"], found["connections_turned_away_total"]) == (20, 11)
        assert found['hits_total{kind="hit"}'] == 101
