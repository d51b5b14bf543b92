"""A damaged row of the spool is put by as bytes, and the rest ships; files of 0.1 get their checksums."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pfa_flux import settings
from pfa_flux.errors import StoreError
from pfa_flux.helper.retry import retry
from pfa_flux.journal.spool import SPOOL_NAME, Spool, SpoolReader, quarantine_of
from pfa_flux.pixel.hit import View
from pfa_flux.pixel.pages import Page
from tests.cli import pfa_flux
from tests.engines.plugin import MakeWorkspace
from tests.load import send
from tests.stored import hits_by_page, points, until
from tests.test_shipping import pages, pixel
from tests.upgrading import copied, expected

SECOND = 10**9
T = 1_800_000_000 * SECOND


def spool_of(folder: Path, pages: list[str]) -> None:
    """A spool with a row for each page."""
    made = Spool(folder, "normal", 1 << 30)
    for number, page in enumerate(pages):
        made.commit([Page(View("hit", "https", "example.com", page))], T + number * SECOND)
    made.close()


def change(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / SPOOL_NAME, isolation_level=None)) as file:
        for statement in statements:
            file.execute(statement)


DAMAGE = {
    "an unknown page": "UPDATE turn SET pages = x'ffffffff'",
    "not a multiple of 4": "UPDATE turn SET pages = x'010000'",
    "a flipped byte": "UPDATE turn SET pages = x'01000000'",
    "no bytes": "UPDATE turn SET pages = x''",
    "another time": "UPDATE turn SET time = time + 1",
    "another sess": "UPDATE turn SET sess = 'x' || sess",
    "a sess that is no UTF-8": "UPDATE turn SET sess = CAST(x'ff41' AS TEXT)",
    "a page that is no UTF-8": "UPDATE page SET page = CAST(x'2fff' AS TEXT)",
    "a page with a newline": "UPDATE page SET page = '/a' || char(10) || 'b'",
    "another page": "UPDATE page SET page = '/altered'",
    "no page": "DELETE FROM page",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_one_damaged_row_is_put_by_and_the_rest_is_read(damage: str, tmp_path: Path) -> None:
    spool_of(tmp_path, [f"/{n}" for n in range(9)])
    statement = DAMAGE[damage]
    of_page = "page" in statement.split()[1:3]
    with closing(sqlite3.connect(tmp_path / SPOOL_NAME)) as file:
        (seq,) = file.execute("SELECT seq FROM turn ORDER BY seq LIMIT 1 OFFSET 4").fetchone()
    change(tmp_path, f"{statement} WHERE {'id = 5' if of_page else f'seq = {seq}'}")
    reader = SpoolReader(tmp_path)
    found = reader.after(0, 1000)
    assert [turn.damaged.count if turn.damaged else 0 for turn in found] == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert [view.page for turn in found for view in turn.views if view] == [f"/{n}" for n in range(9) if n != 4]
    reader.close()


def test_hits_of_a_damaged_page_do_not_take_those_beside_them_along(tmp_path: Path) -> None:
    made = Spool(tmp_path, "normal", 1 << 30)
    some = [Page(View("hit", "https", "example.com", f"/{n}")) for n in range(3)]
    made.commit([some[0], some[1], some[1], some[2]], T)
    made.close()
    change(tmp_path, "UPDATE page SET domain = 'examplf.com' WHERE id = 2")
    reader = SpoolReader(tmp_path)
    (turn,) = reader.after(0, 1000)
    assert [view and view.page for view in turn.views] == ["/0", None, None, "/2"]
    assert turn.damaged is not None
    assert turn.damaged.count == 2
    reader.close()
    # A further hit of that page gets a page of its own.
    made = Spool(tmp_path, "normal", 1 << 30)
    made.commit([Page(View("hit", "https", "example.com", "/1"))], T + SECOND)
    made.close()
    reader = SpoolReader(tmp_path)
    assert [view.page for view in reader.after(0, 1000)[1].views if view] == ["/1"]
    reader.close()


def test_flipped_bits_by_the_hundred_never_ship_what_was_not_written(tmp_path: Path) -> None:
    """Each hit is read as it was written, or put by, or its row is gone for good; nothing else is ever read."""
    spool_of(tmp_path / "whole", [f"/{n}" for n in range(200)])
    whole = (tmp_path / "whole" / SPOOL_NAME).read_bytes()
    draw = random.Random(7)
    reader = SpoolReader(tmp_path / "whole")
    written = {(turn.sess, turn.time, turn.views[0]) for turn in reader.after(0, 10_000)}
    reader.close()
    assert len(written) == 200
    read = refused = 0
    for number in range(300):
        folder = tmp_path / str(number)
        folder.mkdir()
        damaged = bytearray(whole)
        for _ in range(draw.choice([1, 1, 5, 50])):
            # Beyond the head of the file: SQLite would not open it.
            damaged[draw.randrange(4096, len(damaged))] ^= 1 << draw.randrange(8)
        (folder / SPOOL_NAME).write_bytes(damaged)
        try:
            reader = SpoolReader(folder)
            found = reader.after(0, 10_000)
        except sqlite3.DatabaseError:
            refused += 1
            continue
        seen = {(t.sess, t.time + n, view) for t in found for n, view in enumerate(t.views) if view is not None}
        assert seen <= written, number
        read += len(seen)
        reader.close()
    assert read > 30_000
    assert refused < 100


def test_a_pixel_with_damaged_rows_ships_the_rest_and_counts_what_it_put_by(
    make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    workspace = make_workspace("influxdb-2.7")
    with pixel(tmp_path, workspace, url="http://127.0.0.1:9") as server:
        for low in range(0, 100, 10):
            assert send(server.listen, pages(100)[low : low + 10]).counted == 10
    change(server.data_dir, "UPDATE page SET page = '/altered' WHERE page = '/7'")
    server = pixel(tmp_path / "again", workspace)
    server.config.write_text(server.config.read_text().replace(str(server.data_dir), str(tmp_path / "data")))
    server.config.chmod(0o600)
    with server:
        until(lambda: server.metrics()["shipped_total"] == 99, "the rest shipped")
        until(lambda: server.metrics()["journal_rows"] == 0, "an empty spool")
        found = server.metrics()
        assert (found["damaged_hits_total"], found["quarantined"], found["helper_restarts_total"]) == (1, 1, 0)
        assert send(server.listen, pages(8)).counted == 8
        until(lambda: server.metrics()["shipped_total"] == 107, "further hits shipped")
    assert "Traceback" not in server.log
    assert hits_by_page(workspace) == {f"/{n}": 1 + (n < 8) - (n == 7) for n in range(100)}
    shown = pfa_flux("quarantine", "--format", "json", "--data-dir", str(tmp_path / "data"))
    assert [(each["points"], each["reason"]) for each in shown.json] == [
        (1, "damaged in the spool: its pages are damaged or missing")
    ]
    with quarantine_of(settings.load({"data_dir": str(tmp_path / "data")}, environ={})) as kept:
        own = settings.load({**workspace.settings(), "data_dir": str(tmp_path / "data")}, environ={})
        written, left = retry(own, kept)
        assert (written, len(left)) == (0, 1)
        assert bytes.fromhex(left[0].lines[0].removeprefix("# ")).count(b" ") >= 3
    assert len(points(workspace)) == 107


def test_a_spool_of_0_1_gets_checksums_and_keeps_its_hits_and_quarantine(tmp_path: Path) -> None:
    folder, said = copied("spool", tmp_path / "data"), expected("spool")
    Spool(folder, "normal", 1 << 30).close()
    with closing(sqlite3.connect(folder / SPOOL_NAME)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (2,)
    reader = SpoolReader(folder)
    found = [
        [view.kind, view.scheme, view.domain, view.page, turn.sess, turn.time + n]
        for turn in reader.after(0, 10_000)
        for n, view in enumerate(turn.views)
        if view is not None
    ]
    assert sorted(found) == sorted(said["waiting"])
    assert [line for each in reader.quarantine.all() for line in each.lines] == said["quarantine_lines"]
    reader.close()


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_row_of_0_1_is_put_by_after_the_upgrade(damage: str, tmp_path: Path) -> None:
    folder, said = copied("spool", tmp_path / "data"), expected("spool")
    statement = DAMAGE[damage]
    if damage in {"a flipped byte", "another time", "another sess", "another page"}:
        pytest.skip("0.1 wrote no checksum that could tell")
    where = (
        "id = (SELECT min(id) FROM page)" if "page" in statement.split()[1:3] else "seq = (SELECT min(seq) FROM turn)"
    )
    change(folder, f"{statement} WHERE {where}")
    Spool(folder, "normal", 1 << 30).close()
    reader = SpoolReader(folder)
    found = reader.after(0, 10_000)
    read = sum(view is not None for turn in found for view in turn.views)
    assert 0 < read < len(said["waiting"])
    assert any(turn.damaged for turn in found)
    reader.close()


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    Spool(tmp_path, "normal", 1 << 30).close()
    change(tmp_path, "PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="has format 99, this version of pfa-flux reads format 2"):
        Spool(tmp_path, "normal", 1 << 30)
