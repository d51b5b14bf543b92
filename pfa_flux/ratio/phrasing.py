"""Turns figures and names into text for people."""

from __future__ import annotations

from collections.abc import Sequence

from pfa_flux import shown
from pfa_flux.foreign import printable

NETWORKS = {"clearnet": "clearnet", "tor": "Tor", "i2p": "I2P"}
"""Display names of networks."""

STATUS = {
    "ok": "",
    "no_js": "no JS loads",
    "no_hits": "no hits",
    "js_exceeds_hits": "more JS loads than hits",
    "no_data": "no data",
}
"""Statuses as text in a table."""

SOURCES = {"raw": "raw data", "rollup": "downsampled data", "raw+rollup": "raw and downsampled data"}
"""Sources of figures as text."""

plain = printable
"""Replaces control characters in a text."""


def name(key: str, value: str) -> str:
    """The value of a key for display, safe to print."""
    return plain(shown.value(key, value)) or "(none)"


def listed(names: Sequence[str], most: int = 3) -> str:
    """Names as part of a sentence: a, b, c and 3 more. Beyond `most` names, the others are only counted."""
    if len(names) > most + 1:
        names = (*names[:most], f"{len(names) - most} more")
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def subject(sites: Sequence[str], domains: Sequence[str], networks: Sequence[str], pages: Sequence[str]) -> str:
    """The text that follows "page views of"."""
    own = [*map(plain, sites), *(name("domain", domain) for domain in domains)]
    of = listed(own) if own else "all domains"
    on = f"{listed([name('page', page) for page in pages])} on " if pages else ""
    over = f" over {listed([NETWORKS.get(network, network) for network in networks])}" if networks else ""
    return f"{on}{of}{over}"


def counted(number: int, what: str) -> str:
    """A number of things: 1 page view, 2,000 page views."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def percent(ratio: float | None, digits: int = 1) -> str:
    """A ratio as a percentage, 35.3%; a dash if there is none."""
    return "–" if ratio is None else f"{ratio * 100:.{digits}f}%"


def percent_range(low: float | None, high: float | None, digits: int = 1) -> str:
    """Both ends of an interval as percentages, 31.1–39.7%; empty if there is none."""
    return "" if low is None or high is None else f"{percent(low, digits)[:-1]}–{percent(high, digits)}"


def points(difference: float | None) -> str:
    """A difference of ratios in percentage points, signed; a dash if there is none."""
    return "–" if difference is None else f"{difference * 100:+.1f}".replace("-", "−")


def points_range(low: float | None, high: float | None) -> str:
    """Both ends of a difference's interval; empty if there is none."""
    return "" if low is None or high is None else f"{points(low)} to {points(high)}"


def may_be_chance(low: float, high: float) -> bool:
    """The interval of a difference includes zero."""
    return low <= 0 <= high


def those(key: str, value: str) -> str:
    """The value of a key as part of a sentence."""
    if key == "network":
        return f"over {NETWORKS[value]}"
    return f"of {name(key, value)}"


def difference(key: str, first: str, second: str, low: float, high: float) -> str:
    """A sentence on how two shares differ, first minus second. `low` and `high`: the interval of the difference."""
    these, others = those(key, first), those(key, second)
    if may_be_chance(low, high):
        return (
            f"Page views {these} and {others} are too few to tell which lack the JavaScript analytics more often "
            f"(difference {points_range(low, high)} points)."
        )
    more, ends = ("more", (low, high)) if low > 0 else ("less", (-high, -low))
    return f"Page views {these} lack the JavaScript analytics {_span(*ends)} points {more} often than those {others}."


def _span(low: float, high: float) -> str:
    digits = 0 if high - low >= 0.02 and low >= 0.005 else 1
    return f"{low * 100:.{digits}f}–{high * 100:.{digits}f}"
