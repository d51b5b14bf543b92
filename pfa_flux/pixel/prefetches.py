"""How many requests were prefetches or previews: counted by domain, and kept once a minute.

A journal keeps page views and nothing else, and everything behind it ships them. So the number of a domain's prefetches
is kept as one more page view, of a kind of its own: its page is the number.
"""

from __future__ import annotations

from collections import Counter

from pfa_flux.pixel.hit import HIT, View
from pfa_flux.pixel.pages import Page, Pages

_NO_SCHEME = "-"
_MOST_DOMAINS = 10_000
"""Domains whose numbers wait for the journal."""


class Prefetches:
    """Those that are not kept yet."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._kept_in = pages.minute
        self._number: Counter[str] = Counter()

    def add(self, view: View) -> None:
        """Count what would have been a hit. Domains that have none are a client's to make up, and are left out."""
        room = view.domain in self._number or len(self._number) < _MOST_DOMAINS
        if view.kind == HIT and room and self._pages.has_hits(view.domain):
            self._number[view.domain] += 1

    def __bool__(self) -> bool:
        return bool(self._number)

    @property
    def due(self) -> bool:
        """There are some, and the minute in which others were kept is over."""
        return bool(self._number) and self._kept_in != self._pages.minute

    def as_pages(self) -> list[Page]:
        """All of them, for the journal; anew each time, because a journal forgets pages that are not told apart."""
        return [Page(View("prefetch", _NO_SCHEME, domain, str(n))) for domain, n in self._number.items()]

    def kept(self) -> None:
        """They are in the journal."""
        self._number.clear()
        self._kept_in = self._pages.minute


def number_of(view: View) -> int:
    """How many prefetches a page view of their kind stands for."""
    return int(view.page)
