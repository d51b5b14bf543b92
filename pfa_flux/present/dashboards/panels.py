"""What a dashboard consists of, whoever shows it: panels in a grid, each with its queries."""

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
WORDS = (
    "Which share of page views comes without the JavaScript analytics, with its 95% interval. "
    "Made by pfa-flux dashboard; its documentation says what the figures mean."
)
WIDTH = 12
"""Columns of the grid."""
MOST_ROWS = 50
"""Pages that a panel shows."""
_HOUR = 3600

Kind = Literal["number", "numbers", "lines", "table", "bars"]
"""One figure, several, figures over time, rows of figures, or a bar for each key."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a database.

    Attributes:
        name: by which expressions know its answer, and readers where it has one value.
        text: Flux or InfluxQL, with the words that the host replaces.
        rows: the answer is a table, not series of figures.
        hidden: it is there for expressions alone.
    """

    name: str
    text: str
    rows: bool = False
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Expression:
    """What Grafana's server computes from answers.

    Attributes:
        name: as of `Query`.
        text: a formula, or the name of what is summed.
        kind: math: the formula, for all times and labels that its answers share; sum: one figure of a series.
        hidden: as of `Query`.
    """

    name: str
    text: str
    kind: Literal["math", "sum"] = "math"
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture or table.

    Attributes:
        title: its title.
        words: what the reader has to know of it.
        kind: how it is shown.
        place: column, row, width and height in the grid.
        queries: what it asks, in this order.
        expressions: what is computed from that.
        unit: share (of 1), percent, or count.
    """

    title: str
    words: str
    kind: Kind
    place: tuple[int, int, int, int]
    queries: tuple[Query, ...]
    expressions: tuple[Expression, ...] = ()
    unit: Literal["share", "percent", "count"] = "share"


@dataclass(frozen=True, slots=True)
class Data:
    """The rows that a dashboard is about.

    Attributes:
        hits: page views that the pixel counted.
        loads: page views that the JavaScript analytics counted.
        specs: the tasks whose health is shown.
        pages: pages are kept apart.
        offset: seconds after its end at which a downsampled window is put together.
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
                "a dashboard of downsampled data needs both sides, and [task] loads is false",
                "Use --source raw, or set loads = true under [task].",
            )
        if _HOUR % settings.task.every:
            raise SettingsError(
                "a dashboard of downsampled data needs windows that hours are made of, and [task] every is not one",
                "Use --source raw.",
            )
        hits, loads = (specs[side].rollup for side in BOTH)
        return cls(hits, loads, tasks, "page" in settings.task.tags, settings.task.offset)
