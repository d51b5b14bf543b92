"""Edits of a TOML file that somebody has written by hand: what is not meant stays as it is, to the byte."""

from __future__ import annotations

import tomllib

import pytest

from pfa_flux.errors import PfaFluxError
from pfa_flux.toml_edit import Change, edited

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
    assert tomllib.loads(edited(windows, [change])) == tomllib.loads(edited(TEXT, [change]))
    assert edited(edited(TEXT, [change]), [change]) == edited(TEXT, [change])


def test_top_level_keys_come_before_the_comments_of_the_first_table() -> None:
    text = "# Head.\n\n# Ours.\n[pixel]\nmax_pages = 5"
    assert edited(text, [Change((), "url", "u")]) == '# Head.\n\nurl = "u"\n\n# Ours.\n[pixel]\nmax_pages = 5'
    assert edited(text, [Change(("pixel",), "path", "/p")]) == f'{text}\npath = "/p"\n'
    assert edited("", [Change(("pixel",), "path", "/p")]) == '[pixel]\npath = "/p"\n'
    assert edited("#", [Change((), "url", "u")]) == '#\nurl = "u"\n'


@pytest.mark.parametrize(
    "text",
    [
        'sites = { blog = { domains = ["a"] } }\n',
        'sites.blog.domains = ["a"]\n',
        '[sites]\nblog.domains = ["a"]\n',
        '[sites.blog]\ndomains = [\n  "a", # ours\n  "b"]\n',
    ],
)
def test_what_would_be_lost_is_refused_with_what_to_write_by_hand(text: str) -> None:
    with pytest.raises(PfaFluxError) as caught:
        edited(text, [Change(("sites", "blog"), "domains", ("c",))])
    assert caught.value.hint == 'Write in it: [sites.blog] domains = ["c"]'
