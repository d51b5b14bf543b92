"""From a request to the page view that it stands for: a pure function of its Referer, Host and a few flags.

Nothing else of a request is looked at, and nothing of it but scheme, domain and page comes out.
"""

from __future__ import annotations

import enum
import re
from typing import Literal, NamedTuple, Protocol

from pfa_flux.names import domain_and_port
from pfa_flux.rules import DEFAULT_PORTS, Rules

Kind = Literal["hit", "load", "prefetch"]

UNKNOWN, OTHER = "(unknown)", "(other)"
"""Pages of hits that say none, and of those beyond the bounds."""

LONGEST_PAGE = 1024
"""Characters of a page; a longer one counts as `(other)`."""

_REFERER = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)([^?#]*)", re.DOTALL)


class Reason(enum.StrEnum):
    """Why a well-formed request was answered and not counted."""

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
        """In a word why whoever stands before the pixel did not want it counted; empty where the reason is our own."""
        return self.value.removeprefix(_SKIPPED) if self.value.startswith(_SKIPPED) else ""


_SKIPPED = "skipped_"
_SKIPS = {reason.skipped.encode(): reason for reason in Reason if reason.skipped}


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
        """Sec-Purpose, Purpose, X-Purpose or X-Moz say that nobody looks at the page, not yet at least."""

    @property
    def gpc(self) -> bool:
        """Sec-GPC: 1."""

    @property
    def dnt(self) -> bool:
        """DNT: 1."""

    @property
    def embedded(self) -> bool:
        """Sec-Fetch-Dest does not say that the pixel is opened by itself, as in the address bar."""

    @property
    def skip(self) -> bytes | None:
        """X-Pfa-Skip."""

    @property
    def check(self) -> bool:
        """It has the mark of `pfa-flux doctor`."""


def page_view(kind: Kind, asked: Asked, rules: Rules) -> View | Reason:
    """The page view of a request, or why it does not count."""
    return Reason.CHECK if asked.check else without_mark(kind, asked, rules)


def without_mark(kind: Kind, asked: Asked, rules: Rules) -> View | Reason:
    """What a request of `pfa-flux doctor` would be without its mark; of any other, its page view."""
    if asked.skip:
        return _SKIPS.get(asked.skip.lower(), Reason.SKIPPED_OTHER)
    return of_anybody(kind, asked, rules)


def of_anybody(kind: Kind, asked: Asked, rules: Rules) -> View | Reason:
    """The same, whatever the front says of who asks."""
    if not asked.embedded:
        return Reason.DESTINATION
    # The mark itself says prefetch, so that a pixel which does not know it counts nothing either.
    if asked.prefetch and not asked.check:
        return Reason.PREFETCH
    return once_seen(kind, asked, rules)


def once_seen(kind: Kind, asked: Asked, rules: Rules) -> View | Reason:
    """The same, once somebody looks at the page: what a prefetch stands for."""
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
        # Browsers send A-labels.
        return Reason.MALFORMED_REFERER if parts[2].isascii() else Reason.NON_ASCII_HOST
    domain = rules.counted(named)
    if domain is None:
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
    named = domain_of(host, scheme) if host else None
    domain = rules.counted(named) if named else None
    if domain is None:
        return Reason.DOMAIN_NOT_ALLOWED if referer and named else Reason.NO_REFERER
    if not referer:
        return View(kind, scheme, domain, UNKNOWN if settings.page == "path" else "")
    path = re.split(rb"[?#]", referer, maxsplit=1)[0]
    return View(kind, scheme, domain, page_of(path, rules))


def domain_of(authority: bytes, scheme: str) -> str | None:
    """Domain of `user@host:port`, canonical and without the scheme's default port; None if it is none.

    https://www.rfc-editor.org/rfc/rfc3986#section-3.2
    """
    host = authority.rpartition(b"@")[2]
    return domain_and_port(host.decode("ascii"), DEFAULT_PORTS[scheme]) if host.isascii() else None


def page_of(path: bytes, rules: Rules) -> str:
    """Page of a path: canonical, and as the rules have it."""
    if rules.settings.page == "off":
        return ""
    page = rules.page(path.decode("utf-8", "surrogateescape"))
    return page if len(page) <= LONGEST_PAGE else OTHER
