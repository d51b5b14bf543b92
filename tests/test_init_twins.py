"""`pfa-flux init` proposes the www twin of a domain, so that neither name is refused."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from pfa_flux.setup.draft import www_twin
from tests.initial import Terminal, run


@pytest.mark.parametrize(
    ("domain", "twin"),
    [
        ("example.com", "www.example.com"),
        ("www.example.com", "example.com"),
        ("example.co.uk", "www.example.co.uk"),
        ("blog.example.com", ""),
        ("example.com:8080", "www.example.com:8080"),
        ("abc.onion", ""),
        ("example.i2p", ""),
        ("*.example.com", ""),
        ("localhost", ""),
        ("192.0.2.7", ""),
        ("[2001:db8::1]", ""),
    ],
)
def test_the_twin_of_a_domain(domain: str, twin: str) -> None:
    assert www_twin(domain) == twin


def dialogue(folder: Path, answer: str) -> dict[str, object]:
    """The settings after a run on a terminal."""
    flags = ("--config", "a.toml", "--data-dir", "data", "--url", "", "--loads", "none", "--site", "blog=example.com")
    terminal = Terminal(folder, *flags)
    terminal.answer("Count www.example.com too? [Y/n]: ", answer)
    assert terminal.end() == 0, terminal.shown
    return tomllib.loads((folder / "a.toml").read_text())


def test_a_proposed_twin_counts_and_is_of_the_same_site(tmp_path: Path) -> None:
    written = dialogue(tmp_path, "")
    assert written["sites"] == {"blog": {"domains": ["example.com", "www.example.com"]}}
    assert written["pixel"] == {"domains": ["example.com", "www.example.com"], "loads": "none"}


def test_a_twin_that_is_not_wanted_is_left_out(tmp_path: Path) -> None:
    written = dialogue(tmp_path, "n")
    assert written["sites"] == {"blog": {"domains": ["example.com"]}}
    assert written["pixel"] == {"domains": ["example.com"], "loads": "none"}


def test_without_questions_the_twin_is_said_to_be_left_out(tmp_path: Path) -> None:
    flags = ("init", "--yes", "--config", "a.toml", "--data-dir", "data")
    done = run(tmp_path, *flags, "--domain", "www.example.com", "--domain", "abc.onion")
    words = "not counted: example.com. If visitors use that name too, add it with --site or --domain\n"
    assert (done.code, words in done.err) == (0, True)
    # A pattern has it already.
    for more in ("example.com", "*.example.com"):
        assert "not counted" not in run(tmp_path, *flags, "--domain", more).err
