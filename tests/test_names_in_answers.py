"""Names in answers: every form of a domain or page is one row, and `*.` means the same in every language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st

from pfa_flux import Analytics, BlockedRatio, InvalidValueError
from pfa_flux.engines.ask import Below, Forms, Rows
from pfa_flux.settings.pixel import PixelSettings
from pfa_flux.settings.rules import Rules
from tests.contract import ENGINES_ONCE, SERVERLESS, TARGETS, Target, analytics, fill, ordinarily, workspace_of
from tests.data import DAY, HOUR, MINUTE, T0, hit, load
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace

targets = pytest.mark.parametrize("target", ordinarily(TARGETS), ids=str)
SPAN: dict[str, Any] = {"start": T0, "stop": T0 + DAY}
HITS = Rows("", "pf_analytics_test_pixel", "count")


@contextmanager
def on(
    workspace: Workspace, *, sites: Mapping[str, tuple[str, ...]] | None = None, **pixel: Any
) -> Iterator[Analytics]:
    with analytics(workspace, T0 + 2 * DAY) as made:
        made.settings = replace(made.settings, sites=sites or {}, pixel=PixelSettings(**pixel))
        yield made


def counts(answer: BlockedRatio) -> dict[tuple[str, ...], tuple[int, int]]:
    return {tuple(row.key.values()): (row.hits, row.js) for row in answer}


def codes(answer: BlockedRatio) -> dict[str, str]:
    return {warning.code: warning.message for warning in answer.warnings}


# Forms of one name, the canonical one first.
FORMS = {
    "/%C3%BCn": ("/%C3%BCn", "/%c3%bcn", "/ün", "/a/../%C3%BCn", "/./ün"),
    "/~jane": ("/~jane", "/%7Ejane", "/%7ejane"),
    "/%22%7B": ("/%22%7B", '/"{', "/%22%7b"),
    "/a/b": ("/a/b", "/a/./b", "/%61/b"),
    "/a%2Fb": ("/a%2Fb", "/a%2fb"),
    "xn--bcher-kva.example": ("xn--bcher-kva.example", "bücher.example", "BÜCHER.example", "XN--bcher-kva.Example."),
    "a.example": ("a.example", "A.example", "a.example."),
}
_DOMAINS = ("xn--bcher-kva.example", "a.example")
_PAGES = tuple(name for name in FORMS if name.startswith("/"))


def in_all_forms() -> list[Any]:
    """Of each domain and page so many hits and loads as there are forms of both; every fourth load is blocked."""
    made = []
    for domain in _DOMAINS:
        for page in _PAGES:
            pairs = [(d, p) for d in FORMS[domain] for p in FORMS[page]]
            made += [hit(T0 + n * MINUTE, d, p) for n, (d, p) in enumerate(pairs)]
            made += [load(T0 + n * MINUTE, d, p) for n, (d, p) in enumerate(reversed(pairs)) if n % 4]
    return made


def expected(domain: str, page: str) -> tuple[int, int]:
    count = len(FORMS[domain]) * len(FORMS[page])
    return count, count - -(-count // 4)


def together(*pairs: tuple[int, int]) -> tuple[int, int]:
    return sum(hits for hits, _ in pairs), sum(js for _, js in pairs)


@targets
def test_every_form_of_a_name_is_one_row(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    fill(workspace, T0, in_all_forms())
    with on(workspace) as made:
        by_both = made.blocked_ratio(by=["domain", "page"], dialect=target.dialect, **SPAN)
        by_page = made.blocked_ratio(by=["page"], dialect=target.dialect, **SPAN)
        by_domain = made.blocked_ratio(dialect=target.dialect, **SPAN)
        whole = made.blocked_ratio(by=[], dialect=target.dialect, **SPAN)
        hits = made.hits(by=["page"], **SPAN)
    assert counts(by_both) == {(d, p): expected(d, p) for d in _DOMAINS for p in _PAGES}
    assert counts(by_page) == {(p,): together(*(expected(d, p) for d in _DOMAINS)) for p in _PAGES}
    assert counts(by_domain) == {(d,): together(*(expected(d, p) for p in _PAGES)) for d in _DOMAINS}
    assert counts(whole) == {(): together(*(expected(d, p) for d in _DOMAINS for p in _PAGES))}
    assert {row.key["page"]: row.hits for row in hits} == {row.key["page"]: row.hits for row in by_page}
    assert codes(by_domain)["names_folded"] == (
        "5 stored names were other forms of a domain or page, such as A.example of a.example. Counted under the "
        "canonical name."
    )
    assert codes(by_page)["names_folded"].startswith("16 stored names ")


def asked(made: Analytics, key: str, values: Sequence[str], **ask: Any) -> BlockedRatio:
    return made.blocked_ratio(pages=values, **ask) if key == "page" else made.blocked_ratio(values, **ask)


@targets
@pytest.mark.parametrize("name", FORMS)
def test_a_filter_takes_any_form_and_finds_every_form(name: str, target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    fill(workspace, T0, in_all_forms())
    key = "page" if name.startswith("/") else "domain"
    others = _DOMAINS if key == "page" else _PAGES
    want = together(*(expected(d, name) if key == "page" else expected(name, d) for d in others))
    with on(workspace) as made:
        for form in FORMS[name]:
            for by in ([key], []):
                found = asked(made, key, [form], by=by, dialect=target.dialect, **SPAN)
                assert counts(found) == {((name,) if by else ()): want}
                assert "names_folded" in codes(found)
        # Two forms of one name are one filter, and one row even where there is nothing.
        found = asked(made, key, FORMS[name], by=[key], start=T0 - DAY, stop=T0)
        assert counts(found) == {(name,): (0, 0)}


@targets
def test_names_that_are_canonical_are_not_talked_of(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    pages = ("/", "/a%2Fb", "(unknown)", "(other)", "", "/reset/*", "about", "/s?q=%c3%bc")
    fill(workspace, T0, [hit(T0 + n, page=page) for n, page in enumerate(pages)])
    fill(workspace, T0, [hit(T0 + n, domain=name) for n, name in enumerate(("[::1]:80", "a.example:8443", "no name"))])
    with on(workspace) as made:
        for by in (["page"], ["domain"], []):
            found = made.blocked_ratio(by=by, dialect=target.dialect, **SPAN)
            assert "names_folded" not in codes(found)
            assert sum(row.hits for row in found) == 11
        for page in pages:
            assert counts(made.blocked_ratio(pages=[page], by=["page"], dialect=target.dialect, **SPAN)) == {
                (page,): (4 if page == "/" else 1, 0)
            }


@pytest.mark.parametrize("target", ordinarily(ENGINES_ONCE), ids=str)
def test_rules_of_the_pixel_hold_for_rows_of_others_and_of_before(
    target: Target, make_workspace: MakeWorkspace
) -> None:
    workspace = workspace_of(target, make_workspace)
    pages = ("/reset/s3cr3t", "/%72eset/other?token=s3cr3t", "/About/", "//about", "/about/index.html", "/", "/reset/*")
    fill(workspace, T0, [make(T0 + n, page=page) for make in (hit, load) for n, page in enumerate(pages)])
    rules: dict[str, Any] = {"strip_index": True, "trailing_slash": "strip", "lower_case": True}
    with on(workspace, masks=("/reset/*",), duplicate_slashes="merge", **rules) as made:
        found = made.blocked_ratio(by=["page"], **SPAN)
        assert counts(found) == {("/reset/*",): (3, 3), ("/about",): (3, 3), ("/",): (1, 1)}
        # What a mask hides is no example.
        assert codes(found)["names_folded"] == (
            "5 stored names were other forms of a domain or page, such as //about of /about. Counted under the "
            "canonical name."
        )
        assert counts(made.blocked_ratio(pages=["/ABOUT"], by=["page"], **SPAN)) == {("/about",): (3, 3)}
        assert counts(made.blocked_ratio(pages=["/reset/x"], by=["page"], **SPAN)) == {("/reset/*",): (3, 3)}


@pytest.mark.parametrize("target", ordinarily(ENGINES_ONCE), ids=str)
def test_ports_of_before_belong_to_the_name_where_a_list_does_not_name_them(
    target: Target, make_workspace: MakeWorkspace
) -> None:
    workspace = workspace_of(target, make_workspace)
    names = ("a.example", "a.example:8443", "a.example:443", "a.example:81", "b.a.example:81", "c.example:81")
    fill(workspace, T0, [make(T0 + n, domain=name) for make in (hit, load) for n, name in enumerate(names)])
    with on(workspace) as made:
        assert counts(made.blocked_ratio(**SPAN)) == {(name,): (1, 1) for name in names}
        assert counts(made.blocked_ratio(["a.example"], **SPAN)) == {("a.example",): (1, 1)}
    with on(workspace, domains=("a.example", "a.example:81", "*.a.example")) as made:
        found = made.blocked_ratio(**SPAN)
        assert counts(found) == {
            ("a.example",): (3, 3),
            ("a.example:81",): (1, 1),
            ("b.a.example",): (1, 1),
            ("c.example:81",): (1, 1),
        }
        assert codes(found)["names_folded"].startswith("3 stored names ")
        for asked in ("a.example", "a.example:8443"):
            assert counts(made.blocked_ratio([asked], **SPAN)) == {("a.example",): (3, 3)}


BELOW = ("b.example.com", "c.b.example.com", "B.Example.com", "b.example.com:8443", "d.example.com.", "ü.example.com",
         "x_y.example.com")  # fmt: skip
NOT_BELOW = ("example.com", "bexample.com", "b.example.com.evil.example", "b.example.comx", "bxexample.com",
             "b.example:80", "b-example.com", "example.com.b.example", "b.exampleXcom", "")  # fmt: skip
FOLDED = {
    ("b.example.com",): (2, 2),
    ("b.example.com:8443",): (1, 1),
    ("c.b.example.com",): (1, 1),
    ("d.example.com",): (1, 1),
    ("x_y.example.com",): (1, 1),
    ("xn--tda.example.com",): (1, 1),
}


def fill_below(workspace: Workspace) -> None:
    names = (*BELOW, *NOT_BELOW)
    fill(workspace, T0, [make(T0 + n, domain=name, page="/x") for make in (hit, load) for n, name in enumerate(names)])


@targets
def test_a_wildcard_selects_all_below_it_in_sites_and_by_domain(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    fill_below(workspace)
    with on(workspace, sites={"b": ("*.example.com",), "both": ("*.example.com", "example.com")}) as made:
        for source in ("auto", "raw"):
            ask: dict[str, Any] = {"dialect": target.dialect, "source": source, **SPAN}
            assert counts(made.blocked_ratio(["*.example.com"], **ask)) == FOLDED
            assert counts(made.blocked_ratio(["*.EXAMPLE.com."], **ask)) == FOLDED
            assert counts(made.blocked_ratio(sites=["b"], **ask)) == FOLDED
            assert counts(made.blocked_ratio(sites=["both"], **ask)) == {**FOLDED, ("example.com",): (1, 1)}
            assert counts(made.blocked_ratio(sites=["b"], by=[], **ask)) == {(): (7, 7)}
            assert counts(made.blocked_ratio(sites=["b"], by=["page"], pages=["/x"], **ask)) == {("/x",): (7, 7)}
            assert counts(made.blocked_ratio(sites=["b"], by=["network"], networks=["clearnet"], **ask)) == {
                ("clearnet",): (7, 7)
            }
        assert {row.key["domain"]: row.hits for row in made.hits(sites=["b"], **SPAN)} == {
            key: hits for (key,), (hits, _) in FOLDED.items()
        }


@targets
def test_a_wildcard_that_matches_nothing_gives_no_row(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    fill_below(workspace)
    with on(workspace) as made:
        ask: dict[str, Any] = {"dialect": target.dialect, **SPAN}
        assert counts(made.blocked_ratio(["*.nothing.example"], **ask)) == {}
        assert counts(made.blocked_ratio(["*.example.com"], networks=["tor"], **ask)) == {}
        assert counts(made.blocked_ratio(["*.nothing.example", "none.example"], **ask)) == {("none.example",): (0, 0)}
        assert counts(made.blocked_ratio(["*.nothing.example", "example.com"], **ask)) == {("example.com",): (1, 1)}
        assert not made.blocked_ratio(["*.nothing.example"], by=[], **ask).has_data


@targets
def test_a_wildcard_with_a_port_selects_that_port(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    fill_below(workspace)
    with on(workspace) as made:
        found = made.blocked_ratio(["*.example.com:8443"], dialect=target.dialect, **SPAN)
    assert counts(found) == {("b.example.com:8443",): (1, 1)}


@targets
def test_an_exact_domain_beats_the_wildcard_of_another_site(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    fill_below(workspace)
    sites = {"wild": ("*.example.com",), "own": ("b.example.com", "xn--tda.example.com")}
    left = {key: n for key, n in FOLDED.items() if key[0] not in sites["own"]}
    with on(workspace, sites=sites) as made:
        ask: dict[str, Any] = {"dialect": target.dialect, **SPAN}
        assert counts(made.blocked_ratio(sites=["wild"], **ask)) == left
        assert counts(made.blocked_ratio(sites=["own"], **ask)) == {(d,): FOLDED[d,] for d in sites["own"]}
        assert counts(made.blocked_ratio(sites=["wild", "own"], **ask)) == FOLDED
        # Nobody's site is asked for.
        assert counts(made.blocked_ratio(["*.example.com"], **ask)) == FOLDED
        assert counts(made.blocked_ratio(["b.example.com"], sites=["wild"], **ask)) == {
            **left,
            ("b.example.com",): (2, 2),
        }


@pytest.mark.parametrize("target", ordinarily(ENGINES_ONCE), ids=str)
def test_downsampled_rows_are_filtered_and_folded_as_raw_ones_are(
    target: Target, make_workspace: MakeWorkspace
) -> None:
    workspace = workspace_of(target, make_workspace)
    fill_below(workspace)
    fill(workspace, T0, [make(T0 + n, page=page) for make in (hit, load) for n, page in enumerate(FORMS["/%C3%BCn"])])
    span: dict[str, Any] = {"start": T0, "stop": T0 + HOUR, "source": "rollup"}
    with on(workspace, sites={"b": ("*.example.com",)}) as made:
        for what in ("hits", "loads"):
            made.task(what, backend="runner").backfill(T0, T0 + HOUR)
        assert counts(made.blocked_ratio(sites=["b"], **span)) == FOLDED
        assert counts(made.blocked_ratio(pages=["/ün"], by=["page"], **span)) == {("/%C3%BCn",): (5, 5)}


@pytest.mark.parametrize("target", ordinarily(ENGINES_ONCE), ids=str)
def test_an_engine_knows_the_values_of_a_tag(target: Target, make_workspace: MakeWorkspace) -> None:
    workspace = workspace_of(target, make_workspace)
    pages = ("/a", "/b c,d=e", '/"\\"', "/ü", "")
    fill(workspace, T0, [hit(T0 + n, page=page) for n, page in enumerate(pages)])
    fill(workspace, T0, [load(T0, page="/of loads")])
    with on(workspace) as made:
        hits = replace(HITS, bucket=made.settings.raw_bucket)
        found = made.engine.tag_values(hits, "page", T0, T0 + DAY)
        assert found - {""} == set(pages) - {""}
        assert made.engine.tag_values(hits, "domain", T0, T0 + DAY) == {"example.com"}
        assert made.engine.tag_values(hits, "no such tag", T0, T0 + DAY) <= {""}
        assert made.engine.tag_values(replace(hits, measurement="none"), "page", T0, T0 + DAY) == set()


_NAME = st.lists(st.sampled_from([".", "example", "com", "EXAMPLE", "ü", "a", ":80", "-", "_", "%", "*"]), max_size=6)


@given(_NAME.map("".join), st.sampled_from(["example.com", "a", "a_a.example", "example.com:80"]))
def test_what_is_below_a_domain_is_let_through_by_its_expression(name: str, domain: str) -> None:
    bare, _, port = domain.partition(":")
    text = name.lower()
    own, _, given_port = text.partition(":") if text.count(":") == 1 and text.endswith(":80") else (text, "", "")
    is_below = own.removesuffix(".").endswith(f".{bare}") and (not port or given_port == port)
    assert Below(domain).matches(name) == is_below


_DISGUISES = {
    "example.com": ("example.com", "EXAMPLE.com", "example。com", "ｅxample.com", "exam\u00adple.com"),
    "xn--bcher-kva.example": ("bücher.example", "BÜCHER.example", "xn--bcher-kva.EXAMPLE", "bu\u0308cher.example"),
    "a_b-.c": ("a_b-.c", "A_B-.c"),
    "127.0.0.1": ("127.0.0.1", "127.1", "0x7f.1", "2130706433", "０x7F.1", "0177.0.0.01"),
    "[::1]": ("[::1]", "[0:0::0001]", "[::0.0.0.1]"),
}


@pytest.mark.parametrize("listed", [False, True])
@given(st.sampled_from([(name, form) for name in _DISGUISES for form in _DISGUISES[name]]), st.data())
def test_every_form_of_a_domain_is_let_through_by_its_expression(
    listed: bool, pair: tuple[str, str], data: st.DataObject
) -> None:
    name, form = pair
    rules = Rules(PixelSettings(domains=(name,) if listed else ()))
    dot = "" if name.startswith("[") else data.draw(st.sampled_from(["", "."]))
    port = data.draw(st.sampled_from(["", ":", ":80", ":0443", ":65535"]))
    stored = f"{form}{dot}{port}"
    asked = rules.domain(stored)
    assert rules.domain(f"{name}{port}") == asked
    assert Forms(asked).matches(stored)


@pytest.mark.parametrize("other", ["example.org", "a.example.com", "example.com.org", "xexample.com", "example-com"])
def test_the_expression_of_a_domain_lets_no_other_plain_name_through(other: str) -> None:
    assert not Forms("example.com").matches(other)


@pytest.mark.parametrize("target", ordinarily(ENGINES_ONCE), ids=str)
def test_what_an_expression_lets_through_and_is_another_domain_is_not_counted(
    target: Target, make_workspace: MakeWorkspace
) -> None:
    workspace = workspace_of(target, make_workspace)
    domains = ("127.0.0.1", "127.0.0.2", "0x7f.1", "bücher.example", "xn--bcher-kva.example", "example.com:8443")
    fill(workspace, T0, [make(T0 + n, domain) for make in (hit, load) for n, domain in enumerate(domains)])
    with on(workspace) as made:
        asked = made.blocked_ratio(["127.0.0.1", "example.com"], start=T0, stop=T0 + HOUR)
        assert counts(asked) == {("127.0.0.1",): (2, 2), ("example.com",): (0, 0)}
        assert [word.code for word in asked.warnings if word.code == "names_folded"] == ["names_folded"]


@pytest.mark.parametrize("target", ordinarily(ENGINES_ONCE), ids=str)
def test_hits_of_another_domain_do_not_hide_that_the_pixel_came_late(
    target: Target, make_workspace: MakeWorkspace
) -> None:
    workspace = workspace_of(target, make_workspace)
    early, late = T0, T0 + 5 * HOUR
    fill(workspace, T0, [hit(early, "bücher.example"), hit(late), load(early), load(late)])
    with on(workspace) as made:
        codes = [
            {word.code for word in made.blocked_ratio([domain], start=T0 + HOUR, stop=T0 + DAY).warnings}
            for domain in ("example.com", "bücher.example")
        ]
        assert ["pixel_late" in found for found in codes] == [True, False]


@pytest.mark.parametrize("text", ["ü..a", "*.ü..a", "a／ü"])
def test_a_domain_that_no_browser_sends_is_refused_with_the_reason(text: str, make_workspace: MakeWorkspace) -> None:
    with on(make_workspace("embedded")) as made, pytest.raises(InvalidValueError, match="is not a domain: "):
        made.blocked_ratio([text])


_FORM_OF = {form: name for name, forms in FORMS.items() for form in forms}
_POINTS = st.lists(
    st.tuples(
        st.sampled_from([hit, load]),
        st.sampled_from([form for name in _DOMAINS for form in FORMS[name]]),
        st.sampled_from([form for name in _PAGES for form in FORMS[name]]),
        st.integers(0, 23),
    ),
    max_size=60,
)


@pytest.mark.parametrize("engine", SERVERLESS)
@given(points=_POINTS, by=st.sampled_from([["domain"], ["page"], ["domain", "page"], ["time"], ["page", "time"], []]))
@how(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_answer_is_that_for_rows_with_canonical_names(
    engine: str, points: list[Any], by: list[str], make_workspace: MakeWorkspace
) -> None:
    rows = []
    for names in ({}, _FORM_OF):
        workspace = make_workspace(engine)
        made_of = [
            make(T0 + hour * HOUR + n, names.get(domain, domain), names.get(page, page))
            for n, (make, domain, page, hour) in enumerate(points)
        ]
        fill(workspace, T0, made_of)
        with on(workspace) as made:
            rows.append(made.blocked_ratio(by=by, every="1h" if "time" in by else None, **SPAN).rows)
    assert rows[0] == rows[1]
