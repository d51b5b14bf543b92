"""What is left when files, connections or logs are taken away, and how it is said."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pfa_flux.journal.spool import SPOOL_NAME
from pfa_flux.pixel.connection import Limits
from tests.engines.plugin import MakeWorkspace
from tests.load import connect, get, read_answers, send
from tests.pixel_server import PixelServer
from tests.socketless import Site
from tests.stored import hits_by_page, until
from tests.test_refusals import status_of
from tests.test_shipping import pages, pixel


def test_as_many_connections_as_the_limit_says_are_taken_in_and_the_next_is_turned_away() -> None:
    site = Site(limits=Limits(connections=2))
    clients = [site.client() for _ in range(3)]
    assert [client.transport.closed for client in clients] == [False, False, True]
    assert (len(site.roster.open), site.roster.turned_away) == (2, 1)
    assert clients[2].transport.written.startswith(b"HTTP/1.1 503 ")


@pytest.mark.parametrize(("begun", "seconds"), [(b"GET", 3), (b"", 5)])
def test_a_connection_has_its_time_and_not_a_second_more(begun: bytes, seconds: int) -> None:
    site = Site(limits=Limits(head=3, idle=5))
    client = site.client()
    if begun:
        client.feed(begun)
    for _ in range(seconds):
        site.roster.sweep()
    assert not client.transport.aborted
    site.roster.sweep()
    assert client.transport.aborted
    # Only who is in the midst of a request has run out of time.
    assert site.roster.timed_out == bool(begun)


def limited(folder: Path, most: int) -> subprocess.CompletedProcess[str]:
    """`serve` under a limit of open files, until it ends by itself."""
    command = Path(sys.executable).with_name("pfa-flux")
    text = f'ulimit -n {most} && exec "{command}" serve --data-dir "{folder}" --listen 127.0.0.1:0 --admin 127.0.0.1:0'
    return subprocess.run(["sh", "-c", text], capture_output=True, text=True, timeout=30, check=False)


def test_with_too_few_files_it_does_not_start_and_says_how_many_it_needs(tmp_path: Path) -> None:
    ended = limited(tmp_path / "data", 64)
    assert ended.returncode == 1
    assert "this process may open 64 files, but needs at least 128" in ended.stderr
    assert "LimitNOFILE= in a systemd unit, ulimit -n in a shell" in ended.stderr


def test_with_few_files_it_says_so_and_serves(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("pfa-flux")
    text = f'ulimit -n 160 && exec "{command}" serve --data-dir "{tmp_path}/data" --listen unix:{tmp_path}/s --admin ""'
    with subprocess.Popen(["sh", "-c", text], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        try:
            until(lambda: (tmp_path / "s").exists(), "it listens")
            with ExitStack() as stack:
                # All of them at once, and more than there may be.
                clients = [stack.enter_context(connect(f"unix:{tmp_path}/s")) for _ in range(100)]
                answers = []
                for client in clients:
                    client.sendall(get())
                for client in clients:
                    answers.append(read_answers(client, 1))
            assert sum(found.counted for found in answers) == 64
            assert sum(found.why["503"] for found in answers) == 36
            assert send(f"unix:{tmp_path}/s", pages(3)).counted == 3
        finally:
            running.terminate()
        assert "this process may open 160 files, so at most 64 connections instead of 10000" in running.communicate()[1]


def test_idle_connections_do_not_blind_the_admin_address(tmp_path: Path) -> None:
    with PixelServer(tmp_path) as server, ExitStack() as stack:
        host, _, port = server.admin.rpartition(":")
        for number in range(200):
            client = stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
            if number % 2:
                client.sendall(b"GET /healthz HTTP/1.1\r\n")
            if number % 50 == 49:
                assert status_of(server.admin) == 200
        assert "pfa_flux_hits_total" in server.get("/metrics")


def test_the_admin_address_answers_under_load(tmp_path: Path) -> None:
    with PixelServer(tmp_path) as server, ExitStack() as stack:
        clients = [stack.enter_context(connect(server.listen)) for _ in range(500)]
        for client in clients:
            client.sendall(get() * 20)
        began = time.monotonic()
        assert status_of(server.admin) == 200
        assert time.monotonic() - began < 5
        assert sum(read_answers(client, 20).counted for client in clients) == 10_000


@pytest.mark.parametrize("runs", ["embedded", "influxdb-2.7"])
def test_hits_whose_log_was_removed_are_saved_within_seconds(
    runs: str, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace = make_workspace(runs)
    given: dict[str, Any] = {"url": "http://127.0.0.1:9"} if not workspace.serverless else {}
    name = "pfa-flux.sqlite3" if workspace.serverless else SPOOL_NAME
    server = PixelServer(tmp_path, **given)
    server.start()
    try:
        assert send(server.listen, pages(40)).counted == 40
        time.sleep(1.5)
        (server.data_dir / f"{name}-wal").unlink()
        until(lambda: f"the log {server.data_dir / name}-wal was removed" in server.log, "it is told")
        assert send(server.listen, pages(20)).counted == 20
        server.kill()
        assert "Traceback" not in server.log
    finally:
        server.stop()
    if workspace.serverless:
        server.start()
        assert server.counted("page") == {(f"/{n}",): 1 + (n < 20) for n in range(40)}
        server.stop()
        return
    with pixel(tmp_path, workspace) as again:
        until(lambda: again.metrics()["journal_rows"] == 0, "all shipped")
    assert hits_by_page(workspace) == {f"/{n}": 1 + (n < 20) for n in range(40)}


def test_a_hang_up_is_an_end_in_peace(tmp_path: Path) -> None:
    # Whoever runs the tests may have hang-ups ignored, and so would it.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        server = PixelServer(tmp_path)
        server.start()
    finally:
        signal.signal(signal.SIGHUP, before)
    try:
        assert send(server.listen, pages(5)).counted == 5
        with connect(server.listen) as client:
            client.sendall(get("/last") * 100)
            os.kill(server.pid, signal.SIGHUP)
            counted = read_answers(client, 100).counted
        until(lambda: not server.alive(), "it ends")
        assert server.counted("page").get(("/last",), 0) == counted
        assert "Traceback" not in server.log
    finally:
        server.stop()


def test_a_hit_with_a_body_counts_when_the_body_has_come(tmp_path: Path) -> None:
    request = get("/a").replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n")
    with PixelServer(tmp_path) as server:
        with connect(server.listen) as client:
            client.sendall(request + b"12")
            time.sleep(0.3)
        assert server.metrics()['hits_total{kind="hit"}'] == 0
        with connect(server.listen) as client:
            for part in (request + b"12", b"34", b"5" + get("/b")):
                client.sendall(part)
                time.sleep(0.05)
            assert read_answers(client, 2).counted == 2
        assert server.counted("page") == {("/a",): 1, ("/b",): 1}
