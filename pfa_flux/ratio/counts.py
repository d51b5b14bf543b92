"""Reads the counts for several questions about one range at once: hits and loads by domain, page and window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from pfa_flux import registry
from pfa_flux.arguments import one_of, text
from pfa_flux.engines.ask import Ask, ByWindow, Rows, Sums, Where, merged
from pfa_flux.engines.base import Engine
from pfa_flux.errors import BucketNotFoundError, CapabilityError
from pfa_flux.ratio.answer_warning import AnswerWarning
from pfa_flux.ratio.folding import Folding
from pfa_flux.ratio.question import Question
from pfa_flux.ratio.sources import Part, Sources, choose
from pfa_flux.schema import Side
from pfa_flux.settings import Settings
from pfa_flux.windows.rollup import Rollup
from pfa_flux.windows.spec import TaskSpec

NO_PAGE = ("", "(unknown)", "(other)")
"""Values of the tag `page` that stand for no page."""

_UNCHECKED = AnswerWarning(
    "types_unchecked",
    "InfluxQL cannot reach the raw bucket, so nothing checked whether a field changed its type over time. If one "
    "did, Flux counts only some of its rows.",
    "Add a DBRP mapping for the bucket (see pfa-flux doctor).",
)
"""Raw data was read with Flux, without a check whether a field changed its type over time.

Create the mapping. InfluxDB Cloud does not create one by itself.
"""


@dataclass(frozen=True)
class Counts:
    """Counts read for one or several questions.

    Attributes:
        sums: for each side, sums by domain, or by domain and page, and by window.
        tags: domain, or domain and page.
        without_page: hits without a page, if they were read separately.
        width: width of a window, seconds.
        sources: where the counts come from.
        dialect: query language used for raw data.
        warnings: warnings about the counts.
        prefetches: numbers of prefetches by domain, if they were read.
    """

    sums: dict[Side, Sums]
    tags: tuple[str, ...]
    without_page: Sums | None
    width: int
    sources: Sources
    dialect: str
    warnings: tuple[AnswerWarning, ...]
    prefetches: Sums = field(default_factory=dict)

    @cached_property
    def over_pages(self) -> Counts:
        """The counts summed over pages. Computed once."""
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
    """Read the counts for several questions, once. The questions differ only in keys and intervals.

    Args:
        engine: where the data is.
        settings: names of buckets, measurements, fields and tags.
        questions: the questions.
        widths: for each question, the width of its windows, seconds.
        now: the current time, nanoseconds.
        dialect: query language to use for raw data.
        source: read raw data, downsampled data, or choose automatically.
        prefetches: read the numbers of prefetches, too.

    Raises:
        CapabilityError: the engine lacks the dialect, or the dialect would miscount.
    """
    first, width = questions[0], math.gcd(*widths)
    tags = max((question.tags for question in questions), key=len)
    rollups = {side: Rollup(engine, TaskSpec.from_settings(settings, side)) for side in first.sides}
    sources = choose(rollups, settings, first, tags, width, source, now)
    raw = [rollup.spec.raw for rollup in rollups.values()]
    has_raw = any(part.source == "raw" for part in sources.parts)
    chosen, sure = _dialect(engine, dialect, raw if has_raw else [])
    warnings = (*(() if sure else (_UNCHECKED,)), *sources.warnings)
    if first.selects_nothing:
        return Counts({}, tags, None, width, sources, chosen, warnings)
    folding = Folding(settings, first)
    where = folding.where(engine, (_rows(part, rollups, side) for part in sources.parts for side in part.sides))
    asks: dict[str, list[Ask]] = {"raw": [], "rollup": []}
    meaning: dict[str, list[Side | None]] = {"raw": [], "rollup": []}
    own = _reads_pages_apart(settings, sources, questions, tags)
    by_side: dict[Side | None, list[Sums]] = {}
    for part in sources.parts:
        for side, ask in _asks(part, rollups, where, tags, width, own=own):
            if part.mixed:
                by_side.setdefault(side, []).append(rollups[side or Side.HITS].answer(ask))
            else:
                asks[part.source].append(ask)
                meaning[part.source].append(side)
    # The pages of prefetches are unknown.
    if prefetches := prefetches and sources.start < sources.stop and not first.pages:
        rows = Rows(settings.raw_bucket, settings.schema.prefetches_measurement, settings.schema.prefetches_field)
        asks["rollup"].append(Ask(rows, sources.start, sources.stop, ("domain",), where, optional=True))
    answers = _answers(engine, asks, chosen)
    noted = folding.sums(answers.pop(), ("domain",)) if prefetches else {}
    for side, sums in zip([*meaning["raw"], *meaning["rollup"]], answers, strict=True):
        by_side.setdefault(side, []).append(sums)
    together = {side: parts[0] if len(parts) == 1 else merged(parts) for side, parts in by_side.items()}
    without = folding.sums(together.pop(None, {}), ("domain",)) if own else None
    folded = {side: folding.sums(sums, tags) for side, sums in together.items() if side}
    return Counts(folded, tags, without, width, sources, chosen, (*warnings, *folding.warnings), noted)


def _asks(
    part: Part, rollups: dict[Side, Rollup], where: Where, tags: tuple[str, ...], width: int, *, own: bool
) -> list[tuple[Side | None, Ask]]:
    """Questions to the engine about a part. The key None stands for hits without a page."""
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
    """Hits without a page need a separate read, because pages are known but are not among the keys."""
    first = questions[0]
    ratio = len(first.sides) > 1
    knows = "page" in settings.task.tags or sources.label == "raw"
    return ratio and knows and "page" not in tags and not first.pages


def _answers(engine: Engine, asks: dict[str, list[Ask]], dialect: str) -> list[Sums]:
    """Answers about raw data, then about downsampled data. The latter use the fastest dialect."""
    if dialect == engine.dialects[0]:
        together = [*asks["raw"], *asks["rollup"]]
        return engine.aggregate(together, dialect if asks["raw"] else "") if together else []
    answers = engine.aggregate(asks["raw"], dialect) if asks["raw"] else []
    return answers + (engine.aggregate(asks["rollup"]) if asks["rollup"] else [])


def _dialect(engine: Engine, choice: str, raw: Sequence[Rows]) -> tuple[str, bool]:
    """The dialect, and whether it surely counts right. `auto` chooses the engine's fastest dialect that counts right.

    Raises:
        InvalidValueError: the dialect does not exist. CapabilityError: the engine lacks it, or it would miscount.
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
            f"Use one of: auto, {', '.join(able)}.",
        )
    return choice, not raw or engine.admits(choice, raw)
