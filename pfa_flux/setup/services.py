"""The programs that run the pixel and its front: systemd and nginx, each through its own command."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pfa_flux import foreign
from pfa_flux.errors import PfaFluxError

_PATIENCE = 90.0
_RUNNING = {"running", "degraded", "starting", "initializing", "maintenance"}
"""Answers of `systemctl is-system-running` if systemd runs."""


def found(name: str) -> str:
    """A program's name, or its path if it is only in root's directories; empty if it is not installed."""
    if shutil.which(name):
        return name
    return shutil.which(name, path="/usr/sbin:/sbin") or ""


def called(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end.

    Raises:
        PfaFluxError: the command cannot be run, or takes too long.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False, errors="replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PfaFluxError(f"{shlex.join(command)} did not run: {error}", "Run it yourself.") from error


def succeeded(command: Sequence[str]) -> None:
    """Run a command that must succeed.

    Raises:
        PfaFluxError: it failed. The message contains its output.
    """
    done = called(command)
    if done.returncode != 0:
        said = foreign.said((done.stderr or done.stdout).strip() or f"exit status {done.returncode}")
        raise PfaFluxError(
            f"{shlex.join(command)} failed: {said}", f"Fix what it reports, then run {shlex.join(command)}."
        )


@dataclass(frozen=True, slots=True)
class Systemd:
    """The machine's systemd, or a user's own."""

    user: bool

    def command(self, *words: str) -> list[str]:
        """A command of systemctl."""
        return [found("systemctl") or "systemctl", *(["--user"] if self.user else []), *words]

    @property
    def runs(self) -> bool:
        """Systemd is installed and has started."""
        return bool(found("systemctl")) and called(self.command("is-system-running")).stdout.strip() in _RUNNING

    def start(self, unit: str, *, restart: bool) -> list[list[str]]:
        """Commands that start a unit now and at every boot. `restart`: it may run with older settings."""
        commands = [self.command("daemon-reload"), self.command("enable", "--now", unit)]
        return [*commands, self.command("restart", unit)] if restart else commands

    def is_active(self, unit: str) -> bool:
        """The unit runs."""
        return called(self.command("is-active", "--quiet", unit)).returncode == 0


@dataclass(frozen=True, slots=True)
class NginxProgram:
    """nginx with a configuration directory; None for its own."""

    folder: Path | None = None

    def command(self, *words: str) -> list[str]:
        """A command of nginx."""
        own = ["-c", str(self.folder / "nginx.conf")] if self.folder else []
        return [found("nginx") or "nginx", *own, *words]

    def dump(self) -> str:
        """Its whole configuration, file by file; empty if nginx is not installed or rejects it."""
        if not found("nginx"):
            return ""
        done = called(self.command("-T"))
        return done.stdout if done.returncode == 0 else ""

    @property
    def reload(self) -> list[str]:
        """The command that reloads its configuration: systemd's, unless the directory is not nginx's own."""
        return self.command("-s", "reload") if self.folder else Systemd(user=False).command("reload", "nginx")
