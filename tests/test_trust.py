"""Long stretches of downsampled rows that nobody has compared are answered without reading them one by one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pfa_flux import Analytics, Point
from pfa_flux.engines.ask import Rows, Stored
from pfa_flux.schema import BOTH, Side
from tests.contract import analytics, ordinarily, task_workspace
from tests.data import DAY, HOUR, T0
from tests.engines.plugin import MakeWorkspace
from tests.ledger import SERVERS, WINDOW, codes, figures, from_rollups, passes, rollup_row

runners = pytest.mark.parametrize("runs", ordinarily([*SERVERS, "memory"]))
DAYS = 9
SPAN = {"stop": T0 + DAYS * DAY}


def history(made: Analytics) -> list[Point]:
    """Two hits and a load in a window of each hour."""
    return [
        rollup_row(made, side, T0 + n * HOUR + WINDOW, value)
        for side, value in ((Side.HITS, 2), (Side.LOADS, 1))
        for n in range(DAYS * 24)
    ]


@contextmanager
def reads(made: Analytics, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Measurements whose downsampled rows are read one by one meanwhile."""
    found: list[str] = []
    rows = made.engine.rows

    def watched(asked: Rows, start: int, stop: int) -> list[Stored]:
        if asked.every:
            found.append(asked.measurement)
        return rows(asked, start, stop)

    with monkeypatch.context() as patch:
        patch.setattr(made.engine, "rows", watched)
        yield found


@runners
def test_rows_of_others_are_looked_for_by_series_and_left_out_where_there_are_any(
    runs: str, make_workspace: MakeWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = task_workspace(runs, make_workspace)
    with analytics(workspace, T0 + (DAYS + 1) * DAY) as made:
        made.engine.write(made.settings.rollup_bucket, history(made))
        with reads(made, monkeypatch) as found:
            answer = from_rollups(made, **SPAN)
        assert (figures(answer), codes(answer)) == ([(DAYS * 48, DAYS * 24)], {"rollup_unknown"})
        assert bool(found) == (runs == "memory")
        theirs = [rollup_row(made, Side.HITS, T0 + n * HOUR + WINDOW, 5, host="kapacitor") for n in range(30)]
        alone = rollup_row(made, Side.HITS, T0 + 40 * HOUR + 2 * WINDOW, 7, host="kapacitor")
        made.engine.write(made.settings.rollup_bucket, [*theirs, alone])
        with reads(made, monkeypatch) as found:
            assert figures(from_rollups(made, **SPAN)) == [(DAYS * 48 + 7, DAYS * 24)]
        hits, loads = (made.task(side.value, backend="runner").spec.measurement for side in BOTH)
        assert hits in found
        assert (loads in found) == (runs == "memory")


@pytest.mark.parametrize("runs", ordinarily(SERVERS))
def test_floats_are_found_in_a_long_stretch(
    runs: str, make_workspace: MakeWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = task_workspace(runs, make_workspace)
    with analytics(workspace, T0 + (DAYS + 1) * DAY) as made:
        lines = [
            f"{p.measurement},{','.join(f'{k}={v}' for k, v in sorted(p.tags.items()))} {p.field}={p.value} {p.time}"
            for p in history(made)
        ]
        workspace.client.write(workspace.rollup, lines)
        with reads(made, monkeypatch) as found:
            assert figures(from_rollups(made, **SPAN)) == [(DAYS * 48, DAYS * 24)]
        assert found


@runners
def test_a_history_that_a_pass_has_noted_is_not_looked_at_window_by_window(
    runs: str, make_workspace: MakeWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = task_workspace(runs, make_workspace)
    with analytics(workspace, T0 + (DAYS + 1) * DAY) as made:
        made.engine.write(made.settings.rollup_bucket, history(made))
        passes(made)
        with reads(made, monkeypatch) as found, monkeypatch.context() as patch:
            widths: list[int | None] = []
            aggregate = made.engine.aggregate

            def watched(asks, dialect=""):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
                widths.extend(ask.every for ask in asks)
                return aggregate(asks, dialect)

            patch.setattr(made.engine, "aggregate", watched)
            answer = from_rollups(made, **SPAN)
        assert (figures(answer), codes(answer)) == ([(DAYS * 48, DAYS * 24)], {"rollup_unknown"})
        assert found == []
        assert 900 not in widths
        # Another row, and its day is looked at again.
        made.engine.write(made.settings.rollup_bucket, [rollup_row(made, Side.HITS, T0 + WINDOW, 5, host="kapacitor")])
        assert figures(from_rollups(made, **SPAN)) == [(DAYS * 48, DAYS * 24)]
