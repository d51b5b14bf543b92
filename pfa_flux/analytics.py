"""The library's entry: `connect()` gives an `Analytics`, on a server or on the embedded store."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, cast

from pfa_flux import settings as _settings
from pfa_flux.engines import registry
from pfa_flux.engines.base import Engine, Point
from pfa_flux.errors import InvalidValueError
from pfa_flux.queries.before import question_before, with_previous
from pfa_flux.queries.blocked_ratio import blocked_ratios
from pfa_flux.queries.page_views import page_views
from pfa_flux.queries.question import Instant, Options
from pfa_flux.queries.result import BlockedRatio, Comparison, PageViews
from pfa_flux.schema import Side
from pfa_flux.settings import Settings
from pfa_flux.tasks.state import State, late_before
from pfa_flux.tasks.task import Task
from pfa_flux.times import NS
from pfa_flux.windows.spec import TaskSpec

_DAY = 86400 * NS


def connect(settings: Settings | None = None, *, config: str | Path | None = None, **values: str) -> Analytics:
    """Connect to the engine that the settings name: a server where there is a URL, else the embedded store.

    Args:
        settings: settings made before; then neither `config` nor `values` may be given.
        config: TOML file to read instead of the one that would be found.
        values: settings by their names (url, token, org, raw_bucket, …), which win over environment and file.

    Raises:
        SettingsError: a setting is wrong.
        UnreachableError, AccessDeniedError: the server cannot be used.
    """
    if settings is None:
        settings = _settings.load(values, config=config)
        for word in settings.warnings:
            warnings.warn(word, stacklevel=2)
    elif config is not None or values:
        raise InvalidValueError("settings are given twice", "Pass either settings, or config and values.")
    return Analytics(settings)


class Analytics:
    """One engine and what can be asked of it. A context manager; may be used from several threads."""

    def __init__(self, settings: Settings, clock: Callable[[], int] = time.time_ns) -> None:
        self.settings = settings
        self._clock = clock
        self._engine = registry.open_engine(settings)
        self._state = State(settings)

    @property
    def engine(self) -> Engine:
        """Where the data is, and what it can do (`.capabilities`)."""
        return self._engine

    def blocked_ratio(
        self,
        domains: Iterable[str] = (),
        *,
        sites: Iterable[str] = (),
        networks: Iterable[str] = (),
        pages: Iterable[str] = (),
        by: Iterable[str] = ("domain",),
        start: Instant = "24h",
        stop: Instant | None = None,
        every: str | None = None,
        tz: str = "UTC",
        dialect: str = "auto",
        source: str = "auto",
        compare: bool = False,
    ) -> BlockedRatio:
        """Share of page views that came without the JavaScript analytics.

        Args:
            domains: exact domains; each has its row even if it is empty. Neither these nor sites: all found.
            sites: sites of the settings, which stand for their domains.
            networks: of clearnet, tor, i2p.
            pages: exact pages.
            by: keys of the rows: domain, network, page, time; none for one row of all.
            start: RFC 3339 text with an offset, an aware datetime, nanoseconds since the epoch, or a duration back
                from now as text or timedelta.
            stop: the same; now by default.
            every: width of an interval with the key `time`: 15m, 1h (the default), 1d or 1w.
            tz: time zone the intervals are aligned in.
            dialect: in what raw data is asked for: auto, join, union, influxql or sqlite.
            source: raw; rollup: downsampled windows alone; auto: raw data while it is kept and quickly counted,
                downsampled windows where not.
            compare: each row with that of the period before, which is as long, and how the ratio has changed.

        Raises:
            InvalidValueError: a value is malformed or contradicts another.
            CapabilityError: the engine has not the dialect, or the dialect would miscount.
            BucketNotFoundError, AccessDeniedError, UnreachableError, QueryError, StoreError: the engine refuses.
        """
        options = Options(domains, sites, networks, pages, by, start, stop, every, tz, dialect, source)
        return self._answers([options], compare=compare)[0]

    def _answers(self, asked: list[Options], *, compare: bool = False) -> list[BlockedRatio]:
        """Answers to questions that differ in their keys and intervals alone, from one read.

        Args:
            asked: the questions.
            compare: the first answer with that of the previous period.
        """
        now = self._clock()
        questions = [options.question(self.settings, now) for options in asked]
        how = {"dialect": asked[0].dialect, "source": asked[0].source}
        answers = blocked_ratios(self._engine, self.settings, questions, now, **how)
        if compare:
            previous = [question_before(questions[0])]
            (before,) = blocked_ratios(self._engine, self.settings, previous, now, **how)
            answers[0] = with_previous(answers[0], before)
        return answers

    def compare(
        self,
        by: str = "network",
        domains: Iterable[str] = (),
        *,
        sites: Iterable[str] = (),
        networks: Iterable[str] = (),
        pages: Iterable[str] = (),
        start: Instant = "24h",
        stop: Instant | None = None,
        dialect: str = "auto",
        source: str = "auto",
    ) -> Comparison:
        """Differences between the blocked ratios of networks, domains or pages, each with its 95 % interval.

        Args:
            by: what is compared: network, domain or page.
            domains: as in `blocked_ratio`, like all that follows.
            sites: the same.
            networks: the same.
            pages: the same.
            start: the same.
            stop: the same.
            dialect: the same.
            source: the same.

        Raises:
            InvalidValueError: `by` is time. The rest as of `blocked_ratio`.
        """
        asked = {"domains": domains, "sites": sites, "networks": networks, "pages": pages}
        span = {"start": start, "stop": stop, "dialect": dialect, "source": source}
        return self.blocked_ratio(by=[by], **asked, **span).differences()  # type: ignore[arg-type]

    def report(
        self,
        domains: Iterable[str] = (),
        *,
        sites: Iterable[str] = (),
        networks: Iterable[str] = (),
        start: Instant = "7d",
        stop: Instant | None = None,
        every: str | None = None,
        tz: str = "UTC",
        source: str = "auto",
    ) -> tuple[str, bool]:
        """The report: one HTML file that needs nothing else.

        Args:
            domains: as in `blocked_ratio`, like all that has its name.
            sites: the same.
            networks: the same.
            start: the same.
            stop: the same.
            every: interval of the plot; by default an hour up to two days, a day up to ninety, else a week.
            tz: the same.
            source: the same.

        Returns:
            HTML, and whether there is any data in it. Errors as of `blocked_ratio`.
        """
        from pfa_flux import __version__
        from pfa_flux.views.report import Content, page

        now = self._clock()
        options = Options(domains, sites, networks, start=start, stop=stop, tz=tz, source=source).fixed(now)
        low, high = cast("tuple[int, int]", (options.start, options.stop))
        wide = "1h" if high - low <= 2 * _DAY else "1d" if high - low <= 90 * _DAY else "1w"
        keys = ((), ("network",), ("domain",), ("time",), ("network", "time"), ("page",))
        asked = [replace(options, by=by, every=(every or wide) if "time" in by else None) for by in keys]
        answers = self._answers(asked, compare=True)
        subject = ", ".join((*options.sites, *options.domains)) or "all domains"
        whole, by_network, by_domain, by_time, by_network_and_time, by_page = answers
        content = Content(
            subject, whole, by_network, by_domain, by_time, by_network_and_time, by_page, now, __version__
        )
        return page(content), whole.has_data

    def hits(
        self,
        domains: Iterable[str] = (),
        *,
        sites: Iterable[str] = (),
        networks: Iterable[str] = (),
        pages: Iterable[str] = (),
        by: Iterable[str] = ("domain",),
        start: Instant = "24h",
        stop: Instant | None = None,
        every: str | None = None,
        tz: str = "UTC",
        source: str = "auto",
    ) -> PageViews:
        """Page views that the pixel counted. Arguments and errors as of `blocked_ratio`."""
        options = Options(domains, sites, networks, pages, by, start, stop, every, tz, source=source)
        return self._page_views(replace(options, sides=(Side.HITS,)))

    def js_loads(
        self,
        domains: Iterable[str] = (),
        *,
        sites: Iterable[str] = (),
        networks: Iterable[str] = (),
        pages: Iterable[str] = (),
        by: Iterable[str] = ("domain",),
        start: Instant = "24h",
        stop: Instant | None = None,
        every: str | None = None,
        tz: str = "UTC",
        source: str = "auto",
    ) -> PageViews:
        """Page views that the JavaScript analytics counted. Arguments and errors as of `blocked_ratio`."""
        options = Options(domains, sites, networks, pages, by, start, stop, every, tz, source=source)
        return self._page_views(replace(options, sides=(Side.LOADS,)))

    def domains(self, *, start: Instant = "24h", stop: Instant | None = None, source: str = "auto") -> PageViews:
        """Domains that have page views, with their networks and both counts. Arguments as of `blocked_ratio`."""
        return self._page_views(Options(by=("domain", "network"), start=start, stop=stop, source=source))

    def pages(
        self,
        domains: Iterable[str] = (),
        *,
        sites: Iterable[str] = (),
        start: Instant = "24h",
        stop: Instant | None = None,
        source: str = "auto",
    ) -> PageViews:
        """Pages that have page views, summed over the domains, with both counts. Arguments as of `blocked_ratio`."""
        return self._page_views(Options(domains, sites, by=("page",), start=start, stop=stop, source=source))

    def _page_views(self, options: Options) -> PageViews:
        now = self._clock()
        return page_views(self._engine, self.settings, options.question(self.settings, now), now, options.source)

    def task(self, what: Literal["hits", "loads"] = "hits", *, backend: str = "auto") -> Task:
        """The downsampling task.

        Args:
            what: hits, or loads: the page loads of the JavaScript analytics, so that ratios outlive raw retention.
            backend: who runs it: auto, influxdb, kapacitor, or runner (`Task.run`, every 15 minutes).

        Raises:
            CapabilityError: the backend is not there.
        """
        return Task(self._engine, self._state, self.settings, Side(what), backend, self._clock)

    def write(self, points: Iterable[Point]) -> int:
        """Write raw points, page loads to their own bucket where they have one.

        Windows of the past that receive hits are noted, and recomputed by `repair`.

        Returns:
            Their number.
        """
        spec, late = TaskSpec.from_settings(self.settings), set[int]()
        before = late_before(spec, self._clock())
        elsewhere: list[Point] = []
        loads = self.settings.schema.loads_measurement if self.settings.loads_bucket else None

        def noticed() -> Iterator[Point]:
            for point in points:
                if point.measurement == loads:
                    elsewhere.append(point)
                    continue
                if point.time < before and point.measurement == spec.source:
                    late.add(point.time // (60 * NS) * 60 * NS)
                yield point

        written = self._engine.write(self.settings.raw_bucket, noticed())
        if elsewhere:
            written += self._engine.write(self.settings.loads_bucket, elsewhere)
        self._state.note_late(spec.raw_bucket, spec.source, late)
        return written

    def close(self) -> None:
        """Let go of connections and locks."""
        self._engine.close()
        self._state.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
