"""A web server for the tests: pages of several hosts, and a pixel behind it which gets all headers but some."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote

import pytest

from tests.pixel_server import PixelServer


@dataclass
class Page:
    """What is at an address."""

    html: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class SiteServer:
    """The server, on a port of the loopback interface.

    Attributes:
        pixel: where requests for its paths go; None: they find nothing.
        pages: by `host/path`.
        drops: headers that do not reach the pixel, lower case.
        adds: headers that it gets beside the browser's.
        asked: what was asked for: method, `host/path`, Referer.
        as_get: every request reaches the pixel as GET.
    """

    pixel: PixelServer | None = None
    pages: dict[str, Page] = field(default_factory=dict)
    drops: Collection[str] = ()
    adds: Mapping[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    as_get: bool = False

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def passed_on(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        """The pixel's answer."""
        assert self.pixel is not None
        client = http.client.HTTPConnection(self.pixel.listen, timeout=10)
        kept = {name: value for name, value in headers.items() if name.lower() not in {*self.drops, "connection"}}
        client.request("GET" if self.as_get else method, path, headers={**kept, **self.adds})
        answer = client.getresponse()
        body = answer.read()
        client.close()
        return answer.status, dict(answer.headers), body


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, site: SiteServer, *arguments: Any) -> None:
        self.site = site
        super().__init__(*arguments)

    def do_GET(self) -> None:
        # A proxy is asked for whole addresses.
        host, path = self.headers.get("Host", ""), self.path
        if "://" in path:
            host, _, rest = path.partition("://")[2].partition("/")
            path = f"/{rest}"
        self.site.asked.append((self.command, f"{host}{path}", self.headers.get("Referer", "")))
        page = self.site.pages.get(f"{host}{path}")
        if page is not None:
            self.answer(page.status, {"Content-Type": "text/html", **page.headers}, page.html.encode())
        elif unquote(path).partition("?")[0] in {"/count.gif", "/load.gif"} and self.site.pixel is not None:
            self.answer(*self.site.passed_on(self.command, path, dict(self.headers)))
        else:
            self.answer(404, {}, b"nothing here")

    do_HEAD = do_GET  # noqa: N815

    def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() != "connection":
                self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.command == "GET" else b"")

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


def lead(monkeypatch: pytest.MonkeyPatch, names: Mapping[str, int], https: int | None = None) -> None:
    """Have names lead to ports of this machine, on http, those of `names`; on https all of them to one port."""
    real = socket.create_connection

    def connect(address: tuple[str, int], timeout: Any = 10, *_: object, **__: object) -> socket.socket:
        host, port = address
        if host != "127.0.0.1":
            if host not in names:
                raise socket.gaierror(-2, "Name or service not known")
            port = https if port == 443 and https is not None else names[host]
        return real(("127.0.0.1", port), timeout=10)

    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
