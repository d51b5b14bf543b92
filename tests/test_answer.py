"""An answer first: one sentence that says no more than the figures do, and a total."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st

from pfa_flux import AnswerWarning, BlockedRatio, Point
from pfa_flux.engines.influxdb.transport import Transport
from pfa_flux.present.dates import span
from pfa_flux.ratio.result import Store
from pfa_flux.ratio.rows import RatioRow, Status
from pfa_flux.settings import Secret
from pfa_flux.times import NS, parse_instant
from tests import oracle
from tests.cases import CASES, ONION, Case, many
from tests.contract import ENGINES_ONCE, SERVERLESS, Target, analytics, fill, ordinarily, workspace_of
from tests.data import DAY, HOUR, MINUTE, T0, hit, load
from tests.engines.plugin import MakeWorkspace

engines = pytest.mark.parametrize("target", ordinarily(ENGINES_ONCE), ids=str)
ROOT = Path(__file__).parents[1]


# The total


@engines
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_total_is_the_row_of_the_question_without_keys(
    case: Case, target: Target, make_workspace: MakeWorkspace
) -> None:
    workspace = workspace_of(target, make_workspace)
    fill(workspace, case.stop, case.points)
    ask: dict[str, Any] = {**case.ask, "start": case.start, "stop": case.stop, "dialect": target.dialect}
    with analytics(workspace, case.stop) as made:
        answer = made.blocked_ratio(**ask)
        whole = made.blocked_ratio(**{name: value for name, value in ask.items() if name != "every"} | {"by": ()})
    assert (answer.total,) == whole.rows == (whole.total,)


_KEYS = st.lists(st.sampled_from(["domain", "network", "page", "time"]), unique=True, max_size=3)
_PLACE: dict[str, Any] = {
    "time": st.integers(0, 3 * 24 * 60).map(lambda minute: T0 + minute * MINUTE),
    "domain": st.sampled_from(["a.example", "b.example", ONION, "c.i2p"]),
    "page": st.sampled_from(["/", "/a", ""]),
}
_POINTS = st.lists(st.builds(hit, **_PLACE) | st.builds(load, **_PLACE), max_size=80)


@pytest.mark.parametrize("engine", SERVERLESS)
@given(
    points=_POINTS,
    by=_KEYS,
    networks=st.lists(st.sampled_from(["clearnet", "tor"]), unique=True, max_size=1),
    hours=st.integers(1, 72),
    start=st.integers(0, 600),
    every=st.sampled_from(["15m", "1h", "1d", "1w"]),
    tz=st.sampled_from(["UTC", "Asia/Kolkata"]),
)
@how(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_total_of_any_rows_is_that_of_the_question_without_keys_and_of_the_oracle(
    engine: str, points: list[Point], by: list[str], networks: list[str], hours: int, start: int, every: str, tz: str,
    make_workspace: MakeWorkspace,
) -> None:  # fmt: skip
    workspace = make_workspace(engine)
    fill(workspace, T0, points)
    low = T0 + start * MINUTE
    ask: dict[str, Any] = {"start": low, "stop": low + hours * HOUR, "networks": networks, "tz": tz}
    with analytics(workspace, T0 + 7 * DAY) as made:
        answer = made.blocked_ratio(by=by, every=every if "time" in by else None, **ask)
        (whole,) = made.blocked_ratio(by=(), **ask).rows
    assert answer.total == whole
    found = oracle.totals(points, low, low + hours * HOUR, (), networks=networks).get((), (0, 0))
    assert (whole.hits, whole.js, whole.status) == (*found, oracle.status(*found))
    assert (sum(row.hits for row in answer), sum(row.js for row in answer)) == found
    if whole.status in {"ok", "no_js"}:
        ends = oracle.interval(points, low, low + hours * HOUR, networks=networks)
        assert (whole.ratio_low, whole.ratio_high) == pytest.approx(ends, abs=1e-9)


def test_the_total_of_nothing_that_is_found_is_a_row_without_data(make_workspace: MakeWorkspace) -> None:
    with analytics(make_workspace("embedded"), T0) as made:
        answer = made.blocked_ratio("*.example.com")
        assert (answer.rows, answer.has_data) == ((), False)
        assert (answer.total.hits, answer.total.js, answer.total.status) == (0, 0, "no_data")
        assert made.blocked_ratio("*.example.com", by=()).rows == (answer.total,)
        assert "no data" in made.report("*.example.com")[0]


def test_the_total_stands_beside_that_of_the_period_before(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("embedded")
    fill(
        workspace, T0, [*many(hit, 40), *many(load, 30), *many(hit, 20, start=T0 - DAY), *many(load, 5, start=T0 - DAY)]
    )
    with analytics(workspace, T0 + DAY) as made:
        answer = made.blocked_ratio(start="2026-01-12", stop="2026-01-13", compare=True)
    assert answer.total.before is not None
    assert (answer.total.ratio, answer.total.before.ratio) == (0.25, 0.75)
    assert answer.as_dict()["total"]["change"] == -0.5


# The sentence


def an_answer(
    hits: int,
    js: int,
    ratio: tuple[float, float, float] | None,
    status: Status,
    *,
    doubts: Sequence[str] = (),
    **more: Any,
) -> BlockedRatio:
    low = T0 + 6 * DAY
    share, lower, upper = ratio or (None, None, None)
    total = RatioRow({}, hits, js, hits - js, share, lower, upper, status)
    known: dict[str, Any] = {
        "start": low, "stop": low + 7 * DAY, "by": (), "rows": (total,), "subject": "blog", "source": "raw",
        "covers": (low, low + 7 * DAY), "store": Store("influxdb2", "2.7.12", "http://localhost"), "dialect": "join",
        "engine": "influxdb2", "config": None,
        "warnings": tuple(AnswerWarning(code, "") for code in doubts), "doubts": tuple(doubts),
    }  # fmt: skip
    return BlockedRatio(total=total, **{**known, **more})


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            an_answer(13394, 8668, (0.353, 0.341, 0.365), "ok"),
            "Of 13,394 page views of blog, 18–24 Jan 2026 (UTC), 35.3% (34.1–36.5%) came without the JavaScript "
            "analytics. InfluxDB 2.7.12, raw data.",
        ),
        (
            an_answer(1, 0, (1.0, 0.21, 1.0), "no_js", store=Store("embedded", "SQLite 3", "/x"), source="raw+rollup"),
            "Of 1 page view of blog, 18–24 Jan 2026 (UTC), 100.0% (21.0–100.0%) came without the JavaScript analytics, "
            "which reported none. Embedded store, raw and downsampled data.",
        ),
        (
            an_answer(0, 7, None, "no_hits", source="rollup"),
            "No ratio for blog, 18–24 Jan 2026 (UTC): 7 JS loads, and no page views that the pixel counted. "
            "InfluxDB 2.7.12, downsampled data.",
        ),
        (
            an_answer(3, 5, None, "js_exceeds_hits", doubts=["js_exceeds_hits"]),
            "No ratio for blog, 18–24 Jan 2026 (UTC): 5 JS loads, more than the 3 page views that the pixel counted. "
            "InfluxDB 2.7.12, raw data. See the warning js_exceeds_hits.",
        ),
        (
            an_answer(0, 0, None, "no_data"),
            "No data for blog, 18–24 Jan 2026 (UTC): neither page views nor JS loads. InfluxDB 2.7.12, raw data.",
        ),
        (
            an_answer(4, 2, (0.5, 0.1, 0.9), "ok", doubts=["range_cut", "gaps"], covers=(T0 + 8 * DAY, T0 + 13 * DAY)),
            "Of 4 page views of blog, 20–24 Jan 2026 (UTC), 50.0% (10.0–90.0%) came without the JavaScript analytics. "
            "InfluxDB 2.7.12, raw data. See the warnings range_cut and gaps.",
        ),
        (
            # Nothing of the range is known.
            an_answer(0, 0, None, "no_data", doubts=["range_cut"], covers=(T0 + 13 * DAY, T0 + 13 * DAY)),
            "No data for blog, 18–24 Jan 2026 (UTC): neither page views nor JS loads. InfluxDB 2.7.12, raw data. "
            "See the warning range_cut.",
        ),
    ],
    ids=["ok", "no_js", "no_hits", "js_exceeds_hits", "no_data", "a part of the range", "nothing known"],
)  # fmt: skip
def test_the_sentence_says_what_the_figures_do_and_no_more(answer: BlockedRatio, sentence: str) -> None:
    assert answer.sentence == sentence


@pytest.mark.parametrize(
    ("start", "stop", "tz", "text"),
    [
        ("2026-11-18", "2026-11-25", "UTC", "18–24 Nov 2026 (UTC)"),
        ("2026-11-18T06:12:00Z", "2026-11-25T06:12:00Z", "UTC", "18–25 Nov 2026 (UTC)"),
        ("2026-11-28", "2026-12-03", "UTC", "28 Nov – 2 Dec 2026 (UTC)"),
        ("2025-12-28", "2026-01-03", "UTC", "28 Dec 2025 – 2 Jan 2026 (UTC)"),
        ("2026-11-18", "2026-11-19", "UTC", "18 Nov 2026 (UTC)"),
        ("2026-11-18T23:00:00Z", "2026-11-19T23:00:00Z", "Europe/Berlin", "19 Nov 2026 (Europe/Berlin)"),
        ("2026-11-18", "2026-11-19", "Europe/Berlin", "18 Nov, 01:00 – 19 Nov 2026, 01:00 (Europe/Berlin)"),
        ("2026-11-18T05:00:00Z", "2026-11-18T06:30:00Z", "UTC", "18 Nov 2026, 05:00–06:30 (UTC)"),
        ("2025-12-31T18:00:00Z", "2026-01-01T06:00:00Z", "UTC", "31 Dec 2025, 18:00 – 1 Jan 2026, 06:00 (UTC)"),
        # A day of 23 hours is one.
        ("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", "Europe/Berlin", "29 Mar 2026 (Europe/Berlin)"),
    ],
)
def test_a_range_is_told_by_its_days_or_to_the_minute(start: str, stop: str, tz: str, text: str) -> None:
    assert span(parse_instant(start, 0), parse_instant(stop, 0), tz) == text


@given(st.dates(datetime(1990, 1, 1).date(), datetime(2100, 1, 1).date()), st.integers(1, 800))  # noqa: DTZ001
def test_the_days_that_are_told_are_the_first_and_last_of_the_range(first: Any, days: int) -> None:
    low = int(datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp()) * NS
    last = first + timedelta(days=days - 1)
    told = span(low, low + days * DAY, "UTC").removesuffix(" (UTC)")
    ends = [part.split() for part in told.replace("–", " – ").split(" – ")]
    begin, end = ends[0], ends[-1]
    assert end == [str(last.day), f"{last:%b}", str(last.year)]
    assert [*begin, *end[len(begin) :]] == [str(first.day), f"{first:%b}", str(first.year)]


def test_the_sentence_names_what_was_asked_for(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("embedded")
    with analytics(workspace, T0 + DAY) as made:
        made.settings = replace(made.settings, sites={"blog": ("example.com",)})

        def subject(**asked: Any) -> str:
            return made.blocked_ratio(**asked).subject

        assert subject() == "all domains"
        assert subject(sites="blog") == "blog"
        assert subject(domains="https://BÜCHER.example/") == "bücher.example"
        assert subject(sites="blog", domains="b.example", networks="tor") == "blog and b.example over Tor"
        assert subject(domains="a,b,c,d") == "a, b, c and d"
        assert subject(domains="a,b,c,d,e", pages="/x") == "/x on a, b, c and 2 more"
        assert (
            subject(networks="i2p,clearnet", pages=["/x", "/\x1b"])
            == "/x and /%1B on all domains over I2P and clearnet"
        )


def test_only_what_makes_the_total_doubtful_is_named_in_the_sentence(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("embedded")
    # Hours are judged by single blocks, and the day is not.
    fill(workspace, T0, [*many(hit, 96, step=15 * MINUTE), *many(load, 48, step=30 * MINUTE)])
    with analytics(workspace, T0 + DAY) as made:
        hourly = made.blocked_ratio(by="time", start="2026-01-12", stop="2026-01-13")
        short = made.blocked_ratio(start="2026-01-12", stop="2026-01-12T02:00")
    assert [warning.code for warning in hourly.warnings] == ["interval_wide", "interval_iid"]
    assert hourly.doubts == ()
    assert short.doubts == ("interval_iid",)
    assert short.sentence.endswith(" Embedded store, raw data. See the warning interval_iid.")


def test_an_address_is_told_without_credentials() -> None:
    made = Transport("http://me:hush@db.example:8086/influx/?u=me&p=hush", Secret("t"))
    try:
        assert made.address == "http://db.example:8086/influx/"
    finally:
        made.close()


def quoted(page: str) -> list[str]:
    """Quotations of a page, each as one line."""
    blocks = re.findall(r"(?:^> .*\n)+", (ROOT / page).read_text(), re.MULTILINE)
    return [" ".join(line.removeprefix("> ") for line in block.splitlines()) for block in blocks]


def test_the_sentences_of_the_pages_are_those_that_are_said(make_workspace: MakeWorkspace) -> None:
    assert quoted("docs/number.md") == [an_answer(13394, 8668, (0.353, 0.341, 0.365), "ok").sentence]
    workspace, now = make_workspace("embedded"), parse_instant("2026-11-30T10:00:00Z", 0)
    fill(workspace, now, [hit(now - 6 * NS, page="/hello"), hit(now - 5 * NS, page="/hello"), load(now - 5 * NS)])
    with analytics(workspace, now) as made:
        made.settings = replace(made.settings, sites={"blog": ("example.com", "example.i2p")})
        assert quoted("README.md") == [made.blocked_ratio(sites="blog").sentence]
