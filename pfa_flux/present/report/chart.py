"""The share over time as a drawing: lines, with their intervals as bands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from pfa_flux.present.dates import tick
from pfa_flux.present.html import text
from pfa_flux.ratio import phrasing
from pfa_flux.ratio.rows import RatioRow
from pfa_flux.times import NS

_LONE = 14
"""Width of an interval of time without neighbours, in thousandths of the plot's width."""
_TICKS = 6
_FEW_TICKS = 4
"""Number of labels that fit on a phone."""
_DAYS_WITH_HOURS = 4
_GRID = 5
"""Maximum number of grid lines."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the chart.

    Attributes:
        name: its label.
        colour: CSS class: all, clearnet, tor or i2p.
        rows: figures by time.
    """

    name: str
    colour: str
    rows: Sequence[RatioRow]


def chart(lines: Sequence[Line], starts: Sequence[int], zone: tzinfo) -> str:
    """The drawing with its legend. Screen readers skip it, because a table has the same figures.

    Args:
        lines: the lines to draw.
        starts: start of each interval, nanoseconds.
        zone: time zone of the labels.
    """
    first, last = starts[0], max(starts[-1], starts[0] + 1)
    ends = [row.ratio_high for line in lines for row in line.rows if row.ratio_high is not None]
    # Steps of 10%, or of 20% above one half, so that every grid line has a round number.
    tenths = min(10, int(max(ends, default=1.0) * 10) + 1)
    steps = tenths if tenths <= _GRID else -(-tenths // 2)
    top = (tenths if tenths <= _GRID else 2 * steps) / 10
    shapes = "".join(_shapes(line, first, last, top) for line in lines)
    grid = "".join(_grid(step / steps, top) for step in range(steps + 1))
    return (
        f'{_legend(lines)}<div class="chart" aria-hidden="true"><svg class="frame">{grid}{_axis(starts, zone)}</svg>'
        f'<svg class="lines" viewBox="0 0 1000 1000" preserveAspectRatio="none">{shapes}</svg></div>'
    )


def _legend(lines: Sequence[Line]) -> str:
    if len(lines) == 1:
        return ""
    swatch = '<svg class="swatch"><rect class="fill {}" width="100%" height="100%" rx="3"/></svg>'
    items = "".join(f"<li>{swatch.format(line.colour)}{text(line.name)}</li>" for line in lines)
    return f'<ul class="legend" aria-hidden="true">{items}</ul>'


def _grid(share: float, top: float) -> str:
    y = f"{100 - 100 * share:.2f}%"
    label = f'<text class="share" x="-9" y="{y}" dy=".33em">{phrasing.percent(top * share, 0)}</text>'
    return f'<line x2="100%" y1="{y}" y2="{y}"/>{label}'


def _axis(starts: Sequence[int], zone: tzinfo) -> str:
    """Evenly spaced labels. If there are many, a phone shows every other one."""
    first, last = starts[0], max(starts[-1], starts[0] + 1)
    clock = starts[-1] - starts[0] < _DAYS_WITH_HOURS * 86400 * NS
    shown = starts[:: max(1, -(-len(starts) // _TICKS))]
    made = []
    for number, start in enumerate(shown):
        x = f"{100 * (start - first) / (last - first):.2f}%"
        lines = "".join(f'<tspan x="{x}" dy="1.3em">{line}</tspan>' for line in tick(start, zone, clock=clock))
        spare = ' class="spare"' if number % 2 and len(shown) > _FEW_TICKS else ""
        made.append(f'<text{spare} y="100%">{lines}</text>')
    return "".join(made)


def _shapes(line: Line, first: int, last: int, top: float) -> str:
    """A line and its band. Both are interrupted at rows without a share."""
    shapes = []
    for run in _runs(line.rows):
        places = [1000 * (row.start - first) / (last - first) for row in run if row.start is not None]
        at = [(x, row.ratio, row.ratio_low, row.ratio_high) for x, row in zip(places, run, strict=True)]
        if len(at) == 1:
            # A single interval would otherwise have no length.
            half = _LONE / 2
            x = min(max(at[0][0], half), 1000 - half)
            at = [(x + side, *at[0][1:]) for side in (-half, half)]
        high = [f"{x:.1f},{_y(end, top):.1f}" for x, _, _, end in at]
        low = [f"{x:.1f},{_y(end, top):.1f}" for x, _, end, _ in reversed(at)]
        middle = " ".join(f"{x:.1f},{_y(ratio, top):.1f}" for x, ratio, _, _ in at)
        shapes.append(
            f'<polygon class="{line.colour}" points="{" ".join((*high, *low))}"/>'
            f'<polyline class="{line.colour}" points="{middle}"/>'
        )
    return "".join(shapes)


def _runs(rows: Sequence[RatioRow]) -> Iterator[list[RatioRow]]:
    run: list[RatioRow] = []
    for row in rows:
        if row.ratio is not None:
            run.append(row)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _y(ratio: float | None, top: float) -> float:
    return 1000 - 1000 * (ratio or 0.0) / top
