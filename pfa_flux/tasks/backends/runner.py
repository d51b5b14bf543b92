"""pfa-flux itself as the one who runs tasks, where no server does: `pfa-flux task run --due`, every 15 minutes.

What it knows of its tasks and runs lies in the data directory's store: of the embedded engine that is the store
of the points, too.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from pfa_flux.engines.base import Engine
from pfa_flux.engines.embedded import Embedded
from pfa_flux.errors import PfaFluxError, TaskError
from pfa_flux.tasks.backends.base import BackendName, Installed, Run
from pfa_flux.tasks.ledger import known_from, look
from pfa_flux.tasks.recompute import recompute
from pfa_flux.tasks.rollup import oldest_raw
from pfa_flux.tasks.spans import Span, merged
from pfa_flux.tasks.spec import TaskSpec
from pfa_flux.tasks.touched import forget_touched, touched_windows
from pfa_flux.times import NS, format_duration, format_instant

_KEPT_RUNS = 500
_CATCH_UP = 7 * 86400 * NS
"""How far back every run looks for windows that are missing or short."""


class Runner:
    """The tasks that pfa-flux runs itself, for one engine."""

    def __init__(self, engine: Engine, store: Embedded, spec: TaskSpec, url: str) -> None:
        self._engine, self._store, self._spec = engine, store, spec
        key = "\n".join((url, spec.raw_bucket, spec.rollup_bucket, spec.name))
        self._id = hashlib.sha256(key.encode()).hexdigest()[:16]

    @property
    def name(self) -> BackendName:
        """Who it is."""
        return "runner"

    def text(self) -> str:
        """The spec, as the store keeps it."""
        return self._spec.as_json()

    def masked(self, text: str) -> str:
        """The same: it holds no secret."""
        return text

    def find(self) -> list[Installed]:
        """The task, where it is installed."""
        last = (
            "SELECT finished, error FROM run WHERE run.task = ?1 AND finished IS NOT NULL ORDER BY run.id DESC LIMIT 1"
        )
        rows = self._store.select("SELECT spec, active FROM task WHERE id = ?1", (self._id,))
        ended = self._store.select(last, (self._id,)) or [(None, "")]
        return [
            Installed(self._id, spec, bool(active), format_instant(ended[0][0]) if ended[0][0] else "", ended[0][1])
            for spec, active in rows
        ]

    def create(self) -> Installed:
        """Note it down."""
        with self._store.transaction() as connection:
            row = (self._id, self._spec.name, self.text())
            connection.execute("INSERT INTO task (id, name, spec, active) VALUES (?, ?, ?, 1)", row)
        return self.find()[0]

    def update(self, task: Installed, text: str, *, active: bool) -> None:
        """Give it another spec and status."""
        with self._store.transaction() as connection:
            connection.execute("UPDATE task SET spec = ?, active = ? WHERE id = ?", (text, int(active), task.id))

    def remove(self, task: Installed) -> None:
        """Forget it and its runs; the rows stay."""
        with self._store.transaction() as connection:
            connection.execute("DELETE FROM task WHERE id = ?", (task.id,))
            connection.execute("DELETE FROM run WHERE task = ?", (task.id,))

    def run(self, task: Installed, stop: int) -> None:
        """Put the last windows up to `stop` together, as a run of a server's task does."""
        self._logged(task.id, stop, lambda: [(stop - self._spec.reach, stop)])

    def run_due(self, task: Installed, now: int) -> list[Span]:
        """Put together every window that is due.

        That is what has closed since the last run, the lookback before it, windows of the last 7 days that are missing
        or short, and windows touched by late hits. The first run begins with the oldest raw row that is kept.

        Args:
            task: the installed task.
            now: the present, nanoseconds.

        Returns:
            Start and stop of what was put together, nanoseconds; none where nothing was due.

        Raises:
            TaskError: the task is disabled.
        """
        if not task.active:
            raise TaskError(f"the task {self._spec.name!r} is disabled", "Run pfa-flux task enable.")
        due = self._spec.due(now)
        spans = self._logged(task.id, due, lambda: self._due_spans(due))
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE task SET done_until = max(coalesce(done_until, ?1), ?1) WHERE id = ?2", (due, task.id)
            )
        forget_touched(self._store, self._spec, spans)
        return spans

    def _due_spans(self, due: int) -> list[Span]:
        spec = self._spec
        done = self._store.select("SELECT done_until FROM task WHERE id = ?", (self._id,))
        since = done[0][0] if done else None
        known = known_from(self._engine, spec, due + spec.offset * NS)
        if since is None:
            oldest = oldest_raw(self._engine, spec, due)
            return [] if oldest is None else [(max(known, spec.floor(oldest)), due)]
        recent = (min(since, due) - spec.reach, due)
        spans = [recent, *((end - spec.width, end) for end in touched_windows(self._store, spec) if end <= due)]
        low = max(known, due - _CATCH_UP)
        if low < recent[0]:
            spans += look(self._engine, spec, low, recent[0], due + spec.offset * NS).to_fill
        return merged((max(known, start), stop) for start, stop in spans)

    def _logged(self, task: str, stop: int, spans: Callable[[], list[Span]]) -> list[Span]:
        """Put spans together, as a run that is written down, whatever becomes of it."""
        with self._store.transaction() as connection:
            kept = "SELECT id FROM run WHERE task = ?1 ORDER BY id DESC LIMIT ?2"
            connection.execute(f"DELETE FROM run WHERE task = ?1 AND id NOT IN ({kept})", (task, _KEPT_RUNS))
            # The store is held by one process at a time: a run that has not ended by now never will.
            connection.execute(
                "UPDATE run SET finished = ?, error = 'broken off: the process was ended' "
                "WHERE task = ? AND finished IS NULL",
                (time.time_ns(), task),
            )
            run = connection.execute(
                "INSERT INTO run (task, scheduled_for, started, error, log) VALUES (?, ?, ?, '', '')",
                (task, stop, time.time_ns()),
            ).lastrowid
        lines, error = [], ""
        try:
            found = spans()
            for start, end in found:
                rows = recompute(self._engine, self._spec, [(start, end)])
                windows = (end - start) // self._spec.width
                lines.append(
                    f"{format_instant(start)} to {format_instant(end)}: {windows} windows, {rows} rows written"
                )
        except PfaFluxError as failure:
            error = failure.message
            raise
        finally:
            with self._store.transaction() as connection:
                ended = (time.time_ns(), error, "\n".join(lines), run)
                connection.execute("UPDATE run SET finished = ?, error = ?, log = ? WHERE id = ?", ended)
        return found

    def runs(self, task: Installed, limit: int) -> list[Run]:
        """The newest runs, newest first."""
        rows = self._store.select(
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
        rows = self._store.select("SELECT id, started, log, error FROM run WHERE task = ? ORDER BY id", (task.id,))
        return [
            f"{format_instant(started)} {line}"
            for number, started, log, error in rows
            if run in ("", str(number))
            for line in (*log.splitlines(), *([f"failed: {error}"] if error else []))
        ]

    @property
    def advice(self) -> str:
        """What has to be set up for the task to run."""
        return f"Have `pfa-flux task run --due` run every {format_duration(self._spec.every)}, by cron or systemd."
