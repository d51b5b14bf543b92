"""`pfa-flux config check`: which file is read, each setting and where it comes from, and all that is wrong."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from pfa_flux.schema import Schema
from pfa_flux.settings import KEYS, TaskSettings
from pfa_flux.settings.pixel import PixelSettings
from tests.cli import Result, pfa_flux


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path


def check(home: Path, *flags: str, **environ: str) -> Result:
    return pfa_flux("config", "check", *flags, env={"HOME": str(home / "home"), **environ}, cwd=home)


def as_data(home: Path, *flags: str, **environ: str) -> dict[str, Any]:
    found: dict[str, Any] = check(home, "--format", "json", *flags, **environ).json
    return found


def of(found: dict[str, Any], key: str) -> tuple[Any, str, str]:
    """Value of a key, the kind of its source, and the source's name."""
    (each,) = [each for each in found["keys"] if each["key"] == key]
    return each["value"], each["source"], each["name"]


def test_every_setting_is_shown_with_its_value_and_its_source(home: Path) -> None:
    file = home / "pfa-flux.toml"
    file.write_text(
        'url = "http://f:1"\norg = "f"\n[sites.blog]\ndomains = ["A.example", "b.i2p"]\n'
        '[task]\nevery = "1h"\n[pixel]\nraw_retention = "14d"\n'
    )
    found = as_data(home, "--org", "mine", PFA_FLUX_URL="http://e:1", PFA_FLUX_TIMEOUT="5")
    tables = {"schema": Schema, "task": TaskSettings, "pixel": PixelSettings}
    in_tables = [f"{name}.{each.name}" for name, kind in tables.items() for each in fields(kind)]
    assert [each["key"] for each in found["keys"]] == [*KEYS, "sites.blog.domains", *in_tables]
    assert of(found, "url") == ("http://e:1", "environment", "PFA_FLUX_URL")
    assert of(found, "org") == ("mine", "flag", "--org")
    assert of(found, "timeout") == (5, "environment", "PFA_FLUX_TIMEOUT")
    assert of(found, "raw_bucket") == ("telegraf/autogen", "default", "")
    assert of(found, "data_dir") == (f"{home}/home/.local/share/pfa-flux", "default", "")
    assert of(found, "sites.blog.domains") == (["a.example", "b.i2p"], "file", str(file))
    assert of(found, "task.every") == ("1h", "file", str(file))
    assert of(found, "task.offset") == ("1m", "default", "")
    assert of(found, "pixel.raw_retention") == ("2w", "file", str(file))
    assert of(found, "task.loads") == (True, "default", "")
    assert (found["file"], found["warnings"], found["errors"]) == (str(file), [], [])


def test_the_places_are_shown_in_their_order(home: Path) -> None:
    here, users, system = (home / name for name in ("pfa-flux.toml", "home/.config/pfa-flux/pfa-flux.toml", "etc.toml"))
    users.parent.mkdir(parents=True)
    users.write_text("")
    system.write_text("")
    assert as_data(home, PFA_FLUX_SYSTEM_CONFIG=str(system))["places"] == [
        {"path": str(here), "kind": "here", "state": "absent"},
        {"path": str(users), "kind": "user", "state": "read"},
        {"path": str(system), "kind": "system", "state": "unread"},
    ]
    named = as_data(home, "--config", str(system), PFA_FLUX_SYSTEM_CONFIG=str(system))
    assert named["places"] == [{"path": str(system), "kind": "named", "state": "read"}]


def test_a_person_reads_the_same_as_a_table(home: Path) -> None:
    (home / "pfa-flux.toml").write_text('org = "f"\ndata_dir = "."\n')
    done = check(home, PFA_FLUX_TIMEOUT="5")
    lines = [re.sub(r" {2,}", "  ", line.rstrip()) for line in done.out.splitlines()]
    assert (done.code, done.err) == (0, "")
    assert lines[:3] == [f"file: {home}/pfa-flux.toml", "place  state", f"{home}/pfa-flux.toml  read"]
    assert 'org  "f"  file' in lines
    assert "timeout  5  PFA_FLUX_TIMEOUT" in lines
    assert "pixel.domains  []  default" in lines
    assert lines[-1] == "no errors"


@pytest.mark.parametrize("where", ["environment", "file", "token_file"])
def test_a_token_is_never_shown(where: str, home: Path) -> None:
    token, file = "-".join(["hu", "sh"]), home / "pfa-flux.toml"
    (home / "token").write_text(token)
    (home / "token").chmod(0o600)
    file.write_text({"file": f'token = "{token}"\n', "token_file": f'token_file = "{home}/token"\n'}.get(where, ""))
    file.chmod(0o600)
    environ = {"PFA_FLUX_TOKEN": token} if where == "environment" else {}
    done = check(home, **environ)
    found = as_data(home, **environ)
    assert token not in done.out + done.err + str(found)
    name = "PFA_FLUX_TOKEN" if where == "environment" else str(file)
    assert of(found, "token") == ("***", "environment" if where == "environment" else "file", name)
    assert of(found, "token_file")[0] == (f"{home}/token" if where == "token_file" else "")


def test_neither_is_a_password_in_an_address(home: Path) -> None:
    password = "-".join(["hu", "sh"])
    (home / "pfa-flux.toml").write_text(f'url = "http://me:{password}@h:1"\n')
    done = check(home)
    assert (done.code, password in done.out) == (2, False)
    assert f"error: {home}/pfa-flux.toml: url contains a user name or password\n" in done.out


def test_everything_that_is_wrong_is_told_with_its_place_and_what_to_write(home: Path) -> None:
    file = home / "pfa-flux.toml"
    file.write_text('ulr = "x"\nkapacitor_url = "http://k:1"\n[pixel]\npage = "on"\nlisten = 5\n')
    done = check(home, "--config", str(file), PFA_FLUX_URI="x", PFA_FLUX_TOKEN_FILE=str(home / "absent"))
    assert (done.code, done.err) == (2, "")
    told = re.findall(r"^error: (.*)\n {7}(\S.*)$", done.out, re.MULTILINE)
    assert [message for message, _ in told] == [
        f"{file}: unknown key 'ulr'",
        "unknown environment variable PFA_FLUX_URI",
        f"{file}: [pixel] page is 'on'",
        f"{file}: [pixel] listen is 5, not a string",
        f"{file}: kapacitor_url is set, but url is not",
        f"PFA_FLUX_TOKEN_FILE: the token file {home}/absent cannot be read: No such file or directory",
    ]
    assert told[0][1].startswith("Did you mean 'url'? Known keys: ")
    assert told[1][1].startswith("Did you mean 'PFA_FLUX_URL'? Known variables: ")
    assert told[2][1] == "Use one of: path, off."
    found = as_data(home, "--config", str(file))
    assert found["errors"][1] == {
        "key": "pixel.page",
        "source": str(file),
        "message": f"{file}: [pixel] page is 'on'",
        "hint": "Use one of: path, off.",
    }
    # Its default would not be what was meant.
    assert of(found, "pixel.page") == (None, "file", str(file))
    assert "no errors" not in done.out


@pytest.mark.parametrize(
    ("content", "words"),
    [("url = ", "is not valid TOML at its end: invalid value"), (None, "does not exist")],
)
def test_of_a_file_that_cannot_be_used_nothing_else_is_known(content: str | None, words: str, home: Path) -> None:
    file = home / "a.toml"
    if content is not None:
        file.write_text(content)
    done = check(home, "--config", str(file))
    found = as_data(home, "--config", str(file), PFA_FLUX_URI="x")
    assert (done.code, found["keys"]) == (2, [])
    assert f"{file} {words}" in found["errors"][0]["message"]
    # What needs no file is told all the same.
    assert found["errors"][1]["key"] == "PFA_FLUX_URI"
    assert [place["state"] for place in found["places"]] == ["wrong" if content else "absent"]


def test_a_file_that_another_user_may_have_written_ends_with_1(home: Path) -> None:
    file = home / "pfa-flux.toml"
    file.write_text("")
    file.chmod(0o646)
    done = check(home)
    wrong = f"error: {file} is in the working directory, and others may write to it\n"
    assert (done.code, wrong in done.out) == (1, True)


def test_what_is_worth_a_word_is_no_error(home: Path) -> None:
    (home / "token").write_text("t")
    (home / "token").chmod(0o644)
    done = check(home, "--token-file", str(home / "token"), "--data-dir", str(home / "absent"))
    assert done.code == 0
    assert f"warning: {home}/token contains a token, and every user of this machine can reach it" in done.out
    assert f"warning: data_dir {home}/absent does not exist yet: pfa-flux init and serve create it\n" in done.out
    assert "warning" not in check(home, "--quiet", "--token-file", str(home / "token")).out
    # With a server the data is there.
    assert as_data(home, "--url", "http://h:1", "--data-dir", str(home / "absent"))["warnings"] == []
