"""pytest's side of the engines: fixtures, what happens where one is missing, and a line on each at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.engines import ENGINES, EngineFailedError, EngineUnavailableError, Server, Workspace, start
from tests.engines.servers import IN_MEMORY, alive_processes, close_all
from tests.engines.source import OWN_VARIABLES, outlook
from tests.engines.workspace import left_folders

_REQUIRE = "PFA_FLUX_REQUIRE_ENGINES"
_TOLD = "pfa_flux_engines"


class Pool:
    """Servers of one test run, each started when it is first asked for."""

    def __init__(self) -> None:
        self._servers: dict[tuple[str, bool, bool], Server] = {}
        self.origins: dict[str, str] = {}
        self.missing: dict[str, str] = {}

    def get(self, name: str, *, flux: bool = True, auth: bool = False) -> Server:
        """The engine, running; the test is skipped where it cannot be had, and fails where it is required."""
        key = (name, flux, auth)
        if key not in self._servers and name not in self.missing:
            try:
                self._servers[key] = start(name, flux=flux, auth=auth)
            except EngineUnavailableError as error:
                self.missing[name] = str(error)
            except EngineFailedError as error:
                pytest.fail(str(error))
        if key not in self._servers:
            if name in required():
                pytest.fail(f"{name} is required by {_REQUIRE}, and cannot be had: {self.missing[name]}")
            pytest.skip(self.missing[name].splitlines()[0])
        server = self._servers[key]
        self.origins.setdefault(name, f"real, {server.version}, {server.origin}" if server.version else server.origin)
        return server


def required() -> frozenset[str]:
    """Engines whose absence is a failure."""
    value = os.environ.get(_REQUIRE, "")
    return frozenset(ENGINES) if value == "all" else frozenset(filter(None, value.split(",")))


_pool = Pool()
_left: list[str] = []
"""Servers and folders that outlived the tests of a process which has ended."""


def pytest_configure() -> None:
    """Refuse a misspelt engine, which would be required of nobody."""
    os.environ.update(OWN_VARIABLES)
    unknown = required() - frozenset(ENGINES)
    if unknown:
        raise pytest.UsageError(f"{_REQUIRE} names {', '.join(unknown)}; there are all, {', '.join(ENGINES)}")


@pytest.fixture(scope="session")
def pool() -> Pool:
    """Servers of this test run."""
    return _pool


MakeWorkspace = Callable[..., Workspace]


@pytest.fixture
def make_workspace(pool: Pool) -> Iterator[MakeWorkspace]:
    """Makes fresh buckets on an engine, which are gone after the test."""
    made: list[Workspace] = []

    def make(name: str, *, flux: bool = True, auth: bool = False, backend: str = "auto") -> Workspace:
        in_memory = Server(IN_MEMORY, "", "in this process")
        workspace = Workspace(in_memory if name == IN_MEMORY else pool.get(name, flux=flux, auth=auth), backend)
        made.append(workspace)
        return workspace

    yield make
    for workspace in made:
        workspace.close()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the servers. A server or a folder of a workspace that is still there afterwards fails the run."""
    close_all()
    _left.extend(f"process {pid}" for pid in alive_processes())
    _left.extend(map(str, left_folders()))
    # Where the tests run in several processes, each tells the first, which ends last.
    told = getattr(session.config, "workeroutput", None)
    if told is not None:
        told[_TOLD] = (_pool.origins, _pool.missing, _left)
    elif _left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print(f"left behind: {', '.join(_left)}")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a process that has run its tests knows of the engines."""
    origins, missing, left = getattr(node, "workeroutput", {}).get(_TOLD, ({}, {}, []))
    _pool.origins.update(origins)
    _pool.missing.update(missing)
    _left.extend(left)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """A line for each engine: real and where from, or why not."""
    if exitstatus == pytest.ExitCode.INTERRUPTED:
        # The processes that ran the tests have not told what they used.
        return
    terminalreporter.section("engines")
    for name in ENGINES:
        if name in _pool.missing:
            words = f"NOT TESTED: {_pool.missing[name]}"
        else:
            words = _pool.origins.get(name) or f"not used by these tests ({outlook(name)[1]})"
        terminalreporter.write_line(f"{name:14} {words}")
