"""Results as tables on a terminal, or as plain columns in a pipe."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pfa_flux.present.sheet import Cell, Column, Sheet
from pfa_flux.ratio import phrasing

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_BAR = 10
_GAP = 3
"""Characters between the columns of a ruled table."""
_LEAST = {"key": 12, "note": 10}
"""Minimum width of a column. Keys lose their middle, notes wrap."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"
PIPE_WIDTH = 10_000
"""Width of a table outside a terminal: no line wraps."""

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

    Figures are never cut. If there is little room, less important columns are left out and named in the caption, and
    long keys lose their middle.
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


def _is_wanted(column: Column, rows: Sequence[Sequence[Cell]], index: int, bars: bool) -> bool:
    """Bars need a terminal. The last column appears only if there are notes."""
    return (bars or column.kind != "bar") and bool(column.name or any(row[index] for row in rows))


def _kept(columns: Sequence[Column], widths: Mapping[int, int], room: int) -> list[int]:
    """Columns to show, if keys are shortened as far as possible."""
    keep = list(widths)
    for index in sorted(widths, key=lambda index: -columns[index].spare):
        least = {i: min(widths[i], _LEAST.get(columns[i].kind, widths[i])) for i in keep}
        if columns[index].spare and _total(least) > room:
            keep.remove(index)
    return keep


def _fitted(columns: Sequence[Column], widths: Mapping[int, int], room: int) -> dict[int, int]:
    """Widths that fit. The widest keys and notes become narrower, by as little as possible."""
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


def _width(column: Column, cells: Sequence[Cell]) -> int:
    """Width at which nothing in a column is cut."""
    if column.kind == "bar":
        return _BAR
    return max([len(column.name), *(len(phrasing.plain(cell)) for cell in cells if isinstance(cell, str))])


def _cell(column: Column, value: Cell, width: int) -> RenderableType:
    if not isinstance(value, str):
        return "" if value is None else bar(value)
    return escaped(shortened(value, width) if column.kind == "key" else value)


def shortened(value: str, width: int) -> str:
    """A long name without its middle. Both ends stay, because they distinguish names and show the network."""
    text = phrasing.plain(value)
    if len(text) <= width:
        return value
    # Keep at least ".onion" if it fits.
    end = max(1, min(width - 2, max(len(".onion"), (width - 1) * 2 // 5)))
    return f"{text[: width - 1 - end]}…{text[-end:]}"


_COMMAND = re.compile(
    r"\b(?:pfa-flux|curl|influx|systemctl|setsebool|namei|chown|chmod|sudo)(?: [^\s,;()]*[^\s.,;:()]){1,10}", re.ASCII
)
"""A command in a sentence, or more than that: where it ends is not known."""


def folded(value: str, width: int) -> list[str]:
    """Lines of a text. URLs and commands are not broken, so that they can be copied, even if a line is too long."""
    whole = _COMMAND.sub(lambda found: found[0].replace(" ", "\0"), value)
    lines = textwrap.wrap(whole, width, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]


def escaped(value: str) -> str:
    """Text from data, escaped for a terminal. Anyone can send markup and control characters; they have no effect."""
    from rich.markup import escape

    return escape(phrasing.plain(value))


def bar(ratio: float) -> str:
    """A bar of up to ten characters, exact to an eighth of a character."""
    eighths = round(ratio * _BAR * 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def text(result: Any) -> str:
    """A result as plain columns."""
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=PIPE_WIDTH, no_color=True, highlight=False).print(result)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
