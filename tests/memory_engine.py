"""An engine of one file: points in a dict. It shows that a new engine is a file and a registration, nothing more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from pfa_flux import Point
from pfa_flux.engines.ask import Ask, Rows, Stored, Sums, Where, admits, summed
from pfa_flux.engines.base import Capabilities, EngineDefaults
from pfa_flux.errors import BucketNotFoundError
from pfa_flux.registry import Registration
from pfa_flux.settings import Settings

NAME = "memory"
REGISTRATION = Registration("tests.memory_engine", (NAME,), {"python": "it is the test engine's"})

_Series = dict[tuple[tuple[tuple[str, str], ...], int], int | float]
"""Values by tags and time."""
_Bucket = dict[tuple[str, str], _Series]
"""By measurement and field."""
_stores: dict[str, dict[str, _Bucket]] = {}
"""By address and bucket."""


def open_engine(settings: Settings) -> MemoryEngine:
    """The engine at an address, with what was written to it in this process."""
    buckets: dict[str, _Bucket] = {settings.raw_bucket: {}, settings.rollup_bucket: {}}
    return MemoryEngine(settings.url, _stores.setdefault(settings.url, buckets))


class MemoryEngine(EngineDefaults):
    """Points of this process."""

    capabilities = Capabilities(NAME, "1")
    dialects = ("python",)

    def __init__(self, address: str, buckets: dict[str, _Bucket]) -> None:
        self.address, self._buckets = address, buckets

    def aggregate(self, asks: Sequence[Ask], dialect: str = "") -> list[Sums]:
        return [
            summed(
                (tuple(row.tags.get(tag, "") for tag in ask.tags), ask.window(row.time), _value(ask.rows, row))
                for row in self._found(ask.rows, ask.start, ask.stop, ask.where)
            )
            for ask in asks
        ]

    def rows(self, rows: Rows, start: int, stop: int) -> list[Stored]:
        return list(self._found(rows, start, stop, {}))

    def edge(self, rows: Rows, pick: Literal["first", "last"], start: int, stop: int, where: Where) -> int | None:
        times = [row.time for row in self._found(rows, start, stop, where)]
        return {"first": min, "last": max}[pick](times, default=None)

    def _found(self, rows: Rows, start: int, stop: int, where: Where) -> Iterable[Stored]:
        first, after = rows.times(start, stop)
        for (tags, time), value in self._bucket(rows.bucket).get((rows.measurement, rows.field), {}).items():
            if first <= time < after:
                has = dict(tags)
                if has.get("action", "") not in rows.excluded_actions and admits(where, has):
                    yield Stored(time, has, value)

    def write(self, bucket: str, points: Iterable[Point]) -> int:
        written = 0
        for p in points:
            tags = tuple(sorted((name, value) for name, value in p.tags.items() if value))
            self._bucket(bucket).setdefault((p.measurement, p.field), {})[tags, p.time] = p.value
            written += 1
        return written

    def delete(self, rows: Rows, start: int, stop: int) -> None:
        first, after = rows.times(start, stop)
        for (measurement, _), series in self._bucket(rows.bucket).items():
            for place in [p for p in series if measurement == rows.measurement and first <= p[1] < after]:
                del series[place]

    def _bucket(self, bucket: str) -> _Bucket:
        if bucket not in self._buckets:
            raise BucketNotFoundError(f"there is no bucket {bucket!r}", "Make it.")
        return self._buckets[bucket]

    def has_bucket(self, bucket: str) -> bool:
        return bucket in self._buckets

    def create_bucket(self, bucket: str) -> None:
        self._buckets[bucket] = {}

    def drop_bucket(self, bucket: str) -> None:
        del self._buckets[bucket]

    def kept_since(self, bucket: str, now: int) -> int:
        return 0

    def close(self) -> None:
        pass


def _value(rows: Rows, row: Stored) -> int:
    return 1 if rows.count else int(row.value)
