"""What a downsampling task is to be: one spec, from which every backend makes its own."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Literal

from pfa_flux import flux
from pfa_flux.settings import Settings
from pfa_flux.times import NS, format_duration

FILE = "tasks/downsample_hitcounter.flux"
MARK = "// Downsamples the pixel's hits to windows of 15 minutes and drops `sess`. Installed and watched by pfa-flux."
"""The first line of every task that was made from the file, by which it is known again."""

_CUT = " |> filter(fn: (r) => r._time < stop)"
_OPTION = re.compile(r"^option task = .*$", re.MULTILINE)
_STAMP = re.compile(r"^// Spec ([0-9a-f]{12})\n", re.MULTILINE)
_ORIGINAL = re.compile(r'drop\(columns:\s*\[\s*"sess"\s*\]\).*aggregateWindow\(', re.DOTALL)

What = Literal["hits", "loads"]


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """Downsampling of one measurement: which rows, how put together, to where, how often.

    Attributes:
        what: hits, or page loads of the JavaScript analytics.
        name: the task's name.
        raw_bucket: bucket the rows are read from.
        rollup_bucket: bucket their windows are written to.
        source: their measurement.
        source_field: their field.
        excluded_actions: values of the tag `action` whose rows are left out.
        measurement: measurement of the windows.
        field: integer field of the windows: the sum of hits, the number of loads.
        tags: tags that are kept, sorted; any other order would make a second series in InfluxDB 2.
        every: width of a window in seconds; windows are aligned to the epoch and labelled by their end.
        offset: seconds after a window's end at which it is put together, for rows under way.
        lookback: windows that each run recomputes.
    """

    what: What
    name: str
    raw_bucket: str
    rollup_bucket: str
    source: str
    source_field: str
    excluded_actions: tuple[str, ...]
    measurement: str
    field: str
    tags: tuple[str, ...]
    every: int = 900
    offset: int = 60
    lookback: int = 2

    @classmethod
    def from_settings(cls, settings: Settings, what: What = "hits") -> TaskSpec:
        """The spec that the settings ask for."""
        names, task = settings.schema, settings.task
        hits = what == "hits"
        return cls(
            what=what,
            name=names.task_name if hits else names.loads_task_name,
            raw_bucket=settings.raw_bucket,
            rollup_bucket=settings.rollup_bucket,
            source=names.hits_measurement if hits else names.loads_measurement,
            source_field=names.hits_field if hits else names.loads_field,
            excluded_actions=() if hits else names.excluded_actions,
            measurement=names.rollup_hits_measurement if hits else names.rollup_loads_measurement,
            field=names.rollup_hits_field if hits else names.rollup_loads_field,
            # The JavaScript analytics knows of no scheme.
            tags=tuple(sorted(tag for tag in task.tags if hits or tag != "scheme")),
            every=task.every,
            offset=task.offset,
            lookback=task.lookback,
        )

    @property
    def width(self) -> int:
        """Width of a window, nanoseconds."""
        return self.every * NS

    @property
    def reach(self) -> int:
        """What a run recomputes, nanoseconds."""
        return self.lookback * self.width

    def floor(self, instant: int) -> int:
        """The edge of windows at or before an instant, nanoseconds."""
        return instant // self.width * self.width

    def ceiling(self, instant: int) -> int:
        """The edge of windows at or after an instant, nanoseconds."""
        return -(-instant // self.width) * self.width

    def due(self, now: int) -> int:
        """End of the newest window that is to be there at `now`, nanoseconds."""
        return self.floor(now - self.offset * NS)

    def rows(self) -> flux.Expression:
        """Flux predicate of the rows that are put together."""
        return flux.predicate(
            flux.any_of("_measurement", [self.source]),
            flux.any_of("_field", [self.source_field]),
            *([flux.none_of("action", self.excluded_actions)] if self.excluded_actions else []),
        )

    @property
    def aggregate(self) -> flux.Expression:
        """Flux function that puts a window together; InfluxQL's has the same name."""
        return flux.Expression("sum" if self.what == "hits" else "count")

    def flux(self, *, origin: str = "", cut: bool = False) -> str:
        """The task's Flux, with a line that says which spec it was made from.

        Args:
            origin: further arguments of from() and to(), which Kapacitor needs: `, host: "…", token: "…"`.
            cut: range() takes in its stop (`Capabilities.range_takes_stop`), which has to be cut off.
        """
        values = {
            "read": flux.Expression(f"() => from(bucket: {flux.literal(self.raw_bucket)}{origin})"),
            "write": flux.Expression(
                f"(tables=<-) => tables |> to(bucket: {flux.literal(self.rollup_bucket)}{origin})"
            ),
            "rows": self.rows(),
            "tags": flux.literal(self.tags),
            "aggregate": self.aggregate,
            "measurement": flux.literal(self.measurement),
            "field": flux.literal(self.field),
            "every": flux.Expression(format_duration(self.every)),
            "lookback": flux.literal(self.lookback),
            "cut": flux.Expression(f"(tables=<-, stop) => tables{_CUT if cut else ''}"),
        }
        option = (
            f"option task = {{name: {flux.literal(self.name)}, every: {format_duration(self.every)}, "
            f"offset: {format_duration(self.offset)}, concurrency: 1}}"
        )
        text = _OPTION.sub(lambda _: option, flux.bind(flux.load(FILE), values), count=1)
        return text.replace(f"{MARK}\n", f"{MARK}\n// Spec {_digest(text)}\n", 1)

    def as_json(self) -> str:
        """The spec as a store keeps it."""
        return json.dumps(asdict(self), sort_keys=True, indent=1)


Origin = Literal["ours", "altered", "original", "foreign"]


def origin_of(text: str) -> Origin:
    """Who made a task, by its Flux.

    Returns:
        ours: made by us, and as we made it. altered: made from our file, and changed since by somebody. original: made
        by hand in the form that the idea was published in, which drops `sess` and sums windows. foreign: anything else.
    """
    stamp = _STAMP.search(text)
    if MARK in text:
        plain = _STAMP.sub("", text, count=1)
        return "ours" if stamp and stamp[1] == _digest(plain) else "altered"
    return "original" if _ORIGINAL.search(text) else "foreign"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
