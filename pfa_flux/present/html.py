"""Results as tables in a notebook. All text from data is escaped."""

from __future__ import annotations

from html import escape

from pfa_flux.present.sheet import Cell, Column, Sheet
from pfa_flux.ratio import phrasing

_RIGHT = ' style="text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap"'
_DIM = ' style="text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap;opacity:.65"'
_LEFT = ' style="text-align:left;overflow-wrap:anywhere"'
_STYLES = {"key": _LEFT, "note": _LEFT, "number": _RIGHT, "ratio": _RIGHT, "interval": _DIM}


def table(sheet: Sheet) -> str:
    """HTML of a table. Each cell has its own style, because notebooks keep only these."""
    kept = [(i, column) for i, column in enumerate(sheet.columns) if column.kind != "bar"]
    head = "".join(f'<th scope="col"{_STYLES[column.kind]}>{text(column.name)}</th>' for _, column in kept)
    body = "".join(f"<tr>{''.join(_cell(column, row[i]) for i, column in kept)}</tr>" for row in sheet.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(column: Column, cell: Cell) -> str:
    value = cell if isinstance(cell, str) else ""
    shown = f"<strong>{text(value)}</strong>" if column.kind == "ratio" else text(value)
    return f"<td{_STYLES[column.kind]}>{shown}</td>"


def text(value: str) -> str:
    """Text from data, escaped for HTML. Anyone can send markup and control characters; they have no effect."""
    return escape(phrasing.plain(value))
