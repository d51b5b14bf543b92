"""Questions to an engine: which rows, over which time, by which tags and windows.

Only this module knows how the time of a row gives the window of the row. The time of a raw row is its own instant. The
time of a downsampled row is the end of its window, so the rows of the windows in [start, stop) have the times
(start, stop]: everything is a nanosecond later.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pfa_flux.times import NS


@dataclass(frozen=True, slots=True)
class Pattern(ABC):
    """A value in a filter that means many domains.

    Engines may return rows of other domains: the caller must filter the domains in the answer.

    Attributes:
        domain: canonical domain, with or without a port.
    """

    domain: str

    @property
    @abstractmethod
    def regex(self) -> str:
        """A regular expression that matches all these domains in any case. It contains no slash."""

    def matches(self, value: str) -> bool:
        """Whether the regular expression matches a value."""
        return re.search(self.regex, value) is not None


class Below(Pattern):
    """All names below a domain. If the domain has no port, names with any port match."""

    __slots__ = ()

    @property
    def regex(self) -> str:
        """As in `Pattern`."""
        name, _, port = self.domain.partition(":")
        return f"(?i)\\.{_escaped(name)}\\.?{f':{port}' if port else '(:[0-9]+)?'}$"


class Forms(Pattern):
    """Every form of a domain that a row may have: with capitals, a final dot or a port, or in another script."""

    __slots__ = ()

    @property
    def is_address(self) -> bool:
        """Whether the domain is an IP address. Addresses have many forms, so the pattern matches all addresses."""
        return self.domain.startswith("[") or self.domain.partition(":")[0].rpartition(".")[2].isdecimal()

    @property
    def regex(self) -> str:
        """As in `Pattern`. Text that is not ASCII may be a form of any name, so it matches."""
        plain = r"[0-9\[]" if self.is_address else rf"{_escaped(self.domain.partition(':')[0])}\.?(:[0-9]*)?$"
        return f"(?i)^{plain}|[^ -~]"


def _escaped(name: str) -> str:
    return re.sub(r"[^a-z0-9_-]", lambda found: f"\\{found[0]}", name)


Where = Mapping[str, tuple[str | Pattern, ...]]
"""The values to count for each tag. No values means all; '' means rows without the tag."""


def admits(where: Where, tags: Mapping[str, str]) -> bool:
    """Whether a filter admits a row with these tags."""
    return all(
        any(each.matches(value) if isinstance(each, Pattern) else each == value for each in values)
        for value, values in ((tags.get(tag, ""), values) for tag, values in where.items())
        if values
    )


class ByWindow(dict[int, int]):
    """Sums by the start of a window, nanoseconds. Without windows, by the start of the range. Missing keys are 0."""

    def __missing__(self, window: int) -> int:
        return 0


Sums = dict[tuple[str, ...], ByWindow]
"""Sums by tags, then by window."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one field of a measurement.

    Attributes:
        bucket: bucket of the rows.
        measurement: measurement of the rows.
        field: field of the rows.
        count: count rows instead of summing values.
        excluded_actions: leave out rows with these values of the tag `action`. A row without the tag stays.
        every: width of a row's window in seconds; the time of the row is the end of the window. 0 for raw rows.
    """

    bucket: str
    measurement: str
    field: str
    count: bool = False
    excluded_actions: tuple[str, ...] = ()
    every: int = 0

    @property
    def shift(self) -> int:
        """How many nanoseconds to add to an instant in [start, stop) to get the time of a row."""
        return int(self.every > 0)

    def times(self, start: int, stop: int) -> tuple[int, int]:
        """Times of the rows in [start, stop): the first time, and the first time after them."""
        return start + self.shift, stop + self.shift

    def window(self, time: int, width: int) -> int:
        """Start of the window with a width (nanoseconds) for a row with this time."""
        return (time - self.shift) // width * width


@dataclass(frozen=True, slots=True)
class Ask:
    """A question: sums or counts of rows over [start, stop), nanoseconds.

    Attributes:
        rows: the rows to sum or count.
        start: first instant to count.
        stop: first instant after the range.
        tags: tags to group by, sorted. A row without a tag has '' for it.
        where: filter for the rows.
        every: width of the windows in seconds, aligned to the epoch. None for one sum over the whole range.
        optional: if the engine refuses the question, return no rows instead of an error.
    """

    rows: Rows
    start: int
    stop: int
    tags: tuple[str, ...] = ()
    where: Where = field(default_factory=dict)
    every: int | None = None
    optional: bool = False

    @property
    def times(self) -> tuple[int, int]:
        """Times of the rows: the first time, and the first time after them."""
        return self.rows.times(self.start, self.stop)

    def window(self, time: int) -> int:
        """Start of the window of a row with this time. Without windows, the start of the range.

        If the range is not aligned, its first window begins before the range. Some engines label this window with the
        start of the window, others with the start of the range. This method makes them agree.
        """
        return self.rows.window(time, self.every * NS) if self.every else self.start

    def same_shape(self, other: Ask) -> bool:
        """Whether the other question differs only in its rows."""
        return all(getattr(self, name) == getattr(other, name) for name in ("start", "stop", "tags", "where", "every"))


@dataclass(frozen=True, slots=True)
class Windows:
    """Downsampled rows, and the raw rows that they are computed from.

    Attributes:
        raw: the raw rows.
        rollup: the downsampled rows.
        tags: tags of the downsampled rows, sorted.
        width: width of a window in nanoseconds. Windows are aligned to the epoch.
    """

    raw: Rows
    rollup: Rows
    tags: tuple[str, ...]
    width: int

    @property
    def key(self) -> str:
        """An identifier for proofs. A proof is valid only for windows with the same key."""
        return repr((self.raw, self.rollup, self.tags, self.width))


class Stored(NamedTuple):
    """A stored row: its time in nanoseconds, all its tags, and its value."""

    time: int
    tags: Mapping[str, str]
    value: int | float


def summed(counted: Iterable[tuple[tuple[str, ...], int, int]]) -> Sums:
    """Sums from triples of tags, window and value. Values with equal tags and window are added."""
    sums: Sums = {}
    for tags, window, value in counted:
        # A row with 0 means no row: pfa-flux writes it if it cannot remove a row.
        if not value:
            continue
        if tags not in sums:
            sums[tags] = ByWindow()
        sums[tags][window] += value
    return sums


def merged(parts: Sequence[Sums]) -> Sums:
    """The total of several sums. It adds the others to the largest one in place."""
    total = max(parts, key=lambda sums: sum(map(len, sums.values())))
    for sums in parts:
        for tags, windows in sums.items() if sums is not total else ():
            by_window = total.setdefault(tags, ByWindow())
            for window, value in windows.items():
                by_window[window] += value
    return total
