"""`pfa-flux init` for tests: run in a folder of its own, or with the answers that somebody types."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pfa_flux.settings.file import SYSTEM_VARIABLE
from tests.cli import Result, clean_environment
from tests.engines import Workspace
from tests.engines.plugin import MakeWorkspace

ROOT = Path(__file__).parents[1]
COMMAND = Path(sys.executable).with_name("pfa-flux")
ENGINES: dict[str, tuple[str, dict[str, bool]]] = {
    "influxdb-2.7": ("influxdb-2.7", {}),
    "influxdb-2.9": ("influxdb-2.9", {}),
    "kapacitor": ("kapacitor", {}),
    "influxdb-1.8": ("influxdb-1.8", {}),
    "influxdb-1.8 auth": ("influxdb-1.8", {"auth": True}),
    "embedded": ("embedded", {}),
}
every_engine = pytest.mark.parametrize(
    "engine",
    [
        engine if engine in ("influxdb-2.7", "embedded") else pytest.param(engine, marks=pytest.mark.slow)
        for engine in ENGINES
    ],
)


def home_of(folder: Path) -> dict[str, str]:
    """Environment of a user whose home is a folder, on a machine whose settings are in it, too."""
    return {"HOME": str(folder), SYSTEM_VARIABLE: str(folder / "etc" / "pfa-flux.toml")}


def new_file(folder: Path) -> Path:
    """Where `init` writes settings if there are none."""
    return folder / ("etc" if os.geteuid() == 0 else ".config/pfa-flux") / "pfa-flux.toml"


def run(folder: Path, *arguments: str, given: str = "", env: Mapping[str, str] | None = None) -> Result:
    """`pfa-flux` in a folder, with something on its standard input, which is no terminal."""
    done = subprocess.run(
        [str(COMMAND), *arguments],
        cwd=folder,
        env=clean_environment(**home_of(folder), **(env or {})),
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Result(done.returncode, done.stdout, done.stderr)


class Folder:
    """A folder with settings that another hand has begun, and the flags for a workspace."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self.workspace, self.folder = workspace, folder
        self.file, self.token_file = folder / "pfa-flux.toml", folder / "pfa-flux.token"
        self.token = workspace.server.token
        self.begun = (
            "# Ours.\n"
            f'raw_bucket = "{workspace.raw}" # of the old server\n'
            f'rollup_bucket = "{workspace.rollup}"\n\n'
            "# Several of us share the server.\n[schema]\n"
            f'task_name = "{workspace.task_name}"\nloads_task_name = "{workspace.task_name}_loads"\n\n'
            "[pixel]\nmax_pages = 7 # few\n"
        )
        self.file.write_text(self.begun)

    @property
    def names(self) -> tuple[str, str]:
        """Names of the tasks."""
        return self.workspace.task_name, f"{self.workspace.task_name}_loads"

    @property
    def flags(self) -> list[str]:
        server = self.workspace.server
        flags = ["--url", server.url, "--data-dir", str(self.folder / "data")]
        flags += ["--kapacitor-url", server.kapacitor_url] if server.kapacitor_url else []
        return flags + (["--token-file", "-"] if self.token else [])

    def init(self, *more: str, env: Mapping[str, str] | None = None) -> Result:
        done = run(self.folder, "init", *self.flags, *more, given=f"{self.token}\n", env=env)
        if self.token:
            assert self.token not in done.out + done.err
        return done

    def untouched(self) -> bool:
        """Nothing was written: the settings are as they were, and no other file is there."""
        names = {path.name for path in self.folder.iterdir()}
        return self.file.read_text() == self.begun and names == {"pfa-flux.toml"}

    def remove_tasks(self) -> None:
        run(self.folder, "task", "remove")


MakePlace = Callable[[str], Folder]


def places(make_workspace: MakeWorkspace, folder: Path) -> MakePlace:
    """What makes a folder for an engine of `ENGINES`, with fresh buckets."""

    def make(engine: str) -> Folder:
        name, how = ENGINES[engine]
        return Folder(make_workspace(name, **how), folder)

    return make


class Terminal:
    """`pfa-flux init` on a terminal, answered line by line."""

    def __init__(self, folder: Path, *arguments: str, program: Path = COMMAND, **environment: str) -> None:
        self._leader, follower = pty.openpty()
        self._process = subprocess.Popen(
            [str(program), "init", *arguments],
            cwd=folder,
            env=clean_environment(**home_of(folder), TERM="dumb", COLUMNS="200", **environment),
            stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
        )  # fmt: skip
        os.close(follower)
        self.shown = ""
        self._seen = 0

    def answer(self, question: str, text: str) -> None:
        """Wait for a question, and answer it."""
        deadline = time.monotonic() + 60
        while question not in self.shown[self._seen :]:
            assert time.monotonic() < deadline, self.shown
            assert self._read(), self.shown
        self._seen = len(self.shown)
        os.write(self._leader, f"{text}\n".encode())

    def _read(self) -> bool:
        if select.select([self._leader], [], [], 1)[0]:
            try:
                chunk = os.read(self._leader, 65536).decode(errors="replace")
            except OSError:  # the other end is closed
                return False
            self.shown += chunk.replace("\r\n", "\n")
            return bool(chunk)
        return True

    def end(self) -> int:
        while self._read():
            pass
        os.close(self._leader)
        return self._process.wait(60)
