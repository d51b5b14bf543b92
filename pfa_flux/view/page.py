"""The live page as an application: turns requests into answers, without a socket.

Each request opens and closes the engine. So concurrent requests share no connection, and the page works again as soon
as the database does, even if it is another store.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from pfa_flux.analytics import Analytics
from pfa_flux.engines.patience import NONE, patience
from pfa_flux.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    BusyError,
    InvalidValueError,
    PfaFluxError,
    SettingsError,
    TimedOutError,
    UnreachableError,
)
from pfa_flux.foreign import place
from pfa_flux.present.html import text
from pfa_flux.present.report.document import document, policy, styles_of
from pfa_flux.present.report.page import Live
from pfa_flux.present.report.page import page as report
from pfa_flux.ratio.question import Options
from pfa_flux.settings import Settings
from pfa_flux.view.controls import controls, problem_lines, trouble
from pfa_flux.view.selection import Selection, check, parse

_log = logging.getLogger("pfa_flux.live")

AT_ONCE = 4
"""Maximum number of concurrent answers; other requests wait."""
PATIENCE = 30.0
"""Maximum wait, seconds."""
_LONGEST_QUERY = 4096
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?", re.ASCII)
_TITLE = "Page views without the JavaScript analytics"
_MESSAGES: tuple[tuple[type[PfaFluxError], str], ...] = (
    (TimedOutError, "The database did not answer in time. A shorter range may help."),
    (UnreachableError, "The database cannot be reached at the moment."),
    (AccessDeniedError, "The database denied access to this page."),
    (BucketNotFoundError, "The database does not have the data for this page yet."),
    (BusyError, "The database is too busy at the moment."),
    (PfaFluxError, "The database could not answer the query."),
)
"""Messages for readers by type of error. The first match applies. The log has details."""


@dataclass(frozen=True, slots=True)
class Request:
    """The parts of a request that the page uses.

    Attributes:
        method: GET, HEAD or another.
        target: path and query, as sent.
        hosts: all Host headers.
        fetch_site: Sec-Fetch-Site; empty if absent.
        fetch_dest: Sec-Fetch-Dest; empty if absent.
    """

    method: str
    target: str
    hosts: Sequence[str]
    fetch_site: str = ""
    fetch_dest: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: status, HTML body, and additional headers."""

    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        """The encoded body. Characters that cannot be encoded become question marks."""
        return self.body.encode("utf-8", "replace")

    def all_headers(self) -> dict[str, str]:
        """All headers except those of the connection."""
        return {**_HEADERS, "Content-Length": str(len(self.content)), **self.headers}


_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": f"{policy(styles_of('controls'), forms=True)}; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class LivePage:
    """Answers requests. It is thread-safe."""

    def __init__(
        self,
        settings: Settings,
        *,
        tz: str | None = None,
        hosts: Sequence[str] = (),
        shared: bool = False,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Check the arguments. Nothing is opened yet.

        Args:
            settings: the settings.
            tz: time zone of days and intervals; None for the setting.
            hosts: host names of the page, in addition to localhost.
            shared: the page listens on an address that other machines can reach.
            clock: returns the current time, nanoseconds.

        Raises:
            InvalidValueError: the time zone does not exist.
        """
        self._settings, self._clock = settings, clock
        self._zone: ZoneInfo = Options(tz=tz).question(settings, clock()).zone
        self._names = {"localhost", *(host.lower() for host in hosts)}
        self._shared = shared
        self._places = threading.BoundedSemaphore(AT_ONCE)

    def answer(self, request: Request) -> Answer:
        """Answer a request. Errors become answers, too."""
        path, _, query = request.target.partition("?")
        if len(request.hosts) != 1 or not self._is_ours(request.hosts[0]):
            return _refusal(421, "The page is not at this address", "The page is served under another name.")
        if request.method not in {"GET", "HEAD"}:
            return _refusal(405, "This page is read-only", "", {"Allow": "GET, HEAD"})
        if path != "/":
            return _refusal(404, "This page does not exist", "")
        if request.fetch_site in {"cross-site", "same-site"} and request.fetch_dest != "document":
            # Other sites may link here, but must not send queries in the background.
            return _refusal(403, "This page cannot be embedded", "Open it at its own address.")
        if len(query) > _LONGEST_QUERY:
            return _refusal(414, "This address is too long", "")
        return self._selected(query)

    def _is_ours(self, host: str) -> bool:
        """The page may answer requests for this host.

        Anyone can register a name that resolves to this machine (DNS rebinding), but not an address. The port does not
        matter, because ssh forwarding changes it.
        """
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].lower()
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name in self._names
        return address.is_loopback or self._shared or name in self._names

    def _selected(self, query: str) -> Answer:
        selection, problems = parse(query)
        now = self._clock()
        options, more = check(selection, self._settings, self._zone, now)
        problems |= more
        above = controls(selection, self._settings.sites, problems)
        if problems:
            return _page(400, "This selection cannot be shown", above, problem_lines(problems))
        if not self._places.acquire(timeout=PATIENCE):
            return _no_figures(above, "Too many requests at the moment.", selection)
        try:
            return Answer(200, self._report(selection, options, above))
        except PfaFluxError as error:
            if isinstance(error, InvalidValueError) and not isinstance(error, SettingsError):
                message = f"{text(error.message)}. Choose a shorter range or longer intervals."
                return _page(400, "This selection cannot be shown", above, [message[:1].upper() + message[1:]])
            _log.warning("no figures: %s", error.message)
            message = next(message for kind, message in _MESSAGES if isinstance(error, kind))
            return _no_figures(above, message, selection)
        except Exception as error:
            _log.error("no figures: %s", place(error))
            return _page(500, "No figures", above, ["An unexpected error occurred. The log says where."])
        finally:
            self._places.release()

    def _report(self, selection: Selection, options: Options, above: str) -> str:
        # Do not wait for a busy database. The reader is asked to try again.
        with patience(NONE), Analytics(self._settings, clock=self._clock) as analytics:
            content = analytics.content(
                options, by=selection.by, every=selection.every or None, compare=bool(selection.compare)
            )

        def link(key: str, value: str) -> str:
            # Page views without a domain or page cannot be selected alone.
            if not value or value.startswith("("):
                return ""
            return selection.query(**{_FILTERS[key]: value}, by="", every="")

        return report(content, Live(above, link))


_FILTERS = {"domain": "of", "page": "page"}


def _page(status: int, title: str, above: str, lines: Sequence[str], headers: dict[str, str] | None = None) -> Answer:
    body = f"{above}\n{trouble(title, lines)}"
    return Answer(status, document(f"{title} – {_TITLE}", body, more_styles="controls", forms=True), headers or {})


def _no_figures(above: str, message: str, selection: Selection) -> Answer:
    again = f'The log of this page gives its operator the reason. <a href="{text(selection.query())}">Try again</a>'
    return _page(503, "No figures at the moment", above, [text(message), again], {"Retry-After": "10"})


def _refusal(status: int, title: str, message: str, headers: dict[str, str] | None = None) -> Answer:
    return _page(status, title, "", [text(message)] if message else [], headers)
