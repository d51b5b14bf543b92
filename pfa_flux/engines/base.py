"""The Protocol of all engines, its value classes, and defaults for new engines.

A new engine needs one file or folder, and one registration (`pfa_flux.registry`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from pfa_flux.engines.ask import Ask, Rows, Stored, Sums, Where, Windows
from pfa_flux.errors import BucketNotFoundError

if TYPE_CHECKING:
    from pfa_flux.settings import Settings

OLD_FLUX = "before 0.103"
"""Version of a Flux without the `array` package, which cannot report its version: the Flux of InfluxDB 1.8."""

Span = tuple[int, int]
"""[start, stop), nanoseconds."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do, as the server itself reported it.

    Attributes:
        engine: name in answers: influxdb2 for a server with organisations, buckets and a tasks API; influxdb1; or
            embedded.
        version: the server's version, for display only. Empty if the server does not report it.
        flux_version: version of Flux; `OLD_FLUX` if Flux cannot report it. Empty if Flux is off or absent.
        join: whether Flux has the `join` package.
        to: whether Flux can write with `to()`.
        tasks: what runs Flux tasks: "influxdb", "kapacitor", or "" for nothing. Then pfa-flux can run them.
        kapacitor: whether Kapacitor could run the tasks.
        kapacitor_version: Kapacitor's version, or empty without Kapacitor.
        expires_proved: whether the engine removes raw rows only after their windows are proved.
        product: what people call a server of this engine, without its version.
        in_process: whether the engine is a file that this process writes, so its handling of points is known.
    """

    engine: str
    version: str
    flux_version: str = ""
    join: bool = False
    to: bool = False
    tasks: str = ""
    kapacitor: bool = False
    kapacitor_version: str = ""
    expires_proved: bool = False
    in_process: bool = False
    product: str = "InfluxDB"

    @property
    def title(self) -> str:
        """Name and version for people."""
        if not self.engine.startswith("influxdb"):
            return f"the {self.engine} engine"
        return f"{self.product} {self.version or f'{self.engine[-1]}.x'}"

    @property
    def flux(self) -> bool:
        """Whether the engine answers Flux queries."""
        return bool(self.flux_version)

    @property
    def range_takes_stop(self) -> bool:
        """Whether Flux's range() includes its stop, against Flux's own definition.

        InfluxDB 1.8 does this (measured on 1.8.10), so it would count hits at a full quarter of an hour twice. The
        storage reader of 1.9 and 2.x excludes the stop (`EndTime: end - 1`). Flux in 1.9 has `array`; Flux in 2.0.0
        does not.
        """
        return self.flux_version == OLD_FLUX and self.engine == "influxdb1"


@dataclass(frozen=True, slots=True)
class Point:
    """One row of a measurement: tags, one field, and its time in nanoseconds since the epoch."""

    measurement: str
    tags: Mapping[str, str]
    field: str
    value: int | float
    time: int


Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A measurement whose points have the tags `domain` and `page`.

    Attributes:
        name: name of the measurement.
        fields: names of the fields, sorted.
        by_writer: whether the points have the tag `sess`, as points of a pixel do.
    """

    name: str
    fields: tuple[str, ...]
    by_writer: bool


@dataclass(frozen=True, slots=True)
class Check:
    """One check of `doctor`.

    Attributes:
        name: what was checked.
        status: `ok`; `failed`: something does not work; `warning`: it works, but not well; `skipped`.
        found: what was found.
        advice: what to do about it. Empty if there is nothing to do.
    """

    name: str
    status: Literal["ok", "warning", "failed", "skipped"]
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Uncounted:
    """Raw rows that arrived after the raw rows of their windows were removed. No figure counts them.

    Attributes:
        waiting: how many are still stored.
        dropped: how many were removed.
        at: when the last ones were removed, nanoseconds; 0 if none were.
    """

    waiting: int = 0
    dropped: int = 0
    at: int = 0


Checks = Mapping[str, Callable[[], list[Check]]]
"""Checks by name. If a check raises an error, the result has this name."""


@runtime_checkable
class Engine(Protocol):
    """A store of points that can be read and written."""

    @property
    def capabilities(self) -> Capabilities:
        """What the engine can do."""

    @property
    def address(self) -> str:
        """A URL without user, password or query, or the path of a file."""

    @property
    def dialects(self) -> tuple[str, ...]:
        """Query languages that the engine understands, the fastest first."""

    def admits(self, dialect: str, rows: Sequence[Rows]) -> bool:
        """Whether a dialect is known to count these rows correctly. False if the engine cannot check that.

        Raises:
            CapabilityError: the dialect does not reach the rows, or would miscount them.
        """

    def aggregate(self, asks: Sequence[Ask], dialect: str = "") -> list[Sums]:
        """Answers to several questions, in the same order.

        If the dialect allows it, one query answers hits and loads of the same shape. Other questions run in parallel if
        that is faster.

        Args:
            asks: the questions.
            dialect: query language to use, by default the fastest that reaches the rows.
        """

    def rows(self, rows: Rows, start: int, stop: int) -> list[Stored]:
        """The stored rows of [start, stop), nanoseconds."""

    def edge(self, rows: Rows, pick: Literal["first", "last"], start: int, stop: int, where: Where) -> int | None:
        """Stored time of the first or last row in [start, stop), or None.

        Args:
            rows: which rows.
            pick: the oldest or the newest.
            start: first instant, nanoseconds.
            stop: first instant after the range.
            where: filter for the rows.
        """

    def tag_values(self, rows: Rows, tag: str, start: int, stop: int) -> set[str]:
        """Values of a tag in the rows of [start, stop). For speed, it may include values of other rows."""

    @property
    def partial_answers(self) -> int:
        """How many answers the engine has called partial so far: rows are missing from them."""

    def write(self, bucket: str, points: Iterable[Point]) -> int:
        """Write points. A point replaces an earlier one of the same series and time. Returns the number of points."""

    def delete(self, rows: Rows, start: int, stop: int) -> None:
        """Remove all rows of the measurement in [start, stop), nanoseconds.

        Raises:
            CapabilityError: the engine cannot remove rows, or would remove other rows as well.
        """

    def keeps_floats(self, rows: Rows, start: int, stop: int) -> bool:
        """Whether stored floats force the rows of [start, stop) to be floats. False if the engine cannot check it."""

    def make_integers(self, rows: Rows, start: int, stop: int) -> None:
        """Turn all values that force the rows of [start, stop) to be floats into integers.

        Raises:
            TaskError: a value is not a whole number.
        """

    def has_bucket(self, bucket: str) -> bool:
        """Whether the bucket exists."""

    def probe_write(self, bucket: str) -> None:
        """Check the right to write to a bucket, without writing a point.

        Raises:
            AccessDeniedError, BucketNotFoundError: the right or the bucket is missing.
        """

    def buckets(self) -> list[str]:
        """Names of visible buckets. The list may be incomplete."""

    def measurements(self, bucket: str) -> list[Measurement]:
        """Measurements in a bucket that may be hits or loads of any writer."""

    def takes_floats(self, rows: Rows, now: int) -> bool:
        """Whether points of `now` must have a float field, because floats are stored there already."""

    def subscribers(self) -> list[str]:
        """Addresses that the server forwards writes to. One of them may be a Kapacitor."""

    def create_bucket(self, bucket: str) -> None:
        """Create the bucket, without expiry."""

    def drop_bucket(self, bucket: str) -> None:
        """Remove the bucket with all its data."""

    def kept_since(self, bucket: str, now: int) -> int:
        """Instant (nanoseconds) from which the bucket still has all points at `now`. 0 if points never expire."""

    def note_removed(self, bucket: str, until: int) -> None:
        """If the engine removes raw points itself, remember that those before an instant (nanoseconds) are gone."""

    def now(self) -> int:
        """The present by the engine's clock, nanoseconds, rounded to the second."""

    def snapshot(self) -> AbstractContextManager[object]:
        """A context in which all answers show the same state, if the engine supports it."""

    def mark(self, rows: Rows, start: int, stop: int) -> object:
        """A value that changes whenever rows of [start, stop) change, for `prove`."""

    def prove(self, windows: Windows, span: Span, mark: object) -> None:
        """Remember that the downsampled rows of a span match raw rows, unless raw rows have changed since the mark.

        Args:
            windows: which rows.
            span: range of whole windows, nanoseconds.
            mark: result of `mark` for the raw rows before they were read. None if they have expired.
        """

    def unproved(self, windows: Windows, span: Span) -> list[Span] | None:
        """The parts of a span that are not proved. None if the engine remembers no proofs."""

    def may_hold_others(self, windows: Windows, span: Span) -> bool:
        """Whether downsampled rows of a span may have other tags or values that are not integers."""

    def check_sums(self, windows: Windows, span: Span, *, fix: bool) -> list[Span]:
        """Ranges where sums over longer windows do not match the downsampled rows. `fix` corrects them."""

    def uncounted(self, rows: Rows) -> Uncounted:
        """Raw rows that no figure counts, if the engine removes raw rows itself."""

    def checks(self, settings: Settings) -> Checks:
        """Checks for `doctor`."""

    def close(self) -> None:
        """Close connections and release locks."""


class EngineDefaults:
    """Defaults for engines: no proofs, no snapshots, and the clock of this machine."""

    def admits(self, dialect: str, rows: Sequence[Rows]) -> bool:
        """True: the engine's only dialect counts correctly."""
        del dialect, rows
        return True

    def tag_values(self, rows: Rows, tag: str, start: int, stop: int) -> set[str]:
        """Values of a tag, from counts of their rows."""
        (sums,) = self.aggregate([Ask(rows, start, stop, (tag,))])
        return {value for (value,) in sums}

    def buckets(self) -> list[str]:
        """No buckets: the engine needs none."""
        return []

    def probe_write(self, bucket: str) -> None:
        """Check only that the bucket exists: a user who can open the engine may write to every bucket."""
        if not self.has_bucket(bucket):
            raise BucketNotFoundError(f"the bucket {bucket!r} does not exist")

    def measurements(self, bucket: str) -> list[Measurement]:
        """No measurements: no other program writes to the engine."""
        del bucket
        return []

    def takes_floats(self, rows: Rows, now: int) -> bool:
        """False: each value has its own type."""
        del rows, now
        return False

    def subscribers(self) -> list[str]:
        """No addresses: the engine forwards nothing."""
        return []

    @property
    def partial_answers(self) -> int:
        """0: the engine gives only complete answers."""
        return 0

    def note_removed(self, bucket: str, until: int) -> None:
        """Do nothing: the engine does not remove raw points itself."""

    def now(self) -> int:
        """The present by this machine's clock."""
        return time.time_ns()

    def keeps_floats(self, rows: Rows, start: int, stop: int) -> bool:
        """False: each value has its own type."""
        del rows, start, stop
        return False

    def make_integers(self, rows: Rows, start: int, stop: int) -> None:
        """Do nothing: each value has its own type."""

    def snapshot(self) -> AbstractContextManager[object]:
        """A context without effect: each answer shows its own moment."""
        return nullcontext()

    def mark(self, rows: Rows, start: int, stop: int) -> object:
        """None: the engine remembers no proofs."""
        del rows, start, stop
        return None

    def prove(self, windows: Windows, span: Span, mark: object) -> None:
        """Do nothing: the engine remembers no proofs."""

    def unproved(self, windows: Windows, span: Span) -> list[Span] | None:
        """None: the engine remembers no proofs."""
        del windows, span
        return None

    def may_hold_others(self, windows: Windows, span: Span) -> bool:
        """True: the engine cannot check it."""
        del windows, span
        return True

    def check_sums(self, windows: Windows, span: Span, *, fix: bool) -> list[Span]:
        """Nothing: the engine has no sums over longer windows."""
        del windows, span, fix
        return []

    def uncounted(self, rows: Rows) -> Uncounted:
        """None: the engine does not remove raw rows itself."""
        del rows
        return Uncounted()

    def checks(self, settings: Settings) -> Checks:
        """A check that shows the engine."""
        del settings
        return {"engine": lambda: [Check("engine", "ok", f"{self.capabilities.title}")]}

    if TYPE_CHECKING:

        @property
        def capabilities(self) -> Capabilities:
            """What the engine can do."""

        def aggregate(self, asks: Sequence[Ask], dialect: str = "") -> list[Sums]:
            """Answers to several questions, in the same order."""

        def has_bucket(self, bucket: str) -> bool:
            """Whether the bucket exists."""
