"""Running the command line as a user does: the installed command, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pfa_flux.settings.file import SYSTEM_VARIABLE

NO_SYSTEM_FILE = f"{os.devnull}/pfa-flux.toml"
"""Instead of this machine's settings, which the tests do not read."""


@dataclass(frozen=True)
class Result:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, parsed."""
        return json.loads(self.out)


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without pfa-flux's variables and without anything that changes how output looks."""
    left_out = ("PFA_FLUX_", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERM")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    # No test waits for a reader.
    return {**kept, SYSTEM_VARIABLE: NO_SYSTEM_FILE, "NO_PAGER": "1", **more}


def pfa_flux(*arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Result:
    """Run `pfa-flux` with arguments, in an environment that names no other settings."""
    command = Path(sys.executable).with_name("pfa-flux")
    done = subprocess.run(
        [str(command), *arguments],
        env=clean_environment(**(env or {})),
        cwd=cwd,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Result(done.returncode, done.stdout, done.stderr)
