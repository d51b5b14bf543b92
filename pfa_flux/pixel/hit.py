"""Turns a request into its page view. This is a pure function of Referer, Host and a few flags.

It reads nothing else of a request, and the result has only scheme, domain and page.
"""

from __future__ import annotations

import enum
import re
from typing import Literal, NamedTuple, Protocol

from pfa_flux.names import domain_and_port
from pfa_flux.schema import Side
from pfa_flux.settings.rules import DEFAULT_PORTS, Rules

Kind = Literal["hit", "load", "prefetch"]
HIT, LOAD = Side.HITS.one, Side.LOADS.one
KINDS: tuple[Kind, ...] = (HIT, LOAD, "prefetch")

UNKNOWN, OTHER = "(unknown)", "(other)"
"""Page of hits without a page, and page of hits beyond the limits."""

LONGEST_PAGE = 1024
"""Maximum characters of a page; a longer one counts as `(other)`."""

_REFERER = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)([^?#]*)", re.DOTALL)


class Reason(enum.StrEnum):
    """Why a well-formed request was answered but not counted."""

    DESTINATION = "destination"
    PREFETCH = "prefetch"
    OPT_OUT = "opt_out"
    NO_REFERER = "no_referer"
    MALFORMED_REFERER = "malformed_referer"
    NON_ASCII_HOST = "non_ascii_host"
    SCHEME = "scheme"
    DOMAIN_NOT_ALLOWED = "domain_not_allowed"
    TOO_MANY_DOMAINS = "too_many_domains"
    CHECK = "check"
    SKIPPED_OWN = "skipped_own"
    SKIPPED_BOT = "skipped_bot"
    SKIPPED_PREVIEW = "skipped_preview"
    SKIPPED_OTHER = "skipped_other"

    @property
    def skipped(self) -> str:
        """The keyword with which the front asked not to count; empty if the reason is the pixel's own."""
        return self.value.removeprefix(_SKIPPED) if self.value.startswith(_SKIPPED) else ""


_SKIPPED = "skipped_"
_SKIPS = {reason.skipped.encode(): reason for reason in Reason if reason.skipped}


class View(NamedTuple):
    """A page view: everything that is stored about a request."""

    kind: Kind
    scheme: str
    domain: str
    page: str


class Asked(Protocol):
    """The parts of a request that are read. Header values are as sent; None if absent."""

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
        """Sec-Purpose, Purpose, X-Purpose or X-Moz say that nobody is viewing the page yet."""

    @property
    def gpc(self) -> bool:
        """Sec-GPC: 1."""

    @property
    def dnt(self) -> bool:
        """DNT: 1."""

    @property
    def embedded(self) -> bool:
        """The pixel was requested by a page, not opened alone, such as from the address bar (Sec-Fetch-Dest)."""

    @property
    def skip(self) -> bytes | None:
        """X-Pfa-Skip."""

    @property
    def check(self) -> bool:
        """The request has the mark of `pfa-flux doctor`."""


def page_view(kind: Kind, asked: Asked, rules: Rules) -> View | Reason:
    """The page view of a request, or the reason why it does not count."""
    return Reason.CHECK if asked.check else without_mark(kind, asked, rules)


def without_mark(kind: Kind, asked: Asked, rules: Rules) -> View | Reason:
    """The result of a request from `pfa-flux doctor` if it had no mark. For other requests, their page view."""
    if asked.skip:
        return _SKIPS.get(asked.skip.lower(), Reason.SKIPPED_OTHER)
    return of_anybody(kind, asked, rules)


def of_anybody(kind: Kind, asked: Asked, rules: Rules) -> View | Reason:
    """The result as for any other client: ignores what the front says about this one."""
    if not asked.embedded:
        return Reason.DESTINATION
    # The mark contains "prefetch", so older pixels do not count it either.
    if asked.prefetch and not asked.check:
        return Reason.PREFETCH
    return once_seen(kind, asked, rules)


def once_seen(kind: Kind, asked: Asked, rules: Rules) -> View | Reason:
    """The result once somebody views the page: for a prefetch, the view that may follow."""
    wishes = rules.settings.opt_out
    if wishes and ((asked.gpc and "gpc" in wishes) or (asked.dnt and "dnt" in wishes)):
        return Reason.OPT_OUT
    referer = asked.referer
    if not referer or referer[:1] == b"/":
        return _by_host(kind, referer, asked, rules)
    parts = _REFERER.match(referer)
    if parts is None:
        return Reason.MALFORMED_REFERER
    scheme = parts[1].decode("ascii").lower()
    if scheme not in DEFAULT_PORTS:
        return Reason.SCHEME
    named = domain_of(parts[2], scheme)
    if named is None:
        # Browsers send hosts as A-labels.
        return Reason.MALFORMED_REFERER if parts[2].isascii() else Reason.NON_ASCII_HOST
    domain = rules.counted(named)
    if domain is None:
        return Reason.DOMAIN_NOT_ALLOWED
    return View(kind, scheme, domain, page_of(parts[3], rules))


def _by_host(kind: Kind, referer: bytes | None, asked: Asked, rules: Rules) -> View | Reason:
    """The result for a Referer without a host: I2P's proxy cuts it to the path, and some browsers send none."""
    settings = rules.settings
    if not referer and settings.no_referer == "reject":
        return Reason.NO_REFERER
    host, proto = asked.host, b"http"
    if settings.trust_proxy:
        # In a chain of proxies, the first entry is the browser's.
        host = (asked.forwarded_host or b"").partition(b",")[0].strip() or host
        proto = (asked.forwarded_proto or b"").partition(b",")[0].strip().lower() or proto
    scheme = "https" if proto == b"https" else "http"
    named = domain_of(host, scheme) if host else None
    domain = rules.counted(named) if named else None
    if domain is None:
        return Reason.DOMAIN_NOT_ALLOWED if referer and named else Reason.NO_REFERER
    if not referer:
        return View(kind, scheme, domain, UNKNOWN if settings.page == "path" else "")
    path = re.split(rb"[?#]", referer, maxsplit=1)[0]
    return View(kind, scheme, domain, page_of(path, rules))


def domain_of(authority: bytes, scheme: str) -> str | None:
    """Domain of `user@host:port`, canonical and without the scheme's default port; None if it is invalid.

    https://www.rfc-editor.org/rfc/rfc3986#section-3.2
    """
    host = authority.rpartition(b"@")[2]
    return domain_and_port(host.decode("ascii"), DEFAULT_PORTS[scheme]) if host.isascii() else None


def page_of(path: bytes, rules: Rules) -> str:
    """Page of a path: canonical, after the rules were applied."""
    if rules.settings.page == "off":
        return ""
    page = rules.page(path.decode("utf-8", "surrogateescape"))
    return page if len(page) <= LONGEST_PAGE else OTHER
