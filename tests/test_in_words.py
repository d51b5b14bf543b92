"""Whatever is wrong around a command is told in words: no traceback, and an exit code that says what it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pfa_flux import SettingsError, connect, settings
from tests.cli import clean_environment, pfa_flux
from tests.engines.plugin import MakeWorkspace
from tests.load import get, send
from tests.pixel_server import PixelServer

NOBODY = 54321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
COMMAND = [sys.executable, "-c", "from pfa_flux.start import main; main()"]


def run(
    *arguments: str, env: Mapping[str, str] | None = None, stdout: int = subprocess.PIPE
) -> subprocess.CompletedProcess[bytes]:
    """The command with an environment and output of its own."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=clean_environment(**(env or {})),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd="/",
        timeout=60,
        check=False,
    )


AS_NOBODY = f"""
import os, sys
from pfa_flux.start import main
given, sys.argv[1:] = sys.argv[1:], ["doctor", "--url", "http://127.0.0.1:9", "--data-dir", "/dev/null/x"]
# What is imported when it is needed may lie where that user may not read.
out, sys.stdout, sys.stderr = (sys.stdout, sys.stderr), open(os.devnull, "w"), open(os.devnull, "w")
for command in (sys.argv[1:], ["doctor", "--data-dir", os.environ["OWN"]]):
    sys.argv[1:] = command
    try:
        main()
    except SystemExit:
        pass
sys.stdout, sys.stderr = out
os.environ.pop("HOME", None)
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
sys.argv[1:] = given
main()
"""


def run_as_nobody(own: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """The command as a user without an entry in passwd and without HOME; `own` is a directory to import it by."""
    return subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *arguments],
        env=clean_environment(OWN=str(own)), cwd="/", capture_output=True, timeout=60, check=False,
    )  # fmt: skip


def place(folder: Path) -> tuple[str, str]:
    return "--data-dir", str(folder)


def error_of(token: bytes, folder: Path) -> str:
    path = folder / "token"
    path.write_bytes(token)
    path.chmod(0o600)
    with pytest.raises(SettingsError) as caught:
        settings.load({"token_file": str(path)}, environ={})
    return caught.value.message.replace(str(path), "FILE")


def test_a_token_file_with_more_than_a_token_is_told(tmp_path: Path) -> None:
    wrong = "the token file FILE has several lines, or control characters"
    assert error_of(b"to\0ken", tmp_path) == wrong
    assert error_of(b"one\ntwo", tmp_path) == wrong
    assert error_of("to\ufeffken".encode(), tmp_path) == wrong
    assert error_of(b"\xef\xbb\xbf\n", tmp_path) == "the token file FILE is empty"
    assert error_of("t".encode("utf-16"), tmp_path) == "the token file FILE is not UTF-8"


def test_a_byte_order_mark_before_a_token_is_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(b"\xef\xbb\xbftoken\r\n")
    path.chmod(0o600)
    assert settings.load({"token_file": str(path)}, environ={}).token.reveal() == "token"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PFA_FLUX_TOKEN", "a\nb", "PFA_FLUX_TOKEN: token contains a control character"),
        ("PFA_FLUX_TOKEN", "a\udcffb", "PFA_FLUX_TOKEN: token contains a control character"),
        ("PFA_FLUX_ORG", "a\x1b", "PFA_FLUX_ORG: org contains a control character"),
        ("PFA_FLUX_TIMEOUT", "9" * 5000, "PFA_FLUX_TIMEOUT: timeout has 5000 digits"),
        ("PFA_FLUX_TIMEOUT", "99999999999", "PFA_FLUX_TIMEOUT: timeout is more than a day"),
    ],
)
def test_settings_that_no_request_can_carry_are_told(name: str, value: str, words: str) -> None:
    done = run("doctor", env={name: value})
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith(f"pfa-flux: {words}\n")


def test_a_password_beyond_latin_1_is_accepted_by_influxdb(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    workspace = make_workspace("influxdb-1.8", auth=True)
    for password in ("pässwörd", "пароль-密码"):
        user = f"u{len(password)}"
        workspace.client.influxql(f"CREATE USER {user} WITH PASSWORD '{password}' WITH ALL PRIVILEGES")
        own = settings.load({**workspace.settings(), "token": f"{user}:{password}"}, environ={})
        with connect(own) as analytics:
            assert len(analytics.hits(start="1h")) == 0
        with pytest.raises(Exception, match="does not know the user, or the password is wrong"):
            connect(settings.load({**workspace.settings(), "token": f"{user}:wrong-密"}, environ={}))
    given: dict[str, Any] = {**workspace.settings(), "token": f"{user}:{password}"}
    given.pop("data_dir", None)
    with PixelServer(tmp_path, **given) as server:
        assert send(server.listen, [get()]).counted == 1
        deadline = time.monotonic() + 30
        while server.metrics()["journal_rows"] and time.monotonic() < deadline:
            time.sleep(0.1)
        found = server.metrics()
        assert (found["shipped_total"], found["helper_restarts_total"]) == (1, 0)
        workspace.client.influxql(f"DROP USER {user}")


def test_output_in_ascii_has_escapes_and_json_stays_json(tmp_path: Path) -> None:
    with PixelServer(tmp_path, pixel={"page": "path"}) as server:
        assert send(server.listen, [get("/%F0%9F%98%80"), get("/")]).counted == 2
        server.stop()
        ascii_only = {"PYTHONIOENCODING": "ascii"}
        shown = run("blocked-ratio", "--start", "1h", *place(server.data_dir), env=ascii_only)
        assert (shown.returncode, shown.stdout.isascii(), b"\\u2013" in shown.stdout) == (0, True, True)
        as_json = run("blocked-ratio", "--start", "1h", "--format", "json", *place(server.data_dir), env=ascii_only)
        assert json.loads(as_json.stdout)["rows"][0]["hits"] == 2
        report = run("report", "--out", "-", "--start", "1h", *place(server.data_dir), env=ascii_only)
        assert "–" in report.stdout.decode("utf-8")
        doctor = run("doctor", *place(server.data_dir), env={"LC_ALL": "C", "PYTHONUTF8": "0", **ascii_only})
        assert (doctor.returncode in {0, 1}, doctor.stdout.isascii()) == (True, True)
        assert b"Traceback" not in shown.stderr + as_json.stderr + report.stderr + doctor.stderr


@pytest.mark.parametrize(
    "arguments", [("--help",), ("nginx",), ("doctor",), ("quarantine", "--format", "json")], ids=str
)
def test_a_full_output_is_told(arguments: tuple[str, ...], tmp_path: Path) -> None:
    from pfa_flux.journal.spool import Spool

    Spool(tmp_path, "normal", 1 << 30).close()
    given = (*arguments, *place(tmp_path)) if arguments != ("--help",) else arguments
    with Path("/dev/full").open("wb") as full:
        done = run(*given, stdout=full.fileno())
    said = done.stderr.decode()
    assert (done.returncode, "cannot write to standard output: No space left on device" in said) == (1, True), said
    assert "Traceback" not in said
    assert "Exception ignored" not in said


@pytest.mark.parametrize("arguments", [(), ("--help",), ("nginx",), ("doctor",)], ids=str)
def test_a_closed_output_is_told(arguments: tuple[str, ...], tmp_path: Path) -> None:
    shell = ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, *arguments]
    done = subprocess.run(shell, env=clean_environment(), stderr=subprocess.PIPE, cwd=tmp_path, timeout=60, check=False)
    assert (done.returncode, done.stderr.decode()) == (
        1,
        "pfa-flux: standard output is closed\nLeave it open, or send it to a file or to /dev/null.\n",
    )


@as_root
def test_a_user_without_a_home_is_told_what_to_name(tmp_path: Path) -> None:
    done = run_as_nobody(tmp_path / "own", "doctor")
    assert (done.returncode, done.stderr.decode()) == (
        2,
        "pfa-flux: this user has no home directory for the data\nSet PFA_FLUX_DATA_DIR to a directory.\n",
    )


@as_root
@pytest.mark.parametrize("url", ["", "http://127.0.0.1:9"])
def test_doctor_as_another_user_says_that_the_directory_is_not_its_own(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    (folder / "pfa-flux.sqlite3").touch()
    for above in (tmp_path, *tmp_path.parents[:2]):
        above.chmod(0o755)
    done = run_as_nobody(tmp_path / "own", "doctor", "--url", url, *place(folder))
    said = done.stdout.decode() + done.stderr.decode()
    assert "Traceback" not in said
    assert (done.returncode, "Permission denied" in said or "you may not read" in said) == (4 if url else 1, True), said


@pytest.mark.parametrize("after", [0.0, 0.05, 0.1, 0.2, 0.3, 0.5])
def test_ctrl_c_ends_a_command_with_130_and_no_traceback(after: float, tmp_path: Path) -> None:
    told = (
        "import sys; from pfa_flux.start import end_on_interrupt, main; end_on_interrupt(); "
        "print('on', flush=True, file=sys.stderr); main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", told, "serve", "--listen", f"unix:{tmp_path}/s", "--admin", "", *place(tmp_path / "d")],
        stderr=subprocess.PIPE, env=clean_environment(), cwd="/",
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline() == b"on\n"
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1].decode()
    assert "Traceback" not in said
    # From when it listens on it ends in peace.
    assert process.returncode == (0 if "listening on" in said else 130), said


def test_a_named_pfa_flux_command_still_works() -> None:
    assert pfa_flux("--version").code == 0
