"""The servers that the tests run on: the right ones, apart from each other, and gone afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import urllib3

from tests.engines import ENGINES, EngineFailedError, EngineUnavailableError, build, process, start
from tests.engines.catalog import PROGRAMS, programs_of
from tests.engines.http import Client, ServerError
from tests.engines.plugin import MakeWorkspace, Pool
from tests.engines.process import Process, wait_until_ready
from tests.engines.servers import RAW, ROLLUP

ROOT = Path(__file__).parents[1]
SERVERS = [engine for engine in ENGINES if engine != "embedded"]


def module(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m tests.engines`, without the settings of whoever runs the tests."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("PFA_FLUX_") or k.startswith("PFA_FLUX_TEST_")}
    return subprocess.run(
        [sys.executable, "-m", "tests.engines", *arguments],
        cwd=ROOT,
        env={**own, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("engine", SERVERS)
def test_an_engine_is_of_the_version_asked_for_and_has_both_buckets(engine: str, pool: Pool) -> None:
    server = pool.get(engine)
    if server.folder is None:
        pytest.skip("named in the environment: its version is its owner's choice")
    influxdb, *others = programs_of(engine)
    assert server.client.version() == influxdb.version
    assert {RAW, ROLLUP} <= server.client.buckets()
    if others:
        ping = Client(server.kapacitor_url, "", "").request("GET", "/kapacitor/v1/ping")
        assert ping.headers["X-Kapacitor-Version"] == others[0].version


@pytest.mark.parametrize("engine", SERVERS)
def test_an_engine_listens_on_loopback_only(engine: str, pool: Pool) -> None:
    server = pool.get(engine)
    pids = [runner.pid for runner in server.runners if isinstance(runner, Process)]
    if not pids or not Path("/proc/net/tcp").exists():
        pytest.skip("its sockets cannot be seen from here")
    for pid in pids:
        assert pid is not None
        addresses = list(listening(pid))
        assert addresses
        assert set(addresses) == {"0100007F"}


def listening(pid: int) -> Iterator[str]:
    """Addresses, as hex, of the sockets that a process listens on; those of IPv6 as they are."""
    targets = []
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        # One that is closed meanwhile is none that it listens on.
        with suppress(FileNotFoundError):
            targets.append(str(handle.readlink()))
    own = {match[1] for target in targets if (match := re.fullmatch(r"socket:\[(\d+)\]", target))}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in own:
                yield fields[1].partition(":")[0]


@pytest.mark.parametrize("engine", ["influxdb-1.8", "influxdb-2.7"])
def test_workspaces_are_apart_from_each_other_and_gone_afterwards(
    engine: str, pool: Pool, make_workspace: MakeWorkspace
) -> None:
    one, other = make_workspace(engine), make_workspace(engine)
    one.client.write(one.raw, ["m f=1i 1"])
    for workspace, count in ((one, 1), (other, 0)):
        database, _, policy = workspace.raw.partition("/")
        assert len(workspace.client.influxql("SELECT * FROM m", db=database, rp=policy)) == count
    buckets = {one.raw, one.rollup, other.raw, other.rollup}
    assert buckets <= pool.get(engine).client.buckets()
    one.close()
    other.close()
    assert not buckets & pool.get(engine).client.buckets()
    assert not one.folder.exists()


def test_a_program_that_dies_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    dying = Process(["sh", "-c", "echo to be or not; exit 3"], tmp_path)
    dying.start()
    with pytest.raises(EngineFailedError, match="thing died at its start; its log ends:\nto be or not"):
        wait_until_ready("thing", dying, lambda: False)


def test_a_program_that_is_not_ready_in_time_is_reported_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_READY_SECONDS", 0.2)
    slow = Process(["sh", "-c", "echo thinking; exec sleep 60"], tmp_path)
    slow.start()
    try:
        with pytest.raises(EngineFailedError, match=r"was not ready in 0 s; its log ends:\nthinking"):
            wait_until_ready("thing", slow, lambda: False)
    finally:
        slow.kill()
    assert not slow.alive()


@pytest.mark.parametrize("engine", ["influxdb-2.7", pytest.param("influxdb-1.8", marks=pytest.mark.slow)])
def test_what_was_written_is_there_after_a_kill_and_a_new_start(engine: str, pool: Pool) -> None:
    pool.get(engine)
    with start(engine) as server:
        if server.folder is None:
            pytest.skip("named in the environment: it is not ours to kill")
        folder = server.folder
        server.client.write(RAW, ["m f=1i 1"])
        server.kill()
        assert not server.client.answers()
        server.start_process()
        database, _, policy = RAW.partition("/")
        assert [row["f"] for row in server.client.influxql("SELECT f FROM m", db=database, rp=policy)] == [1]
    assert not folder.exists()


def test_a_limited_token_is_refused_what_it_was_not_given(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-2.7")
    server = workspace.server
    limited = Client(server.url, server.limited_token(read=(workspace.raw,), write=(workspace.raw,)), server.org)
    limited.write(workspace.raw, ["m f=1i 1"])
    with pytest.raises(ServerError) as caught:
        limited.write(workspace.rollup, ["m f=1i 1"])
    assert caught.value.status == 403


PRINT = """
import json, os, sys
print(json.dumps({k: v for k, v in os.environ.items() if k.startswith("PFA_FLUX_")}))
sys.exit(7)
"""


def test_run_hands_the_settings_to_a_command_and_leaves_nothing(pool: Pool, tmp_path: Path) -> None:
    for engine in ("influxdb-2.7", "kapacitor"):
        pool.get(engine)
    engines = ("influxdb-2.7", "kapacitor", "embedded")
    done = module("run", *engines, "--", sys.executable, "-c", PRINT, TMPDIR=str(tmp_path))
    assert done.returncode == 7, done.stderr
    given = json.loads(done.stdout)
    assert given["PFA_FLUX_URL"] == given["PFA_FLUX_TEST_INFLUXDB_2_7_URL"]
    assert given["PFA_FLUX_TOKEN"] == given["PFA_FLUX_TEST_INFLUXDB_2_7_TOKEN"]
    assert given["PFA_FLUX_ORG"] == given["PFA_FLUX_TEST_INFLUXDB_2_7_ORG"]
    assert "PFA_FLUX_KAPACITOR_URL" not in given
    urls = [given["PFA_FLUX_URL"], given["PFA_FLUX_TEST_KAPACITOR_URL"], given["PFA_FLUX_TEST_KAPACITOR_INFLUXDB_URL"]]
    assert len(set(urls)) == 3
    assert not any(Client(url, "", "").answers() for url in urls)
    assert list(tmp_path.iterdir()) == []


def test_run_stops_its_servers_when_it_is_ended(pool: Pool, tmp_path: Path) -> None:
    pool.get("influxdb-1.8")
    command = [sys.executable, "-m", "tests.engines", "run", "influxdb-1.8", "--"]
    shell = ["sh", "-c", "echo $PFA_FLUX_URL; exec sleep 60"]
    with subprocess.Popen(
        [*command, *shell], cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        url = running.stdout.readline().strip()
        assert Client(url, "", "").answers()
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 130
    with pytest.raises(urllib3.exceptions.HTTPError):
        urllib3.PoolManager(retries=False).request("GET", f"{url}/ping")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [(), ("run",), ("run", "influxdb-9", "--", "true"), ("run", "embedded", "--"), ("run", "embedded"), ("list", "x")],
    ids=" ".join,
)
def test_a_malformed_call_ends_with_2_and_the_usage(arguments: tuple[str, ...]) -> None:
    done = module(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: python -m tests.engines list" in done.stderr


def test_a_command_that_is_not_there_ends_with_127() -> None:
    done = module("run", "embedded", "--", "no-such-command")
    assert (done.returncode, "cannot run no-such-command" in done.stderr) == (127, True)


def test_list_has_a_line_for_each_engine() -> None:
    done = module("list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(ENGINES)


def nothing_at_hand(tmp_path: Path) -> dict[str, str]:
    """An environment with no server named, an empty cache, and a PATH with neither servers nor tools."""
    empty = tmp_path / "bin"
    empty.mkdir()
    named = {k: "" for k in os.environ if k.startswith("PFA_FLUX_TEST_")}
    return {**named, "XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": str(empty)}


def test_a_missing_tool_is_named_with_how_to_get_it(tmp_path: Path) -> None:
    environment = nothing_at_hand(tmp_path)
    done = module("build", "influxdb-2.7", **environment)
    assert done.returncode == 1
    for tool in ("go: install Go", "cargo: install Rust", "cc: install a C compiler"):
        assert tool in done.stderr
    listed = module("list", **environment)
    assert re.search(r"^influxdb-1\.8 +no .*go: install Go", listed.stdout, re.MULTILINE)


@pytest.mark.slow
def test_a_missing_engine_is_a_skip_or_a_failure_and_the_closing_lines_say_why(tmp_path: Path) -> None:
    environment = {**nothing_at_hand(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    test = "tests/test_engines.py::test_an_engine_is_of_the_version_asked_for_and_has_both_buckets[influxdb-1.8]"
    own_folder = f"--basetemp={tmp_path / 'pytest'}"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", own_folder, "-q", test]
    own = {k: v for k, v in os.environ.items() if not k.startswith("PFA_FLUX_")}

    def tried(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=ROOT, env={**own, **environment, **more}, capture_output=True, text=True, check=False
        )

    skipped = tried()
    assert (skipped.returncode, "1 skipped" in skipped.stdout) == (0, True)
    assert re.search(r"^influxdb-1\.8 +NOT TESTED: influxdb-1\.8 cannot be built", skipped.stdout, re.MULTILINE)
    failed = tried(PFA_FLUX_REQUIRE_ENGINES="all")
    assert (failed.returncode, "1 failed" in failed.stdout) == (1, True)
    assert "is required by PFA_FLUX_REQUIRE_ENGINES" in failed.stdout
    refused = tried(PFA_FLUX_REQUIRE_ENGINES="influxdb-9")
    assert (refused.returncode, "names influxdb-9" in refused.stderr) == (4, True)


def test_what_two_want_at_once_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    built: list[str] = []
    said: list[str] = []

    def slowly(_program: object, target: Path, _progress: object) -> None:
        built.append(target.name)
        time.sleep(0.3)
        target.write_text("binary")

    program = PROGRAMS["influxdb-1.8"]
    others = [threading.Thread(target=build.build, args=(program, slowly, said.append)) for _ in range(3)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert built == ["influxd"]
    assert len(said) == 2
    assert all(word.startswith("waiting for another process that builds influxdb-1.8") for word in said)
    assert build.cached(program).read_text() == "binary"


def test_a_failed_build_leaves_nothing_that_looks_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    program = PROGRAMS["influxdb-1.8"]

    def failing(_program: object, target: Path, _progress: object) -> None:
        target.write_text("half")
        raise EngineUnavailableError("building failed")

    with pytest.raises(EngineUnavailableError):
        build.build(program, failing, print)
    assert not build.cached(program).exists()
    assert [path.suffix for path in build.cache_directory().iterdir()] == [".lock"]


@contextmanager
def in_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    yield


def test_a_binary_on_path_is_taken_if_its_version_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.engines import source

    fake = tmp_path / "influxd"
    for version, taken in (("InfluxDB v2.7.3 (git: none)", True), ("InfluxDB v2.4.0", False), ("no version", False)):
        fake.write_text(f"#!/bin/sh\necho '{version}'\n")
        fake.chmod(0o755)
        source._version_of.cache_clear()
        with in_path(tmp_path, monkeypatch):
            assert source.find(PROGRAMS["influxdb-2.7"]).origin.startswith("on PATH") == taken
    source._version_of.cache_clear()
