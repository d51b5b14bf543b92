"""Copy rows of one kind from one store to another unchanged, and compare both stores by every key."""

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
"""How many rows at most to convert to another type together. Usually they are in one shard."""
_EXACT = 2**53
"""Up to this number, a float can represent every integer."""
LACKS = "a copy would lack rows"

Key = tuple[int, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of rows to copy.

    Attributes:
        name: name of the rows for people.
        side: hits or loads.
        source: the rows in the source.
        target: the rows in the target.
        end: returns the end of the window of a row, nanoseconds.
        raw: whether they are raw rows.
    """

    name: str
    side: Side
    source: Rows
    target: Rows
    end: Callable[[Stored], int]
    raw: bool


@dataclass(slots=True)
class Tally:
    """Numbers of rows of one kind in a range, by result.

    Attributes:
        source: compared rows of the source.
        written: rows written to the target.
        equal: rows in both stores, with the same tags, time and value.
        missing: rows that the target lacks.
        different: rows with another value in the target.
        twice: rows of the source with the same tags and time as another row. No other store can keep both.
        own: rows that only the target has. They stay.
        retyped: equal rows that are integers in one store and floats in the other.
        refused: missing rows that the target cannot store.
        reason: why the target cannot store the first refused row.
        left: rows that are recomputed in the target, because both stores have raw rows in their windows.
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
        """Whether the target has all rows of the source."""
        return not (self.missing or self.different or self.twice)


class Matched(NamedTuple):
    """Rows of a stretch, compared between both stores.

    Attributes:
        equal: number of rows in both stores.
        retyped: number of equal rows with another type in the target.
        missing: rows that the target lacks.
        different: rows of the source with another value in the target.
        own: rows that only the target has.
        twice: rows that the source has twice.
    """

    equal: int
    retyped: int
    missing: list[Stored]
    different: list[Stored]
    own: list[Stored]
    twice: list[Stored]


def match(source: Sequence[Stored], target: Sequence[Stored]) -> Matched:
    """Compare rows of two stores by tags and time."""
    in_target = {_key(row): row for row in target}
    matched = Matched(0, 0, [], [], [], [])
    equal = retyped = 0
    seen: set[Key] = set()
    for row in source:
        key = _key(row)
        if key in seen:
            matched.twice.append(row)
            continue
        seen.add(key)
        other = in_target.pop(key, None)
        if other is None:
            matched.missing.append(row)
        elif other.value != row.value:
            matched.different.append(row)
        else:
            equal += 1
            retyped += type(other.value) is not type(row.value)
    matched.own.extend(in_target.values())
    return matched._replace(equal=equal, retyped=retyped)


def _key(row: Stored) -> Key:
    return row.time, tuple(sorted(row.tags.items()))


Report = Callable[[int, float], None]
"""Gets the number of finished rows, and the seconds of the current wait for a busy server."""


class Carrier:
    """Copies the rows of one kind from one store to another."""

    def __init__(self, source: Engine, target: Engine, kind: Kind, most: int) -> None:
        self._source, self._target, self._kind, self._most = source, target, kind, most
        self.tally = Tally()

    def stretches(self, start: int, stop: int) -> Iterator[Stretch]:
        """Stretches of a range (nanoseconds) that have rows."""
        places = (self._source, self._kind.source), (self._target, self._kind.target)
        return stretches(places, start, stop, self._most)

    def copy(self, start: int, stop: int, skip: frozenset[int], report: Report) -> None:
        """Write rows that the target lacks.

        It skips a stretch if both stores have the same number of rows, and leaves such a stretch to the comparison. So
        an interrupted copy continues.

        Args:
            start: start of the range, nanoseconds.
            stop: end of the range, nanoseconds.
            skip: ends of windows whose rows are not copied.
            report: called after every stretch.
        """
        done = 0
        for each in self.stretches(start, stop):
            if each.source and each.source != each.target:
                rows = self._from_source(each, report, done)
                if each.target:
                    rows = match(rows, self._from_target(each, report, done)).missing
                self._write([row for row in rows if self._kind.end(row) not in skip], report, done)
            done += each.source
            report(done, 0.0)

    def compare(self, start: int, stop: int, skip: frozenset[int], report: Report) -> Iterator[tuple[Stretch, Matched]]:
        """Compare both stores by every key. It writes rows that are still missing, and compares them again.

        Args:
            start: start of the range, nanoseconds.
            stop: end of the range, nanoseconds.
            skip: ends of windows whose rows in the source are left out.
            report: called after every stretch.

        Yields:
            Each stretch with its compared rows. If the source has no rows in a stretch, its rows are not read.
        """
        done, tally = 0, self.tally
        # Refused rows are missing, so the comparison tries to write them again.
        tally.refused = 0
        for each in self.stretches(start, stop):
            if not each.source:
                tally.own += each.target
                yield each, Matched(0, 0, [], [], [], [])
                continue
            rows = self._from_source(each, report, done)
            kept = [row for row in rows if self._kind.end(row) not in skip]
            matched = match(kept, self._from_target(each, report, done))
            if matched.missing and self._write(matched.missing, report, done):
                wait_until_visible(self._target, self._kind.target.bucket)
                matched = match(kept, self._from_target(each, report, done))
            own = [row for row in matched.own if self._kind.end(row) not in skip]
            matched = matched._replace(own=own)
            tally.source += len(rows)
            tally.left += len(rows) - len(kept)
            tally.equal += matched.equal
            tally.retyped += matched.retyped
            tally.missing += len(matched.missing)
            tally.twice += len(matched.twice)
            tally.own += len(own)
            done += each.source
            report(done, 0.0)
            yield each, matched

    def _from_source(self, each: Stretch, report: Report, done: int) -> list[Stored]:
        """The rows of the source in a stretch.

        Raises:
            PartialAnswerError: the source returns fewer rows than it counts.
        """
        read = self._reader(self._source, self._kind.source, each)
        rows = patiently(read, lambda seconds: report(done, seconds))
        if len(rows) < each.source:
            # Rows may have expired since the first count, so they are counted again.
            expected = count((self._source, self._kind.source), each.start, each.stop)
            if len(rows) < expected:
                raise PartialAnswerError(
                    f"{self._source.capabilities.title} counts {expected:,} rows of {self._kind.name}, but returns "
                    f"only {len(rows):,}: {LACKS}",
                    WHY,
                )
        return rows

    def _from_target(self, each: Stretch, report: Report, done: int) -> list[Stored]:
        read = self._reader(self._target, self._kind.target, each)
        return patiently(read, lambda seconds: report(done, seconds))

    @staticmethod
    def _reader(engine: Engine, rows: Rows, each: Stretch) -> Callable[[], list[Stored]]:
        def read() -> list[Stored]:
            with whole(engine, LACKS):
                return engine.rows(rows, each.start, each.stop)

        return read

    def _write(self, rows: Sequence[Stored], report: Report, done: int) -> int:
        """Write rows, and count those that the target refuses. Returns the number of written rows."""

        def waiting(seconds: float) -> None:
            report(done, seconds)

        written = self._put(rows, waiting)
        self.tally.written += written
        return written

    def _put(self, rows: Sequence[Stored], waiting: Callable[[float], None]) -> int:
        """Write rows. If the target refuses some, write smaller parts. Returns the number of written rows."""
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
            if len(rows) <= _FEW and (written := self._send_retyped(rows, waiting)):
                return written
            if len(rows) == 1:
                return self._refused(error.message)
        middle = len(rows) // 2
        return self._put(rows[:middle], waiting) + self._put(rows[middle:], waiting)

    def _send_retyped(self, rows: Sequence[Stored], waiting: Callable[[float], None]) -> int:
        """Write rows in the type that the field has in the target's shard, if that changes no value."""
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
"""Types of a field, each with a test whether the type can represent a value exactly."""
