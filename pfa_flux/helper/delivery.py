"""How hits are written so that the store takes each of them, once: in the type and the form that it has room for.

A write that is refused is narrowed down until its reason is known. Two reasons can be met:

- A field has one type within a shard of the store. Where that is not the one that pfa-flux writes, points are written
  in the other: hits as floats, page loads as integers. A shard is taken for what it was found to be for the hour that
  the points are of, because no shard begins within one; in the next hour, pfa-flux's own type is tried first again.
- InfluxDB 1.x holds a limited number of values of a tag in a measurement (`max-values-per-tag`), 100,000 as shipped.
  Where a `sess` has no room, its points carry it in a tag of another name, which has room of its own. So they need no
  new value of `sess`, stay apart from the points of every other writer, and a re-sent one overwrites itself.

What is still refused is returned. The rest is in the store.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

from pfa_flux.engines.influxdb.lineprotocol import start_of
from pfa_flux.errors import QueryError
from pfa_flux.foreign import kept
from pfa_flux.journal.notes import Notes
from pfa_flux.registry import Writer
from pfa_flux.schema import Side
from pfa_flux.settings import Settings
from pfa_flux.times import NS

MOST_POINTS = 5_000
"""Points in one write, as InfluxData recommends."""
EPOCH = "epoch"
"""Tag that holds `sess` where the store has no room for another value of that."""
_REFUSED = (400, 413, 422)
"""Statuses that say of the points, not of the server, that they are wrong."""
_TOO_LARGE = 413
_HOUR = 3600 * NS
_MOST_HOURS = 10_000
_SESS = re.compile(r",sess=([^,= \\]+)")
_NO_ROOM = re.compile(r'max-values-per-tag limit exceeded \(\d+/\d+\): measurement="[^"]*" tag="sess"')


@dataclass(frozen=True, slots=True)
class Refusal:
    """Points that the store does not take.

    Attributes:
        lines: the points, as pfa-flux writes them.
        message: what the store said.
        why: the same in words of our own, that name nothing of what a client sent.
    """

    lines: Sequence[str]
    message: str
    why: str


@dataclass(frozen=True, slots=True)
class _Part:
    """Lines that are written together.

    Attributes:
        other: in the other type than pfa-flux's own; None: as the store was found to want them.
        tried: both types were.
    """

    bucket: str
    lines: Sequence[str]
    other: bool | None = None
    tried: bool = False


class Delivery:
    """Writes lines. It remembers how the store takes them."""

    def __init__(self, settings: Settings, writer: Writer, notes: Notes) -> None:
        """Make it.

        Args:
            settings: names of buckets and measurements.
            writer: where to write.
            notes: remembers which points are written in another form, over the end of the process.
        """
        self._settings, self._writer, self._notes = settings, writer, notes
        self._loads = start_of(settings.schema.loads_measurement)
        self._hits = start_of(settings.schema.hits_measurement)
        self._prefetches = start_of(settings.schema.prefetches_measurement)
        self._moved = notes.moved()
        self._other: set[tuple[str, int]] = set()
        """Measurement and hour of points that the store has in the other type."""
        self._most = MOST_POINTS

    def write(self, lines: Sequence[str], progress: Callable[[], None] = lambda: None) -> list[Refusal]:
        """Write points, all of them or up to an error. Returns those that the store refuses.

        Args:
            lines: the points, in pfa-flux's own types.
            progress: called after each write.

        Raises:
            PfaFluxError: the store cannot be reached, refuses access, or refuses even an empty write.
        """
        parts, refused, probed = self._by_bucket(lines), list[Refusal](), False
        while parts:
            part = parts.pop()
            if len(part.lines) > self._most:
                parts += [replace(part, lines=each) for each in reversed(_cut(part.lines, self._most))]
                continue
            try:
                self._writer.write(part.bucket, self._formed(part))
            except QueryError as error:
                if error.status not in _REFUSED:
                    raise
                smaller = self._adapted(part, error.said)
                if smaller is None:
                    if not probed:
                        # Is an empty write refused as well, then it is the request that is wrong, not these lines.
                        self._writer.probe_write(part.bucket)
                        probed = True
                    smaller = self._halved(part, error)
                if smaller:
                    parts += reversed(smaller)
                else:
                    refused.append(Refusal(part.lines, kept(error.said), _why(error)))
            else:
                self._learn(part)
            progress()
        if not refused:
            self._most = min(self._most * 2, MOST_POINTS)
        return refused

    def _by_bucket(self, lines: Sequence[str]) -> list[_Part]:
        settings = self._settings
        found: dict[str, list[str]] = {}
        for line in lines:
            bucket = settings.raw_bucket_of(Side.LOADS if line.startswith(self._loads) else Side.HITS)
            found.setdefault(bucket, []).append(line)
        return [_Part(bucket, each) for bucket, each in found.items()]

    def _formed(self, part: _Part) -> Sequence[str]:
        """Lines in the form that is tried with the store."""
        lines = part.lines
        if part.other or (part.other is None and self._other):
            lines = [_retyped(line) if self._is_other(part, line) else line for line in lines]
        if self._moved:
            lines = [self._in_own_tag(line) for line in lines]
        return lines

    def _in_own_tag(self, line: str) -> str:
        sess = _SESS.search(line)
        if sess is None or (self._measurement(line), sess[1]) not in self._moved:
            return line
        place = line.index(",page=") if ",page=" in line else sess.start()
        # Tags are sorted.
        return f"{line[:place]},{EPOCH}={sess[1]}{line[place : sess.start()]}{line[sess.end() :]}"

    def _is_other(self, part: _Part, line: str) -> bool:
        return part.other if part.other is not None else (self._measurement(line), _hour(line)) in self._other

    def _measurement(self, line: str) -> str:
        others = (self._loads, self._prefetches)
        return next((start for start in others if line.startswith(start)), self._hits)

    def _adapted(self, part: _Part, message: str) -> list[_Part] | None:
        """Parts that meet what the store refuses; None where nothing can."""
        if "field type conflict" in message:
            return self._other_type(part)
        if _NO_ROOM.search(message):
            return self._other_tag(part)
        return None

    def _other_type(self, part: _Part) -> list[_Part] | None:
        # Days apart, too: a server answers when the first shard refuses, and still writes to the others. Points in the
        # other type could overtake that in a shard that holds nothing yet.
        apart = self._apart(part, lambda line: (self._measurement(line), self._is_other(part, line), _day(line)))
        if apart:
            return apart
        if not part.tried:
            return [replace(part, other=not self._is_other(part, part.lines[0]), tried=True)]
        # Neither type for all of them: those of one shard and those of another, or another type altogether.
        if len(part.lines) == 1:
            return None
        return [_Part(part.bucket, half) for half in _halves(part.lines)]

    def _other_tag(self, part: _Part) -> list[_Part] | None:
        apart = self._apart(part, lambda line: (self._measurement(line), _sess(line)))
        if apart:
            return apart
        measurement, sess = self._measurement(part.lines[0]), _sess(part.lines[0])
        if not sess or (measurement, sess) in self._moved:
            return None
        self._notes.move(measurement, sess)
        self._moved.add((measurement, sess))
        return [part]

    def _apart(self, part: _Part, key: Callable[[str], Hashable]) -> list[_Part]:
        """Parts of lines that are alike; none where all are."""
        found: dict[Hashable, list[str]] = {}
        for line in part.lines:
            found.setdefault(key(line), []).append(line)
        return [_Part(part.bucket, lines) for lines in found.values()] if len(found) > 1 else []

    def _halved(self, part: _Part, error: QueryError) -> list[_Part]:
        """Halves of what is refused, none of a single line. The reason is that of one line; others may have others."""
        if len(part.lines) == 1:
            return []
        if error.status == _TOO_LARGE:
            self._most = max(1, len(part.lines) // 2)
        return [_Part(part.bucket, half) for half in _halves(part.lines)]

    def _learn(self, part: _Part) -> None:
        if part.other is None:
            return
        if len(self._other) > _MOST_HOURS:
            self._other.clear()
        hours = {(self._measurement(line), _hour(line)) for line in part.lines}
        if part.other:
            self._other |= hours
        else:
            self._other -= hours


def _halves(lines: Sequence[str]) -> list[Sequence[str]]:
    middle = len(lines) // 2
    return [lines[:middle], lines[middle:]]


def _cut(lines: Sequence[str], most: int) -> list[Sequence[str]]:
    return [lines[low : low + most] for low in range(0, len(lines), most)]


def _hour(line: str) -> int:
    return int(line[line.rindex(" ") + 1 :]) // _HOUR


def _day(line: str) -> int:
    return _hour(line) // 24


def _sess(line: str) -> str:
    found = _SESS.search(line)
    return found[1] if found else ""


def _retyped(line: str) -> str:
    """A line with its integer as a float, or its float as an integer, if it is a whole number."""
    start, field, time = line.rsplit(" ", 2)
    name, _, value = field.rpartition("=")
    if value.endswith("i"):
        return f"{start} {name}={value[:-1]}.0 {time}"
    number = float(value)
    return f"{start} {name}={int(number)}i {time}" if number.is_integer() else line


def _why(error: QueryError) -> str:
    """Why points are refused, in words of our own."""
    if "field type conflict" in error.said:
        return "a field has another type in the store, and neither integers nor floats are taken"
    if "max-values-per-tag" in error.said:
        return "the store has no room for further values of a tag (max-values-per-tag)"
    if "retention policy" in error.said:
        return "they are older than the bucket keeps points"
    if error.status == _TOO_LARGE:
        return "a single point is too large"
    return f"the store answers {error.status}; pfa-flux quarantine shows its words"
