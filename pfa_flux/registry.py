"""The list of engines: their addresses, dialects, backends and modules.

Every list of engines, dialects and backends comes from here. A module is imported when it is first used, so that
pfa-flux starts quickly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pfa_flux.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from pfa_flux.engines.base import Engine
    from pfa_flux.settings import Settings


RELAY_PROMISE = "it confirms hits before the database has them, and loses them if it ends or its buffer is full"
"""Why hits are not safe behind a relay."""
RELAY_ADVICE = 'Set buffer_strategy = "disk" in Telegraf\'s [agent], or write to the database directly.'


class Writer(Protocol):
    """Writes hits to an engine, and needs no other rights."""

    def write(self, bucket: str, lines: Iterable[str]) -> int:
        """Write line protocol with times in nanoseconds. Returns the number of points."""

    def probe_write(self, bucket: str) -> None:
        """Check the right to write to a bucket, without writing a point."""

    def relay(self) -> str:
        """Name and version of the relay that takes the writes. Empty if a database takes them."""

    def close(self) -> None:
        """Close the connections."""


@dataclass(frozen=True, slots=True)
class Registration:
    """One engine.

    Attributes:
        module: module with `open_engine(settings)`, and `open_writer(settings)` if the pixel can ship to the engine.
        schemes: schemes of the engine's addresses; "" if it has no address.
        dialects: query languages of the engine, and the requirement of each.
        backends: what can run the engine's tasks, apart from pfa-flux itself, and the module of each.
        hits: where the pixel commits hits: in the `engine` itself, or in a `spool` from which they are shipped; "" if
            the pixel cannot write to the engine.
    """

    module: str
    schemes: tuple[str, ...]
    dialects: dict[str, str]
    backends: dict[str, str] = field(default_factory=dict)
    hits: Literal["engine", "spool", ""] = ""


REGISTERED = [
    Registration(
        "pfa_flux.engines.influxdb",
        ("http", "https"),
        {
            "join": "it needs Flux 0.172 or newer",
            "union": "it needs Flux, which is off or absent",
            "influxql": "it needs an InfluxDB",
        },
        {"influxdb": "pfa_flux.tasks.runners.influxdb", "kapacitor": "pfa_flux.tasks.runners.kapacitor"},
        hits="spool",
    ),
    Registration("pfa_flux.engines.sqlite", ("",), {"sqlite": "it needs the embedded store"}, hits="engine"),
]
OWN_BACKEND = "runner"
"""pfa-flux itself: `pfa-flux task run --due`, or `pfa-flux serve`."""


def registration(url: str) -> Registration:
    """The engine with an address.

    Raises:
        SettingsError: no engine has such an address.
    """
    scheme = url.partition("://")[0] if "://" in url else url
    for each in REGISTERED:
        if scheme in each.schemes:
            return each
    known = " or ".join(name for each in REGISTERED for name in each.schemes if name)
    raise SettingsError(f"url is not an {known} address", "Write for example http://localhost:8086.")


def open_engine(settings: Settings, **how: Any) -> Engine:
    """Open the engine that the settings name.

    Raises:
        UnreachableError, AccessDeniedError, SettingsError: the engine cannot be used. The message says why.
    """
    engine: Engine = import_module(registration(settings.url).module).open_engine(settings, **how)
    return engine


def open_writer(settings: Settings) -> Writer:
    """Open the writer that the pixel ships to."""
    writer: Writer = import_module(registration(settings.url).module).open_writer(settings)
    return writer


def backend_module(name: str) -> ModuleType:
    """The module of a backend, with `open_backend(engine, settings, spec)`."""
    return import_module(next(each.backends[name] for each in REGISTERED if name in each.backends))


def dialects() -> tuple[str, ...]:
    """All dialects."""
    return tuple(name for each in REGISTERED for name in each.dialects)


def why_not(dialect: str) -> str:
    """The requirement of a dialect, as part of a sentence."""
    return next(each.dialects[dialect] for each in REGISTERED if dialect in each.dialects)


def backends() -> tuple[str, ...]:
    """All backends."""
    return (*(name for each in REGISTERED for name in each.backends), OWN_BACKEND)


def choices(names: Iterable[str]) -> tuple[str, ...]:
    """Names to choose from, `auto` first."""
    return ("auto", *names)
