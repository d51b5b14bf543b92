"""The embedded store removes no raw row that its window does not hold, whatever the clock does."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from pfa_flux import Analytics, Point, Settings, settings
from pfa_flux.doctor.checks import examine
from pfa_flux.engines.base import Uncounted
from pfa_flux.engines.sqlite import Embedded
from pfa_flux.engines.sqlite.purge import remove_rows
from pfa_flux.helper.housekeeper import Housekeeper, purge
from pfa_flux.journal.embedded import StoreJournal
from pfa_flux.pixel.hit import View
from pfa_flux.pixel.pages import Page
from pfa_flux.schema import BOTH, Side
from pfa_flux.tasks import clock
from pfa_flux.tasks.state import State, UpkeepNote
from pfa_flux.times import NS, parse_instant
from pfa_flux.windows.spec import TaskSpec
from pfa_flux.windows.upkeep import prove_days
from pfa_flux.windows.verify import Verification, verify
from tests.cli import pfa_flux
from tests.data import DAY, HOUR, MINUTE, READY, hit, load
from tests.load import get, send
from tests.oracle import totals
from tests.pixel_server import PixelServer
from tests.stored import until
from tests.test_durability import faked, set_clock
from tests.webserver import program

BASE = parse_instant("2020-01-06T00:00:00Z", 0)
"""So long ago that clocks which are ahead of it are not ahead of the machine's."""
WINDOW = 15 * MINUTE
EVER = (BASE - 1000 * DAY, BASE + 2000 * DAY)


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return settings.load({"data_dir": str(tmp_path / "data")}, environ={}, directory=tmp_path)


class Pixel:
    """A pixel without a server, whose clock does what it is told: it counts, keeps house, and is started again."""

    def __init__(self, own: Settings, now: int) -> None:
        self.own, self.now = own, now
        self.counted: list[Point] = []
        self.late: list[Point] = []
        self.start()

    def start(self, *, accept_clock: bool = False) -> None:
        self._housekeeper = Housekeeper(
            self.own, lambda _: True, newest_series=10**9, accept_clock=accept_clock, clock=lambda: self.now
        )

    def library(self) -> Analytics:
        return Analytics(self.own, clock=lambda: self.now)

    def write(self, hits: int = 3, loads: int = 2, ago: int = 0) -> None:
        """Page views of now or some time ago; further rows of their measurements are none."""
        number = len(self.counted) + len(self.late)
        first = (self.now - ago) // NS * NS + 10 * number
        points = [hit(first + n, page=f"/{n % 2}") for n in range(hits)]
        points += [load(first + n, page=f"/{n % 2}") for n in range(loads)]
        with self.library() as made:
            kept = made.engine.kept_since(self.own.raw_bucket, self.now)
            for point in points:
                (self.counted if point.time >= kept else self.late).append(point)
            made.write([*points, load(first + 9, action=READY)])

    def keep_house(self) -> None:
        before = downsampled(self.own)
        self._housekeeper.once()
        after = downsampled(self.own)
        lowered = [cell for cell, value in before.items() if after.get(cell, 0) < value]
        assert lowered == []

    def live(self, span: int, every: int = 6 * HOUR) -> None:
        """Time goes by, with page views and housekeeping."""
        for _ in range(span // every):
            self.now += every
            self.write()
            self.keep_house()

    def check(self) -> None:
        """Every figure is the oracle's, and what is in none is known."""
        with self.library() as made:
            found = made.blocked_ratio(start=EVER[0], stop=EVER[1], by=["page"])
            said = {row.key["page"]: (row.hits, row.js) for row in found if row.hits or row.js}
            right = {str(key[0]): value for key, value in totals(self.counted, *EVER, ["page"]).items()}
            assert said == right
            for side in BOTH:
                spec = TaskSpec.from_settings(self.own, side)
                lost = made.engine.uncounted(spec.raw)
                late = sum(point.measurement == spec.source for point in self.late)
                assert lost.waiting + lost.dropped == late

    @property
    def raw(self) -> int:
        return count(self.own, "raw")

    @property
    def doubted(self) -> bool:
        with closing(State(self.own)) as state:
            return bool(clock.doubt(clock.known(state)))


def count(own: Settings, table: str) -> int:
    return int(select(own, f"SELECT count(*) FROM {table}")[0][0])


def select(own: Settings, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(own.data_dir / "pfa-flux.sqlite3")) as connection:
        return connection.execute(sql).fetchall()


def downsampled(own: Settings) -> dict[tuple[int, int], int]:
    if not (own.data_dir / "pfa-flux.sqlite3").exists():
        return {}
    return {(time, series): value for time, series, value in select(own, "SELECT time, series, value FROM rollup")}


def purged_until(own: Settings) -> int:
    return int((select(own, "SELECT until FROM purged") or [(0,)])[0][0])


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


# The clock.

STEPS = (1, -1, 20, -20, 31, -31, 400, -400)
MORE_STEPS = (5, -5, 29, -29, 45, -45, 100, -100)


@pytest.mark.parametrize("restart", [True, False], ids=["restarts", "runs on"])
@pytest.mark.parametrize("days", [*STEPS, *(pytest.param(days, marks=pytest.mark.slow) for days in MORE_STEPS)])
def test_a_clock_that_was_wrong_for_hours_costs_no_page_view_and_removal_goes_on_later(
    own: Settings, days: int, restart: bool
) -> None:
    pixel = Pixel(own, BASE)
    pixel.live(3 * DAY)
    right = pixel.now
    kept = pixel.raw
    pixel.now += days * DAY
    if restart:
        pixel.start()
    pixel.keep_house()
    pixel.live(12 * HOUR, 4 * HOUR)
    assert pixel.raw == kept + 3 * 6
    pixel.now = right + 12 * HOUR
    if restart:
        pixel.start()
    pixel.write()
    pixel.keep_house()
    pixel.check()
    pixel.live(40 * DAY, DAY)
    pixel.check()
    assert (pixel.doubted, pixel.late) == (False, [])
    # Thirty days are kept, and what a clock that was ahead has written.
    of_the_future = 3 * 6 if days > 10 else 0
    assert pixel.raw == 31 * 6 + of_the_future
    assert purged_until(own) <= pixel.now - 30 * DAY


@pytest.mark.parametrize("days", [31, 60, 400])
@pytest.mark.parametrize("accept", [True, False], ids=["accepted", "confirmed by rows"])
def test_a_clock_that_was_ahead_and_believed_costs_no_page_view_when_it_is_set_back(
    own: Settings, days: int, accept: bool
) -> None:
    pixel = Pixel(own, BASE)
    pixel.live(3 * DAY)
    right = pixel.now
    pixel.now += days * DAY
    pixel.start(accept_clock=accept)
    pixel.live(2 * DAY)
    assert not pixel.doubted
    # Its older rows are gone, and those only.
    assert purged_until(own) == right + WINDOW
    pixel.now = right + 2 * DAY
    pixel.start()
    pixel.live(50 * DAY, DAY)
    pixel.check()
    assert (pixel.doubted, pixel.late) == (False, [])


def test_rows_of_a_clock_that_is_far_back_are_told_of_where_their_windows_are_gone(own: Settings) -> None:
    pixel = Pixel(own, BASE)
    pixel.live(50 * DAY, DAY)
    right = pixel.now
    assert purged_until(own) > BASE + 15 * DAY
    pixel.now = BASE + 5 * DAY
    pixel.start()
    pixel.live(12 * HOUR)
    assert len(pixel.late) == 2 * 5
    pixel.check()
    # They stay as long as the clock is in doubt.
    with pixel.library() as made:
        assert made.engine.uncounted(TaskSpec.from_settings(own).raw) == Uncounted(2 * 3)
    pixel.now = right + 12 * HOUR
    pixel.start()
    pixel.live(3 * DAY)
    pixel.check()
    with pixel.library() as made:
        assert made.engine.uncounted(TaskSpec.from_settings(own).raw).dropped == 2 * 3


_STEPS = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 3), st.integers(0, 3), st.integers(0, 50 * 24 * 60)),
    st.tuples(st.just("live"), st.integers(1, 6)),
    st.tuples(st.just("wait"), st.integers(1, 45 * 24 * 60)),
    st.tuples(st.just("step"), st.integers(-400, 400)),
    st.tuples(st.just("house")),
    st.tuples(st.just("start"), st.booleans()),
)


@pytest.mark.parametrize("count", [10, pytest.param(50, marks=pytest.mark.slow)])
def test_after_any_writes_steps_of_the_clock_and_restarts_every_figure_is_the_oracles(
    count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    @examples(max_examples=count)
    @given(st.lists(_STEPS, min_size=3, max_size=14))
    def each(steps: list[tuple[Any, ...]]) -> None:
        go_through(Settings(data_dir=tmp_path_factory.mktemp("steps") / "data"), steps)

    each()


def go_through(own: Settings, steps: list[tuple[Any, ...]]) -> None:
    pixel = Pixel(own, BASE)
    pixel.live(2 * DAY, DAY)
    for what, *values in steps:
        if what == "write":
            hits, loads, ago = values
            pixel.write(hits, loads, ago * MINUTE)
        elif what == "live":
            pixel.live(values[0] * DAY, DAY)
        elif what == "wait":
            pixel.now += values[0] * MINUTE
        elif what == "step":
            pixel.now = min(max(pixel.now + values[0] * DAY, BASE - 900 * DAY), BASE + 1500 * DAY)
        elif what == "house":
            pixel.keep_house()
        else:
            pixel.start(accept_clock=values[0])
        pixel.check()
    pixel.start()
    pixel.live(3 * DAY, 12 * HOUR)
    pixel.check()
    assert not pixel.doubted
    pixel.live(32 * DAY, DAY)
    pixel.check()
    # Removal goes on: nothing is left that is older than it should be.
    (oldest,) = select(pixel.own, "SELECT min(time) FROM raw")[0]
    assert oldest >= pixel.now - 30 * DAY - WINDOW


# When a clock is believed.


@pytest.fixture
def state(own: Settings) -> Iterator[State]:
    with closing(State(own)) as made:
        yield made


class Rows:
    """Times of raw rows."""

    def __init__(self, *times: int) -> None:
        self.times = list(times)

    def __call__(self, start: int, stop: int) -> int | None:
        return max((time for time in self.times if start <= time < stop), default=None)


def looked(state: State, now: int, rows: Rows) -> bool:
    """The clock is believed."""
    return not clock.doubt(clock.look(state, now, rows))


def test_the_first_look_holds_the_clock_against_the_newest_row(tmp_path: Path) -> None:
    cases = {(): True, (BASE - 23 * HOUR,): True, (BASE - 25 * HOUR,): False, (BASE + 400 * DAY, BASE): False}
    for number, (times, believed) in enumerate(cases.items()):
        with closing(State(Settings(data_dir=tmp_path / str(number)))) as state:
            assert looked(state, BASE, Rows(*times)) is believed


def test_a_stop_or_silence_of_any_length_is_no_step_while_it_is_looked_at(state: State) -> None:
    rows = Rows(BASE)
    for day in range(40):
        assert looked(state, BASE + day * DAY, rows)
    assert not looked(state, BASE + 41 * DAY, rows)


def test_rows_of_a_day_confirm_a_clock_and_older_ones_or_a_moments_do_not(state: State) -> None:
    rows = Rows(BASE)
    assert looked(state, BASE, rows)
    ahead = BASE + 400 * DAY
    # Left by the same clock at another time.
    rows.times.append(ahead - HOUR)
    for hour in range(0, 24, 6):
        rows.times.append(ahead + hour * HOUR)
        assert not looked(state, ahead + hour * HOUR, rows)
    assert not looked(state, ahead + 30 * HOUR, rows)
    rows.times.append(ahead + 30 * HOUR)
    assert looked(state, ahead + 30 * HOUR, rows)
    assert looked(state, ahead + 31 * HOUR, rows)


def test_another_step_begins_the_doubt_anew(state: State) -> None:
    rows = Rows(BASE, BASE + 100 * DAY, BASE + 105 * DAY)
    assert looked(state, BASE + 105 * DAY, rows)
    assert not looked(state, BASE, rows)
    assert not looked(state, BASE + 102 * DAY, rows)
    assert not looked(state, BASE + 102 * DAY + HOUR, rows)
    # Back where it was believed.
    assert looked(state, BASE + 105 * DAY + 2 * HOUR, rows)


def test_accepting_is_good_for_one_time_until_it_was_left_out(state: State, caplog: pytest.LogCaptureFixture) -> None:
    rows = Rows(BASE)
    assert looked(state, BASE, rows)
    first, second = BASE + 50 * DAY, BASE + 400 * DAY
    assert not looked(state, first, rows)
    assert clock.accept(state, first)
    assert looked(state, first, rows)
    assert (found := clock.known(state)) is not None
    assert found.accepted == first
    # Started again with the option.
    assert clock.accept(state, first + HOUR)
    assert not clock.accept(state, second)
    assert "--accept-clock was used at 2020-02-25T00:00:00Z" in caplog.text
    assert not looked(state, second, rows)
    clock.allow_accepting(state)
    assert not looked(state, second + MINUTE, rows)
    assert clock.accept(state, second + MINUTE)
    assert looked(state, second + MINUTE, rows)


def test_an_option_left_in_a_unit_accepts_no_later_step(own: Settings) -> None:
    pixel = Pixel(own, BASE)
    pixel.start(accept_clock=True)
    pixel.live(2 * DAY)
    pixel.now += 400 * DAY
    raw = pixel.raw
    for _ in range(3):
        pixel.start(accept_clock=True)
        pixel.keep_house()
        pixel.now += HOUR
    assert (pixel.doubted, pixel.raw) == (True, raw)
    pixel.start()
    pixel.keep_house()
    pixel.start(accept_clock=True)
    pixel.keep_house()
    assert (pixel.doubted, pixel.raw) == (False, 0)


def test_the_log_status_and_doctor_say_that_rows_are_kept_and_the_log_says_it_once(
    own: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pixel = Pixel(own, BASE)
    pixel.live(DAY)
    pixel.now += 400 * DAY
    pixel.keep_house()
    pixel.keep_house()
    words = (
        "raw rows are kept for now, because the clock may be wrong: it shows 2021-02-10T00:00:00Z, 400 days ahead of"
    )
    assert caplog.text.count(words) == 1
    with pixel.library() as made:
        assert words in made.task().status(BASE).summary
    checks, _ = examine(own, pixel.now)
    assert [words in c.found for c in checks if c.name == "raw rows"] == [True]
    pixel.live(36 * HOUR)
    assert caplog.text.count("the clock is trusted again") == 1
    checks, _ = examine(own, pixel.now)
    assert [c for c in checks if c.name == "raw rows"] == []


def test_the_command_accepts_the_clock(own: Settings) -> None:
    # By the machine's clock the rows are years old.
    with Analytics(own) as made:
        made.write([hit(BASE), hit(BASE + HOUR)])
        made.task().install()
    place = ("--data-dir", str(own.data_dir))
    keep = Housekeeper(own, lambda _: True)
    keep.once()
    assert count(own, "raw") == 2
    status = pfa_flux("task", "status", "--format", "json", *place)
    assert "the clock may be wrong" in status.json["summary"]
    assert pfa_flux("task", "run", "--accept-clock", *place).code == 2
    assert pfa_flux("task", "run", "--due", "--accept-clock", *place).code == 0
    keep.once()
    assert count(own, "raw") == 0


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


# The whole, as it is run.


def test_serve_that_was_started_once_with_a_clock_far_ahead_counts_all_and_removes_only_what_it_has_compared(
    tmp_path: Path,
) -> None:
    faketime, offset = program("faketime"), tmp_path / "clock"
    set_clock(offset, 0)
    server = PixelServer(tmp_path / "a", environment=faked(faketime, offset), pixel={"load_path": "/load.gif"})
    own = settings.load({}, environ={}, config=server.config)
    year = 400 * 86400

    def housekept(words: str, times: int = 1) -> None:
        until(lambda: server.log.count(words) >= times, words)

    def runs(side: Side) -> int:
        with Analytics(own) as made:
            task = made.task(side.value)
            return len(task.runs(500)) if task.backend.find() else 0

    def served(seconds: int, count: int) -> None:
        set_clock(offset, seconds)
        before = runs(Side.LOADS)
        with server:
            assert send(server.listen, [get("/a")] * count).counted == count
            until(lambda: runs(Side.LOADS) > before, "what was due")

    served(0, 3)
    served(year, 2)
    housekept("the clock may be wrong")
    served(60, 5)
    assert count(own, "raw") == 10
    # A month later its rows have had their time. It was stopped meanwhile: somebody has to say that the clock is right.
    set_clock(offset, 32 * 86400)
    server = PixelServer(
        tmp_path / "b",
        environment=faked(faketime, offset),
        options=["--accept-clock"],
        data_dir=str(own.data_dir),
    )
    with server:
        housekept("8 raw rows before")
    assert count(own, "raw") == 2
    with Analytics(own) as made:
        assert [row.hits for row in made.hits(start="1d", stop=time.time_ns() + HOUR)] == [8]
    assert purged_until(own) <= time.time_ns() + WINDOW + MINUTE


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
