"""Running a server: as a process of ours, or in a container that shares our network and folder."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from tests.engines.catalog import EngineFailedError

_READY_SECONDS = 60.0
_STOP_SECONDS = 10.0
_TAIL_LINES = 30
_FIRST_PORT, _PORTS, _MOST_HELD = 15000, 15000, 200

_held: deque[socket.socket] = deque()
"""Reservations of the ports that were given out last."""


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on, all different, and given to no other test run meanwhile.

    They lie below those that the kernel gives to connections that go out: one of these could take a port before its
    server does, or between two starts of it.
    """
    found: list[int] = []
    while len(found) < count:
        # Not random's: tests seed it, and runs side by side would draw the same.
        port = _FIRST_PORT + secrets.randbelow(_PORTS)
        # Held as a UDP port, which no server here wants, it is ours without being in its server's way.
        held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            held.bind(("127.0.0.1", port))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            held.close()
            continue
        _held.append(held)
        if len(_held) > _MOST_HELD:
            _held.popleft().close()
        found.append(port)
    return found


def stat_of(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on; none where it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def children(pid: int) -> list[int]:
    """Processes that a process has started, and theirs."""
    parents = {int(path.name): stat_of(int(path.name)) for path in Path("/proc").iterdir() if path.name.isdigit()}
    mine = [child for child, stat in parents.items() if stat and int(stat[1]) == pid]
    return [*mine, *(further for child in mine for further in children(child))]


class Runner(Protocol):
    """A server that can be started, stopped, killed, and started again on the same data and ports."""

    def start(self) -> None:
        """Start it; it is ready some time later."""

    def alive(self) -> bool:
        """It runs."""

    def stop(self) -> None:
        """End it in peace, or after ten seconds by force."""

    def kill(self) -> None:
        """End it at once, as kill -9 does."""

    def log_tail(self) -> str:
        """Last lines of its output."""


class Process:
    """A child process, which the kernel ends together with us."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._command, self._log = list(command), folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id, None where it does not run."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A Ctrl-C at the terminal is ours to handle.
                start_new_session=True,
                # Servers are started by the main thread alone, before it has others.
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])


def _die_with_parent() -> None:
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


class Container:
    """The same program in its official image: same command, same loopback ports, same folder."""

    def __init__(self, image: str, command: Sequence[str], folder: Path) -> None:
        from testcontainers.core.container import DockerContainer

        container: Any = DockerContainer(image)
        container.with_kwargs(
            network_mode="host", entrypoint=list(command), user=f"{os.getuid()}:{os.getgid()}", working_dir=str(folder)
        )
        container.with_volume_mapping(str(folder), str(folder), "rw")
        self._container = container
        self._started = False

    def start(self) -> None:
        if self._started:
            self._container.get_wrapped_container().start()
        else:
            self._container.start()
            self._started = True

    def alive(self) -> bool:
        wrapped = self._container.get_wrapped_container()
        wrapped.reload()
        return str(wrapped.status) in {"created", "running"}

    def stop(self) -> None:
        with contextlib.suppress(Exception):
            self._container.get_wrapped_container().stop(timeout=int(_STOP_SECONDS))
        self._container.stop()
        self._started = False

    def kill(self) -> None:
        self._container.get_wrapped_container().kill()

    def log_tail(self) -> str:
        output, errors = self._container.get_logs()
        return "\n".join((output + errors).decode(errors="replace").splitlines()[-_TAIL_LINES:])


def wait_until_ready(name: str, runner: Runner, ready: Callable[[], bool]) -> None:
    """Wait until a server answers.

    Raises:
        EngineFailedError: it died, or did not answer within a minute; ends with its log's tail.
    """
    deadline = time.monotonic() + _READY_SECONDS
    while not ready():
        if not runner.alive():
            raise EngineFailedError(f"{name} died at its start; its log ends:\n{runner.log_tail()}")
        if time.monotonic() > deadline:
            raise EngineFailedError(
                f"{name} was not ready in {_READY_SECONDS:.0f} s; its log ends:\n{runner.log_tail()}"
            )
        time.sleep(0.05)
