"""Who answers at an address, as far as it says so: the version for people to read, and servers that only look alike.

What is decided by what a server can do is in `detect`. Names and versions decide nothing there: they are for messages.
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
_USE = "Use InfluxDB 1.8 or newer 1.x, or 2.x. Without PFA_FLUX_URL, pfa-flux keeps everything in a file of its own."
_CHECK = "Check PFA_FLUX_URL (scheme, host and port)."


def version_in(text: str) -> str:
    """A version as people write it, without its v; empty where the text has none."""
    found = _VERSION.match(text.strip())
    return foreign.said(found[1], _VERSION_LENGTH) if found else ""


def object_in(answer: Response) -> dict[str, Any]:
    """The JSON object that a body is, empty where it is none."""
    try:
        return answer.json()
    except NotInfluxDBError:
        return {}


class Identity:
    """What a server says of itself. It is asked no more than is needed, and each thing once."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @cached_property
    def ping(self) -> Response:
        """The answer to `/ping`."""
        return self._transport.look("/ping")

    @cached_property
    def health(self) -> Response:
        """The answer to `/health`."""
        return self._transport.look("/health")

    @property
    def product(self) -> str:
        """What people call it: openGemini answers as an InfluxDB 1.x does, under a name of its own."""
        return "openGemini" if _GEMINI in self.ping.headers else "InfluxDB"

    def version(self) -> str:
        """The version that it names anywhere, empty where it names none.

        A proxy may take the header away. InfluxDB 2.0 sends it empty, or twice and once empty.
        """
        return next(filter(None, self._versions()), "")

    def _versions(self) -> Iterator[str]:
        yield self._in_headers
        yield version_in(str(object_in(self.ping).get("version", "")))
        health = object_in(self.health)
        yield version_in(str(health.get("version", ""))) if health.get("name") == "influxdb" else ""
        yield version_in(str(object_in(self._transport.look("/ping", {"verbose": "true"})).get("version", "")))

    @property
    def _in_headers(self) -> str:
        values = [part for name in _VERSION_HEADERS for part in self.ping.headers.get(name, "").split(",")]
        return next(filter(None, map(version_in, values)), "")

    def refuse_relay(self) -> None:
        """Raise NotInfluxDBError if it passes writes on and answers no question."""
        relay = relay_of(self.ping)
        if relay:
            raise NotInfluxDBError(
                f"{self._transport.url} is {relay}, which passes writes on and answers no question",
                "Set PFA_FLUX_URL to the database behind it, and PFA_FLUX_WRITE_URL to the relay.",
            )

    def refuse_lookalikes(self) -> None:
        """Raise UnfitServerError if it is known to be something that takes points as an InfluxDB does, and is none.

        What it says in `/ping` is looked at; more is asked only of a server that names no version there.
        """
        self._refuse_known(named=bool(self._in_headers))

    def _refuse_known(self, *, named: bool) -> None:
        for look in (self._influxdb_3, self._questdb, self._victoriametrics):
            words = look(named)
            if words:
                raise UnfitServerError(f"{self._transport.url} is {words}", _USE)

    def refuse(self) -> None:
        """Say what answers in the place of an InfluxDB.

        Raises:
            UnfitServerError: something that is known. NotInfluxDBError: anything else.
        """
        self._refuse_known(named=False)
        self._refuse_kapacitor()
        self.refuse_pages()
        raise NotInfluxDBError(
            f"{self._transport.url} answers, and is no InfluxDB: it has no tasks API and does not answer InfluxQL",
            _CHECK,
        )

    def refuse_pages(self) -> None:
        """Raise UnfitServerError if whatever is asked is answered with a page for people, or an empty one."""
        url, ping = self._transport.url, self.ping
        if ping.status == 200 and _is_page(ping):
            raise UnfitServerError(
                f"{url} answers with a web page, for example to log in, where InfluxDB answers with data",
                f"{_CHECK} If a proxy asks for a login there, let /ping, /health, /query and /api/v2 pass.",
            )
        if ping.status == 200 and not ping.text and not self.health.text:
            raise UnfitServerError(
                f"{url} answers whatever it is asked with an empty page (200), and is no InfluxDB", _CHECK
            )

    def _influxdb_3(self, named: bool) -> str:
        """InfluxDB 3 names itself in `/ping`, and its cluster even with a refusal; older ones are known by its API."""
        said = object_in(self.ping)
        three = str(said.get("product_name", "")).startswith("InfluxDB 3")
        if not three and "cluster-uuid" not in self.ping.headers and (named or not self._has("/api/v3/query_influxql")):
            return ""
        version = self._in_headers or version_in(str(said.get("version", "3")))
        return (
            f"InfluxDB {version}: it has no Flux, no tasks and no deletes, and to it "
            "telegraf/autogen is the name of a database, in which no query would find the hits"
        )

    def _questdb(self, named: bool) -> str:
        found = "questdb" in self.ping.headers.get("Server", "").lower()
        if not found and not named:
            build = self._transport.look("/exec", {"query": "select build()"})
            found = build.status == 200 and not _is_page(build) and "questdb" in build.text.lower()
        if not found:
            return ""
        return (
            "QuestDB: it takes points and answers neither Flux nor InfluxQL; it keeps microseconds, so that hits would "
            "replace each other or count twice"
        )

    def _victoriametrics(self, named: bool) -> str:
        header = "X-Server-Hostname" in self.ping.headers
        if named or not (header or self._transport.look("/-/healthy").text.startswith("VictoriaMetrics is ")):
            return ""
        return (
            "VictoriaMetrics: it takes points and answers neither Flux nor InfluxQL; it keeps milliseconds, so that "
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
                "Set PFA_FLUX_KAPACITOR_URL to it, and PFA_FLUX_URL to the InfluxDB 1.x behind it.",
            )

    def _has(self, path: str) -> bool:
        """A path is known there: without the parameters that it needs, it is refused for their lack."""
        answer = self._transport.look(path)
        return answer.status == 400 and "missing query parameter" in answer.text


def _is_page(answer: Response) -> bool:
    kind = answer.headers.get("Content-Type", "").lower()
    return "html" in kind or answer.text.lstrip()[:15].lower().startswith(("<!doctype html", "<html", "<?xml"))
