"""`pfa-flux report`: one HTML file that needs nothing else, says what the queries say, and escapes text from data."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pfa_flux import Point
from pfa_flux.demo import page_views, points
from pfa_flux.present.report.bars import is_vague
from pfa_flux.present.report.contents import interval_of
from pfa_flux.ratio.phrasing import may_be_chance
from pfa_flux.ratio.rows import RatioRow
from pfa_flux.schema import Schema
from tests.cases import many
from tests.cli import pfa_flux
from tests.contract import analytics, fill
from tests.data import DAY, HOUR, T0, hit, load
from tests.engines.plugin import MakeWorkspace
from tests.test_analysis import HOSTILE

SPAN = ("--start", "2026-01-12T00:00:00Z", "--stop", "2026-01-15T00:00:00Z")


class Page(HTMLParser):
    """What is in a page: its tags, every attribute, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_report_says_what_the_queries_say(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace, out = make_workspace("embedded"), tmp_path / "report.html"
    fill(workspace, T0, points(page_views(T0 + 3 * DAY, 3), Schema()))
    done = pfa_flux("report", "--out", str(out), *SPAN, env=workspace.env())
    assert (done.code, done.out) == (0, "")
    page = Page(out.read_text())
    with analytics(workspace, T0 + 3 * DAY) as made:
        (whole,) = made.blocked_ratio(by=[], start=T0, stop=T0 + 3 * DAY)
        networks = made.blocked_ratio(by=["network"], start=T0, stop=T0 + 3 * DAY)
        pages = made.blocked_ratio(by=["page"], start=T0, stop=T0 + 3 * DAY)
    assert whole.ratio is not None
    assert f"{whole.ratio * 100:.1f}" in page.words
    for row in (*networks, *pages):
        assert row.ratio is not None
        assert f"{row.ratio * 100:.1f}%" in page.words
        assert f"{row.hits:,}" in page.words
    for contrast in networks.differences():
        assert contrast.sentence in page.words


def test_the_report_needs_nothing_else_and_can_be_read_aloud(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace, out = make_workspace("embedded"), tmp_path / "report.html"
    fill(workspace, T0, points(page_views(T0 + 3 * DAY, 3), Schema()))
    pfa_flux("report", "--out", str(out), *SPAN, env=workspace.env())
    html = out.read_text()
    page = Page(html)
    assert not {"script", "img", "link", "iframe", "object", "embed"} & set(page.tags)
    assert not [(name, value) for name, value in page.attributes if name in {"src", "href"} or name.startswith("on")]
    assert not re.search(r"url\(|@import|https?:", html)
    assert "default-src 'none'; style-src 'sha256-" in html
    assert page.tags.count("h1") == 1
    assert ("lang", "en") in page.attributes
    assert page.tags.count("table") == page.tags.count("caption") == 2
    assert ("scope", "col") in page.attributes
    assert any(name == "aria-label" and "over time" in value for name, value in page.attributes)
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_text_from_data_does_nothing(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("embedded")
    data = [*many(hit, 30, page=HOSTILE, domain='"><script>x</script>'), *many(load, 10, page=HOSTILE)]
    fill(workspace, T0, [*data, *many(hit, 20), *many(hit, 5, domain="<b>.onion")])
    done = pfa_flux("report", "--out", "-", *SPAN, env=workspace.env())
    page = Page(done.out)
    assert "script" not in page.tags
    assert '<script>alert("1")</script>[red]$x^2$\\x1b[31m' in page.words
    assert '"><script>x</script>' in page.words


@pytest.mark.parametrize("data", [[], [load(T0)], [*many(load, 3), *many(hit, 2)]], ids=["none", "loads", "more loads"])
def test_a_report_without_a_ratio_says_so(data: list[object], make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("embedded")
    fill(workspace, T0, data)  # type: ignore[arg-type]
    done = pfa_flux("report", "--out", "-", *SPAN, env=workspace.env())
    assert done.code == (0 if data else 3)
    assert "There is no share" in Page(done.out).words


def test_a_file_that_cannot_be_written_is_a_usage_error(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace("embedded")
    done = pfa_flux("report", "--out", str(tmp_path / "absent" / "r.html"), *SPAN, env=workspace.env())
    assert done.code == 2
    assert "cannot be written" in done.err


def report_of(make_workspace: MakeWorkspace, points: list[Point], start: int = T0, stop: int = T0 + 3 * DAY) -> str:
    """The report of points, as HTML."""
    workspace = make_workspace("embedded")
    fill(workspace, T0, points)
    with analytics(workspace, T0 + 3 * DAY) as made:
        return made.report(start=start, stop=stop)[0]


def shown(html: str, kind: str) -> list[str]:
    """Texts of the elements of a class, without markup."""
    found = re.findall(rf'<(\w+) class="{kind}">(.*?)</\1>', html)
    return [" ".join(unescape(re.sub("<[^>]+>", "", inner)).split()) for _, inner in found]


def test_the_headline_of_few_page_views_is_their_interval(make_workspace: MakeWorkspace) -> None:
    html = report_of(make_workspace, [*many(hit, 8), *many(load, 6)])
    assert shown(html, "headline vague") == ["0–97%"]
    assert shown(html, "lead") == [
        "of all page views came without the JavaScript analytics (95% interval). 8 page views are too few for a "
        "narrower range; the share among them was 25.0%."
    ]
    assert "doubtful" not in html


def test_the_headline_of_many_page_views_is_their_share(make_workspace: MakeWorkspace) -> None:
    hits = [hit(T0 + n * HOUR // 5) for n in range(350)]
    html = report_of(make_workspace, [*hits, *(load(each.time) for n, each in enumerate(hits) if n % 5)])
    assert shown(html, "headline") == ["20.0%"]
    assert "No problems found." in html


def compared(make_workspace: MakeWorkspace, before: tuple[int, int], now: tuple[int, int]) -> str:
    """The report of a day with so many hits and loads, after a day with others."""
    days = ((T0, before), (T0 + DAY, now))
    points = [
        *(hit(day + n * DAY // hits) for day, (hits, _) in days for n in range(hits)),
        *(load(day + n * DAY // loads) for day, (_, loads) in days for n in range(loads)),
    ]
    return report_of(make_workspace, points, T0 + DAY, T0 + 2 * DAY)


def test_a_change_that_may_be_chance_is_small_and_says_so(make_workspace: MakeWorkspace) -> None:
    html = compared(make_workspace, (9, 5), (8, 6))
    assert shown(html, "facts") == ["8page views, by the pixel6of them reported by the analytics2not reported"]
    assert (
        "The share of the previous period was 44.4%. The difference may be chance: −19.4 points, 95% interval −69.1 "
        "to +53.2."
    ) in shown(html, "soft")


def test_a_clear_change_stands_among_the_facts(make_workspace: MakeWorkspace) -> None:
    html = compared(make_workspace, (90, 80), (80, 20))
    assert "<b>+63.9 points</b><span>since the previous period (+50.1 to +73.6)</span>" in html
    assert "may be chance" not in html


def test_warnings_have_a_subject_and_no_options(make_workspace: MakeWorkspace) -> None:
    late = T0 + 30 * HOUR
    html = report_of(make_workspace, [*many(hit, 8, late), *many(load, 7, late), *many(load, 4, T0, page="/other")])
    assert [re.split("[:.] ", warning)[0] for warning in shown(html, "warning")] == [
        "The total has more JS loads than hits, so there is no ratio",
        "36% of the JS loads are on a page without a hit, such as example.com, /other",
        "No hits before 13 January 2026, 06:00",
        "/ has an interval that is wider than the ratio itself",
    ]
    assert "--" not in re.sub(r"<style>.*</style>", "", html, flags=re.DOTALL)


@pytest.mark.parametrize(("high", "vague"), [(0.2, False), (0.201, True), (None, False)])
def test_a_share_is_vague_whose_interval_is_wider_than_twenty_points(high: float | None, vague: bool) -> None:
    assert is_vague(RatioRow({}, 10, 9, 1, 0.1, 0.0, high, "ok")) == vague


@pytest.mark.parametrize(
    ("length", "every"),
    [(2 * DAY - 1, "1h"), (2 * DAY, "1h"), (2 * DAY + 1, "1d"), (90 * DAY, "1d"), (90 * DAY + 1, "1w")],
)
def test_the_interval_of_a_plot_follows_the_length_of_the_range(length: int, every: str) -> None:
    assert interval_of(T0, T0 + length) == every


@pytest.mark.parametrize(
    ("low", "high", "chance"), [(0.0, 0.1, True), (-0.1, 0.0, True), (0.01, 0.1, False), (-0.1, -0.01, False)]
)
def test_a_difference_may_be_chance_whose_interval_reaches_to_nothing(low: float, high: float, chance: bool) -> None:
    assert may_be_chance(low, high) == chance
