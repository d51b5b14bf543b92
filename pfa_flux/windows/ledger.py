"""What is wrong with the windows of a range. The rows that exist decide, not what a task recorded about its runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from pfa_flux.engines.base import Span
from pfa_flux.windows.partial import whole
from pfa_flux.windows.ranges import merged
from pfa_flux.windows.recompute import pieces
from pfa_flux.windows.rollup import Compared, Rollup
from pfa_flux.windows.trust import raw_begins, trust

_AT_ONCE = 8640
"""Windows per query: 90 days of 15 minutes."""

Kind = Literal["missing", "short", "excess", "foreign", "wrong"]
KINDS: tuple[Kind, ...] = ("missing", "short", "excess", "foreign", "wrong")


@dataclass(frozen=True, slots=True)
class Ledger:
    """Windows of a range: downsampled data compared with raw data. Times are nanoseconds.

    Attributes:
        start: an edge of windows.
        stop: an edge of windows.
        known_from: raw data is kept from here on; earlier windows must be taken on trust.
        raw_windows: number of windows since then with raw rows.
        missing: spans of windows with raw rows but no downsampled row.
        short: spans of windows with a downsampled sum below the raw sum, after an interrupted write or late rows.
        newest: end of the newest downsampled window; None without any.
        unknown: number of windows before `known_from` that were never compared with raw data, so may be wrong.
        excess: spans of windows with a downsampled sum above the raw sum.
        foreign: spans of windows with a row of another writer: with further tags, another label, or a float.
        wrong: spans of windows with equal sums that differ by domain or page.
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
        """Gaps: some windows do not match raw data. Unknown: some cannot be checked. Complete: neither."""
        if self.to_mend:
            return "gaps"
        return "unknown" if self.unknown else "complete"

    @property
    def to_fill(self) -> list[Span]:
        """Spans of windows that are missing or short, in order."""
        return merged((*self.missing, *self.short))

    @property
    def by_kind(self) -> dict[Kind, tuple[Span, ...]]:
        """Spans of windows that do not match raw data, by kind of fault."""
        return {kind: getattr(self, kind) for kind in KINDS}

    @property
    def to_mend(self) -> list[Span]:
        """Spans of all windows that do not match raw data, in order."""
        return merged(span for spans in self.by_kind.values() for span in spans)

    @property
    def since(self) -> int | None:
        """Start of the first window that does not match raw data."""
        return self.to_mend[0][0] if self.to_mend else None


def find_gaps(rollup: Rollup, start: int, stop: int, now: int) -> Ledger:
    """Compare a range's windows with raw data: by totals and, if those prove nothing, row by row.

    Args:
        rollup: the windows.
        start: widened to an edge of windows; nanoseconds.
        stop: cut to the newest window that is due.
        now: the current time, nanoseconds; it decides which raw data has expired.

    Raises:
        PartialAnswerError: an answer of the engine is partial.
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
        """Check the windows of [low, high). Raw data before `horizon` has expired; raw data starts at `begins`."""
        rollup, width = self.rollup, self.rollup.spec.width
        known, expired = max(low, begins), min(high, begins)
        there = rollup.totals(low, high)
        self.newest = max(there, default=self.newest)
        known_of = trust(rollup, low, high)
        unknown = [end for start, stop in known_of.unproved for end in _ends(start, min(stop, expired), width)]
        # An engine that removes raw rows itself removes only rows of proved windows.
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
        """Record windows that were compared row by row."""
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
