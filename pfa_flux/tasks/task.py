"""A downsampling task, from installation to removal: the result of `Analytics.task()`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pfa_flux import registry
from pfa_flux.deprecated import renamed
from pfa_flux.engines.base import Engine, Span
from pfa_flux.errors import CapabilityError, TaskError
from pfa_flux.schema import Side
from pfa_flux.settings import Settings
from pfa_flux.tasks import clock
from pfa_flux.tasks.install import Installation, install
from pfa_flux.tasks.passes import make_pass
from pfa_flux.tasks.plan import Plan, plan
from pfa_flux.tasks.runners.base import Backend, Installed, Run
from pfa_flux.tasks.runners.own import Runner
from pfa_flux.tasks.state import State, UpkeepNote
from pfa_flux.tasks.status import Status, status
from pfa_flux.times import format_instant
from pfa_flux.windows.ledger import Ledger, find_gaps
from pfa_flux.windows.ranges import merged
from pfa_flux.windows.recompute import Report, ignore_progress, recompute
from pfa_flux.windows.rollup import Rollup
from pfa_flux.windows.spec import TaskSpec
from pfa_flux.windows.upkeep import Upkeep, prove_range
from pfa_flux.windows.verify import Verification, verify


class Task:
    """A task for hits or for loads. Times are nanoseconds since the epoch."""

    touched = renamed("Task", "touched", "late_windows")
    repair_touched = renamed("Task", "repair_touched", "repair_all")

    def __init__(
        self, engine: Engine, state: State, settings: Settings, what: Side, backend: str, clock: Callable[[], int]
    ) -> None:
        self.spec = TaskSpec.from_settings(settings, what)
        self.rollup = Rollup(engine, self.spec)
        self._engine, self._state, self._clock = engine, state, clock
        self.backend = _backend(engine, state, settings, self.spec, backend)

    def plan(self) -> Plan:
        """What an installation would change. This changes nothing."""
        return plan(self._engine, self.backend, self.spec)

    def install(self, *, adopt: bool = False, create_bucket: bool = False) -> Installation:
        """Install or update the task, and prove it.

        Args:
            adopt: take over a task of the same name that pfa-flux did not create, and keep its rows.
            create_bucket: create the rollup bucket if it is missing.

        Raises:
            TaskError, CapabilityError, BucketNotFoundError, AccessDeniedError: see the message. The previous task is
                restored.
        """
        return install(self.rollup, self.backend, self._now(), adopt=adopt, create_bucket=create_bucket)

    def status(self, start: int) -> Status:
        """Status of the task and of every window since `start`."""
        made = status(self.rollup, self.backend, start, self._clock(), self.upkeep())
        return replace(made, summary="; ".join((made.summary, *self.raw_warnings())))

    def raw_warnings(self) -> list[str]:
        """Warnings about raw rows if the engine removes them itself: rows that arrived late, and rows kept for now."""
        late = self._engine.uncounted(self.spec.raw)
        warnings = []
        if late.waiting:
            warnings.append(f"{late.waiting} {self.spec.what} arrived too late to be counted, and will be removed")
        if late.dropped:
            day = format_instant(late.at)[:10]
            warnings.append(
                f"{late.dropped} {self.spec.what} arrived too late and were removed uncounted, last on {day}"
            )
        doubt = clock.doubt(clock.known(self._state)) if self._engine.capabilities.expires_proved else ""
        return [*warnings, *([doubt] if doubt else [])]

    def runs(self, limit: int = 20) -> list[Run]:
        """The newest recorded runs, newest first."""
        return self.backend.runs(self.installed(), limit)

    def logs(self, run: str = "") -> list[str]:
        """Lines of the log, oldest first. `run` is the id of one run; empty means all runs."""
        return self.backend.logs(self.installed(), run)

    def run(self) -> list[Span]:
        """Run now: the last closed windows or, with the runner, every due window.

        Returns:
            The recomputed ranges. Empty if nothing was due.

        Raises:
            TaskError: the task is not installed or disabled, or its run failed.
        """
        return self.backend.run_now(self.installed(), self._now())

    def run_due(self, *, accept_clock: bool | None = None) -> list[Span]:
        """Do what is due: with the runner, recompute windows; for a server's task, compare its windows with raw data.

        Args:
            accept_clock: true trusts the present clock for the removal of raw rows. That works once; false allows it
                again. None does neither.

        Returns:
            The compared ranges.

        Raises:
            TaskError: the task is not installed, disabled, or failed.
        """
        if accept_clock:
            clock.accept(self._state, self._clock())
        elif accept_clock is not None:
            clock.allow_accepting(self._state)
        if self.backend.name == registry.OWN_BACKEND:
            return self.run()
        return list(self.keep_up().ranges)

    def keep_up(self) -> Upkeep:
        """Compare the windows of a server's task with raw data, and repair late rows, rows of other writers, and gaps.

        The task itself computes the newest window.

        Raises:
            TaskError: the task is not installed.
            AccessDeniedError: the token lacks a right.
        """
        self.installed()
        now = self._now()
        return make_pass(self.rollup, self._state, self.spec.due(now) - self.spec.width, now)

    def disable(self) -> None:
        """Disable the task. It keeps its id and history."""
        task = self.installed()
        self.backend.update(task, task.text, active=False)

    def enable(self) -> None:
        """Enable the task. It does not recompute missed windows; use `backfill`."""
        task = self.installed()
        self.backend.update(task, task.text, active=True)

    def remove(self, task_id: str = "") -> list[str]:
        """Remove the task. Its rows stay.

        Args:
            task_id: the task's id, if several have the name.

        Returns:
            The ids of the removed tasks.

        Raises:
            TaskError: there is no task, or there are several and no id was given.
        """
        task = self.installed(task_id)
        self.backend.remove(task)
        return [task.id]

    def gaps(self, start: int, stop: int | None = None) -> Ledger:
        """Find windows in a range that do not match raw data."""
        now = self._now()
        return find_gaps(self.rollup, start, now if stop is None else stop, now)

    def backfill(self, start: int, stop: int | None = None, *, report: Report = ignore_progress) -> tuple[Ledger, int]:
        """Fill the gaps that `gaps` finds. After an interruption, another call continues. A repeated call does nothing.

        Returns:
            The gaps that were found, and the number of written rows.
        """
        ledger, now = self.gaps(start, stop), self._now()
        rows = recompute(self.rollup, ledger.to_fill, report=report)
        rows += prove_range(self.rollup, start, now if stop is None else stop, now)
        return ledger, rows

    def verify(self, start: int, stop: int | None = None, *, report: Report = ignore_progress) -> Verification:
        """Compare downsampled data with raw data, by window and page."""
        now = self._now()
        return verify(self.rollup, start, now if stop is None else stop, now, report=report)

    def repair(
        self, start: int, stop: int | None = None, *, lower: bool = False, report: Report = ignore_progress
    ) -> tuple[Verification, Verification]:
        """Verify, repair differences, and verify the repaired windows again.

        Args:
            start: start of the range, nanoseconds.
            stop: end of the range, by default the present.
            lower: also repair windows that now have fewer raw rows than when they were proved.
            report: called after every piece.

        Returns:
            The differences before and after the repair.
        """
        now = self._now()
        stop = now if stop is None else stop
        before = verify(self.rollup, start, stop, now, fix=True, lower=lower, report=report)
        if before.clean:
            return before, before
        # Only the first verification waits until the written rows are visible.
        again = [verify(self.rollup, low, high, now, waited=n > 0) for n, (low, high) in enumerate(before.ranges)]
        left = replace(
            before,
            count=sum(each.count for each in again),
            differences=tuple(difference for each in again for difference in each.differences),
            ranges=tuple(span for each in again for span in each.ranges),
        )
        return before, left

    def late_windows(self) -> list[int]:
        """Ends of the windows that received late rows."""
        return list(self._state.late_windows(self.spec).ends)

    def note_late(self, times: list[int]) -> None:
        """Note the times of raw rows that arrived after their windows were recomputed."""
        self._state.note_late(self.spec.raw_bucket, self.spec.source, times)

    def repair_all(self, *, lower: bool = False, report: Report = ignore_progress) -> list[Span]:
        """Repair all windows whose raw data is still kept, including windows that received late rows.

        Args:
            lower: also repair windows that now have fewer raw rows than when they were proved.
            report: called after every piece.

        Returns:
            The ranges of the windows that were wrong.
        """
        now, width = self._now(), self.spec.width
        kept_from, due = self.rollup.raw_kept_from(now), self.spec.due(now)
        late = [(end - width, end) for end in self.late_windows() if kept_from + width <= end <= due]
        done = make_pass(self.rollup, self._state, due, now, everything=True, lower=lower, report=report)
        return merged((*done.mended, *late))

    def upkeep(self) -> UpkeepNote | None:
        """The recorded result of comparing windows with raw data. None if this machine never compared them."""
        return self._state.upkeep(self.spec)

    def _now(self) -> int:
        """The present by the slower of this machine's and the engine's clock, so that no window closes too early."""
        return min(self._clock(), self._engine.now())

    def installed(self, task_id: str = "") -> Installed:
        """The installed task.

        Raises:
            TaskError: the task is not installed, or several tasks have the name and no id was given.
            AccessDeniedError: the token may not see tasks.
        """
        tasks = [task for task in self.backend.find() if task_id in ("", task.id)]
        if not tasks:
            hidden = self.backend.hidden()
            if hidden:
                raise hidden
            which = f" with the id {task_id}" if task_id else ""
            raise TaskError(f"the task {self.spec.name!r}{which} is not installed", "Run pfa-flux install-task first.")
        if len(tasks) > 1:
            ids = ", ".join(task.id for task in tasks)
            raise TaskError(
                f"{len(tasks)} tasks are named {self.spec.name!r} ({ids}), and each writes the same rows",
                "Remove all but one: pfa-flux task remove --id ID.",
            )
        return tasks[0]


def _backend(engine: Engine, state: State, settings: Settings, spec: TaskSpec, asked: str) -> Backend:
    """The backend that the caller or the settings choose. By default the engine's own, or pfa-flux if it has none.

    Raises:
        CapabilityError: the engine does not have the chosen backend.
    """
    has = engine.capabilities.tasks
    chosen = asked if asked != "auto" else settings.task.backend
    if chosen == "auto":
        chosen = has or registry.OWN_BACKEND
    if chosen == registry.OWN_BACKEND:
        return Runner(engine, state, spec, settings.url)
    if chosen != has:
        name = "Set Kapacitor's address with --kapacitor-url. " if engine.capabilities.kapacitor and not has else ""
        raise CapabilityError(
            f"{chosen} cannot run tasks here: this engine has {has or 'no such backend'}",
            f"{name}Omit --backend, or use --backend runner and run pfa-flux task run --due every 15 minutes.",
        )
    backend: Backend = registry.backend_module(chosen).open_backend(engine, settings, spec)
    return backend
