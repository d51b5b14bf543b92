"""A month in which a twentieth of the page loads are written late: the passes find and mend all of it."""

from __future__ import annotations

from functools import partial

import pytest

from pfa_flux import Point
from pfa_flux.schema import BOTH
from tests.contract import analytics, fill, task_workspace
from tests.data import DAY, HOUR
from tests.engines.plugin import MakeWorkspace
from tests.late_month import DAYS, MONTH, check, live_through, written


@pytest.mark.slow
@pytest.mark.parametrize("runs", ["influxdb-2.7", "kapacitor", "influxdb-1.8 runner", "embedded"])
@pytest.mark.parametrize("hours", [24, pytest.param(12, marks=pytest.mark.twin)])
def test_after_the_last_pass_windows_are_what_raw_data_says(
    runs: str, hours: int, make_workspace: MakeWorkspace
) -> None:
    workspace, points = task_workspace(runs, make_workspace), written(5000, 5000)

    def write(due: list[Point]) -> None:
        fill(workspace, MONTH, due)

    with analytics(workspace, MONTH) as made:
        for side in BOTH:
            made.task(side.value).install()
    try:
        month = live_through(partial(analytics, workspace), write, points, every=hours * HOUR)
        assert month.passes == 24 // hours * (DAYS + 6) - 1
        # Late page loads came to windows that had been put together.
        assert month.mended > 80
        with analytics(workspace, MONTH + (DAYS + 6) * DAY) as made:
            check(made, points)
    finally:
        with analytics(workspace, MONTH) as made:
            for side in BOTH:
                made.task(side.value).remove()
