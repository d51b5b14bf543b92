"""Rows of one kind brought from one store to another, as they are stored, and compared there by every key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pfa_flux.copying.stretches import Stretch, count, stretches
from pfa_flux.engines.ask import Rows, Stored
from pfa_flux.engines.base import Engine, Point
from pfa_flux.errors import InvalidValueError, PartialAnswerError, QueryError
from pfa_flux.schema import Side
from pfa_flux.windows.partial import WHY, whole
from pfa_flux.windows.recompute import patiently
from pfa_flux.windows.store_check import wait_until_visible

_FEW = 500
"""Rows that are turned into another type together, at most: those of one shard, mostly."""
_EXACT = 2**53
"""Up to here a float is any integer."""
LACKS = "a copy of what it answers would lack rows"

Key = tuple[int, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Kind:
    """Rows that are copied.

    Attributes:
        name: what they are, in words.
        side: hits or loads.
        source: the rows in the store that they are in.
        target: the rows that they become.
        end: end of the window that one belongs to, nanoseconds.
        raw: they are raw rows, of which windows are made.
    """

    name: str
    side: Side
    source: Rows
    target: Rows
    end: Callable[[Stored], int]
    raw: bool


@dataclass(slots=True)
class Tally:
    """Rows of a kind in a range, by what became of them.

    Attributes:
        source: rows of the source that were compared.
        written: rows that were written to the target.
        equal: rows that both have, with all their tags, time and value.
        missing: rows that the target has not.
        different: rows with another value at the target.
        twice: rows of the source with the tags and time of another one, which no other store can keep.
        own: rows that the target has and the source has not; they stay.
        retyped: equal rows that are integers in one store and floats in the other.
        refused: of the missing rows those that the target cannot store.
        reason: why it cannot store the first of them.
        left: rows that are computed anew at the target, because both stores have counted something of their windows.
    """

    source: int = 0
    written: int = 0
    equal: int = 0
    missing: int = 0
    different: int = 0
    twice: int = 0
    own: int = 0
    retyped: int = 0
    refused: int = 0
    reason: str = ""
    left: int = 0

    @property
    def clean(self) -> bool:
        """The target has all of the source's rows."""
        return not (self.missing or self.different or self.twice)


class Beside(NamedTuple):
    """Rows of a stretch in both stores.

    Attributes:
        equal: number of rows that both have.
        retyped: of them those of another type.
        missing: rows that the target has not.
        different: rows of the source that have another value there.
        own: rows that the target alone has.
        twice: rows of the source that it has twice.
    """

    equal: int
    retyped: int
    missing: list[Stored]
    different: list[Stored]
    own: list[Stored]
    twice: list[Stored]


def beside(source: Sequence[Stored], target: Sequence[Stored]) -> Beside:
    """Compare rows of two stores by tags and time."""
    there = {_key(row): row for row in target}
    found = Beside(0, 0, [], [], [], [])
    equal = retyped = 0
    seen: set[Key] = set()
    for row in source:
        key = _key(row)
        if key in seen:
            found.twice.append(row)
            continue
        seen.add(key)
        other = there.pop(key, None)
        if other is None:
            found.missing.append(row)
        elif other.value != row.value:
            found.different.append(row)
        else:
            equal += 1
            retyped += type(other.value) is not type(row.value)
    found.own.extend(there.values())
    return found._replace(equal=equal, retyped=retyped)


def _key(row: Stored) -> Key:
    return row.time, tuple(sorted(row.tags.items()))


Report = Callable[[int, float], None]
"""Is told how many rows are through, and how many seconds a busy server is being waited for."""


class Carrier:
    """Brings the rows of a kind from one store to another."""

    def __init__(self, source: Engine, target: Engine, kind: Kind, most: int) -> None:
        self._source, self._target, self._kind, self._most = source, target, kind, most
        self.tally = Tally()

    def stretches(self, start: int, stop: int) -> Iterator[Stretch]:
        """Stretches of a range, nanoseconds, that hold rows."""
        places = (self._source, self._kind.source), (self._target, self._kind.target)
        return stretches(places, start, stop, self._most)

    def copy(self, start: int, stop: int, skip: frozenset[int], report: Report) -> None:
        """Write what the target has not.

        Where it has as many rows as the source, that is left to the comparison: so one that was broken off goes on.

        Args:
            start: nanoseconds.
            stop: nanoseconds.
            skip: ends of windows whose rows are left out.
            report: called after every stretch.
        """
        done = 0
        for each in self.stretches(start, stop):
            if each.source and each.source != each.target:
                rows = self._here(each, report, done)
                if each.target:
                    rows = beside(rows, self._there(each, report, done)).missing
                self._write([row for row in rows if self._kind.end(row) not in skip], report, done)
            done += each.source
            report(done, 0.0)

    def compare(self, start: int, stop: int, skip: frozenset[int], report: Report) -> Iterator[tuple[Stretch, Beside]]:
        """Compare both stores by every key; what is missing after all is written, and looked for once more.

        Args:
            start: nanoseconds.
            stop: nanoseconds.
            skip: ends of windows whose rows of the source are left out.
            report: called after every stretch.

        Yields:
            Each stretch with what is in it, but for stretches without any row of the source.
        """
        done, tally = 0, self.tally
        # What was refused is missing, and tried once more.
        tally.refused = 0
        for each in self.stretches(start, stop):
            if not each.source:
                tally.own += each.target
                yield each, Beside(0, 0, [], [], [], [])
                continue
            rows = self._here(each, report, done)
            kept = [row for row in rows if self._kind.end(row) not in skip]
            found = beside(kept, self._there(each, report, done))
            if found.missing and self._write(found.missing, report, done):
                wait_until_visible(self._target, self._kind.target.bucket)
                found = beside(kept, self._there(each, report, done))
            own = [row for row in found.own if self._kind.end(row) not in skip]
            found = found._replace(own=own)
            tally.source += len(rows)
            tally.left += len(rows) - len(kept)
            tally.equal += found.equal
            tally.retyped += found.retyped
            tally.missing += len(found.missing)
            tally.twice += len(found.twice)
            tally.own += len(own)
            done += each.source
            report(done, 0.0)
            yield each, found

    def _here(self, each: Stretch, report: Report, done: int) -> list[Stored]:
        """The source's rows of a stretch.

        Raises:
            PartialAnswerError: they are fewer than it counts.
        """
        read = self._reader(self._source, self._kind.source, each)
        rows = patiently(read, lambda seconds: report(done, seconds))
        if len(rows) < each.source:
            # Rows may have expired meanwhile, and then there are fewer.
            there = count((self._source, self._kind.source), each.start, each.stop)
            if len(rows) < there:
                raise PartialAnswerError(
                    f"{self._source.capabilities.title} counts {there:,} rows of {self._kind.name} and shows "
                    f"{len(rows):,} of them: {LACKS}",
                    WHY,
                )
        return rows

    def _there(self, each: Stretch, report: Report, done: int) -> list[Stored]:
        read = self._reader(self._target, self._kind.target, each)
        return patiently(read, lambda seconds: report(done, seconds))

    @staticmethod
    def _reader(engine: Engine, rows: Rows, each: Stretch) -> Callable[[], list[Stored]]:
        def read() -> list[Stored]:
            with whole(engine, LACKS):
                return engine.rows(rows, each.start, each.stop)

        return read

    def _write(self, rows: Sequence[Stored], report: Report, done: int) -> int:
        """Write rows; those that the target refuses are counted by its reason. Returns the number of the others."""

        def waiting(seconds: float) -> None:
            report(done, seconds)

        written = self._put(rows, waiting)
        self.tally.written += written
        return written

    def _put(self, rows: Sequence[Stored], waiting: Callable[[float], None]) -> int:
        """Write rows, in parts where some are refused. Returns the number of those that are not."""
        if not rows:
            return 0
        try:
            return self._send(rows, waiting)
        except InvalidValueError as error:
            if len(rows) == 1:
                return self._refused(error.message)
        except QueryError as error:
            if not _is_conflict(error):
                raise
            if len(rows) <= _FEW and (written := self._send_as_there(rows, waiting)):
                return written
            if len(rows) == 1:
                return self._refused(error.message)
        middle = len(rows) // 2
        return self._put(rows[:middle], waiting) + self._put(rows[middle:], waiting)

    def _send_as_there(self, rows: Sequence[Stored], waiting: Callable[[float], None]) -> int:
        """Write rows in the one type that the field has in a shard of the target, if that changes no value."""
        for kind, exact in _TYPES:
            if all(exact(row.value) for row in rows):
                try:
                    return self._send([row._replace(value=kind(row.value)) for row in rows], waiting)
                except QueryError as error:
                    if not _is_conflict(error):
                        raise
        return 0

    def _send(self, rows: Sequence[Stored], waiting: Callable[[float], None]) -> int:
        bucket = self._kind.target.bucket
        return patiently(lambda: self._target.write(bucket, self._points(rows)), waiting)

    def _points(self, rows: Sequence[Stored]) -> Iterator[Point]:
        to = self._kind.target
        return (Point(to.measurement, row.tags, to.field, row.value, row.time) for row in rows)

    def _refused(self, reason: str) -> int:
        self.tally.refused += 1
        self.tally.reason = self.tally.reason or reason
        return 0


def _is_conflict(error: QueryError) -> bool:
    return "field type conflict" in error.message


def _is_whole(value: float) -> bool:
    return float(value).is_integer()


def _is_float(value: float) -> bool:
    return abs(value) <= _EXACT


_TYPES: tuple[tuple[type[int | float], Callable[[float], bool]], ...] = ((int, _is_whole), (float, _is_float))
"""Types of a field, and whether one has a value as it is."""
