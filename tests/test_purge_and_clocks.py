"""A wrong clock costs no page view: nothing is removed that was not compared, and removal goes on later."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from pfa_flux import Analytics, Settings, settings
from pfa_flux.engines.base import Uncounted
from pfa_flux.schema import Side
from pfa_flux.windows.spec import TaskSpec
from tests.clocked_pixel import BASE, WINDOW, Pixel, count, purged_until, select
from tests.data import DAY, HOUR, MINUTE
from tests.load import get, send
from tests.pixel_server import PixelServer
from tests.stored import until
from tests.test_durability import faked, set_clock
from tests.webserver import program


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return settings.load({"data_dir": str(tmp_path / "data")}, environ={}, directory=tmp_path)


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


def test_after_any_writes_steps_of_the_clock_and_restarts_every_figure_is_the_oracles(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    @examples(max_examples=50)
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
