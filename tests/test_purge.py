"""The embedded store removes no raw row that its window does not hold, whatever the clock does."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pfa_flux import Analytics, Settings, settings
from pfa_flux.doctor.checks import examine
from pfa_flux.engines.base import Uncounted
from pfa_flux.engines.sqlite import Embedded
from pfa_flux.engines.sqlite.purge import remove_rows
from pfa_flux.helper.housekeeper import purge
from pfa_flux.journal.embedded import StoreJournal
from pfa_flux.pixel.hit import View
from pfa_flux.pixel.pages import Page
from pfa_flux.schema import BOTH, Side
from pfa_flux.tasks.state import State, UpkeepNote
from pfa_flux.times import NS
from pfa_flux.windows.spec import TaskSpec
from pfa_flux.windows.upkeep import prove_days
from pfa_flux.windows.verify import Verification, verify
from tests.clocked_pixel import BASE, EVER, WINDOW, Pixel, count, downsampled, purged_until
from tests.data import DAY, HOUR, MINUTE, READY, hit, load


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return settings.load({"data_dir": str(tmp_path / "data")}, environ={}, directory=tmp_path)


@pytest.fixture
def store(own: Settings) -> Iterator[Embedded]:
    with closing(Embedded(own)) as made:
        yield made


# What is removed was compared.

OLD = BASE + 40 * DAY
"""A present by which rows of the first days have had their time."""


def old_rows(store: Embedded, own: Settings) -> None:
    store.write(own.raw_bucket, [hit(BASE + n * HOUR) for n in range(24)] + [load(BASE + n * HOUR) for n in range(24)])


@pytest.mark.parametrize("side", BOTH)
def test_a_comparison_that_saw_fewer_rows_than_there_are_is_no_proof(
    own: Settings, store: Embedded, side: Side, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old_rows(store, own)

    def blind(rollup: Any, *span: int) -> Verification:
        if rollup.spec.what is side:
            return Verification(0, 0, 0, 0, 0, 0, (), ())
        return verify(rollup, *span)

    monkeypatch.setattr("pfa_flux.helper.housekeeper.verify", blind)
    assert purge(store, own, OLD, 0) == 0
    assert count(own, "raw") == 48
    assert f"24 page views of {TaskSpec.from_settings(own, side).source} were not compared" in caplog.text
    monkeypatch.undo()
    assert purge(store, own, OLD, 0) == 48


def test_rows_that_are_no_page_views_go_with_the_others(own: Settings, store: Embedded) -> None:
    store.write(own.raw_bucket, [load(BASE, action=READY), load(BASE + 3 * DAY), hit(BASE + 5 * DAY)])
    assert purge(store, own, OLD, 0) == 3
    assert count(own, "raw") == 0


@pytest.mark.parametrize("every", [420, 600, 900, 3600, 5400])
def test_the_watermark_is_the_end_of_the_window_of_the_newest_row_that_was_removed(tmp_path: Path, every: int) -> None:
    own = Settings(data_dir=tmp_path / "data")
    own = replace(own, task=replace(own.task, every=every))
    with closing(Embedded(own)) as store:
        old_rows(store, own)
        assert purge(store, own, OLD, 0) == 48
        newest = BASE + 23 * HOUR
        assert store.kept_since(own.raw_bucket, OLD) == newest // (every * NS) * every * NS + every * NS


def test_a_row_that_comes_between_proof_and_removal_stays_and_is_compared_the_next_time(
    own: Settings, store: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_rows(store, own)

    def slowly(rollup: Any, *span: int) -> None:
        prove_days(rollup, *span)
        if rollup.spec.what is Side.LOADS:
            store.write(own.raw_bucket, [hit(BASE + 3 * HOUR + 7, sess="late")])

    monkeypatch.setattr("pfa_flux.helper.housekeeper.prove_days", slowly)
    assert purge(store, own, OLD, 0) == 0
    monkeypatch.undo()
    assert purge(store, own, OLD, 0) == 49
    assert sum(value for (_, _), value in downsampled(own).items()) == 49


@pytest.mark.parametrize("late", [(), (BASE + 2 * HOUR + 5,), (BASE + 10 * HOUR + 1,), (BASE + 11 * HOUR + 9,)])
def test_a_removal_that_was_broken_off_goes_on_and_promises_no_more_than_it_did(
    own: Settings, store: Embedded, late: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two hits and two loads an hour, the second a minute later.
    rows = [make(BASE + n * HOUR + m * MINUTE) for n in range(24) for m in (0, 1) for make in (hit, load)]
    store.write(own.raw_bucket, rows)
    removed = Embedded.purge

    def broken_off(self: Embedded, *args: Any, **more: Any) -> int:
        return remove_rows(self, "raw", args[1], args[2], more["proved"], 41)

    monkeypatch.setattr(Embedded, "purge", broken_off)
    # Up to the first minute of the window of 10 o'clock: its second is there yet.
    assert purge(store, own, OLD, 0) == 42
    assert purged_until(own) == BASE + 10 * HOUR + 1
    monkeypatch.setattr(Embedded, "purge", removed)
    store.write(own.raw_bucket, [hit(at, sess="late") for at in late])
    purge(store, own, OLD, 0)
    assert count(own, "raw") == 0
    counted = sum(downsampled(own).values())
    lost = store.uncounted(TaskSpec.from_settings(own).raw)
    after = sum(at >= BASE + 11 * HOUR for at in late)
    assert counted == 96 + after
    # Where a row came into the window that was broken off, nothing tells it from the others that were left there.
    assert len(late) - after <= lost.dropped <= len(late) - after + 1


def test_what_a_removal_that_was_broken_off_has_left_of_the_last_window_goes_the_next_time(
    own: Settings, store: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(own.raw_bucket, [hit(BASE + n * MINUTE) for n in range(10)])
    with monkeypatch.context() as patch:
        patch.setattr(
            Embedded, "purge", lambda self, _, which, end, proved: remove_rows(self, "raw", which, end, proved, 4)
        )
        assert purge(store, own, OLD, 0) == 4
    assert purge(store, own, OLD, 0) == 6
    assert (count(own, "raw"), sum(downsampled(own).values())) == (0, 10)
    assert purged_until(own) == BASE + WINDOW
    assert store.uncounted(TaskSpec.from_settings(own).raw) == Uncounted()


def test_late_rows_of_windows_that_are_gone_are_told_of_and_lower_nothing(
    own: Settings, store: Embedded, caplog: pytest.LogCaptureFixture
) -> None:
    old_rows(store, own)
    assert purge(store, own, OLD, 0) == 48
    before = downsampled(own)
    store.write(own.raw_bucket, [hit(BASE + 3 * HOUR, sess="b"), load(BASE + 4 * HOUR + 5), load(BASE, action=READY)])
    hits, loads = (TaskSpec.from_settings(own, side).raw for side in BOTH)
    assert (store.uncounted(hits), store.uncounted(loads)) == (Uncounted(1), Uncounted(1))
    store.close()
    with Analytics(own, clock=lambda: OLD) as made:
        for side in BOTH:
            assert f"1 {side} arrived too late to be counted" in made.task(side.value).status(BASE).summary
    checks, _ = examine(own, OLD)
    assert [c.status for c in checks if c.name == "raw rows"] == ["warning"] * 2
    assert purge(store, own, OLD, 0) == 0
    assert "1 raw rows of pf_analytics_test_pixel were removed uncounted" in caplog.text
    assert "1 raw rows of pf_analytics_test were removed uncounted" in caplog.text
    assert store.uncounted(hits) == store.uncounted(loads) == Uncounted(0, 1, OLD)
    assert (count(own, "raw"), downsampled(own)) == (0, before)
    store.close()
    with Analytics(own, clock=lambda: OLD) as made:
        assert (
            "1 hits arrived too late and were removed uncounted, last on 2020-02-15" in made.task().status(BASE).summary
        )


def test_late_hits_of_the_pixel_are_told_of_and_others_of_that_day_are_removed(own: Settings) -> None:
    with closing(Embedded(own)) as store:
        old_rows(store, own)
        assert purge(store, own, BASE + 30 * DAY + 12 * HOUR, 0) == 24
    journal = StoreJournal(own)
    journal.commit([Page(View("hit", "https", "example.com", "/"))], BASE + 3 * HOUR)
    journal.close()
    with closing(Embedded(own)) as store:
        assert purge(store, own, OLD, 0) == 24
        assert store.uncounted(TaskSpec.from_settings(own).raw) == Uncounted(0, 1, OLD)
        assert count(own, "raw") == 0
        assert sum(downsampled(own).values()) == 48


# Stores of before.


def as_format_4(own: Settings, until_then: int) -> None:
    """Make a store one of format 4, whose watermark lies elsewhere."""
    with closing(sqlite3.connect(own.data_dir / "pfa-flux.sqlite3")) as connection:
        connection.execute("UPDATE purged SET until = ?", (until_then,))
        connection.executescript("DROP TABLE dropped; DROP TABLE prefetch; PRAGMA user_version = 4")


@pytest.mark.parametrize("writes", [False, True], ids=["reader", "writer"])
@pytest.mark.parametrize("ahead", [3, 370])
def test_a_watermark_beyond_what_was_removed_is_corrected_and_no_window_lowered(
    own: Settings, writes: bool, ahead: int
) -> None:
    pixel = Pixel(own, BASE)
    pixel.live(2 * DAY)
    with closing(Embedded(own)) as store:
        assert purge(store, own, pixel.now + 100 * DAY, 0) == 8 * 6
    as_format_4(own, pixel.now + ahead * DAY)
    gone, before = pixel.now, downsampled(own)
    # As if 0.1 had counted them.
    points = [make(gone + DAY + n * HOUR) for n in range(12) for make in (hit, load)]
    late = [hit(BASE + DAY + 7, sess="late")]
    with closing(sqlite3.connect(own.data_dir / "pfa-flux.sqlite3")) as connection, connection:
        series = dict(connection.execute("SELECT measurement, min(id) FROM series GROUP BY 1").fetchall())
        rows = [(point.time, series[point.measurement], point.value) for point in (*points, *late)]
        connection.executemany("INSERT INTO raw VALUES (?, ?, ?)", rows)
    pixel.now = gone + 2 * DAY
    if writes:
        pixel.keep_house()
        assert purged_until(own) == gone + WINDOW
    with pixel.library() as made:
        assert made.engine.kept_since(own.raw_bucket, pixel.now) == gone + WINDOW
        (row,) = made.blocked_ratio(start=EVER[0], stop=EVER[1])
        assert (row.hits, row.js) == (8 * 3 + 12, 8 * 2 + 12)
    assert {cell: value for cell, value in downsampled(own).items() if cell in before} == before


def test_a_state_of_before_is_read_and_brought_up_to_date(own: Settings) -> None:
    with Analytics(own) as made:
        made.task().install()
        spec = made.task().spec
    path = own.data_dir / "state.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("DROP TABLE upkeep; PRAGMA user_version = 2")
    with closing(State(own)) as state:
        assert state.upkeep(spec) is None
        assert state.select("SELECT count(*) FROM task") == [(1,)]
        state.note_upkeep(spec, [(BASE, BASE + HOUR)], [], BASE + DAY)
        state.note_upkeep(spec, [], [(BASE, BASE + HOUR)], BASE + 2 * DAY)
    with closing(State(own)) as state:
        assert state.upkeep(spec) == UpkeepNote(BASE + 2 * DAY, 4, BASE + DAY, 4)
