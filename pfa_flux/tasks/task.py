"""A downsampling task for its whole life: what `Analytics.task()` gives."""

from __future__ import annotations

from collections.abc import Callable

from pfa_flux.engines.base import Engine
from pfa_flux.engines.embedded import Embedded
from pfa_flux.errors import CapabilityError, TaskError
from pfa_flux.settings import Settings
from pfa_flux.tasks.backends.base import Backend, Installed, Run
from pfa_flux.tasks.backends.runner import Runner
from pfa_flux.tasks.install import Installation, install
from pfa_flux.tasks.ledger import Ledger, known_from, look
from pfa_flux.tasks.plan import Plan, plan
from pfa_flux.tasks.recompute import Report, recompute
from pfa_flux.tasks.spans import Span
from pfa_flux.tasks.spec import TaskSpec, What
from pfa_flux.tasks.status import Status, status
from pfa_flux.tasks.touched import forget_touched, note_touched, touched_windows
from pfa_flux.tasks.verify import Verification, verify


class Task:
    """One task: of hits or of page loads. Times are nanoseconds since the epoch."""

    def __init__(
        self, engine: Engine, store: Embedded, settings: Settings, what: What, backend: str, clock: Callable[[], int]
    ) -> None:
        self.spec = TaskSpec.from_settings(settings, what)
        self._engine, self._store, self._clock = engine, store, clock
        self.backend = _backend(engine, store, settings, self.spec, backend)

    def plan(self) -> Plan:
        """What installing would change; changes nothing."""
        return plan(self._engine, self.backend, self.spec)

    def install(self, *, adopt: bool = False) -> Installation:
        """Install the task, or bring it up to date, and prove it.

        Args:
            adopt: take over a task of the name that was not made by pfa-flux; its rows are kept.

        Raises:
            TaskError, CapabilityError, BucketNotFoundError, AccessDeniedError: as their words say; what was there
                before is back.
        """
        return install(self._engine, self.backend, self.spec, self._now(), adopt=adopt)

    def status(self, start: int) -> Status:
        """How the task is doing, with every window since `start`."""
        return status(self._engine, self.backend, self.spec, start, self._clock())

    def runs(self, limit: int = 20) -> list[Run]:
        """The newest runs that are remembered, newest first."""
        return self.backend.runs(self.installed(), limit)

    def logs(self, run: str = "") -> list[str]:
        """Lines of the log, oldest first: of one run by its id, or of all."""
        return self.backend.logs(self.installed(), run)

    def run(self) -> list[Span]:
        """Run now: the last windows that are closed; of the runner every window that is due.

        Returns:
            Start and stop of what was put together; none where nothing was due.

        Raises:
            TaskError: the task is not installed or disabled, or its run failed.
        """
        task, now = self.installed(), self._now()
        if isinstance(self.backend, Runner):
            return self.backend.run_due(task, now)
        stop = self.spec.due(now)
        self.backend.run(task, stop)
        return [(stop - self.spec.reach, stop)]

    def run_due(self) -> list[Span]:
        """Put together what is due, as the runner.

        Raises:
            CapabilityError: a server runs the task. TaskError: it is not installed, disabled, or failed.
        """
        if not isinstance(self.backend, Runner):
            raise CapabilityError(
                f"{self.backend.name} runs the task {self.spec.name!r} by itself",
                "Leave --due out to force a run, or say --backend runner.",
            )
        return self.backend.run_due(self.installed(), self._now())

    def disable(self) -> None:
        """Let the task rest; it keeps its id and history."""
        task = self.installed()
        self.backend.update(task, task.text, active=False)

    def enable(self) -> None:
        """Let it run again. What it has missed it does not make up for: that is for `backfill`."""
        task = self.installed()
        self.backend.update(task, task.text, active=True)

    def remove(self, task_id: str = "") -> list[str]:
        """Remove the task; its rows stay.

        Args:
            task_id: which, where there are several of the name.

        Returns:
            The ids of those that were removed.

        Raises:
            TaskError: there is none, or several and none was named.
        """
        task = self.installed(task_id)
        self.backend.remove(task)
        return [task.id]

    def gaps(self, start: int, stop: int | None = None) -> Ledger:
        """Which windows of a range are missing or short."""
        now = self._now()
        return look(self._engine, self.spec, start, now if stop is None else stop, now)

    def backfill(self, start: int, stop: int | None = None, *, report: Report = lambda _: None) -> tuple[Ledger, int]:
        """Fill what `gaps` finds. Broken off, it goes on where it was; done again, it does nothing.

        Returns:
            What was found before, and the number of rows written.
        """
        found = self.gaps(start, stop)
        return found, recompute(self._engine, self.spec, found.to_fill, report=report)

    def verify(self, start: int, stop: int | None = None, *, report: Report = lambda _: None) -> Verification:
        """Compare raw with downsampled data, window by window and page by page."""
        now = self._now()
        return verify(self._engine, self.spec, start, now if stop is None else stop, now, report=report)

    def repair(
        self, start: int, stop: int | None = None, *, report: Report = lambda _: None
    ) -> tuple[Verification, Verification]:
        """Verify, make right what differs, and verify again. Returns both verifications."""
        before = self.verify(start, stop, report=report)
        recompute(self._engine, self.spec, before.spans, report=report)
        return before, self.verify(start, stop, report=report) if before.spans else before

    def touched(self) -> list[int]:
        """Ends of the windows that late rows were noted for."""
        return touched_windows(self._store, self.spec)

    def note_late(self, times: list[int]) -> None:
        """Note that raw rows of these times have come in after their windows were put together."""
        note_touched(self._store, self.spec.raw_bucket, self.spec.source, times)

    def repair_touched(self, *, report: Report = lambda _: None) -> list[Span]:
        """Put the windows together again that late rows were noted for. Returns them."""
        now = self._now()
        known, due = known_from(self._engine, self.spec, now), self.spec.due(now)
        width = self.spec.width
        ends = [end for end in self.touched() if end <= due]
        wanted = [(end - width, end) for end in ends if end - width >= known]
        recompute(self._engine, self.spec, wanted, report=report)
        # What has expired can never be put together, and is not asked for again.
        forget_touched(self._store, self.spec, [(end - width, end) for end in ends])
        return wanted

    def _now(self) -> int:
        """The present: where our clock is ahead of the engine's, no window is closed that is still open there."""
        return min(self._clock(), self._engine.now())

    def installed(self, task_id: str = "") -> Installed:
        """The task as it is installed.

        Raises:
            TaskError: it is not, or there are several of the name and none was named.
        """
        found = [task for task in self.backend.find() if task_id in ("", task.id)]
        if not found:
            which = f" with the id {task_id}" if task_id else ""
            raise TaskError(f"the task {self.spec.name!r}{which} is not installed", "Run pfa-flux install-task first.")
        if len(found) > 1:
            ids = ", ".join(task.id for task in found)
            raise TaskError(
                f"there are {len(found)} tasks named {self.spec.name!r} ({ids}), and each writes the same rows",
                "Remove all but one: pfa-flux task remove --id ID.",
            )
        return found[0]


def _backend(engine: Engine, store: Embedded, settings: Settings, spec: TaskSpec, asked: str) -> Backend:
    """Who runs the task: whom the engine has, pfa-flux itself where it has nobody, or who was asked for.

    Raises:
        CapabilityError: who was asked for is not there.
    """
    has = engine.capabilities.tasks
    chosen = asked if asked != "auto" else settings.task.backend
    if chosen == "auto":
        chosen = has or "runner"
    if chosen == "runner":
        return Runner(engine, store, spec, settings.url)
    if chosen != has:
        raise CapabilityError(
            f"tasks cannot be run by {chosen} here: this engine has {has or 'nobody who runs them'}",
            "Leave --backend out, or say --backend runner and run pfa-flux task run --due every 15 minutes.",
        )
    # Imported here: they bring the HTTP client along.
    from pfa_flux.engines.detect import kapacitor_transport
    from pfa_flux.engines.influxdb2 import InfluxDB2
    from pfa_flux.tasks.backends.server import InfluxDBTasks, KapacitorTasks

    if isinstance(engine, InfluxDB2):
        return InfluxDBTasks(engine.transport, spec)
    cut = engine.capabilities.range_takes_stop
    return KapacitorTasks(kapacitor_transport(settings), spec, settings.url, settings.token, cut=cut)
