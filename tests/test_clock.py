"""When a clock is believed: it is held against the newest rows, and a user may accept it once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pfa_flux import Analytics, Settings, settings
from pfa_flux.doctor.checks import examine
from pfa_flux.helper.housekeeper import Housekeeper
from pfa_flux.tasks import clock
from pfa_flux.tasks.state import State
from tests.cli import pfa_flux
from tests.clocked_pixel import BASE, Pixel, count
from tests.data import DAY, HOUR, MINUTE, hit


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return settings.load({"data_dir": str(tmp_path / "data")}, environ={}, directory=tmp_path)


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
    return not clock.doubt(clock.check(state, now, rows))


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
