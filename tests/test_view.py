"""`pfa-flux view` as a process and its server: where it listens, what it keeps to itself, and how it ends."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pfa_flux import Settings, SettingsError
from pfa_flux.view import server as live_server
from pfa_flux.view.page import LivePage
from pfa_flux.view.server import Server, address
from tests.cli import clean_environment, pfa_flux
from tests.engines.process import free_ports

COMMAND = Path(sys.executable).with_name("pfa-flux")
PATIENCE = 20.0


@contextmanager
def view(folder: Path, *options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The command in a process of its own, and the port that it says; without a display unless one is given."""
    own = {k: v for k, v in clean_environment(**environment).items() if k not in {"DISPLAY", "WAYLAND_DISPLAY"}}
    own |= environment
    command = [str(COMMAND), "view", "--data-dir", str(folder / "data"), *options]
    with (folder / "log").open("w") as log, subprocess.Popen(
        command, env=own, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            found = re.fullmatch(r"http://[\w.:\[\]]+:(\d+)/\n", process.stdout.readline())
            assert found is not None, (folder / "log").read_text()
            yield process, int(found[1])
        finally:
            process.kill()


def get(port: int, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


def exchange(port: int, sent: bytes) -> bytes:
    """All that is answered to some bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_serves_until_a_signal_and_ends_with_success(tmp_path: Path, number: signal.Signals) -> None:
    with view(tmp_path) as (process, port):
        status, headers, body = get(port)
        assert (status, "There is no share: no data." in body) == (200, True)
        assert headers["Content-Length"] == str(len(body.encode()))
        # A client that never asks holds nothing up.
        with socket.create_connection(("127.0.0.1", port)):
            process.send_signal(number)
            assert process.wait(PATIENCE / 4) == 0
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert (tmp_path / "log").read_text() == "Press Ctrl-C to stop.\n"
    assert not (tmp_path / "data").exists()


def test_it_listens_where_it_is_told_and_says_if_others_can_ask(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with view(tmp_path, "--listen", f"0.0.0.0:{port}", "--host", "stats.example") as (_, told):
        assert told == port
        assert get(port, Host="stats.example")[0] == 200
        assert get(port, Host="evil.example")[0] == 421
    assert "warning: others can read the page without a password" in (tmp_path / "log").read_text()


def test_it_takes_ports_of_ipv6(tmp_path: Path) -> None:
    with view(tmp_path, "--listen", "[::1]:0") as (_, port), socket.create_connection(("::1", port)) as connection:
        connection.sendall(b"HEAD /?from=x HTTP/1.1\r\nHost: [::1]\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 Bad Request\r\n")


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--listen", "nowhere"), 2, "--listen is 'nowhere', not an address to listen on"),
        (("--listen", "127.0.0.1:99999"), 2, "not an address to listen on"),
        (("--listen", "unix:/run/view"), 2, "not an address to listen on"),
        (("--listen", "example.com:80"), 2, "not an address to listen on"),
        (("--tz", "Mars/Base"), 2, "Mars/Base"),
    ],
)
def test_what_it_cannot_take_is_a_usage_error(options: tuple[str, ...], code: int, said: str) -> None:
    done = pfa_flux("view", *options)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        done = pfa_flux("view", "--listen", where, "--data-dir", str(tmp_path))
    assert done.code == 2
    assert f"cannot listen on {where}: Address already in use" in done.err


@pytest.mark.parametrize(
    ("options", "display", "opened"),
    [((), {"DISPLAY": ":9"}, True), (("--no-browser",), {"DISPLAY": ":9"}, False), ((), {}, False)],
    ids=["display", "told not to", "no display"],
)
def test_the_browser_is_opened_where_there_is_a_display(
    tmp_path: Path, options: tuple[str, ...], display: dict[str, str], opened: bool
) -> None:
    browser, seen = tmp_path / "browser", tmp_path / "seen"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {seen}.new && mv {seen}.new {seen}\n')
    browser.chmod(0o755)
    with view(tmp_path, *options, BROWSER=str(browser), **display) as (process, port):
        deadline = time.monotonic() + (PATIENCE if opened else 0.5)
        while not seen.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert (seen.read_text() if seen.exists() else "") == (f"http://127.0.0.1:{port}/" if opened else "")


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Port of a server in this process."""
    with Server(LivePage(Settings(data_dir=tmp_path / "data")), "127.0.0.1", 0) as server:
        server.start()
        yield server.server_address[1]


ASKED = b"GET /?from=x HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_each_connection_has_one_answer_and_no_word_of_python(port: int) -> None:
    head, _, body = exchange(port, ASKED * 3).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    names = [line.partition(":")[0] for line in lines[1:]]
    assert lines[0] == "HTTP/1.1 400 Bad Request"
    assert "Connection: close" in lines
    assert not {"Server", "Date"} & set(names)
    assert body.count(b"<!doctype html>") == 1


def test_head_has_the_headers_alone(port: int) -> None:
    whole, head = (get(port, method=method) for method in ("GET", "HEAD"))
    assert (head[0], head[2]) == (200, "")
    assert head[1].keys() == whole[1].keys()


@pytest.mark.parametrize(
    ("sent", "line"),
    [
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody", b"HTTP/1.1 405 Method Not Allowed"),
        (b"<b>BREW</b> / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 405 Method Not Allowed"),
        (b"BREW / HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"HTTP/1.1 421 Misdirected Request"),
        (b"<script> is no request\r\n\r\n", b"HTTP/1.1 400 Refused"),
        (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 505 Refused"),
        (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n", b"HTTP/1.1 414 Refused"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"HTTP/1.1 431 Refused"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 421 Misdirected Request"),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 421 Misdirected Request"),
    ],
    ids=range(9),
)
def test_what_cannot_be_read_is_refused_without_repeating_it(
    port: int, sent: bytes, line: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = exchange(port, sent)
    assert answer.startswith(line + b"\r\n")
    for part in (b"BREW", b"evil.example", b"no request"):
        assert part not in answer
    assert capfd.readouterr() == ("", "")


def test_beyond_a_number_of_connections_others_are_closed(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_server, "_MOST_CONNECTIONS", 2)
    waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as third:
        assert third.recv(1) == b""
    waiting[0].close()
    deadline = time.monotonic() + PATIENCE
    while not (answer := _answer_or_nothing(port)):
        assert time.monotonic() < deadline
    assert answer.startswith(b"HTTP/1.1 400")
    waiting[1].close()


def _answer_or_nothing(port: int) -> bytes:
    try:
        return exchange(port, ASKED)
    except OSError:
        return b""


def test_a_client_that_says_nothing_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_server._Handler, "timeout", 0.1)
    with Server(LivePage(Settings(data_dir=tmp_path)), "127.0.0.1", 0) as server:
        server.start()
        with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=PATIENCE) as connection:
            connection.sendall(b"GET / HT")
            assert connection.recv(1) == b""


def test_a_client_that_leaves_is_nothing_to_tell(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        connection.sendall(ASKED)
    assert exchange(port, ASKED).startswith(b"HTTP/1.1 400")
    assert capfd.readouterr() == ("", "")


def test_an_address_is_a_literal_with_a_port() -> None:
    assert address("localhost:1") == ("127.0.0.1", 1)
    assert address("[::1]:0") == ("::1", 0)
    with pytest.raises(SettingsError):
        address("::1")
    with pytest.raises(SettingsError):
        address(f"127.0.0.1:{os.sep}")
