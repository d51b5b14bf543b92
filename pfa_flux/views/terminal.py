"""Results as tables on a terminal, and as plain columns in a pipe."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pfa_flux.queries import words
from pfa_flux.queries.table import Column, Sheet

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_BAR = 10
_GAP = 3
"""Columns between those of a ruled table."""
_LEAST = {"key": 12, "note": 10}
"""How narrow a column may become: keys lose their middle, notes are folded."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"
PIPE_WIDTH = 10_000
"""Width of a table that is no terminal's: none of its lines is broken."""

_STYLES: dict[str, dict[str, Any]] = {
    "key": {"no_wrap": True},
    "word": {"no_wrap": True},
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
    """A result's table.

    A figure is never cut. Where there is little room, columns that can be spared are left out, which the caption says,
    and long keys lose their middle.
    """
    made = empty_table(shown)
    rows = [*sheet.rows, *filter(None, [sheet.total])]
    room = width or shown.width
    wanted = [index for index, column in enumerate(sheet.columns) if _is_wanted(column, rows, index, shown.is_terminal)]
    widths = {index: _width(sheet.columns[index], [row[index] for row in rows]) for index in wanted}
    keep = _kept(sheet.columns, widths, room)
    widths = _fitted(sheet.columns, {index: widths[index] for index in keep}, room)
    for index in keep:
        column = sheet.columns[index]
        made.add_column(column.name, min_width=widths[index], **_STYLES[column.kind])
    for row in sheet.rows:
        made.add_row(*(_cell(sheet.columns[index], row[index], widths[index]) for index in keep))
    if sheet.total:
        made.add_section()
        cells = (_cell(sheet.columns[index], sheet.total[index], widths[index]) for index in keep)
        made.add_row(*cells, style="bold")
    left_out = [sheet.columns[index].name for index in wanted if index not in keep and sheet.columns[index].name]
    if left_out:
        made.caption, made.caption_justify = f"No room for: {', '.join(left_out)}.", "left"
    return made


def _is_wanted(column: Column, rows: Sequence[Sequence[str]], index: int, bars: bool) -> bool:
    """Bars are shown on a terminal only, a last column of notes only where there are any."""
    return (bars or column.kind != "bar") and bool(column.name or any(row[index] for row in rows))


def _kept(columns: Sequence[Column], widths: Mapping[int, int], room: int) -> list[int]:
    """Columns that are shown, when keys are as short as they may be."""
    keep = list(widths)
    for index in sorted(widths, key=lambda index: -columns[index].spare):
        least = {i: min(widths[i], _LEAST.get(columns[i].kind, widths[i])) for i in keep}
        if columns[index].spare and _total(least) > room:
            keep.remove(index)
    return keep


def _fitted(columns: Sequence[Column], widths: Mapping[int, int], room: int) -> dict[int, int]:
    """Widths that fit: the widest of the keys and notes are made narrower, as little as can be."""
    fitted = dict(widths)
    while _total(fitted) > room:
        soft = [index for index, width in fitted.items() if width > _LEAST.get(columns[index].kind, width)]
        if not soft:
            break
        fitted[max(soft, key=fitted.__getitem__)] -= 1
    return fitted


def _total(widths: Mapping[int, int]) -> int:
    """Width of a ruled table."""
    return sum(width + _GAP for width in widths.values())


def _width(column: Column, cells: Sequence[str]) -> int:
    """Width of a column that shows all."""
    return _BAR if column.kind == "bar" else max([len(column.name), *(len(words.plain(cell)) for cell in cells)])


def _cell(column: Column, value: str, width: int) -> RenderableType:
    if column.kind == "bar":
        return bar(float(value)) if value else ""
    return escaped(shortened(value, width) if column.kind == "key" else value)


def shortened(value: str, width: int) -> str:
    """A name that is too long without its middle: both ends tell names apart, and the end says the network."""
    text = words.plain(value)
    if len(text) <= width:
        return value
    end = max(1, (width - 1) * 2 // 5)
    return f"{text[: width - 1 - end]}…{text[-end:]}"


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
