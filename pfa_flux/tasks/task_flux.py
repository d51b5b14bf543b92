"""The downsampling task as Flux, and the origin of a task by its Flux."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from pfa_flux.engines.influxdb import flux
from pfa_flux.engines.influxdb.languages import flux as flux_language
from pfa_flux.times import format_duration
from pfa_flux.windows.spec import TaskSpec

FILE = "tasks/downsample_hitcounter.flux"
MARK = "// Downsamples the pixel's hits to windows of 15 minutes and drops `sess`. Installed and watched by pfa-flux."
"""The first line of every task from the file. It identifies such tasks, so it must not change."""

_CUT = " |> filter(fn: (r) => r._time < stop)"
_OPTION = re.compile(r"^option task = .*$", re.MULTILINE)
_STAMP = re.compile(r"^// Spec ([0-9a-f]{12})\n", re.MULTILINE)
_ORIGINAL = re.compile(r'drop\(columns:\s*\[\s*"sess"\s*\]\).*aggregateWindow\(', re.DOTALL)


def task_flux(spec: TaskSpec, *, origin: str = "", cut: bool = False) -> str:
    """The Flux of the task, with a line that identifies its spec.

    Args:
        spec: the windows of the task.
        origin: further arguments of from() and to() for Kapacitor: `, host: "…", token: "…"`.
        cut: exclude the stop, because range() includes it (`Capabilities.range_takes_stop`).
    """
    values = {
        "read": flux.Expression(f"() => from(bucket: {flux.literal(spec.raw_bucket)}{origin})"),
        "write": flux.Expression(f"(tables=<-) => tables |> to(bucket: {flux.literal(spec.rollup_bucket)}{origin})"),
        "rows": flux_language.predicate(spec.raw),
        "tags": flux.literal(spec.tags),
        "whole": flux.Expression(f"(tables=<-) => tables{'' if spec.raw.count else ' |> toInt()'}"),
        "aggregate": flux.Expression("count" if spec.raw.count else "sum"),
        "measurement": flux.literal(spec.measurement),
        "field": flux.literal(spec.field),
        "every": flux.Expression(format_duration(spec.every)),
        "lookback": flux.literal(spec.lookback),
        "cut": flux.Expression(f"(tables=<-, stop) => tables{_CUT if cut else ''}"),
    }
    option = (
        f"option task = {{name: {flux.literal(spec.name)}, every: {format_duration(spec.every)}, "
        f"offset: {format_duration(spec.offset)}, concurrency: 1}}"
    )
    text = _OPTION.sub(lambda _: option, flux.bind(flux.load(FILE), values), count=1)
    return text.replace(f"{MARK}\n", f"{MARK}\n// Spec {_digest(text)}\n", 1)


Origin = Literal["ours", "altered", "original", "foreign"]


def origin_of(text: str) -> Origin:
    """The origin of a task, by its Flux.

    Returns:
        `ours`: pfa-flux created it. `altered`: pfa-flux created it, and somebody changed it. `original`: somebody wrote
        it in the originally published form, which drops `sess` and sums windows. `foreign`: anything else.
    """
    stamp = _STAMP.search(text)
    if MARK in text:
        plain = _STAMP.sub("", text, count=1)
        return "ours" if stamp and stamp[1] == _digest(plain) else "altered"
    return "original" if _ORIGINAL.search(text) else "foreign"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
