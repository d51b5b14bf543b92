"""Results as tables on a terminal, and as plain columns in a pipe."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pfa_flux.queries import words
from pfa_flux.queries.table import Column, Sheet

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_BAR = 10
_KEY = 16
_EIGHTHS = " ▏▎▍▌▋▊▉█"
PIPE_WIDTH = 10_000
"""Width of a table that is no terminal's: none of its lines is broken."""

_STYLES: dict[str, dict[str, Any]] = {
    "key": {"overflow": "fold"},
    "number": {"justify": "right", "no_wrap": True},
    "ratio": {"justify": "right", "style": "bold", "no_wrap": True},
    "interval": {"justify": "right", "style": "dim", "no_wrap": True},
    "bar": {"style": "blue", "no_wrap": True},
    "note": {"overflow": "fold"},
}


def empty_table(shown: Console, *, title: str | None = None) -> Table:
    """An empty table: ruled on a terminal, bare columns in a pipe."""
    from rich import box
    from rich.table import Table

    frame = box.SIMPLE_HEAD if shown.is_terminal else None
    return Table(title=title, title_justify="left", box=frame, pad_edge=False)


def table(shown: Console, sheet: Sheet, width: int | None = None) -> Table:
    """A result's table; where there is little room, the columns that can be spared are left out."""
    made = empty_table(shown)
    keep = _kept(sheet, width or shown.width, bars=shown.is_terminal)
    for index in keep:
        column = sheet.columns[index]
        # A figure is never cut short: keys are folded, and columns that can be spared are left out.
        least = _least(column, [row[index] for row in sheet.rows])
        made.add_column(column.name, min_width=least, **_STYLES[column.kind])
    for row in sheet.rows:
        made.add_row(*(_cell(sheet.columns[index], row[index]) for index in keep))
    return made


def _kept(sheet: Sheet, width: int, *, bars: bool) -> Sequence[int]:
    """Columns that are shown: bars on a terminal only, a last column of notes only where there are any."""
    keep = [
        index
        for index, column in enumerate(sheet.columns)
        if (bars or column.kind != "bar") and (column.name or any(row[index] for row in sheet.rows))
    ]
    widths = [_least(column, [row[index] for row in sheet.rows]) for index, column in enumerate(sheet.columns)]
    for index in sorted(keep, key=lambda index: -sheet.columns[index].spare):
        if sheet.columns[index].spare and sum(widths[i] + 2 for i in keep) + 2 > width:
            keep.remove(index)
    return keep


def _least(column: Column, cells: Sequence[str]) -> int:
    """Least width of a column: keys and notes can be folded, figures cannot."""
    longest = max([len(column.name), *map(len, cells)])
    return {"bar": _BAR, "key": min(longest, _KEY), "note": min(longest, _KEY)}.get(column.kind, longest)


def _cell(column: Column, value: str) -> RenderableType:
    if column.kind == "bar":
        return bar(float(value)) if value else ""
    return escaped(value)


def escaped(value: str) -> str:
    """Text from data as it may go to a terminal: markup and control characters, which anyone can send, do nothing."""
    from rich.markup import escape

    return escape(words.plain(value))


def bar(ratio: float) -> str:
    """A bar of ten characters' length at most, an eighth of one exact."""
    eighths = round(ratio * _BAR * 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def text(result: Any) -> str:
    """A result as plain columns."""
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=PIPE_WIDTH, no_color=True, highlight=False).print(result)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
