"""Copy all data of pfa-flux from one store to another: raw rows, downsampled rows, and their proofs.

A copy stores no progress: the rows in the target show what is done. So an interrupted copy continues, and a repeated
copy changes nothing. The source is only read.
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
    """Progress of a copy.

    Attributes:
        doing: `copying` or `comparing`.
        kind: name of the rows.
        done: number of finished rows of the source.
        total: number of all rows.
        waiting: current wait for a busy server, seconds; 0 if the server is not busy.
    """

    doing: str
    kind: str
    done: int
    total: int
    waiting: float = 0.0


Report = Callable[[Step], None]


def ignore_progress(_: Step) -> None:
    """Ignore progress."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Numbers of rows of one kind in a range, in both stores.

    Attributes:
        kind: which rows.
        start: first instant to copy, nanoseconds. If a store does not keep rows that old, it is later than the range's.
        source: number of rows in the source.
        target: number of rows in the target.
        older: whether the source has rows in the range before `start`.
    """

    kind: Kind
    start: int
    source: int
    target: int
    older: bool = False


@dataclass(frozen=True, slots=True)
class Copied:
    """Result of a copy. Times are nanoseconds.

    Attributes:
        start: start of the first window in the range.
        stop: end of the last window.
        counted: numbers of rows before the copy.
        tallies: numbers of rows by result.
        recomputed: number of windows that were recomputed in the target, because both stores have raw rows in them.
        proved: number of windows whose record was copied to the target.
    """

    start: int
    stop: int
    counted: tuple[Counted, ...]
    tallies: tuple[Tally, ...]
    recomputed: int
    proved: int

    @property
    def rows(self) -> int:
        """Number of compared rows of the source."""
        return sum(tally.source for tally in self.tallies)

    @property
    def clean(self) -> bool:
        """Whether the target has all rows of the source."""
        return all(tally.clean for tally in self.tallies)


class Copy:
    """A copy of a range from one store to another."""

    def __init__(self, source: Engine, target: Engine, here: Settings, there: Settings, *, most: int = MOST) -> None:
        """Create it. This reads nothing.

        Args:
            source: the store to read.
            target: the store to write.
            here: settings of the source.
            there: settings of the target.
            most: maximum number of rows in memory.

        Raises:
            SettingsError: source and target are the same store, or the settings of their windows differ.
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
        """The kinds of rows to copy, raw rows first."""
        return (*map(self._raw, BOTH), *map(self._rollup, BOTH))

    def _raw(self, side: Side) -> Kind:
        here, there = self._here[side].spec, self._there[side].spec
        # Rows with excluded actions are not page loads, but they are copied, too.
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
            "Set another url, data_dir or other buckets in the file for --to.",
        )

    def range(self, start: int | None, stop: int | None) -> Span:
        """The range of whole windows to copy, nanoseconds. None for an end means all rows of the source."""
        spec = self._here[Side.HITS].spec
        low, high = start, stop
        if low is None:
            firsts = [self._source.edge(kind.source, "first", 0, _FAR, {}) for kind in self._present]
            # The time of a downsampled row is the end of its window.
            low = min((first - spec.width for first in firsts if first is not None), default=0)
        if high is None:
            lasts = [self._source.edge(kind.source, "last", 0, _FAR, {}) for kind in self._present]
            high = max((last + 1 for last in lasts if last is not None), default=low)
        first = max(0, spec.floor(low))
        return first, max(first, spec.ceiling(high))

    @cached_property
    def _present(self) -> list[Kind]:
        """The kinds whose bucket exists in the source. Without an installed task, there is no rollup bucket.

        Raises:
            BucketNotFoundError: the source lacks a raw bucket.
        """
        present = []
        for kind in self.kinds:
            if self._source.has_bucket(kind.source.bucket):
                present.append(kind)
            elif kind.raw:
                raise BucketNotFoundError(
                    f"the source has no raw bucket {kind.source.bucket!r}, or its token cannot see it",
                    "Check raw_bucket and loads_bucket of the source; pfa-flux doctor shows which bucket is missing.",
                )
        return present

    @property
    def without_rollup(self) -> bool:
        """Whether the source has no rollup bucket, or its token cannot see it."""
        return len(self._present) < len(self.kinds)

    def count(self, start: int, stop: int) -> tuple[Counted, ...]:
        """Count the rows of a range of whole windows in both stores. This writes nothing."""
        return tuple(self._count(kind, start, stop) for kind in self._present)

    def _count(self, kind: Kind, start: int, stop: int) -> Counted:
        # Flux may silently skip rows, so this requires InfluxQL.
        self._source.admits(self._source.dialects[0], [kind.source])
        spec = self._here[Side.HITS].spec
        kept = [self._target.kept_since(kind.target.bucket, self._target.now())] if self._has(kind) else [0]
        # Rows that are almost too old for the target will be too old before they are copied.
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
        """Check that the target accepts and keeps rows. Returns the buckets that were created.

        Raises:
            BucketNotFoundError: a bucket is missing, and `create_buckets` is false.
            StoreUnfitError: the target changes points.
            SettingsError: the target is the source.
        """
        made = []
        for key, bucket in self._buckets.items():
            if bucket and not self._target.has_bucket(bucket):
                if not create_buckets:
                    raise BucketNotFoundError(
                        f"the target has no bucket {bucket!r}, or its token cannot see it",
                        f"Check {key} in the file for --to, or create the bucket with --create-buckets.",
                    )
                self._target.create_bucket(bucket)
                made.append(bucket)
        rollup = self._buckets["rollup_bucket"]
        if not self._target.capabilities.in_process and remembered(self._target, rollup) is None:
            for fault, consequence in check_store(self._target, rollup).faults:
                raise StoreUnfitError(f"{fault}; nothing was copied", consequence)
        if same_store(self._target, rollup, self._source, self._here[Side.HITS].spec.rollup_bucket):
            self._refuse_itself(proved=True)
        return made

    def run(self, counted: Sequence[Counted], start: int, stop: int, report: Report = ignore_progress) -> Copied:
        """Copy the counted rows of a range of whole windows, and compare both stores.

        Raises:
            PartialAnswerError: the source gives a partial answer.
            BusyError: a server was too busy for ten minutes.
            QueryError, AccessDeniedError, UnreachableError: a server refuses or is unreachable. Written rows stay.
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
                carrier.copy(each.start, stop, skip, _step("copying", each, report))
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
        for stretch, matched in carrier.compare(each.start, both.stop, skip, _step("comparing", each, report)):
            own = {kind.end(row) for row in matched.own}
            if not stretch.source and stretch.target:
                own = ends_of(place, (stretch.start, stretch.stop), every)
            differs = {kind.end(row) for row in matched.different}
            both.unlike[side] |= own | differs | {kind.end(row) for row in (*matched.missing, *matched.twice)}
            known: set[int] = set()
            if kind.raw:
                both.own[side] |= own
            else:
                # If the target has the raw rows, they decide which value is right.
                known = self._shared(side, differs)
                both.anew[side] |= known
            decided = sum(kind.end(row) in known for row in matched.different)
            carrier.tally.left += decided
            carrier.tally.different += len(matched.different) - decided

    def _shared(self, side: Side, ends: Iterable[int]) -> set[int]:
        """The windows among `ends` whose raw rows the source still has, so that the target has them, too."""
        here, wanted = self._here[side], set(ends)
        kept_from = here.raw_kept_from(self._source.now())
        ranges = merged((end - here.spec.width, end) for end in wanted)
        return wanted & {
            end for low, high in ranges if high > kept_from for end in here.raw_totals(max(kept_from, low), high)
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
    """Windows that differ between both stores, as ends of windows by side.

    Attributes:
        stop: end of the range, nanoseconds.
        own: windows with raw rows that only the target has.
        unlike: windows that differ between both stores.
        anew: windows to recompute in the target.
    """

    stop: int
    own: dict[Side, set[int]] = field(default_factory=_of_sides)
    unlike: dict[Side, set[int]] = field(default_factory=_of_sides)
    anew: dict[Side, set[int]] = field(default_factory=_of_sides)


def _minutes(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds % 60 == 0 else f"{seconds} s"


def _check_windows(here: TaskSpec, there: TaskSpec) -> None:
    """Check that both stores have the same settings for windows.

    Raises:
        SettingsError: the settings differ.
    """
    for name, table in (("every", "task"), ("tags", "task"), ("excluded_actions", "schema")):
        if getattr(here, name) != getattr(there, name):
            raise SettingsError(
                f"{name} differs between the settings of source and target ({getattr(here, name)} and "
                f"{getattr(there, name)}), so their windows cannot be compared",
                f"Write the same {name} under [{table}] in the file for --to.",
            )


def _step(doing: str, each: Counted, report: Report) -> Callable[[int, float], None]:
    return lambda done, waiting: report(Step(doing, each.kind.name, done, max(done, each.source), waiting))
