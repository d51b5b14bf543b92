"""Faults that the tests have to see: tables of small changes to the code, and a copy of it to plant them in."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
_COPIED = ("pfa_flux", "flux", "tests", "docs", "README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml")
_PATIENCE = 300
"""Seconds after which a run hangs, on whatever machine."""
_NURSERY = """
import json, os, signal, sys, time
import hypothesis.strategies, influxdb_client, pandas, pytest, rich, typer

for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if not child:
        os.setsid()
        out = os.open(order["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1), os.dup2(out, 2)
        if not order["keeps_compiled"]:
            sys.dont_write_bytecode = True
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        sys.exit(pytest.main(order["arguments"]))
    deadline = time.monotonic() + order["patience"]
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.01)
    print(os.waitstatus_to_exitcode(ended[1]), flush=True)
"""
"""Runs pytest again and again, each time in a child: it imports once what takes long and has none of our code."""
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
        self._nursery = subprocess.Popen(
            [*_BOUNDED, sys.executable, "-c", _NURSERY],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which everything in the copy finds its own code."""
        left_out = ("PFA_FLUX_", "PYTEST_", "PYTHON")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        return {**kept, "PYTHONPATH": str(self.folder)}

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in the copy. It keeps no compiled file, which might be one of a file with a fault."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )

    def test(self, tests: Iterable[str], *, keeps_compiled: bool = False) -> subprocess.CompletedProcess[str]:
        """Run tests of the copy, up to the first that fails. Those that hang are ended, with all they have started.

        Args:
            tests: the tests.
            keeps_compiled: compiled files stay for later runs. Those of a file with a fault must not.
        """
        # Without the project's options: slow tests are run as well, in this process's one.
        options = ("-o", "addopts=", "--strict-markers", "--strict-config", "-q", "-x", "-rfEsX", "--tb=no")
        plugins = ("-p", "no:cacheprovider", "-p", "no:xdist", "-W", "ignore::pytest.PytestAssertRewriteWarning")
        arguments = [*options, *plugins, f"--basetemp={self._basetemp}", *tests]
        out = self.folder / "out"
        order = {"arguments": arguments, "out": str(out), "keeps_compiled": keeps_compiled, "patience": _PATIENCE}
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.write(f"{json.dumps(order)}\n")
        self._nursery.stdin.flush()
        code = int(self._nursery.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, out.read_text(errors="replace"), "")

    def close(self) -> None:
        """End what runs the tests."""
        self._nursery.communicate(timeout=_PATIENCE)

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
    def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
        with closing(Copy(tmp_path_factory.mktemp(Path(table).stem))) as made:
            made.check(found)
            yield made

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
