"""Long output on a terminal goes through the pager, and nothing else ever does."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from pathlib import Path
from typing import Any

import pytest

from pfa_flux.cli.paging import command
from tests.cli import clean_environment, pfa_flux
from tests.initial import COMMAND


def on_terminal(folder: Path, *arguments: str, lines: int = 24, **environment: str) -> tuple[int, str]:
    """Exit status and what a terminal of so many lines and 80 columns shows."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 80, 0, 0))
    own = {**clean_environment(TERM="xterm", NO_COLOR="1"), "PAGER": f"tee {folder}/paged", **environment}
    for name in ("NO_PAGER", "LESS", "LV"):
        if name not in environment:
            own.pop(name, None)
    with subprocess.Popen(
        [str(COMMAND), *arguments], cwd=folder, env=own,
        stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(follower)
        shown = b""
        while True:
            try:
                chunk = os.read(leader, 65536)
            except OSError:  # The other end is closed.
                break
            if not chunk:
                break
            shown += chunk
        os.close(leader)
        code = process.wait(60)
    return code, shown.decode().replace("\r\n", "\n")


def paged(folder: Path) -> str | None:
    """What the pager got; None where none ran."""
    path = folder / "paged"
    return path.read_text() if path.exists() else None


def test_what_is_longer_than_the_screen_goes_through_the_pager(tmp_path: Path) -> None:
    plain = pfa_flux("tags", cwd=tmp_path).out
    assert len(plain.splitlines()) > 24
    assert on_terminal(tmp_path, "tags") == (0, plain)
    assert paged(tmp_path) == plain


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (("--no-pager", "tags"), {}),
        (("tags",), {"NO_PAGER": "1"}),
        (("tags",), {"PAGER": ""}),
        (("tags",), {"PAGER": "cat"}),
        (("tags",), {"TERM": "dumb"}),
        (("tags",), {"PAGER": "there-is-no-such-pager"}),
    ],
)
def test_without_a_pager_all_is_shown_as_it_is(
    arguments: tuple[str, ...], environment: dict[str, Any], tmp_path: Path
) -> None:
    code, shown = on_terminal(tmp_path, *arguments, **environment)
    assert (code, paged(tmp_path)) == (0, None)
    assert shown.endswith(pfa_flux("tags", cwd=tmp_path).out)


def test_what_fits_the_screen_is_not_paged(tmp_path: Path) -> None:
    assert on_terminal(tmp_path, "tags", lines=80)[0] == 0
    assert paged(tmp_path) is None


def test_a_pipe_is_never_paged(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with out.open("w") as file:
        env = {**clean_environment(TERM="xterm", NO_PAGER=""), "PAGER": f"tee {tmp_path}/paged"}
        subprocess.run([COMMAND, "tags"], env=env, stdout=file, cwd=tmp_path, check=True)
    assert (out.read_text(), paged(tmp_path)) == (pfa_flux("tags", cwd=tmp_path).out, None)


def test_exit_status_and_notes_survive_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("x")
    (tmp_path / "token").chmod(0o644)
    code, shown = on_terminal(tmp_path, "doctor", "--data-dir", "data", "--token-file", "token", lines=3)
    assert code == 1
    text = paged(tmp_path)
    assert text is not None
    assert text.index("warning: ") < text.index("engine ")
    assert shown == text


def test_a_reader_who_leaves_early_is_no_error(tmp_path: Path) -> None:
    assert on_terminal(tmp_path, "tags", PAGER="head -n 1")[0] == 0


def test_the_help_of_a_command_is_paged_and_an_error_is_not(tmp_path: Path) -> None:
    assert on_terminal(tmp_path, "blocked-ratio", "--help")[0] == 0
    assert "--domain" in (paged(tmp_path) or "")
    (tmp_path / "paged").unlink()
    code, shown = on_terminal(tmp_path, "blocked-ratio", "--start", "x", "--data-dir", "data", lines=2)
    assert (code, "pfa-flux: " in shown, paged(tmp_path)) == (2, True, None)


def test_the_pager_is_the_users_or_less() -> None:
    assert command({"TERM": "xterm", "PAGER": "most"}) == "most"
    assert command({"TERM": "xterm"}) in {"less", ""}
    assert command({}) == ""
