"""Which proxy stands before an address: by the setting, or by the variables that other programs read, too.

HTTPS_PROXY and HTTP_PROXY name it by the scheme of the address, NO_PROXY lists what is reached without one, each also
in lower case. Loopback never goes through a proxy.
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
        url: its address, without user and password.
        login: `user:password` for it, empty where it wants none.
        source: what names it, for messages.
    """

    url: str
    login: Secret
    source: str


def proxy_for(url: str, setting: str) -> Proxy | None:
    """The proxy that an address is reached through; None where it is reached without one.

    Args:
        url: the address.
        setting: what the settings say: a proxy's address, `NO_PROXY`, or nothing.

    Raises:
        SettingsError: the environment names something that is no http or https address.
    """
    parts = urlsplit(url)
    host, found = parts.hostname or "", getproxies_environment()
    if setting == NO_PROXY or _is_loopback(host) or _is_left_out(parts.netloc.lower(), host, found.get("no", "")):
        return None
    if setting:
        return Proxy(setting, Secret(""), "PFA_FLUX_PROXY")
    name = f"{parts.scheme.upper()}_PROXY"
    return _named(found[parts.scheme], name) if found.get(parts.scheme) else None


def _named(address: str, name: str) -> Proxy:
    """A proxy as the environment names it: maybe with a user and a password, maybe without a scheme."""
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


def _is_left_out(netloc: str, host: str, listed: str) -> bool:
    """NO_PROXY lists the host: by its name or one above it, with or without a port, or by its network."""
    entries = [entry.strip().lower() for entry in listed.split(",") if entry.strip()]
    names = [entry.removeprefix("*").removeprefix(".") for entry in entries if entry != "*"]
    if "*" in entries or any(each == name or each.endswith(f".{name}") for name in names for each in (netloc, host)):
        return True
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        return any(address in network for network in _networks(entries))
    return False


def _networks(entries: Sequence[str]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The networks among the entries of a list, such as 10.0.0.0/8."""
    found = []
    for entry in entries:
        with contextlib.suppress(ValueError):
            found.append(ipaddress.ip_network(entry, strict=False))
    return found
