"""Tables on a terminal, plain columns in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from pfa_flux.queries.result import BlockedRatio, RatioRow

_BAR = 10
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_PIPE_WIDTH = 10_000
"""Width of a table that is no terminal's: none of its lines is broken."""

_STATUS = {
    "ok": "",
    "no_js": "no JS loads",
    "no_hits": "no hits",
    "js_exceeds_hits": "more JS loads than hits",
    "no_data": "no data",
}


def console(stream: IO[str] | None = None) -> Console:
    """Console of a stream, standard output by default; plain where it is no terminal or NO_COLOR is set."""
    from rich.console import Console

    out = stream or sys.stdout
    if out.isatty():
        return Console(file=out, highlight=False)
    return Console(file=out, highlight=False, width=_PIPE_WIDTH, no_color=True)


def table(shown: Console, *, title: str | None = None) -> Table:
    """An empty table: ruled on a terminal, bare columns in a pipe."""
    from rich import box
    from rich.table import Table

    if shown.is_terminal:
        return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    return Table(title=title, title_justify="left", box=None, pad_edge=False)


def blocked_ratio(shown: Console, result: BlockedRatio, truth: dict[str, float] | None = None) -> Table:
    """Table of a blocked ratio; `truth`, by the first key's value, is shown beside it where it is known."""
    made = table(shown)
    for key in result.by:
        made.add_column(key, overflow="fold")
    for name in ("hits", "JS loads", "blocked"):
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column("ratio", justify="right", style="bold", no_wrap=True)
    made.add_column("95 % interval", justify="right", style="dim", no_wrap=True)
    if truth is not None:
        made.add_column("truth", justify="right", style="green", no_wrap=True)
    if shown.is_terminal:
        made.add_column("", style="blue", no_wrap=True)
    made.add_column("", overflow="fold")
    for row in result:
        made.add_row(*_cells(row, shown.is_terminal, truth))
    return made


def _cells(row: RatioRow, terminal: bool, truth: dict[str, float] | None) -> Sequence[str]:
    first = next(iter(row.key.values()), "")
    return (
        *(text(value) or "(none)" for value in row.key.values()),
        f"{row.hits:,}",
        f"{row.js:,}",
        f"{row.blocked:,}",
        percent(row.ratio),
        f"{percent(row.ratio_low)} – {percent(row.ratio_high)}" if row.ratio is not None else "",
        *(() if truth is None else (percent(truth.get(first)),)),
        *((_bar(row.ratio),) if terminal else ()),
        _STATUS[row.status],
    )


def text(value: str) -> str:
    """Text from data as it may go to a terminal: markup and control characters, which anyone can send, do nothing."""
    from rich.markup import escape

    return escape(plain(value))


def plain(value: str) -> str:
    """Text without control characters."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in value)


def percent(ratio: float | None) -> str:
    """A ratio as a percentage with one digit; a dash where it cannot be said."""
    return "–" if ratio is None else f"{ratio * 100:.1f} %"


def _bar(ratio: float | None) -> str:
    if ratio is None:
        return ""
    eighths = round(ratio * _BAR * 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
