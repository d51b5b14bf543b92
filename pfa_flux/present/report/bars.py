"""Bars: a row for each share, with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pfa_flux.present.html import text
from pfa_flux.ratio import phrasing
from pfa_flux.ratio.rows import RatioRow

VAGUE = 0.2
"""Width of an interval above which a share is too uncertain for a headline.

With more than 10 points on either side, a quarter cannot be told from a third.
"""


@dataclass(frozen=True, slots=True)
class Named:
    """A row for display.

    Attributes:
        name: the key's value for display.
        row: its figures.
        colour: CSS class: all, clearnet, tor or i2p.
        href: link of its name; empty for none.
    """

    name: str
    row: RatioRow
    colour: str = "all"
    href: str = ""


def is_vague(row: RatioRow) -> bool:
    """A row's share is too uncertain to show without its interval."""
    return row.ratio_low is not None and row.ratio_high is not None and row.ratio_high - row.ratio_low > VAGUE


def linked(name: str, href: str) -> str:
    """A name, as a link if it has one."""
    return f'<a href="{text(href)}">{text(name)}</a>' if href else text(name)


def bars(rows: Sequence[Named]) -> str:
    """All bars. Without rows, a note."""
    if not rows:
        return '<p class="soft">No page views.</p>'
    return f'<div class="bars" role="list">{"".join(map(_bar, rows))}</div>'


def _bar(named: Named) -> str:
    row, track = named.row, ""
    if row.ratio is None or row.ratio_low is None or row.ratio_high is None:
        value = f"<b>–</b><span>{text(phrasing.STATUS[row.status])}</span>"
    else:
        track = "".join(_track(named.colour, row.ratio, row.ratio_low, row.ratio_high))
        ends = phrasing.percent_range(row.ratio_low, row.ratio_high)
        value = f"<b>{text(phrasing.percent(row.ratio))}</b><span>{text(ends)}</span>"
    vague = " vague" if is_vague(row) else ""
    hits = f'<span class="soft"> {row.hits:,} page views</span>'
    return (
        f'<div class="row{vague}" role="listitem"><span class="name">{linked(named.name, named.href)}{hits}</span>'
        f'<svg class="track" aria-hidden="true">{track}</svg><span class="value">{value}</span></div>'
    )


def _track(colour: str, ratio: float, low: float, high: float) -> Iterable[str]:
    yield f'<rect class="fill {colour}" width="{ratio * 100:.2f}%" height="100%" rx="4"/>'
    ends = f"{low * 100:.2f}%", f"{high * 100:.2f}%"
    for (left, right), (top, bottom) in ((ends, ("50%", "50%")), *(((end, end), ("30%", "70%")) for end in ends)):
        yield f'<line class="whisker" x1="{left}" x2="{right}" y1="{top}" y2="{bottom}"/>'
