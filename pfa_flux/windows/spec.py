"""The specification of downsampled windows, from which every backend makes its task."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from pfa_flux.engines.ask import Rows, Windows
from pfa_flux.schema import Side
from pfa_flux.settings import Settings
from pfa_flux.times import NS


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """How to downsample one measurement: source rows, grouping, destination and interval.

    Attributes:
        what: hits or loads.
        name: the task's name.
        raw_bucket: bucket of the source rows.
        rollup_bucket: bucket of the windows.
        source: measurement of the source rows.
        source_field: field of the source rows.
        excluded_actions: leave out rows with these values of the tag `action`.
        measurement: measurement of the windows.
        field: integer field of the windows: the sum of hits, the number of loads.
        tags: kept tags, sorted; another order would create a second series in InfluxDB 2.
        every: width of a window in seconds; windows are aligned to the epoch and labelled with their end.
        offset: seconds from a window's end to its computation, for rows in transit.
        lookback: number of windows that each run recomputes.
    """

    what: Side
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
    def from_settings(cls, settings: Settings, what: Side = Side.HITS) -> TaskSpec:
        """The spec according to the settings."""
        names, task = settings.schema, settings.task
        hits = what == Side.HITS
        return cls(
            what=Side(what),
            name=names.task_name if hits else names.loads_task_name,
            raw_bucket=settings.raw_bucket_of(what),
            rollup_bucket=settings.rollup_bucket,
            source=names.hits_measurement if hits else names.loads_measurement,
            source_field=names.hits_field if hits else names.loads_field,
            excluded_actions=() if hits else names.excluded_actions,
            measurement=names.rollup_hits_measurement if hits else names.rollup_loads_measurement,
            field=names.rollup_hits_field if hits else names.rollup_loads_field,
            # The JavaScript analytics stores no scheme.
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
        """Length of time that a run recomputes, nanoseconds."""
        return self.lookback * self.width

    def floor(self, instant: int) -> int:
        """Edge of windows at or before an instant, nanoseconds."""
        return instant // self.width * self.width

    def ceiling(self, instant: int) -> int:
        """Edge of windows at or after an instant, nanoseconds."""
        return -(-instant // self.width) * self.width

    def due(self, now: int) -> int:
        """End of the newest window due at `now`, nanoseconds."""
        return self.floor(now - self.offset * NS)

    @property
    def raw(self) -> Rows:
        """The raw rows."""
        loads = self.what == Side.LOADS
        return Rows(self.raw_bucket, self.source, self.source_field, loads, self.excluded_actions)

    @property
    def rollup(self) -> Rows:
        """The downsampled rows; their label is the end of their window."""
        return Rows(self.rollup_bucket, self.measurement, self.field, every=self.every)

    @property
    def windows(self) -> Windows:
        """The windows, for an engine."""
        return Windows(self.raw, self.rollup, self.tags, self.width)

    def as_json(self) -> str:
        """The spec as stored."""
        return json.dumps(asdict(self), sort_keys=True, indent=1)
