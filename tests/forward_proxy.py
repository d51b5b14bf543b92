"""A forward proxy on loopback, as companies have them: CONNECT for https, whole addresses for http, maybe a login.

It takes every host to be this machine, so that tests can use names that a proxy alone knows.
"""

from __future__ import annotations

import contextlib
import select
import socket
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

import urllib3

from tests.local_server import LocalServer


class ForwardProxy(LocalServer):
    """The proxy.

    Attributes:
        seen: method and target of each request.
        logins: what each brought to log in with.
    """

    def __init__(self, login: str = "") -> None:
        """`login`: the header's value that it asks for; empty for none."""
        self.seen: list[str] = []
        self.logins: list[str] = []
        self._pool = urllib3.PoolManager(retries=False)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Heads and bodies are written apart, and would wait for each other.
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                proxy.seen.append(f"{self.command} {self.path}")
                proxy.logins.append(self.headers.get("Proxy-Authorization", ""))
                if login and proxy.logins[-1] != login:
                    self.send_response(407)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                elif self.command == "CONNECT":
                    proxy.tunnel(self)
                else:
                    proxy.forward(self)

            do_GET = do_POST = do_DELETE = do_PATCH = do_CONNECT = handle_any  # noqa: N815 - the library's names

            def log_message(self, *_: Any) -> None:
                """Nothing is logged."""

        super().__init__(Handler)

    def forward(self, request: BaseHTTPRequestHandler) -> None:
        """Ask what a whole address names, on this machine."""
        parts = urlsplit(request.path)
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in request.headers.items() if not name.lower().startswith("proxy-")}
        target = f"http://127.0.0.1:{parts.port}{parts.path}{f'?{parts.query}' if parts.query else ''}"
        answer = self._pool.request(request.command, target, body=body, headers=headers, decode_content=False)
        request.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(answer.data)))
        request.end_headers()
        request.wfile.write(answer.data)

    def tunnel(self, request: BaseHTTPRequestHandler) -> None:
        """Pass bytes on until one side ends."""
        request.close_connection = True
        with socket.create_connection(("127.0.0.1", int(request.path.rpartition(":")[2]))) as far:
            request.send_response(200)
            request.end_headers()
            near = request.connection
            with contextlib.suppress(OSError):
                while True:
                    for ready in select.select([near, far], [], [])[0]:
                        data = ready.recv(65536)
                        if not data:
                            return
                        (far if ready is near else near).sendall(data)

    def close(self) -> None:
        """Stop."""
        super().close()
        self._pool.clear()
