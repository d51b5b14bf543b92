"""`pfa-flux init` on a terminal: what it asks, and asks again."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.engines.plugin import MakeWorkspace
from tests.initial import MakePlace, Terminal, new_file, places, run


@pytest.fixture
def make_place(make_workspace: MakeWorkspace, tmp_path: Path) -> MakePlace:
    return places(make_workspace, tmp_path)


def test_on_a_terminal_it_asks_and_asks_again_where_an_answer_is_wrong(make_place: MakePlace) -> None:
    place = make_place("influxdb-2.7")
    place.workspace.client.drop_bucket(place.workspace.raw)
    terminal = Terminal(place.folder, "--data-dir", "data")
    terminal.answer("InfluxDB's address (empty for none: all data in one file on this machine): ", "localhost:8086")
    terminal.answer("url is not an http or https address", "http://127.0.0.1:9")
    terminal.answer("cannot be reached", place.workspace.server.url)
    terminal.answer("Token (user:password on 1.x; it is not shown): ", "wrong")
    terminal.answer("it is not shown): ", place.token)
    terminal.answer("Domains to count, separated by commas: ", "example.com, a b")
    terminal.answer("'a b' is not a domain", "example.com, abc.onion")
    terminal.answer("(empty to continue): ", "blog")
    terminal.answer("the site 'blog' is not NAME=domain,domain", "blog=example.com,abc.onion")
    terminal.answer("(empty to continue): ", "")
    terminal.answer("Count www.example.com too? [Y/n]: ", "n")
    terminal.answer("Create ", "y")
    terminal.answer("Page loads [none]: ", "someone")
    terminal.answer("'someone' is not one of own, script, tracker and none", "")
    assert terminal.end() == 0, terminal.shown
    assert place.token not in terminal.shown
    written = tomllib.loads(place.file.read_text())
    assert written["url"] == place.workspace.server.url
    assert written["pixel"]["domains"] == written["sites"]["blog"]["domains"] == ["example.com", "abc.onion"]
    assert place.token_file.read_text() == f"{place.token}\n"
    looked = run(place.folder, "doctor")
    assert (looked.code, "warning" in looked.out) == (0, False), looked.out
    before = place.file.read_text()
    again = Terminal(place.folder)
    again.answer(
        f"InfluxDB's address (- for none: all data in one file on this machine) [{place.workspace.server.url}]: ", ""
    )
    again.answer("Domains to count, separated by commas [example.com, abc.onion]: ", "")
    again.answer("site blog: example.com, abc.onion", "")
    again.answer("Count www.example.com too? [Y/n]: ", "n")
    again.answer("Page loads [none]: ", "")
    assert again.end() == 0, again.shown
    assert f"{place.file}: unchanged" in again.shown
    assert place.file.read_text() == before
    place.remove_tasks()


def test_on_a_terminal_of_a_1_8_it_asks_for_kapacitor_and_no_token(make_place: MakePlace) -> None:
    place = make_place("kapacitor")
    server = place.workspace.server
    terminal = Terminal(place.folder, "--url", server.url, "--data-dir", "data", "--site", "blog=example.com")
    terminal.answer("Kapacitor's address (empty for none: pfa-flux downsamples by itself): ", server.url)
    terminal.answer("it is not Kapacitor", server.kapacitor_url)
    terminal.answer("Count www.example.com too? [Y/n]: ", "n")
    terminal.answer("Page loads [none]: ", "none")
    assert terminal.end() == 0, terminal.shown
    assert tomllib.loads(place.file.read_text())["kapacitor_url"] == server.kapacitor_url
    place.remove_tasks()


def test_on_a_terminal_nothing_is_an_answer_too(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    terminal.answer("all data in one file on this machine): ", "")
    terminal.answer(f"Directory of the data [{tmp_path}/.local/share/pfa-flux]: ", str(tmp_path / "data"))
    terminal.answer("Domains to count, separated by commas: ", "")
    terminal.answer("(empty to continue): ", "")
    terminal.answer("Page loads [script]: ", "")
    assert terminal.end() == 0, terminal.shown
    assert "warning: no domain is set" in terminal.shown
    assert tomllib.loads(new_file(tmp_path).read_text()) == {
        "data_dir": str(tmp_path / "data"),
        "pixel": {"load_path": "/load.gif", "loads": "script"},
    }
