"""A question about page views, as given and as checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast
from zoneinfo import ZoneInfo, available_timezones

from pfa_flux import names
from pfa_flux.arguments import Texts, close, host, named, one_of, text, texts
from pfa_flux.errors import InvalidValueError, SettingsError
from pfa_flux.ratio import phrasing
from pfa_flux.schema import BOTH, KEYS, NETWORKS, SUFFIXES, Key, Side, network_of
from pfa_flux.settings import Settings
from pfa_flux.settings.problems import meant
from pfa_flux.settings.rules import Rules
from pfa_flux.times import Instant, format_instant, parse_instant, time_zone

Values = tuple[str, ...]
"""Values of the keys other than `time`, in the order of `--by`."""


@dataclass(frozen=True, slots=True)
class Question:
    """A checked question.

    Attributes:
        start: first nanosecond of the range.
        stop: first nanosecond after it.
        by: keys of the rows, each once; empty for a single row.
        domains: canonical domains, and `*.` patterns for all domains below one. Each domain has a row, even without
            data. Empty for all domains.
        networks: clearnet, tor or i2p; empty for all.
        pages: canonical pages, empty for all.
        every: width of an interval with the key `time`: 15m, 1h, 1d or 1w.
        zone: time zone of the intervals.
        sides: hits, loads or both.
        others: domains that patterns exclude, because another site has them.
        subject: the sites, domains, networks and pages, as text.
    """

    start: int
    stop: int
    by: tuple[Key, ...] = ("domain",)
    domains: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    pages: tuple[str, ...] = ()
    every: str = "1h"
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    sides: tuple[Side, ...] = BOTH
    others: frozenset[str] = frozenset()
    subject: str = "all domains"

    def __post_init__(self) -> None:
        if self.start >= self.stop:
            raise InvalidValueError(
                f"the range is empty: it starts at {format_instant(self.start)} and stops at "
                f"{format_instant(self.stop)}",
                f"Set {named('start')} to a time before {named('stop')}. A date means the start of that day.",
            )
        for name, values, allowed in (("by", self.by, KEYS), ("networks", self.networks, NETWORKS)):
            for value in cast("Sequence[str]", values):
                one_of(name, value, allowed)
        if len(set(self.by)) < len(self.by):
            raise InvalidValueError(f"{named('by')} has a key twice", f"Use each of {', '.join(KEYS)} at most once.")

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags to group by, sorted."""
        return ("domain", "page") if "page" in self.by else ("domain",)

    @property
    def named(self) -> tuple[str, ...]:
        """Domains requested by name."""
        return tuple(d for d in self.domains if not names.below(d))

    @property
    def exact(self) -> tuple[str, ...]:
        """Domains requested by name, in a requested network."""
        return tuple(filter(self.includes, self.named))

    @property
    def below(self) -> tuple[str, ...]:
        """Domains of `*.` patterns, in a requested network."""
        return tuple(d for d in filter(None, map(names.below, self.domains)) if self.includes(d))

    @property
    def selects_nothing(self) -> bool:
        """No requested domain is in a requested network."""
        return bool(self.domains) and not self.exact and not self.below

    def selects(self, domain: str) -> bool:
        """A canonical domain is among the requested ones."""
        if not self.domains or domain in self.exact:
            return True
        return domain not in self.others and any(names.is_below(domain, name) for name in self.below)

    def includes(self, domain: str) -> bool:
        """A domain's network is among the requested ones."""
        return not self.networks or network_of(domain) in self.networks


@dataclass(frozen=True, slots=True)
class Options:
    """A question as given: the arguments of `Analytics.blocked_ratio`, which documents them."""

    domains: Texts = ()
    sites: Texts = ()
    networks: Texts = ()
    pages: Texts = ()
    by: Texts = ("domain",)
    start: Instant = "24h"
    stop: Instant | None = None
    every: str | None = None
    tz: str | None = None
    dialect: str = "auto"
    source: str = "auto"
    sides: tuple[Side, ...] = BOTH

    def fixed(self, settings: Settings, now: int) -> Options:
        """The options with values as tuples, a range of instants, and a time zone.

        Raises:
            InvalidValueError: a value is of the wrong kind, or malformed.
        """
        tz = settings.tz if self.tz is None else text("tz", self.tz)
        zone = _zone(tz)
        return replace(
            self,
            domains=tuple(map(host, texts("domains", self.domains))),
            sites=texts("sites", self.sites),
            networks=tuple(map(str.lower, texts("networks", self.networks))),
            # The name of a page may contain a comma.
            pages=texts("pages", self.pages, commas=False),
            by=texts("by", self.by),
            start=parse_instant(self.start, now, zone, "start"),
            stop=now if self.stop is None else parse_instant(self.stop, now, zone, "stop"),
            every=None if self.every is None else text("every", self.every),
            tz=tz,
        )

    def question(self, settings: Settings, now: int) -> Question:
        """The checked question.

        Raises:
            InvalidValueError: a value is malformed or contradicts another.
        """
        fixed = self.fixed(settings, now)
        keys = cast("tuple[Key, ...]", fixed.by)
        if fixed.every is not None and "time" not in keys:
            time = named("by", "time")
            raise InvalidValueError(
                f"{named('every')} is given without {time}", f"Add {time}, or leave {named('every')} out."
            )
        rules, sites = Rules(settings.pixel), tuple(fixed.sites)
        own = tuple(map(rules.wanted, fixed.domains))
        of_sites = (domain for site in sites for domain in _domains_of(site, settings))
        pages = tuple(dict.fromkeys(map(rules.stored_page, fixed.pages)))
        networks = tuple(fixed.networks)
        return Question(
            start=cast("int", fixed.start),
            stop=cast("int", fixed.stop),
            by=keys,
            domains=tuple(dict.fromkeys((*own, *map(rules.wanted, of_sites)))),
            networks=networks,
            pages=pages,
            every=fixed.every or "1h",
            zone=time_zone(str(fixed.tz)),
            sides=self.sides,
            others=_of_others(settings, sites, own),
            subject=phrasing.subject(sites, own, networks, pages),
        )


def _domains_of(site: str, settings: Settings) -> Sequence[str]:
    try:
        return settings.domains_of(site)
    except SettingsError as error:
        near = meant(site, settings.sites, shown=partial(named, "sites"))
        raise SettingsError(error.message, f"{near}{error.hint}") from error


def _of_others(settings: Settings, sites: Sequence[str], own: Iterable[str]) -> frozenset[str]:
    """Domains of sites that were not requested, except those that a requested pattern includes."""
    patterns = [name for name in map(names.below, own) if name]
    named = {domain for site, domains in settings.sites.items() if site not in sites for domain in domains}
    return frozenset(d for d in named if not any(names.is_below(d, name) for name in patterns))


def _zone(name: str) -> ZoneInfo:
    try:
        return time_zone(name)
    except InvalidValueError as error:
        likely = next(iter(close(name.title(), available_timezones())), "Europe/Berlin")
        raise InvalidValueError(f"{named('tz', name)} is not a time zone", f"Write {named('tz', likely)}.") from error


def values_of(question: Question, domain: str, page: str) -> Values:
    """Values of the keys for a domain and page."""
    by = {"domain": domain, "network": network_of(domain), "page": page}
    return tuple(by[key] for key in question.by if key != "time")


def asked_for(question: Question) -> set[Values]:
    """Keys of rows to show even without data: all keys except the time were requested by name."""
    if set(question.by) <= {"time"}:
        return {()}
    if "page" in question.by and not question.pages:
        return set()
    pages = question.pages or ("",)
    if question.domains:
        named = [d for d in question.named if "domain" in question.by or question.includes(d)]
    elif "domain" in question.by or ("network" in question.by and not question.networks):
        return set()
    else:
        named = [SUFFIXES[network] for network in question.networks] or [""]
    return {values_of(question, domain, page) for domain in named for page in pages}
