"""What has to be done now and then: downsampling where nobody else does it, and letting go of old raw rows."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from pfa_flux.engines.sqlite import Embedded
from pfa_flux.engines.sqlite.proofs import DAY
from pfa_flux.engines.sqlite.purge import Counted, census, close_window, drop_late, remove_prefetches
from pfa_flux.errors import AccessDeniedError, BucketNotFoundError, PfaFluxError, SettingsError
from pfa_flux.registry import OWN_BACKEND
from pfa_flux.schema import BOTH, Side
from pfa_flux.settings import Settings
from pfa_flux.tasks.clock import accept, allow_accepting, doubt, look
from pfa_flux.tasks.state import State
from pfa_flux.tasks.task import Task
from pfa_flux.times import NS, format_instant
from pfa_flux.windows.recompute import recompute
from pfa_flux.windows.rollup import Rollup
from pfa_flux.windows.spec import TaskSpec
from pfa_flux.windows.upkeep import prove_days
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
        accept_clock: bool = False,
        tell: Callable[[dict[str, Any]], None] = lambda _: None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Make it.

        Args:
            settings: whose task it is.
            wait: waits for seconds; true: stop.
            lock: of the embedded store, where the process that serves holds it; None where there is an InfluxDB.
            newest_series: series of the store up to this one belong to nobody who still writes.
            accept_clock: believe the clock of the start.
            tell: told of what comparing windows with raw data has found, after each pass.
            clock: the present, nanoseconds.
        """
        self._settings, self._wait, self._lock, self._clock = settings, wait, lock, clock
        self._newest_series, self._accept_clock, self._tell = newest_series, accept_clock, tell
        self._spec = TaskSpec.from_settings(settings)
        self._done = 0
        self._said = ""
        self._looked = self._doubted = self._cannot_compare = False

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
        """Recompute what is due or compare what a server made, then remove raw rows that have had their time.

        Raises:
            PfaFluxError: it failed; it is tried again.
        """
        if self._settings.url:
            self._run_due()
        else:
            self._run_embedded()

    def _tell_upkeep(self, tasks: Sequence[Task]) -> None:
        notes = {task.spec.what.value: task.upkeep() for task in tasks}
        self._tell({"upkeep": {what: asdict(note) for what, note in notes.items() if note}})

    def _run_embedded(self) -> None:
        with contextlib.closing(Embedded(self._settings, lock=self._lock)) as store, self._state() as state:
            believed = self._believes_clock(store, state)
            # Both, whatever `[task] loads` says: raw rows are removed once the windows of both sides are proved.
            tasks = [Task(store, state, self._settings, what, OWN_BACKEND, self._clock) for what in BOTH]
            for task in tasks:
                if not task.backend.find():
                    task.install()
                if task.installed().active:
                    task.run_due()
            self._tell_upkeep(tasks)
            if believed:
                purge(store, self._settings, self._clock(), self._newest_series)

    def _believes_clock(self, store: Embedded, state: State) -> bool:
        """The clock may be believed, as far as raw rows are removed by it; says so once where it may not."""
        now = self._clock()
        if not self._looked:
            if self._accept_clock:
                accept(state, now)
            else:
                allow_accepting(state)
        rollups = _rollups(store, self._settings)

        def newest(start: int, stop: int) -> int | None:
            rows = (rollup.newest_raw(start, stop) for rollup in rollups)
            return max((row for row in rows if row is not None), default=None)

        words = doubt(look(state, now, newest))
        if words and not self._doubted:
            log.warning("%s", words)
        elif self._doubted and not words:
            log.warning("the clock is believed again: raw rows are removed as before")
        self._looked, self._doubted = True, bool(words)
        return not words

    def _run_due(self) -> None:
        """Of a server: run the tasks that pfa-flux runs itself, compare what the server's own have made."""
        with self._state() as state:
            own = bool(state.select("SELECT 1 FROM task WHERE active"))
        if self._cannot_compare and not own:
            return
        from pfa_flux.analytics import connect

        try:
            with connect(self._settings) as analytics:
                tasks = [analytics.task(what, backend=OWN_BACKEND) for what in self._settings.task.sides]
                for task in tasks:
                    if any(found.active for found in task.backend.find()):
                        task.run_due()
                    elif not self._cannot_compare:
                        self._compare(analytics.task(task.spec.what))
                self._tell_upkeep(tasks)
        except (AccessDeniedError, BucketNotFoundError, SettingsError) as error:
            if own:
                raise
            self._leave_comparing_to_others(error.message)

    def _compare(self, task: Task) -> None:
        """Compare what a server's task has made with raw data, where the token may."""
        if task.backend.name == OWN_BACKEND or not any(found.active for found in task.backend.find()):
            return
        try:
            task.keep_up()
        except (AccessDeniedError, BucketNotFoundError) as error:
            self._leave_comparing_to_others(error.message)

    def _leave_comparing_to_others(self, why: str) -> None:
        """The token may only write, as a pixel's mostly may."""
        self._cannot_compare = True
        log.info("windows are not compared with raw data here (%s); pfa-flux task run --due does that elsewhere", why)

    def _state(self) -> contextlib.closing[State]:
        return contextlib.closing(State(self._settings))


def purge(store: Embedded, settings: Settings, now: int, newest_series: int) -> int:
    """Remove raw rows older than `raw_retention`, once all of their windows are proved. Returns their number.

    Numbers of prefetches are in no window, and go with their age alone.

    Rows that arrived when those of their windows had been removed are in no window, and are removed and counted apart.

    Args:
        store: the embedded store.
        settings: how long raw rows are kept.
        now: the present, nanoseconds.
        newest_series: series up to this one may be removed with their last row.
    """
    rollups = _rollups(store, settings)
    bucket, spec = settings.raw_bucket, rollups[0].spec
    windows, sources = [r.spec.windows for r in rollups], [r.spec.source for r in rollups]
    limit = spec.floor(now - settings.pixel.raw_retention * NS)
    close_window(store, store.table(bucket), windows)
    remove_prefetches(store, limit)
    for rollup in rollups:
        if dropped := drop_late(store, rollup.spec.raw, limit, now):
            log.warning(
                "%d raw rows of %s were removed uncounted: they arrived when those of their windows had been removed",
                dropped,
                rollup.spec.source,
            )
    # Counted before and apart from what is compared, and never an empty proof of rows that are there.
    since = spec.ceiling(store.kept_since(bucket, now))
    counted = census(store, store.table(bucket), sources, since, limit)
    if counted and not all(_proved(rollup, limit, now, counted) for rollup in rollups):
        return 0
    # Without any there may be what a removal that was broken off has left of its last window.
    gone = store.purge(bucket, sources, limit, proved=windows)
    if not gone and counted:
        log.warning("raw rows of before %s are kept for now: their windows have just changed", format_instant(limit))
    if not gone:
        return 0
    store.remove_unused_series(newest_series)
    log.info("%d raw rows of before %s were removed; their windows are kept", gone, format_instant(limit))
    return gone


def _rollups(store: Embedded, settings: Settings) -> list[Rollup]:
    return [Rollup(store, TaskSpec.from_settings(settings, what)) for what in BOTH]


def _views(spec: TaskSpec, counted: Sequence[Counted]) -> int:
    """Page views among raw rows. Other rows of their measurement are removed with them, and are in no window."""
    return sum(
        row.rows if spec.what is Side.LOADS else int(row.total)
        for row in counted
        if (row.measurement, row.field) == (spec.source, spec.source_field) and row.action not in spec.excluded_actions
    )


def _proved(rollup: Rollup, limit: int, now: int, counted: Sequence[Counted]) -> bool:
    """The windows before `limit` are what the raw rows say; made so first, where they are not."""
    spec, views = rollup.spec, _views(rollup.spec, counted)
    oldest = rollup.oldest_raw(limit)
    if oldest is not None:
        found = verify(rollup, oldest, limit, now)
        if not found.clean:
            recompute(rollup, found.spans)
            found = verify(rollup, oldest, limit, now)
        if not found.clean:
            log.error("raw rows of before %s are kept: %d windows of %s are not what they say",
                      format_instant(limit), found.count, spec.measurement)  # fmt: skip
            return False
        views -= found.counted
    if views > 0:
        log.error("raw rows of before %s are kept: %d page views of %s were not compared with their windows",
                  format_instant(limit), views, spec.source)  # fmt: skip
        return False
    first = spec.floor(min(row.first for row in counted))
    prove_days(rollup, first // DAY * DAY, limit, now)
    return True
