"""`python -m tests.engines list | build [ENGINE…] | run ENGINE [ENGINE…] -- COMMAND…`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from tests.engines import ENGINES, EngineFailedError, EngineUnavailableError, Server, start
from tests.engines.catalog import programs_of
from tests.engines.servers import close_all
from tests.engines.source import OWN_VARIABLES, find, in_environment, outlook, variable

_USAGE = f"""usage: python -m tests.engines list
       python -m tests.engines build [ENGINE...]
       python -m tests.engines run ENGINE [ENGINE...] -- COMMAND...
engines: {", ".join(ENGINES)}"""


def main(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    match list(arguments):
        case ["list"]:
            return _list()
        case ["build", *engines] if _known(engines):
            return _build(engines or list(ENGINES))
        case ["run", *rest] if "--" in rest:
            cut = rest.index("--")
            engines, command = rest[:cut], rest[cut + 1 :]
            if engines and command and _known(engines):
                return _run(engines, command)
    print(_USAGE, file=sys.stderr)
    return 2


def _known(engines: Sequence[str]) -> bool:
    unknown = [engine for engine in engines if engine not in ENGINES]
    for engine in unknown:
        print(f"unknown engine: {engine}", file=sys.stderr)
    return not unknown


def _list() -> int:
    for engine in ENGINES:
        able, words = outlook(engine)
        versions = ", ".join(f"{p.command} {p.version}" for p in programs_of(engine))
        print(f"{engine:14} {'yes' if able else 'no':4} {versions:36} {words}")
    return 0


def _build(engines: Sequence[str]) -> int:
    try:
        for engine in engines:
            if not in_environment(engine):
                for program in programs_of(engine):
                    print(f"{program.name} {program.version}: {find(program).origin}", file=sys.stderr)
    except EngineUnavailableError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _run(engines: Sequence[str], command: Sequence[str]) -> int:
    # A SIGTERM must stop the servers, too.
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        servers = [start(engine) for engine in engines]
        environment = {**os.environ, **servers[0].env(), **OWN_VARIABLES}
        for server in servers:
            environment |= test_variables(server)
        return subprocess.run(command, env=environment, check=False).returncode
    except FileNotFoundError as error:
        print(f"cannot run {command[0]}: {error}", file=sys.stderr)
        return 127
    except (EngineUnavailableError, EngineFailedError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        close_all()


def test_variables(server: Server) -> dict[str, str]:
    """PFA_FLUX_TEST_<ENGINE>_URL, _TOKEN and _ORG of a server; for Kapacitor _INFLUXDB_URL besides."""
    if server.name == "embedded":
        return {}
    values = {"URL": server.kapacitor_url or server.url, "TOKEN": server.token, "ORG": server.org}
    if server.kapacitor_url:
        values["INFLUXDB_URL"] = server.url
    return {variable(server.name, what): value for what, value in values.items()}


def _interrupted(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
