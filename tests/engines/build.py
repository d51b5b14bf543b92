"""Building the servers from their pinned Go modules, into a cache outside the checkout."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.engines.catalog import MODULES, EngineUnavailableError, Program

_RECIPE = "2"
"""Changed whenever the way of building changes, so that what was built the old way is built anew."""

_EVERY = 15.0
"""Seconds between two lines of progress."""

_TOOLS = {
    "go": "install Go 1.24 or newer, https://go.dev/doc/install",
    "cargo": "install Rust with cargo, https://rustup.rs",
    "cc": "install a C compiler (Debian: apt-get install gcc)",
}

Say = Callable[[str], None]
Step = Callable[[Program, Path, Say], None]


def say(text: str) -> None:
    """One line of progress, past pytest's capturing."""
    print(text, file=sys.__stderr__, flush=True)


def cache_directory() -> Path:
    """Where built servers are kept: $XDG_CACHE_HOME/pfa-flux/engines."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pfa-flux" / "engines"


def cached(program: Program) -> Path:
    """Place of the built binary; its name changes with the version, the pins and the way of building."""
    pins = b"".join((MODULES / program.name / name).read_bytes() for name in ("go.mod", "go.sum"))
    digest = hashlib.sha256(_RECIPE.encode() + pins).hexdigest()[:12]
    return cache_directory() / f"{program.name}-{program.version}-{digest}"


def missing_tools(program: Program) -> list[str]:
    """Tools that building needs and that are not there, each with how to get it."""
    needed = ("go", "cargo", "cc") if program.rust else ("go",)
    return [f"{tool}: {_TOOLS[tool]}" for tool in needed if shutil.which(tool) is None]


def build(program: Program, step: Step | None = None, progress: Say = say) -> Path:
    """The built binary, built now if the cache has it not. Only one process builds it at a time.

    Args:
        program: what to build.
        step: what builds it into the path given, `go build` by default.
        progress: where a line is said every few seconds.

    Raises:
        EngineUnavailableError: a tool is missing, or the build failed; names the tool or ends with the output's tail.
    """
    binary = cached(program)
    binary.parent.mkdir(parents=True, exist_ok=True)
    with _locked(binary.with_name(f"{binary.name}.lock"), progress):
        if not binary.exists():
            with tempfile.TemporaryDirectory(dir=binary.parent) as work:
                made = Path(work) / program.command
                (step or _go_build)(program, made, progress)
                made.replace(binary)
    return binary


@contextmanager
def _locked(path: Path, progress: Say) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"waiting for another process that builds {path.stem}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _go_build(program: Program, target: Path, progress: Say) -> None:
    missing = missing_tools(program)
    if missing:
        raise EngineUnavailableError(f"{program.name} cannot be built, missing {'; '.join(missing)}")
    environment = {**os.environ, "GOFLAGS": "-buildvcs=false -mod=readonly"}
    if program.rust:
        environment |= _rust_environment(program, target.parent, progress)
    flags = f"-s -w -X main.version={program.stamp} -X main.commit=pinned"
    command = ["go", "build", "-trimpath", "-tags", program.tags, "-ldflags", flags, "-o", str(target), program.package]
    _run(program, command, environment, progress)


def _rust_environment(program: Program, work: Path, progress: Say) -> Mapping[str, str]:
    """What the build of the Flux library, by cargo from within `go build`, needs to succeed with any compiler."""
    pkg_config = work / "pkg-config"
    plain = {**os.environ, "GOFLAGS": "-buildvcs=false -mod=readonly"}
    _run(program, ["go", "build", "-o", str(pkg_config), "github.com/influxdata/pkg-config"], plain, progress)
    # It denies warnings that newer compilers have added, and RUSTFLAGS does not reach its build scripts.
    wrapper = work / "rustc-wrapper"
    wrapper.write_text('#!/bin/sh\nexec "$@" --cap-lints allow\n')
    wrapper.chmod(0o755)
    return {
        "PKG_CONFIG": str(pkg_config),
        "RUSTC_WRAPPER": str(wrapper),
        # Its pinned toolchain is an old one that would have to be downloaded.
        "RUSTUP_TOOLCHAIN": "stable",
        # pkg-config keeps what cargo has made here.
        "PATH": f"{work}{os.pathsep}{os.environ['PATH']}",
    }


def _run(program: Program, command: Sequence[str], environment: Mapping[str, str], progress: Say) -> None:
    """Run a step of a build, with a line of progress now and then.

    Raises:
        EngineUnavailableError: it failed.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, cwd=MODULES / program.name, env=dict(environment), stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while True:
                try:
                    status = process.wait(timeout=_EVERY)
                    break
                except subprocess.TimeoutExpired:
                    progress(f"building {program.name} {program.version}: {time.monotonic() - started:.0f} s")
        finally:
            process.kill()
            process.wait()
        if status:
            output.seek(0)
            tail = "".join(output.readlines()[-30:])
            raise EngineUnavailableError(f"building {program.name} {program.version} failed:\n{tail}")
