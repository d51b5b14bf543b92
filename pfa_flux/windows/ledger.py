"""Gaps: which windows in a range do not match raw data. Stored rows decide, not the records of a task's runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from pfa_flux.deprecated import renamed
from pfa_flux.engines.base import Span
from pfa_flux.windows.partial import whole
from pfa_flux.windows.ranges import merged
from pfa_flux.windows.recompute import pieces
from pfa_flux.windows.rollup import Compared, Rollup
from pfa_flux.windows.trust import raw_begins, trust

_AT_ONCE = 8640
"""How many windows one query covers: 90 days of 15 minutes."""

Kind = Literal["missing", "short", "excess", "foreign", "wrong"]
KINDS: tuple[Kind, ...] = ("missing", "short", "excess", "foreign", "wrong")


@dataclass(frozen=True, slots=True)
class Ledger:
    """The gaps in a range: windows that do not match raw data. Times are nanoseconds.

    Attributes:
        start: start of the first window.
        stop: end of the last window.
        raw_kept_from: raw data is kept from this instant. Earlier windows cannot be checked.
        raw_windows: number of windows since then with raw rows.
        missing: ranges of windows with raw rows but no downsampled row.
        short: ranges of windows with a downsampled sum below the raw sum, after an interrupted write or late rows.
        newest: end of the newest downsampled window, or None.
        unknown: number of windows before `raw_kept_from` that were never compared with raw data, so they may be wrong.
        excess: ranges of windows with a downsampled sum above the raw sum.
        foreign: ranges of windows with a row of another writer: with other tags, another label, or a float.
        wrong: ranges of windows with equal sums that differ by domain or page.
    """

    start: int
    stop: int
    raw_kept_from: int
    raw_windows: int = 0
    missing: tuple[Span, ...] = ()
    short: tuple[Span, ...] = ()
    newest: int | None = None
    unknown: int = 0
    excess: tuple[Span, ...] = ()
    foreign: tuple[Span, ...] = ()
    wrong: tuple[Span, ...] = ()
    known_from = renamed("Ledger", "known_from", "raw_kept_from")

    @property
    def state(self) -> Literal["complete", "gaps", "unknown"]:
        """`gaps`: some windows do not match raw data. `unknown`: some cannot be checked. `complete`: all match."""
        if self.to_mend:
            return "gaps"
        return "unknown" if self.unknown else "complete"

    @property
    def to_fill(self) -> list[Span]:
        """Ranges of windows that are missing or short, in order."""
        return merged((*self.missing, *self.short))

    @property
    def by_kind(self) -> dict[Kind, tuple[Span, ...]]:
        """Ranges of windows that do not match raw data, by kind."""
        return {kind: getattr(self, kind) for kind in KINDS}

    @property
    def to_mend(self) -> list[Span]:
        """Ranges of all windows that do not match raw data, in order."""
        return merged(each for ranges in self.by_kind.values() for each in ranges)

    @property
    def since(self) -> int | None:
        """Start of the first window that does not match raw data."""
        return self.to_mend[0][0] if self.to_mend else None


def find_gaps(rollup: Rollup, start: int, stop: int, now: int) -> Ledger:
    """Compare the windows in a range with raw data: first by totals, then row by row where totals prove nothing.

    Args:
        rollup: the windows.
        start: start of the range, nanoseconds. It moves back to the start of a window.
        stop: end of the range. It moves back to the end of the newest due window.
        now: the present, nanoseconds. It decides which raw data has expired.

    Raises:
        PartialAnswerError: an answer of the engine is partial.
    """
    spec = rollup.spec
    start, stop = spec.floor(start), min(spec.floor(stop), spec.due(now))
    gaps = _Gaps(rollup)
    kept_from, begins = rollup.raw_kept_from(now), raw_begins(rollup, stop, now)
    for low in range(start, stop, _AT_ONCE * spec.width):
        with whole(rollup.engine):
            gaps.find(low, min(stop, low + _AT_ONCE * spec.width), kept_from, begins)
    ranges = {kind: tuple(merged(each)) for kind, each in gaps.ranges.items()}
    return Ledger(start, stop, kept_from, gaps.raw_windows, newest=gaps.newest, unknown=gaps.unknown, **ranges)


@dataclass
class _Gaps:
    rollup: Rollup
    raw_windows: int = 0
    ranges: dict[Kind, list[Span]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    newest: int | None = None
    unknown: int = 0

    def find(self, low: int, high: int, kept_from: int, begins: int) -> None:
        """Check the windows of [low, high). Raw data before `kept_from` has expired; raw rows decide from `begins`."""
        rollup, width = self.rollup, self.rollup.spec.width
        known, expired = max(low, begins), min(high, begins)
        totals = rollup.totals(low, high)
        self.newest = max(totals, default=self.newest)
        known_of = trust(rollup, low, high)
        unknown = [end for start, stop in known_of.unproved for end in _ends(start, min(stop, expired), width)]
        # An engine that removes raw rows itself removes only rows of proved windows.
        removes = rollup.engine.capabilities.expires_proved
        self.unknown += sum(not (removes and end in totals) if end <= kept_from else end in totals for end in unknown)
        if known >= high:
            return
        raw = rollup.raw_totals(known, high)
        self.raw_windows += len(raw)
        doubtful: set[int] = set()
        for end in _ends(known, high, width):
            if end in raw and end not in totals:
                self.ranges["missing"].append((end - width, end))
            elif totals.get(end, 0) < raw.get(end, 0):
                self.ranges["short"].append((end - width, end))
            elif totals.get(end, 0) > raw.get(end, 0):
                doubtful.add(end)
        judged = {stop for kind in ("missing", "short") for _, stop in self.ranges[kind]}
        for start, stop in (*known_of.unproved, *known_of.mixed):
            doubtful.update(end for end in _ends(max(start, known), stop, width) if end not in judged and end in totals)
        for compared, _ in pieces(rollup, [(end - width, end) for end in doubtful], fix=False):
            self._judge(compared)

    def _judge(self, compared: Compared) -> None:
        """Add the gaps among windows that were compared row by row."""
        width = self.rollup.spec.width
        sums: dict[int, int] = {}
        foreign: set[int] = set()
        for difference in compared.differences:
            sums[difference.end] = sums.get(difference.end, 0) + (difference.rollup or 0) - difference.raw
            if difference.foreign:
                foreign.add(difference.end)
        for end, more in sums.items():
            kind: Kind = "foreign" if end in foreign else "excess" if more > 0 else "wrong"
            self.ranges[kind].append((end - width, end))


def _ends(low: int, high: int, width: int) -> Iterator[int]:
    return iter(range(low + width, high + 1, width))
