"""Windows at their edges: spans, pieces, when a window is closed, and which late rows a pass takes up."""

from __future__ import annotations

from itertools import islice

from pfa_flux import Settings
from pfa_flux.tasks.passes import make_pass
from pfa_flux.tasks.state import State, late_before
from pfa_flux.times import NS
from pfa_flux.windows.ranges import Pieces, covered, length, merged, without
from pfa_flux.windows.spec import TaskSpec
from tests.contract import analytics, fill
from tests.data import MINUTE, T0, hit
from tests.engines.plugin import MakeWorkspace

WINDOW = 15 * MINUTE
SPEC = TaskSpec.from_settings(Settings())


def test_spans_that_touch_are_one_and_empty_ones_are_none() -> None:
    assert merged([(5, 7), (1, 3), (3, 5), (8, 8), (9, 12), (10, 11)]) == [(1, 7), (9, 12)]
    assert covered([(0, 10), (20, 30)], [(8, 22), (30, 40)]) == [(8, 10), (20, 22)]
    assert without([(0, 10), (20, 30)], [(8, 22), (25, 26)]) == [(0, 8), (22, 25), (26, 30)]
    assert length([(0, 8), (22, 25)]) == 11


def test_a_piece_has_half_as_many_windows_after_many_rows_and_twice_as_many_after_few() -> None:
    pieces = Pieces([(0, 20_000)], 1)
    sizes = []
    rows = (60_001, 60_000, 15_000, 14_999, 60_001, 0, 0, 0, 0)
    for (low, high), found in zip(pieces, rows, strict=False):
        sizes.append(high - low)
        pieces.resize(found)
    assert sizes == [672, 336, 336, 336, 672, 336, 672, 1344, 2688]
    assert [high - low for low, high in islice(pieces, 1)] == [2880]


def test_a_piece_has_one_window_at_least_and_ends_with_its_span() -> None:
    pieces = Pieces([(0, 1), (10, 12)], 1)
    for _ in range(12):
        pieces.resize(60_001)
    assert list(pieces) == [(0, 1), (10, 11), (11, 12)]


def test_a_window_is_due_when_its_offset_is_over_and_not_a_nanosecond_earlier() -> None:
    assert SPEC.due(T0 + 60 * NS) == T0
    assert SPEC.due(T0 + 60 * NS - 1) == T0 - WINDOW
    assert [SPEC.floor(T0 + ns) - T0 for ns in (-1, 0, WINDOW - 1, WINDOW)] == [-WINDOW, 0, 0, WINDOW]
    assert [SPEC.ceiling(T0 + ns) - T0 for ns in (-1, 0, 1, WINDOW)] == [0, 0, WINDOW, WINDOW]


def test_a_row_is_late_that_the_next_run_does_not_reach() -> None:
    # At a minute past midnight the next run is that of 00:15, and recomputes two windows.
    assert late_before(SPEC, T0 + 60 * NS) == T0 - WINDOW
    assert late_before(SPEC, T0 + 60 * NS - 1) == T0 - 2 * WINDOW


def test_a_pass_takes_up_late_rows_up_to_its_end_and_leaves_those_of_windows_still_open(
    make_workspace: MakeWorkspace,
) -> None:
    workspace = make_workspace("memory")
    times = [T0, T0 + WINDOW - 1, T0 + WINDOW]
    fill(workspace, T0 + WINDOW, [hit(time) for time in times])
    with analytics(workspace, T0 + WINDOW) as made:
        rollup, state = made.task(backend="runner").rollup, State(made.settings)
        state.note_late(rollup.spec.raw_bucket, rollup.spec.source, times)
        assert list(state.late_windows(rollup.spec).ends) == [T0 + WINDOW, T0 + 2 * WINDOW]
        done = make_pass(rollup, state, T0 + WINDOW, T0 + WINDOW + MINUTE)
        assert (done.ranges, done.rows) == (((T0, T0 + WINDOW),), 1)
        assert rollup.totals(T0, T0 + 2 * WINDOW) == {T0 + WINDOW: 2}
        assert list(state.late_windows(rollup.spec).ends) == [T0 + 2 * WINDOW]
        state.close()
