"""pfa-flux itself as a backend, if no server runs tasks: `pfa-flux task run --due`, every 15 minutes.

Its tasks and runs are recorded in the data directory (`pfa_flux.tasks.state`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from pfa_flux.engines.base import Engine, Span
from pfa_flux.errors import AccessDeniedError, BucketNotFoundError, PfaFluxError, TaskError
from pfa_flux.registry import OWN_BACKEND
from pfa_flux.tasks.passes import make_pass
from pfa_flux.tasks.runners.base import Installed, Neighbour, Run
from pfa_flux.tasks.state import State
from pfa_flux.times import NS, format_duration, format_instant
from pfa_flux.windows.recompute import recompute
from pfa_flux.windows.rollup import Rollup
from pfa_flux.windows.spec import TaskSpec
from pfa_flux.windows.upkeep import Upkeep

_KEPT_RUNS = 500


class Runner:
    """The tasks that pfa-flux runs itself, for one engine."""

    def __init__(self, engine: Engine, state: State, spec: TaskSpec, url: str) -> None:
        self._state, self._spec = state, spec
        self._rollup = Rollup(engine, spec)
        key = "\n".join((url, spec.raw_bucket, spec.rollup_bucket, spec.name))
        self._id = hashlib.sha256(key.encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """Backend name."""
        return OWN_BACKEND

    def text(self) -> str:
        """The spec as JSON."""
        return self._spec.as_json()

    def masked(self, text: str) -> str:
        """The same text: it contains no secret."""
        return text

    def find(self) -> list[Installed]:
        """The task, if it is installed."""
        last = (
            "SELECT finished, error FROM run WHERE run.task = ?1 AND finished IS NOT NULL ORDER BY run.id DESC LIMIT 1"
        )
        rows = self._state.select("SELECT spec, active FROM task WHERE id = ?1", (self._id,))
        ended = self._state.select(last, (self._id,)) or [(None, "")]
        return [
            Installed(self._id, spec, bool(active), format_instant(ended[0][0]) if ended[0][0] else "", ended[0][1])
            for spec, active in rows
        ]

    def hidden(self) -> AccessDeniedError | None:
        """Why the task may be recorded elsewhere: only a token that may write the rollup bucket can run it."""
        bucket = self._spec.rollup_bucket
        try:
            self._rollup.engine.probe_write(bucket)
        except BucketNotFoundError:
            return None
        except AccessDeniedError as error:
            return AccessDeniedError(
                f"the token may not write {bucket!r}: if pfa-flux runs {self._spec.name!r}, it runs it elsewhere",
                error.hint,
            )
        return None

    def probe(self) -> None:
        """Do nothing: every user who may write to the data directory may create tasks."""

    def neighbours(self) -> list[Neighbour]:
        """No tasks: the records have only tasks of pfa-flux."""
        return []

    def create(self) -> Installed:
        """Record the task."""
        with self._state.transaction() as connection:
            row = (self._id, self._spec.name, self.text())
            connection.execute("INSERT INTO task (id, name, spec, active) VALUES (?, ?, ?, 1)", row)
        return self.find()[0]

    def update(self, task: Installed, text: str, *, active: bool) -> None:
        """Change the spec and status of the task."""
        with self._state.transaction() as connection:
            connection.execute("UPDATE task SET spec = ?, active = ? WHERE id = ?", (text, int(active), task.id))

    def remove(self, task: Installed) -> None:
        """Remove the records of the task and its runs. Its rows stay."""
        with self._state.transaction() as connection:
            connection.execute("DELETE FROM task WHERE id = ?", (task.id,))
            connection.execute("DELETE FROM run WHERE task = ?", (task.id,))

    def run(self, task: Installed, stop: int) -> None:
        """Recompute the last windows up to `stop`, as a server's task does."""

        def recomputed() -> Upkeep:
            span = stop - self._spec.reach, stop
            return Upkeep((span,), rows=recompute(self._rollup, [span]))

        with self._state.running():
            self._logged(task.id, stop, recomputed)

    def run_now(self, task: Installed, now: int) -> list[Span]:
        """Make every window that is due match raw data.

        These are windows closed since the last run, the lookback before it, windows that received late rows, and
        windows that changed since they were proved (`pfa_flux.windows.upkeep`).

        Args:
            task: the installed task.
            now: the present, nanoseconds.

        Returns:
            The ranges that were compared with raw data, nanoseconds. Empty if nothing was due.

        Raises:
            TaskError: the task is disabled.
        """
        if not task.active:
            raise TaskError(f"the task {self._spec.name!r} is disabled", "Run pfa-flux task enable.")
        due, spec = self._spec.due(now), self._spec
        with self._state.running():
            # A server expires raw rows by its own clock. Windows whose rows have expired must not be recomputed.
            present = max(due + spec.offset * NS, self._rollup.engine.now())
            recent = [(due - spec.reach, due)]
            done = self._logged(
                task.id, due, lambda: make_pass(self._rollup, self._state, due, now, known_at=present, recent=recent)
            )
        return list(done.ranges)

    def _logged(self, task: str, stop: int, work: Callable[[], Upkeep]) -> Upkeep:
        """Do the work, and record it as a run, even if it fails."""
        with self._state.transaction() as connection:
            kept = "SELECT id FROM run WHERE task = ?1 ORDER BY id DESC LIMIT ?2"
            connection.execute(f"DELETE FROM run WHERE task = ?1 AND id NOT IN ({kept})", (task, _KEPT_RUNS))
            # Only one process at a time runs tasks, so an earlier run without an end was interrupted.
            connection.execute(
                "UPDATE run SET finished = ?, error = 'interrupted: the process was ended' "
                "WHERE task = ? AND finished IS NULL",
                (time.time_ns(), task),
            )
            run = connection.execute(
                "INSERT INTO run (task, scheduled_for, started, error, log) VALUES (?, ?, ?, '', '')",
                (task, stop, time.time_ns()),
            ).lastrowid
        lines, error = [], ""
        try:
            done = work()
            width = self._spec.width
            lines = [
                f"{format_instant(start)} to {format_instant(end)}: {(end - start) // width} windows"
                for start, end in done.ranges
            ]
            lines += [f"{done.rows} rows written"] if done.ranges else []
        except PfaFluxError as failure:
            error = failure.message
            raise
        finally:
            with self._state.transaction() as connection:
                ended = (time.time_ns(), error, "\n".join(lines), run)
                connection.execute("UPDATE run SET finished = ?, error = ?, log = ? WHERE id = ?", ended)
        return done

    def runs(self, task: Installed, limit: int) -> list[Run]:
        """The newest runs, newest first."""
        rows = self._state.select(
            "SELECT id, scheduled_for, started, finished, error FROM run WHERE task = ? ORDER BY id DESC LIMIT ?",
            (task.id, limit),
        )
        return [
            Run(
                str(run),
                format_instant(due),
                "started" if finished is None else "failed" if error else "success",
                format_instant(started),
                format_instant(finished) if finished is not None else "",
                error,
            )
            for run, due, started, finished, error in rows
        ]

    def logs(self, task: Installed, run: str = "") -> list[str]:
        """Lines of the log, oldest first."""
        rows = self._state.select("SELECT id, started, log, error FROM run WHERE task = ? ORDER BY id", (task.id,))
        return [
            f"{format_instant(started)} {line}"
            for number, started, log, error in rows
            if run in ("", str(number))
            for line in (*log.splitlines(), *([f"failed: {error}"] if error else []))
        ]

    @property
    def advice(self) -> str:
        """What has to be set up for the task to run."""
        return f"Run `pfa-flux task run --due` every {format_duration(self._spec.every)}, by cron or systemd."
