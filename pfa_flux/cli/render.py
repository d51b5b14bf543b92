"""The console and its output."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from pfa_flux.present.terminal import PIPE_WIDTH, escaped, table
from pfa_flux.present.terminal import empty_table as empty
from pfa_flux.ratio.phrasing import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from pfa_flux.present.results import BlockedRatio

__all__ = ["blocked_ratio", "console", "empty", "escaped", "plain", "table", "working"]


def console(stream: IO[str] | None = None) -> Console:
    """Console of a stream, by default standard output; plain if it is not a terminal or NO_COLOR is set."""
    from rich.console import Console

    out = stream or sys.stdout
    if out.isatty():
        return Console(file=out, highlight=False)
    return Console(file=out, highlight=False, width=PIPE_WIDTH, no_color=True)


@contextmanager
def working(what: str, quiet: bool) -> Iterator[None]:
    """Show a status line on a terminal while something takes time."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    # Write to the real stream, because a pager may hold back `sys.stderr`.
    with console(sys.__stderr__).status(what):
        yield


def blocked_ratio(shown: Console, result: BlockedRatio, truth: dict[str, float] | None = None) -> Table:
    """Table of a blocked ratio. `truth` adds a column: known ratios by the value of the first key."""
    from pfa_flux.present.sheet import Column
    from pfa_flux.ratio.phrasing import percent

    sheet = result.sheet()
    if truth is not None:
        values = [percent(truth.get(next(iter(row.key.values()), ""))) for row in result]
        sheet = sheet.with_column(Column("truth", "ratio"), values)
    return table(shown, sheet)
