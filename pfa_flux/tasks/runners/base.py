"""Who runs the task: InfluxDB, Kapacitor, or pfa-flux itself. One Protocol for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pfa_flux.engines.base import Span


@dataclass(frozen=True, slots=True)
class Installed:
    """A task as who runs it has it.

    Attributes:
        id: its id there.
        text: its Flux, with any token in it; of the runner the spec.
        active: it is not disabled.
        last_run: RFC 3339 time of the last run that ended, empty before the first.
        last_error: what that run failed with, empty where it did not.
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
        scheduled_for: RFC 3339 time that its windows end at.
        status: scheduled, started, success, failed or canceled.
        started: RFC 3339 time, empty where it has not started.
        finished: the same of its end.
        error: what it failed with, empty where it did not.
    """

    id: str
    scheduled_for: str
    status: str
    started: str
    finished: str
    error: str = ""


class Backend(Protocol):
    """One runner of tasks, seen as far as one name goes."""

    @property
    def name(self) -> str:
        """Backend name: influxdb, kapacitor or runner."""

    def text(self) -> str:
        """What the task is to be there, secrets included."""

    def masked(self, text: str) -> str:
        """A task's text without secrets, to be looked at."""

    def find(self) -> list[Installed]:
        """The tasks of the name; names need not be unique."""

    def neighbours(self) -> list[Neighbour]:
        """Tasks of other names that make the same rows."""

    def create(self) -> Installed:
        """Make the task, active."""

    def update(self, task: Installed, text: str, *, active: bool) -> None:
        """Give a task another text and status; it keeps its id and history."""

    def remove(self, task: Installed) -> None:
        """Delete a task; its rows stay."""

    def run(self, task: Installed, stop: int) -> None:
        """Run it as if it were `stop` (nanoseconds, a window's end), and wait for the end of the run.

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
        """What has to be set up for the task to run, empty where a server runs it by itself."""

    def runs(self, task: Installed, limit: int) -> list[Run]:
        """The newest runs that are remembered, newest first; InfluxDB remembers 72 h of them."""

    def logs(self, task: Installed, run: str = "") -> list[str]:
        """Lines of the log, oldest first: of one run, or of all that are remembered."""
