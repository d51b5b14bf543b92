"""Whatever is written, lost, deleted or compared in whatever order: an answer is the oracle's or has a warning."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfa_flux import Analytics, BlockedRatio, Point
from pfa_flux.schema import BOTH, Side
from tests.contract import analytics, ordinarily, task_workspace
from tests.data import DAY, HOUR, T0, hit, load
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace
from tests.ledger import RUNNERS, WINDOW, codes, passes, rollup_row
from tests.oracle import totals


@dataclass
class Field:
    """Raw rows as they lie there, and what was done to the downsampled ones."""

    raw: dict[tuple[str, tuple[tuple[str, str], ...], int], Point] = field(default_factory=dict)

    def put(self, points: Iterable[Point]) -> list[Point]:
        points = list(points)
        self.raw |= {(p.measurement, tuple(sorted(p.tags.items())), p.time): p for p in points}
        return points


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("rows", "late", "twice", "foreign", "label", "wrong", "lost", "deleted", "pass", "float"),
                # Rows of after the present, and passes of a clock that is wrong.
                *("early", "ahead", "behind"),
            ]
        ),
        st.integers(0, 40),
        st.sampled_from(list(BOTH)),
        st.sampled_from(["/", "/a", "/b"]),
        st.integers(1, 5),
    ),
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize("runs", ordinarily(RUNNERS))
def test_every_answer_is_the_oracles_or_is_warned_of_and_a_repair_makes_it_so(
    runs: str, make_workspace: MakeWorkspace
) -> None:
    workspace = task_workspace(runs, make_workspace)
    bases = iter(range(T0, T0 + 8000 * DAY, 8 * DAY))

    @settings(max_examples=25 if runs in ("memory", "embedded") else 5)
    @given(_STEPS)
    def examine(steps: list[tuple[str, int, Side, str, int]]) -> None:
        base = next(bases)
        try:
            judge(base, steps)
        finally:
            with analytics(workspace, base) as made:
                _clear(made, base)

    def judge(base: int, steps: list[tuple[str, int, Side, str, int]]) -> None:
        there = Field()
        with analytics(workspace, base) as made:
            # Raw data begins before the range: nobody could know of windows of before that.
            made.engine.write(made.settings.raw_bucket, there.put([hit(base - HOUR), load(base - HOUR)]))
        for number, step in enumerate(steps):
            _do(workspace, there, base, number, *step)
        with analytics(workspace, base + 3 * DAY) as made:
            if runs != "embedded":
                # Elsewhere a row that is late is found by the next pass.
                passes(made)
            for by in (["domain"], ["page"]):
                ask: dict[str, Any] = {"by": by, "start": base, "stop": base + 2 * DAY}
                wanted = totals(there.raw.values(), base, base + 2 * DAY, by)
                assert _counts(made.blocked_ratio(**ask, source="auto"), by) == wanted or codes(
                    made.blocked_ratio(**ask, source="auto")
                ) & {"rollup_unproved", "gaps"}
                answer = made.blocked_ratio(**ask, source="rollup")
                assert _counts(answer, by) == wanted or codes(answer) & {"rollup_unproved", "gaps"}
            for side in BOTH:
                made.task(side.value, backend="runner").repair_all(lower=True)
            for by in (["domain"], ["page"]):
                answer = made.blocked_ratio(by=by, start=base, stop=base + 2 * DAY, source="rollup")
                assert _counts(answer, by) == totals(there.raw.values(), base, base + 2 * DAY, by)
                assert not codes(answer) & {"rollup_unproved", "rollup_unknown", "gaps"}

    examine()


def _clear(made: Analytics, base: int) -> None:
    """Leave nothing to the next example."""
    for side in BOTH:
        spec = made.task(side.value, backend="runner").spec
        for rows in (spec.raw, spec.rollup, replace(spec.rollup, measurement="pfa_flux_proved")):
            # A clock that was ahead has proved windows of long after.
            made.engine.delete(rows, base - HOUR, base + 600 * DAY)


def _counts(answer: BlockedRatio, by: list[str]) -> dict[tuple[str, ...], tuple[int, int]]:
    return {tuple(row.key[name] for name in by): (row.hits, row.js) for row in answer if row.hits or row.js}


def _do(
    workspace: Workspace, there: Field, base: int, number: int, what: str, hour: int, side: Side, page: str, count: int
) -> None:
    at = base + hour * HOUR + (3 * DAY if what == "early" else 0)
    present = base + {"ahead": 3 * DAY + hour * 10 * DAY, "behind": hour * HOUR}.get(what, 3 * DAY)
    with analytics(workspace, present) as made:
        spec = made.task(side.value, backend="runner").spec
        row = hit if side is Side.HITS else load
        if what in ("rows", "late", "twice", "early"):
            points = there.put(row(at + number * 100 + n, page=page) for n in range(count))
            for _ in range(1 + (what == "twice")):
                made.engine.write(made.settings.raw_bucket, points)
        elif what in ("pass", "ahead", "behind"):
            passes(made)
        elif what == "lost":
            made.engine.delete(spec.rollup, at, at + HOUR)
        elif what == "deleted":
            gone = [key for key, p in there.raw.items() if p.measurement == spec.source and at <= p.time < at + HOUR]
            for key in gone:
                del there.raw[key]
            made.engine.delete(spec.raw, at, at + HOUR)
        else:
            tags = {"host": "other"} if what == "foreign" else {}
            time = at + WINDOW - (7 if what == "label" else 0)
            # A float beside integers is refused by a server, and is kept by the embedded store.
            value = float(count) if what == "float" and workspace.serverless else count
            tags["page"] = page
            made.engine.write(made.settings.rollup_bucket, [rollup_row(made, side, time, value, **tags)])
