"""Take a picture of a command's output as a terminal shows it: `python docs/screen.py NAME -- COMMAND…`.

The command runs in a pseudo-terminal of its own; what it printed, colours included, becomes docs/pictures/NAME.svg.
"""

from __future__ import annotations

import io
import os
import pty
import re
import shlex
import subprocess
import sys
import termios
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

_COLUMNS = 104
_ROWS = 60
_TOKEN = re.compile(r"(\x1b\[[\d;?]*[A-Za-z]|\n|\r)")
_NORMAL = "#282c34 #be3c32 #28783c #96690a #2d5aaa #823c8c #14737d #787c82"
_BRIGHT = "#5a5e64 #d24b41 #328c46 #aa7814 #3c69be #964ba0 #1e828c #a0a4aa"
"""Black, red, green, yellow, blue, magenta, cyan, white: dark enough to be read on white."""


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


_THEME = TerminalTheme(
    _rgb("#fafaf8"), _rgb("#282c34"), [_rgb(c) for c in _NORMAL.split()], [_rgb(c) for c in _BRIGHT.split()]
)


def output_of(command: list[str]) -> str:
    """What a command prints on a terminal of `_COLUMNS` columns, standard error included."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (_ROWS, _COLUMNS))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(_COLUMNS), "NO_PAGER": "1"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        chunks = []
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # Linux says so when the other side has closed.
                break
            if not chunk:
                break
            chunks.append(chunk)
    os.close(ours)
    if process.returncode not in {0, 5}:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return b"".join(chunks).decode().replace("\r\n", "\n")


def lasting(text: str) -> str:
    """What stays on the terminal: progress bars are redrawn and wiped, by going up, to a line's start, and erasing."""
    lines, row, fresh = [""], 0, False
    for token in _TOKEN.split(text):
        if token == "\n":
            row, fresh = row + 1, False
            lines += [""] * (row + 1 - len(lines))
        elif token == "\r":
            fresh = True
        elif token.startswith("\x1b[") and not token.endswith("m"):
            if token.endswith("A"):
                row = max(0, row - int(token[2:-1] or 1))
            elif token.endswith("K"):
                lines[row] = ""
        elif token:
            lines[row] = token if fresh else lines[row] + token
            fresh = False
    return "\n".join(lines).strip("\n")


def picture(title: str, text: str) -> str:
    """SVG of a terminal's text."""
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(lasting(text)))
    svg = console.export_svg(title=title, theme=_THEME, unique_id="screen")
    # Its web font would be fetched from another host by everyone who looks at the picture.
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code, monospace", "monospace")


def main() -> None:
    """Run the command line."""
    name, separator, *command = sys.argv[1:]
    if separator != "--" or not command:
        raise SystemExit(__doc__)
    title = shlex.join([Path(command[0]).name, *command[1:]])
    target = Path(__file__).parent / "pictures" / f"{name}.svg"
    target.parent.mkdir(exist_ok=True)
    target.write_text(picture(title, output_of(command)) + "\n")


if __name__ == "__main__":
    main()
