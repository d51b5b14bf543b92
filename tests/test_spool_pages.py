"""The pages in the spool's file: they leave it when nobody needs them, and the shipper never takes one for another."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from pfa_flux.journal import spool as module
from pfa_flux.journal.spool import SPOOL_NAME, Spool, SpoolReader
from pfa_flux.pixel.hit import View
from pfa_flux.pixel.pages import Page

SECOND = 10**9
T = 1_800_000_000 * SECOND


def page(name: str) -> Page:
    return Page(View("hit", "https", "example.com", name))


def stored(folder: Path) -> dict[str, int]:
    """Ids of the pages in the file."""
    with closing(sqlite3.connect(folder / SPOOL_NAME)) as file:
        return dict(file.execute("SELECT page, id FROM page"))


def shipped(spool: Spool, reader: SpoolReader) -> list[str]:
    """Ship all that waits; returns the pages of the hits."""
    found = reader.after(0, 10_000)
    if found:
        spool.taken_over(found[-1].seq)
        spool.tick()
    assert not any(turn.damaged for turn in found)
    return [view.page for turn in found for view in turn.views if view is not None]


def test_pages_leave_when_they_are_not_told_apart_and_no_hit_of_them_waits(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "normal", 1 << 30)
    kept, gone, waiting = page("/kept"), page("/gone"), page("/waiting")
    spool.commit([kept, gone], T)
    shipped(spool, SpoolReader(tmp_path))
    spool.commit([waiting], T + SECOND)
    spool.tidy([kept])
    assert set(stored(tmp_path)) == {"/kept", "/waiting"}
    assert shipped(spool, SpoolReader(tmp_path)) == ["/waiting"]
    spool.tidy([kept])
    assert set(stored(tmp_path)) == {"/kept"}
    spool.close()


def test_an_id_is_never_used_again_in_this_process_or_the_next(tmp_path: Path) -> None:
    seen: set[int] = set()
    for _ in range(3):
        spool, reader = Spool(tmp_path, "normal", 1 << 30), SpoolReader(tmp_path)
        for number in range(3):
            spool.commit([page(f"/{number}")], T)
            assert shipped(spool, reader) == [f"/{number}"]
            (found,) = stored(tmp_path).values()
            assert found not in seen
            seen.add(found)
            spool.tidy([])
            assert stored(tmp_path) == {}
        spool.close()


def test_pages_are_no_part_of_what_spool_mib_bounds(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "normal", 300_000)
    spool.commit([page(f"/{number}{'x' * 1000}") for number in range(500)], T)
    spool.tick()
    assert spool.used_bytes > 600_000
    assert spool.full == ""
    for second in range(300):
        spool.commit([page("/0" + "x" * 1000)] * 400, T + second * SECOND)
    spool.tick()
    assert "spool_mib" in spool.full
    spool.close()


def test_pages_have_a_bound_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PAGE_BYTES", 100_000)
    spool = Spool(tmp_path, "normal", 1 << 30)
    spool.commit([page(f"/{number}{'x' * 1000}") for number in range(80)], T)
    spool.tick()
    assert not spool.room_for_pages
    shipped(spool, SpoolReader(tmp_path))
    spool.tidy([])
    spool.tick()
    assert spool.room_for_pages
    spool.close()
    again = Spool(tmp_path, "normal", 1 << 30)
    again.tick()
    assert again.room_for_pages
    again.close()


_STEPS = st.lists(
    st.tuples(st.sampled_from(["hit", "hit", "hit", "ship", "forget", "tidy", "restart", "reader"]), st.integers(0, 5)),
    max_size=60,
)


@budget(max_examples=100)
@given(_STEPS)
def test_every_hit_is_shipped_under_its_own_page_whatever_is_forgotten_when(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spool, reader = Spool(folder, "normal", 1 << 30), SpoolReader(folder)
        told: dict[int, Page] = {}
        wanted: list[str] = []
        arrived: list[str] = []
        for number, (what, which) in enumerate([*steps, ("ship", 0)]):
            if what == "hit":
                each = told.setdefault(which, page(f"/{which}"))
                spool.commit([each], T + number * SECOND)
                wanted.append(each.view.page)
            elif what == "ship":
                arrived += shipped(spool, reader)
            elif what == "forget":
                # As `Pages` does: whoever still holds it, as a hit that is not committed yet, gets a new id for it.
                if which in told:
                    told.pop(which).file = None
            elif what == "tidy":
                spool.tidy(told.values())
            elif what == "restart":
                spool.close()
                reader.close()
                spool, reader, told = Spool(folder, "normal", 1 << 30), SpoolReader(folder), {}
            else:
                reader.close()
                reader = SpoolReader(folder)
        assert arrived == wanted
        spool.tidy([])
        assert stored(folder) == {}
        reader.close()
        spool.close()
