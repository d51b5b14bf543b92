"""Which engine there is and what it can do, asked of the server; nothing is guessed from a version number."""

from __future__ import annotations

from dataclasses import replace

from pfa_flux import flux, foreign
from pfa_flux.engines.base import OLD_FLUX, Capabilities
from pfa_flux.engines.influxdb.transport import (
    MalformedAnswerError,
    Transport,
    relay_of,
    transport_to,
    understood,
)
from pfa_flux.engines.influxdb.v1 import InfluxDB1
from pfa_flux.engines.influxdb.v2 import InfluxDB2, only_org
from pfa_flux.errors import (
    AccessDeniedError,
    CapabilityError,
    NotInfluxDBError,
    PfaFluxError,
    QueryError,
    UnreachableError,
)
from pfa_flux.settings import Settings

_JOIN_PROBE = 'import "array"\nimport "join"\nimport "runtime"\narray.from(rows: [{version: runtime.version()}])'
_VERSION_PROBE = 'import "array"\nimport "runtime"\narray.from(rows: [{version: runtime.version()}])'

_VERSION_LENGTH = 40


def detect(settings: Settings) -> InfluxDB1 | InfluxDB2:
    """The server at `settings.url`, with its capabilities.

    Raises:
        UnreachableError, TimedOutError, TLSError, NotInfluxDBError: there is no InfluxDB to talk to.
        AccessDeniedError: it refuses the token.
        SettingsError: the organisation has to be named.
    """
    transport = transport_to(settings)
    try:
        return _detect(transport, settings)
    except BaseException:
        transport.close()
        raise


def _detect(transport: Transport, settings: Settings) -> InfluxDB1 | InfluxDB2:
    version = _server_version(transport)
    org = _organisation(transport, settings)
    if org is not None:
        transport.org = org
        flux_version, join = _flux(transport)
        found = Capabilities(
            "influxdb2",
            version,
            flux_version=flux_version,
            join=join,
            to=bool(flux_version) and _can_write(transport, settings),
            tasks="influxdb",
        )
        return InfluxDB2(transport, found)
    # SHOW DATABASES needs a valid user where auth is on; /ping does not look at the credentials.
    server = InfluxDB1(transport, Capabilities("influxdb1", version))
    server.statement("SHOW DATABASES", {})
    flux_version, join = _flux(transport)
    kapacitor = _kapacitor_version(settings)
    return InfluxDB1(
        transport,
        Capabilities(
            "influxdb1",
            version,
            flux_version=flux_version,
            join=join,
            to=bool(flux_version) and _can_write(transport, settings),
            tasks="kapacitor" if kapacitor else "",
            kapacitor=True,
            kapacitor_version=kapacitor,
        ),
    )


def _server_version(transport: Transport) -> str:
    """The version InfluxDB names in every answer."""
    try:
        ping = transport.request("GET", "/ping")
        version, relay = ping.headers.get("X-Influxdb-Version", ""), relay_of(ping)
    except (NotInfluxDBError, QueryError):
        version = relay = ""
    if relay:
        raise NotInfluxDBError(
            f"{transport.url} is {relay}, which passes writes on and answers no question",
            "Set PFA_FLUX_URL to the database behind it, and PFA_FLUX_WRITE_URL to the relay.",
        )
    if not version:
        _refuse_kapacitor(transport)
        raise NotInfluxDBError(
            f"{transport.url} answers, and is no InfluxDB: it names no InfluxDB version",
            "Check PFA_FLUX_URL (scheme, host and port).",
        )
    return foreign.said(version.removeprefix("v"), _VERSION_LENGTH)


def _refuse_kapacitor(transport: Transport) -> None:
    try:
        answer = transport.request("GET", "/kapacitor/v1/ping")
    except PfaFluxError:
        return
    if answer.headers.get("X-Kapacitor-Version"):
        raise NotInfluxDBError(
            f"{transport.url} is Kapacitor, not InfluxDB",
            "Set PFA_FLUX_KAPACITOR_URL to it, and PFA_FLUX_URL to the InfluxDB 1.x behind it.",
        )


def _organisation(transport: Transport, settings: Settings) -> str | None:
    """Organisation's name where the server has a tasks API, and so is an InfluxDB 2; None where it has not."""
    query = {"limit": "1", **({"org": settings.org} if settings.org else {})}
    try:
        answer = transport.request("GET", "/api/v2/tasks", query=query)
    except MalformedAnswerError:
        raise
    except NotInfluxDBError:
        return None
    except QueryError as error:
        if settings.org:
            raise QueryError(
                f"the organisation {settings.org!r} is refused: {error.message}", "Check PFA_FLUX_ORG."
            ) from error
        raise
    answer.listed("tasks")
    return settings.org or only_org(transport)


@understood("the answer with Flux's version")
def _flux(transport: Transport) -> tuple[str, bool]:
    """Flux version, empty where Flux is off or absent, and whether it has `join`."""
    for probe, join in ((_JOIN_PROBE, True), (_VERSION_PROBE, False)):
        try:
            rows = transport.flux(probe)
        except MalformedAnswerError:
            raise
        except (CapabilityError, NotInfluxDBError):
            return "", False
        except QueryError:
            continue
        return foreign.said(str(rows[0]["version"]).removeprefix("v"), _VERSION_LENGTH), join
    return OLD_FLUX, False


def _can_write(transport: Transport, settings: Settings) -> bool:
    """Flux has `to()`: asked by copying an empty range of the raw bucket."""
    bucket = flux.literal(settings.raw_bucket)
    target = flux.literal(settings.rollup_bucket)
    span = f"start: {flux.instant(0)}, stop: {flux.instant(1)}"
    try:
        transport.flux(f"from(bucket: {bucket}) |> range({span}) |> to(bucket: {target})")
    except QueryError as error:
        return "not implemented" not in error.said
    except MalformedAnswerError:
        raise
    except (AccessDeniedError, PfaFluxError):
        # A missing bucket or right says that `to` was understood.
        return True
    return True


def kapacitor_transport(settings: Settings) -> Transport:
    """Kapacitor's address, with the credentials of the InfluxDB 1.x behind it."""
    return Transport(
        f"{settings.kapacitor_url.rstrip('/')}/kapacitor/v1",
        settings.token,
        timeout=settings.timeout,
        ca_file=settings.ca_file,
        basic=True,
    )


def is_kapacitor(settings: Settings, url: str) -> bool:
    """A Kapacitor answers at an address."""
    try:
        return bool(_kapacitor_version(replace(settings, kapacitor_url=url)))
    except PfaFluxError:
        return False


def _kapacitor_version(settings: Settings) -> str:
    if not settings.kapacitor_url:
        return ""
    transport = kapacitor_transport(settings)
    try:
        version = transport.request("GET", "/ping").headers.get("X-Kapacitor-Version", "")
    except (NotInfluxDBError, QueryError):
        version = ""
    except UnreachableError as error:
        raise type(error)(f"Kapacitor: {error.message}", "Check PFA_FLUX_KAPACITOR_URL, and that it is up.") from error
    finally:
        transport.close()
    if not version:
        raise NotInfluxDBError(
            f"{settings.kapacitor_url} answers, and is no Kapacitor", "Check PFA_FLUX_KAPACITOR_URL."
        )
    return foreign.said(version, _VERSION_LENGTH)
