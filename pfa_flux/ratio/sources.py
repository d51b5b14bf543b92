"""Chooses where the counts of a range come from: raw data, downsampled data, or both. No window counts twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from pfa_flux import registry
from pfa_flux.arguments import named, one_of, text
from pfa_flux.engines.base import Span
from pfa_flux.errors import AccessDeniedError, BucketNotFoundError, InvalidValueError
from pfa_flux.ratio.answer_warning import AnswerWarning, expired
from pfa_flux.ratio.question import Question
from pfa_flux.ratio.rows import Source
from pfa_flux.schema import BOTH, SOURCES, Side
from pfa_flux.settings import Settings
from pfa_flux.times import NS, format_duration, format_instant
from pfa_flux.windows.ranges import covered, length, merged, without
from pfa_flux.windows.rollup import Rollup
from pfa_flux.windows.spec import TaskSpec
from pfa_flux.windows.trust import FEW_WINDOWS, Trust, raw_begins, trust

SLOW_HITS = 2_000_000
"""Number of raw hits from which counting takes about half a second. Closed windows are then read from downsampled
data."""

_SHORTEST_SLOW = 86400 * NS
_MOST_GAPS = 30
"""Maximum number of stretches that the task missed. Beyond it, the whole range is read from raw data."""


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of time, [start, stop) in nanoseconds, with one source for one or both sides.

    Attributes:
        source: raw or rollup.
        start: first instant.
        stop: first instant after it.
        sides: hits, loads or both.
        mixed: the downsampled rows may include rows of other writers, which must be left out.
    """

    source: Literal["raw", "rollup"]
    start: int
    stop: int
    sides: tuple[Side, ...] = BOTH
    mixed: bool = False


@dataclass(frozen=True, slots=True)
class Sources:
    """Parts that cover a range.

    Attributes:
        parts: the parts; no two cover the same side at the same time.
        start: first instant that the figures cover, nanoseconds. It is after the range's start if the past is unknown.
        stop: first instant after it.
        warnings: warnings about the sources.
    """

    parts: tuple[Part, ...]
    start: int
    stop: int
    warnings: tuple[AnswerWarning, ...] = ()

    @property
    def label(self) -> Source:
        """raw, rollup, or raw+rollup."""
        sources = {part.source for part in self.parts}
        if sources == {"raw", "rollup"}:
            return "raw+rollup"
        return "rollup" if sources == {"rollup"} else "raw"


def choose(
    rollups: Mapping[Side, Rollup],
    settings: Settings,
    question: Question,
    tags: tuple[str, ...],
    width: int,
    choice: str,
    now: int,
) -> Sources:
    """Choose a source for each stretch of a range.

    Args:
        rollups: the windows of the requested sides.
        settings: names of the buckets, and how the task downsamples.
        question: the range and the filters.
        tags: tags to group by.
        width: width of the windows to query, seconds.
        choice: raw; rollup: only downsampled windows; auto: proved windows, and raw data for the rest. If the engine
            stores no proofs, auto takes windows whose raw data has expired or would be slow to count.
        now: the current time, nanoseconds.

    Raises:
        InvalidValueError: the choice does not exist, or downsampled windows do not fit the question.
        BucketNotFoundError, AccessDeniedError: the rollup bucket was requested and cannot be read.
    """
    one_of("source", text("source", choice), registry.choices(SOURCES))
    chooser = _Chooser(rollups, settings, question, now)
    unfit = chooser.why_unfit(width, tags)
    if choice == "rollup":
        if unfit:
            raise InvalidValueError(
                f"{named('source', choice)} cannot answer this: {unfit}", f"Use {named('source', 'auto')}."
            )
        return chooser.rollup_only()
    return chooser.raw_only() if choice == "raw" or unfit else chooser.auto()


class _Chooser:
    def __init__(self, rollups: Mapping[Side, Rollup], settings: Settings, question: Question, now: int) -> None:
        self._rollups, self._question, self._now = rollups, question, now
        self._sides, self._kept_sides = tuple(rollups), settings.task.sides
        first = next(iter(rollups.values()))
        self._engine = first.engine
        # Both sides decide how far back data is known, even if only one was requested.
        self._both = {side: Rollup(self._engine, TaskSpec.from_settings(settings, side)) for side in BOTH}
        self._spec = first.spec
        self._start, self._stop = question.start, question.stop
        # The whole windows of the range.
        self._low, self._high = self._spec.ceiling(self._start), self._spec.floor(self._stop)
        # Each span is asked about once.
        self._trust: Callable[[Side, int, int], Trust] = cache(lambda side, *span: trust(self._both[side], *span))
        self._total: Callable[[Side, int, int], int] = cache(lambda side, *span: self._both[side].total(*span))

    def why_unfit(self, width: int, tags: tuple[str, ...]) -> str:
        """Why downsampled windows do not fit the question; empty if they do."""
        if width % self._spec.every:
            return f"its windows of {format_duration(self._spec.every)} do not add up to the requested intervals"
        if ("page" in tags or self._question.pages) and "page" not in self._spec.tags:
            return "the task does not keep pages"
        return ""

    def raw_only(self) -> Sources:
        """Everything from raw data, even if part of it has expired."""
        kept = self._kept_from()
        warnings = (expired(kept),) if kept > self._start else ()
        return Sources((Part("raw", self._start, self._stop, self._sides),), self._start, self._stop, warnings)

    def auto(self) -> Sources:
        """Downsampled data if raw data has expired or would be slow, raw data otherwise."""
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
        warnings = (*self._cut(start, stop, "raw data has expired"), *past.warnings, *recent.warnings)
        return Sources(_real(parts), start, stop, warnings)

    def rollup_only(self) -> Sources:
        """Only downsampled windows. If no task downsamples loads, they come from raw data."""
        low, high = self._low, min(self._high, self._spec.due(self._now))
        if low >= high:
            raise InvalidValueError(
                f"no window of {format_duration(self._spec.every)} lies wholly in this range and is closed",
                f"Use {named('source', 'auto')}, or a longer range.",
            )
        kept = self._kept_from()
        raw_loads = self._both[Side.LOADS].oldest(high) is None
        start = min(max(low, kept), high) if raw_loads else low
        missed = {
            side: self._missed(rollup, max(start, kept), high)
            for side, rollup in self._both.items()
            if side is Side.HITS or not raw_loads
        }
        warnings = [*self._cut(start, high, "windows are taken whole")]
        fate = "are not counted"
        warnings += [self._gaps(gaps, fate, self._both[side].spec) for side, gaps in missed.items() if gaps]
        # A window that one side lacks is left out for the other, too, so both sides cover the same time.
        spans = without([(start, high)], [gap for gaps in missed.values() for gap in gaps])
        parts: list[Part] = []
        for side in self._sides:
            if side is Side.LOADS and raw_loads:
                parts += [Part("raw", *span, (side,)) for span in spans]
            else:
                taken, doubts = self._downsampled(side, spans, kept)
                parts, warnings = [*parts, *taken], [*warnings, *doubts]
        return Sources(_real(parts), start, high, tuple(warnings))

    def _kept_from(self) -> int:
        """Instant from which raw data is kept, aligned to windows; 0 if it is kept forever."""
        # No server has a retention shorter than an hour.
        recent = self._start >= self._now - 3600 * NS
        return 0 if recent else max(rollup.raw_kept_from(self._now) for rollup in self._both.values())

    def _expired_part(self, kept: int) -> Sources:
        """The sources before `kept`, as far back as both sides are known."""
        low, high = self._low, min(self._high, kept)
        begins = low
        removed = self._engine.kept_since(self._spec.raw_bucket, self._now)
        if not (removed and self._engine.capabilities.expires_proved):
            for rollup in self._both.values():
                oldest = rollup.oldest(kept)
                begins = max(begins, kept if oldest is None else oldest)
        begins = min(begins, kept)
        parts: list[Part] = []
        warnings: list[AnswerWarning] = []
        for side in self._sides:
            taken, doubts = self._downsampled(side, [(begins, high)] if begins < high else [], kept)
            parts, warnings = [*parts, *taken], [*warnings, *doubts]
        return Sources(tuple(parts), begins, high, tuple(warnings))

    def _recent_parts(self, start: int) -> Sources:
        """The sources while raw data is kept: raw data, except for windows that are proved or slow to count."""
        low = self._spec.ceiling(start)
        raw = Sources((Part("raw", start, self._stop, self._sides),), start, self._stop)
        high = min(self._high, self._spec.due(self._now))
        proofs = low < high and next(iter(self._rollups.values())).log is None
        if not proofs:
            # The next run may still add to these windows.
            high -= self._spec.reach
            if high - low < _SHORTEST_SLOW or not self._is_slow(low, high):
                return raw
        parts: list[Part] = [Part("raw", start, low, self._sides), Part("raw", high, self._stop, self._sides)]
        warnings: list[AnswerWarning] = []
        for side, rollup in self._rollups.items():
            few = proofs or length(self._trust(side, low, high).unproved) <= FEW_WINDOWS * self._spec.width
            choices = self._proved_parts(side, low, high) if few else self._quick_parts(rollup, low, high)
            if choices is None:
                return raw
            downsampled, undone, missed = choices
            taken, doubts = self._downsampled(side, downsampled, 0)
            parts += [*taken, *(Part("raw", *span, (side,)) for span in undone)]
            warnings += doubts
            if missed:
                warnings.append(self._gaps(missed, "were taken from raw data", rollup.spec))
        if all(part.source == "raw" for part in parts):
            return replace(raw, warnings=tuple(warnings))
        return Sources(_real(parts), start, self._stop, tuple(warnings))

    def _proved_parts(self, side: Side, low: int, high: int) -> tuple[list[Span], list[Span], list[Span]]:
        """Proved ranges, unproved ranges, and those of the unproved ranges that the task missed."""
        rollup, undone = self._both[side], list(self._trust(side, low, high).unproved)
        if len(undone) > _MOST_GAPS:
            undone = [(undone[0][0], undone[-1][1])]
        proved = without([(low, high)], undone)
        # The newest windows may be due although the task has not run yet.
        missed = self._missed(rollup, low, high - rollup.spec.reach) if proved else []
        return proved, undone, [span for span in missed if span[0] >= proved[0][0]]

    def _quick_parts(self, rollup: Rollup, low: int, high: int) -> tuple[list[Span], list[Span], list[Span]] | None:
        """Ranges to read downsampled, ranges to read raw, and gaps among the latter; None to read everything raw."""
        there = rollup.totals(low, high)
        if not there:
            return [], [(low, high)], []
        missed = self._missed(rollup, low, high, there)
        if len(missed) > _MOST_GAPS:
            return None
        taken = without([(low, high)], missed)
        return taken, missed, [span for span in missed if span[0] >= min(there) - rollup.spec.width]

    def _is_slow(self, low: int, high: int) -> bool:
        try:
            return self._both[Side.HITS].total(low, high) > SLOW_HITS
        except (BucketNotFoundError, AccessDeniedError):
            return False

    def _downsampled(self, side: Side, spans: list[Span], kept: int) -> tuple[list[Part], list[AnswerWarning]]:
        """The downsampled parts of ranges, and warnings about them."""
        if not spans:
            return [], []
        trust_of = self._trust(side, spans[0][0], spans[-1][1])
        mixed = covered(spans, trust_of.mixed)
        parts = [Part("rollup", *span, (side,)) for span in without(spans, mixed)]
        parts += [Part("rollup", *span, (side,), mixed=True) for span in mixed]
        unproved = covered(spans, trust_of.unproved)
        begins = max(kept, raw_begins(self._both[side], spans[-1][1], self._now)) if unproved else kept
        gone = covered(unproved, [(kept, begins)])
        unknown = [*covered(unproved, [(0, kept)]), *(gone if self._held(side, gone) else ())]
        doubts = (
            self._unknown(side, merged(unknown), begins),
            self._unproved(side, without(unproved, [(0, begins)])),
        )
        return parts, [each for each in doubts if each]

    def _unknown(self, side: Side, spans: list[Span], kept: int) -> AnswerWarning | None:
        """Windows whose raw data expired before anything compared them.

        Nothing can prove them now. Next time, compare windows before raw data expires: `pfa-flux task run --due`.
        """
        if not spans or self._engine.capabilities.expires_proved:
            return None
        return AnswerWarning(
            "rollup_unknown",
            f"{length(spans) // self._spec.width} windows of {side} before {format_instant(kept)} were never compared "
            f"with raw data, which has expired. Nothing can confirm their {self._held(side, spans):,} page views.",
        )

    def _unproved(self, side: Side, spans: list[Span]) -> AnswerWarning | None:
        """Windows differ from raw data, or were not compared because that would take long."""
        width, count = self._spec.width, length(spans) // self._spec.width
        if not spans:
            return None
        if count > FEW_WINDOWS:
            what = f"were not compared with raw data and hold {self._held(side, spans):,} page views"
        else:
            wrong, most = self._wrong(self._both[side], spans)
            if not wrong:
                return None
            spans, count = wrong, length(wrong) // width
            what = f"differ from raw data by at most {most:,} page views"
        return AnswerWarning(
            "rollup_unproved",
            f"{count} windows of {side} since {format_instant(spans[0][0])} {what}.",
            "Run pfa-flux task repair.",
        )

    def _wrong(self, rollup: Rollup, spans: list[Span]) -> tuple[list[Span], int]:
        """Windows that differ from raw data, ignoring rows of other writers, and the number of differing page views."""
        ends: set[int] = set()
        most, width = 0, rollup.spec.width
        for low, high in spans:
            raw = rollup.raw_sums(low, high)
            there = {cell: value for cell, value, _ in rollup.own(low, high)}
            for cell in raw.keys() | there.keys():
                off = abs(raw.get(cell, 0) - there.get(cell, 0))
                most += off
                if off:
                    ends.add(cell.end)
        return merged((end - width, end) for end in ends), most

    def _held(self, side: Side, spans: list[Span]) -> int:
        if len(spans) <= _MOST_GAPS:
            return sum(self._total(side, *span) for span in spans)
        width, totals = self._spec.width, self._both[side].totals(spans[0][0], spans[-1][1])
        return sum(totals.get(end, 0) for low, high in spans for end in range(low + width, high + 1, width))

    def _missed(self, rollup: Rollup, low: int, high: int, there: dict[int, int] | None = None) -> list[Span]:
        """Ranges of windows that raw data has but downsampled data lacks."""
        spec = rollup.spec
        if low >= high:
            return []
        if there is None:
            oldest = rollup.oldest_raw(high)
            low = high if oldest is None else max(low, spec.floor(oldest))
            spans = self._trust(spec.what, low, high).unproved
            spans = ((low, high),) if len(spans) > _MOST_GAPS else spans
            return merged(gap for span in spans for gap in self._missed(rollup, *span, rollup.totals(*span)))
        ends = range(low + spec.width, high + 1, spec.width)
        empty = merged((end - spec.width, end) for end in ends if end not in there)
        if len(empty) > _MOST_GAPS:
            empty = [(empty[0][0], empty[-1][1])]
        raw = [end for span in empty for end in rollup.raw_totals(*span)]
        return merged((end - spec.width, end) for end in raw if end not in there)

    def _gaps(self, missed: list[Span], fate: str, spec: TaskSpec) -> AnswerWarning:
        """The downsampling task missed windows. They were taken from raw data, or are not counted."""
        count = length(missed) // spec.width
        since = format_instant(missed[0][0])
        option = "" if spec.what in self._kept_sides else " --js"
        return AnswerWarning(
            "gaps",
            f"{count} windows of {spec.what} since {since} have raw rows but no downsampled row; they {fate}.",
            f"Run pfa-flux task backfill{option} --start {since} before raw data expires.",
        )

    def _cut(self, start: int, stop: int, why: str) -> tuple[AnswerWarning, ...]:
        """The figures cover a part of the range: the rest is not known, or only whole windows are used.

        Start the range where the figures start, or use `--source auto`.
        """
        if (start, stop) == (self._start, self._stop):
            return ()
        if start >= stop:
            reason = (
                f"No part of the range is known: {why}, and there is no downsampled data for both hits and page loads."
            )
        else:
            reason = f"The figures cover {format_instant(start)} to {format_instant(stop)}: {why}"
            reason += ", and downsampled data for both hits and page loads begins there." if start > self._low else "."
        return (AnswerWarning("range_cut", reason),)


def _real(parts: Iterable[Part]) -> tuple[Part, ...]:
    return tuple(part for part in parts if part.start < part.stop)
