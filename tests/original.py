"""Flux in the form that the idea was first published in, written anew: what ours is compared with."""

from __future__ import annotations

from pfa_flux import Analytics
from pfa_flux.engines.influxdb.flux import instant, literal
from tests.engines import Workspace

_SIDE = """
{name} = from(bucket: {bucket})
  |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
  |> filter(fn: (r) => r._measurement == "{measurement}")
  |> filter(fn: (r) => r.domain == v.domain)
  |> filter(fn: (r) => r._field == "{field}"){more}
  |> group()
  |> count()
  |> map(fn: (r) => ({{r with _time: 1234}}))
"""


def delta_query(bucket: str, domain: str, start: int, stop: int) -> str:
    """Hits minus JavaScript loads: both sides counted, given the same time, joined by it. No row where a side is empty.

    Args:
        bucket: the raw bucket.
        domain: the one domain.
        start: nanoseconds.
        stop: nanoseconds.
    """
    v = f"timeRangeStart: {instant(start)}, timeRangeStop: {instant(stop)}, domain: {literal(domain)}"
    not_ready = '\n  |> filter(fn: (r) => r.action != "\\"ready\\"")'
    hits = _SIDE.format(
        name="hc", bucket=literal(bucket), measurement="pf_analytics_test_pixel", field="count", more=""
    )
    loads = _SIDE.format(
        name="js", bucket=literal(bucket), measurement="pf_analytics_test", field="response_time", more=not_ready
    )
    return f"""v = {{{v}}}
{hits}{loads}
join(tables: {{js: js, hc: hc}}, on: ["_time"])
  |> map(fn: (r) => ({{_value: r._value_hc - r._value_js}}))
"""


_DOWNSAMPLED = """
  |> filter(fn: (r) => r._measurement == "pf_analytics_test_pixel")
  |> drop(columns: ["sess"])
  |> aggregateWindow(every: 15m, fn: sum)
  |> map(fn: (r) => ({r with _field: "hitcount", _measurement: "pf_analytics_pixel"}))
  |> drop(columns: ["_start", "_stop", "type"])"""


def downsampling_task(made: Analytics, workspace: Workspace) -> str:
    """A task of the original's form: unaligned range, every tag but `sess` and `type` kept, labels by window end."""
    origin = ""
    if made.engine.capabilities.tasks == "kapacitor":
        origin = f', host: "{workspace.server.url}", token: "secret"'
    return f"""option task = {{name: {literal(workspace.task_name)}, every: 15m, offset: 1m, concurrency: 1}}

out_bucket = {literal(workspace.rollup)}
sourcedata = from(bucket: {literal(workspace.raw)}{origin})
  |> range(start: -task.every){_DOWNSAMPLED}
  |> to(bucket: out_bucket{origin})
"""


def downsampling(bucket: str, target: str, start: int, stop: int) -> str:
    """The same as a query over a range, nanoseconds; without a target the rows are sent instead of written."""
    span = f"start: {instant(start)}, stop: {instant(stop)}"
    written = f"\n  |> to(bucket: {literal(target)})" if target else ""
    return f"from(bucket: {literal(bucket)})\n  |> range({span}){_DOWNSAMPLED}{written}"
