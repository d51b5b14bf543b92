"""Who runs the task: InfluxDB, Kapacitor, or the embedded engine. One Protocol for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Installed:
    """A task as its server has it.

    Attributes:
        id: the server's id.
        text: its Flux, with any token in it.
        active: it is not disabled.
        last_run: RFC 3339 time of the last run that ended, empty before the first.
        last_error: what that run failed with, empty where it did not.
    """

    id: str
    text: str
    active: bool
    last_run: str = ""
    last_error: str = ""


class Backend(Protocol):
    """One server's tasks, seen as far as one name goes."""

    def text(self) -> str:
        """What the task is to be there, secrets included."""

    def shown(self) -> str:
        """The same, to be looked at: without secrets."""

    def find(self) -> list[Installed]:
        """The tasks of the name; names need not be unique."""

    def create(self) -> Installed:
        """Make the task, active."""

    def update(self, task: Installed, text: str, *, active: bool) -> None:
        """Give a task another text and status; it keeps its id and history."""

    def remove(self, task: Installed) -> None:
        """Delete a task."""

    def run(self, task: Installed, stop: int) -> None:
        """Run it as if it were `stop` (nanoseconds, a window's end), and wait for the end of the run.

        Raises:
            TaskError: the run failed or did not end in time; with the server's words.
        """
