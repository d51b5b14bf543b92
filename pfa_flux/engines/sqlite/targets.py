"""The sums that each series is added to. Tags are read once for each series, not for each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pfa_flux.engines.ask import Ask, ByWindow, Pattern, Rows, Sums, Where
from pfa_flux.engines.sqlite.schema import TAG_COLUMNS

if TYPE_CHECKING:
    from pfa_flux.engines.sqlite.store import Store

Target = tuple[ByWindow, bool]
"""Sums by window, and whether to count rows instead of summing their values."""


class Targets:
    """The sums that the rows of each series are added to, for questions with the same range."""

    def __init__(self, store: Store, asked: Sequence[tuple[Ask, Sums]]) -> None:
        self._of: dict[int, list[Target]] = {}
        self._filtered = any(values for ask, _ in asked for values in ask.where.values())
        for ask, sums in asked:
            condition, parameters = series_condition(ask.rows, ask.where)
            columns = "".join(f", {tag_column(tag)}" for tag in ask.tags)
            for number, *tags in store.select(f"SELECT id{columns} FROM series WHERE {condition}", parameters):
                self._of.setdefault(number, []).append((sums.setdefault(tuple(tags), ByWindow()), ask.rows.count))

    def __bool__(self) -> bool:
        return bool(self._of)

    def of(self, series: int) -> Sequence[Target]:
        """The sums for the rows of a series. Empty if no question asks for the series."""
        return self._of.get(series, ())

    def condition(self) -> tuple[str, tuple[str, ...]]:
        """SQL condition that excludes other series, and its parameters. Empty if no question has a filter."""
        if not self._filtered:
            return "", ()
        return " AND series IN (SELECT value FROM json_each(?))", (str(list(self._of)),)


def series_condition(rows: Rows, where: Where) -> tuple[str, list[str]]:
    """SQL condition for the series of rows, and its parameters."""
    conditions, parameters = ["measurement = ?", "field = ?"], [rows.measurement, rows.field]
    for tag, values in where.items():
        if values:
            exact = [value for value in values if isinstance(value, str)]
            either = [f"{tag_column(tag)} IN ({', '.join('?' * len(exact))})"]
            parameters += exact
            for regex in (value.regex for value in values if isinstance(value, Pattern)):
                either.append(f"{tag_column(tag)} REGEXP ?")
                parameters.append(regex)
            conditions.append(f"({' OR '.join(either)})")
    if rows.excluded_actions:
        # A series without the tag has '' in this column, so it stays.
        conditions.append(f"action NOT IN ({', '.join('?' * len(rows.excluded_actions))})")
        parameters += rows.excluded_actions
    return " AND ".join(conditions), parameters


def tag_column(name: str) -> str:
    """SQL expression for the value of a tag. '' if a series does not have the tag."""
    if name in TAG_COLUMNS:
        return name
    path = '$."' + name.replace('"', '""') + '"'
    return "coalesce(json_extract(tags, '" + path.replace("'", "''") + "'), '')"
