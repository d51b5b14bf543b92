"""The library and the command line take what people type, and each speaks of its own words where it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pfa_flux
from pfa_flux import Analytics, InvalidValueError, PfaFluxError, SettingsError, settings
from pfa_flux.arguments import host, named, texts
from pfa_flux.cli.options import in_flags
from tests import cli
from tests.contract import analytics, fill
from tests.data import DAY, HOUR, T0, hit, load
from tests.engines.plugin import MakeWorkspace
from tests.memory_engine import NAME

NOW = T0 + 2 * DAY
POINTS = [
    *(hit(T0 + n * HOUR, "example.com", f"/{n % 2}") for n in range(24)),
    *(load(T0 + n * HOUR, "example.com", f"/{n % 2}") for n in range(12)),
    *(hit(T0 + n * HOUR, "abc.onion", "/") for n in range(6)),
]


@pytest.fixture
def made(make_workspace: MakeWorkspace) -> Iterator[Analytics]:
    workspace = make_workspace(NAME)
    fill(workspace, NOW, POINTS)
    with analytics(workspace, NOW) as opened:
        opened.settings = replace(opened.settings, sites={"blog": ("example.com", "abc.onion")})
        yield opened


@pytest.mark.parametrize(
    ("one", "several"),
    [
        ({"domains": "example.com"}, {"domains": ["example.com"]}),
        ({"domains": "example.com,abc.onion"}, {"domains": ["example.com", "abc.onion"]}),
        ({"domains": " example.com , abc.onion,"}, {"domains": {"example.com": 1, "abc.onion": 2}}),
        ({"domains": "https://Example.com/"}, {"domains": ["example.com"]}),
        ({"domains": "HTTPS://user@EXAMPLE.com:443"}, {"domains": ["example.com"]}),
        ({"domains": "//example.com"}, {"domains": ["example.com"]}),
        ({"domains": "example.com/"}, {"domains": ["example.com"]}),
        ({"domains": ["http://abc.onion:80/?q=1#x"]}, {"domains": ["abc.onion"]}),
        ({"sites": "blog"}, {"sites": ["blog"]}),
        ({"networks": "tor"}, {"networks": ["tor"]}),
        ({"networks": "Tor, clearnet"}, {"networks": ["tor", "clearnet"]}),
        ({"pages": "/0"}, {"pages": ["/0"]}),
        ({"by": "network"}, {"by": ["network"]}),
        ({"by": "network,page"}, {"by": ["network", "page"]}),
    ],
    ids=str,
)
def test_a_string_is_one_value_everywhere(one: dict[str, Any], several: dict[str, Any], made: Analytics) -> None:
    span: dict[str, Any] = {"start": T0, "stop": T0 + DAY}
    answer = made.blocked_ratio(**one, **span)
    assert answer.has_data
    assert answer == made.blocked_ratio(**several, **span)


def test_an_iterator_is_read_once(made: Analytics) -> None:
    once = made.blocked_ratio(iter(["example.com"]), by=iter(["page"]), start=T0, stop=T0 + DAY)
    assert once == made.blocked_ratio("example.com", by="page", start=T0, stop=T0 + DAY)


def test_every_question_takes_a_string(made: Analytics) -> None:
    span: dict[str, Any] = {"start": "2026-01-12", "stop": "2026-01-13"}
    assert made.hits("example.com", by="network", **span).records() == [{"network": "clearnet", "hits": 24}]
    assert made.js_loads(sites="blog", by="network", **span).records() == [
        {"network": "clearnet", "js": 12},
        {"network": "tor", "js": 0},
    ]
    assert [row.key["page"] for row in made.pages("abc.onion", **span)] == ["/"]
    assert [row.key["domain"] for row in made.domains(**span)] == ["abc.onion", "example.com"]
    assert [(c.first, c.second) for c in made.compare("network", sites="blog", **span)] == [("tor", "clearnet")]
    assert "blog" in made.report(sites="blog", **span)[0]


def test_the_command_takes_networks_in_either_case_and_lists_with_commas(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("embedded")
    fill(workspace, NOW, POINTS)
    span = ("--start", "2026-01-12", "--stop", "2026-01-13", "--format", "csv")
    asked = ("blocked-ratio", "--domain", "https://Example.com/,abc.onion", "--network", "Tor", "--by", "network,page")
    done = cli.pfa_flux(*asked, *span, env=workspace.env())
    assert [line.split(",")[:4] for line in done.out.splitlines()[1:]] == [["tor", "/", "6", "0"]]


def test_a_page_may_have_a_comma(made: Analytics) -> None:
    made.write([hit(T0, page="/a,b")])
    assert made.blocked_ratio(pages="/a,b", by="page", start=T0, stop=NOW).rows[0].hits == 1


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (date(2026, 1, 12), date(2026, 1, 13)),
        (datetime(2026, 1, 12), datetime(2026, 1, 13)),  # noqa: DTZ001
        ("2026-01-12", "yesterday"),
        (timedelta(days=2), "2026-01-13T00:00"),
        ("2d", "1d"),
    ],
    ids=str,
)
def test_a_range_is_what_people_type(start: Any, stop: Any, made: Analytics) -> None:
    assert (made.blocked_ratio(start=start, stop=stop).start, made.blocked_ratio(start=start, stop=stop).stop) == (
        T0,
        T0 + DAY,
    )
    assert made.blocked_ratio(start=start, stop="now").stop == made.blocked_ratio(start=start).stop == NOW


def test_times_without_a_zone_are_in_that_of_the_question_or_else_of_the_settings(made: Analytics) -> None:
    assert made.blocked_ratio(start="2026-01-12", tz="Asia/Tokyo").start == T0 - 9 * HOUR
    made.settings = replace(made.settings, tz="Europe/Berlin")
    answer = made.blocked_ratio(start="2026-01-12", by="time", every="1d")
    assert (answer.start, answer.tz) == (T0 - HOUR, "Europe/Berlin")
    assert [row.key["time"] for row in answer][:2] == ["2026-01-12T00:00:00+01:00", "2026-01-13T00:00:00+01:00"]
    assert made.blocked_ratio(start="2026-01-12", tz="UTC").start == T0


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (
        {"by": "networc"},
        "`by='networc'` is unknown",
        "Did you mean `by='network'`? Use one of domain, network, page, time.",
    ),
    ({"by": ["page", "page"]}, "`by` has a key twice", "Use each of domain, network, page, time at most once."),
    ({"by": 5}, "`by` has 5, which is not a string", "Pass a string or a list as `by`."),
    ({"by": None}, "`by` has None, which is not a string", "Pass a string or a list as `by`."),
    ({"domains": b"a"}, "`domains` has b'a', which is not a string", "Pass a string or a list as `domains`."),
    ({"domains": [1]}, "`domains` has 1, which is not a string", "Pass a string or a list as `domains`."),
    (
        {"networks": "thor"},
        "`networks='thor'` is unknown",
        "Did you mean `networks='tor'`? Use one of clearnet, tor, i2p.",
    ),
    (
        {"every": "1h"},
        "`every` is given without `by='time'`",
        "Add `by='time'`, or leave `every` out.",
    ),
    ({"every": timedelta(hours=1), "by": "time"}, "`every` is datetime.timedelta(seconds=3600), not a string", ""),
    ({"every": "2h", "by": "time"}, "`every='2h'` is unknown", "Use one of 15m, 1h, 1d, 1w."),
    ({"tz": "berlin"}, "`tz='berlin'` is not a time zone", "Write `tz='Europe/Berlin'`."),
    ({"tz": 1}, "`tz` is 1, not a string", "Pass a string as `tz`."),
    ({"source": None}, "`source` is None, not a string", "Pass a string as `source`."),
    (
        {"source": "rolup"},
        "`source='rolup'` is unknown",
        "Did you mean `source='rollup'`? Use one of auto, raw, rollup.",
    ),
    ({"dialect": 3}, "`dialect` is 3, not a string", "Pass a string as `dialect`."),
    ({"start": "3x"}, "`start='3x'` is not a time", ""),
    ({"start": 1.5}, "`start=1.5` is not a time", ""),
    ({"start": None}, "`start=None` is not a time", ""),
    ({"stop": date.max}, "`stop=datetime.date(9999, 12, 31)` is out of range", ""),
    (
        {"start": "2026-01", "stop": "2026-01"},
        "the range is empty: it starts at 2026-01-01T00:00:00Z and stops at 2026-01-01T00:00:00Z",
        "Set `start` to a time before `stop`. A date means the start of that day.",
    ),
    (
        {"sites": "blogg"},
        "the settings have no site 'blogg' (sites: blog)",
        "Did you mean `sites='blog'`? Add the site to pfa-flux.toml: [sites.blogg] domains = [\"example.com\"].",
    ),
    (
        {"domains": "https://example.com/about"},
        "`domains='https://example.com/about'` is the URL of a page",
        "Write `domains='example.com'` `pages='/about'`.",
    ),
]


@pytest.mark.parametrize(("asked", "message", "hint"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_refusal_speaks_of_arguments(asked: dict[str, Any], message: str, hint: str, made: Analytics) -> None:
    with pytest.raises(InvalidValueError) as caught:
        made.blocked_ratio(**asked)
    assert caught.value.message == message
    assert not hint or caught.value.hint == hint
    assert "--" not in str(caught.value)


_ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.binary(max_size=4), st.dates(),
    st.datetimes(), st.timedeltas(), st.lists(st.one_of(st.integers(), st.text(max_size=5)), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


@given(
    st.sampled_from(
        ["domains", "sites", "networks", "pages", "by", "start", "stop", "every", "tz", "dialect", "source"]
    ),
    _ANYTHING,
)
def test_whatever_is_given_is_answered_or_refused_in_words(name: str, value: Any) -> None:
    own = settings.load({"url": "memory://anything"}, environ={})
    # Any other error fails.
    with Analytics(own, clock=lambda: NOW) as opened, suppress(PfaFluxError):
        opened.blocked_ratio(**{name: value})


@pytest.mark.parametrize(
    ("give", "words"),
    [
        (lambda: pfa_flux.connect(tokn="x"), "unknown setting 'tokn'\nDid you mean 'token'? Known settings: url, "),
        (lambda: pfa_flux.connect("http://localhost:8086"), "`settings` is a str, not Settings\nName each setting: "),  # type: ignore[arg-type]
        (lambda: pfa_flux.connect(tz="Mars"), "the arguments: tz: unknown time zone 'Mars'\n"),
    ],
)
def test_connect_refuses_in_words(give: Any, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        give()
    assert str(caught.value).startswith(words)
    assert 'localhost:8086")' in str(caught.value) or "8086" not in str(caught.value)


def test_a_task_of_an_unknown_side_is_refused_in_words(made: Analytics) -> None:
    with pytest.raises(InvalidValueError, match=r"`what='load'` is unknown\nDid you mean `what='loads'`\?"):
        made.task("load")  # type: ignore[arg-type]


def test_the_time_zone_is_a_setting_and_the_flag_wins(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("embedded")
    fill(workspace, NOW, POINTS)
    asked = (
        "blocked-ratio",
        "--by",
        "time",
        "--every",
        "1d",
        "--format",
        "csv",
        "--start",
        "2026-01-12",
        "--stop",
        "2026-01-13",
    )
    env = {**workspace.env(), "PFA_FLUX_TZ": "Europe/Berlin"}
    found = cli.pfa_flux(*asked, env=env)
    assert [line.split(",")[0] for line in found.out.splitlines()] == ["time", "2026-01-12T00:00:00+01:00"]
    found = cli.pfa_flux(*asked, "--tz", "UTC", env=env)
    assert [line.split(",")[0] for line in found.out.splitlines()] == ["time", "2026-01-12T00:00:00Z"]
    wrong = cli.pfa_flux(*asked, env={**env, "PFA_FLUX_TZ": "Mars/Olympus"})
    assert (wrong.code, wrong.err) == (
        2,
        "pfa-flux: PFA_FLUX_TZ: tz: unknown time zone 'Mars/Olympus'\nUse a name such as UTC or Europe/Berlin.\n",
    )


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("`by='network'` is unknown", "--by network is unknown"),
        ("`domains='a b'` `pages=\"/it's\"`", "--domain 'a b' --page '/it'\"'\"'s'"),
        ("Use a wider `every`.", "Use a wider --every."),
        (named("domains", "a`rm -r x`b"), r"--domain 'a\x60rm -r x\x60b'"),
        ("the server says `select` and `x=1`", "the server says `select` and `x=1`"),
        ("no argument", "no argument"),
    ],
)
def test_the_command_line_says_flags_for_arguments(words: str, shown: str) -> None:
    assert in_flags(words) == shown


@given(
    st.lists(st.text(st.characters(codec="ascii", exclude_characters=","), min_size=1).filter(str.strip), min_size=1)
)
def test_a_list_with_commas_is_its_parts(parts: list[str]) -> None:
    stripped = [part.strip() for part in parts]
    expected = tuple(parts) if len(parts) == 1 else tuple(stripped)
    assert texts("domains", ",".join(parts)) == expected
    assert texts("domains", parts) == tuple(parts)


@pytest.mark.parametrize("text", ["", "example.com", "*.example.com", "bücher.example", '") |> drop() //', "[::1]:80"])
def test_what_is_no_url_stays_as_it_is(text: str) -> None:
    assert host(text) == text
