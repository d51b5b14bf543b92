"""The specification of downsampled windows. Every backend creates its task from it."""

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
        name: name of the task.
        raw_bucket: bucket of the source rows.
        rollup_bucket: bucket of the windows.
        source: measurement of the source rows.
        source_field: field of the source rows.
        excluded_actions: leave out rows with these values of the tag `action`.
        measurement: measurement of the windows.
        field: integer field of the windows: the sum of hits, or the number of loads.
        tags: kept tags, sorted. Another order would create a second series in InfluxDB 2.
        every: width of a window in seconds. Windows are aligned to the epoch and labelled with their end.
        offset: seconds from the end of a window until the task computes it, for rows in transit.
        lookback: how many windows each run recomputes.
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
        """The spec from the settings."""
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
        """Length of the range that a run recomputes, nanoseconds."""
        return self.lookback * self.width

    def floor(self, instant: int) -> int:
        """The last edge between windows at or before an instant, nanoseconds."""
        return instant // self.width * self.width

    def ceiling(self, instant: int) -> int:
        """The first edge between windows at or after an instant, nanoseconds."""
        return -(-instant // self.width) * self.width

    def due(self, now: int) -> int:
        """End of the newest window that is due at `now`, nanoseconds."""
        return self.floor(now - self.offset * NS)

    @property
    def raw(self) -> Rows:
        """The raw rows."""
        loads = self.what == Side.LOADS
        return Rows(self.raw_bucket, self.source, self.source_field, loads, self.excluded_actions)

    @property
    def rollup(self) -> Rows:
        """The downsampled rows. Their label is the end of their window."""
        return Rows(self.rollup_bucket, self.measurement, self.field, every=self.every)

    @property
    def windows(self) -> Windows:
        """The windows as an engine's value."""
        return Windows(self.raw, self.rollup, self.tags, self.width)

    def as_json(self) -> str:
        """The spec as JSON, as pfa-flux stores it."""
        return json.dumps(asdict(self), sort_keys=True, indent=1)
