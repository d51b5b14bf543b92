"""The helper process and the loop's background tasks are watched: none dies unseen, and /healthz says the truth."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from influxdb_client.rest import ApiException
from urllib3 import HTTPHeaderDict

from pfa_flux.engines.influxdb.refusals import LONGEST_WAIT, _retry_after
from pfa_flux.helper.process import LONGEST_LINE, Lines, Worker, _bounded
from pfa_flux.journal.order import Order
from pfa_flux.journal.shipped import Shipped
from pfa_flux.serve.health import Progress
from tests.engines.plugin import MakeWorkspace
from tests.faulty import Faulty
from tests.load import send
from tests.stored import hits_by_page, total, until
from tests.test_refusals import status_of
from tests.test_shipping import pages, pixel


class Odd(Faulty):
    """Answers writes with whatever it is given."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.answer: tuple[int, dict[str, str], bytes] | bytes | None = None

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        if self.answer is None or not request.path.startswith("/api/v2/write"):
            super().handle(request)
            return
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        self.seen["odd"] += 1
        if b"204" in (self.answer if isinstance(self.answer, bytes) else b"%d" % self.answer[0]):
            # Cut or odd as it is, it says that the write is done.
            headers = {name: request.headers[name] for name in ("Authorization", "Content-Encoding", "Content-Type")}
            self._pool.request("POST", f"{self._target}{request.path}", body=body, headers=headers)
        if isinstance(self.answer, bytes):
            request.wfile.write(self.answer)
            request.close_connection = True
            return
        status, headers, body = self.answer
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)


@pytest.mark.slow
def test_a_login_page_takes_no_hit(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace("influxdb-2.7")
    with Odd(workspace.server.url) as proxy, pixel(tmp_path, workspace, url=proxy.url) as server:
        proxy.answer = (200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>login</html>")
        began = time.monotonic()
        assert send(server.listen, pages(3)).counted == 3
        until(lambda: status_of(server.admin) == 503, "the health check knows")
        assert time.monotonic() - began < 10
        assert "answers a write with 200 (text/html), but InfluxDB answers 204" in server.get("/healthz")
        assert (server.metrics()["shipped_total"], server.metrics()["journal_rows"]) == (0, 3)
        proxy.answer = None
        until(lambda: server.metrics()["shipped_total"] == 3, "all shipped")
        until(lambda: status_of(server.admin) == 200, "well again")
    assert hits_by_page(workspace) == {f"/{n}": 1 for n in range(3)}


def odd_answers(draw: random.Random) -> list[tuple[int, dict[str, str], bytes] | bytes]:
    """Answers that no InfluxDB gives: of any size and encoding, and cut anywhere."""
    whole = b"HTTP/1.1 204 No Content\r\nX-Influxdb-Version: v2\r\nContent-Length: 0\r\n\r\n"
    long = json.dumps({"code": "internal error", "message": "x" * 70_000}).encode()
    return [
        (500, {}, long),
        (500, {"Content-Type": "application/json"}, b"[" * 70_000),
        (503, {"Retry-After": "0"}, draw.randbytes(100_000)),
        (500, {"Content-Encoding": "gzip"}, b"no gzip"),
        (500, {"Content-Type": "text/plain; charset=utf-16"}, "ü".encode("utf-16")),
        (429, {"Retry-After": "nonsense"}, b"\xff\xfe\x00" * 1000),
        (500, {}, b"null"),
        (500, {}, b'{"message": {"a": ["\\ud800"]}}'),
        (301, {"Location": "/login"}, b""),
        (204, {"Content-Length": "x"}, b""),
        (418, {}, b""),
        *(whole[: draw.randrange(len(whole) - 5)] for _ in range(8)),
        draw.randbytes(300),
        b"HTTP/1.1 500 " + b"x" * 70_000 + b"\r\n\r\n",
    ]


@pytest.mark.parametrize(
    "quarter", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["a quarter", "the others"]
)
def test_odd_answers_of_any_size_and_encoding_stop_nothing(
    quarter: bool, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace, sent = make_workspace("influxdb-2.7"), 0
    with Odd(workspace.server.url) as proxy, pixel(tmp_path, workspace, url=proxy.url) as server:
        for number, answer in enumerate(odd_answers(random.Random(1))):
            if (number % 4 == 0) is not quarter:
                continue
            before, proxy.answer = proxy.seen["odd"], answer
            assert send(server.listen, pages(10)).counted == 10
            sent += 10
            until(lambda before=before: proxy.seen["odd"] >= before + 1, "an odd answer given")  # type: ignore[misc]
            time.sleep(0.1)
            proxy.answer = None
            until(lambda sent=sent: server.metrics()["shipped_total"] == sent, f"shipped after {answer!r:.60}")  # type: ignore[misc]
        assert server.metrics()["helper_restarts_total"] == 0
        assert server.metrics()["quarantined"] == 0
    assert "Traceback" not in server.log
    assert total(workspace) == sent


def answer(said: str) -> ApiException:
    made = ApiException(status=503)
    made.headers = HTTPHeaderDict({"Retry-After": said})
    return made


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("5", 5.0), ("31536000", LONGEST_WAIT), ("9" * 400, LONGEST_WAIT), ("", 0.0), ("-1", 0.0), ("nan", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT), ("Fri, 31 Dec 9999 23:59:59 -2359", LONGEST_WAIT),
        ("Fri, 31 Dec 99999 23:59:59 GMT", 0.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0), ("Fri, 31 Dec 9999", 0.0),
    ],
)  # fmt: skip
def test_a_wait_that_is_asked_for_is_bounded(said: str, seconds: float) -> None:
    assert _retry_after(answer(said)) == seconds


@given(st.text(max_size=60) | st.floats(0, 1e13).map(lambda moment: formatdate(moment % 2.5e11, usegmt=True)))
def test_no_wait_is_longer_than_that(said: str) -> None:
    assert 0.0 <= _retry_after(answer(said)) <= LONGEST_WAIT


@given(st.lists(st.binary(max_size=40), max_size=8), st.data())
def test_lines_are_cut_alike_however_they_come(pieces: list[bytes], data: st.DataObject) -> None:
    whole = b"\n".join(pieces) + b"\n"
    expected = [None if len(text) >= 16 else text for text in whole.split(b"\n")[:-1]]
    lines, found = Lines(16), []
    while whole:
        step = data.draw(st.integers(1, len(whole)))
        found += lines.feed(whole[:step])
        whole = whole[step:]
    assert expected == found


def test_a_message_is_never_longer_than_a_line() -> None:
    worst = "\U0001f4a3" * 100_000
    found = json.dumps(_bounded({"error": worst, "refusing": worst, "relay": worst, "upto": 2**63})).encode()
    assert len(found) < LONGEST_LINE


NOISE = """
import json, os, random, sys, time
draw = random.Random(int(sys.argv[1]))
out = sys.stdout.buffer
for n in range(50):
    for junk in (b"no json\\n", b"[]\\n", b"null\\n", b"{}\\n", b'{"upto": "x"}\\n', b'{"upto": -1}\\n',
                 b'{"upkeep": 3}\\n',
                 draw.randbytes(300) + b"\\n", b"x" * 200_000 + b"\\n", b"[" * 60_000 + b"\\n", b'{"upto": 1e999}\\n'):
        if draw.random() < 0.5:
            out.write(junk)
    out.write(json.dumps({"upto": n, "points": n}).encode() + b"\\n")
out.flush()
"""


class Noisy(Worker):
    """A helper that says anything."""

    async def _start(self) -> asyncio.subprocess.Process:
        import sys

        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", NOISE, str(self.restarts), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self._process


def test_whatever_is_on_the_helpers_output_messages_are_heard_and_it_is_started_again(tmp_path: Path) -> None:
    from pfa_flux.settings import Settings

    told: list[int] = []

    def hear(found: dict[str, Any]) -> None:
        if found.get("upkeep"):
            {}.update(found["upkeep"])
        told.append(Shipped(**found).upto)

    async def live() -> Noisy:
        made = Noisy(lambda: Order(Settings(data_dir=tmp_path)), hear)
        running = asyncio.create_task(made.run())
        while made.restarts < 2:
            await asyncio.sleep(0.02)
        await made.stop()
        running.cancel()
        return made

    made = asyncio.run(live())
    # An empty object is a message of nothing.
    assert [each for each in told if each][:49] == list(range(1, 50))
    assert made.garbled > 100
    assert made.recent_restarts == 2


def test_what_does_not_move_is_said_to_stand() -> None:
    now = 0.0
    made = Progress(lambda: now)
    for moment, mark, standing in (
        (0, None, 0), (1, (0, 5), 0), (4, (0, 5), 3), (9, (0, 5), 8), (10, (3, 5), 0), (12, (3, 6), 0), (20, None, 0),
    ):  # fmt: skip
        now = float(moment)
        made.update(mark)
        assert made.standing == standing
    now = 31.0
    assert (made.standing, made.unwatched) == (0, 11)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found on Linux alone")
def test_a_helper_that_hangs_or_dies_again_and_again_is_told_within_ten_seconds(
    make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace = make_workspace("influxdb-2.7")
    with pixel(tmp_path, workspace) as server:
        assert send(server.listen, pages(5)).counted == 5
        until(lambda: server.metrics()["shipped_total"] == 5, "all shipped")
        (helper,) = children(server.pid)
        # On a busy machine a look may come late: of several times the quickest counts.
        took: list[float] = []
        while len(took) < 3 and min(took, default=10.0) >= 10:
            os.kill(helper, signal.SIGSTOP)
            began = time.monotonic()
            assert send(server.listen, pages(5)).counted == 5
            until(lambda: status_of(server.admin) == 503, "the health check knows")
            took.append(time.monotonic() - began)
            assert "none has been shipped for" in server.get("/healthz")
            os.kill(helper, signal.SIGCONT)
            until(lambda: status_of(server.admin) == 200, "well again")
        assert min(took) < 10
        hits = 5 + 5 * len(took)
        for _ in range(2):
            until(lambda: len(children(server.pid)) == 1, "a helper")
            os.kill(children(server.pid)[0], signal.SIGKILL)
            time.sleep(0.3)
        until(lambda: status_of(server.admin) == 503, "the health check knows")
        assert "the helper process ended 2 times within a minute" in server.get("/healthz")
        # Counters are those of all helpers.
        assert send(server.listen, pages(5)).counted == 5
        until(lambda: server.metrics()["shipped_total"] == hits + 5, "all shipped")
    assert total(workspace) == hits + 5
