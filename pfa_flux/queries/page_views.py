"""Page views of one side or both, without ratios."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pfa_flux.engines.base import Engine
from pfa_flux.queries.caveat import Caveat
from pfa_flux.queries.caveats import partial_data
from pfa_flux.queries.counts import read
from pfa_flux.queries.groups import Layout
from pfa_flux.queries.question import Question
from pfa_flux.queries.rows import Source, display_columns, displayed, names_of
from pfa_flux.queries.table import Column, Sheet, Table
from pfa_flux.schema import Side
from pfa_flux.settings import Settings
from pfa_flux.times import format_instant

_NAMES: dict[Side, Literal["hits", "js"]] = {Side.HITS: "hits", Side.LOADS: "js"}


@dataclass(frozen=True, slots=True)
class PageViewRow:
    """Page views of one key.

    Attributes:
        key: value of each key asked for, in that order.
        hits: page views that the pixel counted; None if not requested.
        js: page views that the JavaScript analytics counted; None if not requested.
    """

    key: Mapping[str, str]
    hits: int | None
    js: int | None


@dataclass(frozen=True, slots=True)
class PageViews(Table):
    """Page views counted by the pixel, by the JavaScript analytics, or both.

    Attributes:
        start: first instant of the range, nanoseconds since the epoch.
        stop: first instant after it.
        by: keys of the rows, in order.
        sides: hits, js or both, as requested.
        source: raw data, downsampled data, or both.
        rows: sorted by key.
        warnings: warnings about the figures.
        tz: time zone of the intervals.
    """

    start: int
    stop: int
    by: tuple[str, ...]
    sides: tuple[Literal["hits", "js"], ...]
    source: Source
    rows: tuple[PageViewRow, ...]
    warnings: tuple[Caveat, ...] = ()
    tz: str = "UTC"

    def __iter__(self) -> Iterator[PageViewRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """Keys and counts, then names for display."""
        return (*self.by, *self.sides, *display_columns(self.by))

    @property
    def zone_name(self) -> str:
        """Time zone of the intervals."""
        return self.tz

    def records(self) -> list[dict[str, Any]]:
        """Rows as dictionaries by column."""
        return [
            {**row.key, **{side: getattr(row, side) for side in self.sides}, **displayed(row.key)} for row in self.rows
        ]

    def as_dict(self) -> dict[str, Any]:
        """The whole result, as in its JSON."""
        return {
            "start": format_instant(self.start),
            "stop": format_instant(self.stop),
            "source": self.source,
            "warnings": [{"code": caveat.code, "message": caveat.message} for caveat in self.warnings],
            "rows": self.records(),
        }

    def sheet(self) -> Sheet:
        """Rows for display."""
        names = {"hits": "hits", "js": "JS loads"}
        columns = (*(Column(key, "key") for key in self.by), *(Column(names[side], "number") for side in self.sides))
        named = zip(names_of([row.key for row in self.rows], self.tz), self.rows, strict=True)
        rows = [(*names, *(f"{getattr(row, side):,}" for side in self.sides)) for names, row in named]
        return Sheet(columns, rows)


def page_views(engine: Engine, settings: Settings, question: Question, now: int, source: str) -> PageViews:
    """Count the page views of `question.sides`. Arguments and errors are those of `blocked_ratio`."""
    layout = Layout.of(question, settings)
    before = engine.partial_answers
    with engine.snapshot():
        counts = read(engine, settings, [question], [layout.width], now, dialect="auto", source=source)
        groups = list(layout.groups(counts))
    sides = tuple(_NAMES[side] for side in question.sides)
    rows = [
        PageViewRow(key, sum(hits) if "hits" in sides else None, sum(js) if "js" in sides else None)
        for key, hits, js in groups
    ]
    return PageViews(
        question.start,
        question.stop,
        question.by,
        sides,
        counts.sources.label,
        tuple(rows),
        (*partial_data(engine, before), *counts.caveats),
        str(question.zone),
    )
