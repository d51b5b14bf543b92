"""What an engine is: where points are, what it can do, how to ask it. One Protocol for all of them.

A new engine is one file or folder and one registration (`pfa_flux.registry`).
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
"""Version of a Flux that has no `array`, and so no way to say its version: that of InfluxDB 1.8."""

Span = tuple[int, int]
"""[start, stop), nanoseconds."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine said it can do, asked of the server itself.

    Attributes:
        engine: its name in answers: influxdb2 where the server has organisations, buckets and a tasks API; influxdb1;
            embedded.
        version: the server's own version, as it writes it; empty where it names none. It is shown, and decides nothing.
        flux_version: version of its Flux, `OLD_FLUX` where that cannot tell; empty where Flux is off or absent.
        join: Flux has the `join` package.
        to: Flux can write with `to()`.
        tasks: who runs Flux tasks: "influxdb", "kapacitor", or "" for nobody; then pfa-flux can.
        kapacitor: Kapacitor could run its tasks.
        kapacitor_version: Kapacitor's version, empty without one.
        expires_proved: raw rows are removed only once their windows are proved, so that nothing is unknown.
        product: what people call a server of this engine, without its version.
        in_process: a file that this process itself writes: what it does with points is known, and need not be measured.
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
        """What people call it."""
        if not self.engine.startswith("influxdb"):
            return f"the {self.engine} engine"
        return f"{self.product} {self.version or f'{self.engine[-1]}.x'}"

    @property
    def flux(self) -> bool:
        """Flux queries are answered."""
        return bool(self.flux_version)

    @property
    def range_takes_stop(self) -> bool:
        """Flux's range() takes in its stop, against Flux's own definition.

        So it does on InfluxDB 1.8 (measured on 1.8.10), where hits at a whole quarter of an hour would count twice.
        The storage reader of 1.9 and 2.x cuts the stop off (`EndTime: end - 1`). The Flux of 1.9 has `array`; that of
        2.0.0 has not.
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
        name: its name.
        fields: names of its fields, sorted.
        by_writer: its points have the tag `sess`, by which a pixel tells its writers apart.
    """

    name: str
    fields: tuple[str, ...]
    by_writer: bool


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that `doctor` looked at.

    Attributes:
        name: what was looked at.
        status: ok; failed: the job cannot be done as it is; warning: it can, and less well; skipped.
        found: what was found.
        advice: what to do about it, empty where nothing needs doing.
    """

    name: str
    status: Literal["ok", "warning", "failed", "skipped"]
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Uncounted:
    """Raw rows that arrived when those of their windows had been removed for good: no figure counts them.

    Attributes:
        waiting: those that are still there.
        dropped: those that were removed in turn.
        at: when the last of these were, nanoseconds; 0 without any.
    """

    waiting: int = 0
    dropped: int = 0
    at: int = 0


Checks = Mapping[str, Callable[[], list[Check]]]
"""Checks by the name that one has where it breaks."""


@runtime_checkable
class Engine(Protocol):
    """A store of points that can be read and written."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    @property
    def address(self) -> str:
        """Where it is: a URL without user, password or query, or the path of a file."""

    @property
    def dialects(self) -> tuple[str, ...]:
        """Languages that it can be asked in, the fastest first."""

    def admits(self, dialect: str, rows: Sequence[Rows]) -> bool:
        """Whether a dialect is known to count these rows right; false where that cannot be checked.

        Raises:
            CapabilityError: the dialect does not reach the rows, or would miscount them.
        """

    def aggregate(self, asks: Sequence[Ask], dialect: str = "") -> list[Sums]:
        """Answers to several questions, in their order.

        Hits and loads of one shape are asked as one where the dialect can; others side by side where that is faster.

        Args:
            asks: the questions.
            dialect: language to use; by default the fastest that reaches the rows.
        """

    def rows(self, rows: Rows, start: int, stop: int) -> list[Stored]:
        """The rows of [start, stop), nanoseconds, as they are stored."""

    def edge(self, rows: Rows, pick: Literal["first", "last"], start: int, stop: int, where: Where) -> int | None:
        """Time, as it is stored, of the first or last row of [start, stop); None without any.

        Args:
            rows: which rows.
            pick: the oldest or the newest.
            start: first instant, nanoseconds.
            stop: first instant after it.
            where: which of them count.
        """

    def values(self, rows: Rows, tag: str, start: int, stop: int) -> set[str]:
        """Values of a tag that the rows of [start, stop) have, and maybe some that others have: quickly."""

    @property
    def partial_answers(self) -> int:
        """Number of answers so far that the engine itself called partial: rows are missing from them."""

    def write(self, bucket: str, points: Iterable[Point]) -> int:
        """Write points; a point of the same series and time replaces an earlier one. Returns their number."""

    def delete(self, rows: Rows, start: int, stop: int) -> None:
        """Remove all rows of the measurement that belong to [start, stop), nanoseconds.

        Raises:
            CapabilityError: it removes none, or would remove others as well.
        """

    def keeps_floats(self, rows: Rows, start: int, stop: int) -> bool:
        """Rows are floats which keep those of [start, stop) from being integers, as far as that can be seen."""

    def make_integers(self, rows: Rows, start: int, stop: int) -> None:
        """Make integers of the values of all rows that keep those of [start, stop) from being integers.

        Raises:
            TaskError: a value is no whole number.
        """

    def has_bucket(self, bucket: str) -> bool:
        """The bucket exists."""

    def probe_write(self, bucket: str) -> None:
        """Ask for the right to write to a bucket, without writing.

        Raises:
            AccessDeniedError, BucketNotFoundError: the right or the bucket is missing.
        """

    def buckets(self) -> list[str]:
        """Names of buckets that can be seen, maybe not of all."""

    def measurements(self, bucket: str) -> list[Measurement]:
        """Measurements in a bucket that may be page views or page loads, whoever writes them."""

    def takes_floats(self, rows: Rows, now: int) -> bool:
        """The field has to be a float in points of `now`, because those are stored beside floats."""

    def subscribers(self) -> list[str]:
        """Addresses that the server passes on to what is written to it: a Kapacitor may be among them."""

    def create_bucket(self, bucket: str) -> None:
        """Make the bucket, kept for ever."""

    def drop_bucket(self, bucket: str) -> None:
        """Remove the bucket and all that is in it."""

    def kept_since(self, bucket: str, now: int) -> int:
        """Instant since which all points of the bucket are kept at `now`, nanoseconds; 0: they are kept for ever."""

    def note_removed(self, bucket: str, until: int) -> None:
        """Remember that raw points before an instant (nanoseconds) are gone for good, where the engine removes them."""

    def now(self) -> int:
        """The present by the engine's own clock, nanoseconds, to the second."""

    def snapshot(self) -> AbstractContextManager[object]:
        """Within it all answers are of one state, where the engine can."""

    def mark(self, rows: Rows, start: int, stop: int) -> object:
        """Something that changes whenever rows of [start, stop) do; for `prove`."""

    def prove(self, windows: Windows, span: Span, mark: object) -> None:
        """Remember that the downsampled rows of a span are what raw rows say, unless those have changed since the mark.

        Args:
            windows: which rows.
            span: edges of windows, nanoseconds.
            mark: what `mark` gave of the raw rows before they were read; None where they have expired.
        """

    def unproved(self, windows: Windows, span: Span) -> list[Span] | None:
        """The part of a span that is not proved; None: the engine remembers no proofs."""

    def may_hold_others(self, windows: Windows, span: Span) -> bool:
        """Some downsampled rows of a span have further tags or are no integers, or whether they have cannot be seen."""

    def check_sums(self, windows: Windows, span: Span, *, fix: bool) -> list[Span]:
        """Spans whose sums of longer windows are not what the downsampled rows say; made right if asked for."""

    def uncounted(self, rows: Rows) -> Uncounted:
        """Raw rows that no figure counts, where the engine removes raw rows itself and so knows of them."""

    def checks(self, settings: Settings) -> Checks:
        """What `doctor` can ask of it."""

    def close(self) -> None:
        """Let go of connections and locks."""


class EngineDefaults:
    """What most engines need not say anew: no proofs are remembered, no snapshot is had, the clock is ours."""

    def admits(self, dialect: str, rows: Sequence[Rows]) -> bool:
        """Its only dialect counts right."""
        del dialect, rows
        return True

    def values(self, rows: Rows, tag: str, start: int, stop: int) -> set[str]:
        """Values of a tag, by counting their rows."""
        (sums,) = self.aggregate([Ask(rows, start, stop, (tag,))])
        return {value for (value,) in sums}

    def buckets(self) -> list[str]:
        """Those that it needs are always there."""
        return []

    def probe_write(self, bucket: str) -> None:
        """Whoever can open it may write to all that there is."""
        if not self.has_bucket(bucket):
            raise BucketNotFoundError(f"the bucket {bucket!r} does not exist")

    def measurements(self, bucket: str) -> list[Measurement]:
        """Nobody else writes to it."""
        del bucket
        return []

    def takes_floats(self, rows: Rows, now: int) -> bool:
        """Each value has a type of its own."""
        del rows, now
        return False

    def subscribers(self) -> list[str]:
        """It passes nothing on."""
        return []

    @property
    def partial_answers(self) -> int:
        """It answers in full or not at all."""
        return 0

    def note_removed(self, bucket: str, until: int) -> None:
        """It removes none itself."""

    def now(self) -> int:
        """The present by our own clock."""
        return time.time_ns()

    def keeps_floats(self, rows: Rows, start: int, stop: int) -> bool:
        """Each value has a type of its own."""
        del rows, start, stop
        return False

    def make_integers(self, rows: Rows, start: int, stop: int) -> None:
        """Each value has a type of its own."""

    def snapshot(self) -> AbstractContextManager[object]:
        """Answers are of their moments."""
        return nullcontext()

    def mark(self, rows: Rows, start: int, stop: int) -> object:
        """Nothing is proved."""
        del rows, start, stop
        return None

    def prove(self, windows: Windows, span: Span, mark: object) -> None:
        """Nothing is remembered."""

    def unproved(self, windows: Windows, span: Span) -> list[Span] | None:
        """Nothing is remembered."""
        del windows, span
        return None

    def may_hold_others(self, windows: Windows, span: Span) -> bool:
        """It cannot be seen."""
        del windows, span
        return True

    def check_sums(self, windows: Windows, span: Span, *, fix: bool) -> list[Span]:
        """There are no longer windows."""
        del windows, span, fix
        return []

    def uncounted(self, rows: Rows) -> Uncounted:
        """It removes none itself."""
        del rows
        return Uncounted()

    def checks(self, settings: Settings) -> Checks:
        """What it is."""
        del settings
        return {"engine": lambda: [Check("engine", "ok", f"{self.capabilities.title}")]}

    if TYPE_CHECKING:

        @property
        def capabilities(self) -> Capabilities:
            """What it can do."""

        def aggregate(self, asks: Sequence[Ask], dialect: str = "") -> list[Sums]:
            """Answers to questions."""

        def has_bucket(self, bucket: str) -> bool:
            """The bucket exists."""
