"""A question of page views: as it is put, and checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pfa_flux.engines.base import Where
from pfa_flux.errors import InvalidValueError
from pfa_flux.schema import BOTH, NETWORKS, Side, network_of
from pfa_flux.settings import Settings
from pfa_flux.times import format_instant, parse_instant

Key = Literal["domain", "network", "page", "time"]
KEYS: tuple[Key, ...] = ("domain", "network", "page", "time")
Instant = str | datetime | timedelta | int

Values = tuple[str, ...]
"""Values of the keys but for `time`, in the order of `--by`."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, checked.

    Attributes:
        start: first nanosecond that counts.
        stop: first that does not.
        by: keys of the rows, each once; none for a single row.
        domains: exact domains; each has its row even if it is empty. None for all that are found.
        networks: of clearnet, tor, i2p; empty for all.
        pages: exact pages, empty for all.
        every: width of an interval with the key `time`: 15m, 1h, 1d or 1w.
        zone: time zone in which the intervals are aligned.
        sides: hits, loads or both.
    """

    start: int
    stop: int
    by: tuple[Key, ...] = ("domain",)
    domains: tuple[str, ...] | None = None
    networks: tuple[str, ...] = ()
    pages: tuple[str, ...] = ()
    every: str = "1h"
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    sides: tuple[Side, ...] = BOTH

    def __post_init__(self) -> None:
        if self.start >= self.stop:
            raise InvalidValueError(
                f"the range is empty: it starts at {format_instant(self.start)} and stops at "
                f"{format_instant(self.stop)}",
                "Let --start be before --stop.",
            )
        for value, allowed, name in ((self.by, KEYS, "--by"), (self.networks, NETWORKS, "--network")):
            for item in cast("Sequence[str]", value):
                if item not in allowed:
                    raise InvalidValueError(f"{name} has no {item!r}", f"Use {', '.join(allowed)}.")
        if len(set(self.by)) < len(self.by):
            raise InvalidValueError("--by names a key twice", f"Use each of {', '.join(KEYS)} once at most.")

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags that are to be kept apart, sorted."""
        return ("domain", "page") if "page" in self.by else ("domain",)

    @property
    def where(self) -> Where:
        """By tag, the values that count; none for all."""
        return {"domain": tuple(d for d in self.domains or () if self.includes(d)), "page": self.pages}

    @property
    def selects_nothing(self) -> bool:
        """The domains asked for are all in other networks than those asked for."""
        return self.domains is not None and not self.where["domain"]

    def includes(self, domain: str) -> bool:
        """A domain's network is one of those asked for."""
        return not self.networks or network_of(domain) in self.networks


@dataclass(frozen=True, slots=True)
class Options:
    """A question as it is put: the arguments of `Analytics.blocked_ratio`, which describes them."""

    domains: Iterable[str] = ()
    sites: Iterable[str] = ()
    networks: Iterable[str] = ()
    pages: Iterable[str] = ()
    by: Iterable[str] = ("domain",)
    start: Instant = "24h"
    stop: Instant | None = None
    every: str | None = None
    tz: str = "UTC"
    dialect: str = "auto"
    source: str = "auto"
    sides: tuple[Side, ...] = BOTH

    def fixed(self, now: int) -> Options:
        """The same with lists that can be read again, and a range of instants."""
        return replace(
            self,
            domains=tuple(self.domains),
            sites=tuple(self.sites),
            networks=tuple(self.networks),
            pages=tuple(self.pages),
            by=tuple(self.by),
            start=parse_instant(self.start, now),
            stop=now if self.stop is None else parse_instant(self.stop, now),
        )

    def question(self, settings: Settings, now: int) -> Question:
        """The question, checked.

        Raises:
            InvalidValueError: a value is malformed or contradicts another.
        """
        keys = tuple(self.by)
        if self.every is not None and "time" not in keys:
            raise InvalidValueError("--every is given without --by time", "Add --by time, or leave --every out.")
        named = dict.fromkeys((*self.domains, *(d for site in self.sites for d in settings.domains_of(site))))
        return Question(
            parse_instant(self.start, now),
            now if self.stop is None else parse_instant(self.stop, now),
            cast("tuple[Key, ...]", keys),
            tuple(named) or None,
            tuple(self.networks),
            tuple(self.pages),
            self.every or "1h",
            _zone(self.tz),
            self.sides,
        )


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidValueError(f"no time zone {name!r}", "Use a name such as UTC or Europe/Berlin.") from error


def values_of(question: Question, domain: str, page: str) -> Values:
    """Values of the keys for a domain and page."""
    by = {"domain": domain, "network": network_of(domain), "page": page}
    return tuple(by[key] for key in question.by if key != "time")


def asked_for(question: Question) -> set[Values]:
    """Rows that there are even if they are empty: those whose every key was asked for by name."""
    if "page" in question.by and not question.pages:
        return set()
    pages = question.pages or ("",)
    if question.domains is not None:
        named = [d for d in question.domains if "domain" in question.by or question.includes(d)]
    elif "domain" in question.by or ("network" in question.by and not question.networks):
        return set()
    else:
        named = [_SOME_DOMAIN[network] for network in question.networks] or [""]
    return {values_of(question, domain, page) for domain in named for page in pages}


_SOME_DOMAIN = {"clearnet": "", "tor": ".onion", "i2p": ".i2p"}
