"""Long output on a terminal goes through the user's pager, as with git and systemctl. Output to a pipe never does."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import IO, Self

_NOT_FOUND = (126, 127)
"""Exit statuses of a shell that could not run a command."""


class Pager:
    """Holds back output to terminals until the command ends. Then shows it, in a pager if it is long.

    Streams that are not terminals are left alone. Commands that ask or keep running call `let_through` to stop this.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._command = command(environ)
        self._held: list[tuple[IO[str], str]] = []
        self._streams: tuple[IO[str], IO[str]] | None = None

    def __enter__(self) -> Self:
        if self._command and _is_terminal(sys.stdin) and _is_terminal(sys.stdout):
            self._streams = sys.stdout, sys.stderr
            sys.stdout = _Holding(sys.stdout, self._held)
            if _is_terminal(sys.stderr):
                sys.stderr = _Holding(sys.stderr, self._held)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held = self._held
        if self._end() and _is_long("".join(text for _, text in held)) and self._shown(held):
            return
        _replay(held)

    def let_through(self) -> None:
        """Show the waiting output, and from now on show output at once."""
        self._end()
        _replay(self._held)

    def _end(self) -> bool:
        if self._streams is None:
            return False
        sys.stdout, sys.stderr = self._streams
        self._streams = None
        return True

    def _shown(self, held: list[tuple[IO[str], str]]) -> bool:
        """Show the output in the pager. Returns whether the pager ran."""
        import subprocess

        sys.stdout.flush()
        own = {"LESS": "FRX", "LV": "-c", **os.environ}
        # Only the pager reacts to Ctrl-C.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with subprocess.Popen(["/bin/sh", "-c", self._command], stdin=subprocess.PIPE, env=own) as process:
                assert process.stdin is not None
                # The reader may quit before the end.
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write("".join(text for _, text in held).encode(errors="replace"))
                    process.stdin.close()
            return process.returncode not in _NOT_FOUND
        except OSError:
            return False
        finally:
            signal.signal(signal.SIGINT, before)


def command(environ: Mapping[str, str]) -> str:
    """The pager's command; empty to use none."""
    if environ.get("NO_PAGER") or environ.get("TERM", "dumb") == "dumb":
        return ""
    given = environ.get("PAGER")
    if given is not None:
        return "" if given.strip() in {"", "cat"} else given
    return "less" if shutil.which("less") else ""


def _is_terminal(stream: IO[str] | None) -> bool:
    # A closed stream is None.
    return stream is not None and stream.isatty()


def _is_long(text: str) -> bool:
    columns, lines = shutil.get_terminal_size()
    shown = sum(max(1, -(-len(line) // columns)) for line in text.splitlines())
    # The prompt needs a line, too.
    return shown >= lines


def _replay(held: list[tuple[IO[str], str]]) -> None:
    for stream, text in held:
        stream.write(text)
    for stream in dict.fromkeys(stream for stream, _ in held):
        stream.flush()
    held.clear()


class _Holding(io.TextIOBase):
    """A stream that has the terminal's properties, and stores everything written to it."""

    def __init__(self, stream: IO[str], held: list[tuple[IO[str], str]]) -> None:
        self._stream, self._held = stream, held

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return str(getattr(self._stream, "encoding", "utf-8"))

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            # Click recognises a text stream by this error.
            raise TypeError("only text can be written here")
        self._held.append((self._stream, text))
        return len(text)
