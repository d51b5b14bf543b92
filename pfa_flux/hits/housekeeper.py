"""What has to be done now and then: downsampling where nobody else does it, and letting go of old raw rows."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from pfa_flux.engines.registry import OWN_BACKEND
from pfa_flux.engines.sqlite import Embedded
from pfa_flux.errors import PfaFluxError
from pfa_flux.schema import BOTH
from pfa_flux.settings import Settings
from pfa_flux.tasks.state import State
from pfa_flux.tasks.task import Task
from pfa_flux.times import NS, format_instant
from pfa_flux.windows.recompute import recompute
from pfa_flux.windows.rollup import Rollup
from pfa_flux.windows.spec import TaskSpec
from pfa_flux.windows.verify import verify

log = logging.getLogger("pfa_flux")

EVERY = 15.0
"""Seconds between two looks whether something is due."""


class Housekeeper:
    """Runs what is due until it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        wait: Callable[[float], bool],
        *,
        lock: int | None = None,
        newest_series: int = 0,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Make it.

        Args:
            settings: whose task it is.
            wait: waits for seconds; true: stop.
            lock: of the embedded store, where the process that serves holds it; None where there is an InfluxDB.
            newest_series: series of the store up to this one belong to nobody who still writes.
            clock: the present, nanoseconds.
        """
        self._settings, self._wait, self._lock, self._clock = settings, wait, lock, clock
        self._newest_series = newest_series
        self._spec = TaskSpec.from_settings(settings)
        self._done = 0
        self._said = ""

    def run(self) -> None:
        """Do what is due, wait, and so on."""
        while True:
            due = self._spec.due(self._clock())
            if due != self._done:
                try:
                    self.once()
                    self._done = due
                    self._said = ""
                except PfaFluxError as error:
                    # Once, and not again with every attempt.
                    if error.message != self._said:
                        log.error("what is due could not be downsampled: %s", error)
                    self._said = error.message
            if self._wait(EVERY):
                return

    def once(self) -> None:
        """Recompute what is due, then remove raw rows that have had their time.

        Raises:
            PfaFluxError: it failed; it is tried again.
        """
        if self._settings.url:
            self._run_due()
            return
        with contextlib.closing(Embedded(self._settings, lock=self._lock)) as store, self._state() as state:
            for what in BOTH:
                task = Task(store, state, self._settings, what, OWN_BACKEND, self._clock)
                if not task.backend.find():
                    task.install()
                if task.installed().active:
                    task.run_due()
            purge(store, self._settings, self._clock(), self._newest_series)

    def _run_due(self) -> None:
        """Of a server: only tasks that were installed with pfa-flux as their runner."""
        with self._state() as state:
            if not state.select("SELECT 1 FROM task WHERE active"):
                return
        from pfa_flux.analytics import connect

        with connect(self._settings) as analytics:
            for what in BOTH:
                task = analytics.task(what.value, backend=OWN_BACKEND)
                if any(found.active for found in task.backend.find()):
                    task.run_due()

    def _state(self) -> contextlib.closing[State]:
        return contextlib.closing(State(self._settings))


def purge(store: Embedded, settings: Settings, now: int, newest_series: int) -> int:
    """Remove raw rows older than `raw_retention`, once all of their windows are verified. Returns their number.

    Args:
        store: the embedded store.
        settings: how long raw rows are kept.
        now: the present, nanoseconds.
        newest_series: series up to this one may be removed with their last row.
    """
    rollups = [Rollup(store, TaskSpec.from_settings(settings, what)) for what in BOTH]
    limit = rollups[0].spec.floor(now - settings.pixel.raw_retention * NS)
    if all(rollup.oldest_raw(limit) is None for rollup in rollups):
        return 0
    if not all(_proved(rollup, limit, now) for rollup in rollups):
        return 0
    gone = store.purge(settings.raw_bucket, [rollup.spec.source for rollup in rollups], limit)
    store.remove_unused_series(newest_series)
    log.info("%d raw rows of before %s were removed; their windows are kept", gone, format_instant(limit))
    return gone


def _proved(rollup: Rollup, limit: int, now: int) -> bool:
    """The windows before `limit` are what the raw rows say; made so first, where they are not."""
    oldest = rollup.oldest_raw(limit)
    if oldest is None:
        return True
    found = verify(rollup, oldest, limit, now)
    if not found.clean:
        recompute(rollup, found.spans)
        found = verify(rollup, oldest, limit, now)
    if not found.clean:
        log.error("raw rows of before %s are kept: %d windows of %s are not what they say",
                  format_instant(limit), found.count, rollup.spec.measurement)  # fmt: skip
    return found.clean
