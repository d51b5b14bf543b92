"""What the reader of the figures has to know: each warning with what it means."""

from __future__ import annotations

from collections.abc import Sequence

from pfa_flux.engines.base import Engine
from pfa_flux.queries.counts import NO_PAGE, Counts
from pfa_flux.queries.question import Question
from pfa_flux.queries.result import Caveat, RatioRow
from pfa_flux.queries.words import plain
from pfa_flux.schema import Side
from pfa_flux.settings import Settings
from pfa_flux.times import NS, format_instant
from pfa_flux.windows.rollup import Rollup
from pfa_flux.windows.spec import TaskSpec

MUCH_WITHOUT_PAGE = 0.1

_NAMED = 3

_IID = Caveat(
    "interval_iid",
    "Some intervals rest on fewer than 10 blocks of an hour: they take page views as independent, and are too "
    "narrow where visitors look at several pages.",
)


def caveats(
    engine: Engine,
    settings: Settings,
    question: Question,
    counts: Counts,
    rows: Sequence[RatioRow],
    *,
    independent: bool,
) -> tuple[Caveat, ...]:
    """All that holds for an answer. `independent`: some intervals assume independent page views."""
    checks = (
        _exceeding(rows),
        _wide(rows),
        _without_page(question, counts, rows),
        _pixel_is_late(engine, settings, question, counts),
        _IID if independent else None,
    )
    return (*counts.caveats, *(caveat for caveat in checks if caveat))


def _exceeding(rows: Sequence[RatioRow]) -> Caveat | None:
    over = [row for row in rows if row.status == "js_exceeds_hits"]
    if not over:
        return None
    return Caveat(
        "js_exceeds_hits",
        f"{_rows(over)} more JS loads than hits, so that no ratio can be said: the pixel is missing on some pages, is "
        "itself blocked, or is answered from a cache, or the analytics counts a page view more than once.",
    )


def _wide(rows: Sequence[RatioRow]) -> Caveat | None:
    wide = [row for row in rows if row.ratio and _width(row) > row.ratio]
    if not wide:
        return None
    return Caveat(
        "interval_wide",
        f"{_rows(wide)} an interval that is wider than the ratio itself: too few page views to say more than its "
        "order of magnitude. A longer range, or wider intervals of time, make it narrower.",
    )


def _width(row: RatioRow) -> float:
    assert row.ratio_low is not None
    assert row.ratio_high is not None
    return row.ratio_high - row.ratio_low


def _rows(rows: Sequence[RatioRow]) -> str:
    """Which rows, as the subject of a sentence."""
    if len(rows) > _NAMED:
        return f"{len(rows)} rows have"
    names = [", ".join(plain(value) or "(none)" for value in row.key.values()) for row in rows]
    return f"{' and '.join(names)} {'has' if len(rows) == 1 else 'have'}"


def _without_page(question: Question, counts: Counts, rows: Sequence[RatioRow]) -> Caveat | None:
    hits = sum(row.hits for row in rows)
    if question.pages or not hits:
        return None
    if "page" in question.by:
        without = sum(row.hits for row in rows if row.key["page"] in NO_PAGE)
    else:
        without = _hits_without_page(question, counts)
    if without <= MUCH_WITHOUT_PAGE * hits:
        return None
    return Caveat(
        "no_page",
        f"{without / hits:.0%} of the hits say no page, because the browser sent no Referer: figures by page leave "
        "them out. An <img> with referrerpolicy=no-referrer-when-downgrade, or a pixel on the page's own host, mends "
        "it.",
    )


def _hits_without_page(question: Question, counts: Counts) -> int:
    """Hits that say no page; none where pages are not known."""
    if counts.without_page is not None:
        found = [windows for (domain,), windows in counts.without_page.items() if question.includes(domain)]
    elif "page" in counts.tags:
        hits = counts.sums.get(Side.HITS, {})
        found = [windows for (domain, page), windows in hits.items() if page in NO_PAGE and question.includes(domain)]
    else:
        found = []
    return sum(sum(windows.values()) for windows in found)


def _pixel_is_late(engine: Engine, settings: Settings, question: Question, counts: Counts) -> Caveat | None:
    start, width = counts.sources.start, counts.width * NS
    hits = [windows for tags, windows in counts.sums.get(Side.HITS, {}).items()]
    early = start // width * width, -(-start // width) * width
    if any(windows.get(window) for windows in hits for window in early):
        return None
    first = min((window for windows in hits for window, n in windows.items() if n), default=None)
    if first is None or first < start + width:
        return None
    rollup = Rollup(engine, TaskSpec.from_settings(settings))
    if rollup.has_before(start, question.where["domain"]):
        return None
    return Caveat(
        "pixel_late",
        f"The first hits of the range are of the {counts.width // 60} minutes from {format_instant(first)} on, and "
        "none are known from before: the pixel was installed after the range's start, and JS loads from before it "
        f"count against it. Use --start {format_instant(first)}.",
    )
