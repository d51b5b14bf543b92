"""Nothing that a visitor sends but scheme, domain and page is kept anywhere, not even for a while."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace
from tests.load import connect, read_answers, send
from tests.pixel_server import PixelServer
from tests.stored import total, until
from tests.test_shipping import pixel

CANARY = "c4n4ry"
MARK = CANARY.encode()


def requests() -> list[bytes]:
    """Requests with canaries in every place but the page: counted ones, rejected ones, and malformed ones."""
    headers = (
        f"User-Agent: {CANARY}-agent\r\nCookie: id={CANARY}-cookie\r\nAuthorization: Basic {CANARY}-auth\r\n"
        f"X-Forwarded-For: 203.0.113.7, {CANARY}-for\r\nX-Real-IP: {CANARY}-ip\r\nForwarded: for={CANARY}-forwarded\r\n"
        f"Accept: {CANARY}/accept\r\nAccept-Language: {CANARY}-language\r\nAccept-Encoding: {CANARY}-encoding\r\n"
        f"Origin: https://{CANARY}-origin.example\r\nIf-None-Match: {CANARY}-etag\r\nRange: {CANARY}-range\r\n"
        f"Sec-Purpose: {CANARY}-purpose\r\nPurpose: {CANARY}\r\nX-Moz: {CANARY}\r\nSec-GPC: {CANARY}\r\n"
        f"X-Purpose: {CANARY}\r\nDNT: {CANARY}\r\nX-Forwarded-Host: {CANARY}-host\r\nX-Forwarded-Proto: {CANARY}\r\n"
        f"X-{CANARY}-Name: {CANARY}-own\r\nConnection: {CANARY}-token\r\nVia: 1.1 {CANARY}\r\n"
    )
    referers = (
        f"https://{CANARY}-user:{CANARY}-password@example.com/page?{CANARY}=query#{CANARY}-fragment",
        f"https://example.com/page?utm={CANARY}",
        f"/relative?{CANARY}",
        f"{CANARY}://nothing",
        f"https://{CANARY} /",
        f"android-app://{CANARY}",
        f"https://{CANARY}-elsewhere.example/",
        "",
    )
    host = "Host: example.com\r\n"
    whole = [
        f"GET /count.gif?{CANARY}-target HTTP/1.1\r\n{host}{headers}"
        f"{f'Referer: {referer}' if referer else 'X-A: b'}\r\n"
        f"Content-Length: {len(CANARY) * 2}\r\n\r\n{CANARY * 2}"
        for referer in referers
    ]
    # What the front says, and where a browser puts the answer, in words that are not ours.
    odd = [
        f"GET /count.gif HTTP/1.1\r\n{host}Referer: https://example.com/\r\nX-Pfa-Skip: {CANARY}\r\n\r\n",
        f"GET /count.gif HTTP/1.1\r\n{host}Referer: https://example.com/\r\nSec-Fetch-Dest: {CANARY}\r\n\r\n",
        f"GET /count.gif?{CANARY} HTTP/1.1\r\n{host}Referer: https://{CANARY}@example.com/?{CANARY}#{CANARY}\r\n"
        f"Sec-Purpose: prefetch;pfa-flux-check\r\nCookie: {CANARY}\r\n\r\n",
        f"GET /count.gif HTTP/1.1\r\n{host}Referer: https://{CANARY}.example/{CANARY}\r\n"
        f"Sec-Purpose: prefetch;pfa-flux-check\r\n\r\n",
        f"GET /{CANARY}.gif HTTP/1.1\r\n{host}\r\n",
        f"HEAD /count.gif?{CANARY} HTTP/1.1\r\n{host}{headers}\r\n",
        f"POST /count.gif HTTP/1.1\r\n{host}Content-Length: {len(CANARY)}\r\n\r\n{CANARY}",
        f"{CANARY.upper()} /count.gif HTTP/1.1\r\n{host}\r\n",
    ]
    malformed = [
        f"GET /count.gif HTTP/1.1\r\n{host}Bad {CANARY}: x\r\n\r\n",
        f"GET /count.gif HTTP/1.1\r\nHost: {CANARY}/ /\r\n\r\n",
        f"{CANARY}\r\n\r\n",
        f"GET /count.gif HTTP/1.1\r\n{host}Content-Length: {CANARY}\r\n\r\n",
    ]
    return [text.encode() for text in (*whole, *odd, *malformed)]


def provoke(server: PixelServer) -> None:
    """Send all of it, each over a connection of its own, and hits whose pages are all that may be kept."""
    for request in requests():
        with connect(server.listen) as client:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            while client.recv(4096):
                pass
    with connect(server.listen) as client:
        client.sendall(b"GET /count.gif HTTP/1.1\r\nX-Half: " + MARK)
    half = connect(server.listen)
    half.sendall(b"GET /count.gif?" + MARK)
    half.close()


def kept(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the settings."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "pfa-flux.toml"
    }


def with_canary(files: dict[str, bytes]) -> list[str]:
    return [name for name, data in files.items() if MARK in data.lower()]


def test_the_check_sees_what_is_kept(tmp_path: Path) -> None:
    with PixelServer(tmp_path) as server:
        page = f"GET /count.gif HTTP/1.1\r\nHost: a\r\nReferer: https://example.com/{CANARY}\r\n\r\n".encode()
        assert send(server.listen, [page]).counted == 1
        assert with_canary(kept(tmp_path)) != []


@pytest.mark.parametrize("embedded", [False, True], ids=["spool", "store"])
def test_no_canary_is_in_any_file_log_or_metric(embedded: bool, make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    domains = ["example.com"]
    server = (
        PixelServer(tmp_path, pixel={"domains": domains})
        if embedded
        else pixel(tmp_path, make_workspace("influxdb-2.7"), url="http://127.0.0.1:9", domains=domains)
    )
    with server:
        provoke(server)
        # Two by their Referer, one relative, one without any; the others name no domain that counts.
        assert server.metrics()['hits_total{kind="hit"}'] == 4
        assert server.metrics()['refused_requests_total{status="400"}'] == 4
        assert server.metrics()['skipped_total{reason="other"}'] == 1
        assert server.metrics()['rejected_total{reason="destination"}'] == 1
        assert server.metrics()['rejected_total{reason="check"}'] == 2
        assert with_canary(kept(tmp_path)) == []
        assert CANARY not in server.get("/metrics").lower() + server.get("/healthz").lower()
        server.kill()
    assert with_canary(kept(tmp_path)) == []
    assert CANARY not in server.log
    assert "127.0.0.1" not in server.log.replace(server.listen, "").replace(server.admin, "").replace("127.0.0.1:9", "")
    assert "example.com" not in server.log


@pytest.mark.parametrize("name", ["influxdb-1.8", "influxdb-2.7"])
def test_no_canary_is_in_influxdb_nor_in_quarantine(name: str, make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace: Workspace = make_workspace(name)
    # What comes to the store as a hit is refused the second time: then it lies in quarantine.
    with pixel(tmp_path, workspace, domains=["example.com"]) as server:
        provoke(server)
        until(lambda: total(workspace) == 4, "four hits in the store")
    database, _, policy = workspace.raw.partition("/")
    everything = [
        workspace.client.influxql(f"SHOW {what}", db=database, rp=policy)
        for what in ("MEASUREMENTS", "SERIES", "FIELD KEYS")
    ]
    everything.append(workspace.client.influxql("SELECT * FROM /.*/", db=database, rp=policy))
    assert CANARY not in str(everything).lower()
    refused = make_workspace(name)
    refused.client.write(refused.raw, [f'pf_analytics_test_pixel,domain=x count="1" {time.time_ns()}'])
    with pixel(tmp_path / "refused", refused, domains=["example.com"]) as server:
        provoke(server)
        until(lambda: server.metrics()["quarantined"] == 4, "four hits in quarantine")
    assert with_canary(kept(tmp_path)) == []


def test_a_crash_leaves_neither_a_core_nor_words_of_a_request(tmp_path: Path) -> None:
    with PixelServer(tmp_path) as server, connect(server.listen) as client:
        client.sendall(b"GET /count.gif HTTP/1.1\r\nX-Half: " + MARK)
        time.sleep(0.1)
        limits = Path(f"/proc/{server.pid}/limits").read_text()
        assert [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core")] == [["0", "0"]]
        os.kill(server.pid, signal.SIGABRT)
        with pytest.raises((ConnectionError, AssertionError)):
            assert client.recv(1) != b""
    assert with_canary(kept(tmp_path)) == []
    assert CANARY not in server.log


def test_an_error_within_is_told_by_its_place_alone(caplog: pytest.LogCaptureFixture) -> None:
    import asyncio

    from pfa_flux.serve.server import _log_place

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(_log_place)

    def fail() -> None:
        raise ValueError(CANARY)

    loop.call_soon(fail)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    (record,) = caplog.records
    assert "internal error: ValueError at test_privacy.py:" in record.getMessage()
    assert CANARY not in caplog.text


def test_there_is_no_log_line_for_a_hit(tmp_path: Path) -> None:
    with PixelServer(tmp_path) as server:
        before = server.log
        for request in requests()[:3]:
            with connect(server.listen) as client:
                client.sendall(request)
                read_answers(client, 1)
        assert server.log == before
