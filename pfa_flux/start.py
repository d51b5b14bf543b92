"""The command's first lines: a Ctrl-C ends it with 130 and no traceback, from before the rest is imported."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

INTERRUPTED = 130
"""Exit status of a command that Ctrl-C ended, as shells give it."""


def main() -> NoReturn:
    """Run the command line."""
    end_on_interrupt()
    try:
        from pfa_flux.cli import main as run
    except RuntimeError as error:
        # Python 3.11 makes one of whatever comes while a class is being made.
        if isinstance(error.__cause__, SystemExit):
            sys.exit(error.__cause__.code)
        raise
    run()


def end_on_interrupt() -> None:
    """Let Ctrl-C end the process as a command ends, so that what has to be put right is; typer would make 1 of it."""
    signal.signal(signal.SIGINT, _interrupted)


def _interrupted(_number: int, _frame: object) -> NoReturn:
    sys.exit(INTERRUPTED)
