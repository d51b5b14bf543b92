"""Faults that the tests have to see: tables of small changes to the code, and a copy of it to plant them in."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
_COPIED = ("pfa_flux", "flux", "tests", "docs", "README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml")
_PATIENCE = 300
"""Seconds after which a run hangs, on whatever machine."""
_BOUNDED = ("sh", "-c", 'ulimit -v 8388608; exec "$@"', "sh")
"""Runs a command with 8 GiB of memory at most: a fault may make a loop endless."""


@dataclass(frozen=True)
class Fault:
    """A small change that makes the code wrong.

    Attributes:
        name: what is wrong then.
        file: path in the project.
        old: text that stands there exactly once.
        new: what takes its place.
        tests: tests of which one has to fail.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def planted_in(self, source: str) -> str:
        """The file's text with the fault in it."""
        count = source.count(self.old)
        assert count == 1, (
            f"the fault {self.name!r} cannot be planted: {self.file} has its text {count} times and has to have it "
            f"once: {self.old!r}. The code has changed: change the table of faults with it."
        )
        return source.replace(self.old, self.new)


def faults(table: str) -> list[Fault]:
    """The faults of a table beside this file."""
    found = tomllib.loads((ROOT / "tests" / table).read_text())
    return [Fault(**{**each, "tests": tuple(each["tests"])}) for each in found["fault"]]


class Copy:
    """A copy of the project, whose tests and commands run its own code."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        for name in _COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(ROOT / name, self.folder / name)
        self._basetemp = folder / "temporary"

    def run(self, command: Sequence[str], *, keeps_compiled: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command in the copy. One that hangs is ended, with all it has started.

        Args:
            command: the command.
            keeps_compiled: compiled files stay for later runs. Those of a file with a fault must not.
        """
        left_out = ("PFA_FLUX_", "PYTEST_", "PYTHON")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        unkept = {} if keeps_compiled else {"PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen(
            [*_BOUNDED, *command],
            cwd=self.folder,
            env={**kept, **unkept, "PYTHONPATH": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        try:
            out, _ = process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, _ = process.communicate()
        return subprocess.CompletedProcess(command, process.returncode, out, "")

    def test(self, tests: Iterable[str], *, keeps_compiled: bool = False) -> subprocess.CompletedProcess[str]:
        """Run tests of the copy, up to the first that fails."""
        # Without the project's options: slow tests are run as well, in this process's one.
        options = ("-o", "addopts=", "--strict-markers", "--strict-config", "-q", "-x", "-rfEsX", "--tb=no")
        plugins = ("-p", "no:cacheprovider", "-p", "no:xdist")
        temporary = (f"--basetemp={self._basetemp}",)
        command = (sys.executable, "-m", "pytest", *options, *plugins, *temporary, *tests)
        return self.run(command, keeps_compiled=keeps_compiled)

    @contextmanager
    def planted(self, fault: Fault) -> Iterator[None]:
        """Within it the copy has a fault."""
        path = self.folder / fault.file
        source, before = path.read_text(), path.stat()
        path.write_text(fault.planted_in(source))
        # Python tells a compiled file of before by the time and size of its source, and the time only to the second.
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10 * 10**9))
        try:
            yield
        finally:
            path.write_text(source)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def check(self, planned: Iterable[Fault]) -> None:
        """Let all tests of faults pass without any: else that one fails proves nothing."""
        tests = sorted({test for fault in planned for test in fault.tests})
        done = self.test(tests, keeps_compiled=True)
        assert done.returncode == 0, f"without any fault the tests do not pass:\n{done.stdout}"
        assert not re.search(r"^(SKIPPED|XPASS)|deselected", done.stdout, re.M), f"tests did not run:\n{done.stdout}"


def planting(table: str) -> tuple[Any, Any, Any]:
    """The fixture `copy` and both tests of a table, for a module of its own: modules run side by side."""
    found = faults(table)

    @pytest.fixture(scope="module")
    def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
        made = Copy(tmp_path_factory.mktemp(Path(table).stem))
        made.check(found)
        return made

    @pytest.mark.parametrize("fault", found, ids=lambda fault: fault.name)
    def test_a_fault_can_be_planted(fault: Fault) -> None:
        source = (ROOT / fault.file).read_text()
        assert fault.planted_in(source) != source

    @pytest.mark.slow
    @pytest.mark.parametrize("fault", found, ids=lambda fault: fault.name)
    def test_a_fault_is_seen(fault: Fault, copy: Copy) -> None:
        assert_seen(copy, fault)

    return copy, test_a_fault_can_be_planted, test_a_fault_is_seen


def assert_seen(copy: Copy, fault: Fault) -> None:
    """One of a fault's tests fails with it."""
    with copy.planted(fault):
        done = copy.test(fault.tests)
    assert done.returncode != 0, f"no test sees {fault.name!r} in {fault.file}: {', '.join(fault.tests)}"
    failed = re.search(r"^FAILED ", done.stdout, re.M)
    assert done.returncode == 1, f"pytest ended with {done.returncode} and not by a test that fails:\n{done.stdout}"
    assert failed, f"what fails is no test:\n{done.stdout}"
