"""Where a server comes from: the environment, PATH, Docker, or the pinned Go modules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.engines.build import build, cached, missing_tools
from tests.engines.catalog import EngineUnavailableError, Program, programs_of
from tests.engines.process import Container, Process, Runner


@dataclass(frozen=True)
class Found:
    """A program that can be started.

    Attributes:
        origin: where from, in words.
        binary: path of the program here, None for one in an image.
        image: Docker image.
    """

    origin: str
    binary: Path | None = None
    image: str = ""

    def runner(self, program: Program, arguments: Sequence[str], folder: Path) -> Runner:
        """A runner of the program with arguments, for a folder of its own."""
        if self.binary is None:
            return Container(self.image, [program.command, *arguments], folder)
        return Process([str(self.binary), *arguments], folder)


OWN_VARIABLES = {"PFA_FLUX_IGNORE": "PFA_FLUX_TEST_,PFA_FLUX_REQUIRE_ENGINES"}
"""For pfa-flux, to which the variables of the tests mean nothing."""


def variable(engine: str, what: str) -> str:
    """Environment variable that names an engine's URL, TOKEN or ORG."""
    return f"PFA_FLUX_TEST_{re.sub('[-.]', '_', engine).upper()}_{what}"


def in_environment(engine: str) -> bool:
    """The environment names a server for the engine."""
    return bool(os.environ.get(variable(engine, "URL")))


def find(program: Program) -> Found:
    """The program, built now if there is no other way.

    Raises:
        EngineUnavailableError: it cannot be had; says why.
    """
    return _at_hand(program) or Found("built from its Go module", build(program))


def outlook(engine: str) -> tuple[bool, str]:
    """Whether an engine can be had, and where from or why not, without building anything."""
    if engine == "embedded":
        return True, "needs no server"
    if in_environment(engine):
        return True, f"named in the environment ({variable(engine, 'URL')})"
    words = []
    for program in programs_of(engine):
        found = _at_hand(program)
        missing = missing_tools(program)
        if found is None and missing:
            return False, f"{program.name} would be built, and that needs {'; '.join(missing)}"
        words.append(found.origin if found else "would be built from its Go module")
    return True, " + ".join(dict.fromkeys(words))


def _at_hand(program: Program) -> Found | None:
    on_path = shutil.which(program.command)
    if on_path and _version_of(on_path).startswith(program.release_line):
        return Found(f"on PATH ({on_path})", Path(on_path))
    if docker_answers():
        return Found(f"Docker image {program.image}", image=program.image)
    if cached(program).exists():
        return Found("built from its Go module (cached)", cached(program))
    return None


@cache
def _version_of(binary: str) -> str:
    """Version that a binary names, without a leading v; empty where it names none."""
    try:
        answer = subprocess.run([binary, "version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(r"v?(\d+\.\d+\.\d+)", answer.stdout + answer.stderr)
    return match[1] if match else ""


@cache
def docker_answers() -> bool:
    """A Docker engine answers on this machine."""
    if shutil.which("docker") is None:
        return False
    try:
        answer = subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


__all__ = ["EngineUnavailableError", "Found", "docker_answers", "find", "in_environment", "outlook", "variable"]
