"""A question of page views, checked, and how counts are put under its keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, cast
from zoneinfo import ZoneInfo

from pfa_flux.errors import InvalidValueError
from pfa_flux.queries.selection import Counts, Selection, Sides, WhichSides
from pfa_flux.schema import NETWORKS, network_of
from pfa_flux.times import format_instant

Key = Literal["domain", "network", "page", "time"]
KEYS: tuple[Key, ...] = ("domain", "network", "page", "time")

Values = tuple[str, ...]
"""Values of the keys but for `time`, in the order of `--by`."""
NOTHING = Sides(0, 0)


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
        sides: both, or hits or page loads alone.
    """

    start: int
    stop: int
    by: tuple[Key, ...] = ("domain",)
    domains: tuple[str, ...] | None = None
    networks: tuple[str, ...] = ()
    pages: tuple[str, ...] = ()
    every: str = "1h"
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    sides: WhichSides = "both"

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
    def selection(self) -> Selection:
        """The points of interest, without windows."""
        domains = tuple(d for d in self.domains or () if self.includes(d))
        return Selection(self.start, self.stop, domains, self.pages, by_page="page" in self.by, sides=self.sides)

    @property
    def selects_nothing(self) -> bool:
        """The domains asked for are all in other networks than those asked for."""
        return self.domains is not None and not self.selection.domains

    def includes(self, domain: str) -> bool:
        """A domain's network is one of those asked for."""
        return not self.networks or network_of(domain) in self.networks


def fold(counts: Counts, question: Question) -> dict[Values, dict[int, Sides]]:
    """Counts by the keys asked for and by window: domains summed to networks, pages over domains."""
    folded: dict[Values, dict[int, Sides]] = {}
    for cell, sides in counts.items():
        if question.includes(cell.domain):
            windows = folded.setdefault(values_of(question, cell.domain, cell.page), {})
            before = windows.get(cell.window, NOTHING)
            windows[cell.window] = Sides(before.hits + sides.hits, before.js + sides.js)
    return folded


def named(question: Question, values: Sequence[str]) -> dict[str, str]:
    """Values by their keys."""
    return dict(zip(map(str, question.by), values, strict=True))


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
