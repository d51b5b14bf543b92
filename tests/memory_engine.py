"""An engine of one file: points in a dict. It shows that a new engine is a file and a registration, nothing more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from pfa_flux import Point
from pfa_flux.engines.ask import Ask, Rows, Stored, Sums, summed
from pfa_flux.engines.base import Capabilities, EngineDefaults, Where
from pfa_flux.engines.registry import Registration
from pfa_flux.errors import BucketNotFoundError
from pfa_flux.settings import Settings

NAME = "memory"
REGISTRATION = Registration("tests.memory_engine", (NAME,), {"python": "it is the test engine's"})

_Place = tuple[str, str, tuple[tuple[str, str], ...], int]
"""Measurement, field, tags and time of a point."""
_stores: dict[str, dict[str, dict[_Place, int | float]]] = {}
"""By address and bucket."""


def open_engine(settings: Settings) -> MemoryEngine:
    """The engine at an address, with what was written to it in this process."""
    buckets: dict[str, dict[_Place, int | float]] = {settings.raw_bucket: {}, settings.rollup_bucket: {}}
    return MemoryEngine(_stores.setdefault(settings.url, buckets))


class MemoryEngine(EngineDefaults):
    """Points of this process."""

    capabilities = Capabilities(NAME, "1")
    dialects = ("python",)

    def __init__(self, buckets: dict[str, dict[_Place, int | float]]) -> None:
        self._buckets = buckets

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
        for (measurement, field, tags, time), value in self._bucket(rows.bucket).items():
            has = dict(tags)
            if (
                (measurement, field) == (rows.measurement, rows.field)
                and first <= time < after
                and has.get("action", "") not in rows.excluded_actions
                and all(has.get(tag, "") in values for tag, values in where.items() if values)
            ):
                yield Stored(time, has, value)

    def write(self, bucket: str, points: Iterable[Point]) -> int:
        written = 0
        for p in points:
            tags = tuple(sorted((name, value) for name, value in p.tags.items() if value))
            self._bucket(bucket)[p.measurement, p.field, tags, p.time] = p.value
            written += 1
        return written

    def delete(self, rows: Rows, start: int, stop: int) -> None:
        first, after = rows.times(start, stop)
        bucket = self._bucket(rows.bucket)
        for place in [p for p in bucket if p[0] == rows.measurement and first <= p[3] < after]:
            del bucket[place]

    def _bucket(self, bucket: str) -> dict[_Place, int | float]:
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
