"""Known pages: limited in number and bytes, admitted at a rate, and forgotten over time.

A client can make up pages and, if no list names the domains, domains too. So their number is limited, and three rules
keep the site's own pages known during a flood:

- A new page of a domain needs a token. There are `max_pages` tokens at the start, and as many more per day, at least
  ten a minute. Without a token, the page counts as `(other)`. New domains follow the same rule.
- A page of an earlier day needs no token. Each domain has separate room for `max_pages` of them, and they stay known
  after a restart (`pixel/regulars.py`).
- If there is no room, pages without a hit for a minute are forgotten: first those with hits in a single minute, the
  longest idle first.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from pfa_flux.pixel.hit import HIT, OTHER, UNKNOWN, Kind, Reason, View
from pfa_flux.settings.rules import Rules

MOST_BYTES = 32 * 1024 * 1024
"""Maximum memory of all pages, by `size_of`."""
LEAST_PER_MINUTE = 10
"""New pages of a domain, and new domains, that are admitted per minute even during a flood."""
SHARED = 4
"""New pages of all unnamed domains together, as a multiple of those of one domain."""
_REMEMBERED_DAYS = 60
"""Days without a hit after which a page is no longer regular."""
_DAY = 86400.0
_MINUTE = 60.0


class Page:
    """A known page.

    Attributes:
        view: the page view.
        id: the journal's id, valid while `file` is its file.
        file: the file that the id belongs to; None if there is no id yet.
        seen: number of the minute of its last hit.
        regular: it had hits on an earlier day, so it has reserved room.
        days: number of days with hits.
        minutes: number of minutes with hits.
        day: the last of the days, counted from 1970, UTC.
    """

    __slots__ = ("day", "days", "file", "id", "minutes", "regular", "seen", "view")

    def __init__(self, view: View) -> None:
        self.view = view
        self.id = 0
        self.file: object = None
        self.seen = self.days = self.minutes = self.day = 0
        self.regular = False


class Regular(NamedTuple):
    """A page as saved across restarts; attributes as in `Page`."""

    view: View
    days: int
    minutes: int
    day: int


class Bucket:
    """A token bucket: tokens refill at a rate."""

    __slots__ = ("_most", "_rate", "_since", "_tokens")

    def __init__(self, most: int, now: float, least_per_minute: float = LEAST_PER_MINUTE) -> None:
        """Create a full bucket.

        Args:
            most: maximum number of tokens, and refill per day.
            now: the current time, seconds.
            least_per_minute: minimum refill per minute.
        """
        self._most, self._tokens, self._since = most, float(most), now
        self._rate = max(most / _DAY, least_per_minute / _MINUTE)

    def has(self, now: float) -> bool:
        """There is a token."""
        self._tokens = min(self._most, self._tokens + (now - self._since) * self._rate)
        self._since = now
        return self._tokens >= 1

    def take(self) -> None:
        """Take a token."""
        self._tokens -= 1


class Place:
    """The pages of one kind and domain.

    Attributes:
        pages: the pages, by their views.
        named: the settings name the domain.
        strangers: number of pages that are not regular.
        searched: last minute in which room was searched for.
    """

    __slots__ = ("bucket", "named", "pages", "searched", "strangers")

    def __init__(self, bucket: Bucket, *, named: bool) -> None:
        self.pages: dict[View, Page] = {}
        self.bucket, self.named = bucket, named
        self.strangers, self.searched = 0, -1

    @property
    def regular(self) -> bool:
        """It has a page that had hits on an earlier day."""
        return self.strangers < len(self.pages)

    @property
    def seen(self) -> int:
        """Last minute in which one of its pages had a hit."""
        return max((page.seen for page in self.pages.values()), default=0)


class Pages:
    """All known pages.

    Attributes:
        minute: number of the current minute; hits store it in their page.
        closed: the journal has no room for new pages.
        folded: number of hits counted as `(other)`.
    """

    def __init__(
        self,
        rules: Rules,
        regulars: Iterable[Regular] = (),
        *,
        gone: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], int] = lambda: int(time.time() // _DAY),
    ) -> None:
        """Create it with the saved pages.

        Args:
            rules: what counts, and the limits.
            regulars: saved pages.
            gone: called after pages were forgotten.
            clock: returns the current time, seconds.
            today: returns the current day, counted from 1970, UTC.
        """
        self._rules, self._gone, self._clock, self._today = rules, gone, clock, today
        settings = rules.settings
        self.minute = int(clock() // _MINUTE)
        self.closed = False
        self.folded = 0
        self.bytes = 0
        self._day = today()
        self._places: dict[tuple[Kind, str], Place] = {}
        self._domains: dict[Kind, Bucket] = {}
        self._searched: dict[Kind | None, int] = {}
        self._shared = Bucket(SHARED * settings.max_pages, clock(), SHARED * LEAST_PER_MINUTE)
        for each in regulars:
            self._remember(each)

    @property
    def domains(self) -> int:
        """Number of domains."""
        return len({domain for _, domain in self._places})

    def __len__(self) -> int:
        """Number of pages."""
        return sum(len(place.pages) for place in self._places.values())

    def __iter__(self) -> Iterator[Page]:
        """All pages."""
        for place in self._places.values():
            yield from place.pages.values()

    def of(self, view: View) -> Page | Reason:
        """The page of a view: its own, or `(other)` beyond the limits. If the view does not count, the reason."""
        place = self._places.get((view.kind, view.domain)) or self._new_place(view)
        if place is None:
            return Reason.TOO_MANY_DOMAINS
        page = place.pages.get(view)
        if page is not None:
            return page
        if view.page in (OTHER, UNKNOWN, "") or self._admits(place):
            return self._add(place, Page(view))
        self.folded += 1
        return self.of(view._replace(page=OTHER))

    def has_hits(self, domain: str) -> bool:
        """The settings name the domain, or its hits are known."""
        return domain in self._rules.exact or (HIT, domain) in self._places

    def update(self) -> bool:
        """Update the records once a minute. Returns whether a new minute has begun."""
        minute, today = int(self._clock() // _MINUTE), self._today()
        if minute == self.minute:
            return False
        self._count()
        if today > self._day:
            self._turn_day(today)
        self.minute, self._day = minute, today
        return True

    def _count(self) -> None:
        """Count the current day and minute for every page with a hit in them."""
        for page in self:
            if page.seen == self.minute:
                page.minutes += 1
                if page.day != self._day:
                    page.day = self._day
                    page.days += 1

    def regulars(self) -> list[Regular]:
        """Pages to save across restarts: the most regular ones that fit."""
        self._count()
        return [Regular(page.view, page.days, page.minutes, page.day) for page in self._most_regular(self._day)]

    def _remember(self, each: Regular) -> None:
        view = each.view
        if self._rules.counted(view.domain) != view.domain:
            return
        key = view.kind, view.domain
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = self._place(view)
        if view not in place.pages:
            page = Page(view)
            page.days, page.minutes, page.day = each.days, each.minutes, each.day
            page.regular = each.day < self._day
            self._add(place, page)

    def _place(self, view: View) -> Place:
        bucket = Bucket(self._rules.settings.max_pages, self._clock())
        return Place(bucket, named=view.domain in self._rules.exact)

    def _new_place(self, view: View) -> Place | None:
        """A place for the pages of a domain; None if there is no room."""
        made = self._place(view)
        # Clients can make up a domain that is allowed only by a wildcard or by the lack of a list.
        if not made.named and not self._admits_domain(view.kind):
            return None
        self._places[view.kind, view.domain] = made
        return made

    def _admits_domain(self, kind: Kind) -> bool:
        most = self._rules.settings.max_domains
        bucket = self._domains.setdefault(kind, Bucket(most, self._clock()))
        if self._searched.get(kind) == self.minute or not bucket.has(self._clock()):
            return False
        strange = [p for (of, _), p in self._places.items() if of == kind and not p.named and not p.regular]
        if len(strange) >= most:
            idle = min(strange, key=lambda place: place.seen)
            if idle.seen >= self.minute - 1:
                self._searched[kind] = self.minute
                return False
            self._forget(idle.pages.values())
        bucket.take()
        return True

    def _admits(self, place: Place) -> bool:
        """A new page of a place may be added."""
        now = self._clock()
        buckets = [place.bucket] if place.named or place.regular else [place.bucket, self._shared]
        if self.closed or not all(bucket.has(now) for bucket in buckets) or not self._has_room(place):
            return False
        for bucket in buckets:
            bucket.take()
        return True

    def _has_room(self, place: Place) -> bool:
        """There is room for a page. If necessary, make room."""
        # Twice what is admitted at once, so a flood leaves the earlier pages. Four more for pages without a name.
        most = 2 * self._rules.settings.max_pages + 4
        if place.strangers >= most and place.searched != self.minute:
            place.searched = self.minute
            self._make_room([place])
        if self.bytes >= MOST_BYTES and self._searched.get(None) != self.minute:
            self._searched[None] = self.minute
            self._make_room(self._places.values())
        return place.strangers < most and self.bytes < MOST_BYTES

    def _make_room(self, places: Iterable[Place]) -> None:
        """Forget a tenth of the pages idle for a minute. Those with hits in only one minute go first."""
        idle = [page for place in places for page in _idle(place, self.minute)]
        idle.sort(key=lambda page: (page.minutes > 1, page.seen))
        self._forget(idle[: -(-len(idle) // 10)])

    def _add(self, place: Place, page: Page) -> Page:
        page.seen = self.minute
        place.pages[page.view] = page
        place.strangers += not page.regular
        self.bytes += size_of(page.view)
        return page

    def _forget(self, pages: Iterable[Page]) -> None:
        leaving = list(pages)
        for page in leaving:
            key = page.view.kind, page.view.domain
            place = self._places[key]
            del place.pages[page.view]
            place.strangers -= not page.regular
            self.bytes -= size_of(page.view)
            # If the page is still used, it gets a new id.
            page.file = None
            if not place.pages:
                del self._places[key]
        if leaving:
            self._gone()

    def _turn_day(self, today: int) -> None:
        """Make the pages of the day regular, as far as there is room. Forget the others, unless they are in use now."""
        keep = set(self._most_regular(today))
        for place in self._places.values():
            for page in place.pages.values():
                page.regular = page in keep
            place.strangers = sum(not page.regular for page in place.pages.values())
        self._forget([page for place in self._places.values() for page in _idle(place, self.minute)])

    def _most_regular(self, today: int) -> Iterator[Page]:
        """Pages with the most days and minutes, within the limits of domains, pages and bytes."""
        settings, room = self._rules.settings, MOST_BYTES // 2
        ranked = {}
        for key, place in self._places.items():
            known = [page for page in place.pages.values() if page.days and page.day > today - _REMEMBERED_DAYS]
            if known:
                ranked[key] = place, sorted(known, key=_rank, reverse=True)[: settings.max_pages]
        strange: Counter[Kind] = Counter()
        for (kind, _), (place, pages) in sorted(
            ranked.items(), key=lambda item: (item[1][0].named, _rank(item[1][1][0])), reverse=True
        ):
            strange[kind] += not place.named
            if not place.named and strange[kind] > settings.max_domains:
                continue
            for page in pages:
                room -= size_of(page.view)
                if room < 0:
                    return
                yield page


def size_of(view: View) -> int:
    """Estimated memory of a page with all its records, in bytes. The estimate is high."""
    return 600 + 3 * len(view.page) + 2 * len(view.domain)


def _rank(page: Page) -> tuple[int, int, int]:
    return page.days, page.minutes, page.day


def _idle(place: Place, minute: int) -> Iterator[Page]:
    """Pages that are not regular and had no hit for a minute."""
    return (page for page in place.pages.values() if not page.regular and page.seen < minute - 1)
