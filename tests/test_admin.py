"""/metrics and /healthz: each number is that of its own counter, and limits are where they are said to be."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pfa_flux.journal.spool import SPOOL_NAME, Spool
from pfa_flux.pixel.hit import Reason, View
from pfa_flux.pixel.pages import Page
from pfa_flux.serve.admin import metrics
from pfa_flux.serve.health import Progress, State, health
from pfa_flux.times import NS


class _Pages:
    folded, domains = 16, 17

    def __len__(self) -> int:
        return 18


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def state(clock: Clock | None = None, **journal: Any) -> State:
    """A pixel whose counters are all different."""
    pixel = SimpleNamespace(
        counted=Counter({"hit": 11, "load": 12}),
        rejected=Counter({Reason.PREFETCH: 13, Reason.SKIPPED_BOT: 14}),
        shed=15,
        shed_why="the disk is full",
        pages=_Pages(),
        refused_requests=Counter({400: 19, 431: 20}),
        heads=21,
        not_found=22,
        bad_methods=23,
    )
    of_journal = {
        "trouble": "", "used_bytes": 27, "log_bytes": 28, "set_aside": 29, "ships": True, "waiting": 30,
        "oldest": 1000 * NS, **journal,
    }  # fmt: skip
    found: dict[str, Any] = {
        "pixel": pixel,
        "journal": SimpleNamespace(**of_journal),
        "roster": SimpleNamespace(open=set(range(24)), timed_out=25, turned_away=26, draining=False),
        "worker": SimpleNamespace(restarts=31, garbled=32, recent_restarts=0),
    }
    return State(
        **found,
        started=34.5,
        shipped={"points": 39, "retries": 40, "refused": 41, "damaged": 42, "quarantined": 43, "late": 44},
        clock=lambda: 1038 * NS + NS // 2,
        upkeep={"hits": {"at": 35 * NS, "mended": 36, "kept": 37}, "loads": {"at": 47 * NS, "mended": 48, "kept": 49}},
        progress=Progress(clock or Clock()),
        failures=Counter({"sweep": 33}),
    )


def read(made: State) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in metrics(made).splitlines() if not line.startswith("#"))
    return {name.removeprefix("pfa_flux_"): float(value) for name, _, value in lines}


def test_every_metric_is_the_number_of_its_own_counter() -> None:
    clock = Clock()
    made = state(clock)
    made.progress.update("mark")
    clock.now = 46.0
    assert read(made) == {
        'hits_total{kind="hit"}': 11,
        'hits_total{kind="load"}': 12,
        'rejected_total{reason="prefetch"}': 13,
        'skipped_total{reason="bot"}': 14,
        "shed_total": 15,
        "folded_total": 16,
        "domains": 17,
        "pages": 18,
        'refused_requests_total{status="400"}': 19,
        'refused_requests_total{status="431"}': 20,
        'other_requests_total{what="head"}': 21,
        'other_requests_total{what="not_found"}': 22,
        'other_requests_total{what="method"}': 23,
        "connections": 24,
        "connections_timed_out_total": 25,
        "connections_turned_away_total": 26,
        "journal_failing": 0,
        "journal_bytes": 27,
        "journal_log_bytes": 28,
        "journal_set_aside_total": 29,
        "journal_rows": 30,
        "helper_restarts_total": 31,
        "helper_garbled_total": 32,
        'task_failures_total{task="sweep"}': 33,
        "start_time_seconds": 34.5,
        'compared_time_seconds{side="hits"}': 35,
        'mended_windows_total{side="hits"}': 36,
        'kept_windows{side="hits"}': 37,
        'compared_time_seconds{side="loads"}': 47,
        'mended_windows_total{side="loads"}': 48,
        'kept_windows{side="loads"}': 49,
        "lag_seconds": 38.5,
        "shipped_total": 39,
        "ship_retries_total": 40,
        "refused_points_total": 41,
        "damaged_hits_total": 42,
        "quarantined": 43,
        "late_minutes_total": 44,
        "standing_seconds": 46,
        "shipper_refused": 0,
        "shipper_failing": 0,
    }


@pytest.mark.parametrize(
    ("journal", "shipped", "raised"),
    [
        ({"trouble": "full"}, {}, "journal_failing"),
        ({}, {"refusing": "types"}, "shipper_refused"),
        ({}, {"error": "away"}, "shipper_failing"),
    ],
)
def test_each_state_has_a_metric_of_its_own(journal: dict[str, Any], shipped: dict[str, str], raised: str) -> None:
    made = state(**journal)
    made.shipped.update(shipped)
    found = read(made)
    names = ("journal_failing", "shipper_refused", "shipper_failing")
    assert {name: found[name] for name in names} == {name: int(name == raised) for name in names}


def test_what_helpers_before_have_counted_stays() -> None:
    made = state()
    for _ in range(2):
        made.helper_starts()
        made.shipped.update(points=1, retries=2, refused=3, damaged=4, late=5, quarantined=7)
    found = read(made)
    names = ("shipped_total", "ship_retries_total", "refused_points_total", "damaged_hits_total", "late_minutes_total")
    assert [found[name] for name in names] == [41, 44, 47, 50, 54]
    # What is put by now is no count.
    assert found["quarantined"] == 7


def test_the_journals_numbers_are_those_of_its_files(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "normal", 1 << 30)
    pages = [Page(View("hit", "https", "example.com", f"/{number}")) for number in range(3)]
    spool.commit([*pages, pages[0]], 1000 * NS)
    spool.tick()
    made = state()
    made.journal = spool
    found = read(made)
    with closing(sqlite3.connect(tmp_path / SPOOL_NAME)) as file:
        numbers = [file.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")]
    log = (tmp_path / f"{SPOOL_NAME}-wal").stat().st_size
    assert log > 0
    assert [found[name] for name in ("journal_bytes", "journal_log_bytes")] == [math.prod(numbers), log]
    # The clock stands 38.5 s after the first of four hits.
    assert [found[name] for name in ("journal_rows", "lag_seconds", "journal_set_aside_total")] == [4, 38.5, 0]
    spool.close()


def test_a_background_task_that_fails_is_counted_by_its_name() -> None:
    made = state()
    for name in ("tick", "sweep", "tick"):
        made.failed(name)
    found = read(made)
    assert [found[f'task_failures_total{{task="{name}"}}'] for name in ("sweep", "tick")] == [34, 2]
    assert made.failed_lately == ["sweep", "tick"]


def test_a_pixel_without_anything_wrong_is_ready_and_says_what_waits() -> None:
    made = state()
    made.pixel.shed = 0
    told = {"ready": True, "journal": "writable", "shed": 0, "waiting": 30, "lag_seconds": 38.5, "shipper": "ok"}
    assert health(made) == (200, told)
    made.pixel.shed = 2
    assert health(made) == (200, {**told, "shed": 2, "shed_reason": "the disk is full"})
    made.roster.draining = True
    assert health(made)[0] == 503


@pytest.mark.parametrize(("seconds", "stands"), [(6.99, False), (7.0, True)])
def test_hits_stand_that_do_not_move_for_seven_seconds(seconds: float, stands: bool) -> None:
    clock = Clock()
    made = state(clock)
    made.progress.update("mark")
    clock.now = seconds
    made.progress.update("mark")
    status, found = health(made)
    assert (status, "wrong" in found) == ((503, True) if stands else (200, False))


@pytest.mark.parametrize(("seconds", "unwatched"), [(5.0, False), (5.1, True)])
def test_a_journal_is_looked_after_within_five_seconds(seconds: float, unwatched: bool) -> None:
    clock = Clock()
    made = state(clock)
    made.progress.update(None)
    clock.now = seconds
    assert health(made)[0] == (503 if unwatched else 200)


@pytest.mark.parametrize(("restarts", "status"), [(1, 200), (2, 503)])
def test_two_restarts_within_a_minute_are_no_accident(restarts: int, status: int) -> None:
    made = state()
    cast("Any", made.worker).recent_restarts = restarts
    assert health(made)[0] == status
