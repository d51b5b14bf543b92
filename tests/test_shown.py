"""Names as people read them: decoded where that misleads nobody, in every place where names are shown."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfa_flux import names, shown
from tests.cli import pfa_flux
from tests.contract import fill
from tests.data import DAY, T0, hit, load
from tests.engines.plugin import MakeWorkspace
from tests.test_names import HOSTS, lookable
from tests.test_names_in_answers import on


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ("/", "/"),
        ("/%C3%BCber", "/über"),
        ("/%E4%BD%A0%E5%A5%BD/a%20b", "/你好/a%20b"),
        ("/%D7%A9%D7%9C%D7%95%D7%9D", "/שלום"),
        ("/%F0%9F%98%80", "/😀"),
        ("/caf%65%CC%81", "/caf%65%CC%81"),
        ("/%E0%A4%B9%E0%A4%BF", "/हि"),
        # Nothing of ASCII, which would be another page or no page.
        ("/a%2Fb%25%22%3F%23%5C", "/a%2Fb%25%22%3F%23%5C"),
        # Bytes that are no UTF-8, also in part.
        ("/%FF%C3%BC%C3", "/%FFü%C3"),
        ("/%C0%AF", "/%C0%AF"),
        ("/%ED%A0%80", "/%ED%A0%80"),
        # Controls, those of direction and what is not seen.
        ("/%C2%85%C2%9Ba", "/%C2%85%C2%9Ba"),
        ("/%E2%80%AEgif", "/%E2%80%AEgif"),
        ("/%E2%81%A6a%E2%81%A9", "/%E2%81%A6a%E2%81%A9"),
        ("/%D8%9C", "/%D8%9C"),
        (
            "/%E2%80%8B%E2%80%8D%C2%AD%EF%BB%BF%C2%A0%E3%80%80%E3%85%A4%E2%A0%80",
            "/%E2%80%8B%E2%80%8D%C2%AD%EF%BB%BF%C2%A0%E3%80%80%E3%85%A4%E2%A0%80",
        ),
        ("/%EF%B8%8F", "/%EF%B8%8F"),
        # What looks like a separator.
        ("/a%EF%BC%8Fb%E2%88%95c%E2%81%84d", "/a%EF%BC%8Fb%E2%88%95c%E2%81%84d"),
        ("/a%EF%BC%9Fb%EF%BC%83c", "/a%EF%BC%9Fb%EF%BC%83c"),
        ("/a%E2%80%A4b%E3%80%82c%EF%BC%8E", "/a%E2%80%A4b%E3%80%82c%EF%BC%8E"),
        ("/a%EF%BC%85%E2%88%B6%EF%BC%9A%EF%BC%BC", "/a%EF%BC%85%E2%88%B6%EF%BC%9A%EF%BC%BC"),
        ("/%C3%BC%CC%B8", "/ü%CC%B8"),
        # A mark that would go on top of the slash.
        ("/%CC%88a", "/%CC%88a"),
        ("(unknown)", "(unknown)"),
        ("", ""),
    ],
)
def test_a_page_is_decoded_where_that_misleads_nobody(stored: str, text: str) -> None:
    assert shown.page(stored) == text


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ("example.com", "example.com"),
        ("xn--bcher-kva.example", "bücher.example"),
        ("xn--strae-oqa.de:8443", "straße.de:8443"),
        ("xn--p1b6ci4b4b3a.example", "उदाहरण.example"),
        ("xn--e28h.example", "😀.example"),
        ("a.xn--r8jz45g.xn--zckzah", "a.例え.テスト"),
        # A-labels that stand for no name, or for another.
        ("xn--a.example", "xn--a.example"),
        ("xn--.example", "xn--.example"),
        ("xn--a-\xfc", "xn--a-\xfc"),
        ("xn--bcher-KVA.example", "xn--bcher-KVA.example"),
        ("xn--xn--bss-7z6ccid", "xn--xn--bss-7z6ccid"),
        # With a joiner, which is not seen, and with what looks like a slash.
        ("xn--nxasmm1c.com", "βόλος.com"),
        ("xn--10cl1a0b660p.com", "xn--10cl1a0b660p.com"),
        ("xn--ab-j1t", "xn--ab-j1t"),
        ("xn--com-c80a.example", "xn--com-c80a.example"),
        ("", ""),
    ],
)
def test_a_domain_is_decoded_where_that_misleads_nobody(stored: str, text: str) -> None:
    assert shown.domain(stored) == text


def test_a_name_that_is_shown_is_asked_for_as_it_is_shown() -> None:
    decoded = 0
    for _, want in HOSTS:
        stored = lookable(want)
        if stored:
            text = shown.domain(stored)
            decoded += text != stored
            assert names.domain(text) == stored
    assert decoded == 141


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_a_page_that_is_shown_is_asked_for_as_it_is_shown(path: str) -> None:
    stored = names.page(f"/{path}")
    text = shown.page(stored)
    assert names.page(text) == stored
    assert text.isprintable()
    assert text.count("/") == stored.count("/")


NAME, PAGE = "xn--bcher-kva.example", "/%C3%BCber/%E4%BD%A0"


def test_tables_reports_and_plots_show_names_decoded_and_data_has_both(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("embedded")
    points = [hit(T0 + n, NAME, PAGE) for n in range(4)] + [load(T0 + n, NAME, PAGE) for n in range(2)]
    fill(workspace, T0, [*points, hit(T0 + 9, "a.example", "/\x1b[31m")])
    fill(workspace, T0, [load(T0 + 9 + n, "a.example", "/\x1b[31m") for n in range(2)])
    with on(workspace) as made:
        found = made.blocked_ratio(by=["domain", "page"], start=T0, stop=T0 + DAY)
        views = made.hits(by=["page"], start=T0, stop=T0 + DAY)
        compared = made.compare("domain", start=T0, stop=T0 + DAY)
        report, _ = made.report(start=T0, stop=T0 + DAY)
        before = made.blocked_ratio(by=["page"], start=T0, stop=T0 + DAY, compare=True)
    assert found.sheet().rows[1][:2] == ["bücher.example", "/über/你"]
    assert views.sheet().rows[0][0] == "/%1B[31m"
    assert "bücher.example" in str(found)
    assert "/über/你" in found._repr_html_()
    assert "<td" in report
    assert "/über/你" in report
    assert "bücher.example" in report
    labels = [label.get_text() for label in found.plot().axes[0].get_yticklabels()]
    assert labels[1] == "bücher.example, /über/你"
    assert "a.example, /%1B[31m has more JS loads" in {w.code: w.message for w in found.warnings}["js_exceeds_hits"]
    assert compared.rows == ()
    first, second = json.loads(found.to_json())["rows"]
    assert (second["domain"], second["page"]) == (NAME, PAGE)
    assert (second["domain_display"], second["page_display"]) == ("bücher.example", "/über/你")
    assert (first["domain_display"], first["page_display"]) == ("a.example", "/%1B[31m")
    lines = list(csv.reader(io.StringIO(found.to_csv())))
    assert lines[0][-2:] == ["domain_display", "page_display"]
    assert lines[0][:3] == ["domain", "page", "hits"]
    assert lines[2][:3] == [NAME, PAGE, "4"]
    assert lines[2][-2:] == ["bücher.example", "/über/你"]
    assert list(found.columns) == lines[0]
    assert list(before.columns)[-1] == "page_display"
    assert [list(record) for record in before.records()] == [list(before.columns)] * 2
    assert views.records()[0] == {"page": "/%1B[31m", "hits": 1, "page_display": "/%1B[31m"}


def test_sentences_say_names_as_they_are_read(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace("embedded")
    points = [make(T0 + n, name) for name in (NAME, "a.example") for n in range(40) for make in (hit, load)]
    fill(workspace, T0, [*points, *(hit(T0 + 100 + n, NAME) for n in range(40))])
    with on(workspace) as made:
        (row,) = made.compare("domain", start=T0, stop=T0 + DAY)
    assert (row.first, row.second) == (NAME, "a.example")
    assert "Page views of bücher.example and of a.example " in row.sentence


def test_every_character_that_is_shown_is_one_of_these_kinds() -> None:
    """Of all of Unicode: no control, format, separator, surrogate or what is not assigned."""
    kinds = {unicodedata.category(char) for char in map(chr, range(0x80, 0x110000)) if shown._is_safe(char)}
    assert kinds <= {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi",
                     "Pf", "Po", "Sm", "Sc", "Sk", "So"}  # fmt: skip


def test_the_command_takes_what_it_shows(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace("embedded")
    fill(workspace, T0, [hit(T0, NAME, PAGE)])
    span = ["--start", "2026-01-12T00:00:00Z", "--stop", "2026-01-13T00:00:00Z", "--by", "domain", "--by", "page"]
    for domain, page in ((NAME, PAGE), ("bücher.example", "/über/你"), ("*.example", "/%c3%bcber/%E4%BD%A0")):
        got = pfa_flux("blocked-ratio", *span, "--domain", domain, "--page", page, env=workspace.env(), cwd=tmp_path)
        assert got.code == 0, got.err
        assert got.out.splitlines()[3].split()[:3] == ["bücher.example", "/über/你", "1"]
