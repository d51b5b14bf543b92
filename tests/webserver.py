"""Real nginx for the tests, and how programs are found: where one is missing the test is skipped, or fails in CI."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest

from tests.engines.process import Process

_READY_SECONDS = 20.0


def program(name: str) -> str:
    """Path of a program of the system."""
    # Debian keeps nginx where only root looks.
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found is not None:
        return found
    if os.environ.get("PFA_FLUX_REQUIRE_ENGINES"):
        pytest.fail(f"{name} is not installed, and PFA_FLUX_REQUIRE_ENGINES is set")
    pytest.skip(f"{name} is not installed")


class Nginx:
    """nginx with all its files in one folder, a single process of our own user.

    Attributes:
        folder: holds all that it reads and writes.
        port: of the loopback interface; it is up to `http` to listen there.
    """

    def __init__(self, folder: Path, port: int, http: str) -> None:
        """`http` is what stands in `http { }`. What nginx logs of itself is in the files access.log and error.log."""
        self.folder, self.port = folder, port
        (folder / "temp").mkdir(parents=True)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temp = "\n".join(f"{kind}_temp_path temp/{kind};" for kind in kinds)
        # As root it would work as nobody, who may not enter a test's folder.
        user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(
            f"{user}\nmaster_process off;\ndaemon off;\npid nginx.pid;\nerror_log error.log notice;\nevents {{ }}\n"
            f"http {{\n{temp}\naccess_log access.log;\n{http}\n}}\n"
        )
        self._command = [program("nginx"), "-p", str(folder), "-e", "error.log", "-c", "nginx.conf"]
        self._process = Process(self._command, folder)

    def check(self) -> subprocess.CompletedProcess[str]:
        """`nginx -t`."""
        return subprocess.run([*self._command, "-t"], capture_output=True, text=True, timeout=30, check=False)

    def __enter__(self) -> Self:
        self._process.start()
        deadline = time.monotonic() + _READY_SECONDS
        while not _listens(self.port):
            assert self._process.alive(), self._process.log_tail()
            assert time.monotonic() < deadline, self._process.log_tail()
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
