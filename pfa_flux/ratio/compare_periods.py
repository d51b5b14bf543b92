"""The previous period: its range, and its answer joined with that of the range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from pfa_flux.ratio.grid import EVERY
from pfa_flux.ratio.question import Question
from pfa_flux.ratio.result import RatioAnswer
from pfa_flux.ratio.rows import RatioRow
from pfa_flux.ratio.warnings import PARTIAL
from pfa_flux.times import NS, from_datetime, to_datetime

_DAY = 86400


def question_before(question: Question) -> Question:
    """The same question about the previous period.

    The previous period is as long as the range. By time, it has as many whole intervals as the range needs, so each
    interval is compared with a similar one: days and weeks cover the same hours of the zone's clock.
    """
    back = question.stop - question.start
    if "time" not in question.by:
        return replace(question, start=question.start - back, stop=question.stop - back)
    width = EVERY[question.every]
    if width < _DAY:
        back = -(-back // (width * NS)) * width * NS
        return replace(question, start=question.start - back, stop=question.stop - back)
    local = [to_datetime(instant).astimezone(question.zone) for instant in (question.start, question.stop)]
    long = local[1].replace(tzinfo=None) - local[0].replace(tzinfo=None)
    days = -(-long // timedelta(seconds=width)) * width // _DAY
    # Timedeltas of whole days keep the clock times of the zone.
    start, stop = (from_datetime(instant - timedelta(days=days)) for instant in local)
    return replace(question, start=start + question.start % 1000, stop=stop + question.stop % 1000)


def with_previous(answer: RatioAnswer, before: RatioAnswer) -> RatioAnswer:
    """An answer joined with that of the previous period.

    Rows that only the previous period has become rows without data.
    """
    earlier, now = _by_place(before), _by_place(answer)
    empty = {place: _empty(row) for place, row in now.items()}
    rows = [replace(row, before=earlier.get(place, empty[place])) for place, row in now.items()]
    if "time" not in answer.by:
        rows += [replace(_empty(row), before=row) for place, row in earlier.items() if place not in now]
        rows.sort(key=lambda row: tuple(row.key.values()))
    # Data missing from the previous period makes the change wrong.
    missing = tuple(each for each in before.warnings if each.code == PARTIAL.code and each not in answer.warnings)
    return replace(
        answer,
        rows=tuple(rows),
        total=replace(answer.total, before=before.total),
        before=(before.start, before.stop),
        warnings=(*answer.warnings, *missing),
    )


def _empty(row: RatioRow) -> RatioRow:
    return RatioRow(row.key, 0, 0, 0, None, None, None, "no_data", start=row.start)


def _by_place(answer: RatioAnswer) -> Mapping[tuple[object, ...], RatioRow]:
    """Rows by their keys and the position of their interval, counted from the last."""
    starts = sorted({row.start for row in answer if row.start is not None}, reverse=True)
    number = {start: index for index, start in enumerate(starts)}

    def place(row: RatioRow) -> tuple[object, ...]:
        return tuple(number[row.start] if key == "time" and row.start is not None else row.key[key] for key in row.key)

    return {place(row): row for row in answer}
