"""A hit whose GIF arrived is counted, once: through kill -9, a full disk, a damaged file and a clock that jumps."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pfa_flux import connect
from pfa_flux.settings import load
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace
from tests.engines.process import children
from tests.load import Crowd, get, send
from tests.pixel_server import PixelServer
from tests.stored import hits_by_page, hits_by_place, points, total, until
from tests.test_shipping import pixel
from tests.webserver import program

SECOND = 10**9
_CONNECTIONS, _EACH = 4, 400


Place = tuple[str, str]
"""Domain and page."""


def names(round_: int) -> list[list[Place]]:
    """A place of its own for every hit of a round, by connections.

    The pages are the same in each round: a stock InfluxDB 1.8 takes 100,000 values of a tag and no more.
    """
    return [[(f"{round_}.example", f"/{thread}/{n}") for n in range(_EACH)] for thread in range(_CONNECTIONS)]


def killed_rounds(servers: Sequence[PixelServer], rounds: int, seed: int) -> list[tuple[set[Place], set[Place]]]:
    """Kill each pixel in the midst of its hits, again and again.

    Returns:
        Of each pixel the places whose hits were answered, and those that were sent.
    """
    draw = random.Random(seed)
    answered: list[set[Place]] = [set() for _ in servers]
    sent: list[set[Place]] = [set() for _ in servers]
    for round_ in range(rounds):
        places = names(round_)
        for server in servers:
            server.launch()
        for server in servers:
            server.wait()
        requests = [[get(page, domain) for domain, page in each] for each in places]
        crowds = [Crowd(server.listen, requests) for server in servers]
        time.sleep(draw.uniform(0.0, 0.3))
        for server in servers:
            server.kill()
        for number, crowd in enumerate(crowds):
            crowd.join()
            for thread in range(_CONNECTIONS):
                answered[number].update(places[thread][: crowd.answered[thread]])
                sent[number].update(places[thread][: crowd.sent[thread]])
    return list(zip(answered, sent, strict=True))


def survive(make_workspace: MakeWorkspace, folder: Path, engines: Sequence[str], rounds: int) -> None:
    workspaces = [make_workspace(engine) for engine in engines]
    servers = [pixel(folder / workspace.server.name, workspace, max_domains=rounds) for workspace in workspaces]
    found = killed_rounds(servers, rounds, seed=rounds)
    for workspace, server, (answered, sent) in zip(workspaces, servers, found, strict=True):
        assert len(answered) > rounds * _CONNECTIONS
        with server:
            until(lambda server=server: server.metrics()["journal_rows"] == 0, "an empty spool")  # type: ignore[misc]
            assert server.metrics()["quarantined"] == 0
        counts = hits_by_place(workspace)
        assert {place: n for place, n in counts.items() if n != 1} == {}
        assert answered - counts.keys() == set()
        assert counts.keys() - sent == set()


@pytest.mark.slow
def test_kill_9_fifty_times_loses_none_that_was_answered(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    survive(make_workspace, tmp_path, ["influxdb-2.7", "influxdb-1.8"], 50)


@pytest.mark.slow
def test_kill_9_of_the_embedded_engine_loses_none_that_was_answered(tmp_path: Path) -> None:
    server = PixelServer(tmp_path)
    ((answered, sent),) = killed_rounds([server], 10, seed=3)
    with connect(data_dir=str(server.data_dir)) as made:
        counts = {
            (row.key["domain"], row.key["page"]): row.hits for row in made.hits(by=["domain", "page"], start="1h")
        }
    assert set(counts.values()) == {1}
    assert answered - counts.keys() == set()
    assert counts.keys() - sent == set()


def test_a_helper_that_is_killed_is_started_again(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace("influxdb-2.7")
    with pixel(tmp_path, workspace) as server:
        assert send(server.listen, [get("/a")]).counted == 1
        until(lambda: total(workspace) == 1, "the first hit in the store")
        (helper,) = children(server.pid)
        subprocess.run(["kill", "-9", str(helper)], check=True)
        assert send(server.listen, [get("/b")]).counted == 1
        until(lambda: total(workspace) == 2, "the second hit in the store")
        until(lambda: server.metrics()["helper_restarts_total"] == 1, "the restart told of")


def test_the_helper_ends_with_the_process_that_was_killed(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    server = pixel(tmp_path, make_workspace("influxdb-2.7"))
    server.start()
    until(lambda: len(children(server.pid)) == 1, "a helper")
    (helper,) = children(server.pid)
    server.kill()
    until(lambda: not Path(f"/proc/{helper}").exists(), "the helper's end")


@pytest.mark.parametrize("embedded", [False, True], ids=["spool", "store"])
def test_a_damaged_journal_is_set_aside_and_counting_goes_on(
    embedded: bool, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    if embedded:
        server, name = PixelServer(tmp_path), "pfa-flux.sqlite3"
    else:
        server, name = pixel(tmp_path, make_workspace("influxdb-2.7"), url="http://127.0.0.1:9"), "spool.sqlite3"
    with server:
        assert send(server.listen, [get()] * 3).counted == 3
    path = server.data_dir / name
    damaged = b"not a database at all" * 500
    path.write_bytes(damaged)
    with server:
        assert send(server.listen, [get()] * 2).counted == 2
        assert server.metrics()["journal_set_aside_total"] == 1
    (aside,) = server.data_dir.glob(f"{name}.damaged-*-0")
    assert aside.read_bytes() == damaged
    assert "is damaged" in server.log
    assert aside.name in server.log


def test_a_journal_that_is_removed_while_it_is_written_is_made_anew(tmp_path: Path) -> None:
    with PixelServer(tmp_path) as server:
        assert send(server.listen, [get("/before")]).counted == 1
        for path in server.data_dir.glob("pfa-flux.sqlite3*"):
            path.unlink()
        until(lambda: server.metrics()["journal_set_aside_total"] == 1, "the loss noticed")
        assert send(server.listen, [get("/after")]).counted == 1
        until(lambda: pages_of(server) == {"/after": 1}, "the new hit")


def pages_of(server: PixelServer) -> dict[str, int]:
    with connect(data_dir=str(server.data_dir)) as made:
        return {row.key["page"]: row.hits or 0 for row in made.hits(by=["page"], start="1h")}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 12 MiB."""
    program("mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m,mode=700", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("embedded", [False, True], ids=["spool", "store"])
def test_on_a_full_disk_hits_are_answered_shed_and_counted_and_afterwards_kept_again(
    embedded: bool, small_disk: Path, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace = make_workspace("influxdb-2.7")
    data = small_disk / "data"
    made = PixelServer(tmp_path, data_dir=str(data)) if embedded else on_disk(tmp_path, workspace, data)
    with made as server:
        assert send(server.listen, [get("/first")] * 10).counted == 10
        ballast = small_disk / "ballast"
        free = shutil.disk_usage(small_disk).free
        ballast.write_bytes(b"\0" * (free - 64 * 1024))
        answers = Counter[str]()
        until(lambda: shed(server, answers) > 50, "shed hits")
        health = server.get("/healthz")
        assert '"journal": "not writable: ' in health
        assert server.metrics()["journal_failing"] == 1
        assert server.metrics()["shed_total"] == answers["shed"]
        ballast.unlink()
        until(lambda: server.metrics()["journal_failing"] == 0, "room again")
        assert send(server.listen, [get("/last")] * 10).counted == 10
        kept = 20 + answers["counted"]
        assert server.metrics()['hits_total{kind="hit"}'] == kept
        if embedded:
            assert sum(pages_of(server).values()) == kept
        else:
            until(lambda: total(workspace) == kept, "all that was kept in the store")
    assert "answered but lost" in server.log


def on_disk(folder: Path, workspace: Workspace, data: Path) -> PixelServer:
    given: dict[str, Any] = {k: v for k, v in workspace.settings().items() if k != "kapacitor_url"}
    return PixelServer(folder, **{**given, "data_dir": str(data)})


def shed(server: PixelServer, answers: Counter[str]) -> int:
    """Send a few hits; count what became of them, and return how many were shed in all."""
    found = send(server.listen, [get(f"/{n}") for n in range(20)])
    answers["counted"] += found.counted
    answers["shed"] += found.why["shed"]
    assert found.counted + found.why["shed"] == 20
    return answers["shed"]


def test_a_spool_that_has_its_size_sheds_and_says_so(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    with pixel(tmp_path, make_workspace("influxdb-2.7"), url="http://127.0.0.1:9", spool_mib=1) as server:
        # One after the other, each is a row.
        counted = send(server.listen, [get(f"/{n % 7}") for n in range(30_000)], ahead=1).counted
        until(lambda: server.metrics()["journal_failing"] == 1, "a full spool")
        found = send(server.listen, [get()] * 5)
        assert (found.counted, found.why) == (0, Counter(shed=5))
        assert server.metrics()["journal_rows"] == counted
        assert "spool_mib" in server.get("/healthz")


@pytest.mark.slow
def test_processes_with_clocks_that_jump_lose_no_hit_of_one_page(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    faketime, count = program("faketime"), 8
    workspace = make_workspace("influxdb-2.7")
    clock = tmp_path / "clock"
    set_clock(clock, 0)
    # Out of reach: where the clock jumps, the helper's waits end when they like, which is faketime's doing.
    unreachable, fake = "http://127.0.0.1:9", faked(faketime, clock)
    jumping = [pixel(tmp_path / str(n), workspace, url=unreachable, environment=fake) for n in range(count)]
    with running(jumping):
        counted = 0
        for offset in (0, 3600, -7200, 0.4, -0.4, 2, -2, 86400, 0):
            set_clock(clock, offset)
            counted += at_once(jumping, 50)
        assert counted == count * 50 * 9
    with running([pixel(tmp_path / str(n), workspace) for n in range(count)]) as servers:
        for server in servers:
            until(lambda server=server: server.metrics()["journal_rows"] == 0, "an empty spool")  # type: ignore[misc]
    assert hits_by_page(workspace) == {"/": counted}
    times = {row["time"] // SECOND for row in points(workspace)}
    assert max(times) - min(times) > 86400


@contextmanager
def running(servers: list[PixelServer]) -> Iterator[list[PixelServer]]:
    """Start all of them at once, and stop them in the end."""
    for server in servers:
        server.launch()
    try:
        for server in servers:
            server.wait()
        yield servers
    finally:
        for server in servers:
            server.stop()


def set_clock(path: Path, offset: float) -> None:
    """Let the clocks differ from the true one by so many seconds."""
    fresh = path.with_suffix(".new")
    fresh.write_text(f"{offset:+}\n")
    fresh.replace(path)
    time.sleep(0.05)


def faked(faketime: str, clock: Path) -> dict[str, str]:
    """Environment of a process whose clock is what the file says, looked at again with every reading."""
    found = subprocess.run(
        [faketime, "-f", "+0", "sh", "-c", "echo $LD_PRELOAD"], capture_output=True, text=True, check=True
    )
    return {
        "LD_PRELOAD": found.stdout.strip(),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def at_once(servers: Sequence[PixelServer], each: int) -> int:
    """Send hits of one page to all pixels at the same time. Returns how many were counted."""
    counts = [0] * len(servers)

    def run(place: int) -> None:
        counts[place] = send(servers[place].listen, [get()] * each, ahead=5).counted

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(servers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


@pytest.mark.slow
def test_a_million_hits_of_one_process_fit_into_a_stock_1_8(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace("influxdb-1.8")
    requests = [get(f"/{n}") for n in range(200)]
    with pixel(tmp_path, workspace) as server:
        counted = 0
        for _ in range(50):
            counted += send(server.listen, requests * 100, ahead=200).counted
        assert counted == 1_000_000
        until(lambda: server.metrics()["journal_rows"] == 0, "an empty spool")
        assert server.metrics()["quarantined"] == 0
    assert hits_by_page(workspace) == {f"/{n}": 5000 for n in range(200)}


def test_full_synchronisation_is_what_sqlite_is_told(tmp_path: Path) -> None:
    from pfa_flux.journal.spool import Spool

    for word, number in (("normal", 1), ("full", 2)):
        made = Spool(tmp_path / word, word, 1 << 30)
        assert made._connection.execute("PRAGMA synchronous").fetchone() == (number,)
        assert made._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        made.close()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="handles can be counted on Linux alone")
@pytest.mark.parametrize("embedded", [False, True], ids=["spool", "store"])
def test_checkpoints_take_no_further_handles(embedded: bool, tmp_path: Path) -> None:
    from pfa_flux.journal.embedded import StoreJournal
    from pfa_flux.journal.spool import Spool
    from pfa_flux.pixel.hit import View
    from pfa_flux.pixel.pages import Page

    settings = load({"data_dir": str(tmp_path)}, environ={})
    made = StoreJournal(settings) if embedded else Spool(tmp_path, "normal", 1 << 30)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for turn in range(1, 4):
        made.commit([Page(View("hit", "https", "example.com", "/"))], turn * SECOND)
        made.checkpoint()
        assert len(list(Path("/proc/self/fd").iterdir())) == before
    made.close()


@pytest.mark.slow
def test_a_second_process_on_the_same_directory_is_told_so(tmp_path: Path) -> None:
    with PixelServer(tmp_path / "a") as server:
        other = PixelServer(tmp_path / "b", data_dir=str(server.data_dir))
        with pytest.raises(AssertionError, match=f"is being written to by process {server.pid}"):
            other.start()
        other.stop()
        assert send(server.listen, [get()]).counted == 1


def test_a_commit_that_another_process_holds_up_is_made_later(tmp_path: Path) -> None:
    with PixelServer(tmp_path) as server:
        assert send(server.listen, [get("/a")]).counted == 1
        holder = sqlite3.connect(server.data_dir / "pfa-flux.sqlite3", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        done = threading.Event()

        def hit() -> None:
            assert send(server.listen, [get("/b")]).counted == 1
            done.set()

        thread = threading.Thread(target=hit)
        thread.start()
        assert not done.wait(0.5)
        # The loop is not held up meanwhile.
        assert '"journal": "writable"' in server.get("/healthz")
        holder.execute("ROLLBACK")
        holder.close()
        thread.join()
        assert done.is_set()
        assert pages_of(server) == {"/a": 1, "/b": 1}
