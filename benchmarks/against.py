"""Compare the cost of a hit with an earlier commit: `python -m benchmarks.against REVISION`.

Two servers, one from the revision and one from this checkout, get the same load in turn. They alternate in going first.
The cost of a hit is the CPU time of the serving process. The result is the ratio of both costs within one round.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.loading import WARM_CONNECTIONS, cores, cpu_of, load, on_core
from tests.engines.process import free_ports
from tests.pixel_server import PixelServer

ROOT = Path(__file__).parent.parent
NOW = Path(sys.executable).with_name("pfa-flux")
# 0.1's entry point was elsewhere.
_PROGRAM = """#!{python}
import sys
sys.path.insert(0, "{folder}")
try:
    from pfa_flux.start import main
except ImportError:
    from pfa_flux.cli import main
sys.exit(main())
"""


class Pair(NamedTuple):
    """A figure of each round, before and now."""

    before: list[float]
    now: list[float]

    def __str__(self) -> str:
        ratios = sorted(now / before for before, now in zip(*self, strict=True))
        return (
            f"{median(self.before):6.2f} before, {median(self.now):6.2f} now, "
            f"ratio {median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
        )


@contextmanager
def program_of(revision: str) -> Iterator[Path]:
    """The command `pfa-flux` of a commit."""
    with tempfile.TemporaryDirectory(prefix="pfa-flux-against-") as folder:
        packed = subprocess.run(["git", "archive", revision, "pfa_flux"], cwd=ROOT, check=True, capture_output=True)
        subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, check=True)
        program = Path(folder) / "pfa-flux"
        program.write_text(_PROGRAM.format(python=sys.executable, folder=folder))
        program.chmod(0o755)
        yield program


@contextmanager
def serving(program: Path, spool: bool) -> Iterator[PixelServer]:
    """`pfa-flux serve` with the embedded store, or with an InfluxDB that does not answer."""
    settings: dict[str, Any] = {"url": f"http://127.0.0.1:{free_ports(1)[0]}"} if spool else {}
    with tempfile.TemporaryDirectory(prefix="pfa-flux-against-") as folder:
        server = PixelServer(Path(folder), program=program, **settings)
        with on_core(cores().server):
            server.start()
        try:
            load(server.listen, WARM_CONNECTIONS, 3)
            yield server
        finally:
            server.stop()


def measure(servers: Sequence[PixelServer], connections: int, rounds: int, seconds: int) -> tuple[Pair, Pair]:
    """CPU time of a hit in µs, and p99 in ms."""
    costs, latest = Pair([], []), Pair([], [])
    for turn in range(rounds):
        for which in (0, 1) if turn % 2 else (1, 0):
            server = servers[which]
            start = cpu_of([server.pid])
            seen = load(server.listen, connections, seconds)
            if seen.errors:
                raise SystemExit(f"{seen.errors} requests failed")
            costs[which].append((cpu_of([server.pid]) - start).both / seen.answered)
            latest[which].append(seen.p99 / 1000)
    return costs, latest


def main() -> None:
    """Measure the embedded journal and the spool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", help="commit to compare with")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=3)
    given = parser.parse_args()
    for spool in (False, True):
        with program_of(given.revision) as program, serving(program, spool) as before, serving(NOW, spool) as now:
            for connections in given.connections:
                cost, latest = measure([before, now], connections, given.rounds, given.seconds)
                name = "spool" if spool else "embedded"
                print(f"{name:8} {connections:4} connections: µs {cost}; p99 ms {latest}", flush=True)


if __name__ == "__main__":
    main()
