"""What people see in a report and in plots: lengths and places are read from the drawings, beside the rows."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from itertools import pairwise
from typing import Any

import pytest

from pfa_flux import Analytics, BlockedRatio, Settings
from pfa_flux.present.report.chart import Line, chart
from pfa_flux.ratio.phrasing import percent as percent_of
from pfa_flux.ratio.phrasing import points
from pfa_flux.ratio.rows import RatioRow
from pfa_flux.times import NS, format_instant
from pfa_flux.view.page import LivePage, Request
from tests.data import DAY, T0, hit, load

ONION = f"{'b' * 55}d.onion"
STOP = T0 + 8 * DAY
WITH_DATA = (0, 1, 2, 3, 4, 6)
"""Days with page views: the last of them has no neighbour, and the eighth has none at all."""
PAGES = 40
NETWORK_NAMES = {"clearnet": "clearnet", "tor": "Tor"}


@pytest.fixture(scope="module")
def analytics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Analytics]:
    """Shares that grow from day to day, and pages of which each has one view a day less than the one before."""
    pages = [f"/p{number}" for number in range(PAGES) for _ in range(PAGES - number)]
    made = []
    for day in WITH_DATA:
        for number, page in enumerate(pages):
            at = T0 + day * DAY + number * 100 * NS
            made.append(hit(at, page=page))
            made += [load(at, page=page)] * (number % 10 > day)
            made += [hit(at, ONION, page)] * (number % 7 == 0)
            made += [load(at, ONION, page)] * (number % 35 == 0)
    settings = Settings(data_dir=tmp_path_factory.mktemp("drawn"))
    with Analytics(settings, clock=lambda: STOP + DAY) as opened:
        opened.write(made)
        yield opened


@pytest.fixture(scope="module")
def report(analytics: Analytics) -> ET.Element:
    """The report as a tree."""
    html, _ = analytics.report(start=T0, stop=STOP, every="1d")
    body = re.sub(r"<meta[^>]*>|<!doctype html>", "", html)
    return ET.fromstring(body)


def asked(analytics: Analytics, *by: str) -> BlockedRatio:
    every = "1d" if "time" in by else None
    return analytics.blocked_ratio(by=by, every=every, start=T0, stop=STOP)


def percent(text: str | None) -> float:
    """A length or place in per cent of the drawing, as a share."""
    assert text is not None
    assert text.endswith("%")
    return float(text[:-1]) / 100


def near(value: float | None) -> Any:
    """What a drawing with two digits of a per cent can say of a value."""
    assert value is not None
    return pytest.approx(value, abs=0.000_06)


def section(report: ET.Element, heading: str) -> ET.Element:
    (found,) = [each for each in report.iter("section") if each.findtext("h2") == heading]
    return found


def of_class(tree: ET.Element, name: str) -> list[ET.Element]:
    return [each for each in tree.iter() if name in each.get("class", "").split()]


def words(tree: ET.Element) -> str:
    return "".join(tree.itertext())


def cells(table: ET.Element) -> list[list[str]]:
    return [[words(cell) for cell in row] for row in table.findall("tbody/tr")]


def test_a_bar_is_as_long_as_its_share_and_its_whisker_goes_from_end_to_end(
    analytics: Analytics, report: ET.Element
) -> None:
    rows = list(asked(analytics, "network"))
    drawn = of_class(section(report, "By network"), "row")
    assert [words(bar).split(" ")[0].rstrip("0123456789,") for bar in drawn] == ["clearnet", "Tor"]
    for bar, row in zip(drawn, rows, strict=True):
        (fill,) = of_class(bar, "fill")
        assert fill.get("class") == f"fill {row.key['network']}"
        assert (fill.get("x"), percent(fill.get("width"))) == (None, near(row.ratio))
        body, *ends = of_class(bar, "whisker")
        assert (percent(body.get("x1")), percent(body.get("x2"))) == (near(row.ratio_low), near(row.ratio_high))
        assert body.get("y1") == body.get("y2")
        assert percent(body.get("x2")) - percent(body.get("x1")) > 0.01
        assert [percent(end.get("x1")) for end in ends] == [near(row.ratio_low), near(row.ratio_high)]
        for end in ends:
            assert end.get("x1") == end.get("x2")
            assert percent(end.get("y1")) < percent(body.get("y1")) < percent(end.get("y2"))


@dataclass
class Axes:
    """Where a value is, read from the labels at the side and below."""

    chart: ET.Element

    def ratio(self, y: float) -> float:
        """Share at a height, in thousandths from above: by the labels of two lines of the grid."""
        labels = [(percent(each.get("y")), percent(words(each))) for each in self._shares()]
        (low, at_low), (high, at_high) = labels[0], labels[-1]
        assert all(y1 > y2 and share1 < share2 for (y1, share1), (y2, share2) in pairwise(labels))
        return at_low + (y / 1000 - low) / (high - low) * (at_high - at_low)

    def ticks(self) -> list[tuple[float, str]]:
        """Place in thousandths from the left, and label."""
        texts = [each for each in self.chart.iter("text") if each not in self._shares()]
        return [(1000 * percent(str(tspan.get("x"))), words(each)) for each in texts for tspan in each.iter("tspan")]

    def _shares(self) -> list[ET.Element]:
        return of_class(self.chart, "share")

    def lines(self, colour: str, kind: str) -> list[list[tuple[float, float]]]:
        """Points of the lines or bands of a colour, place from the left and share."""
        return [
            [
                (float(x), self.ratio(float(y)))
                for x, y in (point.split(",") for point in each.get("points", "").split())
            ]
            for each in self.chart.iter(kind)
            if each.get("class") == colour
        ]


@pytest.mark.parametrize("network", NETWORK_NAMES)
def test_a_line_over_time_is_at_its_shares_and_the_band_at_the_ends_of_the_interval(
    network: str, analytics: Analytics, report: ET.Element
) -> None:
    axes = Axes(of_class(section(report, "Over time"), "chart")[0])
    rows = [row for row in asked(analytics, "network", "time") if row.key["network"] == network]
    days = {row.key["time"]: 1000 * number / 7 for number, row in enumerate(rows)}
    runs = [rows[:5], [rows[6]]]
    assert [row.ratio is None for row in rows] == [False] * 5 + [True, False, True]
    for run, line, band in zip(runs, axes.lines(network, "polyline"), axes.lines(network, "polygon"), strict=True):
        # A day alone is drawn as a short level line around its place.
        shown = run if len(run) > 1 else run * 2
        places = (
            [days[row.key["time"]] for row in run] if len(run) > 1 else [days[run[0].key["time"]] + d for d in (-7, 7)]
        )
        assert [x for x, _ in line] == pytest.approx(places, abs=0.06)
        assert [share for _, share in line] == pytest.approx([row.ratio for row in shown], abs=0.0002)
        high, low = band[: len(shown)], band[len(shown) :][::-1]
        assert [x for x, _ in high] == [x for x, _ in low] == [x for x, _ in line]
        assert [share for _, share in high] == pytest.approx([row.ratio_high for row in shown], abs=0.0002)
        assert [share for _, share in low] == pytest.approx([row.ratio_low for row in shown], abs=0.0002)


@pytest.mark.parametrize(("high", "labels"), [(0.27, [0.0, 0.1, 0.2, 0.3]), (0.55, [0.0, 0.2, 0.4, 0.6])])
def test_a_chart_of_small_shares_is_drawn_larger(high: float, labels: list[float]) -> None:
    times = [T0, T0 + DAY]
    rows = [RatioRow({"time": format_instant(t)}, 10, 8, 2, 0.2, 0.1, high, "ok", start=t) for t in times]
    drawn = chart([Line("all", "all", rows)], [T0, T0 + DAY], UTC)
    axes = Axes(ET.fromstring(drawn))
    assert [percent(words(each).replace("\xa0", "")) for each in of_class(axes.chart, "share")] == labels
    (line,), (band,) = axes.lines("all", "polyline"), axes.lines("all", "polygon")
    assert [x for x, _ in line] == [0, 1000]
    assert [share for _, share in line] == pytest.approx([0.2, 0.2], abs=0.0002)
    assert [x for x, _ in band] == [0, 1000, 1000, 0]
    assert [share for _, share in band] == pytest.approx([high, high, 0.1, 0.1], abs=0.0002)


def test_labels_below_the_chart_stand_at_their_days(report: ET.Element) -> None:
    axes = Axes(of_class(section(report, "Over time"), "chart")[0])
    places, labels = zip(*axes.ticks(), strict=True)
    assert labels == ("12 Jan", "14 Jan", "16 Jan", "18 Jan")
    assert places == pytest.approx([1000 * day / 7 for day in (0, 2, 4, 6)], abs=0.06)


def test_the_legend_gives_each_network_its_colour(report: ET.Element) -> None:
    (legend,) = of_class(section(report, "Over time"), "legend")
    colours = [(of_class(item, "fill")[0].get("class"), words(item)) for item in legend]
    assert colours == [(f"fill {network}", name) for network, name in NETWORK_NAMES.items()]


def shown(row: RatioRow, name: str) -> list[str]:
    assert row.ratio is not None
    assert row.ratio_low is not None
    assert row.ratio_high is not None
    ends = f"{row.ratio_low * 100:.1f}–{row.ratio_high * 100:.1f}%"
    return [name, f"{row.hits:,}", f"{row.js:,}", f"{row.blocked:,}", f"{row.ratio * 100:.1f}%", ends]


def test_the_table_of_pages_has_the_most_viewed_first_and_counts_the_others(
    analytics: Analytics, report: ET.Element
) -> None:
    rows = {row.key["page"]: row for row in asked(analytics, "page")}
    part = section(report, "By page")
    (table,) = part.iter("table")
    expected = [shown(rows[f"/p{number}"], f"/p{number}") for number in range(25)]
    assert cells(table) == expected
    assert [words(each) for each in of_class(part, "soft")] == ["15 more pages have fewer page views each."]


def test_the_live_page_has_the_drawings_of_the_report(analytics: Analytics) -> None:
    html, _ = analytics.report(start=T0, stop=STOP, every="1d")
    page = LivePage(analytics.settings, clock=lambda: STOP + DAY)
    answer = page.answer(Request("GET", "/?from=2026-01-12&to=2026-01-19", ["localhost:8482"]))
    live, own = (re.findall(r"<svg .*?</svg>", each) for each in (answer.body, html))
    assert live == own
    # Two bars by network and two by domain, two colours of the legend, the frame of the chart and its lines.
    assert len(own) == 8


def test_the_live_page_has_each_rows_change_beside_it(analytics: Analytics) -> None:
    page = LivePage(analytics.settings, clock=lambda: STOP + DAY)
    target = "/?by=network&from=2026-01-15&to=2026-01-17&compare=1"
    answer = page.answer(Request("GET", target, ["localhost:8482"]))
    rows = analytics.blocked_ratio(by=("network",), start=T0 + 3 * DAY, stop=T0 + 6 * DAY, compare=True)
    before, changes = (
        [found.replace("\xa0", " ") for found in re.findall(rf'<td class="{name}">(?:<\w+>)?([^,<]+)', answer.body)]
        for name in ("ratio before spare", "change")
    )
    assert before == [percent_of(row.before.ratio if row.before else None) for row in rows]
    assert changes == [points(row.change[0] if row.change else None) for row in rows]
    assert any(row.change and row.change[0] > 0 for row in rows)


def test_a_plot_over_time_has_the_rows_as_line_and_band(analytics: Analytics) -> None:
    result = asked(analytics, "network", "time")
    axes: Any = result.plot().axes[0]
    assert axes.get_ylim() == (0, 1)
    assert [line.get_label() for line in axes.lines] == list(NETWORK_NAMES)
    for line, band in zip(axes.lines, axes.collections, strict=True):
        rows = [row for row in result if row.key["network"] == line.get_label()]
        wanted = [float("nan") if row.ratio is None else row.ratio for row in rows]
        assert [float(y) for y in line.get_ydata()] == pytest.approx(wanted, nan_ok=True)
        times = [float(x) for x in axes.convert_xunits(line.get_xdata())]
        assert [after - before for before, after in pairwise(times)] == pytest.approx([1.0] * 7)
        corners = {(round(float(x), 6), round(float(y), 9)) for path in band.get_paths() for x, y in path.vertices}
        for x, row in zip(times, rows, strict=True):
            for end in (row.ratio_low, row.ratio_high):
                assert end is None or (round(x, 6), round(end, 9)) in corners


def test_a_plot_of_bars_has_the_intervals_as_error_bars(analytics: Analytics) -> None:
    result = asked(analytics, "network")
    axes: Any = result.plot().axes[0]
    assert axes.yaxis_inverted()
    assert [bar.get_width() for bar in axes.patches] == [row.ratio for row in result]
    assert [bar.get_y() + bar.get_height() / 2 for bar in axes.patches] == [0, 1]
    whiskers = [segment for lines in axes.collections for segment in lines.get_segments()]
    ends = [float(x) for (x1, _), (x2, _) in whiskers for x in (x1, x2)]
    assert ends == pytest.approx([end for row in result for end in (row.ratio_low, row.ratio_high)])
    assert [label.get_text() for label in axes.get_yticklabels()] == list(NETWORK_NAMES)
