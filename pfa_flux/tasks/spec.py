"""What the downsampling task is to be: one spec, from which every backend makes its own."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

from pfa_flux import flux
from pfa_flux.schema import WINDOW_SECONDS, Schema
from pfa_flux.settings import Settings
from pfa_flux.times import format_duration

FILE = "tasks/downsample_hitcounter.flux"
_CUT = " |> filter(fn: (r) => r._time < stop)"
_OPTION = re.compile(r"^option task = .*$", re.MULTILINE)
MARK = "// Downsamples the pixel's hits to windows of 15 minutes and drops `sess`. Installed and watched by pfa-flux."
"""The first line of every task that was installed from the file, by which it is known again."""


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """The downsampling of hits: which points, to where, how often.

    Attributes:
        raw_bucket: bucket the hits are read from.
        rollup_bucket: bucket their sums are written to.
        schema: names of measurements and fields.
        offset: seconds after a window's end at which it is summed, for hits under way.
        lookback: windows that each run recomputes.
    """

    raw_bucket: str
    rollup_bucket: str
    schema: Schema
    offset: int = 60
    lookback: int = 2

    @property
    def name(self) -> str:
        """The task's name."""
        return self.schema.task_name

    @classmethod
    def from_settings(cls, settings: Settings) -> TaskSpec:
        """The spec that the settings ask for."""
        return cls(settings.raw_bucket, settings.rollup_bucket, settings.schema)

    def flux(self, *, origin: str = "", cut: bool = False) -> str:
        """The task's Flux.

        Args:
            origin: further arguments of from() and to(), which Kapacitor needs: `, host: "…", token: "…"`.
            cut: range() takes in its stop (`Capabilities.range_takes_stop`), which has to be cut off.
        """
        schema = self.schema
        values = {
            "read": flux.Expression(f"() => from(bucket: {flux.literal(self.raw_bucket)}{origin})"),
            "write": flux.Expression(
                f"(tables=<-) => tables |> to(bucket: {flux.literal(self.rollup_bucket)}{origin})"
            ),
            "hits": flux.predicate(
                flux.any_of("_measurement", [schema.hits_measurement]),
                flux.any_of("_field", [schema.hits_field]),
            ),
            "measurement": flux.literal(schema.rollup_hits_measurement),
            "field": flux.literal(schema.rollup_hits_field),
            "lookback": flux.literal(self.lookback),
            "cut": flux.Expression(f"(tables=<-, stop) => tables{_CUT if cut else ''}"),
        }
        option = (
            f"option task = {{name: {flux.literal(self.name)}, every: {format_duration(WINDOW_SECONDS)}, "
            f"offset: {format_duration(self.offset)}, concurrency: 1}}"
        )
        return _OPTION.sub(lambda _: option, flux.bind(flux.load(FILE), values), count=1)

    def as_json(self) -> str:
        """The spec as the embedded store keeps it."""
        return json.dumps(asdict(self), sort_keys=True)
