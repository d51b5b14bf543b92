"""What is sent to an InfluxDB, letter by letter: escapes, edges and windows in InfluxQL and in line protocol."""

from __future__ import annotations

import pytest

from pfa_flux import Point
from pfa_flux.engines.ask import Ask, Below, Rows
from pfa_flux.engines.influxdb.languages import influxql
from pfa_flux.engines.influxdb.lineprotocol import line

HITS = Rows("telegraf/autogen", "pixel", "count")
LOADS = Rows("telegraf/autogen", "loads", "response_time", count=True, excluded_actions=('"ready"', "it's"))
WINDOWS = Rows("websites/analytics", "windows", "hitcount", every=900)


@pytest.mark.parametrize(
    ("text", "string", "identifier"),
    [
        ("plain", "'plain'", '"plain"'),
        ("it's", r"'it\'s'", '"it\'s"'),
        ('a"b', "'a\"b'", r'"a\"b"'),
        ("back\\slash'", r"'back\\slash\''", '"back\\\\slash\'"'),
        ("new\nline", r"'new\nline'", r'"new\nline"'),
    ],
)
def test_a_literal_of_influxql_ends_where_it_should(text: str, string: str, identifier: str) -> None:
    assert (influxql.string(text), influxql.identifier(text)) == (string, identifier)


def test_a_statement_counts_from_its_start_to_before_its_stop() -> None:
    where = {"domain": ("a.example", Below("b.example")), "page": ()}
    assert influxql.sums(Ask(HITS, 100, 200, ("domain", "page"), where, 900), ("telegraf", "autogen")) == (
        'SELECT sum("count") AS n FROM "telegraf"."autogen"."pixel" WHERE time >= 100 AND time < 200 '
        'AND ("domain" = \'a.example\' OR "domain" =~ /(?i)\\.b\\.example\\.?(:[0-9]+)?$/) '
        'GROUP BY "domain", "page", time(900s) fill(none)'
    )


def test_a_statement_leaves_out_each_excluded_action() -> None:
    assert influxql.sums(Ask(LOADS, 100, 200), ("db",)) == (
        'SELECT count("response_time") AS n FROM "db"."loads" WHERE time >= 100 AND time < 200 '
        'AND "action" != \'"ready"\' AND "action" != \'it\\\'s\''
    )


def test_labels_that_are_ends_belong_to_the_window_before_them() -> None:
    assert influxql.sums(Ask(WINDOWS, 100, 200, every=900), ("db",)) == (
        'SELECT sum("hitcount") AS n FROM "db"."windows" WHERE time >= 101 AND time < 201 '
        "GROUP BY time(900s, 1ns) fill(none)"
    )
    ask = Ask(WINDOWS, 0, 1800 * 10**9, every=900)
    assert [ask.window(second * 10**9 + ns) for second, ns in ((0, 1), (900, 0), (900, 1), (1800, 0))] == [
        0, 0, 900 * 10**9, 900 * 10**9,
    ]  # fmt: skip


def test_a_line_has_its_tags_sorted_and_what_would_end_them_escaped() -> None:
    point = Point("a b,c", {"page": "/a b,c=d", "domain": "a.example", "empty": ""}, "the count", 1, 5)
    assert line(point) == r"a\ b\,c,domain=a.example,page=/a\ b\,c\=d the\ count=1i 5"
    assert line(Point("m", {"page": "/"}, "time", 12.5, 6)) == "m,page=/ time=12.5 6"
