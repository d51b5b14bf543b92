"""Holding downsampled data against raw data, window by window and page by page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pfa_flux.engines.base import Engine
from pfa_flux.tasks.ledger import known_from
from pfa_flux.tasks.recompute import Progress, Report
from pfa_flux.tasks.rollup import Cell, Stored, Sums, raw_sums, stored_rows, sums_of
from pfa_flux.tasks.spans import Pieces, Span, merged
from pfa_flux.tasks.spec import TaskSpec

_SHOWN = 1000
"""Differences that are kept word for word; all are counted."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A place where downsampled data is not what raw data says.

    Attributes:
        end: end of the window, nanoseconds.
        tags: the tags that are kept.
        raw: what raw data says; 0 where it knows nothing of it.
        rollup: what is there, None where there is no row.
        reason: why, in words.
    """

    end: int
    tags: Mapping[str, str]
    raw: int
    rollup: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found. Times are nanoseconds.

    Attributes:
        start: first edge of windows that was looked at.
        stop: the last.
        unknown: windows before it, of which raw data is no longer kept, and which were not looked at.
        windows: windows that were compared.
        rows: rows that raw data makes of them.
        count: places that differ.
        differences: the first 1,000 of them.
        spans: the windows that they lie in.
    """

    start: int
    stop: int
    unknown: int
    windows: int
    rows: int
    count: int
    differences: tuple[Difference, ...]
    spans: tuple[Span, ...]

    @property
    def clean(self) -> bool:
        """Nothing differs."""
        return self.count == 0


def verify(
    engine: Engine, spec: TaskSpec, start: int, stop: int, now: int, *, report: Report = lambda _: None
) -> Verification:
    """Compare the sums of raw and of downsampled data, in pieces of bounded memory.

    Args:
        engine: where both are.
        spec: what the windows are.
        start: widened to an edge of windows, and cut to what raw data is kept of; nanoseconds.
        stop: cut to the newest window that is due.
        now: the present, nanoseconds, by which raw data expires.
        report: called after every piece.
    """
    asked, stop = spec.floor(start), min(spec.floor(stop), spec.due(now))
    start = min(max(asked, known_from(engine, spec, now)), max(asked, stop))
    found = _Found(spec)
    total, done = max(0, stop - start) // spec.width, 0
    pieces = Pieces([(start, stop)], spec.width)
    for low, high in pieces:
        raw, there = raw_sums(engine, spec, low, high), stored_rows(engine, spec, low, high)
        found.compare(raw, there)
        pieces.had(max(len(raw), len(there)))
        done += (high - low) // spec.width
        report(Progress(done, total, found.rows))
    return Verification(
        start,
        max(start, stop),
        (start - asked) // spec.width,
        total,
        found.rows,
        found.count,
        tuple(found.differences),
        tuple(merged(found.spans)),
    )


@dataclass
class _Found:
    spec: TaskSpec
    rows: int = 0
    count: int = 0
    differences: list[Difference] = field(default_factory=list)
    spans: set[Span] = field(default_factory=set)

    def compare(self, raw: Sums, there: list[Stored]) -> None:
        """Take up a piece."""
        self.rows += len(raw)
        sums, odd = sums_of(self.spec, there), self._odd(there)
        for cell in sorted({*raw, *sums}):
            if raw.get(cell) != sums.get(cell) or cell in odd:
                self._add(cell, raw.get(cell, 0), sums.get(cell), odd.get(cell))

    def _odd(self, there: list[Stored]) -> dict[Cell, str]:
        """Places with rows that are not of our form, and why, even if their sums are right by chance."""
        reasons: dict[Cell, str] = {}
        for row in there:
            cell = Cell(self.spec.ceiling(row.time), tuple(row.tags.get(tag, "") for tag in self.spec.tags))
            further = sorted(set(row.tags) - set(self.spec.tags))
            if further:
                reasons[cell] = f"a row has further tags ({', '.join(f'{tag}={row.tags[tag]}' for tag in further)})"
            elif row.time != cell.end:
                reasons[cell] = "a row is labelled with a time that ends no window"
        return reasons

    def _add(self, cell: Cell, raw: int, rollup: int | None, odd: str | None) -> None:
        self.count += 1
        self.spans.add((cell.end - self.spec.width, cell.end))
        if len(self.differences) < _SHOWN:
            tags = dict(zip(self.spec.tags, cell.tags, strict=True))
            reason = odd or (
                "the window is not downsampled" if rollup is None else "no raw rows" if not raw else "the sum is wrong"
            )
            self.differences.append(Difference(cell.end, tags, raw, rollup, reason))
