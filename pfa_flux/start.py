"""The command's first lines. They make Ctrl-C end it with 130 and no traceback, even during imports."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

INTERRUPTED = 130
"""Exit status of a command that Ctrl-C ended, as in shells."""


def main() -> NoReturn:
    """Run the command line."""
    end_on_interrupt()
    try:
        from pfa_flux.cli import main as run
    except RuntimeError as error:
        # Python 3.11 turns any exception during the creation of a class into a RuntimeError.
        if isinstance(error.__cause__, SystemExit):
            sys.exit(error.__cause__.code)
        raise
    run()


def end_on_interrupt() -> None:
    """Let Ctrl-C end the process normally, so that its cleanup runs. typer would exit with 1."""
    signal.signal(signal.SIGINT, _interrupted)


def _interrupted(_number: int, _frame: object) -> NoReturn:
    sys.exit(INTERRUPTED)
