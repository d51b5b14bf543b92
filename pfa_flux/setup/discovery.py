"""Looks into a store before pfa-flux is set up: buckets, names and domains to propose as settings."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from pfa_flux.analytics import Analytics
from pfa_flux.engines.base import Engine, Measurement
from pfa_flux.errors import AccessDeniedError, BucketNotFoundError, CapabilityError, InvalidValueError, QueryError
from pfa_flux.names import pattern
from pfa_flux.schema import Schema, Side, without_port
from pfa_flux.settings import Settings
from pfa_flux.windows.spec import TaskSpec

_SYSTEM = ("_monitoring", "_tasks", "_internal/")
"""Prefixes of the servers' own buckets."""
_MOST_BUCKETS = 50
_MOST_DOMAINS = 20


@dataclass(frozen=True, slots=True)
class Names:
    """Measurement and field of points that look like page views or page loads.

    Attributes:
        bucket: their bucket.
        measurement: their measurement.
        field: a field that every point has.
    """

    bucket: str
    measurement: str
    field: str


@dataclass(frozen=True)
class Discovery:
    """What the store holds. "Usual" names are those of the settings.

    Attributes:
        raw: bucket with page views or page loads of the usual names; empty if there is none, or if the settings
            name it.
        loads: bucket with page loads of the usual name, if page views are in another bucket; otherwise empty.
        rollup: bucket with downsampled rows of the usual names; empty as for `raw`.
        hits: points that look like page views of another pixel, if the bucket has none of the usual name.
        others: points that look like page loads, if the bucket has none of the usual name.
        floats: hits are written as floats, because the current shard has floats.
    """

    raw: str = ""
    loads: str = ""
    rollup: str = ""
    hits: tuple[Names, ...] = ()
    others: tuple[Names, ...] = ()
    floats: bool = False


def discover(engine: Engine, settings: Settings, said: set[str]) -> Discovery:
    """Search the visible buckets. `said` has the keys of buckets that the user has set; for these, nothing is proposed.

    Raises:
        UnreachableError: the server no longer answers.
    """
    wanted = {"raw_bucket": settings.raw_bucket, "rollup_bucket": settings.rollup_bucket}
    wanted |= {"loads_bucket": settings.loads_bucket or settings.raw_bucket}
    there = dict.fromkeys(wanted.values())
    if not {"raw_bucket", "rollup_bucket"} <= said:
        seen = [bucket for bucket in engine.buckets() if not bucket.startswith(_SYSTEM)]
        there |= dict.fromkeys(seen[:_MOST_BUCKETS])
    held = {bucket: _measurements(engine, bucket) for bucket in there}
    names = settings.schema

    def elsewhere(key: str, usual: str, *measurements: str, but: str = "") -> str:
        """The bucket that holds measurements; empty if that is the usual one or `but`, or if the user has set one."""
        home = usual if key in said else _home(held, usual, measurements)
        return "" if home in {usual, but} else home

    other = elsewhere("raw_bucket", settings.raw_bucket, names.hits_measurement, names.loads_measurement)
    raw = other or settings.raw_bucket
    usual = settings.loads_bucket or raw
    result = Discovery(
        other,
        elsewhere("loads_bucket", usual, names.loads_measurement, but=raw),
        elsewhere("rollup_bucket", settings.rollup_bucket, names.rollup_hits_measurement, but=raw),
    )
    loads = result.loads or usual
    strangers = [(bucket, each) for bucket in dict.fromkeys((raw, loads)) for each in _strangers(held[bucket], names)]
    if not _has(held[raw], names.hits_measurement):
        hits = (Names(b, m.name, _field(m, names.hits_field)) for b, m in strangers if m.by_writer and b == raw)
        result = replace(result, hits=tuple(hits))
    if not _has(held[loads], names.loads_measurement):
        others = (Names(b, m.name, _field(m, names.loads_field)) for b, m in strangers if not m.by_writer)
        result = replace(result, others=tuple(others))
    rows = TaskSpec.from_settings(replace(settings, raw_bucket=raw), Side.HITS).raw
    return replace(result, floats=_has(held[raw], names.hits_measurement) and engine.takes_floats(rows, engine.now()))


def _measurements(engine: Engine, bucket: str) -> Sequence[Measurement]:
    """Measurements of a bucket; none if it is missing or cannot be read."""
    with suppress(BucketNotFoundError, AccessDeniedError, CapabilityError, QueryError):
        return engine.measurements(bucket)
    return ()


def _has(held: Sequence[Measurement], name: str) -> bool:
    return any(each.name == name for each in held)


def _home(held: dict[str, Sequence[Measurement]], usual: str, names: Sequence[str]) -> str:
    """The bucket with the most of these measurements. If equal, the usual one."""

    def worth(bucket: str) -> tuple[int, bool]:
        return sum(_has(held.get(bucket, ()), name) for name in names), bucket == usual

    return max((usual, *held), key=worth)


def _strangers(held: Sequence[Measurement], names: Schema) -> list[Measurement]:
    own = {names.hits_measurement, names.loads_measurement}
    own |= {names.rollup_hits_measurement, names.rollup_loads_measurement}
    return [each for each in held if each.name not in own and not each.name.startswith("pfa_flux_")]


def _field(measurement: Measurement, usual: str) -> str:
    return usual if usual in measurement.fields else measurement.fields[0]


def domains(analytics: Analytics, *, start: str = "30d") -> tuple[tuple[str, ...], int]:
    """Domains that were viewed, most viewed first, and how many more there are.

    Leaves out addresses and names without a dot, because these are a developer's own.
    """
    views: dict[str, int] = {}
    for row in analytics.domains(start=start):
        name = row.key["domain"]
        if _is_public(name):
            views[name] = views.get(name, 0) + max(row.hits or 0, row.js or 0)
    ranked = sorted(views, key=lambda name: (-views[name], name))
    return tuple(ranked[:_MOST_DOMAINS]), len(ranked[_MOST_DOMAINS:])


def _is_public(name: str) -> bool:
    host = without_port(name)
    try:
        pattern(name)
    except InvalidValueError:
        return False
    return "." in host and not host[-1].isdigit() and not host.startswith(("[", "("))
