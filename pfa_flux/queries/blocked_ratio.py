"""The blocked ratio: which share of page views comes without the JavaScript analytics."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast
from zoneinfo import ZoneInfo

from pfa_flux.engines.base import Engine
from pfa_flux.errors import InvalidValueError
from pfa_flux.queries.asking import Asker, DialectChoice
from pfa_flux.queries.grid import Grid, make_grid
from pfa_flux.queries.interval import block_hours, block_starts, interval
from pfa_flux.queries.result import BlockedRatio, Caveat, RatioRow, Status
from pfa_flux.queries.selection import Counts, Selection, Sides
from pfa_flux.queries.sources import SourceChoice, Sources, choose
from pfa_flux.schema import NETWORKS, network_of
from pfa_flux.settings import Settings
from pfa_flux.times import NS, format_instant

Key = Literal["domain", "network", "page", "time"]
KEYS: tuple[Key, ...] = ("domain", "network", "page", "time")
_MOST_ROWS = 1_000_000
_Judged = tuple[RatioRow, bool]
_IID = Caveat(
    "interval_iid",
    "Some intervals rest on fewer than 10 blocks of an hour: they take page views as independent, and are too "
    "narrow where visitors look at several pages.",
)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, checked.

    Attributes:
        start: first nanosecond that counts.
        stop: first that does not.
        by: keys of the rows, each once.
        domains: exact domains; each has its row even if it is empty. None for all that are found.
        networks: of clearnet, tor, i2p; empty for all.
        pages: exact pages, empty for all.
        every: width of an interval with the key `time`: 15m, 1h, 1d or 1w.
        zone: time zone in which the intervals are aligned.
    """

    start: int
    stop: int
    by: tuple[Key, ...] = ("domain",)
    domains: tuple[str, ...] | None = None
    networks: tuple[str, ...] = ()
    pages: tuple[str, ...] = ()
    every: str = "1h"
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))

    def __post_init__(self) -> None:
        if self.start >= self.stop:
            raise InvalidValueError(
                f"the range is empty: it starts at {format_instant(self.start)} and stops at "
                f"{format_instant(self.stop)}",
                "Let --start be before --stop.",
            )
        for value, allowed, name in ((self.by, KEYS, "--by"), (self.networks, NETWORKS, "--network")):
            for item in cast("Sequence[str]", value):
                if item not in allowed:
                    raise InvalidValueError(f"{name} has no {item!r}", f"Use {', '.join(allowed)}.")
        if not self.by or len(set(self.by)) < len(self.by):
            raise InvalidValueError("--by names no key, or one twice", f"Use each of {', '.join(KEYS)} once at most.")

    @property
    def selection(self) -> Selection:
        """The points of interest, without windows."""
        domains = tuple(d for d in self.domains or () if self.includes(d))
        return Selection(self.start, self.stop, domains, self.pages, by_page="page" in self.by)

    @property
    def selects_nothing(self) -> bool:
        """The domains asked for are all in other networks than those asked for."""
        return self.domains is not None and not self.selection.domains

    def includes(self, domain: str) -> bool:
        """A domain's network is one of those asked for."""
        return not self.networks or network_of(domain) in self.networks


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
    step = math.lcm(3600, settings.task.every)
    grid = make_grid(question.start, question.stop, question.every, question.zone) if "time" in question.by else None
    width = grid.granularity(step) if grid else block_hours(question.start, question.stop, step // 3600) * 3600
    sources = choose(engine, settings, question.selection, width, source, now)
    asker = Asker(engine, settings, sources, dialect, by_time=grid is not None)
    if grid:
        rows = _by_time(asker, question, sources, grid, width, step // 3600)
    else:
        rows = _whole(asker, question, sources, width)
    warnings = (*asker.caveats, *sources.caveats, *((_IID,) if any(iid for _, iid in rows) else ()))
    return BlockedRatio(
        question.start,
        question.stop,
        question.by,
        engine.capabilities.engine,
        asker.dialect,
        sources.label,
        tuple(row for row, _ in rows),
        warnings,
    )


_Values = tuple[str, ...]
"""Values of the keys but for `time`, in the order of `--by`."""


def _whole(asker: Asker, question: Question, sources: Sources, width: int) -> list[_Judged]:
    """Rows for the whole range, and blocks of an hour or more for their intervals."""
    counts = ({}, {}) if question.selects_nothing else asker.whole(question.selection, width)
    sums, blocks = (_fold(found, question) for found in counts)
    starts = block_starts(sources.start, sources.stop, width // 3600)
    return [
        _judge(
            _named(question, values),
            sums.get(values, {}).get(0, _NOTHING),
            [blocks.get(values, {}).get(start, _NOTHING) for start in starts],
        )
        for values in sorted({*sums, *_asked_for(question)})
    ]


def _total(blocks: Iterable[Sides]) -> Sides:
    return Sides(*map(sum, zip(*blocks, strict=True)))


def _by_time(asker: Asker, question: Question, sources: Sources, grid: Grid, width: int, step: int) -> list[_Judged]:
    """Rows for each interval of time, empty ones included; the blocks are parts of the interval."""
    selection = replace(question.selection, every=width)
    windows = _fold({} if question.selects_nothing else asker.windows(selection), question)
    keys = {*windows, *_asked_for(question)}
    if len(keys) * len(grid.starts) > _MOST_ROWS:
        raise InvalidValueError(
            f"the answer would have {len(keys) * len(grid.starts):,} rows",
            "Use a wider --every, a shorter range, or filters.",
        )
    found = []
    place = question.by.index("time")
    for values in keys:
        for start, blocks in _parts(grid, sources, step, windows.get(values, {})):
            order = (*values[:place], start, *values[place:])
            labelled = (*values[:place], grid.label(start), *values[place:])
            found.append((order, _named(question, labelled), blocks))
    found.sort(key=lambda item: item[0])
    return [_judge(key, _total(blocks), blocks) for _, key, blocks in found]


def _parts(grid: Grid, sources: Sources, step: int, windows: Mapping[int, Sides]) -> Iterator[tuple[int, list[Sides]]]:
    """Each interval's start and its blocks, as far as the figures reach."""
    inside: dict[int, dict[int, Sides]] = {}
    for window, sides in windows.items():
        inside.setdefault(grid.start_of(window), {})[window] = sides
    for start, end in itertools.pairwise(grid.edges):
        width = block_hours(0, end - start, step) * 3600 * NS
        first = (max(start, sources.start) - start) // width
        last = (min(end, sources.stop) - 1 - start) // width
        # None at all where the interval lies in a past that is not known.
        blocks = [_NOTHING] * max(1, last - first + 1)
        for window, (hits, js) in inside.get(start, {}).items():
            block = max((window - start) // width, first) - first
            blocks[block] = Sides(blocks[block].hits + hits, blocks[block].js + js)
        yield start, blocks


def _fold(counts: Counts, question: Question) -> dict[_Values, dict[int, Sides]]:
    """Counts by the keys asked for and by window: domains summed to networks, pages over domains."""
    folded: dict[_Values, dict[int, Sides]] = {}
    for cell, sides in counts.items():
        if question.includes(cell.domain):
            windows = folded.setdefault(_values(question, cell.domain, cell.page), {})
            before = windows.get(cell.window, _NOTHING)
            windows[cell.window] = Sides(before.hits + sides.hits, before.js + sides.js)
    return folded


def _named(question: Question, values: Sequence[str]) -> dict[str, str]:
    return dict(zip(map(str, question.by), values, strict=True))


def _values(question: Question, domain: str, page: str) -> _Values:
    by = {"domain": domain, "network": network_of(domain), "page": page}
    return tuple(by[key] for key in question.by if key != "time")


def _asked_for(question: Question) -> set[_Values]:
    """Rows that there are even if they are empty: those whose every key was asked for by name."""
    if "page" in question.by and not question.pages:
        return set()
    pages = question.pages or ("",)
    if question.domains is not None:
        named = [d for d in question.domains if "domain" in question.by or question.includes(d)]
    elif "domain" in question.by or ("network" in question.by and not question.networks):
        return set()
    else:
        named = [_SOME_DOMAIN[network] for network in question.networks] or [""]
    return {_values(question, domain, page) for domain in named for page in pages}


_SOME_DOMAIN = {"clearnet": "", "tor": ".onion", "i2p": ".i2p"}
_NOTHING = Sides(0, 0)


def _judge(key: Mapping[str, str], total: Sides, blocks: Sequence[Sides]) -> _Judged:
    """A row with its status and interval, and whether the interval took page views as independent."""
    hits, js = total
    status: Status = "ok"
    if not hits:
        status = "no_hits" if js else "no_data"
    elif not js:
        status = "no_js"
    elif js > hits:
        status = "js_exceeds_hits"
    if status not in {"ok", "no_js"}:
        return RatioRow(key, hits, js, hits - js, None, None, None, status), False
    low, high, iid = interval(total, blocks)
    return RatioRow(key, hits, js, hits - js, (hits - js) / hits, low, high, status), iid
