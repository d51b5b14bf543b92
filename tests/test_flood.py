"""Forged hits by the ten thousand: the site's own are counted by their names, in bounded memory and a flat file."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pfa_flux.journal.spool import SPOOL_NAME
from pfa_flux.pixel import regulars
from pfa_flux.pixel.hit import View
from pfa_flux.pixel.pages import Regular
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace
from tests.load import Answers, connect, get, read_answers, send
from tests.pixel_server import PixelServer
from tests.stored import hits_by_page, until

SEED = 20261129
OWN = [f"/own{number}" for number in range(200)]
_DOCS = Path(__file__).parents[1] / "docs" / "security.md"
_BOUND = re.compile(r"at most (\d+) MiB and its helper (\d+) MiB")


def bounds() -> tuple[int, int]:
    """What the docs promise: MiB of the process that serves and of its helper."""
    found = _BOUND.search(_DOCS.read_text())
    assert found, "docs/security.md names the bounds"
    return int(found[1]), int(found[2])


def peaks(server: PixelServer) -> tuple[float, float]:
    """The most memory that each of the two has had, MiB."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    (helper,) = children
    return _peak(server.pid), _peak(int(helper))


def _peak(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def forged(count: int, seed: int, *, listed: bool) -> Iterator[bytes]:
    """Requests as a forger makes them: new pages, long ones and short ones, ports, domains, hosts with a user."""
    rng = random.Random(seed)
    for number in range(count):
        page = rng.choice(
            (f"/x{seed}-{number}", f"/{seed}-{number}" + "%F0%9F%98%80" * 80, f"/{rng.getrandbits(64):x}?{number}")
        )
        domain = f"example.com:{rng.randrange(1, 65536)}" if listed else f"{rng.getrandbits(40):x}.example"
        yield get(page, domain)


def flood(address: str, count: int, sources: int, *, listed: bool) -> Answers:
    """Send forged hits from a number of sources; returns what they were answered."""
    total, lock = Answers(), threading.Lock()

    def source(number: int) -> None:
        found = send(address, forged(count // sources, SEED + number, listed=listed), ahead=min(50, count // sources))
        with lock:
            total.counted += found.counted
            total.why += found.why

    for first in range(0, sources, 20):
        threads = [threading.Thread(target=source, args=(n,)) for n in range(first, min(sources, first + 20))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return total


def known(folder: Path, domain: str = "example.com") -> None:
    """The site's own pages, as they were seen on earlier days."""
    (folder / "data").mkdir(0o700, parents=True)
    today = int(time.time() // 86400)
    regulars.save(folder / "data", [Regular(View("hit", "https", domain, each), 3, 50, today - 1) for each in OWN])


def pixel(folder: Path, workspace: Workspace, *, listed: bool) -> PixelServer:
    given: dict[str, Any] = {name: value for name, value in workspace.settings().items() if name != "data_dir"}
    return PixelServer(folder, pixel={"domains": ["example.com"]} if listed else {}, **given)


def kept(server: PixelServer, workspace: Workspace) -> dict[str, int]:
    """Hits by page, once all are stored."""
    if workspace.serverless:
        return {page: count for (page,), count in server.counted("page").items()}
    until(lambda: server.metrics()["journal_rows"] == 0, "all shipped")
    return hits_by_page(workspace)


@pytest.mark.parametrize(
    ("runs", "listed", "sources"),
    [
        ("influxdb-2.7", True, 20),
        ("influxdb-2.7", False, 1),
        ("embedded", True, 1000),
        pytest.param("influxdb-1.8", True, 1, marks=pytest.mark.slow),
        pytest.param("influxdb-1.8", False, 1000, marks=pytest.mark.slow),
        pytest.param("embedded", False, 20, marks=pytest.mark.slow),
    ],
)
def test_the_sites_own_hits_are_counted_by_their_names_through_a_flood(
    runs: str, listed: bool, sources: int, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace = make_workspace(runs)
    known(tmp_path)
    with pixel(tmp_path, workspace, listed=listed) as server:
        unwell: list[str] = []
        ended = threading.Event()

        def owner() -> None:
            with connect(server.listen) as client:
                for each in OWN:
                    client.sendall(get(each))
                    assert read_answers(client, 1).counted == 1
                    if ended.wait(0.02):
                        continue

        def look() -> None:
            while not ended.wait(1):
                if json.loads(server.get("/healthz")).get("wrong"):
                    unwell.append(server.get("/healthz"))

        threads = [threading.Thread(target=each) for each in (owner, look)]
        for thread in threads:
            thread.start()
        found = flood(server.listen, 20_000, sources, listed=listed)
        ended.set()
        for thread in threads:
            thread.join()
        assert unwell == []
        assert found.why == ({} if listed else {"too_many_domains": 20_000 - found.counted})
        pages = kept(server, workspace)
        assert {each: pages.get(each) for each in OWN} == dict.fromkeys(OWN, 1)
        assert sum(pages.values()) == found.counted + len(OWN)
        if listed:
            assert found.counted == 20_000
            # A twelfth of a second brings one more.
            assert len(pages) - len(OWN) - 1 == pytest.approx(5000, abs=50)
            assert server.metrics()["folded_total"] == pages["(other)"]
        # A page that nobody has seen has its name soon after.
        new = iter(range(1000))

        def again() -> bool:
            name = f"/new{next(new)}"
            return send(server.listen, [get(name)]).counted == 1 and kept(server, workspace).get(name) == 1

        until(again, "a new page by its name")
        most = bounds()
        print("peaks, MiB:", peaks(server))
        assert all(used < bound for used, bound in zip(peaks(server), most, strict=True)), (peaks(server), most)
    assert "Traceback" not in server.log


@pytest.mark.slow
def test_a_days_flood_scaled_down_leaves_memory_and_file_flat(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace("influxdb-2.7")
    known(tmp_path)
    with pixel(tmp_path, workspace, listed=True) as server:
        sizes, memory = [], []
        for turn in range(8):
            send(server.listen, forged(25_000, SEED + turn, listed=True))
            assert send(server.listen, [get(each) for each in OWN]).counted == len(OWN)
            until(lambda: server.metrics()["journal_rows"] == 0, "all shipped")
            sizes.append((server.data_dir / SPOOL_NAME).stat().st_size)
            memory.append(peaks(server))
        assert {each: hits_by_page(workspace).get(each) for each in OWN} == dict.fromkeys(OWN, 8)
        print("sizes, bytes:", sizes, "peaks, MiB:", memory)
        # Once what may be told apart is there, nothing grows.
        assert max(sizes[4:]) <= 1.2 * max(sizes[:4])
        for early, late in zip(memory[3], memory[7], strict=True):
            assert late <= early + 4
