"""What downsampled windows are to be: one spec, from which every backend makes its task."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from pfa_flux.engines.ask import Rows, Windows
from pfa_flux.schema import Side
from pfa_flux.settings import Settings
from pfa_flux.times import NS


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
        """The spec that the settings ask for."""
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
        """Edge of windows at or before an instant, nanoseconds."""
        return instant // self.width * self.width

    def ceiling(self, instant: int) -> int:
        """Edge of windows at or after an instant, nanoseconds."""
        return -(-instant // self.width) * self.width

    def due(self, now: int) -> int:
        """End of the newest window that is to be there at `now`, nanoseconds."""
        return self.floor(now - self.offset * NS)

    @property
    def raw(self) -> Rows:
        """The raw rows."""
        loads = self.what == Side.LOADS
        return Rows(self.raw_bucket, self.source, self.source_field, loads, self.excluded_actions)

    @property
    def rollup(self) -> Rows:
        """The downsampled rows, which are labelled with the end of their window."""
        return Rows(self.rollup_bucket, self.measurement, self.field, every=self.every)

    @property
    def windows(self) -> Windows:
        """The windows, as an engine knows them."""
        return Windows(self.raw, self.rollup, self.tags, self.width)

    def as_json(self) -> str:
        """The spec as a store keeps it."""
        return json.dumps(asdict(self), sort_keys=True, indent=1)
