"""The parts of a dashboard, for every host: panels in a grid, with their queries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pfa_flux.engines.ask import Rows
from pfa_flux.errors import SettingsError
from pfa_flux.schema import BOTH, Side
from pfa_flux.settings import Settings
from pfa_flux.windows.spec import TaskSpec

NAME = "pfa-flux"
TITLE = "Page views without JavaScript"
DESCRIPTION = (
    "The share of page views without the JavaScript analytics, with its 95% interval. "
    "Made by pfa-flux dashboard. The documentation of pfa-flux explains the figures."
)
WIDTH = 12
"""Columns of the grid."""
MOST_ROWS = 50
"""Number of pages that a panel shows."""
_HOUR = 3600

Kind = Literal["number", "numbers", "lines", "table", "bars"]
"""One figure, several, figures over time, rows of figures, or a bar for each key."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query to a database.

    Attributes:
        name: its name in expressions, and for readers if it has one value.
        text: Flux or InfluxQL, with variables that the host replaces.
        rows: the result is a table, not series of figures.
        hidden: only expressions use it.
    """

    name: str
    text: str
    rows: bool = False
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Expression:
    """A computation by Grafana's server.

    Attributes:
        name: as in `Query`.
        text: a formula, or the name of the query to sum.
        kind: math: the formula, for all times and labels that its queries share; sum: one figure for a series.
        hidden: as in `Query`.
    """

    name: str
    text: str
    kind: Literal["math", "sum"] = "math"
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture or table.

    Attributes:
        title: its title.
        description: what the reader must know about it.
        kind: how it is shown.
        place: column, row, width and height in the grid.
        queries: its queries, in order.
        expressions: computations on their results.
        unit: share (of 1), percent, or count.
    """

    title: str
    description: str
    kind: Kind
    place: tuple[int, int, int, int]
    queries: tuple[Query, ...]
    expressions: tuple[Expression, ...] = ()
    unit: Literal["share", "percent", "count"] = "share"


@dataclass(frozen=True, slots=True)
class Data:
    """The rows that a dashboard shows.

    Attributes:
        hits: page views that the pixel counted.
        loads: page views that the JavaScript analytics counted.
        specs: tasks whose health is shown.
        pages: the rows have pages.
        offset: seconds from the end of a window until it is downsampled.
    """

    hits: Rows
    loads: Rows
    specs: tuple[TaskSpec, ...] = field(default_factory=tuple)
    pages: bool = True
    offset: int = 0

    @classmethod
    def of(cls, settings: Settings, source: str) -> Data:
        """The rows of the settings.

        Args:
            settings: the settings.
            source: raw or rollup.

        Raises:
            SettingsError: downsampled rows do not fit the dashboard.
        """
        specs = {side: TaskSpec.from_settings(settings, side) for side in BOTH}
        tasks = tuple(specs[side] for side in settings.task.sides)
        if source == "raw":
            return cls(specs[Side.HITS].raw, specs[Side.LOADS].raw, tasks)
        if len(tasks) < len(BOTH):
            raise SettingsError(
                "a dashboard of downsampled data needs both sides, but [task] loads is false",
                "Use --source raw, or set loads = true under [task].",
            )
        if _HOUR % settings.task.every:
            raise SettingsError(
                "a dashboard of downsampled data needs windows that add up to hours, but those of [task] every do not",
                "Use --source raw.",
            )
        hits, loads = (specs[side].rollup for side in BOTH)
        return cls(hits, loads, tasks, "page" in settings.task.tags, settings.task.offset)
