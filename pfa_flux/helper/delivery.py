"""Writes hits so that the store accepts each of them once: in a type and form that it has room for.

A refused write is narrowed down until its reason is known. Two reasons have a remedy:

- A field has one type within a shard of the store. If that is not pfa-flux's own type, points are written in the
  other: hits as floats, page loads as integers. What was learned about a shard applies to the hour of the points,
  because no shard begins within an hour. For the next hour, pfa-flux's own type is tried first.
- InfluxDB 1.x limits the number of values of a tag in a measurement (`max-values-per-tag`, 100,000 by default). If a
  `sess` has no room, its points have it in another tag, which has room of its own. So they need no new value of `sess`,
  do not overwrite points of other writers, and a re-sent point overwrites itself.

Points that are still refused are returned. All others are in the store.
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
"""Maximum number of points in a write, as InfluxData recommends."""
EPOCH = "epoch"
"""Tag that holds `sess` if the store has no room for another value of `sess`."""
_REFUSED = (400, 413, 422)
"""Statuses that blame the points, not the server."""
_TOO_LARGE = 413
_HOUR = 3600 * NS
_MOST_HOURS = 10_000
_SESS = re.compile(r",sess=([^,= \\]+)")
_NO_ROOM = re.compile(r'max-values-per-tag limit exceeded \(\d+/\d+\): measurement="[^"]*" tag="sess"')


@dataclass(frozen=True, slots=True)
class Refusal:
    """Points that the store refuses.

    Attributes:
        lines: the points, as pfa-flux writes them.
        message: the store's message.
        why: the reason in pfa-flux's own words, which quote no client.
    """

    lines: Sequence[str]
    message: str
    why: str


@dataclass(frozen=True, slots=True)
class _Part:
    """Lines that are written together.

    Attributes:
        bucket: their bucket.
        lines: the lines.
        other: write them in the other type; None to use what was learned about the store.
        tried: both types were tried.
    """

    bucket: str
    lines: Sequence[str]
    other: bool | None = None
    tried: bool = False


class Delivery:
    """Writes lines, and remembers how the store accepts them."""

    def __init__(self, settings: Settings, writer: Writer, notes: Notes) -> None:
        """Create it.

        Args:
            settings: names of buckets and measurements.
            writer: writes to the store.
            notes: keeps what was learned across restarts.
        """
        self._settings, self._writer, self._notes = settings, writer, notes
        self._loads = start_of(settings.schema.loads_measurement)
        self._hits = start_of(settings.schema.hits_measurement)
        self._prefetches = start_of(settings.schema.prefetches_measurement)
        self._moved = notes.moved()
        self._other: set[tuple[str, int]] = set()
        """Pairs of measurement and hour that the store has in the other type."""
        self._most = MOST_POINTS

    def write(self, lines: Sequence[str], progress: Callable[[], None] = lambda: None) -> list[Refusal]:
        """Write points, all of them or up to an error. Returns those that the store refuses.

        Args:
            lines: the points, in pfa-flux's own types.
            progress: called after each write.

        Raises:
            PfaFluxError: the store is unreachable, denies access, or refuses even an empty write.
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
                        # If it also refuses an empty write, the request is wrong, not these lines.
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
        by_bucket: dict[str, list[str]] = {}
        for line in lines:
            bucket = settings.raw_bucket_of(Side.LOADS if line.startswith(self._loads) else Side.HITS)
            by_bucket.setdefault(bucket, []).append(line)
        return [_Part(bucket, each) for bucket, each in by_bucket.items()]

    def _formed(self, part: _Part) -> Sequence[str]:
        """The lines in the form to try."""
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
        """Parts that the store may accept; None if there is no remedy."""
        if "field type conflict" in message:
            return self._other_type(part)
        if _NO_ROOM.search(message):
            return self._other_tag(part)
        return None

    def _other_type(self, part: _Part) -> list[_Part] | None:
        # Also separate by day: a server answers when the first shard refuses, but still writes to the others. Points in
        # the other type could reach an empty shard before these writes.
        apart = self._apart(part, lambda line: (self._measurement(line), self._is_other(part, line), _day(line)))
        if apart:
            return apart
        if not part.tried:
            return [replace(part, other=not self._is_other(part, part.lines[0]), tried=True)]
        # Neither type fits all of them: they are in several shards, or the field has a third type.
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
        self._notes.record_moved(measurement, sess)
        self._moved.add((measurement, sess))
        return [part]

    def _apart(self, part: _Part, key: Callable[[str], Hashable]) -> list[_Part]:
        """Parts of lines with equal keys; empty if all lines have the same key."""
        by_key: dict[Hashable, list[str]] = {}
        for line in part.lines:
            by_key.setdefault(key(line), []).append(line)
        return [_Part(part.bucket, lines) for lines in by_key.values()] if len(by_key) > 1 else []

    def _halved(self, part: _Part, error: QueryError) -> list[_Part]:
        """Halves of refused lines; empty for a single line. The store named one line's reason; others may differ."""
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
    match = _SESS.search(line)
    return match[1] if match else ""


def _retyped(line: str) -> str:
    """A line with its integer as a float, or its float as an integer, if it is a whole number."""
    start, field, time = line.rsplit(" ", 2)
    name, _, value = field.rpartition("=")
    if value.endswith("i"):
        return f"{start} {name}={value[:-1]}.0 {time}"
    number = float(value)
    return f"{start} {name}={int(number)}i {time}" if number.is_integer() else line


def _why(error: QueryError) -> str:
    """The reason of a refusal in pfa-flux's own words."""
    if "field type conflict" in error.said:
        return "a field has another type in the store, and neither integers nor floats are taken"
    if "max-values-per-tag" in error.said:
        return "the store has no room for further values of a tag (max-values-per-tag)"
    if "retention policy" in error.said:
        return "they are older than the bucket keeps points"
    if error.status == _TOO_LARGE:
        return "a single point is too large"
    return f"the store answers {error.status}; pfa-flux quarantine shows its message"
