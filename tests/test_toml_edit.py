"""Edits of a TOML file that somebody has written by hand: what is not meant stays as it is, to the byte."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfa_flux.errors import PfaFluxError
from pfa_flux.setup.toml_edit import Change, edited

TEXT = """\
# Head.
url = "http://a.example" # the old one
org   =  "x"

# The sites.
[sites.blog]
domains = [
    "example.com", # main
    "abc.onion",
]

[pixel] # counts
max_pages = 5
"""


@pytest.mark.parametrize(
    ("change", "old", "new"),
    [
        (Change((), "url", "http://b.example"), '"http://a.example" # the', '"http://b.example" # the'),
        (Change((), "url", None), 'url = "http://a.example" # the old one\n', ""),
        (Change((), "absent", None), "", ""),
        (Change((), "org", "x"), "", ""),
        (Change((), "data_dir", 'a"\\b'), 'org   =  "x"\n', 'org   =  "x"\ndata_dir = "a\\"\\\\b"\n'),
        (
            Change(("sites", "blog"), "domains", ("example.com", "abc.onion", "c.i2p")),
            '    "abc.onion",\n',
            '    "abc.onion",\n    "c.i2p",\n',
        ),
        (Change(("task",), "loads", False), "max_pages = 5\n", "max_pages = 5\n\n[task]\nloads = false\n"),
        (Change(("task",), "loads", None), "", ""),
        (Change(("pixel",), "domains", ("a", "b")), "max_pages = 5\n", 'max_pages = 5\ndomains = ["a", "b"]\n'),
        (
            Change(("sites", "my blog"), "domains", ("a",)),
            "max_pages = 5\n",
            'max_pages = 5\n\n[sites."my blog"]\ndomains = ["a"]\n',
        ),
    ],
    ids=str,
)
def test_an_edit_changes_its_key_and_leaves_all_else(change: Change, old: str, new: str) -> None:
    assert edited(TEXT, [change]) == TEXT.replace(old, new) if old else TEXT
    windows = TEXT.replace("\n", "\r\n")
    assert edited(windows, [change]) == edited(TEXT, [change]).replace("\n", "\r\n")
    assert edited(edited(TEXT, [change]), [change]) == edited(TEXT, [change])


def test_top_level_keys_come_before_the_comments_of_the_first_table() -> None:
    text = "# Head.\n\n# Ours.\n[pixel]\nmax_pages = 5"
    assert edited(text, [Change((), "url", "u")]) == '# Head.\n\nurl = "u"\n\n# Ours.\n[pixel]\nmax_pages = 5'
    assert edited(text, [Change(("pixel",), "path", "/p")]) == f'{text}\npath = "/p"\n'
    assert edited("", [Change(("pixel",), "path", "/p")]) == '[pixel]\npath = "/p"\n'
    assert edited("#", [Change((), "url", "u")]) == '#\nurl = "u"\n'


_SPELLINGS = {
    'sites = { blog = { domains = ["a"] } } # ours\n': 'sites = { blog = { domains = ["c"] } } # ours\n',
    'sites.blog.domains = ["a"] # ours\n': 'sites.blog.domains = ["c"] # ours\n',
    'url = "u"\nsites . "blog".domains = ["a"]\norg = "o"\n': (
        'url = "u"\nsites . "blog".domains = ["c"]\norg = "o"\n'
    ),
    '[sites]\nblog.domains = ["a"]\n': '[sites]\nblog.domains = ["c"]\n',
    '[sites]\nblog = { domains = ["a"] }\n': '[sites]\nblog = { domains = ["c"] }\n',
    "[sites.blog]\ndomains = [\n  'a',\n  'b']\n": '[sites.blog]\ndomains = ["c"]\n',
}


@pytest.mark.parametrize("text", _SPELLINGS)
def test_a_key_is_changed_in_the_spelling_it_has(text: str) -> None:
    assert edited(text, [Change(("sites", "blog"), "domains", ("c",))]) == _SPELLINGS[text]


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ('pixel = { path = "/" } # ours\n', 'pixel = { path = "/", domains = ["c"]} # ours\n'),
        ("pixel = {}\n", 'pixel = {domains = ["c"]}\n'),
        (
            'pixel.path = "/" # ours\nurl = "u"\npixel.listen = "l:1"\n',
            'pixel.path = "/" # ours\npixel.domains = ["c"]\nurl = "u"\npixel.listen = "l:1"\n',
        ),
        ("[task]\nloads = true\n# Of the pixel.\n[pixel]\n", None),
    ],
)
def test_a_key_is_added_in_the_spelling_of_its_table(text: str, made: str | None) -> None:
    change = Change(("pixel",), "domains", ("c",))
    assert edited(text, [change]) == (made or f'{text}domains = ["c"]\n')


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ('sites = { a = { domains = ["a"] } }\n', 'sites = { a = { domains = ["a"] }, b = {domains = ["c"]}}\n'),
        ('sites.a.domains = ["a"]\n', 'sites.a.domains = ["a"]\n\n[sites.b]\ndomains = ["c"]\n'),
        ("[sites]\n[pixel]\n", '[sites]\n[pixel]\n\n[sites.b]\ndomains = ["c"]\n'),
    ],
)
def test_a_table_is_added_so_that_the_text_stays_toml(text: str, made: str) -> None:
    assert edited(text, [Change(("sites", "b"), "domains", ("c",))]) == made


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ('pixel = { path = "/", listen = "l"} # ours\n', 'pixel = { path = "/" } # ours\n'),
        ('url = "u"\npixel.listen = "l"\n', 'url = "u"\n'),
        ('pixel.listen = "l"\nurl = "u"\npixel.path = "/"\n', 'url = "u"\npixel.path = "/"\n'),
        ('[pixel] # of us\nlisten = "l" # here\n# More.\n', "[pixel] # of us\n# More.\n"),
    ],
)
def test_a_key_is_taken_out_of_every_spelling(text: str, made: str) -> None:
    assert edited(text, [Change(("pixel",), "listen", None)]) == made


@pytest.mark.parametrize("value", [("c",), ("b", "a"), None])
def test_comments_within_a_list_are_not_lost(value: tuple[str, ...] | None) -> None:
    text = '[sites.blog]\ndomains = [\n  "a", # ours\n  "b"]\n'
    with pytest.raises(PfaFluxError, match="a list contains comments, which would be lost") as caught:
        edited(text, [Change(("sites", "blog"), "domains", value)])
    words = "domains = " + json.dumps(value) if value else "without domains"
    assert caught.value.hint == f"Write this into it: [sites.blog] {words}"
    longer = edited(text, [Change(("sites", "blog"), "domains", ("a", "b", "c"))])
    assert longer == '[sites.blog]\ndomains = [\n  "a", # ours\n  "b",\n  "c"]\n'


@pytest.mark.parametrize("text", ["pixel = 5\n", "[[pixel]]\n"])
def test_what_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(PfaFluxError, match="pixel is not a table"):
        edited(text, [Change(("pixel",), "listen", "l")])


def test_a_mixture_of_line_ends_stays_as_it_is() -> None:
    assert edited('a = 1\r\nurl = "u"\nb = 2\r\n', [Change((), "url", "v")]) == 'a = 1\r\nurl = "v"\nb = 2\r\n'


def test_a_truth_value_is_changed_and_taken_out_again() -> None:
    text = "[task] # ours\nloads = true # both\nevery = '1h'\n"
    without = edited(text, [Change(("task",), "loads", False)])
    assert without == "[task] # ours\nloads = false # both\nevery = '1h'\n"
    assert edited(without, [Change(("task",), "loads", None)]) == "[task] # ours\nevery = '1h'\n"


_ODD = ('# "', "'''", '"""', "\\", "]", '""', '\\"')
_TEXTS = st.text(st.characters(exclude_categories=["C"]), max_size=6) | st.sampled_from(_ODD)
_VALUES = _TEXTS | st.booleans() | st.lists(_TEXTS, max_size=3).map(tuple)
_TABLES = ((), ("task",), ("pixel",), ("sites", "blog"), ("sites", "my blog"))
_KEYS = ("one", "two", "three")
_MARK = " \"'[{"


class Writer:
    """Writes values, keys and comments in any spelling; every comment is there once."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw, self.number, self.commented_list = draw, 0, False

    def comment(self) -> str:
        self.number += 1
        return f" #{self.number}{_MARK}" if self.draw(st.booleans()) else ""

    def notes(self) -> list[str]:
        return [self.comment().lstrip() for _ in range(self.draw(st.integers(0, 2)))]

    def value(self, value: Any, *, lines: bool) -> str:
        if isinstance(value, tuple) and lines and self.draw(st.booleans()):
            items = [(json.dumps(item, ensure_ascii=False), self.comment()) for item in value]
            self.commented_list |= any(comment for _, comment in items)
            return "[\n" + "".join(f"  {item},{comment}\n" for item, comment in items) + "]"
        if isinstance(value, str) and "'" not in value and self.draw(st.booleans()):
            return f"'{value}'"
        return json.dumps(value, ensure_ascii=False)

    def pairs(self, *, lines: bool) -> list[str]:
        keys = self.draw(st.lists(st.sampled_from(_KEYS), unique=True))
        return [f"{key} = {self.value(self.draw(_VALUES), lines=lines)}" for key in keys]


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, bool]:
    """A text in any of TOML's spellings with comments in all places, and whether lists have comments within."""
    writer, above, below = Writer(draw), list[str](), list[str]()
    for path in draw(st.permutations(_TABLES)):
        name = ".".join(f'"{part}"' if " " in part else part for part in path)
        spelling = draw(st.sampled_from(("header", "dotted", "inline", "absent"))) if path else "dotted"
        if spelling == "dotted":
            start = f"{name}." if name else ""
            above += [f"{start}{pair}{writer.comment()}" for pair in writer.pairs(lines=True)]
        elif spelling == "inline":
            above.append(f"{name} = {{ {', '.join(writer.pairs(lines=False))} }}{writer.comment()}")
        elif spelling == "header":
            below += [*writer.notes(), f"[{name}]{writer.comment()}"]
            for pair in writer.pairs(lines=True):
                below += [*writer.notes(), f"{pair}{writer.comment()}"]
    lines = (*writer.notes(), *draw(st.permutations(above)), *writer.notes(), *below, *writer.notes())
    text = "\n".join(lines) + draw(st.sampled_from(("", "\n", "\n\n")))
    return text.replace("\n", draw(st.sampled_from(("\n", "\r\n")))), writer.commented_list


def expected(document: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """The document with the change."""
    made: dict[str, Any] = json.loads(json.dumps(document))
    table = made
    for name in change.table:
        table = table.setdefault(name, {})
    table.pop(change.key, None)
    if change.value is not None:
        table[change.key] = list(change.value) if isinstance(change.value, tuple) else change.value
    return made


def filled(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document without tables that are empty."""
    made = {key: filled(value) if isinstance(value, dict) else value for key, value in document.items()}
    return {key: value for key, value in made.items() if value != {}}


def comments(text: str) -> list[str]:
    """The comments of a made document."""
    return re.findall(rf"#\d+{re.escape(_MARK)}", text)


CHANGES = st.builds(Change, st.sampled_from(_TABLES), st.sampled_from(_KEYS), st.none() | _VALUES)


@given(documents(), st.lists(CHANGES, min_size=1, max_size=3))
def test_any_change_of_any_document_is_made_whole_or_refused(made: tuple[str, bool], changes: Sequence[Change]) -> None:
    text, commented_list = made
    for change in changes:
        before, old, hint = tomllib.loads(text), text, ""
        try:
            text = edited(text, [change])
        except PfaFluxError as error:
            hint = error.hint
        if hint:
            # Only what would be lost is refused.
            assert (commented_list, hint) == (True, f"Write this into it: {change}")
            continue
        assert filled(tomllib.loads(text)) == filled(expected(before, change))
        lost = set(comments(old)) - set(comments(text))
        # The one on the line that is gone, at most; and none is there twice or elsewhere.
        assert len(lost) <= (change.value is None)
        assert comments(text) == [word for word in comments(old) if word not in lost]
        assert not re.search(r"(?<!\r)\n" if "\r" in old else r"\r", text)
