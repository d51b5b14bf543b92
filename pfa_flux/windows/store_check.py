"""What a store does with points, measured: two of them 1 ns apart are written, one is sent again, and both are read.

A store may confirm a write and then keep only the microseconds of its times, keep a re-sent point twice, show points
seconds later, or delete nothing. What was found is remembered in the rollup bucket, where other machines see it.
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
"""Of the points that are measured with (tag `run`), and of what is remembered (tag `what`)."""
_FIELD = "value"
_DAY = 86400 * NS
_FAR = 2**62
"""An instant after all points: the year 2116."""
_AT_ONCE = 0.05
"""Seconds within which a point that can be read was there at once."""
_WITHIN = 30.0
"""Seconds within which a point has to be readable."""
_MOST = 60.0
"""Seconds that are waited at most, whatever is remembered."""
_GONE_WITHIN = 1.0
_SKEW = 30
"""Seconds that two clocks may differ."""


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """What a store was found to do.

    Attributes:
        nanoseconds: points 1 ns apart stay two, at their exact times.
        idempotent: a point that is sent again is still one.
        delay: seconds from the answer to a write until its points can be read; 0 where they can at once.
        deletes: points can be deleted.
        skew: seconds that the server's clock is ahead of the clock of the machine that measured; negative: behind.
        at: when it was measured by the server's clock, nanoseconds.
    """

    nanoseconds: bool
    idempotent: bool
    delay: float
    deletes: bool
    skew: int
    at: int

    @property
    def faults(self) -> tuple[tuple[str, str], ...]:
        """Why no figure from this store could be right, and what it would do to figures; nothing where they can."""
        found = []
        if not self.nanoseconds:
            found.append(
                (
                    "the store does not keep nanoseconds: points 1 ns apart do not stay two points at their own times",
                    "Hits of one second differ in nanoseconds alone. Many would replace each other, so that hits and "
                    "blocked ratio would be too low.",
                )
            )
        if not self.idempotent:
            found.append(
                (
                    "the store keeps a point twice that is sent twice",
                    "Hits are sent again until the store confirms them, and windows are written again. Both would "
                    "count twice, so that hits and blocked ratio would be too high.",
                )
            )
        return tuple(found)

    @property
    def remarks(self) -> tuple[tuple[str, str], ...]:
        """What is to be known of it though figures are right, and what to do about it."""
        found = []
        if not self.deletes:
            found.append(
                (
                    "the store deletes no points",
                    "task verify --repair writes 0 into rows that should not be there, and pfa-flux leaves them out of "
                    "every figure.",
                )
            )
        if abs(self.skew) > _SKEW:
            ahead = "ahead of" if self.skew > 0 else "behind"
            words = f"the server's clock is {format_duration(abs(self.skew))} {ahead} this machine's"
            found.append((words, "Set both clocks by NTP."))
        return tuple(found)

    @property
    def pause(self) -> float:
        """Seconds to wait for what was written: a quarter longer than it took, because that varies; 60 at most."""
        return _pause(self.delay)

    @property
    def words(self) -> str:
        """All of it in a line."""
        kept = "keeps nanoseconds" if self.nanoseconds else "does not keep nanoseconds"
        once = "keeps a re-sent point once" if self.idempotent else "keeps a re-sent point twice"
        shown = f"shows points after {self.delay:.1f} s" if self.delay else "shows points at once"
        gone = "deletes" if self.deletes else "does not delete"
        return f"{kept}, {once}, {shown}, {gone}; its clock differs by {abs(self.skew)} s"


def _pause(delay: float) -> float:
    return min(delay * 1.25, _MOST) if delay >= _AT_ONCE else 0.0


def check_store(engine: Engine, bucket: str, *, remember: bool = True) -> StoreCheck:
    """Measure what a store does, remember it, and remove the points that it was measured with if that can be done.

    Args:
        engine: the store.
        bucket: where to measure. Nothing else in it is touched.
        remember: write what was found there, for others to see.

    Raises:
        TaskError: the store took the points, and shows none of them within 30 s.
        AccessDeniedError, BucketNotFoundError: the right to write or the bucket is missing.
    """
    at = engine.now()
    skew = round((at - time.time_ns()) / NS)
    run = secrets.token_hex(8)
    # Neither is a whole microsecond, so that a store which cuts times moves both.
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
    """Rows of a measurement that need not be there yet."""
    try:
        return engine.rows(rows, start, stop)
    except (QueryError, BucketNotFoundError):
        # There are stores to which a measurement without points is an error.
        return []


def _shown(read: Callable[[], list[Stored]], times: list[int]) -> tuple[list[Stored], float]:
    """The points as they are read, once both are there or one has another time, and the seconds until then.

    Raises:
        TaskError: there are none in time.
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
                f"the store confirmed two points and shows none of them after {_WITHIN:.0f} s",
                "Look at its log. Figures from it would lack whatever is written.",
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
    """Write what was found in the place of what was remembered: one point a day where nothing can be deleted."""
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
    # Whoever asks next is to see it.
    time.sleep(found.pause)
    if found.deletes and any(row.time < day for row in _read(engine, rows, 0, day)):
        engine.delete(rows, 0, day)


def remembered(engine: Engine, bucket: str) -> StoreCheck | None:
    """What was found when the store was last measured; None where it never was.

    Raises:
        AccessDeniedError: the right to read the bucket is missing.
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
    """Wait until what was written before can be read, by the time that the store was found to take for that."""
    if engine.capabilities.in_process:
        return
    found = remembered(engine, bucket)
    if found is not None:
        time.sleep(found.pause)
