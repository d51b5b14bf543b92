"""The blocked ratio: the share of page views that the JavaScript analytics did not report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pfa_flux.engines.base import Engine
from pfa_flux.ratio.answer_warning import AnswerWarning
from pfa_flux.ratio.counts import Counts, read
from pfa_flux.ratio.groups import Group, Layout
from pfa_flux.ratio.interval import interval_of
from pfa_flux.ratio.question import Question
from pfa_flux.ratio.result import RatioAnswer, Store
from pfa_flux.ratio.rows import RatioRow, Status
from pfa_flux.ratio.warnings import all_warnings, doubts, partial_data
from pfa_flux.settings import Settings


def blocked_ratios(
    engine: Engine, settings: Settings, questions: Sequence[Question], now: int, *, dialect: str, source: str
) -> list[RatioAnswer]:
    """Answer several questions with one read. They share the range and the filters, but keys and intervals may differ.

    Args:
        engine: where the data is.
        settings: names of buckets, measurements, fields and tags.
        questions: the questions.
        now: the current time, nanoseconds. It decides which windows are closed and which raw data has expired.
        dialect: query language to use for raw data.
        source: raw data, downsampled data, or auto.

    Raises:
        CapabilityError: the engine lacks the dialect, or the dialect would miscount.
        BucketNotFoundError, AccessDeniedError, UnreachableError, QueryError, StoreError: the engine refuses.
    """
    layouts = [Layout.of(question, settings) for question in questions]
    whole = Layout.of(replace(questions[0], by=()), settings)
    before = engine.partial_answers
    with engine.snapshot():
        widths = [layout.width for layout in (*layouts, whole)]
        counts = read(engine, settings, questions, widths, now, dialect=dialect, source=source, prefetches=True)
        (group,) = whole.groups(counts)
        total = _judge(group)
        answers = [_answer(engine, settings, layout, counts, *total) for layout in layouts]
    # All answers come from one read.
    partial = partial_data(engine, before)
    return [_with_warnings(answer, partial) for answer in answers]


def _answer(
    engine: Engine, settings: Settings, layout: Layout, counts: Counts, total: RatioRow, total_assumes: bool
) -> RatioAnswer:
    question = layout.question
    judged: list[RatioRow] = []
    independent = total_assumes
    for group in layout.groups(counts) if question.by else ():
        row, assumed = _judge(group)
        judged.append(row)
        independent |= assumed
    rows = tuple(judged) if question.by else (total,)
    warnings = all_warnings(engine, settings, question, counts, rows, independent=independent)
    return RatioAnswer(
        start=question.start,
        stop=question.stop,
        by=question.by,
        engine=engine.capabilities.engine,
        dialect=counts.dialect,
        source=counts.sources.label,
        rows=rows,
        warnings=warnings,
        tz=str(question.zone),
        total=total,
        subject=question.subject,
        covers=(counts.sources.start, counts.sources.stop),
        doubts=doubts(warnings, independent=total_assumes),
        store=store_of(engine),
        config=settings.file,
    )


def store_of(engine: Engine) -> Store:
    """Type, version and address of an engine's data."""
    can = engine.capabilities
    return Store(can.engine, can.version, engine.address, product=can.product)


def _with_warnings(answer: RatioAnswer, more: tuple[AnswerWarning, ...]) -> RatioAnswer:
    """An answer with further warnings about all of it."""
    warnings = (*more, *answer.warnings)
    return replace(answer, warnings=warnings, doubts=(*(each.code for each in more), *answer.doubts))


def _judge(group: Group) -> tuple[RatioRow, bool]:
    """A row with status and interval, and whether the interval assumes independent page views."""
    key, by_hits, by_js, start = group
    hits, js = sum(by_hits), sum(by_js)
    status: Status = "ok"
    if not hits:
        status = "no_hits" if js else "no_data"
    elif not js:
        status = "no_js"
    elif js > hits:
        status = "js_exceeds_hits"
    if status not in {"ok", "no_js"}:
        return RatioRow(key, hits, js, hits - js, None, None, None, status, start=start), False
    low, high, iid = interval_of(by_hits, by_js, hits, js)
    return RatioRow(key, hits, js, hits - js, (hits - js) / hits, low, high, status, start=start), iid
