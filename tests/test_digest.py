"""The digest says the share, what has changed by more than chance, and what needs care, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pfa_flux.cli.digest import lines
from pfa_flux.engines.base import Check
from tests.cli import pfa_flux
from tests.contract import analytics, fill
from tests.data import DAY, T0, hit, load
from tests.engines.plugin import MakeWorkspace

NOW = T0 + 2 * DAY
OK = Check("engine", "ok", "embedded store")
FAILED = Check("task", "failed", "not installed", "Run pfa-flux install-task.")


def digest(make_workspace: MakeWorkspace, seen: dict[str, tuple[int | None, int]], checks: list[Check]) -> list[str]:
    """The digest of 1,200 views of each domain a day.

    Args:
        seen: for each domain, how many of 120 views are reported, on the day before and on the day; None for a day
            without views.
        checks: results of `doctor`.
    """
    workspace = make_workspace("embedded")
    points = []
    for day in (0, 1):
        for domain, loads in seen.items():
            reported = loads[day]
            for n in range(1200) if reported is not None else ():
                at = T0 + day * DAY + n * DAY // 1200
                points.append(hit(at, domain))
                if n * 7 % 120 < (reported or 0):
                    points.append(load(at, domain))
    fill(workspace, NOW, points)
    with analytics(workspace, NOW) as made:
        answers = [made.blocked_ratio(by=by, start="1d", compare=True) for by in ((), ("network",), ("domain",))]
    return list(lines(answers[0], answers[1:], checks))


def test_a_change_that_is_more_than_chance_is_named_with_its_interval(make_workspace: MakeWorkspace) -> None:
    said = digest(make_workspace, {"a.example": (90, 30), "b.example": (60, 60), "c.i2p": (60, 60)}, [OK])
    assert said[0].startswith("Of 3,600 page views of all domains, 13 Jan 2026 (UTC), 58.3% (")
    assert said[2].startswith("The change since the previous period is more than chance: +16.7 points (")
    assert said[2].endswith("from 41.7% to 58.3%.")
    assert [line.partition(":")[0] for line in said[3:5]] == ["clearnet", "a.example"]
    assert said[4].endswith("from 25.0% to 75.0%.")
    assert said[5:] == [
        "2 of 5 networks and domains have changed by more than chance.",
        "",
        "All 1 checks of pfa-flux doctor are ok.",
    ]


def test_where_nothing_has_changed_it_says_so_and_what_needs_care(make_workspace: MakeWorkspace) -> None:
    said = digest(make_workspace, {"a.example": (60, 60), "b.i2p": (30, 30)}, [OK, FAILED])
    assert said[2] == (
        "The change since the previous period may be chance: +0.0 points (−2.7 to +2.7), from 62.5% to 62.5%."
    )
    assert said[3] == "None of 4 networks and domains has changed by more than chance."
    assert said[-1] == "failed: task: not installed. Run pfa-flux install-task."


def test_without_a_previous_period_it_says_so_and_nothing_about_changes(make_workspace: MakeWorkspace) -> None:
    said = digest(make_workspace, {"a.example": (None, 60), "b.i2p": (None, 30)}, [OK])
    assert said[0].startswith("Of 2,400 page views of all domains, 13 Jan 2026 (UTC), 62.5% (")
    assert said[1:] == [
        "",
        "There is no previous period to compare with.",
        "",
        "All 1 checks of pfa-flux doctor are ok.",
    ]


def test_a_domain_without_a_previous_period_is_not_compared(make_workspace: MakeWorkspace) -> None:
    said = digest(make_workspace, {"a.example": (60, 60), "b.example": (60, 60), "c.i2p": (None, 30)}, [OK])
    assert said[-4:] == [
        "None of 3 networks and domains has changed by more than chance.",
        "Not compared: 2 without a share in one of the two periods.",
        "",
        "All 1 checks of pfa-flux doctor are ok.",
    ]


@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_the_command_ends_as_doctor_does(tmp_path: Path, quiet: tuple[str, ...]) -> None:
    done = pfa_flux("digest", "--data-dir", str(tmp_path / "data"), *quiet, cwd=tmp_path)
    assert done.out.startswith("No data for all domains, ")
    assert "There is no previous period to compare with." in done.out
    assert done.code in {1, 3}
    unreachable = pfa_flux("digest", "--url", "http://127.0.0.1:9", cwd=tmp_path)
    assert (unreachable.code, unreachable.out) == (4, "")
