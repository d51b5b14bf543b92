"""Page views of one side or both, without ratios."""

from __future__ import annotations

from typing import Literal

from pfa_flux.engines.base import Engine
from pfa_flux.queries.counts import read
from pfa_flux.queries.groups import Layout
from pfa_flux.queries.question import Question
from pfa_flux.queries.result import PageViewRow, PageViews
from pfa_flux.schema import Side
from pfa_flux.settings import Settings

_NAMES: dict[Side, Literal["hits", "js"]] = {Side.HITS: "hits", Side.LOADS: "js"}


def page_views(engine: Engine, settings: Settings, question: Question, now: int, source: str) -> PageViews:
    """Count page views; arguments and errors as of `blocked_ratio`, and `question.sides` says which."""
    layout = Layout.of(question, settings)
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
        counts.caveats,
        str(question.zone),
    )
