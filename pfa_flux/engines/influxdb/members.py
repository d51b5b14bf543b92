"""The addresses of a server or cluster: a client for each, tried in order; those that failed lately come last."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from influxdb_client import InfluxDBClient

from pfa_flux.engines.influxdb.proxies import Proxy, proxy_for
from pfa_flux.errors import SettingsError
from pfa_flux.settings import Secret, Settings

REST = 30.0
"""Seconds that an address which failed is tried after all others."""

_FILES = {"ca_file": "ssl_ca_cert", "client_cert": "cert_file", "client_key": "cert_key_file"}
"""Settings that name files, and what the client calls them."""


@dataclass(frozen=True, slots=True)
class Network:
    """How servers are reached.

    Attributes:
        timeout: seconds to wait for an answer.
        ca_file: authorities to trust instead of the system's.
        client_cert: certificate to show.
        client_key: its key, where it is in a file of its own.
        proxy: as in the settings.
        consistency: as in the settings.
        replication: as in the settings.
    """

    timeout: int = 30
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    proxy: str = ""
    consistency: str = ""
    replication: int = 1

    @classmethod
    def of(cls, settings: Settings) -> Network:
        """As the settings have it."""
        names = ("timeout", "ca_file", "client_cert", "client_key", "proxy", "consistency", "replication")
        return cls(**{name: getattr(settings, name) for name in names})

    def options(self, proxy: Proxy | None) -> dict[str, Any]:
        """The same as arguments of the client.

        Raises:
            SettingsError: a file is not there, or not ours to read.
        """
        found: dict[str, Any] = {"timeout": self.timeout * 1000}
        for key, argument in _FILES.items():
            if path := getattr(self, key):
                _check_readable(key, path)
                found[argument] = path
        if proxy is not None:
            found["proxy"] = proxy.url
            if proxy.login:
                encoded = base64.b64encode(proxy.login.reveal().encode()).decode()
                found["proxy_headers"] = {"Proxy-Authorization": f"Basic {encoded}"}
        return found


def _check_readable(key: str, path: str) -> None:
    try:
        Path(path).open("rb").close()
    except OSError as error:
        raise SettingsError(
            f"{key} {path} cannot be read: {error.strerror or type(error).__name__}",
            f"Check the path and its rights, or PFA_FLUX_{key.upper()}.",
        ) from error


@dataclass(slots=True)
class Member:
    """One address.

    Attributes:
        url: as it is asked.
        client: its connections.
        proxy: what stands before it.
        rests_until: until when others come first, by the monotonic clock.
    """

    url: str
    client: InfluxDBClient
    proxy: Proxy | None = None
    rests_until: float = 0.0


@dataclass(slots=True)
class Members:
    """All addresses. Safe to use from several threads."""

    each: tuple[Member, ...]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, urls: Sequence[str], token: Secret, org: str, network: Network, *, basic: bool) -> Members:
        """Clients for addresses, which take the same token; with `basic` as a user and a password.

        Raises:
            SettingsError: a file is missing, or the environment's proxy is none.
        """
        # InfluxDB 1.x reads a token up to a space, and takes a user and a password in this form as well.
        basic = basic or (":" in token.reveal() and " " in token.reveal())
        # Headers are written in Latin-1, and InfluxDB reads UTF-8: with these characters its bytes are that.
        text = token.reveal() if basic else token.reveal().encode("utf-8").decode("latin-1")
        made = []
        for url in urls:
            proxy = proxy_for(url, network.proxy)
            options = network.options(proxy)
            client = InfluxDBClient(url=url, token=text, org=org, enable_gzip=True, auth_basic=basic, **options)
            made.append(Member(url, client, proxy))
        return cls(tuple(made))

    def in_turn(self) -> list[Member]:
        """Those to try, in order; those that failed lately are the last."""
        with self._lock:
            now = time.monotonic()
            # Of those that rest the one that has rested longest comes first.
            return sorted(self.each, key=lambda member: max(0.0, member.rests_until - now))

    def rest(self, member: Member) -> None:
        """Let one rest that has failed."""
        with self._lock:
            member.rests_until = time.monotonic() + REST

    def name_org(self, org: str) -> None:
        """Let Flux queries name an organisation."""
        for member in self.each:
            member.client.org = org

    def close(self) -> None:
        """Close the connections."""
        for member in self.each:
            member.client.close()
