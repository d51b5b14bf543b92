"""The live page's server: one thread and one connection for each request, and no access log."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from typing import Any

from pfa_flux.errors import SettingsError
from pfa_flux.view.page import LivePage, Request

_log = logging.getLogger("pfa_flux.live")

_SECONDS = 10.0
"""Time limit to receive a request, and to send an answer."""
_MOST_CONNECTIONS = 64
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Server(socketserver.ThreadingTCPServer):
    """Listens as soon as it is created. As a context manager, it answers open requests at its end and stops.

    Attributes:
        url: address of the page.
    """

    allow_reuse_address = True
    daemon_threads = False
    request_queue_size = 64

    def __init__(self, page: LivePage, host: str, port: int) -> None:
        """Start to listen.

        Args:
            page: the page to serve.
            host: address to listen on.
            port: port to listen on; 0 for a free one.

        Raises:
            SettingsError: it cannot listen there.
        """
        self.page = page
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {shown(host, port)}: {error.strerror or error}",
                "Choose another address with --listen.",
            ) from error
        self.url = f"http://{shown(host, self.server_address[1])}/"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.2})

    def start(self) -> None:
        """Answer requests in separate threads."""
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, or close the connection if there are too many."""
        with self._lock:
            full = len(self._open) >= _MOST_CONNECTIONS
            if not full:
                self._open.add(request)
        if full:
            super().shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log the error without details of the request. A client that has left is not an error."""
        error = sys.exception()
        if not isinstance(error, OSError):
            _log.error("a request failed: %s", type(error).__name__)

    def close(self) -> None:
        """Answer open requests, and stop."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        with self._lock:
            for connection in self._open:
                # Do not wait for connections without a request.
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)
        self.server_close()

    def __exit__(self, *_: object) -> None:
        self.close()


class _Handler(BaseHTTPRequestHandler):
    timeout = _SECONDS
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        """Answer the request."""
        names = {name: self.headers.get(name, "") for name in ("Sec-Fetch-Site", "Sec-Fetch-Dest")}
        hosts = self.headers.get_all("Host") or []
        self._answer(Request(self.command, self.path, hosts, *names.values()))

    do_HEAD = do_GET  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer malformed requests and unknown methods, without repeating what was sent."""
        del message, explain
        if code == 501:
            # Unknown method: the page's own answer lists its methods.
            hosts = self.headers.get_all("Host") or []
            self._answer(Request("", "/", hosts))
            return
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.write(b"HTTP/1.1 %d Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % code)

    def _answer(self, request: Request) -> None:
        self.close_connection = True
        answer = self.server.page.answer(request)
        self.send_response_only(answer.status)
        for name, value in answer.all_headers().items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.content)

    def log_message(self, *_: Any) -> None:
        """Log neither addresses nor paths."""


def shown(host: str, port: int) -> str:
    """HOST:PORT for display."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address(text: str) -> tuple[str, int]:
    """Host and port of HOST:PORT.

    Raises:
        SettingsError: it is malformed.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    try:
        number = int(port) if port.isascii() and port.isdigit() else -1
        host = "127.0.0.1" if host == "localhost" else str(ip_address(host))
    except ValueError:
        number = -1
    if not 0 <= number <= 65535:
        raise SettingsError(f"--listen is {text!r}, not an address to listen on", "Write for example 127.0.0.1:8482.")
    return host, number


def is_loopback(host: str) -> bool:
    """Other machines cannot reach this address."""
    return ip_address(host).is_loopback


def serve(server: Server, ready: Callable[[], None]) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP. Calls `ready` once it answers."""
    # The system may deliver a signal to any thread. Each thread passes it on here, where the main thread waits.
    written, waiting = socket.socketpair()
    written.setblocking(False)
    caught = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, lambda *_: None) for number in caught}
    told = signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
    try:
        with written, waiting, server:
            try:
                server.start()
                ready()
                while waiting.recv(1)[0] not in caught:
                    pass
            finally:
                signal.set_wakeup_fd(told)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
