"""The checks of `doctor` for an InfluxDB: engine, access, Flux, buckets, InfluxQL, types, and the right to write."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pfa_flux.engines.base import Check, Checks
from pfa_flux.engines.influxdb.languages.influxql import identifier
from pfa_flux.engines.influxdb.transport import understood
from pfa_flux.errors import AccessDeniedError, BucketNotFoundError, CapabilityError
from pfa_flux.schema import Side
from pfa_flux.settings import Settings

if TYPE_CHECKING:
    from pfa_flux.engines.influxdb.server import Server

_BUCKET_ADVICE = {
    "raw": "Set PFA_FLUX_RAW_BUCKET, or create the bucket.",
    "loads": "Set PFA_FLUX_LOADS_BUCKET to the bucket that the analytics writes to.",
    "rollup": "pfa-flux install-task creates it.",
}


def of_server(server: Server, settings: Settings) -> Checks:
    """All checks of a server."""
    return {
        "engine": lambda: _engine(server, settings),
        "buckets": lambda: _buckets(server, settings),
        "influxql": lambda: [_reach(server, bucket) for bucket in settings.raw_buckets],
        "hits": lambda: [*_types(server, settings), *server.check_room(settings)],
        "write rollup": lambda: _write(server, settings),
    }


def _engine(server: Server, settings: Settings) -> list[Check]:
    can = server.capabilities
    advice = "pfa-flux uses the other addresses. Start this server, or remove its address from PFA_FLUX_URL."
    checks = [
        Check("engine", "ok", f"{can.title} at {', '.join(settings.urls)}"),
        *(Check("address", "warning", reason, advice) for reason in server.transport.away().values()),
        Check("access", "ok", "the token is accepted" if settings.token else "the server asks for no token"),
    ]
    if can.flux:
        package = "with join" if can.join else "without join: pfa-flux uses union instead"
        return [*checks, Check("flux", "ok", f"version {can.flux_version}, {package}")]
    advice = "blocked-ratio uses InfluxQL. For tasks, set [http] flux-enabled = true in influxdb.conf."
    return [*checks, Check("flux", "warning", "off or absent", advice)]


def _buckets(server: Server, settings: Settings) -> list[Check]:
    buckets = {"raw": settings.raw_bucket, "loads": settings.loads_bucket, "rollup": settings.rollup_bucket}
    return [_bucket(server, name, bucket) for name, bucket in buckets.items() if bucket]


def _bucket(server: Server, name: str, bucket: str) -> Check:
    """Whether a bucket exists. If the token may not read the bucket, only a refused write shows that."""
    with suppress(AccessDeniedError):
        if server.has_bucket(bucket):
            return Check(f"{name} bucket", "ok", bucket)
    try:
        server.probe_write(bucket)
    except AccessDeniedError:
        found = f"{bucket}: it exists, but the token may neither read nor write it"
        return Check(f"{name} bucket", "skipped", found, 'The row "token" says what needs these rights.')
    except BucketNotFoundError:
        return Check(f"{name} bucket", "failed", f"{bucket}: it does not exist", _BUCKET_ADVICE[name])
    return Check(f"{name} bucket", "ok", f"{bucket}, which the token may write but not read")


def _reach(server: Server, bucket: str) -> Check:
    """Whether InfluxQL reaches a bucket."""
    try:
        database, policy = server.database_of(bucket)
        server.influxql("SHOW FIELD KEYS LIMIT 1", bucket)
    except CapabilityError as error:
        return Check("influxql (DBRP)", "warning", error.message, error.hint)
    return Check("influxql (DBRP)", "ok", f"reaches {bucket} as {database}.{policy}")


def _types(server: Server, settings: Settings) -> list[Check]:
    """Whether the database takes hits and page loads in the types that pfa-flux and the analytics write."""
    schema, bucket_of = settings.schema, settings.raw_bucket_of
    return [
        _type(server, "hits", bucket_of(Side.HITS), schema.hits_measurement, schema.hits_field),
        _type(server, "loads", bucket_of(Side.LOADS), schema.loads_measurement, schema.loads_field),
    ]


@understood("the answer with types of fields")
def _type(server: Server, name: str, bucket: str, measurement: str, field: str) -> Check:
    try:
        rows = server.influxql(f"SHOW FIELD KEYS FROM {identifier(measurement)}", bucket)
    except CapabilityError:
        advice = 'See the row "influxql (DBRP)".'
        return Check(f"type of {name}", "skipped", "unknown: InfluxQL does not reach the bucket", advice)
    types = sorted({str(row["fieldType"]) for row in rows if row.get("fieldKey") == field})
    found = f"{field}: {' and '.join(types) or 'no point yet'}"
    if set(types) <= {"integer", "float"}:
        return Check(f"type of {name}", "ok", found)
    advice = "Shards of that type refuse what pfa-flux writes. Use another measurement or bucket."
    return Check(f"type of {name}", "warning", found, advice)


def _write(server: Server, settings: Settings) -> list[Check]:
    server.probe_write(settings.rollup_bucket)
    return [Check("write rollup", "ok", "allowed")]
