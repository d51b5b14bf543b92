"""Warnings about the figures. Each says what it means."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

from pfa_flux.engines.base import Engine
from pfa_flux.ratio.answer_warning import AnswerWarning
from pfa_flux.ratio.counts import NO_PAGE, Counts
from pfa_flux.ratio.folding import Folding
from pfa_flux.ratio.phrasing import name
from pfa_flux.ratio.question import Question
from pfa_flux.ratio.rows import RatioRow
from pfa_flux.schema import Side
from pfa_flux.settings import Settings
from pfa_flux.times import NS, format_instant
from pfa_flux.windows.partial import WHY
from pfa_flux.windows.rollup import Rollup
from pfa_flux.windows.spec import TaskSpec

MUCH_WITHOUT_PAGE = 0.1
MUCH_WITHOUT_HITS = 0.1
MUCH_PREFETCHED = 0.1

_FEWEST_BLOCKS = 3
_EXCEPTIONS = 0.1
"""Share of blocks before and after an instant that may be exceptions."""
_BY_CHANCE = 3
"""Standard deviations that chance explains."""

_NAMED = 3

_IID = AnswerWarning(
    "interval_iid",
    "Some intervals are based on fewer than 10 blocks of an hour. They assume independent page views, and are too "
    "narrow if visitors view several pages.",
)
"""The range, or a row's interval of time, has fewer than ten blocks to estimate how page views depend on each other.

Use a range of at least ten hours.
"""


PARTIAL = AnswerWarning(
    "partial_data",
    "The store reported a partial answer: counts are too low, and the ratio may be too high or too low.",
    WHY,
)
"""The store reported a partial answer while the figures were read. Nothing is changed meanwhile.

Bring the node back, or set `max-row-limit` to 0.
"""


def partial_data(engine: Engine, before: int) -> tuple[AnswerWarning, ...]:
    """The warning about a partial answer, if there were any since their number was `before`."""
    return (PARTIAL,) if engine.partial_answers != before else ()


def all_warnings(
    engine: Engine,
    settings: Settings,
    question: Question,
    counts: Counts,
    rows: Sequence[RatioRow],
    *,
    independent: bool,
) -> tuple[AnswerWarning, ...]:
    """All warnings about an answer. `independent`: some intervals assume independent page views."""
    checks = (
        _exceeding(question, rows),
        _exceeding_since(question, counts),
        _prefetched(question, counts),
        _loads_without_hits(question, counts),
        _wide(question, rows),
        _without_page(question, counts, rows),
        _pixel_is_late(engine, settings, question, counts),
        _IID if independent else None,
    )
    return (*counts.warnings, *(each for each in checks if each))


_OF_ROWS = frozenset({"interval_iid", "interval_wide", "names_folded", "no_page"})
"""Codes of warnings that do not make a total doubtful, because they concern single rows or report what was done."""


def doubts(warnings: Sequence[AnswerWarning], *, independent: bool) -> tuple[str, ...]:
    """Codes of the warnings about the total. `independent`: its interval assumes independent page views."""
    of_rows = _OF_ROWS - {_IID.code} if independent else _OF_ROWS
    return tuple(each.code for each in warnings if each.code not in of_rows)


def _exceeding(question: Question, rows: Sequence[RatioRow]) -> AnswerWarning | None:
    """A row, or the total, has more loads than hits, so it has no ratio.

    Check one of the pages with `pfa-flux doctor https://example.com/page`, and what the analytics counts as a view.
    """
    over = [row for row in rows if row.status == "js_exceeds_hits"]
    if not over:
        return None
    return AnswerWarning(
        "js_exceeds_hits",
        f"{_rows(question, over)} more JS loads than hits, so there is no ratio. Either the pixel is missing from "
        "some pages, blocked, or answered from a cache, or the analytics counts some page views more than once.",
    )


def _exceeding_since(question: Question, counts: Counts) -> AnswerWarning | None:
    """More loads than hits since one instant, in nearly every block of time and by more than three standard deviations.

    Check what was deployed at that time.
    """
    hits_of, js_of = (_by_window(question, counts, side) for side in (Side.HITS, Side.LOADS))
    blocks = [(window, hits_of[window], js_of[window]) for window in sorted({*+hits_of, *+js_of})]
    # The stretch up to the end that has the largest surplus of loads.
    over = list(accumulate(js - hits for _, hits, js in reversed(blocks)))[::-1]
    first = max(range(len(over)), key=over.__getitem__, default=0)
    before, since = blocks[:first], blocks[first:]
    if min(len(before), len(since)) < _FEWEST_BLOCKS:
        return None
    hits, js = (sum(block[side] for block in since) for side in (1, 2))
    if js - hits <= _BY_CHANCE * math.sqrt(js + hits) or _share_over(since) < 1 - _EXCEPTIONS:
        return None
    if sum(js for _, _, js in before) > sum(hits for _, hits, _ in before) or _share_over(before) > _EXCEPTIONS:
        return None
    return AnswerWarning(
        "js_exceeds_since",
        f"Since {format_instant(since[0][0])} there are more JS loads than hits ({js:,} to {hits:,}), but not before. "
        "Check what changed at that time on the pages, in front of the pixel, or in the analytics.",
    )


def _prefetched(question: Question, counts: Counts) -> AnswerWarning | None:
    """Over 10% of the requests for the pixel were prefetches or previews.

    Put the script for views into the pages: `pfa-flux tags` prints it.
    """
    number = sum(sum(windows.values()) for (domain,), windows in counts.prefetches.items() if question.includes(domain))
    hits = _by_window(question, counts, Side.HITS).total()
    if number <= MUCH_PREFETCHED * (number + hits):
        return None
    counted = f"{hits:,} hit{'s' * (hits != 1)}"
    return AnswerWarning(
        "prefetches",
        f"{number / (number + hits):.0%} of the requests for the pixel were prefetches or previews ({number:,}, next "
        f"to {counted}), which do not count. A page that is rendered in advance does not request the pixel again when "
        "it is shown. Without the script for such views, its JS load has no hit, and the ratio is too low.",
        "pfa-flux tags prints that script.",
    )


def _by_window(question: Question, counts: Counts, side: Side) -> Counter[int]:
    by_window: Counter[int] = Counter()
    for (domain,), windows in counts.over_pages.sums.get(side, {}).items():
        if question.includes(domain):
            by_window.update(windows)
    return by_window


def _share_over(blocks: Sequence[tuple[int, int, int]]) -> float:
    return sum(js > hits for _, hits, js in blocks) / len(blocks)


def _loads_without_hits(question: Question, counts: Counts) -> AnswerWarning | None:
    """Over 10% of the loads are on pages (of a domain) without any hit. Given only with figures by page.

    Put the pixel on these pages, and let the analytics report the displayed address.
    """
    if "page" not in counts.tags:
        return None
    hits, js = (
        {tags: total for tags, windows in counts.sums.get(side, {}).items()
         if question.includes(tags[0]) and (total := sum(windows.values()))}
        for side in (Side.HITS, Side.LOADS)
    )  # fmt: skip
    alone = {tags: total for tags, total in js.items() if tags not in hits}
    count = sum(alone.values())
    if not hits or count <= MUCH_WITHOUT_HITS * sum(js.values()):
        return None
    most = max(sorted(alone), key=alone.__getitem__)
    where = "a page" if len(alone) == 1 else f"{len(alone):,} pages"
    return AnswerWarning(
        "loads_without_hits",
        f"{count / sum(js.values()):.0%} of the JS loads are on {where} without a hit, such as "
        f"{name('domain', most[0])}, "
        f"{name('page', most[1])}: the pixel is missing there, or the analytics names pages by something other than "
        "their address.",
    )


def _wide(question: Question, rows: Sequence[RatioRow]) -> AnswerWarning | None:
    """An interval is wider than its ratio, so the ratio is an order of magnitude at most.

    Use a longer range, or fewer rows.
    """
    wide = [row for row in rows if row.ratio and _width(row) > row.ratio]
    if not wide:
        return None
    return AnswerWarning(
        "interval_wide",
        f"{_rows(question, wide)} an interval that is wider than the ratio itself: there are too few page views for "
        "more than an order of magnitude. Use a longer range or longer intervals of time.",
    )


def _width(row: RatioRow) -> float:
    assert row.ratio_low is not None
    assert row.ratio_high is not None
    return row.ratio_high - row.ratio_low


def _rows(question: Question, rows: Sequence[RatioRow]) -> str:
    """The rows as the subject of a sentence."""
    if not question.by:
        return "The total has"
    if len(rows) > _NAMED:
        return f"{len(rows)} {_PLURALS[question.by[0]] if len(question.by) == 1 else 'rows'} have"
    names = [", ".join(name(key, value) for key, value in row.key.items()) for row in rows]
    return f"{' and '.join(names)} {'has' if len(rows) == 1 else 'have'}"


_PLURALS = {"domain": "domains", "network": "networks", "page": "pages", "time": "intervals of time"}


def _without_page(question: Question, counts: Counts, rows: Sequence[RatioRow]) -> AnswerWarning | None:
    """Over 10% of the hits have no page.

    Use the tag that `pfa-flux tags` prints, and serve the pixel from the page's own host.
    """
    hits = sum(row.hits for row in rows)
    if question.pages or not hits:
        return None
    if "page" in question.by:
        without = sum(row.hits for row in rows if row.key["page"] in NO_PAGE)
    else:
        without = _hits_without_page(question, counts)
    if without <= MUCH_WITHOUT_PAGE * hits:
        return None
    return AnswerWarning(
        "no_page",
        f"{without / hits:.0%} of the hits have no page, because the browser sent no Referer. Figures by page "
        "leave them out.",
        "To fix this, give the <img> referrerpolicy=no-referrer-when-downgrade, or serve the pixel from the page's "
        "own host.",
    )


def _hits_without_page(question: Question, counts: Counts) -> int:
    """Number of hits without a page; 0 if pages are unknown."""
    if counts.without_page is not None:
        pageless = [windows for (domain,), windows in counts.without_page.items() if question.includes(domain)]
    elif "page" in counts.tags:
        hits = counts.sums.get(Side.HITS, {})
        pageless = [
            windows for (domain, page), windows in hits.items() if page in NO_PAGE and question.includes(domain)
        ]
    else:
        pageless = []
    return sum(sum(windows.values()) for windows in pageless)


def _pixel_is_late(engine: Engine, settings: Settings, question: Question, counts: Counts) -> AnswerWarning | None:
    """The range begins before the first hit. This is normal in a new installation.

    Start the range at the time that the warning names.
    """
    start, width = counts.sources.start, counts.width * NS
    hits = [windows for tags, windows in counts.sums.get(Side.HITS, {}).items()]
    early = start // width * width, -(-start // width) * width
    if any(windows.get(window) for windows in hits for window in early):
        return None
    first = min((window for windows in hits for window, n in windows.items() if n), default=None)
    if first is None or first < start + width:
        return None
    rollup = Rollup(engine, TaskSpec.from_settings(settings))
    # Earlier rows may exist although they were not counted, because of a gap.
    folding = Folding(settings, question)
    if rollup.has_before(first, lambda rows: folding.domains_before(engine, rows, first)):
        return None
    return AnswerWarning(
        "pixel_late",
        f"No hits before {format_instant(first)}: the pixel was installed after the start of this range, so earlier "
        "JS loads lower the ratio.",
        f"Use --start {format_instant(first)}.",
    )
