"""What a store refuses is written so that it takes it; what it takes in no form is put by, and said aloud."""

from __future__ import annotations

import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from pfa_flux import settings
from pfa_flux.errors import QueryError
from pfa_flux.helper.delivery import Delivery
from pfa_flux.helper.shipper import Shipper
from pfa_flux.journal.notes import Notes
from pfa_flux.journal.quarantine import KEPT_SECONDS
from pfa_flux.journal.shipped import Shipped
from pfa_flux.journal.spool import SPOOL_NAME, Spool, SpoolReader, quarantine_of
from pfa_flux.pixel.hit import View
from pfa_flux.pixel.pages import Page
from pfa_flux.settings import Settings
from tests.cli import pfa_flux
from tests.contract import analytics
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace
from tests.faulty import Faulty
from tests.load import get, send
from tests.meddling import Meddling
from tests.original import delta_query
from tests.stored import HITS, LOADS, hits_by_page, points, total, until
from tests.test_quarantine import put_by
from tests.test_shipping import both, pages, pixel, ship_all

SECOND = 10**9
DAY = 86400 * SECOND


def own_of(workspace: Workspace, folder: Path, url: str = "") -> Settings:
    values = {**workspace.settings(), "data_dir": str(folder)}
    return settings.load({**values, "url": url or values["url"]}, environ={})


def spooled(own: Settings, hits: list[tuple[str, int]], kind: str = "hit") -> None:
    """A spool of hits of pages, each at its time."""
    made = Spool(own.data_dir, "normal", 1 << 30)
    for page, moment in hits:
        made.commit([Page(View(kind, "https", "example.com", page))], moment)  # type: ignore[arg-type]
    made.close()


def shipper_of(own: Settings, clock: Callable[[], int] = time.time_ns) -> Shipper:
    return Shipper(own, SpoolReader(own.data_dir), lambda _: None, lambda _: True, clock)


@both
def test_hits_take_the_type_that_the_field_has_in_each_shard(
    name: str, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    """Floats where they are floats, integers where there are integers or nothing, each hit once, also if sent again."""
    workspace, now = make_workspace(name), time.time_ns() // SECOND * SECOND
    floats, integers, nothing = now - 21 * DAY, now - 42 * DAY, now - 63 * DAY
    workspace.client.write(
        workspace.raw, [f"{HITS},domain=x count=1.5 {floats}", f"{HITS},domain=x count=7i {integers}"]
    )
    own = own_of(workspace, tmp_path)
    draw = random.Random(3)
    hits = [(f"/{n}", draw.choice([floats, integers, nothing]) + n * SECOND) for n in range(300)]
    spooled(own, hits)
    for _ in range(2):
        # The second time is a helper that was killed before it could say that it had shipped.
        ship_all(own)
        found = [row for row in points(workspace) if row["domain"] == "example.com"]
        assert len(found) == 300
        assert {row["page"] for row in found} == {page for page, _ in hits}
        assert {row["count"] for row in found} == {1}
    reader = SpoolReader(own.data_dir)
    assert reader.quarantine.all() == []
    reader.close()
    # What was nothing became integers: a later integer is taken there.
    workspace.client.write(workspace.raw, [f"{HITS},domain=x count=7i {nothing + 400 * SECOND}"])


@both
def test_a_pixel_in_a_shard_of_floats_ships_all_and_the_figures_are_right(
    name: str, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace, now = make_workspace(name), time.time_ns()
    workspace.client.write(workspace.raw, [f"{HITS},domain=x,page=/ count=1 {now}"])
    with pixel(tmp_path, workspace, load_path="/load.gif") as server:
        assert send(server.listen, pages(50) + [get(path="/load.gif")] * 4).counted == 54
        until(lambda: server.metrics()["shipped_total"] == 54, "all shipped")
        assert send(server.listen, pages(50)).counted == 50
        until(lambda: server.metrics()["shipped_total"] == 104, "all shipped")
        assert (server.metrics()["quarantined"], server.metrics()["refused_points_total"]) == (0, 0)
        assert json.loads(server.get("/healthz"))["shipper"] == "ok"
    assert total(workspace) == 101
    with analytics(workspace, time.time_ns() + SECOND) as made:
        (answer,) = made.blocked_ratio(["example.com"], start="1h")
        assert (answer.hits, answer.js) == (100, 4)


def status_of(address: str) -> int:
    try:
        with build_opener(ProxyHandler({})).open(f"http://{address}/healthz", timeout=10) as found:
            return int(found.status)
    except OSError as error:
        status = int(getattr(error, "code", 0))
        close = getattr(error, "close", None)
        if close:
            close()
        return status


@both
def test_where_most_is_refused_everything_says_so(name: str, make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace(name)
    workspace.client.write(workspace.raw, [f'{HITS},domain=x count="1" {time.time_ns()}'])
    with pixel(tmp_path, workspace) as server:
        server.config.chmod(0o600)
        began = time.monotonic()
        assert send(server.listen, pages(5)).counted == 5
        until(lambda: status_of(server.admin) == 503, "the health check knows")
        assert time.monotonic() - began < 10
        assert json.loads(server.get("/healthz"))["wrong"] == [
            "InfluxDB refuses most hits, and they go into quarantine: a field has another type in the store, "
            "and neither integers nor floats are taken"
        ]
        found = server.metrics()
        assert (found["shipped_total"], found["refused_points_total"], found["shipper_refused"]) == (0, 5, 1)
    # A start does not make it forget, and no visitor's page is in the log.
    with server:
        until(lambda: status_of(server.admin) == 503, "the health check remembers")
        done = pfa_flux("doctor", "--config", str(server.config))
        assert done.code == 1
        assert "InfluxDB refuses most hits" in " ".join(done.out.split())
    assert "/1" not in server.log.replace("/127", "")


def test_nothing_expires_while_most_is_refused_nor_in_the_days_after(
    make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace, now = make_workspace("influxdb-2.7"), time.time_ns()
    workspace.client.write(workspace.raw, [f'{HITS},domain=x count="1" {now}'])
    own, kept = own_of(workspace, tmp_path), KEPT_SECONDS * SECOND
    put_by(own, [f"{HITS},page=/old count=1i 1"], at=now - 2 * kept)
    spooled(own, [("/a", now)])
    made = shipper_of(own, lambda: now)
    made.run()
    made.close()
    assert (made.done.refused, made.done.points, made.done.quarantined) == (1, 0, 2)
    # Weeks later the store takes points again, of another week's shard.
    later = now + 3 * kept
    with closing(sqlite3.connect(own.data_dir / SPOOL_NAME, isolation_level=None)) as file:
        file.execute("DELETE FROM turn")
    spooled(own, [(f"/{n}", now - 100 * DAY) for n in range(120)])
    for then, left in ((later, 2), (later + kept // 2, 2), (later + 2 * kept, 0)):
        made = shipper_of(own, lambda then=then: then)  # type: ignore[misc]
        made.run()
        made.close()
        assert (made.done.refusing, made.done.quarantined) == ("", left)


def test_a_retry_adapts_as_the_pixel_does(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace, now = make_workspace("influxdb-1.8"), time.time_ns()
    workspace.client.write(workspace.raw, [f"{HITS},domain=x count=1 {now}"])
    own = own_of(workspace, tmp_path)
    line = f"{HITS},domain=example.com,page=/a,scheme=https,sess=0,type=pixel count=1i"
    put_by(own, [f"{line} {now}", f"{line} {now + 1}"], [f"{LOADS},domain=x response_time=0.0 {now}"])
    done = pfa_flux(
        "quarantine", "--retry", "--data-dir", str(tmp_path), env=workspace.env() | {"PFA_FLUX_DATA_DIR": ""}
    )
    assert (done.code, done.err) == (0, "3 points were written\nthe quarantine is empty\n")
    assert hits_by_page(workspace) == {"": 1, "/a": 2}


def full_of_sess(workspace: Workspace) -> None:
    """A stock 1.8 that has 100,000 values of `sess` in the measurement of hits."""
    for low in range(0, 100_000, 10_000):
        lines = [
            f"{HITS},domain=old.example,page=/,scheme=https,sess=old{n},type=pixel count=1i 1"
            for n in range(low, low + 10_000)
        ]
        workspace.client.write(workspace.raw, lines)


@pytest.mark.slow
def test_where_sess_has_no_room_sixteen_writers_overwrite_nothing(
    make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    """Same pages, same seconds, answers that get lost: each hit is there once."""
    workspace, now = make_workspace("influxdb-1.8"), time.time_ns() // SECOND * SECOND
    full_of_sess(workspace)
    with Faulty(workspace.server.url) as proxy:
        made = [own_of(workspace, tmp_path / str(n), proxy.url) for n in range(16)]
        for own in made:
            spooled(own, [(f"/{n % 5}", now + n // 40 * SECOND) for n in range(200)])
        failed: list[BaseException] = []

        def ship(own: Settings) -> None:
            try:
                waits = iter(range(1000))

                def wait(_: float) -> bool:
                    time.sleep(0.02)
                    return next(waits) > 200

                shipper = Shipper(own, SpoolReader(own.data_dir), lambda _: None, wait)
                while shipper.done.points < 200:
                    shipper.run()
                shipper.close()
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=ship, args=(own,)) for own in made]
        proxy.mode = "cut"
        for thread in threads:
            thread.start()
        time.sleep(1)
        proxy.mode = "pass"
        for thread in threads:
            thread.join()
    assert failed == []
    found = hits_by_page(workspace)
    assert {page: n for page, n in found.items() if page != "/"} == {f"/{n}": 640 for n in range(5)}
    rows = [row for row in points(workspace) if row["domain"] == "example.com"]
    assert len({row["epoch"] for row in rows}) == 16
    assert {row["sess"] for row in rows} == {None}
    # The original's own query counts them as ever.
    workspace.client.write(
        workspace.raw, [f"{LOADS},domain=example.com,action=load response_time=1 {now + n}" for n in range(200)]
    )
    (row,) = workspace.client.flux(delta_query(workspace.raw, "example.com", now - SECOND, now + 60 * SECOND))
    assert row["_value"] == 3000


def test_a_hit_that_was_moved_stays_moved_for_a_helper_that_was_killed(
    make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    """Room may come by and by. What was once written in the other form is not written in both."""
    workspace, now = make_workspace("influxdb-1.8"), time.time_ns() // SECOND * SECOND
    full_of_sess(workspace)
    own = own_of(workspace, tmp_path)
    spooled(own, [(f"/{n}", now) for n in range(10)])
    ship_all(own)
    workspace.client.influxql(
        "DROP SERIES FROM pf_analytics_test_pixel WHERE domain = 'old.example'", db=workspace.raw.partition("/")[0]
    )
    ship_all(own)
    assert hits_by_page(workspace) == {f"/{n}": 1 for n in range(10)}


class Narrow(Meddling):
    """Takes no more than a number of lines at once, and counts the answers."""

    most = 20

    def _write(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        import gzip

        plain = gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body
        self.seen["writes"] += 1
        if plain.count(b"\n") >= self.most and not plain.startswith(b"#"):
            self._reply(request, 413, b"<html>413 Request Entity Too Large</html>")
        else:
            super()._write(request, body)


@pytest.mark.parametrize("most", [1, 20, 4999])
def test_a_server_that_takes_few_lines_at_once_gets_every_hit(
    most: int, make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace, now = make_workspace("influxdb-2.7"), time.time_ns()
    count = 300 if most == 1 else 6000
    with Narrow(workspace.server.url) as proxy:
        proxy.most = most
        own = own_of(workspace, tmp_path, proxy.url)
        made = Spool(own.data_dir, "normal", 1 << 30)
        made.commit([Page(View("hit", "https", "example.com", f"/{n}")) for n in range(count)], now)
        made.close()
        ship_until(own, count)
        assert proxy.seen["writes"] < count / most + 40
    assert total(workspace) == count
    reader = SpoolReader(own.data_dir)
    assert reader.quarantine.all() == []
    reader.close()


def ship_until(own: Settings, count: int) -> Shipper:
    """Ship until so many points are taken or refused."""
    told: list[Shipped] = []

    def wait(_: float) -> bool:
        return shipper.done.points + shipper.done.refused >= count

    shipper = Shipper(own, SpoolReader(own.data_dir), told.append, wait)
    shipper.run()
    shipper.close()
    return shipper


class Store:
    """A store of shards that each have a type, with room for few values of `sess`."""

    def __init__(self, draw: random.Random) -> None:
        self.types = {n: draw.choice(["i", "f", "s", None]) for n in range(6)}
        self.room, self.known = draw.randrange(3), set[str]()
        self.most, self.bad = draw.choice([1, 3, 50, 10_000]), draw.choice([0, 7, 11])
        self.rows: dict[tuple[str, int], str] = {}

    def probe_write(self, bucket: str) -> None:
        """It may be written to."""

    def write(self, bucket: str, lines: list[str]) -> int:
        if len(lines) > self.most:
            raise QueryError("too large", "", 413)
        dropped, why = 0, ""
        for line in lines:
            head, field, moment = line.rsplit(" ", 2)
            words = self._refused(head, field, int(moment))
            if words:
                dropped, why = dropped + 1, why or words
            else:
                self.rows[head, int(moment)] = field
        if dropped:
            raise QueryError(f"partial write: {why} dropped={dropped}", "", 422)
        return len(lines)

    def _refused(self, head: str, field: str, moment: int) -> str:
        if self.bad and moment % self.bad == 3:
            return "points beyond retention policy"
        tags = dict(tag.split("=") for tag in head.split(",")[1:])
        if "sess" in tags and tags["sess"] not in self.known:
            if len(self.known) >= self.room:
                return (
                    f'max-values-per-tag limit exceeded (2/2): measurement="{HITS}" tag="sess" value="{tags["sess"]}"'
                )
            self.known.add(tags["sess"])
        shard, kind = moment // (6 * 3600 * SECOND), "i" if field.endswith("i") else "f"
        if self.types[shard] is None:
            self.types[shard] = kind
        return "" if self.types[shard] == kind else "field type conflict: is type float"


@pytest.mark.parametrize("seed", range(40))
def test_whatever_a_store_refuses_each_point_is_there_once_or_refused(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    store = Store(draw)
    own = settings.load({"url": "http://127.0.0.1:9", "org": "o", "data_dir": str(tmp_path)}, environ={})
    Spool(tmp_path, "normal", 1 << 30).close()
    reader = SpoolReader(tmp_path)
    delivery = Delivery(own, store, reader.notes)  # type: ignore[arg-type]
    lines = [
        f"{HITS},domain=a,page=/{n % 3},scheme=https,sess={draw.randrange(5)},type=pixel count=1i "
        f"{draw.randrange(6) * 6 * 3600 * SECOND + n}"
        for n in range(200)
    ]
    refused = {line for each in delivery.write(lines) for line in each.lines}
    before = dict(store.rows)
    # Sent again by a helper that knows nothing of it, it is what it was.
    again = Delivery(own, store, Notes(reader._connection)).write(lines)  # type: ignore[arg-type]
    assert {line for each in again for line in each.lines} == refused
    assert store.rows == before
    assert len(store.rows) + len(refused) == 200
    for line in refused:
        moment = int(line.rsplit(" ", 1)[1])
        assert (store.bad and moment % store.bad == 3) or store.types[moment // (6 * 3600 * SECOND)] == "s"
    reader.close()


def test_quarantine_of_0_1_has_notes_as_well(tmp_path: Path) -> None:
    from tests.upgrading import copied

    own = settings.load({"data_dir": str(copied("spool", tmp_path / "data"))}, environ={})
    with quarantine_of(own) as found:
        assert found.notes.moved() == set()
        assert not found.notes.outcome().refusing
