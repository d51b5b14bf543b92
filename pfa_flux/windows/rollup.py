"""Compare downsampled rows with raw rows, and repair them. `Rollup.compare` has the only rule for a correct row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from pfa_flux.engines.ask import Ask, ByWindow, Rows, Stored, Where, admits
from pfa_flux.engines.ask import Sums as Answer
from pfa_flux.engines.base import Engine, Point, Span
from pfa_flux.errors import AccessDeniedError, BucketNotFoundError, CapabilityError, QueryError
from pfa_flux.windows.proofs import Noted, ProofLog
from pfa_flux.windows.ranges import Pieces, merged
from pfa_flux.windows.spec import TaskSpec
from pfa_flux.windows.store_check import remembered


class Cell(NamedTuple):
    """Place of a downsampled row: the end of its window in nanoseconds, and the spec's tags, '' for an absent tag."""

    end: int
    tags: tuple[str, ...]


Sums = dict[Cell, int]


@dataclass(frozen=True, slots=True)
class Difference:
    """A place where downsampled data does not match raw data.

    Attributes:
        end: end of the window, nanoseconds.
        tags: the kept tags.
        raw: value according to raw data; 0 without raw rows.
        rollup: downsampled value; None without a row.
        reason: why it does not match, as text.
        foreign: whether another writer's row is there, with any value.
    """

    end: int
    tags: Mapping[str, str]
    raw: int
    rollup: int | None
    reason: str
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Compared:
    """Windows after their raw and downsampled rows were compared.

    Attributes:
        span: range of the windows, nanoseconds.
        raw: the windows according to raw data.
        totals: raw sums by the ends of windows.
        rows: number of downsampled rows.
        differences: places that differ.
        foreign: ends of windows with a row that pfa-flux's rows would not overwrite. Empty these windows first.
        strays: the rows that pfa-flux's rows would not overwrite.
        zeros: number of rows of 0 by the ends of windows, without those that pfa-flux's rows overwrite. They count as
            no rows.
        missing: rows to write.
        mark: a value that changes whenever raw rows change.
        noted: records of the windows, by their ends.
    """

    span: Span
    raw: Sums
    totals: Mapping[int, int]
    rows: int
    differences: tuple[Difference, ...]
    foreign: frozenset[int]
    strays: tuple[Stored, ...]
    zeros: Mapping[int, int]
    missing: Sums
    mark: object
    noted: Mapping[int, Noted]


Keep = Callable[[Compared], frozenset[int]]
"""Chooses the compared windows to leave unchanged, by their ends."""


def shrunk(found: Compared) -> frozenset[int]:
    """Windows with fewer raw rows than when they were proved."""
    return frozenset(end for end, noted in found.noted.items() if found.totals.get(end, 0) < noted.total)


def lost(found: Compared) -> frozenset[int]:
    """Windows of `shrunk`, and unproved windows with rows but without raw rows: raw rows may have been removed."""
    proved = {end for end, noted in found.noted.items() if noted.proved}
    emptied = {each.end for each in found.differences if not found.totals.get(each.end)}
    return shrunk(found) | (emptied - proved)


def nothing(found: Compared) -> frozenset[int]:
    """No windows: all of them must match raw data, even if raw data has fewer rows than before."""
    del found
    return frozenset()


class Rollup:
    """The windows of one measurement in an engine."""

    def __init__(self, engine: Engine, spec: TaskSpec) -> None:
        self.engine, self.spec = engine, spec

    @cached_property
    def log(self) -> ProofLog | None:
        """Records of compared windows. None if the engine has its own."""
        remembers = self.engine.unproved(self.spec.windows, (0, 0)) is not None
        return None if remembers else ProofLog(self.engine, self.spec.windows)

    def raw_sums(self, start: int, stop: int) -> Sums:
        """The windows of [start, stop) according to raw data. The range must be whole windows, in nanoseconds."""
        return self._sums(self.spec.raw, start, stop, self.spec.tags)

    def sums(self, start: int, stop: int) -> Sums:
        """The windows of [start, stop) according to downsampled data. Rows with other tags count, as in every query."""
        return self._sums(self.spec.rollup, start, stop, self.spec.tags)

    def raw_totals(self, start: int, stop: int) -> dict[int, int]:
        """Raw sums by the ends of windows, without tags. This reads much less."""
        return {cell.end: value for cell, value in self._sums(self.spec.raw, start, stop, ()).items()}

    def totals(self, start: int, stop: int) -> dict[int, int]:
        """Downsampled sums by the ends of windows, without tags."""
        return {cell.end: value for cell, value in self._sums(self.spec.rollup, start, stop, ()).items()}

    def counts(self, start: int, stop: int) -> dict[int, int]:
        """Number of downsampled rows by the ends of windows."""
        rows = replace(self.spec.rollup, count=True)
        return {cell.end: value for cell, value in self._sums(rows, start, stop, ()).items()}

    def total(self, start: int, stop: int) -> int:
        """Downsampled sum of the range."""
        (sums,) = self.engine.aggregate([Ask(self.spec.rollup, start, stop)])
        return sum(value for windows in sums.values() for value in windows.values())

    def _sums(self, rows: Rows, start: int, stop: int, tags: tuple[str, ...]) -> Sums:
        if start >= stop:
            return {}
        (sums,) = self.engine.aggregate([Ask(rows, start, stop, tags, every=self.spec.every)])
        width = self.spec.width
        return {Cell(begin + width, key): n for key, windows in sums.items() for begin, n in windows.items() if n}

    def stored(self, start: int, stop: int) -> list[Stored]:
        """The downsampled rows of [start, stop), with all their tags."""
        return self.engine.rows(self.spec.rollup, start, stop)

    def own(self, start: int, stop: int) -> Iterator[tuple[Cell, int, int]]:
        """The downsampled rows of [start, stop), without another writer's row if pfa-flux has a row in the same cell.

        Yields:
            Each cell with its sum and its number of rows. Rows of 0 come separately.
        """
        pieces = Pieces([(start, stop)], self.spec.width)
        for low, high in pieces:
            stored = self.stored(low, high)
            ours: dict[Cell, list[int]] = {}
            others: dict[Cell, list[int]] = {}
            for row in stored:
                cell = self._cell(row)
                if not row.value:
                    yield cell, 0, 1
                    continue
                (others if self._reason(row, cell) else ours).setdefault(cell, []).append(int(row.value))
            for cell, values in {**others, **ours}.items():
                yield cell, sum(values), len(values)
            pieces.resize(len(stored))

    def has_others(self, start: int, stop: int) -> bool:
        """Whether other writers have rows in [start, stop)."""
        return any(row.value and self._reason(row, self._cell(row)) for row in self.stored(start, stop))

    def answer(self, ask: Ask) -> Answer:
        """The engine's answer to a question about downsampled rows, without rows of other writers."""
        places = [self.spec.tags.index(tag) if tag in self.spec.tags else None for tag in ask.tags]
        sums: Answer = {}
        for cell, value, _ in self.own(ask.start, ask.stop):
            tags = dict(zip(self.spec.tags, cell.tags, strict=True))
            if value and admits(ask.where, tags):
                key = tuple("" if place is None else cell.tags[place] for place in places)
                sums.setdefault(key, ByWindow())[ask.window(cell.end)] += value
        return sums

    def newest_raw(self, start: int, stop: int) -> int | None:
        """Time of the newest raw row in a range, nanoseconds, or None."""
        return self.engine.edge(self.spec.raw, "last", start, stop, {})

    def oldest_raw(self, stop: int) -> int | None:
        """Time of the oldest raw row before an instant, nanoseconds, or None."""
        return self.engine.edge(self.spec.raw, "first", 0, stop, {})

    def oldest(self, stop: int) -> int | None:
        """Start of the oldest downsampled window that ends by an instant, nanoseconds, or None."""
        label = self.engine.edge(self.spec.rollup, "first", 0, stop, {})
        return None if label is None else self.spec.ceiling(label) - self.spec.width

    def has_before(self, stop: int, where: Callable[[Rows], Where | None] = lambda _: {}) -> bool:
        """Whether a matching raw or downsampled row is older than an instant.

        Args:
            stop: the instant, nanoseconds.
            where: returns the filter for rows, or None if no row can match.
        """
        for rows in (self.spec.raw, self.spec.rollup):
            try:
                chosen = where(rows)
                if chosen is not None and self.engine.edge(rows, "last", 0, stop, chosen) is not None:
                    return True
            except (BucketNotFoundError, AccessDeniedError):
                continue
        return False

    def compare(self, start: int, stop: int, noted: Mapping[int, Noted] | None = None) -> Compared:
        """Compare raw and downsampled rows of the windows of [start, stop).

        A row is correct if its label is the end of a window, it has only the kept tags, and its value is an integer and
        the sum of the raw rows. A row of 0 counts as no row.

        Args:
            start: start of a window, nanoseconds.
            stop: end of a window, nanoseconds.
            noted: records of the windows, by their ends. None reads them from the engine.
        """
        if noted is None:
            noted = self.log.noted(start, stop) if self.log else {}
        mark = self.engine.mark(self.spec.raw, start, stop)
        raw, stored = self.raw_sums(start, stop), self.stored(start, stop)
        rollup: Sums = {}
        wrong: dict[Cell, str] = {}
        strays: list[Stored] = []
        zeros: Counter[int] = Counter()
        right: set[Cell] = set()
        for row in stored:
            cell = self._cell(row)
            reason = self._reason(row, cell)
            if not row.value:
                zeros[cell.end] += bool(reason or cell not in raw)
                continue
            rollup[cell] = rollup.get(cell, 0) + int(row.value)
            if reason:
                wrong[cell] = reason
            if reason or cell not in raw:
                strays.append(row)
            elif row.value == raw[cell]:
                right.add(cell)
        differences = [
            self._difference(cell, raw, rollup, wrong.get(cell))
            for cell in sorted({*raw, *rollup})
            if raw.get(cell) != rollup.get(cell) or cell in wrong
        ]
        foreign = frozenset(self.spec.ceiling(row.time) for row in strays)
        missing = {cell: n for cell, n in raw.items() if cell not in right or cell.end in foreign}
        totals: Counter[int] = Counter()
        for cell, value in raw.items():
            totals[cell.end] += value
        return Compared(
            span=(start, stop),
            raw=raw,
            totals=totals,
            rows=len(stored),
            differences=tuple(differences),
            foreign=foreign,
            strays=tuple(strays),
            zeros=zeros,
            missing=missing,
            mark=mark,
            noted=noted,
        )

    def _cell(self, row: Stored) -> Cell:
        return Cell(self.spec.ceiling(row.time), tuple(row.tags.get(tag, "") for tag in self.spec.tags))

    def _reason(self, row: Stored, cell: Cell) -> str:
        """Why a row must be from another writer. Empty if it may be from pfa-flux."""
        further = sorted(set(row.tags) - set(self.spec.tags))
        if further:
            return f"a row has other tags ({', '.join(f'{tag}={row.tags[tag]}' for tag in further)})"
        if row.time != cell.end:
            return "a row's label is not the end of a window"
        if not isinstance(row.value, int):
            return "the value is not an integer"
        return ""

    def _difference(self, cell: Cell, raw: Sums, rollup: Sums, wrong: str | None) -> Difference:
        tags = dict(zip(self.spec.tags, cell.tags, strict=True))
        value = rollup.get(cell)
        reason = wrong or (
            "the window is not downsampled"
            if value is None
            else "no raw rows"
            if cell not in raw
            else "the sum is wrong"
        )
        return Difference(cell.end, tags, raw.get(cell, 0), value, reason, foreign=wrong is not None)

    def fix(self, compared: Compared, keep: Keep = shrunk) -> int:
        """Make windows match raw data. It writes only rows that differ, and returns their number.

        A window with a row of another writer is emptied first, so that nothing counts twice. If the engine cannot
        delete rows, that row becomes 0.

        Args:
            compared: the compared windows.
            keep: chooses windows to leave unchanged and unproved.

        Raises:
            TaskError: a row with a fraction prevents the field from being an integer.
        """
        kept = keep(compared)
        zeros = self._empty(compared, compared.foreign - kept)
        missing = {cell: value for cell, value in compared.missing.items() if cell.end not in kept}
        try:
            written = self._write(missing)
        except QueryError as error:
            if "field type conflict" not in error.message:
                raise
            self.engine.make_integers(self.spec.rollup, *compared.span)
            written = self._write(missing)
        if self.log:
            self.log.note(self._proved(compared, kept, zeros))
        elif not kept:
            self.engine.prove(self.spec.windows, compared.span, compared.mark)
        return written

    def _empty(self, compared: Compared, ends: frozenset[int]) -> Mapping[int, int]:
        """Remove rows that the new rows would not overwrite. Returns the number of remaining rows of 0, by window."""
        zeros, strays = Counter(compared.zeros), list[Stored]()
        for low, high in merged((end - self.spec.width, end) for end in ends):
            emptied = range(low + self.spec.width, high + 1, self.spec.width)
            try:
                self._delete(low, high)
            except CapabilityError:
                strays += (row for row in compared.strays if low < row.time <= high)
            else:
                zeros.subtract({end: zeros[end] for end in emptied})
        measurement, field = self.spec.measurement, self.spec.field
        # The 0 keeps the type of the row, because a shard accepts no other type.
        nothing = (Point(measurement, row.tags, field, type(row.value)(0), row.time) for row in strays)
        if strays:
            self.engine.write(self.spec.rollup_bucket, nothing)
            zeros.update(self.spec.ceiling(row.time) for row in strays)
        return zeros

    def _delete(self, low: int, high: int) -> None:
        """Remove the rows of windows.

        Raises:
            CapabilityError: the engine cannot delete rows, or a test showed that its deletes have no effect.
        """
        if not self._deletes:
            raise CapabilityError("the store does not delete points, according to its test")
        self.engine.delete(self.spec.rollup, low, high)

    @cached_property
    def _deletes(self) -> bool:
        """Whether the store deletes rows. True if it was not tested."""
        check = None if self.engine.capabilities.in_process else remembered(self.engine, self.spec.rollup_bucket)
        return check is None or check.deletes

    def _proved(self, compared: Compared, kept: frozenset[int], zeros: Mapping[int, int]) -> dict[int, Noted]:
        """New records: proofs of windows that are now correct, and unproved records of windows left unchanged."""
        width, totals, rows = self.spec.width, compared.totals, Counter(cell.end for cell in compared.raw)
        records = {
            end: compared.noted[end]._replace(proved=False)
            if end in kept
            else Noted(totals.get(end, 0), rows[end] + zeros.get(end, 0), proved=True)
            for end in range(compared.span[0] + width, compared.span[1] + 1, width)
            if end not in kept or end in compared.noted
        }
        return {end: noted for end, noted in records.items() if compared.noted.get(end) != noted}

    def _write(self, sums: Sums) -> int:
        """Write windows in order of time, so that an interruption leaves few of them unfinished."""
        points: Iterable[Point] = (
            Point(
                self.spec.measurement,
                dict(zip(self.spec.tags, cell.tags, strict=True)),
                self.spec.field,
                sums[cell],
                cell.end,
            )
            for cell in sorted(sums)
        )
        return self.engine.write(self.spec.rollup_bucket, points)

    def raw_kept_from(self, now: int) -> int:
        """Start of the first window from which all raw data is still kept, nanoseconds."""
        since = self.engine.kept_since(self.spec.raw_bucket, now)
        return self.spec.ceiling(since) if since else 0
