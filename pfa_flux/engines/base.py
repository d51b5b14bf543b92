"""What an engine is: where points are, what it can do, how to ask it. One Protocol for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

OLD_FLUX = "before 0.103"
"""Version of a Flux that has no `array`, and so no way to say its version: that of InfluxDB 1.8."""

EngineName = Literal["influxdb2", "influxdb1", "embedded"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine said it can do, asked of the server itself.

    Attributes:
        engine: influxdb2 where the server has organisations, buckets and a tasks API; influxdb1; embedded.
        version: the server's own version, as it writes it.
        flux_version: version of its Flux, `OLD_FLUX` where that cannot tell; empty where Flux is off or absent.
        join: Flux has the `join` package.
        to: Flux can write with `to()`.
        influxql: it answers InfluxQL.
        tasks: who runs Flux tasks: "influxdb", "kapacitor", or "" for nobody; then pfa-flux can.
        kapacitor_version: Kapacitor's version, empty without one.
    """

    engine: EngineName
    version: str
    flux_version: str = ""
    join: bool = False
    to: bool = False
    influxql: bool = False
    tasks: Literal["influxdb", "kapacitor", ""] = ""
    kapacitor_version: str = ""

    @property
    def flux(self) -> bool:
        """Flux queries are answered."""
        return bool(self.flux_version)

    @property
    def range_takes_stop(self) -> bool:
        """Flux's range() takes in its stop, against Flux's own definition.

        So it does on InfluxDB 1.8 (measured on 1.8.10), where hits at a whole quarter of an hour would count twice.
        The storage reader of 1.9 and 2.x cuts the stop off (`EndTime: end - 1`), and their Flux has `array`.
        """
        return self.flux_version == OLD_FLUX


@dataclass(frozen=True, slots=True)
class Point:
    """One row of a measurement: tags, one field, and its time in nanoseconds since the epoch."""

    measurement: str
    tags: Mapping[str, str]
    field: str
    value: int | float
    time: int


Row = Mapping[str, Any]


@runtime_checkable
class Engine(Protocol):
    """A store of points that can be written to. Queries are the dialects' own (`pfa_flux.queries.dialects`)."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    def write(self, bucket: str, points: Iterable[Point]) -> int:
        """Write points; a point of the same series and time replaces an earlier one. Returns their number."""

    def has_bucket(self, bucket: str) -> bool:
        """The bucket exists."""

    def create_bucket(self, bucket: str) -> None:
        """Make the bucket, kept for ever."""

    def drop_bucket(self, bucket: str) -> None:
        """Remove the bucket and all that is in it."""

    def now(self) -> int:
        """The present by the engine's own clock, nanoseconds, to the second."""

    def kept_since(self, bucket: str, now: int) -> int:
        """Instant since which all points of the bucket are kept at `now`, nanoseconds; 0: they are kept for ever."""

    def delete(self, bucket: str, measurement: str, start: int, stop: int) -> None:
        """Remove a measurement's points of [start, stop), nanoseconds."""

    def close(self) -> None:
        """Let go of connections and locks."""
