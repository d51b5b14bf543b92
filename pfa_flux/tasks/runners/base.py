"""The Protocol of the backends that run tasks: InfluxDB, Kapacitor, or pfa-flux itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pfa_flux.engines.base import Span
from pfa_flux.errors import AccessDeniedError, TaskError


@dataclass(frozen=True, slots=True)
class Installed:
    """An installed task in its backend.

    Attributes:
        id: id of the task.
        text: Flux of the task, including any token. For the runner, the spec.
        active: whether the task is enabled.
        last_run: RFC 3339 time of the last finished run. Empty before the first.
        last_error: error of that run. Empty if it succeeded.
    """

    id: str
    text: str
    active: bool
    last_run: str = ""
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A task of another name that downsamples the same page views into the same rollup bucket.

    Attributes:
        name: name of the task.
        id: id of the task.
        origin: origin by its Flux: ours, altered, original or foreign (`task_flux.origin_of`).
        active: whether the task is enabled.
    """

    name: str
    id: str
    origin: str
    active: bool


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a task.

    Attributes:
        id: id of the run.
        scheduled_for: RFC 3339 time of the end of its windows.
        status: scheduled, started, success, failed or canceled.
        started: RFC 3339 time of its start; empty before that.
        finished: RFC 3339 time of its end; empty before that.
        error: error of the run. Empty if it did not fail.
    """

    id: str
    scheduled_for: str
    status: str
    started: str
    finished: str
    error: str = ""


_MEND = "Fix what the server reports, then try again."
_CONFLICT = "another program has written floats into the rollup bucket, but the task writes integers"


def in_words(said: str) -> str:
    """Why a run failed: the server's message, or a clearer sentence for a known one."""
    return _CONFLICT if "field type conflict" in said else said


def failed(said: str) -> TaskError:
    """The error for a failed run, with a hint."""
    why = in_words(said)
    hint = "Run pfa-flux task verify --repair, which turns them into integers." if why == _CONFLICT else _MEND
    return TaskError(f"the run failed: {why}", hint)


class Backend(Protocol):
    """A backend that runs tasks, limited to one task name."""

    @property
    def name(self) -> str:
        """Backend name: influxdb, kapacitor or runner."""

    def text(self) -> str:
        """The task's intended text, including secrets."""

    def masked(self, text: str) -> str:
        """A task's text without secrets, for display."""

    def find(self) -> list[Installed]:
        """The tasks with the name. There may be several."""

    def hidden(self) -> AccessDeniedError | None:
        """Why `find` may not list existing tasks. None if it lists them all."""

    def probe(self) -> None:
        """Check the right to create tasks, without creating one.

        Raises:
            AccessDeniedError: the token lacks the right.
        """

    def neighbours(self) -> list[Neighbour]:
        """Tasks of other names that write the same rows."""

    def create(self) -> Installed:
        """Create the task and enable it."""

    def update(self, task: Installed, text: str, *, active: bool) -> None:
        """Change the text and status of a task. It keeps its id and history."""

    def remove(self, task: Installed) -> None:
        """Delete a task. Its rows stay."""

    def run(self, task: Installed, stop: int) -> None:
        """Run the task as if the time were `stop` (nanoseconds, the end of a window), and wait until the run ends.

        Raises:
            TaskError: the run failed or did not end in time. The error has the server's message.
        """

    def run_now(self, task: Installed, now: int) -> list[Span]:
        """Run the task now. A server recomputes the windows of a run at `now` (nanoseconds), the runner all due ones.

        Returns:
            The recomputed ranges.

        Raises:
            TaskError: the run failed, or the task is disabled.
        """

    @property
    def advice(self) -> str:
        """What to set up so that the task runs. Empty if a server runs it."""

    def runs(self, task: Installed, limit: int) -> list[Run]:
        """The newest recorded runs, newest first. InfluxDB keeps them for 72 h."""

    def logs(self, task: Installed, run: str = "") -> list[str]:
        """Lines of the log of one run or of all recorded runs, oldest first."""
