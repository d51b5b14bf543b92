"""From figures to answers: comparisons, the period before, warnings, tables, DataFrames and plots."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import pytest

from pfa_flux import Analytics, BlockedRatio, Comparison, InvalidValueError, Point
from pfa_flux.demo import page_views, points
from pfa_flux.schema import Schema
from tests import oracle
from tests.cases import ONION, many
from tests.cli import pfa_flux
from tests.contract import ENGINES_ONCE, Target, analytics, fill, ordinarily, workspace_of
from tests.data import DAY, HOUR, MINUTE, T0, hit, load
from tests.engines.plugin import MakeWorkspace

engines = pytest.mark.parametrize("target", ordinarily(ENGINES_ONCE), ids=str)


def codes(result: Any) -> list[str]:
    return [warning.code for warning in result.warnings]


def message(result: Any, code: str) -> str:
    (found,) = [warning.message for warning in result.warnings if warning.code == code]
    return str(found)


def steady(share: int, start: int, hours: int, **where: str) -> list[Point]:
    """Sixty views an hour, of which `share` come without the analytics."""
    hits = [hit(start + i * MINUTE, **where) for i in range(60 * hours)]
    return [*hits, *(load(start + i * MINUTE, **where) for i in range(60 * hours) if i % 60 >= share)]  # type: ignore[arg-type]


@pytest.fixture
def embedded(make_workspace: MakeWorkspace) -> Iterator[Analytics]:
    workspace = make_workspace("embedded")
    with analytics(workspace, T0 + 3 * DAY) as made:
        yield made


@engines
def test_networks_are_held_against_each_other(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    data = [*steady(15, T0, 24, domain="example.com"), *steady(30, T0, 24, domain=ONION)]
    data += [*steady(16, T0, 24, domain="example.i2p")]
    fill(workspace, T0 + DAY, data)
    with analytics(workspace, T0 + DAY) as made:
        found = made.compare(start="24h")
    assert [(row.first, row.second) for row in found] == [("i2p", "clearnet"), ("tor", "clearnet"), ("tor", "i2p")]
    tor = found.rows[1]
    assert tor.difference == pytest.approx(0.25)
    low, high = oracle.wilson(0.5, 1440), oracle.wilson(0.25, 1440)
    # Every hour is like the other, so that n is the number of blocks: Student's t of 23 and n = 24.
    low, high = (oracle.wilson(r, 24, oracle.student(23)) for r in (0.5, 0.25))
    assert tor.difference_low == pytest.approx(0.25 - ((0.5 - low[0]) ** 2 + (high[1] - 0.25) ** 2) ** 0.5)
    assert tor.difference_high == pytest.approx(0.25 + ((low[1] - 0.5) ** 2 + (0.25 - high[0]) ** 2) ** 0.5)


LACK = "Page views over Tor lack the JavaScript analytics"
OTHERS = "often than those over clearnet."


@pytest.mark.parametrize(
    ("low", "high", "sentence"),
    [
        (0.31, 0.36, f"{LACK} 31–36 points more {OTHERS}"),
        (-0.36, -0.31, f"{LACK} 31–36 points less {OTHERS}"),
        (0.001, 0.012, f"{LACK} 0.1–1.2 points more {OTHERS}"),
        (
            -0.02,
            0.05,
            "Page views over Tor and over clearnet are too few to tell which lack the JavaScript analytics more often "
            "(difference −2.0 to +5.0 points).",
        ),
    ],
)
def test_a_difference_is_a_plain_sentence(low: float, high: float, sentence: str) -> None:
    from pfa_flux.ratio import phrasing

    assert phrasing.difference("network", "tor", "clearnet", low, high) == sentence


def test_rows_of_several_keys_or_of_time_are_not_held_against_each_other(embedded: Analytics) -> None:
    with pytest.raises(InvalidValueError, match="rows by domain, page cannot"):
        embedded.blocked_ratio(by=["domain", "page"]).differences()
    with pytest.raises(InvalidValueError, match="rows by time cannot"):
        embedded.compare("time")


@engines
def test_each_row_stands_beside_the_period_before(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    data = [*steady(15, T0, 24), *steady(30, T0 + DAY, 24), *many(hit, 5, domain="gone.example")]
    fill(workspace, T0 + 2 * DAY, data)
    with analytics(workspace, T0 + 2 * DAY) as made:
        result = made.blocked_ratio(start="24h", compare=True)
    assert result.before == (T0, T0 + DAY)
    gone, row = sorted(result, key=lambda row: row.hits)
    assert (gone.key, gone.status, gone.before and gone.before.hits) == ({"domain": "gone.example"}, "no_data", 5)
    assert row.before is not None
    assert row.change is not None
    assert (row.ratio, row.before.ratio, row.change[0]) == (0.5, 0.25, 0.25)
    assert row.change[1] < 0.25 < row.change[2]
    assert json.loads(result.to_json())["before"] == {"start": "2026-01-12T00:00:00Z", "stop": "2026-01-13T00:00:00Z"}
    assert next(csv.DictReader(io.StringIO(result.to_csv())))["before_hits"] == "1440"


def test_days_stand_beside_the_same_days_of_the_week_before_across_a_change_of_the_clock(embedded: Analytics) -> None:
    # The last Sunday of March 2026 is the 29th: a day of 23 hours in Berlin.
    span = {"start": "2026-03-27T00:00:00+01:00", "stop": "2026-04-03T00:00:00+02:00"}
    data = [
        *many(hit, 3, start=oracle_time("2026-03-29T23:30:00+02:00")),
        *many(hit, 2, start=oracle_time("2026-03-22T23:30:00+01:00")),
    ]
    embedded.write(data)
    result = embedded.blocked_ratio(by=["time"], every="1d", tz="Europe/Berlin", compare=True, **span)
    assert result.before == (oracle_time("2026-03-20T00:00:00+01:00"), oracle_time("2026-03-27T00:00:00+01:00"))
    days = {
        row.key["time"]: (row.hits, row.before and row.before.hits, row.before and row.before.key) for row in result
    }
    assert days["2026-03-29T00:00:00+01:00"] == (3, 2, {"time": "2026-03-22T00:00:00+01:00"})
    assert len(days) == 7


def oracle_time(text: str) -> int:
    from datetime import datetime

    return int(datetime.fromisoformat(text).timestamp()) * 10**9


@engines
def test_page_views_of_one_side_domains_and_pages(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    data = [*many(hit, 5), *many(hit, 2, domain=ONION, page="/x"), *many(load, 3), *many(load, 1, domain="js.example")]
    fill(workspace, T0 + DAY, data)
    with analytics(workspace, T0 + DAY) as made:
        assert made.hits().records() == [
            {"domain": ONION, "hits": 2, "domain_display": ONION},
            {"domain": "example.com", "hits": 5, "domain_display": "example.com"},
        ]
        assert made.js_loads(by=["network"]).records() == [{"network": "clearnet", "js": 4}]
        assert made.hits(["example.com"], by=["time"], every="1d").records() == [
            {"time": "2026-01-12T00:00:00Z", "hits": 5}
        ]
        assert [tuple(row.values()) for row in made.domains().records()] == [
            (ONION, "tor", 2, 0, ONION),
            ("example.com", "clearnet", 5, 3, "example.com"),
            ("js.example", "clearnet", 0, 1, "js.example"),
        ]
        assert made.pages().records() == [
            {"page": "/", "hits": 5, "js": 4, "page_display": "/"},
            {"page": "/x", "hits": 2, "js": 0, "page_display": "/x"},
        ]
        assert made.pages([ONION]).records() == [{"page": "/x", "hits": 2, "js": 0, "page_display": "/x"}]


@engines
def test_warnings_say_what_they_mean(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    data = [
        *many(hit, 40, start=T0 + 5 * HOUR, page="(unknown)"),
        *many(hit, 60, start=T0 + 5 * HOUR, sess="b"),
        *many(load, 90, start=T0 + 5 * HOUR),
        *many(load, 3, domain="js.example"),
        *many(hit, 2, start=T0 + 6 * HOUR, domain="js.example"),
    ]
    fill(workspace, T0 + DAY, data)
    with analytics(workspace, T0 + DAY) as made:
        result = made.blocked_ratio(start="24h")
        assert codes(result) == ["js_exceeds_hits", "interval_wide", "no_page", "pixel_late"]
        assert message(result, "js_exceeds_hits").startswith("js.example has more JS loads than hits")
        assert message(result, "interval_wide").startswith("example.com has an interval that is wider than the ratio")
        assert message(result, "no_page").startswith("39% of the hits have no page")
        assert "Use --start 2026-01-12T05:00:00Z" in message(result, "pixel_late")
        by_page = made.blocked_ratio(["example.com"], by=["page"], start="24h")
        assert message(by_page, "no_page").startswith("40% of the hits have no page")
        made.write([hit(T0 - 300 * DAY)])
        assert "pixel_late" not in codes(made.blocked_ratio(start="24h"))
        assert "pixel_late" in codes(made.blocked_ratio(["js.example"], start="24h"))


@engines
def test_loads_on_pages_without_hits_are_told_where_pages_are_known(
    target: Target, make_workspace: MakeWorkspace
) -> None:
    workspace = workspace_of(target, make_workspace)
    start = T0 + DAY - 3 * HOUR
    data = [
        *many(hit, 60, start=start, page="/a"),
        *many(load, 40, start=start, page="/a"),
        *many(load, 6, start=start, page="/canonical"),
        *many(load, 2, start=start, page="/other"),
        *many(hit, 5, start=start, page="/canonical", domain=ONION),
    ]
    fill(workspace, T0 + DAY, data)
    with analytics(workspace, T0 + DAY) as made:
        by_page = made.blocked_ratio(by=["domain", "page"], start="3h")
        assert message(by_page, "loads_without_hits") == (
            "17% of the JS loads are on 2 pages without a hit, such as example.com, /canonical: the pixel is missing "
            "there, or the analytics names pages by something other than their address."
        )
        assert "loads_without_hits" in codes(made.blocked_ratio(by=["page"], start="3h"))
        assert "loads_without_hits" not in codes(made.blocked_ratio(start="3h"))
        assert "loads_without_hits" not in codes(made.blocked_ratio([ONION], by=["page"], start="3h"))
        made.write(many(load, 40, start=start + MINUTE // 2, page="/a"))
        assert "loads_without_hits" not in codes(made.blocked_ratio(by=["page"], start="3h"))


def hourly(*counts: tuple[int, int]) -> list[Point]:
    """So many hits and loads in each hour of the day."""
    return [
        point
        for hour, (hits, js) in enumerate(counts)
        for point in (
            *many(hit, hits, start=T0 + hour * HOUR, step=HOUR // 100),
            *many(load, js, start=T0 + hour * HOUR, step=HOUR // 100),
        )
    ]


DEPLOYED = [(20, 15)] * 10 + [(15, 60)] * 14


@engines
def test_an_instant_since_which_loads_exceed_hits_is_named(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    fill(workspace, T0 + DAY, hourly(*DEPLOYED))
    with analytics(workspace, T0 + DAY) as made:
        expected = (
            "Since 2026-01-12T10:00:00Z there are more JS loads than hits (840 to 210), but not before. "
            "Check what changed at that time on the pages, in front of the pixel, or in the analytics."
        )
        for by in (["domain"], ["page"], ["time"], []):
            assert message(made.blocked_ratio(by=by, start="24h"), "js_exceeds_since") == expected
        # Other networks have nothing to do with it.
        assert "js_exceeds_since" not in codes(made.blocked_ratio(networks=["tor"], start="24h"))


@pytest.mark.parametrize(
    "counts",
    [
        [(20, 15)] * 24,
        [(15, 60)] * 24,
        [(20, 15)] * 22 + [(15, 60)] * 2,
        [(15, 60)] * 2 + [(20, 15)] * 22,
        [(20, 15), (15, 60)] * 12,
        [(20, 15)] * 10 + [(20, 21)] * 14,
        [(20, 15)] * 8 + [(15, 60)] * 8 + [(20, 15)] * 8,
        [],
    ],
    ids=["never", "always", "for two hours", "no more", "now and then", "by chance", "for a while", "no data"],
)
def test_no_instant_is_named_where_there_is_none(counts: list[tuple[int, int]], embedded: Analytics) -> None:
    embedded.write(hourly(*counts))
    assert "js_exceeds_since" not in codes(embedded.blocked_ratio(start=T0, stop=T0 + DAY))


@engines
def test_threads_share_one_connection(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    fill(workspace, T0 + DAY, [*many(hit, 50), *many(load, 20)])
    with analytics(workspace, T0 + DAY) as made, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: made.blocked_ratio(start="24h").to_json(), range(24)))
    assert len(set(answers)) == 1


HOSTILE = '<script>alert("1")</script>[red]$x^2$\x1b[31m'


def hostile(made: Analytics) -> BlockedRatio:
    made.write([*many(hit, 30, page=HOSTILE), *many(load, 10, page=HOSTILE), *many(hit, 30, page="/")])
    return made.blocked_ratio(by=["page"], start=T0, stop=T0 + DAY)


def test_a_result_is_a_table_in_a_notebook_and_a_terminal_and_text_from_data_does_nothing(embedded: Analytics) -> None:
    result = hostile(embedded)
    html = result._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;[red]$x^2$\\x1b[31m" in html
    assert "<strong>66.7%</strong>" in html
    text = str(result)
    assert "\x1b" not in text
    assert [line.split()[:4] for line in text.splitlines()[:2]] == [
        ["page", "hits", "JS", "loads"],
        ["/", "30", "0", "30"],
    ]
    assert '<script>alert("1")</script>[red]$x^2$\\x1b[31m' in text


def test_a_result_becomes_a_dataframe(embedded: Analytics) -> None:
    embedded.write([*many(hit, 4), *many(load, 1), *many(load, 1, start=T0 + DAY)])
    result = embedded.blocked_ratio(by=["time"], every="1d", tz="Asia/Tokyo", start=T0, stop=T0 + 2 * DAY, compare=True)
    frame = result.to_pandas()
    assert list(frame.columns) == list(result.columns)
    assert str(frame.time.dtype).endswith("Asia/Tokyo]")
    assert frame.time[0] == pd.Timestamp("2026-01-12T00:00+09:00")
    assert frame.ratio[0] == 0.75
    assert frame.ratio.isna().tolist() == [False, True, True]
    assert str(frame.change.dtype) == "float64"
    assert embedded.hits(start=T0, stop=T0 + DAY).to_pandas().to_dict("records") == [
        {"domain": "example.com", "hits": 4, "domain_display": "example.com"}
    ]


def test_plots_show_the_figures(embedded: Analytics) -> None:
    demo = points(page_views(T0 + 3 * DAY, 3), Schema())
    embedded.write(demo)
    over_time = embedded.blocked_ratio(by=["network", "time"], every="1d", start=T0, stop=T0 + 4 * DAY)
    axes = over_time.plot().axes[0]
    assert [line.get_label() for line in axes.lines] == ["clearnet", "i2p", "tor"]
    # The last day has no data: the line ends, and does not fall to zero.
    drawn = [float(y) for y in axes.lines[0].get_ydata()]  # type: ignore[union-attr, arg-type]
    assert drawn[:3] == [row.ratio for row in over_time if row.key["network"] == "clearnet"][:3]
    assert drawn[3] != drawn[3]
    by_network = embedded.blocked_ratio(by=["network"], start=T0, stop=T0 + 3 * DAY)
    bars = by_network.plot().axes[0]
    widths = [patch.get_width() for patch in bars.patches]  # type: ignore[attr-defined]
    assert widths == [row.ratio for row in by_network]
    assert hostile(embedded).plot().axes[0].get_yticklabels()


def test_the_command_line_compares_networks_and_periods(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("embedded")
    data = [*steady(15, T0, 24, domain="example.com"), *steady(45, T0, 24, domain=ONION)]
    fill(workspace, T0 + DAY, data)
    span = ("--start", "2026-01-12T00:00:00Z", "--stop", "2026-01-13T00:00:00Z")
    table = pfa_flux("blocked-ratio", "--by", "network", *span, env=workspace.env()).out
    assert re.search(
        r"^Page views over Tor lack the JavaScript analytics \d+–\d+ points more often", table, re.MULTILINE
    )
    done = pfa_flux("blocked-ratio", "--by", "network", "--compare", "--format", "json", *span, env=workspace.env())
    assert done.json["before"]["start"] == "2026-01-11T00:00:00Z"
    assert [row["before_status"] for row in done.json["rows"]] == ["no_data", "no_data"]
    (contrast,) = done.json["differences"]
    assert (contrast["first"], contrast["second"], contrast["difference"]) == ("tor", "clearnet", 0.5)


def test_a_comparison_is_a_table_too(embedded: Analytics) -> None:
    embedded.write([*steady(15, T0, 24, domain="a.example"), *steady(45, T0, 24, domain="b.example")])
    found = embedded.compare("domain", start=T0, stop=T0 + DAY)
    assert isinstance(found, Comparison)
    assert found.to_pandas().difference.tolist() == [0.5]
    assert "<td" in found._repr_html_()
    assert "Page views of b.example lack the JavaScript analytics" in str(found)
