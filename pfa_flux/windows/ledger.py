"""What is wrong with the windows of a range: the destination is the ledger, whatever a task remembers of its runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from pfa_flux.engines.base import Span
from pfa_flux.windows.recompute import pieces
from pfa_flux.windows.rollup import Compared, Rollup
from pfa_flux.windows.spans import merged
from pfa_flux.windows.trust import raw_begins, trust
from pfa_flux.windows.whole import whole

_AT_ONCE = 8640
"""Windows asked for in one query: 90 days of 15 minutes."""

Kind = Literal["missing", "short", "excess", "foreign", "wrong"]
KINDS: tuple[Kind, ...] = ("missing", "short", "excess", "foreign", "wrong")


@dataclass(frozen=True, slots=True)
class Ledger:
    """Windows of a range, raw data compared with downsampled data. Times are nanoseconds.

    Attributes:
        start: an edge of windows.
        stop: another.
        known_from: raw data is kept from here on; what was before can only be taken on trust.
        raw_windows: windows since then that have raw rows.
        missing: of them those without any downsampled row, as spans.
        short: those whose downsampled sum is less than the raw one: a write that was broken off, or late rows.
        newest: end of the newest window that is there, None without any.
        unknown: windows before `known_from` that were never compared with raw data: nobody can say if they are right.
        excess: windows whose downsampled sum is more than the raw one.
        foreign: windows that hold a row which is none of ours: with further tags, another label, or a float.
        wrong: windows whose sums agree as a whole, and differ by domain or page.
    """

    start: int
    stop: int
    known_from: int
    raw_windows: int = 0
    missing: tuple[Span, ...] = ()
    short: tuple[Span, ...] = ()
    newest: int | None = None
    unknown: int = 0
    excess: tuple[Span, ...] = ()
    foreign: tuple[Span, ...] = ()
    wrong: tuple[Span, ...] = ()

    @property
    def state(self) -> Literal["complete", "gaps", "unknown"]:
        """Gaps: windows are not what raw data says. Unknown: of some nobody can say. Complete: neither."""
        if self.to_mend:
            return "gaps"
        return "unknown" if self.unknown else "complete"

    @property
    def to_fill(self) -> list[Span]:
        """Spans of windows that are missing or short, in order."""
        return merged((*self.missing, *self.short))

    @property
    def by_kind(self) -> dict[Kind, tuple[Span, ...]]:
        """Spans of windows that are not what raw data says, by what is wrong with them."""
        return {kind: getattr(self, kind) for kind in KINDS}

    @property
    def to_mend(self) -> list[Span]:
        """Spans of all windows that are not what raw data says, in order."""
        return merged(span for spans in self.by_kind.values() for span in spans)

    @property
    def since(self) -> int | None:
        """Start of the first window that is not what raw data says."""
        return self.to_mend[0][0] if self.to_mend else None


def find_gaps(rollup: Rollup, start: int, stop: int, now: int) -> Ledger:
    """Compare a range's windows with raw data: by their totals and, where those do not prove it, row by row.

    Args:
        rollup: the windows.
        start: widened to an edge of windows; nanoseconds.
        stop: cut to the newest window that is due.
        now: the present, nanoseconds, by which raw data expires.

    Raises:
        PartialAnswerError: the engine answers in part.
    """
    spec = rollup.spec
    start, stop = spec.floor(start), min(spec.floor(stop), spec.due(now))
    found = _Found(rollup)
    horizon, begins = rollup.known_from(now), raw_begins(rollup, stop, now)
    for low in range(start, stop, _AT_ONCE * spec.width):
        with whole(rollup.engine):
            found.look(low, min(stop, low + _AT_ONCE * spec.width), horizon, begins)
    spans = {kind: tuple(merged(each)) for kind, each in found.spans.items()}
    return Ledger(start, stop, horizon, found.raw_windows, newest=found.newest, unknown=found.unknown, **spans)


@dataclass
class _Found:
    rollup: Rollup
    raw_windows: int = 0
    spans: dict[Kind, list[Span]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    newest: int | None = None
    unknown: int = 0

    def look(self, low: int, high: int, horizon: int, begins: int) -> None:
        """Look at the windows of [low, high); raw data has expired before `horizon`, and begins with `begins`."""
        rollup, width = self.rollup, self.rollup.spec.width
        known, expired = max(low, begins), min(high, begins)
        there = rollup.totals(low, high)
        self.newest = max(there, default=self.newest)
        known_of = trust(rollup, low, high)
        unknown = [end for start, stop in known_of.unproved for end in _ends(start, min(stop, expired), width)]
        # An engine that removes raw rows itself removes none that were not proved.
        removes = rollup.engine.capabilities.expires_proved
        self.unknown += sum(not (removes and end in there) if end <= horizon else end in there for end in unknown)
        if known >= high:
            return
        raw = rollup.raw_totals(known, high)
        self.raw_windows += len(raw)
        doubtful: set[int] = set()
        for end in _ends(known, high, width):
            if end in raw and end not in there:
                self.spans["missing"].append((end - width, end))
            elif there.get(end, 0) < raw.get(end, 0):
                self.spans["short"].append((end - width, end))
            elif there.get(end, 0) > raw.get(end, 0):
                doubtful.add(end)
        judged = {stop for kind in ("missing", "short") for _, stop in self.spans[kind]}
        for start, stop in (*known_of.unproved, *known_of.mixed):
            doubtful.update(end for end in _ends(max(start, known), stop, width) if end not in judged and end in there)
        for found, _ in pieces(rollup, [(end - width, end) for end in doubtful], fix=False):
            self._judge(found)

    def _judge(self, found: Compared) -> None:
        """Take up windows that were compared row by row."""
        width = self.rollup.spec.width
        sums: dict[int, int] = {}
        foreign: set[int] = set()
        for difference in found.differences:
            sums[difference.end] = sums.get(difference.end, 0) + (difference.rollup or 0) - difference.raw
            if difference.foreign:
                foreign.add(difference.end)
        for end, more in sums.items():
            kind: Kind = "foreign" if end in foreign else "excess" if more > 0 else "wrong"
            self.spans[kind].append((end - width, end))


def _ends(low: int, high: int, width: int) -> Iterator[int]:
    return iter(range(low + width, high + 1, width))
