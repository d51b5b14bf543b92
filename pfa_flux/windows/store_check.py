"""A test of how a store handles points: write two points 1 ns apart, send one again, and read both.

A store may confirm a write and then keep times only to the microsecond, keep a re-sent point twice, show points seconds
later, or delete nothing. The result is stored in the rollup bucket, for other machines.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from pfa_flux.engines.ask import Rows, Stored
from pfa_flux.engines.base import Engine, Point
from pfa_flux.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    CapabilityError,
    NotInfluxDBError,
    QueryError,
    TaskError,
)
from pfa_flux.times import NS, format_duration

MEASUREMENT = "pfa_flux_check"
"""Measurement of the test points (tag `run`) and of stored results (tag `what`)."""
_FIELD = "value"
_DAY = 86400 * NS
_FAR = 2**62
"""An instant after all points, in the year 2116."""
_AT_ONCE = 0.05
"""A point readable within this many seconds counts as readable at once."""
_WITHIN = 30.0
"""Seconds until a point must be readable."""
_MOST = 60.0
"""Maximum wait in seconds, whatever the stored result."""
_GONE_WITHIN = 1.0
_SKEW = 30
"""Tolerated difference between two clocks, seconds."""


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """Result of the test of a store.

    Attributes:
        nanoseconds: points 1 ns apart stay separate, at their exact times.
        idempotent: a re-sent point stays one point.
        delay: seconds from the answer to a write until its points are readable; 0 if at once.
        deletes: points can be deleted.
        skew: seconds by which the server's clock is ahead of the testing machine's clock; negative: behind.
        at: time of the test by the server's clock, nanoseconds.
    """

    nanoseconds: bool
    idempotent: bool
    delay: float
    deletes: bool
    skew: int
    at: int

    @property
    def faults(self) -> tuple[tuple[str, str], ...]:
        """Why figures from this store would be wrong, and in what way; empty if they can be right."""
        found = []
        if not self.nanoseconds:
            found.append(
                (
                    "the store does not keep nanoseconds: points 1 ns apart do not stay separate points at their "
                    "own times",
                    "Hits of one second differ only in nanoseconds. Many would overwrite each other, and hits and "
                    "blocked ratio would be too low.",
                )
            )
        if not self.idempotent:
            found.append(
                (
                    "the store keeps a re-sent point twice",
                    "Hits are sent again until the store confirms them, and windows are written again. Both would "
                    "count twice, and hits and blocked ratio would be too high.",
                )
            )
        return tuple(found)

    @property
    def remarks(self) -> tuple[tuple[str, str], ...]:
        """Remarks about a store with correct figures, and what to do."""
        found = []
        if not self.deletes:
            found.append(
                (
                    "the store does not delete points",
                    "task verify --repair writes 0 into rows that should not be there, and pfa-flux leaves them out of "
                    "every figure.",
                )
            )
        if abs(self.skew) > _SKEW:
            ahead = "ahead of" if self.skew > 0 else "behind"
            words = f"the server's clock is {format_duration(abs(self.skew))} {ahead} this machine's"
            found.append((words, "Synchronise both clocks with NTP."))
        return tuple(found)

    @property
    def pause(self) -> float:
        """Seconds to wait for written points: a quarter longer than in the test, because that varies; at most 60."""
        return _pause(self.delay)

    @property
    def words(self) -> str:
        """The result in one line."""
        kept = "keeps nanoseconds" if self.nanoseconds else "does not keep nanoseconds"
        once = "keeps a re-sent point once" if self.idempotent else "keeps a re-sent point twice"
        shown = f"shows points after {self.delay:.1f} s" if self.delay else "shows points at once"
        gone = "deletes" if self.deletes else "does not delete"
        return f"{kept}, {once}, {shown}, {gone}; its clock differs by {abs(self.skew)} s"


def _pause(delay: float) -> float:
    return min(delay * 1.25, _MOST) if delay >= _AT_ONCE else 0.0


def check_store(engine: Engine, bucket: str, *, remember: bool = True) -> StoreCheck:
    """Test how a store handles points, store the result, and remove the test points if possible.

    Args:
        engine: the store.
        bucket: bucket for the test. Nothing else in it changes.
        remember: store the result in the bucket, for others.

    Raises:
        TaskError: the store accepted the points, but shows none of them within 30 s.
        AccessDeniedError, BucketNotFoundError: the token may not write, or the bucket is missing.
    """
    at = engine.now()
    skew = round((at - time.time_ns()) / NS)
    run = secrets.token_hex(8)
    # Neither time is a whole microsecond, so a store that truncates times moves both.
    first = at // NS * NS + secrets.randbelow(10**6) * 1000 + 123
    pair = [Point(MEASUREMENT, {"run": run}, _FIELD, n + 1, first + n) for n in (0, 1)]
    rows = Rows(bucket, MEASUREMENT, _FIELD)

    def read() -> list[Stored]:
        found = _read(engine, rows, first - NS, first + NS)
        return sorted((row for row in found if row.tags.get("run") == run), key=lambda row: row.time)

    engine.write(bucket, pair)
    found, delay = _shown(read, [point.time for point in pair])
    engine.write(bucket, pair[:1])
    time.sleep(_pause(delay))
    again = read()
    made = StoreCheck(
        nanoseconds=[(row.time, row.value) for row in found] == [(point.time, point.value) for point in pair],
        idempotent=again == found,
        delay=delay,
        deletes=_delete(engine, rows, [first, first + 1, *(row.time for row in again)], read, delay),
        skew=skew,
        at=at,
    )
    if remember:
        _remember(engine, rows, made)
    return made


def _read(engine: Engine, rows: Rows, start: int, stop: int) -> list[Stored]:
    """Rows of a measurement that may not exist yet."""
    try:
        return engine.rows(rows, start, stop)
    except (QueryError, BucketNotFoundError):
        # For some stores, a measurement without points is an error.
        return []


def _shown(read: Callable[[], list[Stored]], times: list[int]) -> tuple[list[Stored], float]:
    """The points as read, once both exist or one has another time, and the seconds until then.

    Raises:
        TaskError: no points appear in time.
    """
    began = time.monotonic()
    while True:
        waited = time.monotonic() - began
        found = read()
        there = [row.time for row in found]
        if set(there) - set(times) or there == times or (found and waited > _WITHIN):
            return found, 0.0 if waited < _AT_ONCE else math.ceil(waited * 10) / 10
        if waited > _WITHIN:
            raise TaskError(
                f"the store confirmed two points but shows neither after {_WITHIN:.0f} s",
                "Look at its log. Otherwise figures would lack what is written.",
            )
        time.sleep(max(0.02, waited / 20))


def _delete(engine: Engine, rows: Rows, times: list[int], read: Callable[[], list[Stored]], delay: float) -> bool:
    """Delete the points of some times. Returns whether they are gone."""
    try:
        engine.delete(rows, min(times), max(times) + 1)
    except (QueryError, CapabilityError, NotInfluxDBError, AccessDeniedError):
        return False
    until = time.monotonic() + _pause(delay) + _GONE_WITHIN
    while read():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _remember(engine: Engine, rows: Rows, found: StoreCheck) -> None:
    """Replace the stored result: one point a day if the store cannot delete."""
    day = found.at // _DAY * _DAY
    if engine.kept_since(rows.bucket, found.at) > day:
        day = found.at
    values = {
        "nanoseconds": int(found.nanoseconds),
        "idempotent": int(found.idempotent),
        "delay": round(found.delay * 1000),
        "deletes": int(found.deletes),
        "skew": found.skew,
        "at": found.at // NS,
    }
    engine.write(rows.bucket, [Point(MEASUREMENT, {"what": k}, _FIELD, value, day) for k, value in values.items()])
    # The next reader must find it.
    time.sleep(found.pause)
    if found.deletes and any(row.time < day for row in _read(engine, rows, 0, day)):
        engine.delete(rows, 0, day)


def same_store(engine: Engine, bucket: str, other: Engine, other_bucket: str) -> bool:
    """Whether two engines are one store under two addresses: a point that is written to the one is in the other.

    Args:
        engine: the one that is written to.
        bucket: where; the point is removed if that can be done.
        other: the other.
        other_bucket: where to look for it.

    Raises:
        TaskError: the store took the point, and does not show it within 30 s.
    """
    at, run = engine.now(), secrets.token_hex(8)

    def read(store: Engine, rows: Rows) -> list[Stored]:
        return [row for row in _read(store, rows, at, at + 1) if row.tags.get("run") == run]

    rows = Rows(bucket, MEASUREMENT, _FIELD)
    engine.write(bucket, [Point(MEASUREMENT, {"run": run}, _FIELD, 1, at)])
    _, delay = _shown(lambda: read(engine, rows), [at])
    found = read(other, Rows(other_bucket, MEASUREMENT, _FIELD))
    _delete(engine, rows, [at], lambda: read(engine, rows), delay)
    return bool(found)


def remembered(engine: Engine, bucket: str) -> StoreCheck | None:
    """Result of the last test of the store; None without one.

    Raises:
        AccessDeniedError: the token may not read the bucket.
    """
    found = [row for row in _read(engine, Rows(bucket, MEASUREMENT, _FIELD), 0, _FAR) if "what" in row.tags]
    newest = max((row.time for row in found), default=0)
    values = {row.tags["what"]: int(row.value) for row in found if row.time == newest}
    try:
        return StoreCheck(
            nanoseconds=bool(values["nanoseconds"]),
            idempotent=bool(values["idempotent"]),
            delay=values["delay"] / 1000,
            deletes=bool(values["deletes"]),
            skew=values["skew"],
            at=values["at"] * NS,
        )
    except KeyError:
        return None


def wait_until_visible(engine: Engine, bucket: str) -> None:
    """Wait until earlier writes are readable, for as long as the store's test result says."""
    if engine.capabilities.in_process:
        return
    found = remembered(engine, bucket)
    if found is not None:
        time.sleep(found.pause)
