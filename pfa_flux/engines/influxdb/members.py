"""The addresses of a server or cluster, with a client for each. Addresses that failed recently are tried last."""

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
"""How many seconds a failed address comes after all others."""

_FILES = {"ca_file": "ssl_ca_cert", "client_cert": "cert_file", "client_key": "cert_key_file"}
"""Settings with names of files, and the client's names for them."""


@dataclass(frozen=True, slots=True)
class Network:
    """How to reach servers.

    Attributes:
        timeout: seconds to wait for an answer.
        ca_file: certificate authorities to trust instead of the system's.
        client_cert: client certificate.
        client_key: key of the client certificate, if it is in another file.
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
        """The network options of the settings."""
        names = ("timeout", "ca_file", "client_cert", "client_key", "proxy", "consistency", "replication")
        return cls(**{name: getattr(settings, name) for name in names})

    def options(self, proxy: Proxy | None) -> dict[str, Any]:
        """Arguments for the client.

        Raises:
            SettingsError: a file is missing, or this user may not read it.
        """
        arguments: dict[str, Any] = {"timeout": self.timeout * 1000}
        for key, argument in _FILES.items():
            if path := getattr(self, key):
                _check_readable(key, path)
                arguments[argument] = path
        if proxy is not None:
            arguments["proxy"] = proxy.url
            if proxy.login:
                encoded = base64.b64encode(proxy.login.reveal().encode()).decode()
                arguments["proxy_headers"] = {"Proxy-Authorization": f"Basic {encoded}"}
        return arguments


def _check_readable(key: str, path: str) -> None:
    try:
        Path(path).open("rb").close()
    except OSError as error:
        raise SettingsError(
            f"{key} {path} cannot be read: {error.strerror or type(error).__name__}",
            f"Check PFA_FLUX_{key.upper()}, and the permissions of the file.",
        ) from error


@dataclass(slots=True)
class Member:
    """One address.

    Attributes:
        url: address for requests.
        client: client with its connections.
        proxy: proxy in front of the address, or None.
        rests_until: when the address stops being tried last, by the monotonic clock.
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
        """Clients for addresses with the same token. With `basic`, the token is a user and a password.

        Raises:
            SettingsError: a file is missing, or the environment's proxy is not an address.
        """
        # InfluxDB 1.x reads a token only up to a space, but it also accepts basic authentication.
        basic = basic or (":" in token.reveal() and " " in token.reveal())
        # The client writes headers in Latin-1, and InfluxDB reads UTF-8. This conversion makes the bytes UTF-8.
        text = token.reveal() if basic else token.reveal().encode("utf-8").decode("latin-1")
        made = []
        for url in urls:
            proxy = proxy_for(url, network.proxy)
            options = network.options(proxy)
            client = InfluxDBClient(url=url, token=text, org=org, enable_gzip=True, auth_basic=basic, **options)
            made.append(Member(url, client, proxy))
        return cls(tuple(made))

    def in_turn(self) -> list[Member]:
        """The addresses in the order to try them. Addresses that failed recently are last."""
        with self._lock:
            now = time.monotonic()
            # Among failed addresses, the one that failed first comes first.
            return sorted(self.each, key=lambda member: max(0.0, member.rests_until - now))

    def rest(self, member: Member) -> None:
        """Try a failed address last for some time."""
        with self._lock:
            member.rests_until = time.monotonic() + REST

    def name_org(self, org: str) -> None:
        """Set the organisation for Flux queries."""
        for member in self.each:
            member.client.org = org

    def close(self) -> None:
        """Close the connections."""
        for member in self.each:
            member.client.close()
