"""Plots of a blocked ratio, with matplotlib."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from pfa_flux.errors import CapabilityError
from pfa_flux.ratio.phrasing import name, percent
from pfa_flux.times import to_datetime

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pfa_flux.ratio.result import RatioAnswer
    from pfa_flux.ratio.rows import RatioRow

# Okabe and Ito's colours, which colour-blind readers can tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_BAR_HEIGHT = 0.42


def plot(result: RatioAnswer) -> Figure:
    """A line over time, with the interval as a band, if `time` is a key. Otherwise a bar for each row.

    The figure is not registered with pyplot. A notebook displays it, and `savefig` saves it.

    Raises:
        CapabilityError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise CapabilityError("matplotlib is not installed", "Install it: pip install 'pfa-flux[notebook]'.") from error

    class Plot(Figure):
        def _repr_png_(self) -> bytes:
            out = io.BytesIO()
            self.savefig(out, format="png")
            return out.getvalue()

    by_time = "time" in result.by
    height = 3.6 if by_time else max(1.6, 0.9 + _BAR_HEIGHT * len(result))
    figure = Plot(figsize=(7.6, height), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    (_over_time if by_time else _bars)(axes, result)
    return figure


def _over_time(axes: Axes, result: RatioAnswer) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import PercentFormatter

    lines = _by_other_keys(result)
    for number, (label, rows) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        times: Any = [to_datetime(row.start) for row in rows if row.start is not None]
        # An interval without a ratio interrupts the line, because it is not zero.
        low, ratio, high = (_numbers(rows, field) for field in ("ratio_low", "ratio", "ratio_high"))
        axes.fill_between(times, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(times, ratio, color=colour, marker="o", markersize=3, linewidth=1.6, label=label)
    locator = AutoDateLocator(tz=result.tz)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=result.tz))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylim(0, 1)
    axes.set_ylabel("page views without the analytics")
    axes.grid(axis="y", alpha=0.25)
    if len(lines) > 1:
        axes.legend(frameon=False, ncols=min(3, len(lines)), loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _bars(axes: Axes, result: RatioAnswer) -> None:
    from matplotlib.ticker import PercentFormatter

    for number, row in enumerate(result):
        if row.ratio is None or row.ratio_low is None or row.ratio_high is None:
            axes.text(0.01, number, row.status.replace("_", " "), va="center", fontsize="small", alpha=0.7)
            continue
        ends = [[row.ratio - row.ratio_low], [row.ratio_high - row.ratio]]
        style: dict[str, Any] = {"ecolor": "#222222", "capsize": 3, "error_kw": {"elinewidth": 1}}
        axes.barh(number, row.ratio, height=0.6, color=_COLOURS[0], xerr=ends, **style)
        axes.text(min(row.ratio_high + 0.015, 0.99), number, percent(row.ratio), va="center", fontsize="small")
    axes.set_yticks(range(len(result)), [_name(row, result.by) for row in result])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.08)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.set_xlabel("page views without the analytics, with the 95% interval")


def _by_other_keys(result: RatioAnswer) -> dict[str, list[RatioRow]]:
    lines: dict[str, list[RatioRow]] = {}
    others = tuple(key for key in result.by if key != "time")
    for row in result:
        lines.setdefault(_name(row, others), []).append(row)
    return lines


def _name(row: RatioRow, keys: tuple[str, ...]) -> str:
    text = ", ".join(name(key, row.key[key]) for key in keys)
    # A dollar sign would start a formula.
    return (f"{text[:25]}…{text[-8:]}" if len(text) > 36 else text).replace("$", r"\$")


def _numbers(rows: list[RatioRow], field: str) -> list[float]:
    values = (getattr(row, field) for row in rows)
    return [float("nan") if value is None else value for value in values]
