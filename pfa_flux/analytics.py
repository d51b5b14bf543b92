"""The library's entry: `connect()` gives an `Analytics`, on a server or on the embedded store."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable
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
from pfa_flux.queries.blocked_ratio import Key, Question, blocked_ratio
from pfa_flux.queries.result import BlockedRatio
from pfa_flux.settings import Settings
from pfa_flux.tasks.backends.base import Backend
from pfa_flux.tasks.install import Installation, backend_for, install_task, run_now
from pfa_flux.tasks.spec import TaskSpec
from pfa_flux.times import parse_instant

Instant = str | datetime | timedelta | int


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
    ) -> BlockedRatio:
        """Share of page views that came without the JavaScript analytics.

        Args:
            domains: exact domains; each has its row even if it is empty. Neither these nor sites: all found.
            sites: sites of the settings, which stand for their domains.
            networks: of clearnet, tor, i2p.
            pages: exact pages.
            by: keys of the rows: domain, network, page, time.
            start: RFC 3339 text with an offset, an aware datetime, nanoseconds since the epoch, or a duration back
                from now as text or timedelta.
            stop: the same; now by default.
            every: width of an interval with the key `time`: 15m, 1h (the default), 1d or 1w.
            tz: time zone the intervals are aligned in.
            dialect: auto, join, union, influxql or sqlite.

        Raises:
            InvalidValueError: a value is malformed or contradicts another.
            CapabilityError: the engine has not the dialect, or the dialect would miscount.
            BucketNotFoundError, AccessDeniedError, UnreachableError, QueryError, StoreError: the engine refuses.
        """
        now = self._clock()
        by = tuple(by)
        if every is not None and "time" not in by:
            raise InvalidValueError("--every is given without --by time", "Add --by time, or leave --every out.")
        named = dict.fromkeys((*domains, *(d for site in sites for d in self.settings.domains_of(site))))
        question = Question(
            parse_instant(start, now),
            now if stop is None else parse_instant(stop, now),
            cast("tuple[Key, ...]", by),
            tuple(named) or None,
            tuple(networks),
            tuple(pages),
            every or "1h",
            _zone(tz),
        )
        choice = cast("DialectChoice", dialect)
        return blocked_ratio(self._engine, self.settings.raw_bucket, self.settings.schema, question, choice)

    def install_task(self) -> Installation:
        """Install the downsampling task and prove it.

        Raises:
            TaskError, CapabilityError, BucketNotFoundError, AccessDeniedError: as their words say.
        """
        return install_task(self._engine, self.task_backend(), self.task_spec, self._clock())

    def run_task(self) -> tuple[int, int]:
        """Downsample now: embedded, every window that is due; on a server, a forced run of the last closed windows.

        Returns:
            Start and stop of the windows, nanoseconds; equal where nothing was due.

        Raises:
            TaskError: the task is not installed, or its run failed.
        """
        return run_now(self.task_backend(), self.task_spec, self._clock())

    @property
    def task_spec(self) -> TaskSpec:
        """What the downsampling task is to be."""
        return TaskSpec.from_settings(self.settings)

    def task_backend(self) -> Backend:
        """Who runs the task.

        Raises:
            CapabilityError: nobody does: an InfluxDB 1.x without Kapacitor.
        """
        return backend_for(self._engine, self.settings, self.task_spec)

    def write(self, points: Iterable[Point]) -> int:
        """Write raw points. Returns their number."""
        return self._engine.write(self.settings.raw_bucket, points)

    def close(self) -> None:
        """Let go of connections and locks."""
        self._engine.close()

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
