"""The systemd units are sound, and shut in; systemd-analyze needs no running systemd for this."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pfa_flux.settings import Settings
from pfa_flux.setup.systemd import STATE, Place, unit
from tests.pixel_server import PixelServer
from tests.webserver import program

UNIT = Path(__file__).parents[1] / "docs" / "systemd" / "pfa-flux.service"
COMMAND = "/usr/local/bin/pfa-flux"
INSTALLED = Path(sys.executable).with_name("pfa-flux")


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [program("systemd-analyze"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def written(folder: Path, text: str) -> str:
    """Path of a unit in a folder."""
    path = folder / "pfa-flux.service"
    path.write_text(text)
    return str(path)


def verified(folder: Path, text: str) -> tuple[int, str]:
    """Status and words of systemd-analyze about a unit."""
    done = analyze("verify", "--man=no", written(folder, text))
    return done.returncode, done.stderr


def installed(text: str) -> str:
    """The unit, for the command as it is installed here."""
    assert text.count(f"ExecStart={COMMAND} ") == 1
    return text.replace(COMMAND, str(INSTALLED))


def with_its_choices(text: str) -> str:
    """The unit with all that is commented out in it."""
    return "".join(line.removeprefix("#") if line[1:2].isupper() else line for line in text.splitlines(True))


def test_the_unit_is_sound(tmp_path: Path) -> None:
    text = UNIT.read_text()
    for each in (text, with_its_choices(text)):
        assert verified(tmp_path, installed(each)) == (0, "")


def test_its_choices_are_the_token_and_the_rights_of_the_socket() -> None:
    text = UNIT.read_text()
    added = set(with_its_choices(text).splitlines()) - set(text.splitlines())
    assert added == {
        "LoadCredential=token:/etc/pfa-flux/token",
        "Environment=PFA_FLUX_TOKEN_FILE=%d/token",
        "RuntimeDirectoryMode=0750",
        "Group=www-data",
    }


def test_the_unit_is_shut_in(tmp_path: Path) -> None:
    # In tenths; systemd calls all up to 4.9 OK.
    done = analyze("security", "--offline=yes", "--threshold=15", written(tmp_path, installed(UNIT.read_text())))
    assert done.returncode == 0, done.stdout


def test_the_unit_of_the_live_page_is_sound_and_shut_in(tmp_path: Path) -> None:
    text = UNIT.with_name("pfa-flux-view.service").read_text()
    for each in (text, with_its_choices(text)):
        assert verified(tmp_path, installed(each)) == (0, "")
    done = analyze("security", "--offline=yes", "--threshold=15", written(tmp_path, installed(text)))
    assert done.returncode == 0, done.stdout


def test_the_unit_of_a_service_with_a_user_of_its_own(tmp_path: Path) -> None:
    settings = Settings(url="http://192.0.2.7:8086", data_dir=STATE)
    place = Place(INSTALLED, Path("/etc/pfa-flux/pfa-flux.toml"), Path("/etc/pfa-flux/pfa-flux.token"), "me")
    text = unit(settings, place)
    shipped = UNIT.read_text().splitlines()
    assert [line for line in text.splitlines() if line not in shipped] == [
        "LoadCredential=token:/etc/pfa-flux/pfa-flux.token",
        "Environment=PFA_FLUX_TOKEN_FILE=%d/token",
        f"ExecStart={INSTALLED} serve --config /etc/pfa-flux/pfa-flux.toml",
        "IPAddressAllow=192.0.2.7",
    ]
    assert verified(tmp_path, text) == (0, "")


def test_the_unit_of_a_user_who_keeps_the_data(tmp_path: Path) -> None:
    settings = Settings(url="http://localhost:8086", data_dir=Path("/home/me/da ta%"))
    text = unit(settings, Place(INSTALLED, Path("/home/me/pfa-flux.toml"), Path("/home/me/t"), "me"))
    shipped = UNIT.read_text().splitlines()
    assert [line for line in text.splitlines() if line not in shipped] == [
        'Environment="PFA_FLUX_DATA_DIR=/home/me/da ta%%"',
        f"ExecStart={INSTALLED} serve --config /home/me/pfa-flux.toml",
        "User=me",
        'ReadWritePaths="/home/me/da ta%%"',
        "ProtectHome=read-only",
    ]
    assert "DynamicUser" not in text
    assert verified(tmp_path, text) == (0, "")


def test_the_pixel_tells_systemd_when_it_is_ready_and_when_it_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="pfa") as short, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(f"{short}/notify")
        told.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", f"{short}/notify")
        with PixelServer(tmp_path) as pixel:
            assert told.recv(100) == b"READY=1"
            assert pixel.get("/healthz") != ""
        assert told.recv(100) == b"STOPPING=1"
