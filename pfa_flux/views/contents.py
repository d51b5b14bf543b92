"""What is in a report: which questions it asks, and their answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from pfa_flux.queries.question import Options
from pfa_flux.queries.result import BlockedRatio
from pfa_flux.times import NS

_DAY = 86400 * NS
_KEYS: dict[str, tuple[tuple[str, ...], ...]] = {
    "": (("network",), ("domain",), ("time",), ("network", "time"), ("page",)),
    "network": (("network",),),
    "domain": (("domain",),),
    "page": (("page",),),
    "time": (("time",), ("network", "time")),
}
"""Keys of the answers beside that of all page views, by the key that a report is about; empty: an overview."""

Ask = Callable[[list[Options], int], list[BlockedRatio]]
"""Answers to questions from one read, so many of them with that of the previous period."""


@dataclass(frozen=True, slots=True)
class Content:
    """Answers of one range and one selection.

    Attributes:
        subject: what it is about: a site, domains.
        by: the key that it is about; empty for an overview of all.
        whole: one row for all.
        answers: the others by their keys.
        made: when it was made, nanoseconds.
        version: of pfa-flux.
    """

    subject: str
    by: str
    whole: BlockedRatio
    answers: dict[tuple[str, ...], BlockedRatio]
    made: int
    version: str


def gather(
    ask: Ask, options: Options, now: int, *, by: str = "", every: str | None = None, compare: bool = True
) -> Content:
    """Ask for all that is in a report.

    Args:
        ask: gives the answers.
        options: whose page views, with a range of instants.
        now: the present, nanoseconds.
        by: the key that it is about: network, domain, page or time; empty for an overview of all.
        every: interval of what is by time; by default what `interval_of` says.
        compare: with the previous period: the total, and the rows of the key that it is about.
    """
    from pfa_flux import __version__

    low, high = cast("tuple[int, int]", (options.start, options.stop))
    wide = every or interval_of(low, high)
    keys = ((), *_KEYS[by])
    asked = [replace(options, by=key, every=wide if "time" in key else None) for key in keys]
    compared = 2 if by else 1
    whole, *answers = ask(asked, compared if compare else 0)
    found = dict(zip(keys[1:], answers, strict=True))
    return Content(whole.subject, by, whole, found, now, __version__)


def interval_of(start: int, stop: int) -> str:
    """Interval of a plot: an hour up to two days, a day up to ninety, else a week. `start`, `stop`: nanoseconds."""
    length = stop - start
    return "1h" if length <= 2 * _DAY else "1d" if length <= 90 * _DAY else "1w"
