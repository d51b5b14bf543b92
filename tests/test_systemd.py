"""The systemd units are sound, and shut in; systemd-analyze needs no running systemd for this."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.pixel_server import PixelServer
from tests.webserver import program

UNIT = Path(__file__).parents[1] / "docs" / "systemd" / "pfa-flux.service"
COMMAND = "/usr/local/bin/pfa-flux"


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [program("systemd-analyze"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def installed(folder: Path, text: str) -> str:
    """The unit, for the command as it is installed here."""
    assert text.count(f"ExecStart={COMMAND} ") == 1
    path = folder / "pfa-flux.service"
    path.write_text(text.replace(COMMAND, str(Path(sys.executable).with_name("pfa-flux"))))
    return str(path)


def with_its_choices(text: str) -> str:
    """The unit with all that is commented out in it."""
    return "".join(line.removeprefix("#") if line[1:2].isupper() else line for line in text.splitlines(True))


def test_the_unit_is_sound(tmp_path: Path) -> None:
    text = UNIT.read_text()
    for written in (text, with_its_choices(text)):
        verified = analyze("verify", "--man=no", installed(tmp_path, written))
        assert (verified.returncode, verified.stderr) == (0, "")


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
    done = analyze("security", "--offline=yes", "--threshold=15", installed(tmp_path, UNIT.read_text()))
    assert done.returncode == 0, done.stdout


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
