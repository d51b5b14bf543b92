"""The blocked ratio: which share of page views comes without the JavaScript analytics."""

from __future__ import annotations

from pfa_flux.engines.base import Engine
from pfa_flux.queries.asking import DialectChoice
from pfa_flux.queries.caveats import caveats
from pfa_flux.queries.groups import Group, grouped
from pfa_flux.queries.interval import interval
from pfa_flux.queries.question import Question
from pfa_flux.queries.result import BlockedRatio, RatioRow, Status
from pfa_flux.queries.sources import SourceChoice
from pfa_flux.settings import Settings


def blocked_ratio(
    engine: Engine,
    settings: Settings,
    question: Question,
    now: int,
    *,
    dialect: DialectChoice = "auto",
    source: SourceChoice = "auto",
) -> BlockedRatio:
    """Answer a question.

    Args:
        engine: where the data is.
        settings: names of the buckets and all in them.
        question: what is asked.
        now: the present, nanoseconds, by which windows are closed and raw data expires.
        dialect: in what raw data is asked for.
        source: which data is asked.

    Raises:
        CapabilityError: the engine has not the dialect, or the dialect would miscount.
        BucketNotFoundError, AccessDeniedError, UnreachableError, QueryError, StoreError: the engine refuses.
    """
    found = grouped(engine, settings, question, now, dialect, source)
    judged = [_judge(group) for group in found.groups]
    rows = tuple(row for row, _ in judged)
    return BlockedRatio(
        question.start,
        question.stop,
        question.by,
        engine.capabilities.engine,
        found.asker.dialect,
        found.sources.label,
        rows,
        caveats(engine, settings, question, found, rows, independent=any(iid for _, iid in judged)),
        str(question.zone),
    )


def _judge(group: Group) -> tuple[RatioRow, bool]:
    """A row with its status and interval, and whether the interval took page views as independent."""
    hits, js = group.total
    status: Status = "ok"
    if not hits:
        status = "no_hits" if js else "no_data"
    elif not js:
        status = "no_js"
    elif js > hits:
        status = "js_exceeds_hits"
    if status not in {"ok", "no_js"}:
        return RatioRow(group.key, hits, js, hits - js, None, None, None, status), False
    low, high, iid = interval(group.total, group.blocks)
    return RatioRow(group.key, hits, js, hits - js, (hits - js) / hits, low, high, status), iid
