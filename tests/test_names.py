"""The canonical form of domains and pages, held against public vectors and against each other."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pfa_flux import InvalidValueError, SettingsError, names, settings
from pfa_flux.pixel.hit import Reason, View, page_view
from pfa_flux.settings.pixel import PixelSettings
from pfa_flux.settings.rules import Rules
from tests.asked import Asked, oracle
from tests.chromium import chromium

VECTORS = Path(__file__).parent / "vectors"


def vectors(name: str) -> Iterator[list[str]]:
    for line in (VECTORS / name).read_text(encoding="ascii").splitlines():
        if not line.startswith("#"):
            yield line.split("\t")


HOSTS = [(name.encode().decode("unicode_escape"), "" if want == "-" else want) for name, want in vectors("hosts.txt")]
URLS = list(vectors("urls.txt"))


def lookable(name: str) -> str | None:
    """What can be looked up: labels that are not empty, nor longer than DNS has them, of its characters.

    A name whose last label is a number is an address, and none of the vectors is.
    """
    labels = name.removesuffix(".").split(".")
    if labels[-1].isdecimal():
        return None
    fits = all(0 < len(label) <= 63 and set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_") for label in labels)
    return ".".join(labels) if fits and len(".".join(labels)) <= 253 else None


def seen(referer: str, *domains: str) -> View | Reason:
    return page_view("hit", Asked(referer.encode()), Rules(PixelSettings(domains=domains)))


def test_names_of_every_script_are_what_unicode_says_or_refused_with_the_reason() -> None:
    wrong = []
    for name, want in HOSTS:
        try:
            got, told = names.domain(name), True
        except InvalidValueError as error:
            got, told = None, repr(name) in error.message and bool(error.hint)
        if not told or got != (lookable(want) if want else None):
            wrong.append((name, want, got))
    assert wrong == []
    assert sum(bool(want) for _, want in HOSTS) == 180
    assert sum(not want for _, want in HOSTS) == 476


def test_a_name_that_settings_take_is_counted_as_browsers_send_it(tmp_path: Path) -> None:
    for name, want in HOSTS:
        ascii_name = lookable(want)
        if ascii_name is None:
            continue
        text = f"[pixel]\ndomains = [{toml(name)}]\n[sites.one]\ndomains = [{toml(name)}]\n"
        (tmp_path / "pfa-flux.toml").write_text(text, encoding="utf-8")
        read = settings.load({}, environ={"HOME": str(tmp_path)}, directory=tmp_path)
        assert read.pixel.domains == read.sites["one"] == (ascii_name,)
        assert page_view("hit", Asked(f"https://{ascii_name}/x".encode()), Rules(read.pixel)) == View(
            "hit", "https", ascii_name, "/x"
        )
        assert page_view("hit", Asked(f"https://{name}/x".encode()), Rules(read.pixel)) == Reason.NON_ASCII_HOST


def toml(text: str) -> str:
    return '"' + "".join(f"\\U{ord(char):08X}" for char in text) + '"'


def test_a_browser_makes_the_same_of_names_and_paths() -> None:
    script = """return arguments[0].map(each => {
        try {const found = new URL(each); return [found.host, found.pathname]} catch {return null}
    })"""
    paths = ["/%c3%bcn", "/ün", "/你好", "/a/./b/../c/", "/a/%2e%2E/b/%2E", "/..", "/a//../b", "/a%2fb", "/%7ea%"]
    paths += [f"/a{char}b" for char in map(chr, range(0x21, 0x7F)) if char not in "?#"]
    with chromium({}) as browser:
        hosts = browser.execute_script(script, [f"https://{name}/" for name, _ in HOSTS])
        seen_paths = browser.execute_script(script, [f"https://a.example{path}" for path in paths])
    # Unicode composes < and > with what follows them, and so do we; Chromium takes neither. The others end a host.
    known = [(name, host) for (name, _), host in zip(HOSTS, hosts, strict=True) if not set("<>/?#") & set(name)]
    wrong = []
    for name, host in known:
        try:
            got = names.domain(name)
        except InvalidValueError:
            got = None
        if got != (lookable(host[0]) if host else None):
            wrong.append((name, host, got))
    assert wrong == []
    assert sum(host is not None for _, host in known) > 150
    assert [names.page(found[1]) for found in seen_paths] == [names.page(path) for path in paths]


@pytest.mark.parametrize(
    ("name", "a_labels"),
    [
        # IDNA 2003 made the names of other sites of these.
        ("straße.de", "xn--strae-oqa.de"),
        ("faß.de", "xn--fa-hia.de"),
        ("βόλος.com", "xn--nxasmm1c.com"),
        ("ශ්‍රී.com", "xn--10cl1a0b660p.com"),
        ("نامه‌ای.com", "xn--mgba3gch31f060k.com"),
        # It knew none of these.
        ("उदाहरण.example", "xn--p1b6ci4b4b3a.example"),
        ("உதாரணம்.example", "xn--zkc6cc5bi7f6e.example"),
        ("😀.example", "xn--e28h.example"),
        ("BÜCHER.Example.", "xn--bcher-kva.example"),
        ("bücher。example:8443", "xn--bcher-kva.example:8443"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        # As https://url.spec.whatwg.org/#idna has it, with hyphens anywhere.
        ("-x.ß", "-x.xn--zca"),
        ("ab--c.ß", "ab--c.xn--zca"),
        ("a†--", "xn--a---kp0a"),
        ("_dmarc.ß.example", "_dmarc.xn--zca.example"),
        ("xn--zca.ß", "xn--zca.xn--zca"),
        ("１２７.0.0.1", "127.0.0.1"),
        ("[0:0::1]:81", "[::1]:81"),
    ],
)
def test_a_domain_is_what_browsers_make_of_it(name: str, a_labels: str) -> None:
    assert names.domain(name) == a_labels
    assert names.domain(a_labels) == a_labels
    assert names.pattern(f"*.{name}") == f"*.{a_labels}"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "neither a name"),
        ("*.", "neither a name"),
        ("a..b", "neither a name"),
        ("ü..b", "neither a name"),
        ("ü b", "neither a name"),
        ("ü/b", "neither a name"),
        ("https://ü.example", "neither a name"),
        ("a／ü", "neither a name"),
        ("ü" * 60, "neither a name"),
        ("ü：80", "neither a name"),
        ("ü.example:65536", "neither a name"),
        ("例.1", "neither a name"),
        ("ü." * 200, "longer than 253"),
        ("\u200d.example", "joiner"),
        ("xn--a.ß", "not allowed"),
        ("xn--tešla", "not an A-label"),
        ("xn--zn7c.ü", "not allowed"),
        ("\ufffd.com", "not allowed"),
        ("يa", "right-to-left"),
        ("\u0301a.example", "combining"),
    ],
)
def test_what_no_browser_sends_is_refused_with_the_reason(name: str, why: str) -> None:
    with pytest.raises(InvalidValueError, match=why) as caught:
        names.domain(name)
    assert caught.value.message.startswith(f"{name!r} is not a domain: ")


def test_serialised_addresses_give_the_browsers_host_and_the_canonical_form_of_their_path() -> None:
    refused = set()
    for href, host, path in URLS:
        found = seen(href)
        if isinstance(found, Reason):
            refused.add((href, found))
            continue
        assert (found.domain, found.page) == (host.removesuffix("."), oracle(path))
        assert seen(href, names.domain(host)) == found
    # Names that no resolver takes: of other characters, and with empty labels.
    assert refused == {
        (href, Reason.MALFORMED_REFERER)
        for href in ("http://!\"$&'()*+,-.;=_`{}~/", "http://./", "http://../", "http://foo.09../")
    }
    assert len(URLS) == 173


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/%c3%bcn", "/%C3%BCn"),
        ("/ün", "/%C3%BCn"),
        ("/%7Ejane", "/~jane"),
        ("/你好", "/%E4%BD%A0%E5%A5%BD"),
        ("/\"{`}<>^|[]'", "/%22%7B%60%7D%3C%3E%5E%7C[]'"),
        ("/a/./b/../c/", "/a/c/"),
        ("/a/%2e%2E/b/%2E", "/b/"),
        ("/..", "/"),
        ("/../../a", "/a"),
        ("/a//../b", "/a/b"),
        ("/a/...", "/a/..."),
        ("/.a/b.", "/.a/b."),
        ("/a%2fb%2F..%2f", "/a%2Fb%2F..%2F"),
        ("/%2525%41", "/%2525A"),
        # What is decoded makes no new escape.
        ("/%4%31%%34%31", "/%2541%2541"),
        ("/100%", "/100%25"),
        ("", "/"),
    ],
)
def test_a_page_has_one_form(path: str, page: str) -> None:
    assert names.page(path) == page
    assert names.page(page) == page


_PIECES = st.sampled_from(
    [*'/.%4Faüé\\^|~ \x00?#"\udcff', "//", "/.", "/..", "..", "%2", "%2e", "%2F", "%41", "%7e", "%C3%BC", "%25"]
)
_PATHS = st.lists(st.one_of(_PIECES, st.text(st.characters(exclude_categories=["Cs"]), max_size=3)), max_size=12)


@given(_PATHS.map("".join))
@example("/%%34%31")
@example("/" + "a%C3" * 5000)
def test_the_form_is_that_of_an_independent_count_and_its_own(path: str) -> None:
    page = names.page(path)
    assert page == oracle(path.replace("\\", "/"))
    assert names.page(page) == page
    assert page.isascii()
    assert page.isprintable()


@given(_PATHS.map("".join))
def test_a_page_stands_for_the_bytes_that_the_path_does(path: str) -> None:
    plain = path.replace("\\", "/").replace(".", "").replace("%2e", "").replace("%", "")
    assert unquote_to_bytes(names.page(f"/{plain}")) == f"/{plain}".encode("utf-8", "surrogateescape")


def sites(tmp_path: Path, toml: str) -> Mapping[str, tuple[str, ...]]:
    (tmp_path / "pfa-flux.toml").write_text(toml, encoding="utf-8")
    return settings.load({}, environ={"HOME": str(tmp_path)}, directory=tmp_path).sites


def test_domains_of_a_site_are_canonical_and_what_is_none_stays_as_other_writers_have_it(tmp_path: Path) -> None:
    found = sites(
        tmp_path, '[sites.a]\ndomains = ["Bücher.Example", "*.STRASSE.de", "b.example:8443", "app of mine", "*"]'
    )
    assert found == {"a": ("xn--bcher-kva.example", "*.strasse.de", "b.example:8443", "app of mine", "*")}


@pytest.mark.parametrize("other", ["bücher.example", "BÜCHER.example", "xn--bcher-kva.example."])
def test_a_domain_in_two_sites_is_told_whatever_its_form(tmp_path: Path, other: str) -> None:
    with pytest.raises(SettingsError, match=r"xn--bcher-kva\.example is in two sites, a and b"):
        sites(tmp_path, f'[sites.a]\ndomains = ["bücher.example"]\n[sites.b]\ndomains = ["{other}"]')


def test_a_site_of_a_name_that_no_browser_sends_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\[sites\.a\] domains: 'ü\.\.a' is not a domain") as caught:
        sites(tmp_path, '[sites.a]\ndomains = ["ü..a"]')
    assert caught.value.hint


def test_what_is_not_in_unicode_yet_is_no_name() -> None:
    assert unicodedata.category("\U0003fffd") == "Cn"
    with pytest.raises(InvalidValueError):
        names.domain("\U0003fffd.example")


@pytest.mark.parametrize(
    ("domain", "name", "is_below"),
    [
        ("www.example.com", "example.com", True),
        ("a.b.example.com", "example.com", True),
        ("www.example.com:8443", "example.com", True),
        ("www.example.com:8443", "example.com:8443", True),
        ("www.example.com", "example.com:8443", False),
        ("example.com", "example.com", False),
        ("badexample.com", "example.com", False),
        ("example.com.evil.example", "example.com", False),
    ],
)
def test_a_domain_is_below_another_by_its_labels(domain: str, name: str, is_below: bool) -> None:
    assert names.is_below(domain, name) == is_below
