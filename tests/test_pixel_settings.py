"""[pixel] in the settings file: what may stand there, and what is told of what may not."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from pfa_flux import SettingsError, settings
from pfa_flux.settings.pixel import BY_PIXEL, CHOICES, OPT_OUTS, PixelSettings

DAY = 86400


def read(tmp_path: Path, toml: str) -> PixelSettings:
    (tmp_path / "pfa-flux.toml").write_text(f"[pixel]\n{toml}\n")
    return settings.load({}, environ={"HOME": str(tmp_path / "home")}, directory=tmp_path).pixel


def test_without_anything_all_has_its_default(tmp_path: Path) -> None:
    assert read(tmp_path, "") == PixelSettings()
    assert settings.load({}, environ={}, directory=tmp_path / "nowhere").pixel == PixelSettings()


def test_everything_can_be_set(tmp_path: Path) -> None:
    got = read(
        tmp_path,
        """
        listen = "0.0.0.0:80"
        admin = ""
        path = "/p"
        load_path = "/l"
        loads = "tracker"
        views = "documents"
        domains = ["a.example", "*.b.example"]
        max_domains = 1
        max_pages = 2
        page = "off"
        trailing_slash = "strip"
        duplicate_slashes = "merge"
        strip_index = true
        lower_case = true
        masks = ["/reset/*"]
        trust_proxy = true
        no_referer = "reject"
        opt_out = ["gpc", "dnt"]
        synchronous = "full"
        spool_mib = 3
        raw_retention = "2d"
        max_connections = 4
        """,
    )
    assert got == PixelSettings(
        listen="0.0.0.0:80",
        admin="",
        path="/p",
        load_path="/l",
        loads="tracker",
        views="documents",
        domains=("a.example", "*.b.example"),
        max_domains=1,
        max_pages=2,
        page="off",
        trailing_slash="strip",
        duplicate_slashes="merge",
        strip_index=True,
        lower_case=True,
        masks=("/reset/*",),
        trust_proxy=True,
        no_referer="reject",
        opt_out=("gpc", "dnt"),
        synchronous="full",
        spool_mib=3,
        raw_retention=2 * DAY,
        max_connections=4,
    )
    default = PixelSettings()
    assert all(getattr(got, each.name) != getattr(default, each.name) for each in fields(PixelSettings))


@pytest.mark.parametrize(
    ("toml", "key", "value"),
    [
        ('listen = "127.0.0.1:0"', "listen", "127.0.0.1:0"),
        ('listen = "[::1]:8480"', "listen", "[::1]:8480"),
        ('listen = "localhost:65535"', "listen", "localhost:65535"),
        ('listen = "unix:/run/pfa flux/pixel.sock"', "listen", "unix:/run/pfa flux/pixel.sock"),
        ('path = "/"', "path", "/"),
        ('path = "/a/b.gif"', "path", "/a/b.gif"),
        ('load_path = ""', "load_path", ""),
        ("domains = []", "domains", ()),
        ('domains = ["a.example", "b.example", "a.example"]', "domains", ("a.example", "b.example")),
        ('domains = ["*.B.Example", "c.example:8443", "[::1]"]', "domains", ("*.b.example", "c.example:8443", "[::1]")),
        (
            'domains = ["Straße.de", "*.BÜCHER.example", "😀.example:81", "xn--strae-oqa.de", "-a-.example"]',
            "domains",
            (
                "xn--strae-oqa.de",
                "*.xn--bcher-kva.example",
                "xn--e28h.example:81",
                "-a-.example",
            ),
        ),
        ('domains = ["127.1", "a.example."]', "domains", ("127.0.0.1", "a.example")),
        ('masks = ["/Reset/*", "/u/?"]', "masks", ("/Reset/*", "/u/?")),
        ('opt_out = ["dnt"]', "opt_out", ("dnt",)),
        ('raw_retention = "24h"', "raw_retention", DAY),
        ('raw_retention = "52w"', "raw_retention", 364 * DAY),
        ("max_pages = 1", "max_pages", 1),
        *((f'{key} = "{word}"', key, word) for key, words in CHOICES.items() if key != "loads" for word in words),
        *((f'loads = "{word}"', "loads", word) for word in ("own", "none", "")),
        *((f'loads = "{word}"\nload_path = "/l"', "loads", word) for word in BY_PIXEL),
    ],
)
def test_good_values(tmp_path: Path, toml: str, key: str, value: object) -> None:
    assert getattr(read(tmp_path, toml), key) == value


_WRONG = {
    "listen": ['""', "8480", '"8480"', '":8480"', '"127.0.0.1"', '"127.0.0.1:x"', '"127.0.0.1:65536"', '"::1:8480"',
               '"http://127.0.0.1:8480"', '"unix:pixel.sock"', '"unix:"', '"a b:80"', "true", "[]"],
    "admin": ["5", "true", '"8481"', '"127.0.0.1"', '"127.0.0.1:123456"', '"unix:x"'],
    "path": ['"/p?x"', '"/p#x"', '""', '"count.gif"', '"/a b"', '"/ä"', '"http://a/b"', '"/a\\n"', "5", "[]"],
    "load_path": ["5", "[]", '"load"', '"/l l"', '"*"'],
    "domains": ['["ü..a"]', '["a/ü"]', '["\u200d.example"]', '["1.2.3.400"]', '["*.ü\\uff0f"]',
                '["a..b"]', '["a\\\\b"]', '["a:123456"]', '"a.example"', "5", '[""]', "[5]",
                '["https://a.example"]', '["a.example/x"]', '["a b"]', '["*"]',
                '["a.*.example"]', '["*a.example"]', '["u@a.example"]', '["a?b"]', '["a#b"]', '["*."]'],
    "page": ['"on"', '""', '"Path"', "true", "[]"],
    "trailing_slash": ['"remove"', "false", '""'],
    "duplicate_slashes": ['"strip"', "true", '""'],
    "loads": ['"pixel"', "false", "[]", '"script"', '"tracker"', '"own"\nload_path = "/l"', '"none"\nload_path = "/l"'],
    "views": ['"pages"', '"Navigations"', "true", "[]"],
    "no_referer": ['"drop"', "0", "true"],
    "synchronous": ['"off"', '"FULL"', "2"],
    "strip_index": ['"true"', "1", '""', "[]"],
    "lower_case": ['"yes"', "0"],
    "trust_proxy": ['"no"', "1"],
    "masks": ['["/a\\\\"]', '["/a\\n"]', '"/reset/*"', '["reset/*"]', '["*"]', '[""]', "[1]", "{}"],
    "opt_out": ['"gpc"', '["GPC"]', '["dnt", "x"]', "[true]"],
    "max_domains": ["0", "-1", "1.5", '"many"', "true", "[]", '""'],
    "max_pages": ["0", "-1", "1.5", '"many"', "false"],
    "spool_mib": ["0", "-1", "1.5", '"1 GiB"', "true"],
    "max_connections": ["0", "-1", "1.5", '"x"', "true"],
    "raw_retention": ["30", '"soon"', '""', '"23h"', '"0d"', '"-1d"', "true"],
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in _WRONG.items() for value in values])
def test_a_wrong_value_is_told_with_file_and_key_and_what_to_write(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"pfa-flux\.toml: .*{key}") as caught:
        read(tmp_path, f"{key} = {value}")
    assert caught.value.hint


def test_every_key_has_values_that_are_wrong() -> None:
    assert set(_WRONG) == {each.name for each in fields(PixelSettings)}


@pytest.mark.parametrize("key", ["lisen", "Listen", "no-referer", "paths", "raw_retention_days"])
def test_an_unknown_key_is_told_with_those_that_there_are(tmp_path: Path, key: str) -> None:
    with pytest.raises(SettingsError, match=rf"\[pixel\] has an unknown key '{key}'") as caught:
        read(tmp_path, f"{key} = 1")
    assert all(each.name in caught.value.hint for each in fields(PixelSettings))


@pytest.mark.parametrize("toml", ["pixel = 5", "pixel = []", 'pixel = "x"', "[[pixel]]"])
def test_the_table_is_a_table(tmp_path: Path, toml: str) -> None:
    (tmp_path / "pfa-flux.toml").write_text(toml)
    with pytest.raises(SettingsError, match="pixel is not a table"):
        settings.load({}, environ={}, directory=tmp_path)


@pytest.mark.parametrize("toml", ['path = "/x"\nload_path = "/x"', 'load_path = "/count.gif"'])
def test_hits_and_loads_have_paths_of_their_own(tmp_path: Path, toml: str) -> None:
    with pytest.raises(SettingsError, match="path and load_path are the same"):
        read(tmp_path, toml)


@pytest.mark.parametrize("key", ["page", "trailing_slash", "duplicate_slashes", "no_referer", "synchronous"])
def test_a_wrong_word_is_told_with_the_right_ones(tmp_path: Path, key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, f'{key} = "?"')
    assert all(word in caught.value.hint for word in CHOICES[key])


def test_a_wrong_wish_is_told_with_the_right_ones(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, 'opt_out = ["?"]')
    assert all(word in caught.value.hint for word in OPT_OUTS)
