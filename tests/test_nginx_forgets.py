"""nginx keeps nothing of a request, not even of one that fails before its path is known."""

from __future__ import annotations

import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.engines.process import free_ports
from tests.front import CANARY, DOMAINS, PRIVACY, Client, files_with, proxied, settings_file
from tests.pixel_server import PixelServer
from tests.webserver import Nginx


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose name leaves room for a socket's, which may have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="pfa") as folder:
        yield Path(folder)


def test_nginx_writes_nothing_of_a_request_to_any_file(tmp_path: Path, short: Path) -> None:
    (port,) = free_ports(1)
    folder = tmp_path / "nginx"
    with ExitStack() as stack:
        settings = {"domains": DOMAINS, "listen": f"unix:{short}/pixel.sock"}
        pixel = stack.enter_context(PixelServer(tmp_path / "pixel", pixel=settings))
        stack.enter_context(Nginx(folder, port, proxied(pixel.config, port)))
        client = stack.enter_context(Client(port))

        def ask(**more: Any) -> urllib3.BaseHTTPResponse:
            path = more.pop("path", "/count.gif")
            referer = f"http://example.test/{CANARY}"
            return client.ask("example.test", f"{path}?{CANARY}", Referer=referer, User_Agent=CANARY, **more)

        assert ask().status == 200
        assert ask(body=CANARY.encode() * 100).status == 200
        assert ask(method="POST", body=CANARY.encode()).status == 405
        # Larger than a request's memory may be: refused, where nginx would otherwise put it in a file.
        assert ask(body=CANARY.encode() * 10_000).status == 413
        pixel.kill()
        # The socket is there and nobody listens; then it is gone, which nginx finds critical.
        assert ask().headers["X-Pfa-Flux"] == "down"
        (short / "pixel.sock").unlink()
        assert ask().headers["X-Pfa-Flux"] == "down"
        # The site's own pages are logged as its owner likes: so the log works.
        assert client.ask("example.test", "/page-of-the-site").data == b"page"
    assert files_with(folder, CANARY) == []
    assert files_with(folder, "page-of-the-site") == ["access.log"]
    assert files_with(folder, "127.0.0.1 ") == ["access.log"]
    assert (folder / "access.log").read_text().count("\n") == 1
    assert "count.gif" not in (folder / "error.log").read_text()


def _head(*lines: str) -> bytes:
    return "\r\n".join((*lines, "", "")).encode()


UNREADABLE = {
    "headers too long": _head("GET /count.gif HTTP/1.1", "Host: example.test", f"User-Agent: {CANARY}",
                              f"Referer: http://example.test/{CANARY * 8_000}"),
    "two hosts": _head("GET /count.gif HTTP/1.1", f"User-Agent: {CANARY}", "Host: example.test", "Host: b.test"),
    "trace": _head("TRACE /count.gif HTTP/1.1", "Host: example.test", f"User-Agent: {CANARY}"),
    "a head that breaks off": f"GET /count.gif HTTP/1.1\r\nHost: example.test\r\nUser-Agent: {CANARY}\r\nA".encode(),
    "no path at all": _head(f"{CANARY}"),
    "a line too long": _head(f"GET /count.gif?{CANARY * 8_000} HTTP/1.1", "Host: example.test"),
}  # fmt: skip


def _send(port: int, request: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        # nginx may reset what it did not read to the end.
        with suppress(ConnectionError):
            while client.recv(4096):
                pass


@pytest.mark.parametrize("kept_out", [False, True], ids=["as nginx is", "with the lines of privacy.md"])
def test_requests_that_fail_before_their_path_is_known_are_logged_unless_the_lines_of_the_docs_keep_them_out(
    kept_out: bool, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    (lines,) = re.findall(r"```nginx\n(.*?)```", PRIVACY.read_text(), flags=re.DOTALL)
    maps, log = lines[: lines.index("access_log")], "access_log seen.log combined if=$pfa_flux_readable;"
    assert lines.endswith("combined if=$pfa_flux_readable;\n")
    folder = tmp_path / "nginx"
    http = proxied(settings_file(tmp_path), port, ("example.test",))
    if kept_out:
        http = maps + http.replace(f"listen 127.0.0.1:{port};", f"listen 127.0.0.1:{port}; {log}")
    with Nginx(folder, port, http), Client(port) as client:
        for request in UNREADABLE.values():
            _send(port, request)
        assert client.ask("example.test", "/page-of-the-site").data == b"page"
    assert files_with(folder, "page-of-the-site") == ["seen.log" if kept_out else "access.log"]
    assert files_with(folder, CANARY) == ([] if kept_out else ["access.log"])
    if kept_out:
        assert (folder / "seen.log").read_text().count("\n") == 1
