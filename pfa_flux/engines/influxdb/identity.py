"""Which server answers at an address: its version for people, and servers that only resemble InfluxDB.

`detect` tests what a server can do. Names and versions from this module are only for messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from pfa_flux import foreign
from pfa_flux.engines.influxdb.transport import Response, Transport, relay_of
from pfa_flux.errors import NotInfluxDBError, PfaFluxError, UnfitServerError

_VERSION_LENGTH = 40
_GEMINI = "X-Geminidb-Version"
_VERSION_HEADERS = ("X-Influxdb-Version", _GEMINI)
_VERSION = re.compile(r"v?([\w.+-]*\w[\w.+-]*)")
_USE = "Use InfluxDB 1.8 or newer 1.x, or 2.x. Without PFA_FLUX_URL, pfa-flux uses its embedded store."
_CHECK = "Check PFA_FLUX_URL (scheme, host and port)."


def version_in(text: str) -> str:
    """The version in a text, without its v. Empty if the text has no version."""
    match = _VERSION.match(text.strip())
    return foreign.said(match[1], _VERSION_LENGTH) if match else ""


def object_in(answer: Response) -> dict[str, Any]:
    """The JSON object in the body. Empty if the body is not a JSON object."""
    try:
        return answer.json()
    except NotInfluxDBError:
        return {}


class Identity:
    """What a server reports about itself. Each request is sent when it is needed, and only once."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @cached_property
    def ping(self) -> Response:
        """The answer to `/ping`."""
        return self._transport.probe("/ping")

    @cached_property
    def health(self) -> Response:
        """The answer to `/health`."""
        return self._transport.probe("/health")

    @property
    def product(self) -> str:
        """Name of the product. openGemini answers like an InfluxDB 1.x, but is another product."""
        return "openGemini" if _GEMINI in self.ping.headers else "InfluxDB"

    def version(self) -> str:
        """The version in any answer that has one. Empty if no answer has one.

        A proxy may remove the header. InfluxDB 2.0 sends it empty, or twice and once empty.
        """
        return next(filter(None, self._versions()), "")

    def _versions(self) -> Iterator[str]:
        yield self._in_headers
        yield version_in(str(object_in(self.ping).get("version", "")))
        health = object_in(self.health)
        yield version_in(str(health.get("version", ""))) if health.get("name") == "influxdb" else ""
        yield version_in(str(object_in(self._transport.probe("/ping", {"verbose": "true"})).get("version", "")))

    @property
    def _in_headers(self) -> str:
        values = [part for name in _VERSION_HEADERS for part in self.ping.headers.get(name, "").split(",")]
        return next(filter(None, map(version_in, values)), "")

    def refuse_relay(self) -> None:
        """Raise NotInfluxDBError if the server is a relay: it forwards writes, and answers no queries."""
        relay = relay_of(self.ping)
        if relay:
            raise NotInfluxDBError(
                f"{self._transport.url} is {relay}, which forwards writes and answers no queries",
                "Set PFA_FLUX_URL to the database behind it, and PFA_FLUX_WRITE_URL to the relay.",
            )

    def refuse_lookalikes(self) -> None:
        """Raise UnfitServerError if this is a known server that takes points like InfluxDB, but is another database.

        The answer to `/ping` decides. If it has no version, further requests follow.
        """
        self._refuse_known(named=bool(self._in_headers))

    def _refuse_known(self, *, named: bool) -> None:
        for identify in (self._influxdb_3, self._questdb, self._victoriametrics):
            description = identify(named)
            if description:
                raise UnfitServerError(f"{self._transport.url} is {description}", _USE)

    def refuse(self) -> None:
        """Raise an error that says what answers instead of InfluxDB.

        Raises:
            UnfitServerError: a known server.
            NotInfluxDBError: anything else.
        """
        self._refuse_known(named=False)
        self._refuse_kapacitor()
        self.refuse_pages()
        raise NotInfluxDBError(
            f"{self._transport.url} answers, but it is not InfluxDB: it has no tasks API and does not answer InfluxQL",
            _CHECK,
        )

    def refuse_pages(self) -> None:
        """Raise UnfitServerError if the server answers every request with a web page or an empty page."""
        url, ping = self._transport.url, self.ping
        if ping.status == 200 and _is_page(ping):
            raise UnfitServerError(
                f"{url} answers with a web page instead of data, for example with a login page",
                f"{_CHECK} If a proxy asks for a login there, let /ping, /health, /query and /api/v2 pass.",
            )
        if ping.status == 200 and not ping.text and not self.health.text:
            raise UnfitServerError(
                f"{url} answers every request with an empty page (200), so it is not InfluxDB", _CHECK
            )

    def _influxdb_3(self, named: bool) -> str:
        """InfluxDB 3 names itself in `/ping`, and its cluster even in a refusal. Older versions have the API of 3."""
        said = object_in(self.ping)
        three = str(said.get("product_name", "")).startswith("InfluxDB 3")
        if not three and "cluster-uuid" not in self.ping.headers and (named or not self._has("/api/v3/query_influxql")):
            return ""
        version = self._in_headers or version_in(str(said.get("version", "3")))
        return (
            f"InfluxDB {version}: it has no Flux, no tasks and no deletes, and it takes "
            "telegraf/autogen as the name of a database, so that no query would find the hits"
        )

    def _questdb(self, named: bool) -> str:
        is_questdb = "questdb" in self.ping.headers.get("Server", "").lower()
        if not is_questdb and not named:
            build = self._transport.probe("/exec", {"query": "select build()"})
            is_questdb = build.status == 200 and not _is_page(build) and "questdb" in build.text.lower()
        if not is_questdb:
            return ""
        return (
            "QuestDB: it takes points, but answers neither Flux nor InfluxQL; it keeps microseconds, so that hits "
            "would replace each other or count twice"
        )

    def _victoriametrics(self, named: bool) -> str:
        header = "X-Server-Hostname" in self.ping.headers
        if named or not (header or self._transport.probe("/-/healthy").text.startswith("VictoriaMetrics is ")):
            return ""
        return (
            "VictoriaMetrics: it takes points, but answers neither Flux nor InfluxQL; it keeps milliseconds, so that "
            "hits would replace each other"
        )

    def _refuse_kapacitor(self) -> None:
        try:
            answer = self._transport.request("GET", "/kapacitor/v1/ping")
        except PfaFluxError:
            return
        if answer.headers.get("X-Kapacitor-Version"):
            raise NotInfluxDBError(
                f"{self._transport.url} is Kapacitor, not InfluxDB",
                "Set PFA_FLUX_KAPACITOR_URL to this address, and PFA_FLUX_URL to the InfluxDB 1.x of this Kapacitor.",
            )

    def _has(self, path: str) -> bool:
        """Whether the server knows a path. It then refuses a request without the required parameters."""
        answer = self._transport.probe(path)
        return answer.status == 400 and "missing query parameter" in answer.text


def _is_page(answer: Response) -> bool:
    kind = answer.headers.get("Content-Type", "").lower()
    return "html" in kind or answer.text.lstrip()[:15].lower().startswith(("<!doctype html", "<html", "<?xml"))
