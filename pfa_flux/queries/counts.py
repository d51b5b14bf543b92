"""Reading what several questions of one span need, once: hits and loads by domain, page and block of time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from pfa_flux.arguments import one_of, text
from pfa_flux.engines import registry
from pfa_flux.engines.ask import Ask, ByWindow, Rows, Sums, Where, merged
from pfa_flux.engines.base import Engine
from pfa_flux.errors import BucketNotFoundError, CapabilityError
from pfa_flux.queries.caveat import Caveat
from pfa_flux.queries.folding import Folding
from pfa_flux.queries.question import Question
from pfa_flux.queries.sources import Part, Sources, choose
from pfa_flux.schema import Side
from pfa_flux.settings import Settings
from pfa_flux.windows.rollup import Rollup
from pfa_flux.windows.spec import TaskSpec

NO_PAGE = ("", "(unknown)", "(other)")
"""Pages of hits that say no page."""

_UNCHECKED = Caveat(
    "types_unchecked",
    "InfluxQL cannot reach the raw bucket, so it was not checked whether a field changed its type over time; Flux "
    "would count only some of such rows.",
    "A DBRP mapping for the bucket mends it (pfa-flux doctor).",
)


@dataclass(frozen=True)
class Counts:
    """What was read.

    Attributes:
        sums: of each side by domain, or by domain and page, and by window.
        tags: domain, or domain and page.
        without_page: of hits those that say no page, where they were read on their own.
        width: width of a window, seconds.
        sources: where it is from.
        dialect: what raw data was asked in.
        caveats: what the reader has to know of it.
        prefetches: by domain, where they were asked for; no more than are known.
    """

    sums: dict[Side, Sums]
    tags: tuple[str, ...]
    without_page: Sums | None
    width: int
    sources: Sources
    dialect: str
    caveats: tuple[Caveat, ...]
    prefetches: Sums = field(default_factory=dict)

    @cached_property
    def over_pages(self) -> Counts:
        """The same with pages summed up, once for all that is not made of pages."""
        if "page" not in self.tags:
            return self
        summed: dict[Side, Sums] = {}
        for side, sums in self.sums.items():
            by_domain = summed[side] = {}
            for (domain, _), windows in sums.items():
                there = by_domain.setdefault((domain,), ByWindow())
                for window, value in windows.items():
                    there[window] += value
        return replace(self, sums=summed, tags=("domain",))


def read(
    engine: Engine,
    settings: Settings,
    questions: Sequence[Question],
    widths: Sequence[int],
    now: int,
    *,
    dialect: str,
    source: str,
    prefetches: bool = False,
) -> Counts:
    """Read once what questions need that differ in their keys and intervals alone.

    Args:
        engine: where the data is.
        settings: names of the buckets and all in them.
        questions: what is asked.
        widths: of each the width of the windows that it is made of, seconds.
        now: the present, nanoseconds.
        dialect: what to ask raw data in.
        source: which data to read.
        prefetches: read how many there were, too.

    Raises:
        CapabilityError: the engine has not the dialect, or the dialect would miscount.
    """
    first, width = questions[0], math.gcd(*widths)
    tags = max((question.tags for question in questions), key=len)
    rollups = {side: Rollup(engine, TaskSpec.from_settings(settings, side)) for side in first.sides}
    sources = choose(rollups, settings, first, tags, width, source, now)
    raw = [rollup.spec.raw for rollup in rollups.values()]
    has_raw = any(part.source == "raw" for part in sources.parts)
    chosen, sure = _dialect(engine, dialect, raw if has_raw else [])
    caveats = (*(() if sure else (_UNCHECKED,)), *sources.caveats)
    if first.selects_nothing:
        return Counts({}, tags, None, width, sources, chosen, caveats)
    folding = Folding(settings, first)
    where = folding.where(engine, (_rows(part, rollups, side) for part in sources.parts for side in part.sides))
    asks: dict[str, list[Ask]] = {"raw": [], "rollup": []}
    meaning: dict[str, list[Side | None]] = {"raw": [], "rollup": []}
    own = _reads_pages_apart(settings, sources, questions, tags)
    found: dict[Side | None, list[Sums]] = {}
    for part in sources.parts:
        for side, ask in _asks(part, rollups, where, tags, width, own=own):
            if part.mixed:
                found.setdefault(side, []).append(rollups[side or Side.HITS].answer(ask))
            else:
                asks[part.source].append(ask)
                meaning[part.source].append(side)
    # Their pages are not known.
    if prefetches := prefetches and sources.start < sources.stop and not first.pages:
        rows = Rows(settings.raw_bucket, settings.schema.prefetches_measurement, settings.schema.prefetches_field)
        asks["rollup"].append(Ask(rows, sources.start, sources.stop, ("domain",), where, optional=True))
    answers = _answers(engine, asks, chosen)
    noted = folding.sums(answers.pop(), ("domain",)) if prefetches else {}
    for side, sums in zip([*meaning["raw"], *meaning["rollup"]], answers, strict=True):
        found.setdefault(side, []).append(sums)
    together = {side: parts[0] if len(parts) == 1 else merged(parts) for side, parts in found.items()}
    without = folding.sums(together.pop(None, {}), ("domain",)) if own else None
    folded = {side: folding.sums(sums, tags) for side, sums in together.items() if side}
    return Counts(folded, tags, without, width, sources, chosen, (*caveats, *folding.caveats), noted)


def _asks(
    part: Part, rollups: dict[Side, Rollup], where: Where, tags: tuple[str, ...], width: int, *, own: bool
) -> list[tuple[Side | None, Ask]]:
    """What has to be asked of a part; under None the hits that say no page."""
    rows = {side: _rows(part, rollups, side) for side in part.sides}
    asks: list[tuple[Side | None, Ask]] = [
        (side, Ask(rows[side], part.start, part.stop, tags, where, width)) for side in part.sides
    ]
    if own and Side.HITS in rows:
        pageless = {**where, "page": NO_PAGE}
        asks.append((None, Ask(rows[Side.HITS], part.start, part.stop, ("domain",), pageless, width)))
    return asks


def _rows(part: Part, rollups: dict[Side, Rollup], side: Side) -> Rows:
    spec = rollups[side].spec
    return spec.raw if part.source == "raw" else spec.rollup


def _reads_pages_apart(
    settings: Settings, sources: Sources, questions: Sequence[Question], tags: tuple[str, ...]
) -> bool:
    """The hits that say no page have to be read on their own: pages are not kept apart, and are known."""
    first = questions[0]
    ratio = len(first.sides) > 1
    knows = "page" in settings.task.tags or sources.label == "raw"
    return ratio and knows and "page" not in tags and not first.pages


def _answers(engine: Engine, asks: dict[str, list[Ask]], dialect: str) -> list[Sums]:
    """Answers to the questions of raw data, then to the others, which come in the fastest dialect."""
    if dialect == engine.dialects[0]:
        together = [*asks["raw"], *asks["rollup"]]
        return engine.aggregate(together, dialect if asks["raw"] else "") if together else []
    answers = engine.aggregate(asks["raw"], dialect) if asks["raw"] else []
    return answers + (engine.aggregate(asks["rollup"]) if asks["rollup"] else [])


def _dialect(engine: Engine, choice: str, raw: Sequence[Rows]) -> tuple[str, bool]:
    """The dialect, and whether it is known to count right: of those that the engine has the fastest that does.

    Raises:
        InvalidValueError: there is no such dialect. CapabilityError: the engine has not it, or it would miscount.
    """
    able = engine.dialects
    if choice == "auto":
        for dialect in able[:-1]:
            try:
                return dialect, not raw or engine.admits(dialect, raw)
            except (CapabilityError, BucketNotFoundError):
                continue
        return able[-1], not raw or engine.admits(able[-1], raw)
    one_of("dialect", text("dialect", choice), registry.choices(registry.dialects()))
    if choice not in able:
        raise CapabilityError(
            f"{engine.capabilities.title} has no dialect {choice!r} ({registry.why_not(choice)})",
            f"It has: auto, {', '.join(able)}.",
        )
    return choice, not raw or engine.admits(choice, raw)
