"""The library's results: answers that can display themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from pfa_flux.present.dates import short
from pfa_flux.present.sheet import Cell, Column, Sheet
from pfa_flux.present.table import Table
from pfa_flux.ratio import phrasing
from pfa_flux.ratio.comparison import ComparisonAnswer
from pfa_flux.ratio.page_views import PageViewAnswer, PageViewRow
from pfa_flux.ratio.result import RatioAnswer
from pfa_flux.ratio.rows import RatioRow
from pfa_flux.schema import BOTH, Side

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class BlockedRatio(RatioAnswer, Table):
    """The share of page views that the JavaScript analytics did not report.

    Attributes:
        start: first instant of the range, nanoseconds since the epoch.
        stop: first instant after it.
        by: keys of the rows, in order.
        engine: influxdb2, influxdb1 or embedded.
        dialect: query language that was used.
        source: raw data, downsampled data, or both.
        rows: sorted by key.
        warnings: warnings about the figures.
        tz: time zone of the intervals.
        before: start and stop of the previous period, if requested.
        total: figures of all rows together, without a key. It equals the only row of the same question with `by=()`.
        subject: the sites, domains, networks and pages, as text.
        covers: first instant that the figures cover, and first instant after it. Shorter than the range if the rest is
            unknown.
        doubts: codes of the warnings that make the total doubtful, not just single rows.
        store: engine, version and address.
        config: settings file that was read; None without one.
    """

    __slots__ = ()

    @property
    def sentence(self) -> str:
        """The answer as a sentence: page views, range, share with its interval, and source of the figures."""
        from pfa_flux.present.sentence import sentence

        return sentence(self)

    def differences(self) -> Comparison:
        """Differences between every two rows. The result must have one key other than time.

        Raises:
            InvalidValueError: the rows have several keys, or the key is time.
        """
        return Comparison.of(super().differences())

    def sheet(self) -> Sheet:
        """Rows for display, and their total."""
        before = (Column("previous", "ratio", 3), Column("change", "ratio"), Column("points, 95%", "interval", 2))
        columns = (
            *(Column(key, "key") for key in self.by),
            Column(Side.HITS.heading, "number"),
            Column(Side.LOADS.heading, "number", 4),
            Column("blocked", "number", 5),
            Column("ratio", "ratio"),
            Column("95% interval", "interval", 1),
            *(before if self.before else ()),
            Column("", "bar", 6),
            Column("", "note"),
        )
        named = zip(_names_of(self.rows, self.tz), self.rows, strict=True)
        rows = [[*names, *_cells(row)] for names, row in named]
        total = ("total", *[""] * (len(self.by) - 1), *_cells(self.total)) if self.by else ()
        return Sheet(columns, rows, total)

    def plot(self) -> Figure:
        """A plot: a line over time, with the interval as a band, if `time` is a key. Otherwise a bar for each row.

        Raises:
            CapabilityError: matplotlib is not installed.
        """
        from pfa_flux.present.plots import plot

        return plot(self)


class Comparison(ComparisonAnswer, Table):
    """Differences between the blocked ratios of every two networks, domains or pages.

    Attributes:
        start: first instant of the range, nanoseconds since the epoch.
        stop: first instant after it.
        key: network, domain or page.
        rows: one for each pair; pairs without both ratios are left out.
        warnings: warnings about the figures.
    """

    __slots__ = ()

    def sheet(self) -> Sheet:
        """Rows for display."""
        columns = (
            Column(self.key, "key"),
            Column("minus", "key"),
            Column("points", "ratio"),
            Column("95% interval", "interval"),
            Column("", "note"),
        )
        rows = [
            (
                phrasing.name(self.key, row.first),
                phrasing.name(self.key, row.second),
                phrasing.points(row.difference),
                phrasing.points_range(row.difference_low, row.difference_high),
                row.sentence,
            )
            for row in self.rows
        ]
        return Sheet(columns, rows)


class PageViews(PageViewAnswer, Table):
    """Page views counted by the pixel, by the JavaScript analytics, or both.

    Attributes:
        start: first instant of the range, nanoseconds since the epoch.
        stop: first instant after it.
        by: keys of the rows, in order.
        sides: hits, js or both, as requested.
        source: raw data, downsampled data, or both.
        rows: sorted by key.
        warnings: warnings about the figures.
        tz: time zone of the intervals.
    """

    __slots__ = ()

    def sheet(self) -> Sheet:
        """Rows for display."""
        names = {side.column: side.heading for side in BOTH}
        columns = (*(Column(key, "key") for key in self.by), *(Column(names[side], "number") for side in self.sides))
        named = zip(_names_of(self.rows, self.tz), self.rows, strict=True)
        rows = [(*names, *(f"{getattr(row, side):,}" for side in self.sides)) for names, row in named]
        return Sheet(columns, rows)


def _names_of(rows: Sequence[RatioRow | PageViewRow], tz: str) -> list[list[str]]:
    """Values of rows' keys as cells of a table, with times for people in a time zone."""
    starts = list(dict.fromkeys(row.start for row in rows if row.start is not None))
    times = dict(zip(starts, short(starts, ZoneInfo(tz)), strict=True))
    return [
        [
            times[row.start] if key == "time" and row.start is not None else phrasing.name(key, value)
            for key, value in row.key.items()
        ]
        for row in rows
    ]


def _cells(row: RatioRow) -> list[Cell]:
    """The figures of a row."""
    before = []
    if row.before is not None:
        difference, *ends = row.change or (None, None, None)
        before = [phrasing.percent(row.before.ratio), phrasing.points(difference), phrasing.points_range(*ends)]
    return [
        f"{row.hits:,}",
        f"{row.js:,}",
        f"{row.blocked:,}",
        phrasing.percent(row.ratio),
        phrasing.percent_range(row.ratio_low, row.ratio_high),
        *before,
        row.ratio,
        phrasing.STATUS[row.status],
    ]
