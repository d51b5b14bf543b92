"""Figures and names as people read them."""

from __future__ import annotations

_OVER = {"clearnet": "over clearnet", "tor": "over Tor", "i2p": "over I2P"}

STATUS = {
    "ok": "",
    "no_js": "no JS loads",
    "no_hits": "no hits",
    "js_exceeds_hits": "more JS loads than hits",
    "no_data": "no data",
}
"""What a status is called in a table."""


def plain(value: str) -> str:
    """Text without control characters."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in value)


def percent(ratio: float | None) -> str:
    """A ratio as a percentage with one digit; a dash where it cannot be said."""
    return "–" if ratio is None else f"{ratio * 100:.1f} %"


def percent_range(low: float | None, high: float | None) -> str:
    """Both ends of an interval as percentages; nothing where it cannot be said."""
    return "" if low is None or high is None else f"{percent(low)} – {percent(high)}"


def points(difference: float | None) -> str:
    """A difference of ratios in percentage points, signed; a dash where it cannot be said."""
    return "–" if difference is None else f"{difference * 100:+.1f}".replace("-", "−")


def points_range(low: float | None, high: float | None) -> str:
    """Both ends of a difference's interval; nothing where it cannot be said."""
    return "" if low is None or high is None else f"{points(low)} to {points(high)}"


def those(key: str, value: str) -> str:
    """Page views of a key's value, as a part of a sentence."""
    if key == "network":
        return _OVER[value]
    return f"of {plain(value) or '(none)'}"


def difference(key: str, first: str, second: str, low: float, high: float) -> str:
    """A plain sentence on how two shares differ, first minus second, by the ends of their difference's interval."""
    these, others = those(key, first), those(key, second)
    if low <= 0 <= high:
        return (
            f"Page views {these} and {others} may well lack the JavaScript analytics equally often: the difference "
            f"lies between {_whole(-low)} points less and {_whole(high)} points more."
        )
    more, ends = ("more", (low, high)) if low > 0 else ("less", (-high, -low))
    return f"Page views {these} lack the JavaScript analytics {_span(*ends)} points {more} often than those {others}."


def _span(low: float, high: float) -> str:
    digits = 0 if high - low >= 0.02 and low >= 0.005 else 1
    return f"{low * 100:.{digits}f}–{high * 100:.{digits}f}"


def _whole(share: float) -> str:
    return f"{share * 100:.{0 if share >= 0.02 else 1}f}"
