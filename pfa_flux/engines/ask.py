"""What is asked of an engine: which rows, over which time, by which tags and windows.

The only place that knows how the time of a row says which window the row belongs to. The time of a raw row is its own
instant. The time of a downsampled row is the end of its window, so that the rows of the windows in [start, stop) have
the times (start, stop]: everything is a nanosecond later.
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
    """A filter's value that stands for many domains.

    Engines may let through others: whoever asks looks at the domains of the answer.

    Attributes:
        domain: canonical, with or without a port.
    """

    domain: str

    @property
    @abstractmethod
    def regex(self) -> str:
        """A regular expression that is found in all of them, whatever their case; there is no slash in it."""

    def matches(self, value: str) -> bool:
        """The regular expression is found in a value."""
        return re.search(self.regex, value) is not None


class Below(Pattern):
    """All names below a domain; without a port in that, those with any port."""

    __slots__ = ()

    @property
    def regex(self) -> str:
        """As of `Pattern`."""
        name, _, port = self.domain.partition(":")
        return f"(?i)\\.{_escaped(name)}\\.?{f':{port}' if port else '(:[0-9]+)?'}$"


class Forms(Pattern):
    """Every form in which a row may have a domain: with capitals, a final dot or a port, or in another script."""

    __slots__ = ()

    @property
    def is_address(self) -> bool:
        """The domain is an IP address: those have many forms, and are all let through."""
        return self.domain.startswith("[") or self.domain.partition(":")[0].rpartition(".")[2].isdecimal()

    @property
    def regex(self) -> str:
        """As of `Pattern`. What is not ASCII may be a form of any name."""
        plain = r"[0-9\[]" if self.is_address else rf"{_escaped(self.domain.partition(':')[0])}\.?(:[0-9]*)?$"
        return f"(?i)^{plain}|[^ -~]"


def _escaped(name: str) -> str:
    return re.sub(r"[^a-z0-9_-]", lambda found: f"\\{found[0]}", name)


Where = Mapping[str, tuple[str | Pattern, ...]]
"""By tag, the values that count; none for all, '' for rows without the tag."""


def admits(where: Where, tags: Mapping[str, str]) -> bool:
    """A row with these tags counts."""
    return all(
        any(each.matches(value) if isinstance(each, Pattern) else each == value for each in values)
        for value, values in ((tags.get(tag, ""), values) for tag, values in where.items())
        if values
    )


class ByWindow(dict[int, int]):
    """Sums by the start of a window in nanoseconds, 0 where there is none; without windows by that of the range."""

    def __missing__(self, window: int) -> int:
        return 0


Sums = dict[tuple[str, ...], ByWindow]
"""Sums by tags and window."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one field of a measurement.

    Attributes:
        bucket: bucket they are in.
        measurement: their measurement.
        field: their field.
        count: a row counts as one, whatever its value; otherwise values are summed.
        excluded_actions: values of the tag `action` whose rows are left out. A row without the tag stays.
        every: a row stands for a window of so many seconds, and its time is the end of that; 0: its time is its own.
    """

    bucket: str
    measurement: str
    field: str
    count: bool = False
    excluded_actions: tuple[str, ...] = ()
    every: int = 0

    @property
    def shift(self) -> int:
        """Nanoseconds that the time of a row is later than an instant of its window."""
        return int(self.every > 0)

    def times(self, start: int, stop: int) -> tuple[int, int]:
        """Times of the rows that belong to [start, stop): the first, and the first that is no longer one of them."""
        return start + self.shift, stop + self.shift

    def window(self, time: int, width: int) -> int:
        """Start of the window of a width (nanoseconds) that a row with this time belongs to."""
        return (time - self.shift) // width * width


@dataclass(frozen=True, slots=True)
class Ask:
    """A question: sums or counts of rows over [start, stop), nanoseconds.

    Attributes:
        rows: which rows.
        start: first instant that counts.
        stop: first instant that does not.
        tags: tags to keep apart, sorted; a row without one has '' there.
        where: which of them count.
        every: width of the windows in seconds, aligned to the epoch; None for one sum over the whole range.
        optional: nothing hangs on the rows: there are none where the engine refuses the question.
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
        """Times of the rows in question: the first, and the first that is no longer one of them."""
        return self.rows.times(self.start, self.stop)

    def window(self, time: int) -> int:
        """Start of the window that a row with this time belongs to; the start of the range without windows.

        The first window of a range begins before the range where the range is not aligned. Engines label it with the
        one or the other, and this makes them agree.
        """
        return self.rows.window(time, self.every * NS) if self.every else self.start

    def same_shape(self, other: Ask) -> bool:
        """The other asks for other rows, and otherwise the same."""
        return all(getattr(self, name) == getattr(other, name) for name in ("start", "stop", "tags", "where", "every"))


@dataclass(frozen=True, slots=True)
class Windows:
    """What downsampled rows are made of.

    Attributes:
        raw: the raw rows.
        rollup: the downsampled rows.
        tags: tags that are kept, sorted.
        width: width of a window, nanoseconds; windows are aligned to the epoch.
    """

    raw: Rows
    rollup: Rows
    tags: tuple[str, ...]
    width: int

    @property
    def key(self) -> str:
        """The same for the same windows: what is proved of them holds for no others."""
        return repr((self.raw, self.rollup, self.tags, self.width))


class Stored(NamedTuple):
    """A row as it is stored: its time in nanoseconds, all its tags, and its value."""

    time: int
    tags: Mapping[str, str]
    value: int | float


def summed(counted: Iterable[tuple[tuple[str, ...], int, int]]) -> Sums:
    """Sums of tags, window and value; two series with equal tags show as one that is twice as large."""
    sums: Sums = {}
    for tags, window, value in counted:
        # A row of 0 stands for none: it is written where a row cannot be removed.
        if not value:
            continue
        if tags not in sums:
            sums[tags] = ByWindow()
        sums[tags][window] += value
    return sums


def merged(parts: Sequence[Sums]) -> Sums:
    """Sums of several parts as one: the largest of them, with the others added to it."""
    found = max(parts, key=lambda sums: sum(map(len, sums.values())))
    for sums in parts:
        for tags, windows in sums.items() if sums is not found else ():
            there = found.setdefault(tags, ByWindow())
            for window, value in windows.items():
                there[window] += value
    return found
