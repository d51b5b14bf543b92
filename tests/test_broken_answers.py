"""A server that answers something else than InfluxDB would, in one kind of answer: every command says so in words."""

from __future__ import annotations

import contextlib
import io
import json
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from pfa_flux.cli import main
from tests.engines.plugin import MakeWorkspace
from tests.meddling import Meddling
from tests.stored import HITS, LOADS

_HTML = b"<!doctype html><html><head><title>Log in</title></head><body><form>\xc3\xa9</form></body></html>"


def _leaves(value: Any, change: Callable[[Any], Any]) -> Any:
    """JSON with each of its leaves changed."""
    if isinstance(value, dict):
        return {key: _leaves(each, change) for key, each in value.items()}
    if isinstance(value, list):
        return [_leaves(each, change) for each in value]
    return change(value)


def _rewritten(change: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    def made(body: bytes) -> bytes:
        try:
            return b"\n".join(json.dumps(change(json.loads(line))).encode() for line in body.splitlines() if line)
        except ValueError:
            return json.dumps(change(body.decode("utf-8", "replace").splitlines())).encode()

    return made


ALWAYS_WRONG: dict[str, Callable[[bytes], bytes]] = {
    "an empty object": lambda _: b"{}",
    "null": lambda _: b"null",
    "an empty list": lambda _: b"[]",
    "a number": lambda _: b"7",
    "HTML": lambda _: _HTML,
    "binary": lambda _: bytes(range(256)) * 4,
    "NUL": lambda body: b"\0" + body,
    "results of another shape": lambda _: b'{"results":[{"series":[{"name":1,"columns":["time"],"values":[[1,2]]}]}]}',
    "lists of numbers": lambda _: b'{"results":[1],"buckets":[1],"orgs":[1],"tasks":[1],"content":[1],"runs":[1]}',
    "a deep list": lambda _: b"[" * 100_000,
}
"""Bodies that no answer with a body has."""
MAY_BE_RIGHT: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "no result": lambda _: b'{"results":[]}',
    "a CSV without rows": lambda body: b"\r\n".join(body.split(b"\r\n")[:4]) + b"\r\n\r\n",
    "half": lambda body: body[: len(body) // 2],
    "numbers for texts": _rewritten(lambda body: _leaves(body, lambda leaf: 7 if isinstance(leaf, str) else leaf)),
    "texts for numbers": _rewritten(lambda body: _leaves(body, lambda leaf: "x" if isinstance(leaf, int) else leaf)),
    "null for all": _rewritten(lambda body: _leaves(body, lambda _: None)),
    "lists for all": _rewritten(lambda body: _leaves(body, lambda _: [])),
    "huge numbers": _rewritten(lambda body: _leaves(body, lambda leaf: 10**400 if isinstance(leaf, int) else leaf)),
}
"""Bodies from which some commands may read what is not there, or a figure that nobody can know to be wrong."""
BREAKS = ALWAYS_WRONG | MAY_BE_RIGHT


class Breaking(Meddling):
    """A proxy that breaks one kind of answer."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.kind, self.change = "", BREAKS["null"]
        self.kinds: dict[str, None] = {}

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        kind = _kind(request, body)
        answer = self._forward(request, body)
        if answer.status == 200 and answer.data:
            self.kinds[kind] = None
        data = self.change(answer.data) if kind == self.kind and answer.status == 200 else answer.data
        request.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in {"connection", "transfer-encoding", "content-length", "content-encoding"}:
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)


def _kind(request: BaseHTTPRequestHandler, body: bytes) -> str:
    """What a request asks for, without the names and ids of one run."""
    path = re.sub(r"[0-9a-f]{16}", "ID", request.path.partition("?")[0])
    if path == "/query":
        return " ".join(["InfluxQL", *parse_qs(body.decode())["q"][0].split()[:2]]).split("(")[0]
    if path == "/api/v2/query":
        text = body.decode("utf-8", "replace")
        return "Flux, its version" if "runtime.version" in text else "Flux"
    return f"{request.command} {path}"


TOLERANT = {"GET /ping"} | {f"GET /api/v2/tasks/ID/{what}" for what in ("runs", "logs", "runs/ID", "runs/ID/logs")}
"""Answers whose body is not read, or that a command does without: runs and logs of a task are not kept for ever."""
COMMANDS: dict[str, tuple[str, ...]] = {
    "blocked-ratio": ("blocked-ratio", "--start", "3h", "--by", "page"),
    "blocked-ratio in Flux": ("blocked-ratio", "--start", "3h", "--dialect", "union"),
    "report": ("report", "--start", "3h", "--out", "-"),
    "doctor": ("doctor",),
    "plan": ("task", "plan"),
    "status": ("task", "status"),
    "gaps": ("task", "gaps", "--start", "3h"),
    "verify": ("task", "verify", "--start", "3h"),
    "runs": ("task", "runs"),
    "install-task": ("install-task",),
    "init": ("init", "--yes", "--config", "pfa-flux.toml"),
}


def run(arguments: tuple[str, ...], settings: dict[str, str], folder: Path) -> tuple[int, str]:
    """Exit code of a command in this process, and what it says.

    Raises:
        Whatever is not told in words.
    """
    said, handler = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True), signal.getsignal(signal.SIGINT)
    given = {f"PFA_FLUX_{key.upper()}": value for key, value in settings.items()}
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        patch.chdir(folder)
        for name, value in given.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["pfa-flux", *arguments])
        try:
            main()
        except SystemExit as ended:
            said.seek(0)
            return int(ended.code or 0), said.read()
        finally:
            signal.signal(signal.SIGINT, handler)
    raise AssertionError("unreachable")


WAYS = {"one way": (0,), "another way": (1,), "two ways": (0, 1)}


def breaks_of(command: str, kind: str, ways: str) -> Iterator[str]:
    """Names of ways in which a kind of answer is broken; they differ from kind to kind."""
    names = list(BREAKS)
    first = sum(f"{command} {kind}".encode())
    yield from (names[(first + step * 5) % len(names)] for step in WAYS[ways])


QUICK = {"blocked-ratio", "gaps", "plan"}
"""Commands that are tried ordinarily, against one of the servers each."""


def tries() -> Iterator[Any]:
    """Server, command, and in which ways each kind of answer is broken."""
    for number, command in enumerate(COMMANDS):
        for name in ("influxdb-1.8", "influxdb-2.7"):
            quick = command in QUICK and name.endswith("7") == bool(number % 2)
            if quick:
                yield name, command, "one way"
            yield pytest.param(name, command, "another way" if quick else "two ways", marks=pytest.mark.slow)


@pytest.mark.parametrize(("name", "command", "ways"), list(tries()))
def test_a_broken_answer_is_told(
    name: str, command: str, ways: str, make_workspace: MakeWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, now = make_workspace(name), time.time_ns()
    lines = [f"{HITS},domain=a,page=/{n},scheme=https,sess=0 count=1i {now - n * 60 * 10**9}" for n in range(90)]
    lines += [f"{LOADS},domain=a,page=/{n} response_time=1 {now - n * 60 * 10**9}" for n in range(90)]
    workspace.client.write(workspace.raw, lines)
    own = {**workspace.settings(), "data_dir": str(tmp_path / "data"), "timeout": "20"}
    if name == "influxdb-2.7" and command != "init":
        assert run(("install-task",), own, tmp_path)[0] == 0
    # Of a run whose state is not told nothing more is expected after a while.
    monkeypatch.setattr("pfa_flux.tasks.runners.influxdb._PATIENCE", 3.0)
    problems = []
    with Breaking(workspace.server.url) as proxy:
        through = {**own, "url": proxy.url}

        def once() -> tuple[int, str]:
            (tmp_path / "pfa-flux.toml").unlink(missing_ok=True)
            (tmp_path / "pfa-flux.token").unlink(missing_ok=True)
            return run(COMMANDS[command], through, tmp_path)

        usual, said = once()
        assert usual in {0, 1, 5}, said
        for kind in list(proxy.kinds):
            for way in breaks_of(command, kind, ways):
                proxy.kind, proxy.change = kind, BREAKS[way]
                try:
                    code, said = once()
                except Exception:
                    problems.append(f"{kind}, {way}: {traceback.format_exc(limit=-3)}")
                    continue
                wrong = way in ALWAYS_WRONG and kind not in TOLERANT
                if "Traceback" in said or code not in ({1, 4} if wrong else {0, 1, 3, 4, 5}):
                    problems.append(f"{kind}, {way}: {code} {said[-300:]}")
                elif code == 4 and command != "doctor" and not re.search(r"pfa-flux: .+\n.+", said):
                    problems.append(f"{kind}, {way}: no hint in {said[-300:]}")
    run(("task", "remove"), own, tmp_path)
    assert not problems, f"{len(problems)} of {list(proxy.kinds)}:\n" + "\n".join(problems)
