"""Detect the engine and its capabilities by asking the server. Version numbers decide nothing."""

from __future__ import annotations

from dataclasses import replace

from pfa_flux import foreign
from pfa_flux.engines.base import OLD_FLUX, Capabilities
from pfa_flux.engines.influxdb import flux
from pfa_flux.engines.influxdb.identity import Identity, object_in, version_in
from pfa_flux.engines.influxdb.transport import (
    MalformedAnswerError,
    Network,
    Response,
    Transport,
    transport_to,
    understood,
)
from pfa_flux.engines.influxdb.v1 import InfluxDB1
from pfa_flux.engines.influxdb.v2 import InfluxDB2, only_org
from pfa_flux.errors import (
    AccessDeniedError,
    BucketNotFoundError,
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
        UnreachableError, TimedOutError, TLSError, NotInfluxDBError: no usable InfluxDB answers.
        AccessDeniedError: the server rejects the token.
        SettingsError: the settings must name the organisation.
    """
    transport = transport_to(settings)
    try:
        return _detect(transport, settings)
    except BaseException:
        transport.close()
        raise


def _detect(transport: Transport, settings: Settings) -> InfluxDB1 | InfluxDB2:
    identity = Identity(transport)
    identity.refuse_relay()
    org = _organisation(transport, settings, identity)
    if org is not None:
        transport.org = org
        flux_version, join = _flux(transport)
        capabilities = Capabilities(
            "influxdb2",
            identity.version(),
            flux_version=flux_version,
            join=join,
            to=bool(flux_version) and _can_write(transport, settings),
            tasks="influxdb",
        )
        return InfluxDB2(transport, capabilities)
    identity.refuse_lookalikes()
    _ask_in_influxql(transport, identity)
    flux_version, join = _flux(transport)
    kapacitor = _kapacitor_version(settings)
    return InfluxDB1(
        transport,
        Capabilities(
            "influxdb1",
            identity.version() or _diagnosed_version(transport),
            flux_version=flux_version,
            join=join,
            to=bool(flux_version) and _can_write(transport, settings),
            tasks="kapacitor" if kapacitor else "",
            kapacitor=True,
            kapacitor_version=kapacitor,
            product=identity.product,
        ),
    )


def _organisation(transport: Transport, settings: Settings, identity: Identity) -> str | None:
    """Name of the organisation if the server has a tasks API, as InfluxDB 2 does. Otherwise None."""
    query = {"limit": "1", **transport.org_query}
    answer = transport.probe("/api/v2/tasks", query)
    if answer.status != 200 and _refuses(answer, identity):
        # The second request raises the refusal as an error: a proxy's refusal must not make InfluxDB 2 look like 1.x.
        try:
            answer = transport.request("GET", "/api/v2/tasks", query=query)
        except QueryError as error:
            if settings.org:
                raise QueryError(
                    f"the server refuses the organisation {settings.org!r}: {error.message}", "Check PFA_FLUX_ORG."
                ) from error
            raise
    if answer.status != 200:
        return None
    if "tasks" not in object_in(answer):
        identity.refuse_pages()
    answer.listed("tasks")
    return settings.org or only_org(transport)


def _refuses(answer: Response, identity: Identity) -> bool:
    """Whether a tasks API, or something in front of it, refuses to list tasks."""
    if {"code", "message"} <= object_in(answer).keys():
        return True
    if answer.status in {401, 403}:
        # InfluxDB 3 refuses every path without a token.
        identity.refuse_lookalikes()
        return True
    return answer.status in {429, 503} or (answer.status >= 500 and identity.ping.status < 300)


def _ask_in_influxql(transport: Transport, identity: Identity) -> None:
    """Check for InfluxDB 1.x by asking for the names of databases. If auth is on, this needs a valid user.

    InfluxDB 3 also lists databases, but in a column of another name. It has no retention policies for the points.

    Raises:
        AccessDeniedError: the server rejects the user.
        UnfitServerError, NotInfluxDBError: another server answers.
    """
    try:
        answer = transport.request("POST", "/query", query={"epoch": "ns"}, form={"q": "SHOW DATABASES"})
        (series,) = answer.json()["results"][0]["series"]
        if series["columns"] == ["name"]:
            return
    except NotInfluxDBError:
        pass
    except QueryError:
        if identity.version():
            raise
    except (LookupError, TypeError, ValueError):
        pass
    identity.refuse()


def _diagnosed_version(transport: Transport) -> str:
    """The version that InfluxQL tells an administrator. Empty if the server refuses that."""
    try:
        rows = InfluxDB1(transport, Capabilities("influxdb1", "")).statement("SHOW DIAGNOSTICS", {})
    except (QueryError, AccessDeniedError, BucketNotFoundError):
        return ""
    return next((version_in(str(row["Version"])) for row in rows if row.get("Version")), "")


@understood("the answer with Flux's version")
def _flux(transport: Transport) -> tuple[str, bool]:
    """Version of Flux, and whether it has `join`. The version is empty if Flux is off or absent."""
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
    """Whether Flux has `to()`. The test copies an empty range of the raw bucket."""
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
        # A refusal because of a bucket or a right means that the server knows `to`.
        return True
    return True


def kapacitor_transport(settings: Settings) -> Transport:
    """A transport to Kapacitor, with the credentials of its InfluxDB 1.x."""
    return Transport(
        f"{settings.kapacitor_url.rstrip('/')}/kapacitor/v1",
        settings.token,
        network=Network.of(settings),
        basic=True,
    )


def is_kapacitor(settings: Settings, url: str) -> bool:
    """Whether a Kapacitor answers at an address."""
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
        raise type(error)(
            f"Kapacitor: {error.message}", "Check PFA_FLUX_KAPACITOR_URL, and that Kapacitor is up."
        ) from error
    finally:
        transport.close()
    if not version:
        raise NotInfluxDBError(
            f"{settings.kapacitor_url} answers, but it is not Kapacitor", "Check PFA_FLUX_KAPACITOR_URL."
        )
    return foreign.said(version, _VERSION_LENGTH)
