"""The content of a report: its questions and their answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from pfa_flux.present.results import BlockedRatio
from pfa_flux.ratio.question import Options
from pfa_flux.times import NS

_DAY = 86400 * NS
_KEYS: dict[str, tuple[tuple[str, ...], ...]] = {
    "": (("network",), ("domain",), ("time",), ("network", "time"), ("page",)),
    "network": (("network",),),
    "domain": (("domain",),),
    "page": (("page",),),
    "time": (("time",), ("network", "time")),
}
"""Keys of the answers in addition to the total, by the key of the report. The empty key stands for the overview."""

Ask = Callable[[list[Options], int], list[BlockedRatio]]
"""Answers questions with one read. The number says how many answers include the previous period."""


@dataclass(frozen=True, slots=True)
class Content:
    """Answers for one range and one selection.

    Attributes:
        subject: the site or domains.
        by: key of the report; empty for an overview.
        whole: the answer with one row for everything.
        answers: the other answers by their keys.
        made: time of the report, nanoseconds.
        version: version of pfa-flux.
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
    """Get all answers of a report.

    Args:
        ask: answers questions.
        options: the selection, with a range of instants.
        now: the current time, nanoseconds.
        by: key of the report: network, domain, page or time; empty for an overview.
        every: interval of answers by time; by default `interval_of` the range.
        compare: compare the total, and the rows of the report's key, with the previous period.
    """
    from pfa_flux import __version__

    low, high = cast("tuple[int, int]", (options.start, options.stop))
    wide = every or interval_of(low, high)
    keys = ((), *_KEYS[by])
    asked = [replace(options, by=key, every=wide if "time" in key else None) for key in keys]
    compared = 2 if by else 1
    whole, *answers = ask(asked, compared if compare else 0)
    by_keys = dict(zip(keys[1:], answers, strict=True))
    return Content(whole.subject, by, whole, by_keys, now, __version__)


def interval_of(start: int, stop: int) -> str:
    """Interval of a plot: an hour for up to two days, a day for up to ninety, otherwise a week.

    `start`, `stop`: nanoseconds.
    """
    length = stop - start
    return "1h" if length <= 2 * _DAY else "1d" if length <= 90 * _DAY else "1w"
