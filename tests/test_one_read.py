"""Each span is read once, whatever is made of it: totals are the sums of the blocks that intervals are judged by."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pfa_flux import Analytics
from pfa_flux.engines.ask import Ask, Sums
from pfa_flux.ratio.question import Options
from pfa_flux.schema import BOTH
from pfa_flux.windows.spec import TaskSpec
from tests.contract import ENGINES_ONCE, Target, analytics, fill, ordinarily, workspace_of
from tests.data import DAY, HOUR, T0, hit, load
from tests.engines.plugin import MakeWorkspace

engines = pytest.mark.parametrize("target", ordinarily(ENGINES_ONCE), ids=str)
NOW = T0 + 4 * DAY


def watch(made: Analytics, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int, bool]]:
    """Raw measurement, start and stop of all that is asked from now on, and whether of some pages alone."""
    asked: list[tuple[str, int, int, bool]] = []
    aggregate = made.engine.aggregate
    raw = {TaskSpec.from_settings(made.settings, side).source for side in BOTH}

    def watched(asks: Sequence[Ask], dialect: str = "") -> list[Sums]:
        for ask in asks:
            if ask.rows.measurement in raw:
                asked.append((ask.rows.measurement, ask.start, ask.stop, bool(ask.where.get("page"))))
        return aggregate(asks, dialect)

    monkeypatch.setattr(made.engine, "aggregate", watched)
    return asked


@engines
def test_each_span_is_read_once(target: Target, make_workspace: MakeWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = workspace_of(target, make_workspace)
    points = [hit(NOW - n * HOUR, page=f"/{n % 3}") for n in range(1, 90)]
    points += [load(NOW - n * HOUR, page=f"/{n % 3}") for n in range(1, 90, 2)]
    fill(workspace, NOW, points)
    hits, loads = "pf_analytics_test_pixel", "pf_analytics_test"
    now, before = (NOW - 2 * DAY, NOW), (NOW - 4 * DAY, NOW - 2 * DAY)
    with analytics(workspace, NOW) as made:
        asked = watch(made, monkeypatch)
        made.blocked_ratio(start="2d")
        # The hits that say no page are a question of their own, where pages are not kept apart.
        assert sorted(asked) == [(loads, *now, False), (hits, *now, False), (hits, *now, True)]
        asked.clear()
        made.blocked_ratio(by=["domain", "page", "time"], every="1d", start="2d")
        assert sorted(asked) == [(loads, *now, False), (hits, *now, False)]
        asked.clear()
        made.blocked_ratio(by=["network"], start="2d", compare=True)
        assert sorted(asked) == [
            *((loads, *span, False) for span in (before, now)),
            *((hits, *span, page) for span in (before, now) for page in (False, True)),
        ]
        asked.clear()
        html, _ = made.report(start="2d")
        assert sorted(asked) == [
            *((loads, *span, False) for span in (before, now)),
            # The report reads pages in any case, and the period before does not.
            *((hits, *span, page) for span, pages in ((before, (False, True)), (now, (False,))) for page in pages),
        ]
    assert "<b>48</b>" in html


@engines
def test_the_tables_of_a_report_are_those_of_single_answers(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    points = [hit(T0 + n * 13 * 60 * 10**9, "a.example" if n % 3 else "b.i2p", f"/{n % 4}") for n in range(420)]
    points += [load(p.time + 5, p.tags["domain"], p.tags["page"]) for p in points[::2]]
    fill(workspace, NOW, points)
    keys: tuple[tuple[str, ...], ...] = ((), ("network",), ("time",), ("network", "time"), ("page",), ("time", "page"))
    with analytics(workspace, NOW) as made:
        single = [
            made.blocked_ratio(by=by, every="1d" if "time" in by else None, start="3d", tz="Europe/Berlin")
            for by in keys
        ]
        asked = [Options(by=by, every="1d" if "time" in by else None, start="3d", tz="Europe/Berlin") for by in keys]
        together = made.answers(asked)
    assert [answer.rows for answer in together] == [answer.rows for answer in single]
