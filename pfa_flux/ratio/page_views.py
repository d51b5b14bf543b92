"""Page views of one side or both, without ratios."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pfa_flux.engines.base import Engine
from pfa_flux.ratio.answer_warning import AnswerWarning
from pfa_flux.ratio.counts import read
from pfa_flux.ratio.groups import Layout
from pfa_flux.ratio.question import Question
from pfa_flux.ratio.rows import Source, display_columns, displayed
from pfa_flux.ratio.warnings import partial_data
from pfa_flux.schema import Side
from pfa_flux.settings import Settings
from pfa_flux.times import format_instant


@dataclass(frozen=True, slots=True)
class PageViewRow:
    """Page views of one key.

    Attributes:
        key: value of each requested key, in their order.
        hits: page views that the pixel counted; None if not requested.
        js: page views that the JavaScript analytics counted; None if not requested.
        start: start of its interval, nanoseconds; None without the key `time`.
    """

    key: Mapping[str, str]
    hits: int | None
    js: int | None
    start: int | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PageViewAnswer:
    """The values of a `PageViews`, which documents them."""

    start: int
    stop: int
    by: tuple[str, ...]
    sides: tuple[Literal["hits", "js"], ...]
    source: Source
    rows: tuple[PageViewRow, ...]
    warnings: tuple[AnswerWarning, ...] = ()
    tz: str = "UTC"

    def __iter__(self) -> Iterator[PageViewRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """Keys and counts, then names for display."""
        return (*self.by, *self.sides, *display_columns(self.by))

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
            "warnings": [warning.as_dict() for warning in self.warnings],
            "rows": self.records(),
        }


def page_views(engine: Engine, settings: Settings, question: Question, now: int, source: str) -> PageViewAnswer:
    """Count the page views of `question.sides`. Arguments and errors are those of `blocked_ratio`."""
    layout = Layout.of(question, settings)
    before = engine.partial_answers
    with engine.snapshot():
        counts = read(engine, settings, [question], [layout.width], now, dialect="auto", source=source)
        groups = list(layout.groups(counts))
    sides = question.sides
    rows = [
        PageViewRow(key, sum(hits) if Side.HITS in sides else None, sum(js) if Side.LOADS in sides else None, start)
        for key, hits, js, start in groups
    ]
    return PageViewAnswer(
        start=question.start,
        stop=question.stop,
        by=question.by,
        sides=tuple(side.column for side in sides),
        source=counts.sources.label,
        rows=tuple(rows),
        warnings=(*partial_data(engine, before), *counts.warnings),
        tz=str(question.zone),
    )
