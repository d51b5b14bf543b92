"""Without a server pfa-flux downsamples by itself while it serves, and lets go of raw rows once they are proved."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pfa_flux import Analytics, Settings, settings
from pfa_flux.engines.sqlite import Embedded
from pfa_flux.helper.housekeeper import Housekeeper, purge
from pfa_flux.journal.embedded import StoreJournal
from pfa_flux.pixel.hit import View
from pfa_flux.pixel.pages import Page
from pfa_flux.schema import BOTH
from pfa_flux.windows.spec import TaskSpec
from tests.contract import analytics
from tests.data import DAY, HOUR, T0, hit, load
from tests.engines.plugin import MakeWorkspace
from tests.load import get, send
from tests.pixel_server import PixelServer
from tests.stored import until

NOW = T0 + 40 * DAY
WINDOW = 15 * 60 * 10**9


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return settings.load({"data_dir": str(tmp_path / "data")}, environ={}, directory=tmp_path)


def library(own: Settings, now: int = NOW) -> Analytics:
    return Analytics(own, clock=lambda: now)


def keep_house(own: Settings, now: int = NOW) -> None:
    Housekeeper(own, lambda _: True, newest_series=10**9, clock=lambda: now).once()


def raw_rows(own: Settings) -> int:
    with closing(sqlite3.connect(own.data_dir / "pfa-flux.sqlite3")) as connection:
        return int(connection.execute("SELECT count(*) FROM raw").fetchone()[0])


def test_raw_rows_go_after_their_retention_and_figures_stay(own: Settings) -> None:
    with library(own) as made:
        made.write([hit(T0 + n * HOUR, sess=f"{n:x}") for n in range(960)])
        made.write([load(T0 + n * HOUR + 5) for n in range(0, 960, 3)])
        before = made.blocked_ratio(start=T0, stop=NOW)
    keep_house(own)
    assert raw_rows(own) == (720 + 240)
    with library(own) as made:
        after = made.blocked_ratio(start=T0, stop=NOW)
        assert [(r.hits, r.js) for r in after] == [(r.hits, r.js) for r in before] == [(960, 320)]
        assert after.source == "raw+rollup"
        task = made.task()
        assert task.verify(T0).clean
        # Up to the end of the window of the newest row that is gone, and not beyond.
        assert task.verify(T0).unknown == 10 * 96 - 3
        assert task.gaps(T0).raw_kept_from == T0 + 10 * DAY - HOUR + WINDOW
        # Nothing that is done later takes the windows for wrong that raw rows no longer tell of.
        task.repair(T0)
        task.backfill(T0)
        task.run()
        assert [(r.hits, r.js) for r in made.blocked_ratio(start=T0, stop=NOW)] == [(960, 320)]


def test_a_longer_retention_later_does_not_bring_back_what_is_gone(own: Settings) -> None:
    with library(own) as made:
        made.write([hit(T0 + n * HOUR) for n in range(960)])
    keep_house(own)
    longer = replace(own, pixel=replace(own.pixel, raw_retention=365 * 86400))
    keep_house(longer)
    with library(longer) as made:
        made.task().repair(T0)
        assert [r.hits for r in made.blocked_ratio(start=T0, stop=NOW)] == [960]


def test_raw_rows_whose_windows_are_wrong_are_put_right_before_they_go(own: Settings) -> None:
    with library(own) as made:
        made.write([hit(T0 + n * HOUR) for n in range(960)])
        made.task().install()
        made.task().backfill(T0)
    store = Embedded(own)
    store.delete(TaskSpec.from_settings(own).rollup, T0, T0 + 3 * DAY)
    assert purge(store, own, NOW, 0) == 240
    store.close()
    with library(own) as made:
        assert [r.hits for r in made.blocked_ratio(start=T0, stop=NOW)] == [960]


def test_raw_rows_stay_where_their_windows_cannot_be_proved(
    own: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with library(own) as made:
        made.write([hit(T0 + n * HOUR) for n in range(960)])
    monkeypatch.setattr("pfa_flux.helper.housekeeper.recompute", lambda *_: 0)
    store = Embedded(own)
    assert purge(store, own, NOW, 0) == 0
    store.close()
    assert raw_rows(own) == 960
    assert "are kept: 240 windows of pf_analytics_pixel" in caplog.text


def test_what_is_removed_is_overwritten_in_the_file(own: Settings) -> None:
    with library(own) as made:
        made.write([hit(T0 + n * HOUR, page=f"/s3cret-{n}") for n in range(24)] + [hit(NOW - HOUR)])
        store = made.engine
        assert isinstance(store, Embedded)
        newest = store.select("SELECT max(id) FROM series")[0][0]
        # As if nothing were downsampled by page, so that nothing else holds the pages' names.
        assert store.purge(own.raw_bucket, ["pf_analytics_test_pixel"], NOW - DAY) == 24
        assert store.remove_unused_series(newest) == 24
    assert b"s3cret" not in (own.data_dir / "pfa-flux.sqlite3").read_bytes()


def test_series_of_a_process_that_still_writes_are_kept(own: Settings) -> None:
    journal = StoreJournal(own)
    before = journal.newest_series
    pages = [Page(View("hit", "https", "example.com", "/"))]
    journal.commit(pages, T0)
    shared = Embedded(own, lock=journal.lock)
    assert purge(shared, own, NOW, before) == 1
    shared.close()
    journal.commit(pages, NOW)
    journal.close()
    journal.close()
    with library(own, NOW + HOUR) as made:
        assert [r.hits for r in made.hits(start="2h")] == [1]


def test_the_store_is_downsampled_by_itself_while_it_serves_and_can_be_read(tmp_path: Path) -> None:
    with PixelServer(tmp_path, task={"every": "1m", "offset": "0s"}) as server:
        assert send(server.listen, [get("/a")] * 5).counted == 5
        with Analytics(settings.load({}, config=server.config, environ={})) as made:
            assert [(r.hits, r.status) for r in made.blocked_ratio()] == [(5, "no_js")]
            until(lambda: bool(made.task().backend.find()), "the task installed")
            until(lambda: bool(made.task("loads").backend.find()), "the other task installed")
            assert made.task().plan().state == "up to date"


def test_a_task_that_was_disabled_rests(own: Settings) -> None:
    with library(own) as made:
        # The newer one is downsampled by the proof of the installation.
        made.write([hit(NOW - 3 * DAY), hit(NOW - HOUR)])
        made.task().install()
        made.task().disable()
    keep_house(own)
    with library(own) as made:
        assert made.task().gaps(T0).missing == ((NOW - 3 * DAY, NOW - 3 * DAY + WINDOW),)


def test_of_a_server_the_task_that_pfa_flux_runs_is_run(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-1.8")
    with analytics(workspace, NOW) as made:
        made.write([hit(NOW - 3 * DAY), hit(NOW - HOUR)])
        own = made.settings
    keep_house(own)
    with analytics(workspace, NOW) as made:
        assert made.task().backend.find() == []
        made.task(backend="runner").install()
    keep_house(own)
    with analytics(workspace, NOW) as made:
        task = made.task(backend="runner")
        assert task.verify(NOW - 5 * DAY).clean
        assert [run.status for run in task.runs()] == ["success", "success"]


def test_of_a_server_page_loads_that_the_settings_leave_out_are_not_run(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("influxdb-1.8")
    with analytics(workspace, NOW) as made:
        made.write([hit(NOW - 3 * DAY), load(NOW - 3 * DAY)])
        own = made.settings
        for side in BOTH:
            made.task(side.value, backend="runner").install()
    keep_house(replace(own, task=replace(own.task, loads=False)))
    with analytics(workspace, NOW) as made:
        assert [made.task(side.value).verify(NOW - 5 * DAY).clean for side in BOTH] == [True, False]
    keep_house(own)
    with analytics(workspace, NOW) as made:
        assert [made.task(side.value).verify(NOW - 5 * DAY).clean for side in BOTH] == [True, True]


def test_the_store_downsamples_page_loads_whatever_the_settings_say_and_loses_none(own: Settings) -> None:
    hits_only = replace(own, task=replace(own.task, loads=False))
    with library(hits_only) as made:
        made.write([hit(T0 + n * HOUR, sess=f"{n:x}") for n in range(960)])
        made.write([load(T0 + n * HOUR + 5) for n in range(0, 960, 3)])
        made.task().install()
    keep_house(hits_only)
    assert raw_rows(own) == (720 + 240)
    with library(hits_only) as made:
        assert [(r.hits, r.js) for r in made.blocked_ratio(start=T0, stop=NOW)] == [(960, 320)]
        assert made.task("loads").plan().state == "up to date"
        assert made.task("loads").verify(T0).clean
