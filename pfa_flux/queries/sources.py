"""Where the counts of a range come from: raw data, downsampled data, or both, and no window counted twice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from pfa_flux.engines.base import Engine
from pfa_flux.engines.embedded import Embedded
from pfa_flux.errors import AccessDeniedError, BucketNotFoundError, InvalidValueError
from pfa_flux.queries.result import Caveat, Source
from pfa_flux.queries.selection import Selection, WhichSides
from pfa_flux.settings import Settings
from pfa_flux.tasks.ledger import known_from
from pfa_flux.tasks.rollup import oldest_rollup, raw_totals, rollup_totals
from pfa_flux.tasks.spans import Span, merged
from pfa_flux.tasks.spec import TaskSpec
from pfa_flux.times import NS, format_duration, format_instant

SourceChoice = Literal["auto", "raw", "rollup"]

SLOW_HITS = 2_000_000
"""So many raw hits in a range are slow to count (about half a second), and closed windows come downsampled."""

_SHORTEST_SLOW = 86400 * NS
_MOST_GAPS = 30
"""With more stretches that the task has missed, raw data is read as a whole."""


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of time, [start, stop) in nanoseconds, one or both sides of which come from one place."""

    source: Literal["raw", "rollup"]
    start: int
    stop: int
    sides: WhichSides = "both"


@dataclass(frozen=True, slots=True)
class Sources:
    """Parts that cover a range.

    Attributes:
        parts: no two of which have a side at a time in common.
        start: first instant the figures are for, nanoseconds; after the range's own where the past is not known.
        stop: first instant they are not for.
        caveats: what the reader has to know of it.
    """

    parts: tuple[Part, ...]
    start: int
    stop: int
    caveats: tuple[Caveat, ...] = ()

    @property
    def label(self) -> Source:
        """raw, rollup, or raw+rollup."""
        found = {part.source for part in self.parts}
        if found == {"raw", "rollup"}:
            return "raw+rollup"
        return "rollup" if found == {"rollup"} else "raw"


def choose(
    engine: Engine, settings: Settings, selection: Selection, width: int, choice: SourceChoice, now: int
) -> Sources:
    """Decide where each stretch of a range comes from.

    Args:
        engine: where the data is.
        settings: names of the buckets, and how the task downsamples.
        selection: the range, and whether pages count.
        width: seconds of the windows that will be asked for.
        choice: raw; rollup: downsampled windows alone; auto: downsampled ones where raw data has expired or would be
            slow, raw data for the rest.
        now: the present, nanoseconds.

    Raises:
        InvalidValueError: there is no such choice, or downsampled windows do not fit the question.
        BucketNotFoundError, AccessDeniedError: the downsampled bucket was asked for and cannot be read.
    """
    if choice not in get_args(SourceChoice):
        raise InvalidValueError(f"no source {choice!r}", f"Use one of {', '.join(get_args(SourceChoice))}.")
    chooser = _Chooser(engine, settings, selection, now)
    unfit = chooser.why_unfit(width)
    if choice == "rollup":
        if unfit:
            raise InvalidValueError(f"downsampled data cannot answer this: {unfit}", "Use --source raw or auto.")
        return chooser.rollup_only()
    return chooser.raw_only() if choice == "raw" or unfit else chooser.auto()


class _Chooser:
    def __init__(self, engine: Engine, settings: Settings, selection: Selection, now: int) -> None:
        self._engine, self._selection, self._now = engine, selection, now
        self._hits, self._loads = (TaskSpec.from_settings(settings, what) for what in ("hits", "loads"))
        self._start, self._stop = selection.start, selection.stop
        # The whole windows of the range.
        self._low, self._high = self._hits.ceiling(self._start), self._hits.floor(self._stop)

    def why_unfit(self, width: int) -> str:
        """Why downsampled windows do not fit the question; empty where they do."""
        if width % self._hits.every:
            return (
                f"its windows are of {format_duration(self._hits.every)}, which the intervals asked for are not made of"
            )
        if (self._selection.by_page or self._selection.pages) and "page" not in self._hits.tags:
            return "the task does not keep pages"
        return ""

    def raw_only(self) -> Sources:
        """All from raw data, whatever is left of it."""
        kept = self._kept_from()
        caveats = (_expired(kept),) if kept > self._start else ()
        return Sources((Part("raw", self._start, self._stop),), self._start, self._stop, caveats)

    def auto(self) -> Sources:
        """Downsampled where raw data has expired or would be slow."""
        kept = self._kept_from()
        try:
            past = self._expired_part(kept) if kept > self._start else None
            recent = self._recent_parts(max(kept, self._low) if past else self._start)
        except (BucketNotFoundError, AccessDeniedError):
            return self.raw_only()
        if past is None:
            return recent
        stop = self._stop if self._stop > kept else min(self._high, kept)
        start = min(past.start, stop)
        parts = [replace(part, stop=min(part.stop, stop)) for part in past.parts]
        if self._stop > kept:
            parts += recent.parts
        cut = self._cut(start, stop, "raw data has expired")
        return Sources(tuple(part for part in parts if part.start < part.stop), start, stop, (*cut, *recent.caveats))

    def rollup_only(self) -> Sources:
        """Downsampled windows alone; page loads from raw data where nobody downsamples them."""
        low, high = self._low, min(self._high, self._hits.due(self._now))
        if low >= high:
            raise InvalidValueError(
                f"no window of {format_duration(self._hits.every)} of this range is whole and closed",
                "Use --source auto, or a longer range.",
            )
        loads = oldest_rollup(self._engine, self._loads, high + 1)
        kept = self._kept_from()
        start = low
        if loads is None:
            start = min(max(low, kept), high)
            parts = [Part("rollup", start, high, "hits"), Part("raw", start, high, "js")]
        else:
            parts = [Part("rollup", low, high)]
        missed = self._missed(self._hits, max(start, kept), high)
        caveats = [*self._cut(start, high, "windows are taken whole")]
        if missed:
            caveats.append(self._gaps(missed, "are not counted"))
        return Sources(tuple(part for part in parts if part.start < part.stop), start, high, tuple(caveats))

    def _kept_from(self) -> int:
        """Instant since which raw data is kept, an edge of windows; the start of time where it is kept for ever."""
        # No server keeps anything for less than an hour.
        recent = self._start >= self._now - 3600 * NS
        return 0 if recent else known_from(self._engine, self._hits, self._now)

    def _expired_part(self, kept: int) -> Sources:
        """What is before `kept`, as far as both sides are known."""
        low, high = self._low, min(self._high, kept)
        begins = low
        for spec in () if self._was_proved() else (self._hits, self._loads):
            oldest = oldest_rollup(self._engine, spec, kept + 1)
            begins = max(begins, kept if oldest is None else spec.ceiling(oldest) - spec.width)
        begins = min(begins, kept)
        return Sources((Part("rollup", begins, high),), begins, high)

    def _was_proved(self) -> bool:
        """The embedded store lets raw rows go only once the windows of both sides are proved: none means none."""
        return isinstance(self._engine, Embedded) and bool(self._engine.kept_since(self._hits.raw_bucket, self._now))

    def _recent_parts(self, start: int) -> Sources:
        """What is kept raw, from there unless it would be slow."""
        low = self._hits.ceiling(start)
        # The windows that a run still recomputes may yet grow.
        high = min(self._high, self._hits.due(self._now) - self._hits.reach)
        raw = Sources((Part("raw", start, self._stop),), start, self._stop)
        if high - low < _SHORTEST_SLOW or not self._is_slow(low, high):
            return raw
        parts: list[Part] = [Part("raw", start, low), Part("raw", high, self._stop)]
        caveats: list[Caveat] = []
        sides: tuple[tuple[TaskSpec, WhichSides], ...] = ((self._hits, "hits"), (self._loads, "js"))
        for spec, side in sides:
            there = rollup_totals(self._engine, spec, low, high)
            if not there:
                parts.append(Part("raw", low, high, side))
                continue
            missed = self._missed(spec, low, high, there)
            if len(missed) > _MOST_GAPS:
                return raw
            parts.append(Part("rollup", low, high, side))
            parts += [Part("raw", *span, side) for span in missed]
            gaps = [span for span in missed if span[0] >= min(there) - spec.width]
            if gaps:
                caveats.append(self._gaps(gaps, "were taken from raw data", spec))
        found = tuple(part for part in parts if part.start < part.stop)
        return Sources(found, start, self._stop, tuple(caveats))

    def _is_slow(self, low: int, high: int) -> bool:
        try:
            return sum(rollup_totals(self._engine, self._hits, low, high, whole=True).values()) > SLOW_HITS
        except (BucketNotFoundError, AccessDeniedError):
            return False

    def _missed(self, spec: TaskSpec, low: int, high: int, there: dict[int, int] | None = None) -> list[Span]:
        """Spans of windows that raw data has and downsampled data has not."""
        if low >= high:
            return []
        there = rollup_totals(self._engine, spec, low, high) if there is None else there
        ends = range(low + spec.width, high + 1, spec.width)
        empty = merged((end - spec.width, end) for end in ends if end not in there)
        if len(empty) > _MOST_GAPS:
            empty = [(empty[0][0], empty[-1][1])]
        raw = [end for span in empty for end in raw_totals(self._engine, spec, *span)]
        return merged((end - spec.width, end) for end in raw if end not in there)

    def _gaps(self, missed: list[Span], fate: str, spec: TaskSpec | None = None) -> Caveat:
        spec = spec or self._hits
        count = sum(stop - start for start, stop in missed) // spec.width
        since = format_instant(missed[0][0])
        option = "" if spec.what == "hits" else " --js"
        return Caveat(
            "gaps",
            f"{count} windows of {spec.what} since {since} have raw rows and no downsampled one; they {fate}. Run "
            f"pfa-flux task backfill{option} --start {since} before raw data expires.",
        )

    def _cut(self, start: int, stop: int, why: str) -> tuple[Caveat, ...]:
        if (start, stop) == (self._start, self._stop):
            return ()
        if start >= stop:
            words = f"Nothing of the range is known: {why}, and nothing was downsampled of both hits and page loads."
        else:
            words = f"The figures are for {format_instant(start)} to {format_instant(stop)}: {why}"
            words += ", and downsampled data of both hits and page loads begins there." if start > self._low else "."
        return (Caveat("range_cut", words),)


def _expired(kept: int) -> Caveat:
    return Caveat(
        "raw_expired",
        f"Raw data before {format_instant(kept)} has expired and counts as nothing here; --source auto takes it from "
        "downsampled data, if there is any.",
    )
