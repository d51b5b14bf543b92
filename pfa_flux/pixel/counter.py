"""The pixel: stores page views in the journal, and sends a GIF once they are on disk."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TypeGuard
from urllib.parse import quote

from pfa_flux.pixel.connection import Connection
from pfa_flux.pixel.hit import HIT, LOAD, Kind, Reason, View, of_anybody, once_seen, page_view, without_mark
from pfa_flux.pixel.http import Request, answer
from pfa_flux.pixel.keeping import Busy, Journal
from pfa_flux.pixel.pages import Page, Pages, Regular
from pfa_flux.pixel.prefetches import Prefetches
from pfa_flux.settings.pixel import respelled
from pfa_flux.settings.rules import Rules
from pfa_flux.times import NS

GIF = bytes.fromhex(
    "474946383961 01000100 800000 000000ffffff"  # GIF89a, one by one, two colours
    "21f90401000000 00 2c 00000000 01000100 00"  # the first colour is transparent; the image
    "02024401 00 3b"
)
"""One transparent pixel, 43 bytes. https://www.w3.org/Graphics/GIF/spec-gif89a.txt"""

VIEW_HEADER = "X-Pfa-Flux-View"
"""Header of the answer to `pfa-flux doctor`: `hit https example.com /page`, or why the request would not count.

If the front skips this client, the keyword for that comes first, followed by the same for any other client.
"""
_SAFE = " !\"#$%&'()*+,/:;<=>?@[]^`{|}"
"""All ASCII characters that may occur in a page. They are not encoded, so `%C3` is not encoded twice."""

_SHED = "shed"
_GATHER = 0.001
"""Seconds that a commit waits for more hits while hits keep arriving."""
_RETRY = 0.002
"""Seconds until a busy journal is tried again."""
_PATIENCE = 5.0
"""Seconds that hits wait for a busy journal before they are shed."""
_MOST_KNOWN = 16_384
"""Maximum number of Referers for which the page is remembered."""
_LONGEST_KNOWN = 256
"""Maximum bytes of a remembered Referer. Together with `_MOST_KNOWN`, this limits the memory."""


class Pixel:
    """Counts page views: the application behind the connections of browsers."""

    def __init__(
        self,
        rules: Rules,
        journal: Journal,
        later: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], int] = time.time_ns,
        regulars: Iterable[Regular] = (),
    ) -> None:
        self._rules, self._journal, self._later, self._clock = rules, journal, later, clock
        settings = rules.settings
        kinds: tuple[tuple[str, Kind], ...] = ((settings.path, HIT), (settings.load_path, LOAD))
        self.paths = tuple(path for path, _ in kinds if path)
        """Paths at which it counts."""
        self._known: dict[bytes, dict[bytes, Page]] = {}
        self._kinds: dict[bytes, Kind] = {}
        for path, kind in kinds:
            known: dict[bytes, Page] = {}
            # nginx rewrites both spellings to one. Other servers pass on the requested one.
            for spelling in {path.encode(), respelled(path).encode()} if path else ():
                self._known[spelling], self._kinds[spelling] = known, kind
        self.pages = Pages(rules, regulars, gone=self._forget)
        self._prefetches = Prefetches(self.pages)
        self._batch: list[Page] = []
        self._waiting: list[Connection] = []
        self._due = False
        self._last_size = 0
        """Number of waiting hits at the last call of `flush`."""
        self._since = 0.0
        self._gifs_key = (-1, "")
        self._gifs = (b"", b"")
        self.on_hold = False
        self.counted: Counter[Kind] = Counter()
        self.rejected: Counter[Reason] = Counter()
        self.refused_requests: Counter[int] = Counter()
        self.shed = 0
        self.shed_why = ""
        self.heads = self.not_found = self.bad_methods = 0

    def handle(self, request: Request, connection: Connection) -> None:
        """Answer a request. If it counts, its answer waits for the journal."""
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
            result = self._page_of(request)
            if not isinstance(result, Page):
                self.rejected[result] += 1
                if result is Reason.PREFETCH:
                    self._note_prefetch(request)
                close = not request.keep_alive
                headers = self._check_headers(request) if request.check else {}
                connection.answer(_gif(result.value, close=close, headers=headers))
                return
            page = result
        page.seen = self.pages.minute
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
        """Commit all waiting hits together, then send their GIFs."""
        batch, waiting = self._batch, self._waiting
        if len(batch) > self._last_size and time.monotonic() - self._since < _GATHER:
            # A commit costs the same for one hit as for a hundred, so it waits while more arrive.
            self._last_size = len(batch)
            self._later(0, self.flush)
            return
        self._last_size = 0
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
        except Exception as error:
            # An unexpected error must not block this batch and all later ones.
            self._shed(len(batch), str(error) if isinstance(error, OSError) else f"an error: {type(error).__name__}")
            reason = _SHED
        else:
            loads = sum(page.view.kind == LOAD for page in batch) if len(self.paths) > 1 else 0
            self.counted[HIT] += len(batch) - loads
            self.counted[LOAD] += loads
        if self._gifs_key != (now // NS, reason):
            # GIFs differ only in their Date, so all GIFs of one second are the same.
            self._gifs_key = now // NS, reason
            self._gifs = _gif(reason, close=False), _gif(reason, close=True)
        self._batch, self._waiting, self._due = [], [], False
        for connection in waiting:
            connection.release(*self._gifs)

    def keep_prefetches(self, *, last: bool = False) -> None:
        """Store the numbers of prefetches once a minute. If that fails, they stay for the next attempt.

        Args:
            last: store them even if the minute is not over.
        """
        prefetches = self._prefetches
        if self.on_hold or not (prefetches.due or (last and prefetches)):
            return
        try:
            self._journal.commit(prefetches.as_pages(), self._clock())
        except Exception:
            # Hits meet the same error, and report it.
            return
        prefetches.kept()

    def _note_prefetch(self, request: Request) -> None:
        view = once_seen(self._kinds[request.path], request, self._rules)
        if isinstance(view, View):
            self._prefetches.add(view)

    def _shed(self, count: int, why: str) -> None:
        self.shed += count
        self.shed_why = why

    def _other_method(self, request: Request, connection: Connection) -> None:
        close = not request.keep_alive
        if request.method == b"HEAD":
            self.heads += 1
            headers = _GIF_HEADERS | (self._check_headers(request) if request.check else {})
            connection.answer(answer(200, GIF, headers, close=close, head=True))
        else:
            self.bad_methods += 1
            connection.answer(answer(405, headers={"Allow": "GET, HEAD"}, close=close))

    def _page_of(self, request: Request) -> Page | Reason:
        """The page of a request whose Referer is not remembered, or why the request does not count."""
        view = page_view(self._kinds[request.path], request, self._rules)
        if not isinstance(view, View):
            return view
        page = self.pages.of(view)
        # Remember only Referers that equal the page view: no query, no user, nothing that a mask would hide.
        if isinstance(page, Page) and request.plain and _is_address_of(request.referer, page.view):
            known = self._known[request.path]
            if len(known) >= _MOST_KNOWN:
                known.clear()
            known[request.referer] = page
        return page

    def _check_headers(self, request: Request) -> dict[str, str]:
        """Headers of the answer to `pfa-flux doctor`: how the request would have counted.

        They depend only on the request and the settings. They reveal nothing about other clients, not even whether
        the page is known.
        """
        kind = self._kinds[request.path]
        results = [without_mark(kind, request, self._rules)]
        if isinstance(results[0], Reason) and results[0].skipped:
            # The front skips only this client, so add how the request of another client would count.
            results.append(of_anybody(kind, request, self._rules))
        text = " ".join(" ".join(each) if isinstance(each, View) else each.value for each in results)
        return {"X-Pfa-Flux": Reason.CHECK.value, VIEW_HEADER: quote(text, safe=_SAFE)}

    def _forget(self) -> None:
        """Remove all remembered Referers, because some of their pages are no longer known."""
        for known in self._known.values():
            known.clear()


def _is_address_of(referer: bytes | None, view: View) -> TypeGuard[bytes]:
    """A Referer is exactly the address of a page view."""
    return (
        referer is not None
        and len(referer) <= _LONGEST_KNOWN
        and referer == f"{view.scheme}://{view.domain}{view.page}".encode()
    )


_GIF_HEADERS = {
    "Content-Type": "image/gif",
    # A request that a browser answers from its cache is not counted.
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


def _gif(reason: str, *, close: bool, headers: Mapping[str, str] | None = None) -> bytes:
    """The GIF as an answer. `reason` says why the request was not counted; empty if it was."""
    every = {**_GIF_HEADERS, "X-Pfa-Flux": reason, **(headers or {})} if reason else _GIF_HEADERS
    return answer(200, GIF, every, close=close)
