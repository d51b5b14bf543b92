"""`pfa-flux task …` on a workspace, with task names of its own."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.cli import Result, pfa_flux
from tests.engines import Workspace

SECOND = 10**9
TASK_COMMANDS = (
    *("plan", "status", "runs", "logs", "run", "disable", "enable", "remove", "gaps", "backfill", "verify", "repair"),
)
WINDOW = 900 * SECOND
EVERYBODY = [
    "influxdb-2.7",
    "embedded",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("kapacitor", "influxdb-1.8")),
]
"""Who runs the tasks."""


class Cli:
    """The command line on a workspace, with task names of its own."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self.workspace, self.folder = workspace, folder
        name = workspace.task_name
        schema = f'[schema]\ntask_name = "{name}"\nloads_task_name = "{name}_loads"\n'
        (folder / "pfa-flux.toml").write_text(f'{schema}[task]\nbackend = "{workspace.backend}"\n')

    @property
    def names(self) -> tuple[str, str]:
        """Names of the tasks, that of hits first."""
        return self.workspace.task_name, f"{self.workspace.task_name}_loads"

    @property
    def settings(self) -> str:
        """The settings file."""
        return (self.folder / "pfa-flux.toml").read_text()

    def forget(self) -> None:
        """Take out of the settings that page loads are left out."""
        (self.folder / "pfa-flux.toml").write_text(self.settings.replace("loads = false\n", ""))

    def __call__(self, *arguments: str) -> Result:
        return pfa_flux(*arguments, env=self.workspace.env(), cwd=self.folder)

    def task(self, *arguments: str) -> Result:
        return self("task", *arguments)


once = pytest.mark.parametrize(
    "cli", ["embedded", pytest.param("influxdb-2.7", marks=[pytest.mark.slow, pytest.mark.twin])], indirect=True
)
"""What is a question of the commands, and hardly of who runs the tasks."""


def closed() -> int:
    """End of the newest window that is due for everybody, and stays the newest while a test runs.

    A run is due a minute after a window's end, and `status` gives it another minute: whoever asks around then would
    find one window more or less, so these are waited for.
    """
    while not 65 * SECOND < (time.time_ns() - 60 * SECOND) % WINDOW < 860 * SECOND:
        time.sleep(1)
    return (time.time_ns() - 60 * SECOND) // WINDOW * WINDOW
