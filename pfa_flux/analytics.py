"""The library's entry point: `connect()` returns an `Analytics` for a server or the embedded store."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from pfa_flux import registry
from pfa_flux import settings as _settings
from pfa_flux.arguments import Texts, named, one_of
from pfa_flux.engines.base import Engine, Point
from pfa_flux.errors import InvalidValueError, SettingsError
from pfa_flux.present.results import BlockedRatio, Comparison, PageViews
from pfa_flux.ratio.blocked_ratio import blocked_ratios
from pfa_flux.ratio.compare_periods import question_before, with_previous
from pfa_flux.ratio.holdings import Holdings, holdings
from pfa_flux.ratio.page_views import page_views
from pfa_flux.ratio.question import Options
from pfa_flux.schema import Side
from pfa_flux.settings import Settings
from pfa_flux.tasks.state import State, late_before
from pfa_flux.tasks.task import Task
from pfa_flux.times import NS, Instant
from pfa_flux.windows.spec import TaskSpec

if TYPE_CHECKING:
    from pfa_flux.present.report.contents import Content


def connect(settings: Settings | None = None, *, config: str | Path | None = None, **values: str) -> Analytics:
    """Connect to the engine in the settings: a server if there is a URL, else the embedded store.

    Args:
        settings: existing settings. If given, do not give `config` or `values`.
        config: TOML file to read instead of the one found.
        values: settings by name (url, token, org, raw_bucket, …). They override environment and file.

    Raises:
        SettingsError: a setting is wrong.
        UnreachableError, AccessDeniedError: the server cannot be used.
    """
    if settings is None:
        settings = _settings.load(values, config=config)
        for warning in settings.warnings:
            warnings.warn(warning, stacklevel=2)
    elif config is not None or values:
        raise InvalidValueError(
            "settings are given twice", f"Pass either {named('settings')}, or {named('config')} and values."
        )
    elif not isinstance(settings, Settings):
        # Do not quote the value, because it may be a token.
        raise SettingsError(
            f"{named('settings')} is a {type(settings).__name__}, not Settings",
            'Name each setting: connect(url="http://localhost:8086").',
        )
    return Analytics(settings)


class Analytics:
    """One engine, and the questions to ask it. It is a context manager, and thread-safe."""

    def __init__(self, settings: Settings, clock: Callable[[], int] = time.time_ns) -> None:
        self.settings = settings
        self._clock = clock
        self._engine = registry.open_engine(settings)
        self._state = State(settings)

    @property
    def engine(self) -> Engine:
        """The engine, and what it can do (`.capabilities`)."""
        return self._engine

    def blocked_ratio(
        self,
        domains: Texts = (),
        *,
        sites: Texts = (),
        networks: Texts = (),
        pages: Texts = (),
        by: Texts = ("domain",),
        start: Instant = "24h",
        stop: Instant | None = None,
        every: str | None = None,
        tz: str | None = None,
        dialect: str = "auto",
        source: str = "auto",
        compare: bool = False,
    ) -> BlockedRatio:
        """Share of page views that the JavaScript analytics did not report.

        Args:
            domains: one or several domains, in any script or as a URL. Each has a row, even without data.
                `*.example.com` stands for all domains below it that have data. Without domains and sites: all domains.
            sites: one or several sites from the settings. A site stands for its domains.
            networks: clearnet, tor, i2p, one or several.
            pages: one or several pages, as stored or as shown.
            by: one or several keys of the rows: domain, network, page, time; () for one row of everything.
            start: date, datetime or timedelta back from now; nanoseconds since the epoch; or text: `2026-01-31`,
                `2026-01`, `2026-01-31T12:00:00Z`, `today`, `yesterday`, or a duration back from now: `24h`, `7d`, `1y`.
                A day or a month means its start.
            stop: as `start`. The range ends just before it. By default now.
            every: width of an interval with the key `time`: 15m, 1h (the default), 1d or 1w.
            tz: time zone of intervals, and of times without a zone; by default the setting.
            dialect: query language for raw data: auto, join, union, influxql or sqlite.
            source: raw; rollup: only downsampled windows; auto: raw data while it is kept and quick to count, otherwise
                downsampled windows.
            compare: compare each row with the previous period of the same length.

        Raises:
            InvalidValueError: a value is malformed or contradicts another.
            CapabilityError: the engine does not have the dialect, or the dialect would miscount.
            BucketNotFoundError, AccessDeniedError, UnreachableError, QueryError, StoreError: the engine refuses.
        """
        options = Options(domains, sites, networks, pages, by, start, stop, every=every, tz=tz, source=source)
        return self.answers([replace(options, dialect=dialect)], compare=compare)[0]

    def answers(self, asked: list[Options], compare: int = 0) -> list[BlockedRatio]:
        """Answer several questions with one read. They may differ only in keys and intervals.

        Args:
            asked: the questions.
            compare: number of answers, from the first, to compare with the previous period.

        Errors as for `blocked_ratio`.
        """
        now = self._clock()
        questions = [options.question(self.settings, now) for options in asked]
        how = {"dialect": asked[0].dialect, "source": asked[0].source}
        answers = blocked_ratios(self._engine, self.settings, questions, now, **how)
        previous = [question_before(question) for question in questions[:compare]]
        # With time as a key the previous period may start earlier. Each span is read once.
        for span in dict.fromkeys((question.start, question.stop) for question in previous):
            numbers = [n for n, question in enumerate(previous) if (question.start, question.stop) == span]
            before = blocked_ratios(self._engine, self.settings, [previous[n] for n in numbers], now, **how)
            for n, answer in zip(numbers, before, strict=True):
                answers[n] = with_previous(answers[n], answer)
        return [BlockedRatio.of(answer) for answer in answers]

    def compare(
        self,
        by: str = "network",
        domains: Texts = (),
        *,
        sites: Texts = (),
        networks: Texts = (),
        pages: Texts = (),
        start: Instant = "24h",
        stop: Instant | None = None,
        dialect: str = "auto",
        source: str = "auto",
    ) -> Comparison:
        """Differences between the blocked ratios of networks, domains or pages, with their 95% intervals.

        Args:
            by: network, domain or page.
            domains: as in `blocked_ratio`, like all that follows.
            sites: the same.
            networks: the same.
            pages: the same.
            start: the same.
            stop: the same.
            dialect: the same.
            source: the same.

        Raises:
            InvalidValueError: `by` is time. Others as for `blocked_ratio`.
        """
        options = Options(domains, sites, networks, pages, [by], start, stop, dialect=dialect, source=source)
        return self.answers([options])[0].differences()

    def report(
        self,
        domains: Texts = (),
        *,
        sites: Texts = (),
        networks: Texts = (),
        start: Instant = "7d",
        stop: Instant | None = None,
        every: str | None = None,
        tz: str | None = None,
        source: str = "auto",
    ) -> tuple[str, bool]:
        """The report: one self-contained HTML file.

        Args:
            domains: as in `blocked_ratio`, like all arguments with the same names.
            sites: the same.
            networks: the same.
            start: the same.
            stop: the same.
            every: interval of the plot; by default an hour up to two days, a day up to ninety, else a week.
            tz: the same.
            source: the same.

        Returns:
            The HTML, and whether it has any data. Errors as for `blocked_ratio`.
        """
        from pfa_flux.present.report.page import page

        options = Options(domains, sites, networks, start=start, stop=stop, tz=tz, source=source)
        content = self.content(options, every=every)
        return page(content), content.whole.has_data

    def content(self, options: Options, *, by: str = "", every: str | None = None, compare: bool = True) -> Content:
        """Content of a report, for `pfa_flux.present.report.page.page`.

        Args:
            options: the page views to count.
            by: key of the report: network, domain, page or time; empty for an overview of all.
            every: interval of rows by time; by default as in `report`.
            compare: compare the total, and the rows by the report's key, with the previous period.

        Errors as for `blocked_ratio`.
        """
        from pfa_flux.present.report.contents import gather

        now = self._clock()
        options = options.fixed(self.settings, now)
        return gather(self.answers, options, now, by=by, every=every, compare=compare)

    def hits(
        self,
        domains: Texts = (),
        *,
        sites: Texts = (),
        networks: Texts = (),
        pages: Texts = (),
        by: Texts = ("domain",),
        start: Instant = "24h",
        stop: Instant | None = None,
        every: str | None = None,
        tz: str | None = None,
        source: str = "auto",
    ) -> PageViews:
        """Page views that the pixel counted. Arguments and errors as for `blocked_ratio`."""
        options = Options(domains, sites, networks, pages, by, start, stop, every=every, tz=tz, source=source)
        return self._page_views(replace(options, sides=(Side.HITS,)))

    def js_loads(
        self,
        domains: Texts = (),
        *,
        sites: Texts = (),
        networks: Texts = (),
        pages: Texts = (),
        by: Texts = ("domain",),
        start: Instant = "24h",
        stop: Instant | None = None,
        every: str | None = None,
        tz: str | None = None,
        source: str = "auto",
    ) -> PageViews:
        """Page views that the JavaScript analytics counted. Arguments and errors as for `blocked_ratio`."""
        options = Options(domains, sites, networks, pages, by, start, stop, every=every, tz=tz, source=source)
        return self._page_views(replace(options, sides=(Side.LOADS,)))

    def domains(self, *, start: Instant = "24h", stop: Instant | None = None, source: str = "auto") -> PageViews:
        """Domains with page views, their networks, and both counts. Arguments as for `blocked_ratio`."""
        return self._page_views(Options(by=("domain", "network"), start=start, stop=stop, source=source))

    def pages(
        self,
        domains: Texts = (),
        *,
        sites: Texts = (),
        start: Instant = "24h",
        stop: Instant | None = None,
        source: str = "auto",
    ) -> PageViews:
        """Pages with page views, summed over the domains, and both counts. Arguments as for `blocked_ratio`."""
        return self._page_views(Options(domains, sites, by=("page",), start=start, stop=stop, source=source))

    def holdings(self, domains: Texts = (), *, sites: Texts = (), networks: Texts = (), pages: Texts = ()) -> Holdings:
        """Content of the store, in any range: domains, first and last hit, and names similar to the given ones.

        Arguments and errors as for `blocked_ratio`.
        """
        now = self._clock()
        question = Options(domains, sites, networks, pages, by=()).question(self.settings, now)
        return holdings(self._engine, self.settings, question, now)

    def _page_views(self, options: Options) -> PageViews:
        now = self._clock()
        question = options.question(self.settings, now)
        return PageViews.of(page_views(self._engine, self.settings, question, now, options.source))

    def task(self, what: Side | Literal["hits", "loads"] = "hits", *, backend: str = "auto") -> Task:
        """The downsampling task.

        Args:
            what: hits, or loads: page loads of the JavaScript analytics, so that ratios outlive the raw data.
            backend: what runs the task: auto, influxdb, kapacitor, or runner (`Task.run`, every 15 minutes).

        Raises:
            InvalidValueError: `what` or `backend` has another value. CapabilityError: the backend is missing.
        """
        side = Side(one_of("what", what, tuple(Side)))
        return Task(self._engine, self._state, self.settings, side, backend, self._clock)

    def write(self, points: Iterable[Point]) -> int:
        """Write raw points. Page loads go to their own bucket if there is one.

        Notes closed windows that receive hits, so that `repair` recomputes them.

        Returns:
            The number of points.
        """
        spec, late = TaskSpec.from_settings(self.settings), set[int]()
        before = late_before(spec, self._clock())
        elsewhere: list[Point] = []
        loads = self.settings.schema.loads_measurement if self.settings.loads_bucket else None

        def counted_points() -> Iterator[Point]:
            for point in points:
                if point.measurement == loads:
                    elsewhere.append(point)
                    continue
                if point.time < before and point.measurement == spec.source:
                    late.add(point.time // (60 * NS) * 60 * NS)
                yield point

        written = self._engine.write(self.settings.raw_bucket, counted_points())
        if elsewhere:
            written += self._engine.write(self.settings.loads_bucket, elsewhere)
        self._state.note_late(spec.raw_bucket, spec.source, late)
        return written

    def close(self) -> None:
        """Release connections and locks."""
        self._engine.close()
        self._state.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
