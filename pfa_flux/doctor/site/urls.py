"""Addresses as browsers send them: hosts as A-labels, paths and queries in ASCII, no user and password.

https://url.spec.whatwg.org/
"""

from __future__ import annotations

from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from pfa_flux.errors import InvalidValueError
from pfa_flux.names import domain
from pfa_flux.settings.rules import DEFAULT_PORTS

_SAFE = "!$%&'()*+,/:;=@[]~|^?"


def as_sent(url: str) -> str:
    """An http or https address as a browser sends it, without its fragment; empty if it is not one."""
    try:
        parts = urlsplit(url.strip())
        if parts.scheme not in DEFAULT_PORTS:
            return ""
        host = domain(host_of(url.strip()), DEFAULT_PORTS[parts.scheme])
    except (ValueError, InvalidValueError):
        return ""
    path, query = quote(parts.path or "/", safe=_SAFE), quote(parts.query, safe=_SAFE)
    # Blockers match a bare question mark as an empty query.
    mark = "?" if not query and url.partition("#")[0].endswith("?") else ""
    return urlunsplit((parts.scheme, host, path, query, "")) + mark


def resolve(base: str, text: str) -> str:
    """An address resolved against a base; empty if the result is not http or https."""
    try:
        return as_sent(urljoin(base, text.strip()))
    except ValueError:
        return ""


def host_of(url: str) -> str:
    """Host and port of an address."""
    return urlsplit(url).netloc.rpartition("@")[2]


def origin(url: str) -> str:
    """Scheme, host and port of an address in the form that browsers send."""
    return f"{urlsplit(url).scheme}://{host_of(url)}"
