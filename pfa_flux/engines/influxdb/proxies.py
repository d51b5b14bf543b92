"""The proxy for an address, from the settings or from the usual environment variables.

HTTPS_PROXY and HTTP_PROXY name the proxy for a scheme. NO_PROXY lists the hosts to reach without a proxy. Each variable
may also be in lower case. Loopback addresses never use a proxy.
https://www.gnu.org/software/wget/manual/html_node/Proxies.html
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment

from pfa_flux.errors import SettingsError
from pfa_flux.settings import NO_PROXY, Secret


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        url: address, without user and password.
        login: `user:password`, or empty.
        source: name of the setting or variable, for messages.
    """

    url: str
    login: Secret
    source: str


def proxy_for(url: str, setting: str) -> Proxy | None:
    """The proxy for an address, or None.

    Args:
        url: the address.
        setting: value of the setting: a proxy's address, `NO_PROXY`, or empty.

    Raises:
        SettingsError: the proxy in the environment is not an http or https address.
    """
    parts = urlsplit(url)
    host, variables = parts.hostname or "", getproxies_environment()
    excluded = variables.get("no", "")
    if setting == NO_PROXY or _is_loopback(host) or _is_excluded(parts.netloc.lower(), host, excluded):
        return None
    if setting:
        return Proxy(setting, Secret(""), "PFA_FLUX_PROXY")
    name = f"{parts.scheme.upper()}_PROXY"
    return _named(variables[parts.scheme], name) if variables.get(parts.scheme) else None


def _named(address: str, name: str) -> Proxy:
    """The proxy in an environment variable. Its address may have a user and password, and may lack a scheme."""
    source = name if os.environ.get(name) else name.lower()
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        hostname, port = parts.hostname, parts.port
    except ValueError:
        hostname = port = None
    if not hostname or parts.scheme not in {"http", "https"}:
        raise SettingsError(
            f"{source} is not an http or https address", f"Correct {source}, or name a proxy with PFA_FLUX_PROXY."
        )
    where = f"[{hostname}]" if ":" in hostname else hostname
    login = unquote(parts.netloc.rpartition("@")[0])
    return Proxy(f"{parts.scheme}://{where}{f':{port}' if port else ''}", Secret(login), source)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    return False


def _is_excluded(netloc: str, host: str, listed: str) -> bool:
    """Whether NO_PROXY lists the host: its name or a domain above it, with or without a port, or its network."""
    entries = [entry.strip().lower() for entry in listed.split(",") if entry.strip()]
    names = [entry.removeprefix("*").removeprefix(".") for entry in entries if entry != "*"]
    if "*" in entries or any(each == name or each.endswith(f".{name}") for name in names for each in (netloc, host)):
        return True
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        return any(address in network for network in _networks(entries))
    return False


def _networks(entries: Sequence[str]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The networks among the entries, such as 10.0.0.0/8."""
    networks = []
    for entry in entries:
        with contextlib.suppress(ValueError):
            networks.append(ipaddress.ip_network(entry, strict=False))
    return networks
