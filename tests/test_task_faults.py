"""Whatever fails, and when: afterwards one command makes the downsampled data what the raw data says, and proves it."""

from __future__ import annotations

import copy
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3

from pfa_flux import Analytics, BusyError, PfaFluxError, Point, Progress, Task, UnreachableError
from pfa_flux.windows.rollup import Rollup
from tests import memory_engine
from tests.cli import clean_environment, pfa_flux
from tests.contract import TASKS, analytics, at_length, every_backend, fill, task_workspace
from tests.data import DAY, HOUR, hit
from tests.engines import Server, Workspace, start
from tests.engines.plugin import MakeWorkspace, Pool
from tests.windows import WINDOW, now, remove

DAYS = 80
own_servers = pytest.mark.parametrize(
    "engine", ["influxdb-2.7", *(pytest.param(name, marks=pytest.mark.slow) for name in ("influxdb-1.8", "kapacitor"))]
)


def many_hits(until: int, count: int = 40_000, days: int = DAYS) -> Iterator[Point]:
    """Hits at random times of many days."""
    draw = random.Random(3)
    for i in range(count):
        yield hit(until - draw.randrange(days * DAY), f"{i % 3}.example", f"/{i % 10}", sess=f"{i % 50:x}")


@contextmanager
def own_workspace(engine: str, pool: Pool) -> Iterator[Workspace]:
    """Buckets on a server that only this test uses, and may kill."""
    pool.get(engine)
    with start(engine) as server:
        if server.folder is None:
            pytest.skip("named in the environment: it is not ours to kill")
        workspace = Workspace(server)
        try:
            yield workspace
        finally:
            workspace.close()


@pytest.mark.slow
@own_servers
def test_a_server_killed_during_a_backfill_loses_nothing(engine: str, pool: Pool) -> None:
    at = now()
    with own_workspace(engine, pool) as workspace:
        fill(workspace, at, many_hits(at))
        with analytics(workspace, at) as made:
            task, seen = made.task(), list[Progress]()

            def kill_soon(progress: Progress) -> None:
                seen.append(progress)
                if len(seen) == 2:
                    # A moment later, in the middle of the next piece.
                    threading.Timer(0.05, workspace.server.kill).start()

            with pytest.raises(UnreachableError):
                task.backfill(at - (DAYS + 1) * DAY, report=kill_soon)
            assert 0 < seen[-1].done < seen[-1].total
            workspace.server.start_process()
            assert task.gaps(at - (DAYS + 1) * DAY).state == "gaps"
            task.backfill(at - (DAYS + 1) * DAY)
            assert task.verify(at - (DAYS + 1) * DAY).clean
            assert sum(Rollup(made.engine, task.spec).totals(0, task.spec.due(at)).values()) == sum(
                p.time < task.spec.due(at) for p in many_hits(at)
            )


@pytest.mark.parametrize("engine", ["influxdb-2.7", pytest.param("kapacitor", marks=pytest.mark.slow)])
def test_a_server_killed_during_a_run_loses_nothing(engine: str, pool: Pool) -> None:
    at = now()
    with own_workspace(engine, pool) as workspace:
        fill(workspace, at, many_hits(at, 20_000, 1))
        with analytics(workspace, at) as made:
            task = made.task()
            task.install()
            for delay in (0.0, 0.01, 0.05):
                stop = task.spec.due(at) - random.Random(delay).randrange(90) * WINDOW
                killer = threading.Timer(delay, workspace.server.kill)
                killer.start()
                with pytest.raises(PfaFluxError):
                    run_for_ever(task, stop)
                # One of two processes may still be there to be killed.
                killer.join()
                workspace.server.start_process()
            task.run()
            assert not task.status(at - DAY).complete
            task.backfill(at - 2 * DAY)
            assert task.verify(at - 2 * DAY).clean
            assert task.plan().state == "up to date"


def run_for_ever(task: Task, stop: int) -> None:
    """One forced run after the other, until the server is gone."""
    while True:
        task.backend.run(task.installed(), stop)


@pytest.mark.slow
@pytest.mark.parametrize("runs", at_length(runs for runs in TASKS if runs != memory_engine.NAME))
def test_a_client_killed_during_a_backfill_goes_on_where_it_was(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = task_workspace(runs, make_workspace), time.time_ns()
    fill(workspace, at, many_hits(at))
    command = str(Path(sys.executable).with_name("pfa-flux"))
    arguments = [command, "task", "backfill", "--start", f"{DAYS + 1}d"]
    killed = 0
    for delay in (0.0, 0.02, 0.1):
        with subprocess.Popen(
            arguments, env=clean_environment(**workspace.env()), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as running:
            with analytics(workspace, at) as made:
                task, before = made.task(), rows_there(made)
                while running.poll() is None and rows_there(made) == before:
                    time.sleep(0.005)
            time.sleep(delay)
            running.send_signal(signal.SIGKILL)
        killed += running.returncode == -signal.SIGKILL
    assert killed > 0
    nothing = "0 windows were missing or short; 0 rows written\n"
    for _ in range(2):
        done, due = pfa_flux(*arguments[1:], env=workspace.env()), task.spec.due(time.time_ns())
        assert (done.code, "windows were missing or short" in done.out) == (0, True)
        again = pfa_flux(*arguments[1:], env=workspace.env()).out
        # Between the two another window may have become due.
        if due == task.spec.due(time.time_ns()):
            break
    assert again == f"hits: {nothing}loads: {nothing}"
    verified = pfa_flux("task", "verify", "--start", f"{DAYS + 1}d", env=workspace.env())
    assert (verified.code, verified.out.startswith("hits: equal: ")) == (0, True)
    assert task.spec.name


def rows_there(made: Analytics) -> int:
    """Windows that have downsampled rows."""
    spec = made.task().spec
    return len(
        Rollup(made.engine, spec).totals(spec.floor(time.time_ns()) - (DAYS + 1) * DAY, spec.floor(time.time_ns()))
    )


@every_backend
def test_a_target_that_was_deleted_is_made_and_filled_again(runs: str, make_workspace: MakeWorkspace) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    fill(workspace, at, many_hits(at, 300, 2))
    with analytics(workspace, at) as made:
        task = made.task()
        task.install()
        task.backfill(at - 3 * DAY)
        made.engine.drop_bucket(made.settings.rollup_bucket)
        found = task.status(at - 3 * DAY)
        assert not found.complete
        if runs != "embedded":
            assert f"the bucket '{made.settings.rollup_bucket}' is missing" in found.summary
            assert task.install(create_bucket=True).made_bucket
        task.backfill(at - 3 * DAY)
        assert task.verify(at - 3 * DAY).clean
        assert task.status(at - 3 * DAY).complete or task.status(at - 3 * DAY).skew < -60
        remove(made)


@pytest.mark.parametrize("runs", ["influxdb-2.7", "kapacitor"])
def test_a_task_that_was_deleted_altered_or_doubled_is_found_and_mended(
    runs: str, make_workspace: MakeWorkspace
) -> None:
    workspace, at = task_workspace(runs, make_workspace), now()
    fill(workspace, at, many_hits(at, 300, 1))
    with analytics(workspace, at) as made:
        task = made.task()
        task.install()
        first = task.installed()
        task.backend.remove(first)
        assert task.plan().state == "create"
        second = task.install().id
        # Altered so that it sums the wrong rows, and has run that way.
        installed = task.installed()
        altered = installed.text.replace("aggregate = sum", "aggregate = max")
        task.backend.update(installed, altered, active=True)
        for n in range(3):
            task.backend.run(task.installed(), task.spec.due(at) - n * WINDOW)
        assert "was changed after" in task.plan().words
        assert "was changed after" in task.status(at - DAY).summary
        task.install()
        task.backend.create()
        assert task.plan().state == "duplicates"
        task.remove(next(found.id for found in task.backend.find() if found.id != second))
        task.repair(at - 2 * DAY)
        assert (task.plan().state, task.verify(at - 2 * DAY).clean) == ("up to date", True)
        remove(made)


class Busy(ThreadingHTTPServer):
    """A gate before a real server, which says that it is too busy to the first writes."""

    def __init__(self, url: str, answers: list[tuple[int, str]]) -> None:
        super().__init__(("127.0.0.1", 0), Gate)
        self.daemon_threads = True
        self.url, self.answers, self.refused = url, answers, 0
        self.pool = urllib3.PoolManager(retries=False)


class Gate(BaseHTTPRequestHandler):
    """Passes everything on, but for the writes that the server is too busy for."""

    server: Busy
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: apart they would wait for each other's acknowledgement.
    wbufsize = -1

    def handle_all(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "/write" in self.path and self.server.answers:
            status, retry_after = self.server.answers.pop(0)
            self.server.refused += 1
            headers, data = ({"Retry-After": retry_after} if retry_after else {}), b'{"message": "too many writes"}'
        else:
            answer = self.server.pool.request(
                self.command, self.server.url + self.path, body=body, headers=dict(self.headers), decode_content=False
            )
            status, headers, data = answer.status, dict(answer.headers), answer.data
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_DELETE = handle_all  # noqa: N815 - names that http.server asks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's own name
        pass


@pytest.mark.parametrize("engine", ["influxdb-1.8", "influxdb-2.7"])
def test_a_busy_server_is_waited_for_as_long_as_it_asks(
    engine: str, make_workspace: MakeWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, at = make_workspace(engine), now()
    fill(workspace, at, many_hits(at, 200, 2))
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    gate = Busy(workspace.server.url, [(503, ""), (429, "7"), (503, ""), (429, "1000")])
    thread = threading.Thread(target=gate.serve_forever)
    thread.start()
    try:
        workspace.server, real = through(workspace, f"http://127.0.0.1:{gate.server_port}"), workspace.server
        with analytics(workspace, at) as made:
            task, seen = made.task(), list[Progress]()
            task.backfill(at - 3 * DAY, report=seen.append)
            assert (slept, gate.refused) == ([1.0, 7.0, 4.0, 60.0], 4)
            assert [progress.waiting for progress in seen[:4]] == slept
            assert task.verify(at - 3 * DAY).clean
            # One that stays busy is given up in the end, and said so.
            made.engine.delete(task.spec.rollup, at - 3 * DAY, at)
            gate.answers = [(503, "60")] * 20
            with pytest.raises(BusyError, match="too busy"):
                task.backfill(at - 3 * DAY)
            assert sum(slept[4:]) == 600
            gate.answers = []
            task.backfill(at - 3 * DAY)
            assert task.verify(at - 3 * DAY).clean
        workspace.server = real
    finally:
        gate.shutdown()
        thread.join()
        gate.server_close()
        gate.pool.clear()


def through(workspace: Workspace, url: str) -> Server:
    """The server, reached by another address."""
    server = copy.copy(workspace.server)
    server.url = url
    return server


@pytest.mark.slow
def test_a_run_of_the_runner_that_was_killed_is_written_down_and_made_up_for(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("embedded")
    at = time.time_ns()
    fill(workspace, at, many_hits(at))
    with analytics(workspace, at) as made:
        made.task().install()
    command = str(Path(sys.executable).with_name("pfa-flux"))
    environment = clean_environment(**workspace.env())
    (Path(workspace.env()["PFA_FLUX_DATA_DIR"]).parent / "pfa-flux.toml").write_text(
        f'[schema]\ntask_name = "{workspace.task_name}"\n'
    )
    environment["PFA_FLUX_CONFIG"] = str(Path(workspace.env()["PFA_FLUX_DATA_DIR"]).parent / "pfa-flux.toml")
    with subprocess.Popen([command, "task", "run", "--due"], env=environment, stderr=subprocess.DEVNULL) as running:
        with analytics(workspace, at) as made:
            before = rows_there(made)
            while running.poll() is None and rows_there(made) == before:
                time.sleep(0.002)
        os.kill(running.pid, signal.SIGKILL)
    assert running.returncode == -signal.SIGKILL
    with analytics(workspace, at) as made:
        task = made.task()
        assert [run.status for run in task.runs()] == ["started", "success"]
        task.run_due()
        assert [run.status for run in task.runs()] == ["success", "failed", "success"]
        assert any("interrupted: the process was ended" in line for line in task.logs())
        assert task.verify(at - (DAYS + 1) * DAY).clean
        assert task.status(at - HOUR).complete
