"""A result for display: columns and rows of text, not yet escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["key", "word", "number", "ratio", "interval", "note", "bar"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column for display.

    Attributes:
        name: its heading.
        kind: kind of its content. Cells of a bar are ratios from 0 to 1, or None. All others are text.
        spare: if there is little room, the column with the highest number is left out first; 0 keeps it.
    """

    name: str
    kind: Kind
    spare: int = 0


Cell = str | float | None


@dataclass(frozen=True, slots=True)
class Sheet:
    """A result for display: text, not yet escaped.

    Attributes:
        columns: the columns.
        rows: a cell for each column.
        total: cells for all rows together; empty without a total.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    total: Sequence[Cell] = ()

    def with_column(self, column: Column, cells: Sequence[Cell]) -> Sheet:
        """The sheet with another column before the bars."""
        at = next(n for n, each in enumerate(self.columns) if each.kind == "bar")
        rows = [(*row[:at], cell, *row[at:]) for row, cell in zip(self.rows, cells, strict=True)]
        total = (*self.total[:at], "", *self.total[at:]) if self.total else ()
        return Sheet((*self.columns[:at], column, *self.columns[at:]), rows, total)
