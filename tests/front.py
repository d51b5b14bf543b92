"""nginx in front of the pixel: what `pfa-flux nginx` prints, a client, and a server that records what it gets."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

from pfa_flux.pixel.counter import GIF
from tests.cli import pfa_flux

ONION = f"{'a' * 55}d.onion"
HOSTS = ("example.test", ONION, "example.i2p")
DOMAINS = ["example.test", "*.onion", "*.i2p"]
CANARY = "c4n4ry"
DEPLOYMENT = Path(__file__).parents[1] / "docs" / "deployment.md"
PRIVACY = DEPLOYMENT.with_name("privacy.md")
FORGOTTEN = [
    "Cookie",
    "User_Agent",
    "X_Forwarded_For",
    "X_Forwarded_Host",
    "X_Forwarded_Proto",
    "X_Real_IP",
    "Forwarded",
    "Authorization",
    "Accept",
    "Accept_Language",
    "Accept_Encoding",
    "Origin",
    "If_None_Match",
    "Range",
    "Via",
    "From",
    "Sec_CH_UA",
    "Sec_Fetch_Site",
    "X_Pfa_Skip",
    "X_I2P_DestHash",
    "X_Other",
]


def printed(config: Path, *arguments: str) -> str:
    """What `pfa-flux nginx` prints for a settings file."""
    done = pfa_flux("nginx", "--config", str(config), *arguments)
    assert (done.code, done.err) == (0, "")
    return done.out


def proxied(config: Path, port: int, hosts: tuple[str, ...] = HOSTS) -> str:
    """nginx's `http { }` for sites that have the pixel under a path of their own."""
    server = printed(config, "--part", "server")
    sites = (
        f"server {{ listen 127.0.0.1:{port}; server_name {host};\n{server}\nlocation / {{ return 200 page; }} }}"
        for host in hosts
    )
    return "\n".join((printed(config, "--part", "http"), "server_names_hash_bucket_size 128;", *sites))


def settings_file(folder: Path, **pixel: str | bool) -> Path:
    words = {key: str(value).lower() if isinstance(value, bool) else f'"{value}"' for key, value in pixel.items()}
    path = folder / "pfa-flux.toml"
    path.write_text("\n".join(("[pixel]", *(f"{key} = {value}" for key, value in words.items()))))
    return path


class Client:
    """Requests to nginx, on one connection."""

    def __init__(self, port: int) -> None:
        self._pool = urllib3.HTTPConnectionPool("127.0.0.1", port, maxsize=1, retries=False, timeout=15)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def ask(
        self, host: str, path: str = "/count.gif", *, method: str = "GET", body: bytes | None = None, **headers: Any
    ) -> urllib3.BaseHTTPResponse:
        """The answer to a request; headers with a low line for each hyphen."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._pool.request(method, path, body=body, headers={"Host": host, **named})


@dataclass
class Recorder:
    """A server that answers each request with a GIF and keeps every byte that it gets, by connection."""

    connections: list[bytearray] = field(default_factory=list)
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def listen(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Recorder:
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections.append(asked := bytearray())
            self._threads.append(threading.Thread(target=self._serve, args=(connection, asked), daemon=True))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket, asked: bytearray) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: image/gif\r\nContent-Length: %d\r\n\r\n" % len(GIF)
        answered = 0
        with connection:
            while data := connection.recv(65536):
                asked += data
                while answered < asked.count(b"\r\n\r\n"):
                    connection.sendall(head + GIF)
                    answered += 1


def files_with(folder: Path, word: str) -> list[str]:
    """Files below a folder that hold a word, in their name or content."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if word in path.name or (path.is_file() and word.encode() in path.read_bytes())
    )
