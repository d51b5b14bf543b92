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
"""A point that is readable within this many seconds counts as readable at once."""
_WITHIN = 30.0
"""How many seconds a store may take until a point is readable."""
_MOST = 60.0
"""Longest wait in seconds, whatever the stored result says."""
_GONE_WITHIN = 1.0
_SKEW = 30
"""How many seconds two clocks may differ."""


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """Result of the test of a store.

    Attributes:
        nanoseconds: whether points 1 ns apart stay separate, at their exact times.
        idempotent: whether a re-sent point stays one point.
        delay: seconds from the answer to a write until its points are readable; 0 if at once.
        deletes: whether points can be deleted.
        skew: how many seconds the server's clock is ahead of the testing machine's. Negative if it is behind.
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
        """Why figures from this store would be wrong, and how. Empty if they can be right."""
        faults = []
        if not self.nanoseconds:
            faults.append(
                (
                    "the store does not keep nanoseconds: points 1 ns apart do not stay separate points at their "
                    "own times",
                    "Hits of one second differ only in nanoseconds. Many would overwrite each other, and hits and "
                    "blocked ratio would be too low.",
                )
            )
        if not self.idempotent:
            faults.append(
                (
                    "the store keeps a re-sent point twice",
                    "Hits are sent again until the store confirms them, and windows are written again. Both would "
                    "count twice, and hits and blocked ratio would be too high.",
                )
            )
        return tuple(faults)

    @property
    def remarks(self) -> tuple[tuple[str, str], ...]:
        """Remarks about a store with right figures, and what to do."""
        remarks = []
        if not self.deletes:
            remarks.append(
                (
                    "the store does not delete points",
                    "task verify --repair writes 0 into rows that should not be there, and pfa-flux leaves them out of "
                    "every figure.",
                )
            )
        if abs(self.skew) > _SKEW:
            ahead = "ahead of" if self.skew > 0 else "behind"
            remark = f"the server's clock is {format_duration(abs(self.skew))} {ahead} this machine's"
            remarks.append((remark, "Synchronise both clocks with NTP."))
        return tuple(remarks)

    @property
    def pause(self) -> float:
        """How many seconds to wait for written points: a quarter longer than in the test, but at most 60."""
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
        bucket: bucket for the test. The test changes nothing else in it.
        remember: store the result in the bucket, for other machines.

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
        stored = _read(engine, rows, first - NS, first + NS)
        return sorted((row for row in stored if row.tags.get("run") == run), key=lambda row: row.time)

    engine.write(bucket, pair)
    stored, delay = _shown(read, [point.time for point in pair])
    engine.write(bucket, pair[:1])
    time.sleep(_pause(delay))
    again = read()
    made = StoreCheck(
        nanoseconds=[(row.time, row.value) for row in stored] == [(point.time, point.value) for point in pair],
        idempotent=again == stored,
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
        # Some stores report a measurement without points as an error.
        return []


def _shown(read: Callable[[], list[Stored]], times: list[int]) -> tuple[list[Stored], float]:
    """Read until all points exist or one has another time. Returns the points, and the seconds until then.

    Raises:
        TaskError: no point is readable in time.
    """
    began = time.monotonic()
    while True:
        waited = time.monotonic() - began
        stored = read()
        stored_times = [row.time for row in stored]
        if set(stored_times) - set(times) or stored_times == times or (stored and waited > _WITHIN):
            return stored, 0.0 if waited < _AT_ONCE else math.ceil(waited * 10) / 10
        if waited > _WITHIN:
            raise TaskError(
                f"the store confirmed test points but does not show them after {_WITHIN:.0f} s",
                "Check the log of the store. Figures would lack written points.",
            )
        time.sleep(max(0.02, waited / 20))


def _delete(engine: Engine, rows: Rows, times: list[int], read: Callable[[], list[Stored]], delay: float) -> bool:
    """Delete the points at some times. Returns whether they are gone."""
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


def _remember(engine: Engine, rows: Rows, result: StoreCheck) -> None:
    """Replace the stored result. If the store cannot delete, it keeps one result for each day."""
    day = result.at // _DAY * _DAY
    if engine.kept_since(rows.bucket, result.at) > day:
        day = result.at
    values = {
        "nanoseconds": int(result.nanoseconds),
        "idempotent": int(result.idempotent),
        "delay": round(result.delay * 1000),
        "deletes": int(result.deletes),
        "skew": result.skew,
        "at": result.at // NS,
    }
    engine.write(rows.bucket, [Point(MEASUREMENT, {"what": k}, _FIELD, value, day) for k, value in values.items()])
    # Wait until the next reader can find the result.
    time.sleep(result.pause)
    if result.deletes and any(row.time < day for row in _read(engine, rows, 0, day)):
        engine.delete(rows, 0, day)


def same_store(engine: Engine, bucket: str, other: Engine, other_bucket: str) -> bool:
    """Whether two engines are the same store under two addresses: a point that is written to one is in the other.

    Args:
        engine: the engine to write to.
        bucket: bucket for the point. The point is removed if the store can delete points.
        other: the other engine.
        other_bucket: bucket in which to search for the point.

    Raises:
        TaskError: the store accepted the point, but does not show it within 30 s.
    """
    at, run = engine.now(), secrets.token_hex(8)

    def read(store: Engine, rows: Rows) -> list[Stored]:
        return [row for row in _read(store, rows, at, at + 1) if row.tags.get("run") == run]

    rows = Rows(bucket, MEASUREMENT, _FIELD)
    engine.write(bucket, [Point(MEASUREMENT, {"run": run}, _FIELD, 1, at)])
    _, delay = _shown(lambda: read(engine, rows), [at])
    in_other = read(other, Rows(other_bucket, MEASUREMENT, _FIELD))
    _delete(engine, rows, [at], lambda: read(engine, rows), delay)
    return bool(in_other)


def remembered(engine: Engine, bucket: str) -> StoreCheck | None:
    """Result of the last test of the store, or None.

    Raises:
        AccessDeniedError: the token may not read the bucket.
    """
    results = [row for row in _read(engine, Rows(bucket, MEASUREMENT, _FIELD), 0, _FAR) if "what" in row.tags]
    newest = max((row.time for row in results), default=0)
    values = {row.tags["what"]: int(row.value) for row in results if row.time == newest}
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
    """Wait until earlier writes are readable, as long as the result of the store's test says."""
    if engine.capabilities.in_process:
        return
    result = remembered(engine, bucket)
    if result is not None:
        time.sleep(result.pause)
