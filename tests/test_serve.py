"""`pfa-flux serve` as a process: where it listens, what it says, how it stops, and what its admin address tells."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.request import urlopen

import pytest

from pfa_flux import Analytics, settings
from pfa_flux.engines.sqlite import STORE_NAME
from tests.cli import pfa_flux
from tests.engines.process import free_ports
from tests.load import connect, get, read_answers, send
from tests.pixel_server import PixelServer
from tests.stored import until

ROOT = Path(__file__).parents[1]


def test_hits_and_loads_make_a_ratio_without_any_server(tmp_path: Path) -> None:
    with PixelServer(tmp_path, pixel={"load_path": "/load.gif"}) as server:
        requests = [get(f"/{n % 3}") for n in range(60)] + [get(f"/{n % 3}", path="/load.gif") for n in range(45)]
        assert send(server.listen, requests).counted == 105
        shown = pfa_flux("blocked-ratio", "--by", "page", "--format", "json", "--config", str(server.config))
    assert shown.code == 0
    assert [(row["page"], row["hits"], row["js"], row["ratio"]) for row in shown.json["rows"]] == [
        (f"/{n}", 20, 15, 0.25) for n in range(3)
    ]
    assert shown.json["dialect"] == "sqlite"


def test_an_answer_is_of_its_second(tmp_path: Path) -> None:
    with PixelServer(tmp_path) as server:
        for _ in range(2):
            before = int(time.time())
            with urlopen(f"{server.url}/count.gif") as answer:
                said = parsedate_to_datetime(answer.headers["Date"]).timestamp()
            assert before <= said <= time.time()
            time.sleep(1.1)


def test_without_its_path_set_there_is_no_load_counter(tmp_path: Path) -> None:
    with PixelServer(tmp_path) as server:
        assert send(server.listen, [get(path="/load.gif")]).why == {"404": 1}


def test_it_listens_on_a_unix_socket_that_a_web_server_can_use(tmp_path: Path) -> None:
    path = tmp_path / "pixel.sock"
    with PixelServer(tmp_path, pixel={"listen": f"unix:{path}"}) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        assert send(server.listen, [get()] * 3).counted == 3
        server.kill()
        assert path.exists()
        server.start()
        assert send(server.listen, [get()] * 2).counted == 2
    assert not path.exists()


def test_a_socket_that_another_listens_on_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        shown = pfa_flux("serve", "--listen", f"unix:{path}", "--admin", "", "--data-dir", str(tmp_path / "data"))
    assert shown.code == 1
    assert f"another process listens on {path}" in shown.err
    file = tmp_path / "letters.txt"
    file.write_text("x")
    shown = pfa_flux("serve", "--listen", f"unix:{file}", "--data-dir", str(tmp_path / "data"))
    assert (shown.code, file.read_text()) == (1, "x")
    assert "is not a socket" in shown.err


def test_an_address_in_use_or_malformed_is_told(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        shown = pfa_flux("serve", "--listen", address, "--data-dir", str(tmp_path / "data"))
    assert shown.code == 1
    assert f"cannot listen on {address}: " in shown.err
    for wrong in ("8480", "localhost", "127.0.0.1:99999", "unix:relative"):
        shown = pfa_flux("serve", "--listen", wrong, "--data-dir", str(tmp_path / "data"))
        assert shown.code == 2, wrong
        assert f"--listen is '{wrong}', not an address" in shown.err


def test_it_warns_of_a_missing_list_of_domains_and_says_where_it_listens(tmp_path: Path) -> None:
    with PixelServer(tmp_path / "a") as server:
        assert "every domain counts, up to 100 of them: name yours with domains" in server.log
        assert f"listening on http://{server.listen} (/count.gif)" in server.log
    with PixelServer(tmp_path / "b", pixel={"domains": ["example.com"]}) as server:
        assert "every domain" not in server.log
        assert send(server.listen, [get(), get(domain="other.example")]).why == {"domain_not_allowed": 1}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_in_peace_and_answers_what_was_asked(number: signal.Signals, tmp_path: Path) -> None:
    with PixelServer(tmp_path) as server:
        with connect(server.listen) as busy, connect(server.listen) as idle:
            busy.sendall(get("/first"))
            assert read_answers(busy, 1).counted == 1
            half = get("/second")
            busy.sendall(half[:40])
            time.sleep(0.1)
            os.kill(server.pid, number)
            # An idle connection is closed at once, and nobody new comes in.
            assert idle.recv(1) == b""
            with pytest.raises(OSError, match="refused"):
                connect(server.listen)
            busy.sendall(half[40:])
            assert read_answers(busy, 1).counted == 1
            assert busy.recv(1) == b""
        until(lambda: not server.alive(), "its end")
    # The log of the store is written back, and nothing but the store, its lock and the pages' names is left.
    assert sorted(path.name for path in server.data_dir.iterdir() if path.stat().st_size) == [
        "lock",
        "pages.json",
        "pfa-flux.sqlite3",
        "state.lock",
        "state.sqlite3",
    ]
    with Analytics(settings.load({}, config=server.config, environ={})) as made:
        assert {row.key["page"]: row.hits for row in made.hits(by=["page"])} == {"/first": 1, "/second": 1}


def test_it_stops_as_soon_as_it_has_started(tmp_path: Path) -> None:
    server = PixelServer(tmp_path, url="http://127.0.0.1:9")
    for _ in range(5):
        server.start()
        os.kill(server.pid, signal.SIGTERM)
        before = time.monotonic()
        until(lambda: not server.alive(), "its end")
        # The helper has ended by itself: after ten seconds it would have been killed.
        assert time.monotonic() - before < 10
    assert "restarted" not in server.log


def test_files_are_the_owners_alone(tmp_path: Path) -> None:
    for name, url in (("store", ""), ("spool", "http://127.0.0.1:9")):
        with PixelServer(tmp_path / name, url=url) as server:
            send(server.listen, [get()])
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in server.data_dir.iterdir()}
            assert stat.S_IMODE(server.data_dir.stat().st_mode) == 0o700
            assert set(modes.values()) == {0o600}, modes


def test_healthz_and_metrics_say_what_has_been_counted(tmp_path: Path) -> None:
    with PixelServer(tmp_path, pixel={"domains": ["example.com", "*.example.net"], "opt_out": ["gpc"]}) as server:
        requests = [
            get(),
            get("/a", "www.example.net"),
            get(domain="other.example"),
            get(Sec_Purpose="prefetch;prerender"),
            get(Sec_GPC="1"),
            get(X_Pfa_Skip="own"),
            get(X_Pfa_Skip="bot"),
            get(X_Pfa_Skip="bot"),
            get(Sec_Fetch_Dest="document"),
            get(path="/robots.txt"),
            get().replace(b"GET", b"PUT"),
        ]
        assert send(server.listen, requests).counted == 2
        with connect(server.listen) as client:
            client.sendall(b"nonsense\r\n\r\n")
            assert read_answers(client, 1).why == {"400": 1}
        assert json.loads(server.get("/healthz")) == {"ready": True, "journal": "writable", "shed": 0}
        until(lambda: server.metrics()["connections"] == 0, "all connections closed")
        found, used, log = journal_at_rest(server)
        assert {name: found[name] for name in found if found[name]} | {"start_time_seconds": 0} == {
            'hits_total{kind="hit"}': 2,
            'rejected_total{reason="destination"}': 1,
            'rejected_total{reason="domain_not_allowed"}': 1,
            'rejected_total{reason="opt_out"}': 1,
            'rejected_total{reason="prefetch"}': 1,
            'skipped_total{reason="own"}': 1,
            'skipped_total{reason="bot"}': 2,
            'refused_requests_total{status="400"}': 1,
            'other_requests_total{what="not_found"}': 1,
            'other_requests_total{what="method"}': 1,
            "domains": 2,
            "pages": 2,
            "journal_bytes": used,
            "journal_log_bytes": log,
            "start_time_seconds": 0,
        }
        assert send(server.admin, [get(path="/"), get(path="/count.gif")]).why == {"404": 2}


def journal_at_rest(server: PixelServer) -> tuple[dict[str, float], int, int]:
    """The metrics, and the sizes of the store and its log in a moment in which the helper process writes nothing."""
    path = server.data_dir / STORE_NAME
    seen: list[tuple[dict[str, float], int, int]] = []

    def sizes() -> tuple[int, int]:
        with closing(sqlite3.connect(path)) as file:
            names = ("page_count", "freelist_count", "page_size")
            pages, free, size = (file.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
        return (pages - free) * size, path.with_name(f"{STORE_NAME}-wal").stat().st_size

    def is_quiet() -> bool:
        before = sizes()
        seen.append((server.metrics(), *before))
        return sizes() == before

    until(is_quiet, "the store at rest")
    return seen[-1]


def test_every_metric_has_its_help_and_kind(tmp_path: Path) -> None:
    with PixelServer(tmp_path, url="http://127.0.0.1:9") as server:
        lines = server.get("/metrics").splitlines()
    helped = [line.split()[2] for line in lines if line.startswith("# HELP ")]
    kinds = {line.split()[2]: line.split()[3] for line in lines if line.startswith("# TYPE ")}
    named = {line.partition(" ")[0].partition("{")[0] for line in lines if not line.startswith("#")}
    assert named <= set(helped) == kinds.keys()
    assert {kind for name, kind in kinds.items() if name.endswith("_total")} == {"counter"}
    assert {kind for name, kind in kinds.items() if not name.endswith("_total")} == {"gauge"}


def test_the_admin_address_can_be_left_out(tmp_path: Path) -> None:
    with PixelServer(tmp_path, pixel={"admin": ""}) as server:
        assert send(server.listen, [get()]).counted == 1
        assert "healthz" not in server.log


def test_connections_beyond_the_limit_are_turned_away(tmp_path: Path) -> None:
    with PixelServer(tmp_path, pixel={"max_connections": 3}) as server:
        clients = [connect(server.listen) for _ in range(3)]
        for client in clients:
            client.sendall(get())
            assert read_answers(client, 1).counted == 1
        with connect(server.listen) as late:
            assert read_answers(late, 1).why == {"503": 1}
        for client in clients:
            client.close()
        until(lambda: server.metrics()["connections"] == 0, "places")
        assert send(server.listen, [get()]).counted == 1
        assert server.metrics()["connections_turned_away_total"] == 1


def test_systemd_is_told_when_it_is_ready_and_when_it_stops(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(path))
        told.settimeout(20)
        with PixelServer(tmp_path, environment={"NOTIFY_SOCKET": str(path)}):
            assert told.recv(100) == b"READY=1"
        assert told.recv(100) == b"STOPPING=1"


def test_hits_left_in_a_spool_are_told_of_where_there_is_no_server(tmp_path: Path) -> None:
    with PixelServer(tmp_path, url="http://127.0.0.1:9") as server:
        assert send(server.listen, [get()]).counted == 1
    (port,) = free_ports(1)
    shown = PixelServer(tmp_path / "again", data_dir=str(server.data_dir), pixel={"listen": f"127.0.0.1:{port}"})
    with shown:
        assert "may contain hits for InfluxDB" in shown.log


def test_what_serves_is_made_of_the_standard_library_alone() -> None:
    code = (
        "import sys, pfa_flux.serve.server; "
        "print({name.partition('.')[0] for name in sys.modules} - {*sys.stdlib_module_names, 'pfa_flux', '__main__'})"
    )
    shown = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"],
                           capture_output=True, text=True, check=True)  # fmt: skip
    assert shown.stdout.strip() == "set()"
