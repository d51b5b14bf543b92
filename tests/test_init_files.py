"""`pfa-flux init` and files: which it writes, in whose spelling, and where tokens go."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from pfa_flux.setup.draft import config_path
from pfa_flux.setup.systemd import STATE
from tests.cli import pfa_flux as plain
from tests.engines.plugin import MakeWorkspace
from tests.initial import MakePlace, home_of, new_file, places, run


@pytest.fixture
def make_place(make_workspace: MakeWorkspace, tmp_path: Path) -> MakePlace:
    return places(make_workspace, tmp_path)


def test_a_place_that_cannot_be_written_leaves_no_task_behind(make_place: MakePlace) -> None:
    place = make_place("influxdb-2.7")
    done = place.init("--config", str(place.file / "below.toml"))
    assert (done.code, done.out, place.untouched()) == (1, "", True)
    assert "Name another place with --config." in done.err


def test_the_token_of_the_environment_is_written_and_a_file_that_is_named_is_taken(make_place: MakePlace) -> None:
    place = make_place("influxdb-2.7")
    flags = ["init", "--url", place.workspace.server.url, "--data-dir", "data"]
    done = run(place.folder, *flags, env={"PFA_FLUX_TOKEN": place.token})
    assert done.code == 0, done.err
    assert place.token_file.read_text() == f"{place.token}\n"
    other = place.folder / "token"
    other.write_text(place.token)
    other.chmod(0o600)
    done = run(place.folder, *flags, "--token-file", "token")
    assert done.out.startswith(f"{place.file}: changed\n{place.workspace.task_name} (")
    assert tomllib.loads(place.file.read_text())["token_file"] == str(other)
    # Ours, if others can read it, is ours to close; one that was named gets a warning.
    other.chmod(0o644)
    assert "chmod 600" in run(place.folder, *flags, "--token-file", "token").err
    assert other.stat().st_mode & 0o777 == 0o644
    place.remove_tasks()


def test_a_token_in_the_settings_moves_to_a_file_of_its_own(make_place: MakePlace) -> None:
    place = make_place("influxdb-2.7")
    place.file.write_text(f'token = "{place.token}"\n{place.begun}')
    done = run(place.folder, "init", "--url", place.workspace.server.url, "--data-dir", "data")
    assert done.code == 0, done.err
    assert place.token not in place.file.read_text() + done.out + done.err
    assert place.token_file.read_text() == f"{place.token}\n"
    assert run(place.folder, "doctor").code == 0
    place.remove_tasks()


def test_init_writes_in_the_spelling_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "pfa-flux.toml"
    file.write_bytes(b"pixel.max_pages = 7 # few\r\n")
    done = run(tmp_path, "init", "--domain", "a.example", "--data-dir", "data")
    assert done.code == 0, done.err
    assert file.read_bytes().decode() == (
        f'pixel.max_pages = 7 # few\r\npixel.domains = ["a.example"]\r\ndata_dir = "{tmp_path}/data"\r\n'
    )


def test_init_refuses_a_file_that_it_cannot_edit(tmp_path: Path) -> None:
    file = tmp_path / "pfa-flux.toml"
    text = '[sites.blog]\ndomains = [\n    "b.example", # the old one\n]\n'
    file.write_text(text)
    done = run(tmp_path, "init", "--site", "blog=a.example", "--data-dir", "data")
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith('Write in it: [sites.blog] domains = ["a.example"]\n')
    assert file.read_text() == text


def test_the_file_to_write_is_the_one_named_else_the_one_found_else_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ, users = home_of(tmp_path), tmp_path / ".config" / "pfa-flux" / "pfa-flux.toml"
    system, here = tmp_path / "etc" / "pfa-flux.toml", tmp_path / "pfa-flux.toml"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert config_path(None, environ, tmp_path) == system
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert config_path(None, environ, tmp_path) == users
    monkeypatch.undo()
    for file in (system, users, here):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
        assert config_path(None, environ, tmp_path) == file
    assert config_path("other.toml", environ, tmp_path) == tmp_path / "other.toml"
    assert config_path(None, {**environ, "PFA_FLUX_CONFIG": "named.toml"}, tmp_path) == tmp_path / "named.toml"


def test_without_a_file_plain_commands_find_what_init_has_written(tmp_path: Path) -> None:
    assert run(tmp_path, "init", "--data-dir", "data", "--domain", "example.com").code == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    found = plain("config", "check", "--format", "json", env=home_of(tmp_path), cwd=elsewhere).json
    assert (found["file"], found["errors"]) == (str(new_file(tmp_path)), [])


def test_settings_in_etc_keep_their_data_where_the_service_does(tmp_path: Path) -> None:
    from pfa_flux.cli.setup.dialogue import Dialogue

    made = Dialogue(Path("/etc/pfa-flux-tests/pfa-flux.toml"), {}, set(), asking=False, quiet=True)
    assert made.draft.settings().data_dir == STATE
    named = Dialogue(Path("/etc/pfa-flux-tests/a.toml"), {"data_dir": str(tmp_path)}, set(), asking=False, quiet=True)
    assert named.draft.settings().data_dir == tmp_path
