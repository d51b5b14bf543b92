"""The pixel itself: requests in, page views into the journal, and a GIF out once they are on disk."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from pfa_flux.hits.connection import Connection
from pfa_flux.hits.hit import OTHER, Kind, Reason, Rules, View, page_view
from pfa_flux.hits.http import Request, answer
from pfa_flux.times import NS

GIF = bytes.fromhex(
    "474946383961 01000100 800000 000000ffffff"  # GIF89a, one by one, two colours
    "21f90401000000 00 2c 00000000 01000100 00"  # the first of them transparent; the image
    "02024401 00 3b"
)
"""One transparent dot, 43 bytes. https://www.w3.org/Graphics/GIF/spec-gif89a.txt"""

_SHED = "shed"
_GATHER = 0.001
"""Seconds that a commit waits for further hits, as long as such come in."""
_RETRY = 0.002
"""Seconds until a journal that another process is writing to is tried again."""
_PATIENCE = 5.0
"""Seconds that hits wait for it before they are shed."""
_MOST_KNOWN = 16_384
"""Referers that are remembered with their page view."""
_LONGEST_KNOWN = 256
"""Bytes of such a one: what all of them may take together is bounded."""


class Page:
    """A page view that has been seen, with what the journal knows it by."""

    __slots__ = ("id", "view")

    def __init__(self, view: View) -> None:
        self.view = view
        self.id = 0
        """The journal's own, 0 where it has none yet."""


class Busy(Exception):  # noqa: N818 - no error: it is tried again
    """The journal is being written to by another process just now."""


class Journal(Protocol):
    """Where hits are kept before they are answered."""

    def commit(self, pages: list[Page], now: int) -> None:
        """Keep a hit of each page, for good.

        Raises:
            Busy: not now. OSError: it cannot be written to; the words say why, and name nothing that a client sent.
        """


class Pixel:
    """Counts. The application of the connections that browsers open."""

    def __init__(
        self,
        rules: Rules,
        journal: Journal,
        later: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._rules, self._journal, self._later, self._clock = rules, journal, later, clock
        settings = rules.settings
        kinds: tuple[tuple[str, Kind], ...] = ((settings.path, "hit"), (settings.load_path, "load"))
        self._known: dict[bytes, dict[bytes, Page]] = {path.encode(): {} for path, _ in kinds if path}
        self._kinds: dict[bytes, Kind] = {path.encode(): kind for path, kind in kinds if path}
        self._pages: dict[View, Page] = {}
        self._pages_of: Counter[tuple[str, str]] = Counter()
        self._made_up: Counter[Kind] = Counter()
        """Of the domains those that are not named in the settings."""
        self._batch: list[Page] = []
        self._waiting: list[Connection] = []
        self._due = False
        self._seen = 0
        self._since = 0.0
        self._gifs_of = (-1, "")
        self._gifs = (b"", b"")
        self.on_hold = False
        self.counted: Counter[Kind] = Counter()
        self.rejected: Counter[str] = Counter()
        self.refused_requests: Counter[int] = Counter()
        self.shed = 0
        self.shed_why = ""
        self.heads = self.not_found = self.bad_methods = self.folded = 0

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths it counts at."""
        return tuple(path.decode() for path in self._kinds)

    @property
    def domains(self) -> int:
        """Distinct domains it has seen."""
        return len({domain for _, domain in self._pages_of})

    @property
    def pages(self) -> int:
        """Distinct pages it has seen."""
        return len(self._pages)

    def handle(self, request: Request, connection: Connection) -> None:
        """Answer a request, or count it and let its answer wait for the journal."""
        known = self._known.get(request.path)
        if known is None:
            self.not_found += 1
            connection.answer(answer(404, close=not request.keep_alive, head=request.method == b"HEAD"))
            return
        if request.method != b"GET":
            self._other_method(request, connection)
            return
        page = known.get(request.referer) if request.plain and request.referer else None
        if page is None:
            found = self._look(request)
            if not isinstance(found, Page):
                self.rejected[found] += 1
                connection.answer(_gif(found.value, close=not request.keep_alive))
                return
            page = found
        self._batch.append(page)
        if connection.hold():
            self._waiting.append(connection)
        if not self._due:
            self._due = True
            self._since = time.monotonic()
            self._later(0, self.flush)

    def refused(self, status: int, why: str) -> None:
        """Count a request that was malformed or too large."""
        del why
        self.refused_requests[status] += 1

    def flush(self) -> None:
        """Commit the hits of this turn of the loop together, then send their GIFs."""
        batch, waiting = self._batch, self._waiting
        if len(batch) > self._seen and time.monotonic() - self._since < _GATHER:
            # A commit costs the same for one hit as for a hundred: as long as more come in, it waits for them.
            self._seen = len(batch)
            self._later(0, self.flush)
            return
        self._seen = 0
        if not batch:
            self._due = False
            return
        now, reason = self._clock(), ""
        try:
            if self.on_hold:
                raise Busy
            self._journal.commit(batch, now)
        except Busy:
            if time.monotonic() - self._since < _PATIENCE:
                self._later(_RETRY, self.flush)
                return
            self._shed(len(batch), "the journal is being written to by another process")
            reason = _SHED
        except OSError as error:
            self._shed(len(batch), str(error))
            reason = _SHED
        else:
            loads = sum(page.view.kind == "load" for page in batch) if len(self._kinds) > 1 else 0
            self.counted["hit"] += len(batch) - loads
            self.counted["load"] += loads
        if self._gifs_of != (now // NS, reason):
            # Their Date is of this second; all of it share them.
            self._gifs_of = now // NS, reason
            self._gifs = _gif(reason, close=False), _gif(reason, close=True)
        self._batch, self._waiting, self._due = [], [], False
        for connection in waiting:
            connection.release(*self._gifs)

    def _shed(self, count: int, why: str) -> None:
        self.shed += count
        self.shed_why = why

    def _other_method(self, request: Request, connection: Connection) -> None:
        close = not request.keep_alive
        if request.method == b"HEAD":
            self.heads += 1
            connection.answer(answer(200, GIF, _GIF_HEADERS, close=close, head=True))
        else:
            self.bad_methods += 1
            connection.answer(answer(405, headers={"Allow": "GET, HEAD"}, close=close))

    def _look(self, request: Request) -> Page | Reason:
        """The page of a request that is not known by its Referer alone."""
        found = page_view(self._kinds[request.path], request, self._rules)
        if not isinstance(found, View):
            return found
        page = self._page(found)
        referer = request.referer
        # What is remembered says no more than the page view itself: no query, fragment or user.
        if isinstance(page, Page) and referer and request.plain and _is_worth_knowing(referer):
            known = self._known[request.path]
            if len(known) >= _MOST_KNOWN:
                known.clear()
            known[referer] = page
        return page

    def _page(self, view: View) -> Page | Reason:
        """The page of a view, within the bounds of distinct domains and pages."""
        page = self._pages.get(view)
        if page is not None:
            return page
        settings, place = self._rules.settings, (view.kind, view.domain)
        # A domain that is not named itself, but allowed by a wildcard or with any port, is the client's to make up.
        if view.domain not in self._rules.exact and place not in self._pages_of:
            if self._made_up[view.kind] >= settings.max_domains:
                return Reason.TOO_MANY_DOMAINS
            self._made_up[view.kind] += 1
        elif self._pages_of[place] >= settings.max_pages and view.page != OTHER:
            self.folded += 1
            return self._page(view._replace(page=OTHER))
        self._pages_of[place] += 1
        page = self._pages[view] = Page(view)
        return page


def _is_worth_knowing(referer: bytes) -> bool:
    return (
        len(referer) <= _LONGEST_KNOWN
        and referer[:1] != b"/"
        and not (b"?" in referer or b"#" in referer or b"@" in referer)
    )


_GIF_HEADERS = {
    "Content-Type": "image/gif",
    # A browser that answers from its cache would not be counted.
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


def _gif(reason: str, *, close: bool) -> bytes:
    """The pixel as an answer, with the reason why it was not counted, empty where it was."""
    return answer(200, GIF, {**_GIF_HEADERS, "X-Pfa-Flux": reason} if reason else _GIF_HEADERS, close=close)
