"""A downsampling task, from installation to removal: the result of `Analytics.task()`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pfa_flux import registry
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
from pfa_flux.windows.recompute import Report, nobody, recompute
from pfa_flux.windows.rollup import Rollup
from pfa_flux.windows.spec import TaskSpec
from pfa_flux.windows.upkeep import Upkeep, prove_range
from pfa_flux.windows.verify import Verification, verify


class Task:
    """A task for hits or for loads. Times are nanoseconds since the epoch."""

    def __init__(
        self, engine: Engine, state: State, settings: Settings, what: Side, backend: str, clock: Callable[[], int]
    ) -> None:
        self.spec = TaskSpec.from_settings(settings, what)
        self.rollup = Rollup(engine, self.spec)
        self._engine, self._state, self._clock = engine, state, clock
        self.backend = _backend(engine, state, settings, self.spec, backend)

    def plan(self) -> Plan:
        """What installing would change; changes nothing."""
        return plan(self._engine, self.backend, self.spec)

    def install(self, *, adopt: bool = False, create_bucket: bool = False) -> Installation:
        """Install or update the task, and prove it.

        Args:
            adopt: take over a task of the same name that pfa-flux did not create; its rows are kept.
            create_bucket: make the rollup bucket if it is missing.

        Raises:
            TaskError, CapabilityError, BucketNotFoundError, AccessDeniedError: see the message; the previous task is
                restored.
        """
        return install(self.rollup, self.backend, self._now(), adopt=adopt, create_bucket=create_bucket)

    def status(self, start: int) -> Status:
        """Status of the task and of every window since `start`."""
        found = status(self.rollup, self.backend, start, self._clock(), self.upkeep())
        return replace(found, summary="; ".join((found.summary, *self.raw_warnings())))

    def raw_warnings(self) -> list[str]:
        """Warnings about raw rows if the engine removes them itself: rows that arrived late, rows kept for now."""
        found = self._engine.uncounted(self.spec.raw)
        warnings = []
        if found.waiting:
            warnings.append(f"{found.waiting} {self.spec.what} arrived too late to be counted, and will be removed")
        if found.dropped:
            day = format_instant(found.at)[:10]
            warnings.append(
                f"{found.dropped} {self.spec.what} arrived too late and were removed uncounted, last on {day}"
            )
        doubt = clock.doubt(clock.known(self._state)) if self._engine.capabilities.expires_proved else ""
        return [*warnings, *([doubt] if doubt else [])]

    def runs(self, limit: int = 20) -> list[Run]:
        """The newest recorded runs, newest first."""
        return self.backend.runs(self.installed(), limit)

    def logs(self, run: str = "") -> list[str]:
        """Lines of the log, oldest first: of one run by its id, or of all."""
        return self.backend.logs(self.installed(), run)

    def run(self) -> list[Span]:
        """Run now: the last closed windows or, with the runner, every window that is due.

        Returns:
            Start and stop of the recomputed time; empty if nothing was due.

        Raises:
            TaskError: the task is not installed or disabled, or its run failed.
        """
        return self.backend.run_now(self.installed(), self._now())

    def run_due(self, *, accept_clock: bool | None = None) -> list[Span]:
        """Do what is due: as the runner recompute it; of a server's task compare what it made with raw data.

        Args:
            accept_clock: believe the clock as it is now, as far as raw rows are removed by it; false: it need not be,
                and may be at another time; None: neither.

        Returns:
            Start and stop of what was compared.

        Raises:
            TaskError: the task is not installed, disabled, or failed.
        """
        if accept_clock:
            clock.accept(self._state, self._clock())
        elif accept_clock is not None:
            clock.allow_accepting(self._state)
        if self.backend.name == registry.OWN_BACKEND:
            return self.run()
        return list(self.keep_up().spans)

    def keep_up(self) -> Upkeep:
        """Compare what a server's task made with raw data, and make it right: late rows, rows of others, gaps.

        The newest window is left to the task itself.

        Raises:
            TaskError: the task is not installed. AccessDeniedError: the token may not read or write what it takes.
        """
        self.installed()
        now = self._now()
        return make_pass(self.rollup, self._state, self.spec.due(now) - self.spec.width, now)

    def disable(self) -> None:
        """Disable the task; it keeps its id and history."""
        task = self.installed()
        self.backend.update(task, task.text, active=False)

    def enable(self) -> None:
        """Enable the task. It does not recompute missed windows; use `backfill`."""
        task = self.installed()
        self.backend.update(task, task.text, active=True)

    def remove(self, task_id: str = "") -> list[str]:
        """Remove the task; its rows stay.

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
        """Find windows of a range that are missing or short."""
        now = self._now()
        return find_gaps(self.rollup, start, now if stop is None else stop, now)

    def backfill(self, start: int, stop: int | None = None, *, report: Report = nobody) -> tuple[Ledger, int]:
        """Fill what `gaps` finds. After an interruption it continues; repeated, it does nothing.

        Returns:
            The gaps found, and the number of rows written.
        """
        found, now = self.gaps(start, stop), self._now()
        rows = recompute(self.rollup, found.to_fill, report=report)
        rows += prove_range(self.rollup, start, now if stop is None else stop, now)
        return found, rows

    def verify(self, start: int, stop: int | None = None, *, report: Report = nobody) -> Verification:
        """Compare downsampled data with raw data, by window and page."""
        now = self._now()
        return verify(self.rollup, start, now if stop is None else stop, now, report=report)

    def repair(
        self, start: int, stop: int | None = None, *, lower: bool = False, report: Report = nobody
    ) -> tuple[Verification, Verification]:
        """Verify, correct differences, and verify the corrected windows again.

        Args:
            start: the range; nanoseconds.
            stop: its end, the present by default.
            lower: make right even windows whose raw rows are fewer than when they were proved.
            report: called after every piece.

        Returns:
            The differences found, and those left.
        """
        now = self._now()
        stop = now if stop is None else stop
        before = verify(self.rollup, start, stop, now, fix=True, lower=lower, report=report)
        if before.clean:
            return before, before
        # What was written can be read once the first of them has waited for it.
        again = [verify(self.rollup, low, high, now, waited=n > 0) for n, (low, high) in enumerate(before.spans)]
        left = replace(
            before,
            count=sum(each.count for each in again),
            differences=tuple(difference for each in again for difference in each.differences),
            spans=tuple(span for each in again for span in each.spans),
        )
        return before, left

    def touched(self) -> list[int]:
        """Ends of the windows that late rows were noted for."""
        return list(self._state.late_windows(self.spec).ends)

    def note_late(self, times: list[int]) -> None:
        """Record raw rows of these times that arrived after their windows were recomputed."""
        self._state.note_late(self.spec.raw_bucket, self.spec.source, times)

    def repair_touched(self, *, lower: bool = False, report: Report = nobody) -> list[Span]:
        """Make all windows that raw data is kept of what it says, those that late rows were noted for among them.

        Args:
            lower: even those whose raw rows are fewer than when they were proved.
            report: called after every piece.

        Returns:
            The windows that were not right, as spans.
        """
        now, width = self._now(), self.spec.width
        known, due = self.rollup.known_from(now), self.spec.due(now)
        late = [(end - width, end) for end in self.touched() if known + width <= end <= due]
        done = make_pass(self.rollup, self._state, due, now, everything=True, lower=lower, report=report)
        return merged((*done.mended, *late))

    def upkeep(self) -> UpkeepNote | None:
        """What comparing windows with raw data has found, from this machine; None where that never was done."""
        return self._state.upkeep(self.spec)

    def _now(self) -> int:
        """The current time.

        If our clock is ahead of the engine's, use the engine's, so that no window closes too early.
        """
        return min(self._clock(), self._engine.now())

    def installed(self, task_id: str = "") -> Installed:
        """The installed task.

        Raises:
            TaskError: it is not, or there are several of the name and none was named.
            AccessDeniedError: the token may not see tasks.
        """
        found = [task for task in self.backend.find() if task_id in ("", task.id)]
        if not found:
            hidden = self.backend.hidden()
            if hidden:
                raise hidden
            which = f" with the id {task_id}" if task_id else ""
            raise TaskError(f"the task {self.spec.name!r}{which} is not installed", "Run pfa-flux install-task first.")
        if len(found) > 1:
            ids = ", ".join(task.id for task in found)
            raise TaskError(
                f"there are {len(found)} tasks named {self.spec.name!r} ({ids}), and each writes the same rows",
                "Remove all but one: pfa-flux task remove --id ID.",
            )
        return found[0]


def _backend(engine: Engine, state: State, settings: Settings, spec: TaskSpec, asked: str) -> Backend:
    """Who runs the task: whom the engine has, pfa-flux itself where it has nobody, or who was asked for.

    Raises:
        CapabilityError: who was asked for is not there.
    """
    has = engine.capabilities.tasks
    chosen = asked if asked != "auto" else settings.task.backend
    if chosen == "auto":
        chosen = has or registry.OWN_BACKEND
    if chosen == registry.OWN_BACKEND:
        return Runner(engine, state, spec, settings.url)
    if chosen != has:
        name = "Name Kapacitor's address with --kapacitor-url. " if engine.capabilities.kapacitor and not has else ""
        raise CapabilityError(
            f"tasks cannot be run by {chosen} here: this engine has {has or 'no such backend'}",
            f"{name}Leave --backend out, or use --backend runner and run pfa-flux task run --due every 15 minutes.",
        )
    backend: Backend = registry.backend_module(chosen).open_backend(engine, settings, spec)
    return backend
