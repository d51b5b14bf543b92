"""All that pfa-flux has in one store, copied to another: raw rows, downsampled rows, and what is proved of them.

Nothing is remembered of how far a copy came. The target itself says what it has, so that one that was broken off goes
on, and doing it again changes nothing. The source is only read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from pfa_flux.copying.carry import Carrier, Kind, Tally
from pfa_flux.copying.proofs import carry_proofs, note_removed
from pfa_flux.copying.stretches import MOST, count, ends_of
from pfa_flux.engines.base import Engine, Span
from pfa_flux.errors import BucketNotFoundError, SettingsError, StoreUnfitError
from pfa_flux.schema import BOTH, Side
from pfa_flux.settings import Settings
from pfa_flux.times import NS
from pfa_flux.windows.ranges import merged
from pfa_flux.windows.recompute import recompute
from pfa_flux.windows.rollup import Rollup
from pfa_flux.windows.spec import TaskSpec
from pfa_flux.windows.store_check import check_store, remembered, same_store, wait_until_visible

_HOUR = 3600 * NS
_FAR = 2**62


@dataclass(frozen=True, slots=True)
class Step:
    """How far a copy is.

    Attributes:
        doing: copying, or comparing.
        kind: name of the rows.
        done: rows of the source that are through.
        total: rows in all.
        waiting: seconds that a busy server is being waited for; 0 where it is not.
    """

    doing: str
    kind: str
    done: int
    total: int
    waiting: float = 0.0


Report = Callable[[Step], None]


def nobody(_: Step) -> None:
    """A report to nobody."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Rows of a kind in a range, in both stores.

    Attributes:
        kind: which rows.
        start: first instant of them, nanoseconds: later than that of the range where a store keeps none so old.
        source: their number in the source.
        target: their number in the target.
        older: some of the source are older than `start`.
    """

    kind: Kind
    start: int
    source: int
    target: int
    older: bool = False


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy did. Times are nanoseconds.

    Attributes:
        start: first edge of windows of its range.
        stop: the last.
        counted: rows as they were counted before.
        tallies: what became of them.
        recomputed: windows that were computed anew at the target, where both stores have counted.
        proved: windows of which the target now remembers what the source did.
    """

    start: int
    stop: int
    counted: tuple[Counted, ...]
    tallies: tuple[Tally, ...]
    recomputed: int
    proved: int

    @property
    def rows(self) -> int:
        """Rows of the source that were compared."""
        return sum(tally.source for tally in self.tallies)

    @property
    def clean(self) -> bool:
        """The target has all of the source's rows."""
        return all(tally.clean for tally in self.tallies)


class Copy:
    """A copy from one store to another, of a range."""

    def __init__(self, source: Engine, target: Engine, here: Settings, there: Settings, *, most: int = MOST) -> None:
        """Make it; nothing is read yet.

        Args:
            source: the store that is read.
            target: the store that is written.
            here: the source's settings.
            there: the target's settings.
            most: rows that are held in memory at once.

        Raises:
            SettingsError: both are the same; or their windows are not, so that neither's say anything to the other.
        """
        self._source, self._target, self._most = source, target, most
        self._here = {side: Rollup(source, TaskSpec.from_settings(here, side)) for side in BOTH}
        self._there = {side: Rollup(target, TaskSpec.from_settings(there, side)) for side in BOTH}
        self._buckets = {"raw_bucket": there.raw_bucket, "loads_bucket": there.loads_bucket}
        self._buckets["rollup_bucket"] = there.rollup_bucket
        for side in BOTH:
            _check_windows(self._here[side].spec, self._there[side].spec)
        self._refuse_itself()

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """What is copied: raw rows first."""
        return (*map(self._raw, BOTH), *map(self._rollup, BOTH))

    def _raw(self, side: Side) -> Kind:
        here, there = self._here[side].spec, self._there[side].spec
        # Rows that are no page loads are copied with those that are.
        source, target = (replace(spec.raw, excluded_actions=()) for spec in (here, there))
        return Kind(side.label, side, source, target, lambda row: here.floor(row.time) + here.width, raw=True)

    def _rollup(self, side: Side) -> Kind:
        here, there = self._here[side].spec, self._there[side].spec
        name = f"{side.label}, {_minutes(here.every)}"
        return Kind(name, side, here.rollup, there.rollup, lambda row: here.ceiling(row.time), raw=False)

    def _refuse_itself(self, *, proved: bool = False) -> None:
        """Refuse to copy a store to itself."""
        if not proved:
            one_file = self._source.capabilities.in_process and self._target.capabilities.in_process
            places = [
                {(rows.bucket, rows.measurement) for rows in rows_of}
                for rows_of in ([kind.source for kind in self.kinds], [kind.target for kind in self.kinds])
            ]
            if self._source.address != self._target.address or not (one_file or places[0] & places[1]):
                return
        raise SettingsError(
            f"source and target of the copy are the same store: {self._source.address}",
            "Name another url, data_dir or other buckets in the file that --to names.",
        )

    def range(self, start: int | None, stop: int | None) -> Span:
        """Edges of windows around what is to be copied; None for as far as the source has rows, nanoseconds."""
        spec = self._here[Side.HITS].spec
        low, high = start, stop
        if low is None:
            firsts = [self._source.edge(kind.source, "first", 0, _FAR, {}) for kind in self._present]
            # A downsampled row is of the window before its time.
            low = min((first - spec.width for first in firsts if first is not None), default=0)
        if high is None:
            lasts = [self._source.edge(kind.source, "last", 0, _FAR, {}) for kind in self._present]
            high = max((last + 1 for last in lasts if last is not None), default=low)
        first = max(0, spec.floor(low))
        return first, max(first, spec.ceiling(high))

    @cached_property
    def _present(self) -> list[Kind]:
        """Kinds whose bucket the source has. It has no downsampled rows before a task was installed.

        Raises:
            BucketNotFoundError: it lacks a raw bucket.
        """
        found = []
        for kind in self.kinds:
            if self._source.has_bucket(kind.source.bucket):
                found.append(kind)
            elif kind.raw:
                raise BucketNotFoundError(
                    f"the source has no raw bucket {kind.source.bucket!r}, or its token cannot see it",
                    "Check raw_bucket and loads_bucket of the source; pfa-flux doctor shows which is missing.",
                )
        return found

    @property
    def without_rollup(self) -> bool:
        """The source has no rollup bucket, or its token cannot see it."""
        return len(self._present) < len(self.kinds)

    def count(self, start: int, stop: int) -> tuple[Counted, ...]:
        """Count the rows of a range, edges of windows, in both stores. Writes nothing."""
        return tuple(self._count(kind, start, stop) for kind in self._present)

    def _count(self, kind: Kind, start: int, stop: int) -> Counted:
        # What InfluxQL does not reach could be read in part without a word.
        self._source.admits(self._source.dialects[0], [kind.source])
        spec = self._here[Side.HITS].spec
        kept = [self._target.kept_since(kind.target.bucket, self._target.now())] if self._has(kind) else [0]
        # Time goes on: what is nearly too old for the target is too old when its turn comes.
        low = [spec.ceiling(since + _HOUR) for since in kept if since]
        if kind.raw:
            low.append(spec.ceiling(self._source.kept_since(kind.source.bucket, self._source.now())))
        begin = min(max([start, *low]), stop)
        first = self._source.edge(kind.source, "first", start, begin, {}) if start < begin else None
        source = count((self._source, kind.source), begin, stop)
        target = count((self._target, kind.target), begin, stop) if self._has(kind) else 0
        return Counted(kind, begin, source, target, older=first is not None)

    def _has(self, kind: Kind) -> bool:
        return self._target.has_bucket(kind.target.bucket)

    def prepare(self, *, create_buckets: bool = False) -> list[str]:
        """See that the target can take rows and keeps them. Returns buckets that were made.

        Raises:
            BucketNotFoundError: one is missing, and none is to be made.
            StoreUnfitError: the target does not keep points as they are written.
            SettingsError: it is the source.
        """
        made = []
        for key, bucket in self._buckets.items():
            if bucket and not self._target.has_bucket(bucket):
                if not create_buckets:
                    raise BucketNotFoundError(
                        f"the target has no bucket {bucket!r}, or its token cannot see it",
                        f"Check {key} in the file that --to names, or have it made: --create-buckets.",
                    )
                self._target.create_bucket(bucket)
                made.append(bucket)
        rollup = self._buckets["rollup_bucket"]
        if not self._target.capabilities.in_process and remembered(self._target, rollup) is None:
            for words, consequence in check_store(self._target, rollup).faults:
                raise StoreUnfitError(f"{words}; nothing was copied", consequence)
        if same_store(self._target, rollup, self._source, self._here[Side.HITS].spec.rollup_bucket):
            self._refuse_itself(proved=True)
        return made

    def run(self, counted: Sequence[Counted], start: int, stop: int, report: Report = nobody) -> Copied:
        """Copy the rows of a range, edges of windows, as they were counted, and compare both stores.

        Raises:
            PartialAnswerError: the source answers in part.
            BusyError: a server was too busy for ten minutes.
            QueryError, AccessDeniedError, UnreachableError: one refuses or is gone; what was written stays.
        """
        both = _Both(stop)
        tallies = []
        for raw in (True, False):
            some = [(each, Carrier(self._source, self._target, each.kind, self._most))
                    for each in counted if each.kind.raw is raw]  # fmt: skip
            if not raw:
                both.anew = {side: self._shared(side, both.own[side]) for side in BOTH}
            for each, carrier in some:
                skip = frozenset() if raw else frozenset(both.anew[each.kind.side])
                carrier.copy(each.start, stop, skip, _told("copying", each, report))
            wait_until_visible(self._target, self._buckets["rollup_bucket"])
            for each, carrier in some:
                self._compare(each, carrier, both, report)
                tallies.append(carrier.tally)
        recomputed = sum(self._recompute(side, both) for side in BOTH)
        note_removed(self._here.values(), self._there.values(), start, stop)
        sides = () if self.without_rollup else BOTH
        proved = sum(carry_proofs(self._here[side], self._there[side], (start, stop), both.unlike[side])
                     for side in sides)  # fmt: skip
        return Copied(start, stop, tuple(counted), tuple(tallies), recomputed, proved)

    def _compare(self, each: Counted, carrier: Carrier, both: _Both, report: Report) -> None:
        kind, side = each.kind, each.kind.side
        place, every = (self._target, kind.target), self._there[side].spec.every
        skip = frozenset() if kind.raw else frozenset(both.anew.get(side, ()))
        for stretch, found in carrier.compare(each.start, both.stop, skip, _told("comparing", each, report)):
            own = {kind.end(row) for row in found.own}
            if not stretch.source and stretch.target:
                own = ends_of(place, (stretch.start, stretch.stop), every)
            differs = {kind.end(row) for row in found.different}
            both.unlike[side] |= own | differs | {kind.end(row) for row in (*found.missing, *found.twice)}
            known: set[int] = set()
            if kind.raw:
                both.own[side] |= own
            else:
                # Where the target has the raw rows, they say which of both is right.
                known = self._shared(side, differs)
                both.anew[side] |= known
            decided = sum(kind.end(row) in known for row in found.different)
            carrier.tally.left += decided
            carrier.tally.different += len(found.different) - decided

    def _shared(self, side: Side, ends: Iterable[int]) -> set[int]:
        """Those of windows whose raw rows the source has, and so the target, which may have more of them."""
        here, wanted = self._here[side], set(ends)
        known = here.known_from(self._source.now())
        spans = merged((end - here.spec.width, end) for end in wanted)
        return wanted & {
            end for span in spans if span[1] > known for end in here.raw_totals(max(known, span[0]), span[1])
        }

    def _recompute(self, side: Side, both: _Both) -> int:
        rollup = self._there[side]
        due = rollup.spec.due(self._target.now())
        ends = {end for end in both.anew[side] if end <= due}
        both.unlike[side] |= both.anew[side]
        recompute(rollup, [(end - rollup.spec.width, end) for end in ends])
        return len(ends)


def _of_sides() -> dict[Side, set[int]]:
    return {side: set() for side in BOTH}


@dataclass(slots=True)
class _Both:
    """What is found on the way, as ends of windows by side.

    Attributes:
        stop: end of the range, nanoseconds.
        own: windows in which the target has raw rows that the source has not.
        unlike: windows that are not the same in both stores.
        anew: windows to compute anew at the target.
    """

    stop: int
    own: dict[Side, set[int]] = field(default_factory=_of_sides)
    unlike: dict[Side, set[int]] = field(default_factory=_of_sides)
    anew: dict[Side, set[int]] = field(default_factory=_of_sides)


def _minutes(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds % 60 == 0 else f"{seconds} s"


def _check_windows(here: TaskSpec, there: TaskSpec) -> None:
    """Refuse stores whose windows are made in different ways.

    Raises:
        SettingsError: they are.
    """
    for name, table in (("every", "task"), ("tags", "task"), ("excluded_actions", "schema")):
        if getattr(here, name) != getattr(there, name):
            raise SettingsError(
                f"{name} differs between the settings of source and target ({getattr(here, name)} and "
                f"{getattr(there, name)}): windows of the one say nothing of the other",
                f"Write the same {name} under [{table}] in the file that --to names.",
            )


def _told(doing: str, each: Counted, report: Report) -> Callable[[int, float], None]:
    return lambda done, waiting: report(Step(doing, each.kind.name, done, max(done, each.source), waiting))
