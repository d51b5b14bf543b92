"""The library's entry: `connect()` gives an `Analytics`, on a server or on the embedded store."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pfa_flux import settings as _settings
from pfa_flux.engines.base import Engine, Point
from pfa_flux.engines.embedded import Embedded
from pfa_flux.errors import InvalidValueError
from pfa_flux.queries.asking import DialectChoice
from pfa_flux.queries.before import beside, question_before
from pfa_flux.queries.blocked_ratio import blocked_ratio
from pfa_flux.queries.page_views import page_views
from pfa_flux.queries.question import Key, Question
from pfa_flux.queries.result import BlockedRatio, Comparison, PageViews
from pfa_flux.queries.selection import WhichSides
from pfa_flux.queries.sources import SourceChoice
from pfa_flux.settings import Settings
from pfa_flux.tasks.spec import TaskSpec, What
from pfa_flux.tasks.task import Task
from pfa_flux.tasks.touched import late_before, note_touched
from pfa_flux.times import NS, parse_instant

Instant = str | datetime | timedelta | int
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
        self._engine = _open(settings)
        # Of a server's tasks it holds what pfa-flux has to remember; embedded it is the engine itself.
        self._store = self._engine if isinstance(self._engine, Embedded) else Embedded(settings)

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
        question, now = self._question(domains, sites, networks, pages, by, start, stop, every, tz)

        def ask(asked: Question) -> BlockedRatio:
            choices = cast("DialectChoice", dialect), cast("SourceChoice", source)
            return blocked_ratio(self._engine, self.settings, asked, now, dialect=choices[0], source=choices[1])

        answer = ask(question)
        return beside(answer, ask(question_before(question))) if compare else answer

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

        names, own, over = list(domains), list(sites), list(networks)
        now = self._clock()
        low, high = parse_instant(start, now), now if stop is None else parse_instant(stop, now)
        wide = "1h" if high - low <= 2 * _DAY else "1d" if high - low <= 90 * _DAY else "1w"

        def ask(*by: str, compare: bool = False) -> BlockedRatio:
            return self.blocked_ratio(
                names,
                sites=own,
                networks=over,
                by=by,
                start=low,
                stop=high,
                every=(every or wide) if "time" in by else None,
                tz=tz,
                source=source,
                compare=compare,
            )

        whole = ask(compare=True)
        content = Content(
            ", ".join((*own, *names)) or "all domains",
            whole,
            ask("network"),
            ask("domain"),
            ask("time"),
            ask("network", "time"),
            ask("page"),
            now,
            __version__,
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
        question = self._question(domains, sites, networks, pages, by, start, stop, every, tz)
        return self._page_views("hits", *question, source)

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
        question = self._question(domains, sites, networks, pages, by, start, stop, every, tz)
        return self._page_views("js", *question, source)

    def domains(self, *, start: Instant = "24h", stop: Instant | None = None, source: str = "auto") -> PageViews:
        """Domains that have page views, with their networks and both counts. Arguments as of `blocked_ratio`."""
        question = self._question((), (), (), (), ("domain", "network"), start, stop, None, "UTC")
        return self._page_views("both", *question, source)

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
        question = self._question(domains, sites, (), (), ("page",), start, stop, None, "UTC")
        return self._page_views("both", *question, source)

    def _page_views(self, sides: WhichSides, question: Question, now: int, source: str) -> PageViews:
        asked = replace(question, sides=sides)
        return page_views(self._engine, self.settings, asked, now, cast("SourceChoice", source))

    def _question(
        self,
        domains: Iterable[str],
        sites: Iterable[str],
        networks: Iterable[str],
        pages: Iterable[str],
        by: Iterable[str],
        start: Instant,
        stop: Instant | None,
        every: str | None,
        tz: str,
    ) -> tuple[Question, int]:
        """What is asked, checked, and the present."""
        now, keys = self._clock(), tuple(by)
        if every is not None and "time" not in keys:
            raise InvalidValueError("--every is given without --by time", "Add --by time, or leave --every out.")
        named = dict.fromkeys((*domains, *(d for site in sites for d in self.settings.domains_of(site))))
        question = Question(
            parse_instant(start, now),
            now if stop is None else parse_instant(stop, now),
            cast("tuple[Key, ...]", keys),
            tuple(named) or None,
            tuple(networks),
            tuple(pages),
            every or "1h",
            _zone(tz),
        )
        return question, now

    def task(self, what: What = "hits", *, backend: str = "auto") -> Task:
        """The downsampling task.

        Args:
            what: hits, or loads: the page loads of the JavaScript analytics, so that ratios outlive raw retention.
            backend: who runs it: auto, influxdb, kapacitor, or runner (`Task.run`, every 15 minutes).

        Raises:
            CapabilityError: the backend is not there.
        """
        return Task(self._engine, self._store, self.settings, what, backend, self._clock)

    def write(self, points: Iterable[Point]) -> int:
        """Write raw points. Windows of the past that hits come into are noted, and put together again by `repair`.

        Returns:
            Their number.
        """
        spec, late = TaskSpec.from_settings(self.settings), set[int]()
        before = late_before(spec, self._clock())

        def noticed() -> Iterator[Point]:
            for point in points:
                if point.time < before and point.measurement == spec.source:
                    late.add(point.time // (60 * NS) * 60 * NS)
                yield point

        written = self._engine.write(self.settings.raw_bucket, noticed())
        note_touched(self._store, spec.raw_bucket, spec.source, late)
        return written

    def close(self) -> None:
        """Let go of connections and locks."""
        self._engine.close()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open(settings: Settings) -> Engine:
    if not settings.url:
        return Embedded(settings)
    # Imported here: the HTTP client costs half a second.
    from pfa_flux.engines.detect import detect

    return detect(settings)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidValueError(f"no time zone {name!r}", "Use a name such as UTC or Europe/Berlin.") from error
