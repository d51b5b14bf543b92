"""Periodic work: downsampling if nothing else does it, and removing old raw rows."""

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
from pfa_flux.tasks.clock import accept, allow_accepting, check, doubt
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
"""Seconds between two checks for due work."""


class Housekeeper:
    """Does due work until `wait` returns true."""

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
        """Create it.

        Args:
            settings: settings of the tasks.
            wait: waits for a number of seconds. Returns true to stop.
            lock: handle of the embedded store's lock, which the serving process holds; None with InfluxDB.
            newest_series: no running process writes to series of the store up to this one.
            accept_clock: trust the clock at the start.
            tell: receives the results of comparing windows with raw data, after each pass.
            clock: returns the current time, nanoseconds.
        """
        self._settings, self._wait, self._lock, self._clock = settings, wait, lock, clock
        self._newest_series, self._accept_clock, self._tell = newest_series, accept_clock, tell
        self._spec = TaskSpec.from_settings(settings)
        self._done = 0
        self._said = ""
        self._clock_checked = self._doubted = self._cannot_compare = False

    def run(self) -> None:
        """Do due work, wait, and repeat."""
        while True:
            due = self._spec.due(self._clock())
            if due != self._done:
                try:
                    self.once()
                    self._done = due
                    self._said = ""
                except PfaFluxError as error:
                    # Log an error once, not with every attempt.
                    if error.message != self._said:
                        log.error("due windows could not be downsampled: %s", error)
                    self._said = error.message
            if self._wait(EVERY):
                return

    def once(self) -> None:
        """Compute due windows, or compare those of a server's task. Then remove raw rows that have expired.

        Raises:
            PfaFluxError: it failed, and is tried again later.
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
            # Both sides, even with `[task] loads = false`: raw rows are removed once both sides' windows are proved.
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
        """Whether raw rows may be removed by this clock. Logs a doubt once."""
        now = self._clock()
        if not self._clock_checked:
            if self._accept_clock:
                accept(state, now)
            else:
                allow_accepting(state)
        rollups = _rollups(store, self._settings)

        def newest(start: int, stop: int) -> int | None:
            rows = (rollup.newest_raw(start, stop) for rollup in rollups)
            return max((row for row in rows if row is not None), default=None)

        reason = doubt(check(state, now, newest))
        if reason and not self._doubted:
            log.warning("%s", reason)
        elif self._doubted and not reason:
            log.warning("the clock is trusted again: raw rows are removed as before")
        self._clock_checked, self._doubted = True, bool(reason)
        return not reason

    def _run_due(self) -> None:
        """With a server: run the tasks that pfa-flux runs itself, and compare windows of the server's own tasks."""
        with self._state() as state:
            own = bool(state.select("SELECT 1 FROM task WHERE active"))
        if self._cannot_compare and not own:
            return
        from pfa_flux.analytics import connect

        try:
            with connect(self._settings) as analytics:
                tasks = [analytics.task(what, backend=OWN_BACKEND) for what in self._settings.task.sides]
                for task in tasks:
                    if any(installed.active for installed in task.backend.find()):
                        task.run_due()
                    elif not self._cannot_compare:
                        self._compare(analytics.task(task.spec.what))
                self._tell_upkeep(tasks)
        except (AccessDeniedError, BucketNotFoundError, SettingsError) as error:
            if own:
                raise
            self._leave_comparing_to_others(error.message)

    def _compare(self, task: Task) -> None:
        """Compare the windows of a server's task with raw data, if the token may read them."""
        if task.backend.name == OWN_BACKEND or not any(each.active for each in task.backend.find()):
            return
        try:
            task.keep_up()
        except (AccessDeniedError, BucketNotFoundError) as error:
            self._leave_comparing_to_others(error.message)

    def _leave_comparing_to_others(self, why: str) -> None:
        """Stop comparing: the token may only write, like that of most pixels."""
        self._cannot_compare = True
        log.info("windows are not compared with raw data here (%s); run pfa-flux task run --due elsewhere", why)

    def _state(self) -> contextlib.closing[State]:
        return contextlib.closing(State(self._settings))


def purge(store: Embedded, settings: Settings, now: int, newest_series: int) -> int:
    """Remove raw rows older than `raw_retention`, once all their windows are proved. Returns their number.

    Numbers of prefetches are in no window, so they are removed by age alone. Rows that arrived after those of their
    windows were removed are in no window either. They are removed, too, and their number is logged.

    Args:
        store: the embedded store.
        settings: retention of raw rows.
        now: the current time, nanoseconds.
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
                "%d raw rows of %s were removed uncounted: the other rows of their windows were removed earlier",
                dropped,
                rollup.spec.source,
            )
    # Count the rows before the comparison and independently of it, so that an empty comparison proves nothing.
    since = spec.ceiling(store.kept_since(bucket, now))
    counted = census(store, store.table(bucket), sources, since, limit)
    if counted and not all(_proved(rollup, limit, now, counted) for rollup in rollups):
        return 0
    # Even without rows to count, an interrupted removal may have left rows of its last window.
    gone = store.purge(bucket, sources, limit, proved=windows)
    if not gone and counted:
        log.warning("raw rows before %s are kept for now: their windows have just changed", format_instant(limit))
    if not gone:
        return 0
    store.remove_unused_series(newest_series)
    log.info("%d raw rows before %s were removed; their windows are kept", gone, format_instant(limit))
    return gone


def _rollups(store: Embedded, settings: Settings) -> list[Rollup]:
    return [Rollup(store, TaskSpec.from_settings(settings, what)) for what in BOTH]


def _views(spec: TaskSpec, counted: Sequence[Counted]) -> int:
    """Number of page views among raw rows. Other rows of the measurement are in no window, but are removed, too."""
    return sum(
        row.rows if spec.what is Side.LOADS else int(row.total)
        for row in counted
        if (row.measurement, row.field) == (spec.source, spec.source_field) and row.action not in spec.excluded_actions
    )


def _proved(rollup: Rollup, limit: int, now: int, counted: Sequence[Counted]) -> bool:
    """Whether the windows before `limit` match the raw rows. Recomputes them first if they do not."""
    spec, views = rollup.spec, _views(rollup.spec, counted)
    oldest = rollup.oldest_raw(limit)
    if oldest is not None:
        verification = verify(rollup, oldest, limit, now)
        if not verification.clean:
            recompute(rollup, verification.ranges)
            verification = verify(rollup, oldest, limit, now)
        if not verification.clean:
            log.error("raw rows before %s are kept: %d windows of %s do not match them",
                      format_instant(limit), verification.count, spec.measurement)  # fmt: skip
            return False
        views -= verification.counted
    if views > 0:
        log.error("raw rows before %s are kept: %d page views of %s were not compared with their windows",
                  format_instant(limit), views, spec.source)  # fmt: skip
        return False
    first = spec.floor(min(row.first for row in counted))
    prove_days(rollup, first // DAY * DAY, limit, now)
    return True
