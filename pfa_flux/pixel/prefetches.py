"""Counts prefetches and previews by domain, and stores their numbers once a minute.

A journal stores only page views. So the number of a domain's prefetches is stored as a page view of its own kind, with
the number as its page.
"""

from __future__ import annotations

from collections import Counter

from pfa_flux.pixel.hit import HIT, View
from pfa_flux.pixel.pages import Page, Pages

_NO_SCHEME = "-"
_MOST_DOMAINS = 10_000
"""Maximum number of domains with numbers that are not stored yet."""


class Prefetches:
    """Prefetches that are not stored yet."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._kept_in = pages.minute
        self._number: Counter[str] = Counter()

    def add(self, view: View) -> None:
        """Count a prefetch of a page, if its domain has hits. A client could make up other domains."""
        room = view.domain in self._number or len(self._number) < _MOST_DOMAINS
        if view.kind == HIT and room and self._pages.has_hits(view.domain):
            self._number[view.domain] += 1

    def __bool__(self) -> bool:
        return bool(self._number)

    @property
    def due(self) -> bool:
        """There are prefetches, and no others were stored in this minute."""
        return bool(self._number) and self._kept_in != self._pages.minute

    def as_pages(self) -> list[Page]:
        """All prefetches, for the journal. New objects each time, because a journal's ids of them do not stay valid."""
        return [Page(View("prefetch", _NO_SCHEME, domain, str(n))) for domain, n in self._number.items()]

    def kept(self) -> None:
        """Forget the prefetches, because they are stored."""
        self._number.clear()
        self._kept_in = self._pages.minute


def number_of(view: View) -> int:
    """The number of prefetches that a page view of this kind stands for."""
    return int(view.page)
