"""The servers that the tests run against, and their pinned versions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).parent / "modules"


@dataclass(frozen=True)
class Program:
    """A server program, and how it is come by.

    Attributes:
        name: name of its folder of pinned Go modules, and of the cached binary.
        command: its name on PATH and in its image.
        version: the exact version the tests ask for.
        package: Go package of its main function.
        stamp: version as its linker flag takes it.
        image: official Docker image.
        rust: building it needs cargo and a C compiler, for its Flux library.
        tags: build tags: what of it is built.
    """

    name: str
    command: str
    version: str
    package: str
    stamp: str
    image: str
    rust: bool
    tags: str = ""

    @property
    def release_line(self) -> str:
        """Versions that will do when found on PATH, such as `2.7.`."""
        return self.version.rpartition(".")[0] + "."


_V1 = "github.com/influxdata/influxdb/cmd/influxd"
_V2 = "github.com/influxdata/influxdb/v2/cmd/influxd"
PROGRAMS = {
    program.name: program
    for program in (
        Program("influxdb-1.8", "influxd", "1.8.10", _V1, "1.8.10", "influxdb:1.8.10", rust=False),
        Program("influxdb-1.12", "influxd", "1.12.4", _V1, "1.12.4", "influxdb:1.12.4", rust=True),
        Program("influxdb-2.7", "influxd", "2.7.12", _V2, "v2.7.12", "influxdb:2.7.12", rust=True),
        Program("influxdb-2.9", "influxd", "2.9.1", _V2, "v2.9.1", "influxdb:2.9.1", rust=True),
        Program(
            "kapacitor", "kapacitord", "1.8.3", "github.com/influxdata/kapacitor/cmd/kapacitord", "1.8.3",
            "kapacitor:1.8.3", rust=True,
        ),
        Program(
            "telegraf", "telegraf", "1.37.2", "github.com/influxdata/telegraf/cmd/telegraf", "1.37.2",
            "telegraf:1.37.2", rust=False,
            tags="custom,inputs.influxdb_v2_listener,outputs.influxdb,outputs.influxdb_v2",
        ),
    )
}  # fmt: skip

ENGINES = ("influxdb-1.8", "influxdb-1.12", "influxdb-2.7", "influxdb-2.9", "kapacitor", "embedded")
"""Names of the engines. `kapacitor` is an InfluxDB 1.8 with Kapacitor in front; `embedded` needs no server."""


def programs_of(engine: str) -> tuple[Program, ...]:
    """Programs that an engine consists of."""
    if engine == "kapacitor":
        return PROGRAMS["influxdb-1.8"], PROGRAMS["kapacitor"]
    return (PROGRAMS[engine],) if engine in PROGRAMS else ()


class EngineUnavailableError(Exception):
    """An engine cannot be had here; the message says why and what would help."""


class EngineFailedError(Exception):
    """A server died or did not become ready; the message ends with its log's tail."""
