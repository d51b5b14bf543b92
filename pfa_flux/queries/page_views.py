"""Page views of one side or both, without ratios."""

from __future__ import annotations

from typing import Literal

from pfa_flux.engines.base import Engine
from pfa_flux.queries.groups import grouped
from pfa_flux.queries.question import Question
from pfa_flux.queries.result import PageViewRow, PageViews
from pfa_flux.queries.sources import SourceChoice
from pfa_flux.settings import Settings

_SIDES: dict[str, tuple[Literal["hits", "js"], ...]] = {"both": ("hits", "js"), "hits": ("hits",), "js": ("js",)}


def page_views(engine: Engine, settings: Settings, question: Question, now: int, source: SourceChoice) -> PageViews:
    """Count page views; arguments and errors as of `blocked_ratio`, and `question.sides` says which."""
    found = grouped(engine, settings, question, now, "auto", source)
    sides = _SIDES[question.sides]
    rows = [
        PageViewRow(group.key, group.total.hits if "hits" in sides else None, group.total.js if "js" in sides else None)
        for group in found.groups
    ]
    warnings = (*found.asker.caveats, *found.sources.caveats)
    return PageViews(
        question.start,
        question.stop,
        question.by,
        sides,
        found.sources.label,
        tuple(rows),
        warnings,
        str(question.zone),
    )
