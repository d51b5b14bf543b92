"""The content of a store in any range, to explain an answer without data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pfa_flux.arguments import close
from pfa_flux.engines.ask import Rows, Where
from pfa_flux.engines.base import Engine, Span
from pfa_flux.errors import AccessDeniedError, BucketNotFoundError
from pfa_flux.ratio.blocked_ratio import store_of
from pfa_flux.ratio.folding import Folding
from pfa_flux.ratio.question import Question
from pfa_flux.ratio.result import Store
from pfa_flux.schema import BOTH, Side
from pfa_flux.settings import Settings
from pfa_flux.settings.rules import Rules
from pfa_flux.times import NS
from pfa_flux.windows.spec import TaskSpec

_DAY = 86400 * NS


@dataclass(frozen=True, slots=True)
class Holdings:
    """The content of a store, raw or downsampled.

    Attributes:
        store: engine, version and address.
        exists: false if the embedded store has no file yet.
        domains: canonical domains with hits or JS loads, sorted.
        hits: times of the first and last hit, nanoseconds, exact to the window if raw data has expired; None without
            hits.
        loads: the same for JS loads.
        asked: the same for the requested hits or, without any, for the requested JS loads; None without either.
        meant: suggestions for requested domains and pages that do not exist: `domains` or `pages`, the requested name,
            and an existing name that may be meant.
    """

    store: Store
    exists: bool
    domains: tuple[str, ...]
    hits: Span | None
    loads: Span | None
    asked: Span | None
    meant: tuple[tuple[str, str, str], ...]


def holdings(engine: Engine, settings: Settings, question: Question, now: int) -> Holdings:
    """The content of a store, compared with the domains and pages of a question. The question's range does not matter.

    Raises:
        UnreachableError, QueryError, StoreError: the engine refuses.
    """
    # The clocks of other machines may be ahead.
    whole = replace(question, start=0, stop=now + _DAY)
    specs = {side: TaskSpec.from_settings(settings, side) for side in BOTH}
    rules = Rules(settings.pixel)
    readable = {side: list(_readable(engine, spec, whole)) for side, spec in specs.items()}
    rows = [rows for each in readable.values() for rows in each]
    domains = {
        rules.domain(value) for each in rows for value in engine.tag_values(each, "domain", whole.start, whole.stop)
    }
    meant = [("domains", asked, near) for asked in question.named for near in _near(asked, domains)]
    if question.pages:
        pages = {rules.stored_page(value) for each in rows for value in engine.tag_values(each, "page", 0, whole.stop)}
        meant += [("pages", asked, near) for asked in question.pages for near in _near(asked, pages)]

    def span(side: Side, where: Where) -> Span | None:
        return _span(engine, specs[side], readable[side], whole, where)

    asked: Span | None = None
    if not question.selects_nothing:
        where = Folding(settings, whole).where(engine, rows)
        asked = next(filter(None, (span(side, where) for side in BOTH)), None)
    hits, loads = (span(side, {}) for side in BOTH)
    exists = bool(settings.url) or Path(engine.address).exists()
    return Holdings(store_of(engine), exists, tuple(sorted(domains - {""})), hits, loads, asked, tuple(meant))


def _near(asked: str, there: set[str]) -> Sequence[str]:
    return [] if asked in there else close(asked, there)


def _readable(engine: Engine, spec: TaskSpec, question: Question) -> Iterator[Rows]:
    """Rows of a side, if they exist and the token can read them."""
    for rows in (spec.raw, spec.rollup):
        with suppress(BucketNotFoundError, AccessDeniedError):
            engine.edge(rows, "last", question.start, question.stop, {})
            yield rows


def _span(engine: Engine, spec: TaskSpec, readable: Sequence[Rows], question: Question, where: Where) -> Span | None:
    """Times of the first and the last row of a side."""
    times: list[int] = []
    for rows in readable:
        for pick in ("first", "last"):
            time = engine.edge(rows, pick, question.start, question.stop, where)
            if time is not None:
                # A window is named by its start.
                times.append(spec.ceiling(time) - spec.width if rows.every else time)
    return (min(times), max(times)) if times else None
