"""Hits over real sockets, as many as one likes: requests are sent ahead, and answers are counted as they come."""

from __future__ import annotations

import re
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r]*\r\n(.*?)\r\n\r\n", re.DOTALL)
_LENGTH = re.compile(rb"Content-Length: (\d+)")
_WHY = re.compile(rb"X-Pfa-Flux: (\S+)")


def get(page: str = "/", domain: str = "example.com", path: str = "/count.gif", **headers: str) -> bytes:
    """Bytes of a request that Chromium would send from a page."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: stats.example",
        "Connection: keep-alive",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0",
        "Accept: image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
        f"Referer: https://{domain}{page}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join((*lines, "", "")).encode()


def connect(address: str, timeout: float = 30.0) -> socket.socket:
    """A connection to HOST:PORT or unix:PATH."""
    if address.startswith("unix:"):
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(timeout)
        made.connect(address.removeprefix("unix:"))
        return made
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout)


@dataclass
class Answers:
    """What came back.

    Attributes:
        counted: number of requests that were answered with a GIF and counted.
        why: of the others, how many for each reason or status.
    """

    counted: int = 0
    why: Counter[str] = field(default_factory=Counter)


def read_answers(client: socket.socket, wanted: int) -> Answers:
    """Read as many answers as wanted, or fewer where the server ends the connection."""
    found, data = Answers(), b""
    while found.counted + sum(found.why.values()) < wanted:
        answer = _ANSWER.match(data)
        if answer is not None:
            length = int(_LENGTH.search(answer[2])[1])  # type: ignore[index]
            if len(data) >= answer.end() + length:
                data = data[answer.end() + length :]
                why = _WHY.search(answer[2])
                if answer[1] == b"200" and why is None:
                    found.counted += 1
                else:
                    found.why[(why[1] if why else answer[1]).decode()] += 1
                continue
        try:
            more = client.recv(65536)
        except ConnectionResetError:
            more = b""
        if not more:
            break
        data += more
    return found


def send(address: str, requests: Iterable[bytes], ahead: int = 50) -> Answers:
    """Send requests over one connection, `ahead` at a time, and read their answers."""
    total = Answers()
    with connect(address) as client:
        batch: list[bytes] = []

        def flush() -> bool:
            client.sendall(b"".join(batch))
            found = read_answers(client, len(batch))
            total.counted += found.counted
            total.why += found.why
            whole = found.counted + sum(found.why.values()) == len(batch)
            batch.clear()
            return whole

        for request in requests:
            batch.append(request)
            if len(batch) >= ahead and not flush():
                return total
        if batch:
            flush()
    return total


class Crowd:
    """Threads that send hits, each over its own connection, until they are done or the server is gone."""

    def __init__(self, address: str, requests: Sequence[Sequence[bytes]]) -> None:
        self._address = address
        self.answered: list[int] = [0] * len(requests)
        """Of each thread the number of its requests that were answered, in the order in which they were sent."""
        self.sent: list[int] = [0] * len(requests)
        self._threads = [
            threading.Thread(target=self._run, args=(number, each), daemon=True) for number, each in enumerate(requests)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int, requests: Sequence[bytes]) -> None:
        try:
            with connect(self._address, 10) as client:
                for request in requests:
                    self.sent[number] += 1
                    client.sendall(request)
                    if read_answers(client, 1).counted != 1:
                        return
                    self.answered[number] += 1
        except OSError:
            return

    def join(self) -> None:
        """Wait for all of them."""
        for thread in self._threads:
            thread.join()
