"""The programs that run tasks: InfluxDB, Kapacitor, or pfa-flux itself. One Protocol for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pfa_flux.engines.base import Span
from pfa_flux.errors import AccessDeniedError, TaskError


@dataclass(frozen=True, slots=True)
class Installed:
    """An installed task, as its backend has it.

    Attributes:
        id: its id there.
        text: its Flux, including any token; for the runner, the spec.
        active: the task is not disabled.
        last_run: RFC 3339 time of the last finished run; empty before the first.
        last_error: error of that run; empty if it succeeded.
    """

    id: str
    text: str
    active: bool
    last_run: str = ""
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A task of another name that makes rows in the same rollup bucket of the same page views.

    Attributes:
        name: its name.
        id: its id.
        origin: whose it is by its Flux: ours, altered, original or foreign (`task_flux.origin_of`).
        active: it is not disabled.
    """

    name: str
    id: str
    origin: str
    active: bool


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a task.

    Attributes:
        id: its id.
        scheduled_for: RFC 3339 time of the end of its windows.
        status: scheduled, started, success, failed or canceled.
        started: RFC 3339 time of its start; empty before that.
        finished: RFC 3339 time of its end; empty before that.
        error: its error; empty without one.
    """

    id: str
    scheduled_for: str
    status: str
    started: str
    finished: str
    error: str = ""


_MEND = "Fix what the server reports, then try again."
_CONFLICT = "others have written floats into the rollup bucket, where the task writes integers"


def in_words(said: str) -> str:
    """Why a run failed: what the server said, or one sentence where it is known what that means."""
    return _CONFLICT if "field type conflict" in said else said


def failed(said: str) -> TaskError:
    """The error of a run that failed, with what to do."""
    why = in_words(said)
    hint = "Run pfa-flux task verify --repair, which makes integers of them." if why == _CONFLICT else _MEND
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
        """The tasks of the name; names need not be unique."""

    def hidden(self) -> AccessDeniedError | None:
        """Why tasks that there may be are not listed; None: there are no others than `find` gives."""

    def probe(self) -> None:
        """Ask for the right to make tasks, and make none.

        Raises:
            AccessDeniedError: the token has it not.
        """

    def neighbours(self) -> list[Neighbour]:
        """Tasks of other names that make the same rows."""

    def create(self) -> Installed:
        """Make the task, active."""

    def update(self, task: Installed, text: str, *, active: bool) -> None:
        """Give a task another text and status; it keeps its id and history."""

    def remove(self, task: Installed) -> None:
        """Delete a task; its rows stay."""

    def run(self, task: Installed, stop: int) -> None:
        """Run the task as if the time were `stop` (nanoseconds, a window's end), and wait for the run's end.

        Raises:
            TaskError: the run failed or did not end in time; with the server's words.
        """

    def run_now(self, task: Installed, now: int) -> list[Span]:
        """Run it: of a server's task the windows that a run at `now` (nanoseconds) recomputes, else all that are due.

        Returns:
            What was recomputed.

        Raises:
            TaskError: the run failed, or the task is disabled.
        """

    @property
    def advice(self) -> str:
        """What to set up so that the task runs; empty if a server runs it."""

    def runs(self, task: Installed, limit: int) -> list[Run]:
        """The newest recorded runs, newest first; InfluxDB keeps them for 72 h."""

    def logs(self, task: Installed, run: str = "") -> list[str]:
        """Lines of the log, oldest first: of one run, or of all recorded runs."""
