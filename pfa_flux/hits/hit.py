"""From a request to the page view that it stands for: a pure function of its Referer, Host and a few flags.

Nothing else of a request is looked at, and nothing of it but scheme, domain and page comes out.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property
from ipaddress import AddressValueError, IPv6Address
from typing import Literal, NamedTuple, Protocol
from urllib.parse import unquote

from pfa_flux.pixel_settings import PixelSettings
from pfa_flux.schema import without_port

Kind = Literal["hit", "load"]

UNKNOWN, OTHER = "(unknown)", "(other)"
"""Pages of hits that say none, and of those beyond the bounds."""

LONGEST_PAGE = 1024
"""Characters of a page; a longer one counts as `(other)`."""

_PORTS = {"http": "80", "https": "443"}
_REFERER = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)([^?#]*)", re.DOTALL)
_PORT = re.compile(r"(?::([0-9]{0,5}))?")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# What line protocol cannot carry or a reader would not see. What is printable stays as it was sent.
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029]|\\$")
_LONGEST_DOMAIN, _LONGEST_LABEL = 253, 63


class Reason(enum.StrEnum):
    """Why a well-formed request was answered and not counted."""

    PREFETCH = "prefetch"
    OPT_OUT = "opt_out"
    NO_REFERER = "no_referer"
    MALFORMED_REFERER = "malformed_referer"
    SCHEME = "scheme"
    DOMAIN_NOT_ALLOWED = "domain_not_allowed"
    TOO_MANY_DOMAINS = "too_many_domains"


class View(NamedTuple):
    """A page view: what is stored of a request, and all of it."""

    kind: Kind
    scheme: str
    domain: str
    page: str


class Asked(Protocol):
    """What is looked at of a request. Header values as they were sent, None where there was none."""

    @property
    def referer(self) -> bytes | None:
        """Referer."""

    @property
    def host(self) -> bytes | None:
        """Host."""

    @property
    def forwarded_host(self) -> bytes | None:
        """X-Forwarded-Host."""

    @property
    def forwarded_proto(self) -> bytes | None:
        """X-Forwarded-Proto."""

    @property
    def prefetch(self) -> bool:
        """Sec-Purpose, Purpose or X-Moz say that nobody looks at the page, not yet at least."""

    @property
    def gpc(self) -> bool:
        """Sec-GPC: 1."""

    @property
    def dnt(self) -> bool:
        """DNT: 1."""


@dataclass(frozen=True)
class Rules:
    """The settings, made ready to be applied."""

    settings: PixelSettings

    @cached_property
    def exact(self) -> frozenset[str]:
        """Domains that count, where there is a list; in the form that `domain_of` gives, with either default port."""
        named = [domain.encode() for domain in self.settings.domains if not domain.startswith("*.")]
        found = (domain_of(domain, scheme) for domain in named for scheme in _PORTS)
        return frozenset(domain for domain in found if domain)

    @cached_property
    def below(self) -> tuple[str, ...]:
        """Ends of the domains that count: of `*.example.com` all below, not itself."""
        named = [domain[2:].encode() for domain in self.settings.domains if domain.startswith("*.")]
        return tuple(f".{domain}" for domain in (domain_of(each, "http") for each in named) if domain)

    @cached_property
    def masks(self) -> Sequence[tuple[re.Pattern[str], str]]:
        """Patterns of pages that are kept as the pattern."""
        flags = re.DOTALL | (re.IGNORECASE if self.settings.lower_case else 0)
        return [(re.compile(translate(mask), flags), mask) for mask in self.settings.masks]

    def allows(self, domain: str) -> bool:
        """The domain counts. A port is no part of what the list names, unless it names it."""
        if not self.settings.domains:
            return True
        bare = without_port(domain)
        return domain in self.exact or bare in self.exact or bare.endswith(self.below)


def page_view(kind: Kind, asked: Asked, rules: Rules) -> View | Reason:
    """The page view of a request, or why it does not count."""
    if asked.prefetch:
        return Reason.PREFETCH
    wishes = rules.settings.opt_out
    if wishes and ((asked.gpc and "gpc" in wishes) or (asked.dnt and "dnt" in wishes)):
        return Reason.OPT_OUT
    referer = asked.referer
    if not referer or (referer[:1] == b"/" and referer[:2] != b"//"):
        return _by_host(kind, referer, asked, rules)
    parts = _REFERER.match(referer)
    if parts is None:
        return Reason.MALFORMED_REFERER
    scheme = parts[1].decode("ascii").lower()
    if scheme not in _PORTS:
        return Reason.SCHEME
    domain = domain_of(parts[2], scheme)
    if domain is None:
        return Reason.MALFORMED_REFERER
    if not rules.allows(domain):
        return Reason.DOMAIN_NOT_ALLOWED
    return View(kind, scheme, domain, page_of(parts[3], rules))


def _by_host(kind: Kind, referer: bytes | None, asked: Asked, rules: Rules) -> View | Reason:
    """Of a request whose Referer names no host: I2P's proxy cuts it to the path, some browsers send none."""
    settings = rules.settings
    if not referer and settings.no_referer == "reject":
        return Reason.NO_REFERER
    host, proto = asked.host, b"http"
    if settings.trust_proxy:
        # Of a chain of proxies the first entry is what the browser asked for.
        host = (asked.forwarded_host or b"").partition(b",")[0].strip() or host
        proto = (asked.forwarded_proto or b"").partition(b",")[0].strip().lower() or proto
    scheme = "https" if proto == b"https" else "http"
    domain = domain_of(host, scheme) if host else None
    if domain is None or not rules.allows(domain):
        return Reason.DOMAIN_NOT_ALLOWED if referer and domain else Reason.NO_REFERER
    if not referer:
        return View(kind, scheme, domain, UNKNOWN if settings.page == "path" else "")
    path = re.split(rb"[?#]", referer, maxsplit=1)[0]
    return View(kind, scheme, domain, page_of(path, rules))


def domain_of(authority: bytes, scheme: str) -> str | None:
    """Domain of `user@host:port`: lower case, A-labels, without user, default port and final dot; None if it is none.

    https://www.rfc-editor.org/rfc/rfc3986#section-3.2; internationalised names by IDNA 2003, which the standard
    library has (https://www.rfc-editor.org/rfc/rfc3490).
    """
    try:
        text = authority.rpartition(b"@")[2].decode("utf-8").lower()
    except UnicodeDecodeError:
        return None
    host, bracket, rest = text.partition("]") if text.startswith("[") else (text.partition(":")[0], "", "")
    port = _PORT.fullmatch(rest if bracket else text[len(host) :])
    if port is None:
        return None
    if bracket:
        if "%" in host:
            # A zone, which may be any text; it means something on the visitor's machine alone.
            return None
        try:
            name = f"[{IPv6Address(host[1:]).compressed}]"
        except (AddressValueError, ValueError):
            return None
    else:
        found = _name(host)
        if found is None:
            return None
        name = found
    number = (port[1] or "").lstrip("0") or ("0" if port[1] else "")
    if number and int(number) > 65535:
        return None
    return name if number in ("", _PORTS[scheme]) else f"{name}:{number}"


def _name(host: str) -> str | None:
    host = host.removesuffix(".")
    # Before it is made an A-label, too, which takes the time of the square of a label's length.
    if not 0 < len(host) <= _LONGEST_DOMAIN or max(map(len, host.split("."))) > _LONGEST_LABEL:
        return None
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            return None
        if len(host) > _LONGEST_DOMAIN:
            return None
    return host if all(_LABEL.fullmatch(label) for label in host.split(".")) else None


def page_of(path: bytes, rules: Rules) -> str:
    """Page of a path: percent-encoding as it was sent, and so encoded what a store could not carry."""
    settings = rules.settings
    if settings.page == "off":
        return ""
    text = _UNSAFE.sub(_encoded, path.decode("utf-8", "surrogateescape")) or "/"
    # Bytes that are no UTF-8.
    if not text.isprintable():
        text = "".join(char if char.isprintable() else _percent(char) for char in text)
    if settings.lower_case:
        text = text.lower()
    if rules.masks:
        # Both as it was sent and as it is meant: /%72eset/… holds the same secret as /reset/….
        forms = (text, unquote(text))
        for pattern, mask in rules.masks:
            if any(map(pattern.fullmatch, forms)):
                return mask
    if settings.strip_index and text.endswith("/index.html"):
        text = text[: -len("index.html")]
    if settings.trailing_slash == "strip":
        text = _UNSAFE.sub(_encoded, text.rstrip("/")) or "/"
    elif settings.trailing_slash == "add" and not text.endswith("/"):
        text += "/"
    return text if len(text) <= LONGEST_PAGE else OTHER


def _encoded(found: re.Match[str]) -> str:
    return _percent(found[0])


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape"))
